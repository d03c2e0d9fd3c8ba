"""Approximate search by Annoy's forests, refilled exactly where a row comes out short."""

from __future__ import annotations

import numpy as np
from annoy import AnnoyIndex as Forest

from .exact import ExactIndex, top_k, winners
from .protocol import Excluded, Hits


class AnnoyIndex:
    """One forest over the unit item vectors; each interest is one query.

    Rows ask for ``k`` items more than they exclude, so that filtering leaves ``k``; rows that are
    short all the same, and calls with an allow-list, are answered by `ExactIndex`.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    n_trees : int
        More trees: better recall, larger index.
    search_k : int or None
        Nodes visited a query; None: ``n_trees`` × items asked for. More: better recall, slower.
    seed : int
    """

    def __init__(
        self, vectors: np.ndarray, n_trees: int = 50, search_k: int | None = None, seed: int = 0
    ) -> None:
        self.vectors = vectors
        self.search_k = -1 if search_k is None else search_k
        self._exact = ExactIndex(vectors)
        self._forest = Forest(vectors.shape[1], "angular")
        self._forest.set_seed(seed % 2**31)
        for code, vector in enumerate(vectors):
            self._forest.add_item(code, vector)
        self._forest.build(n_trees, n_jobs=1)  # more jobs: the result depends on the machine

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Excluded,
        allowed: np.ndarray | None = None,
    ) -> Hits:
        """See `Index.search`."""
        if allowed is not None:
            return self._exact.search(queries, mask, k, excluded, allowed)
        B, n = len(queries), len(self.vectors)
        codes = np.full((B, k), -1, dtype=np.int32)
        scores = np.full((B, k), -np.inf, dtype=np.float32)
        for row in range(B):
            banned = excluded.codes[excluded.offsets[row] : excluded.offsets[row + 1]]
            found = self._candidates(queries[row, mask[row]], min(n, k + len(banned)))
            found = np.setdiff1d(found, banned)  # sorted, each once
            best = (self.vectors[found] @ queries[row, mask[row]].T).max(1, initial=-np.inf)
            columns, values = top_k(best[None], k)
            codes[row] = np.where(columns[0] >= 0, np.append(found, -1)[columns[0]], -1)
            scores[row] = values[0]
        hits = Hits(codes, scores, winners(self.vectors, queries, mask, codes))
        return self._refill(hits, queries, mask, k, excluded)

    def _candidates(self, queries: np.ndarray, n: int) -> np.ndarray:
        found = [self._forest.get_nns_by_vector(q, n, self.search_k) for q in queries]
        return np.unique(np.concatenate([np.empty(0, dtype=np.int32), *found])).astype(np.int32)

    def _refill(
        self, hits: Hits, queries: np.ndarray, mask: np.ndarray, k: int, excluded: Excluded
    ) -> Hits:
        """Answer the rows with padding exactly."""
        short = np.flatnonzero((hits.codes < 0).any(1) & mask.any(1))
        for row in short.tolist():
            one = slice(row, row + 1)
            exact = self._exact.search(queries[one], mask[one], k, excluded.rows(row, row + 1))
            for mine, theirs in zip(hits, exact, strict=True):
                mine[row] = theirs[0]
        return hits
