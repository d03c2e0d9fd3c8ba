"""Search among the candidates of an approximate index, refilled exactly where a row is short."""

from __future__ import annotations

from math import ceil, sqrt
from typing import ClassVar

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, each
from .exact import ExactIndex

ROWS = 64  # that a thread takes at a time


class ApproximateIndex:
    """Each interest is one query; the candidates of all are scored by the nearest interest.

    Rows ask for ``k`` items more than they exclude, so that filtering leaves ``k``; rows that are
    short all the same, and calls with an allow-list, are answered by `ExactIndex`.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    search_k : int or None
        What a query visits: nodes of a forest, lists of an inverted file. More: better recall,
        slower. None: ``effort`` times the root of `size` × items asked for.

    Attributes
    ----------
    effort : float
        Set by `calibrate`.
    size : int
        How much there is to visit.
    """

    FIRST_EFFORT: ClassVar[float]  # the least that `calibrate` tries
    MOST: ClassVar[float]  # share of `size` above which exact search of one user is as fast

    def __init__(self, vectors: np.ndarray, search_k: int | None = None) -> None:
        self.vectors = vectors
        self.search_k = search_k
        self.effort = self.FIRST_EFFORT
        self.size = len(vectors)
        self._exact = ExactIndex(vectors)

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """Codes of about ``n`` items nearest each query (K, D), flat; -1 stands for none."""
        raise NotImplementedError

    def budget(self, n: int) -> int:
        """What a query for ``n`` items visits."""
        return self.search_k or ceil(self.effort * sqrt(self.size * n))

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        allowed: np.ndarray | None = None,
        n_jobs: int | None = None,
    ) -> TopK:
        """See `Index.search`."""
        if allowed is not None:
            return self._exact.search(queries, mask, k, excluded, allowed, n_jobs)
        hits = self.search_candidates(queries, mask, k, excluded, n_jobs)
        short = np.flatnonzero((hits.codes < 0).any(1) & mask.any(1))
        full = self._exact.search(
            queries[short], mask[short], k, excluded.take(short), None, n_jobs
        )
        for mine, theirs in zip(hits, full, strict=True):
            mine[short] = theirs
        return hits

    def search_candidates(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        n_jobs: int | None = None,
    ) -> TopK:
        """`search` without an allow-list and without refill: rows may be short."""
        hits = TopK.padding(len(queries), k)

        def fill(rows: np.ndarray) -> None:
            for row in rows:
                used = np.flatnonzero(mask[row])
                banned = excluded.values[excluded.offsets[row] : excluded.offsets[row + 1]]
                codes = self._candidates(queries[row, used], k, banned)
                products = self.vectors[codes] @ queries[row, used].T
                scores = products.max(1, initial=-np.inf)
                best = np.argsort(-scores, kind="stable")[:k]  # of equal ones the lower code first
                n = len(best)
                hits.codes[row, :n], hits.scores[row, :n] = codes[best], scores[best]
                if n:
                    hits.interests[row, :n] = used[products[best].argmax(1)]

        starts = range(0, len(queries), ROWS)
        each(fill, [np.arange(start, min(start + ROWS, len(queries))) for start in starts], n_jobs)
        return hits

    def _candidates(self, queries: np.ndarray, k: int, banned: np.ndarray) -> np.ndarray:
        """The nearest items of any query without the banned ones, ascending."""
        if not len(queries):
            return np.empty(0, dtype=np.int64)
        n = min(len(self.vectors), k + len(banned))
        return np.setdiff1d(self.nearest(queries, n, self.budget(n)), np.append(banned, -1))
