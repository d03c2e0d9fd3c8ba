"""Approximate search by Annoy's forests, refilled exactly where a row comes out short."""

from __future__ import annotations

from math import sqrt

import numpy as np
from annoy import AnnoyIndex as Forest

from .exact import ExactIndex
from .protocol import Excluded, Hits

NODES = 3.0  # a recall of about .95 on vectors like trained ones: benchmarks/index_crossover.py


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
        Nodes visited a query. More: better recall, slower. None: `NODES` times the root of items ×
        items asked for, at least ``n_trees`` × items asked for.
    seed : int
    """

    def __init__(
        self, vectors: np.ndarray, n_trees: int = 50, search_k: int | None = None, seed: int = 0
    ) -> None:
        self.vectors = vectors
        self.search_k = search_k
        self.n_trees = n_trees
        self._exact = ExactIndex(vectors)
        self._forest = Forest(vectors.shape[1], "angular")
        self._forest.set_seed(seed % 2**31)
        for code, vector in enumerate(vectors):
            self._forest.add_item(code, vector.tolist())
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
        hits = Hits.padding(len(queries), k)
        for row in range(len(queries)):
            used = np.flatnonzero(mask[row])
            banned = excluded.codes[excluded.offsets[row] : excluded.offsets[row + 1]]
            codes = self._candidates(queries[row, used], k, banned)
            similarity = self.vectors[codes] @ queries[row, used].T
            scores = similarity.max(1, initial=-np.inf)
            best = np.argsort(-scores, kind="stable")[:k]  # of equal scores the lower code first
            n = len(best)
            hits.codes[row, :n], hits.scores[row, :n] = codes[best], scores[best]
            if n:
                hits.interests[row, :n] = used[similarity[best].argmax(1)]
        short = np.flatnonzero((hits.codes < 0).any(1) & mask.any(1))
        full = self._exact.search(queries[short], mask[short], k, excluded.take(short))
        for mine, theirs in zip(hits, full, strict=True):
            mine[short] = theirs
        return hits

    def _candidates(self, queries: np.ndarray, k: int, banned: np.ndarray) -> np.ndarray:
        """The nearest items of any query without the banned ones, ascending."""
        n = min(len(self.vectors), k + len(banned))
        nodes = self.search_k or max(self.n_trees * n, int(NODES * sqrt(len(self.vectors) * n)))
        found = [self._forest.get_nns_by_vector(query, n, nodes) for query in queries]
        return np.setdiff1d(np.concatenate([np.empty(0, dtype=np.int32), *found]), banned)
