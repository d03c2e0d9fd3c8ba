"""Search among the candidates of an approximate index, refilled exactly where a row is short."""

from __future__ import annotations

from math import ceil, sqrt
from typing import ClassVar

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, run_in_threads
from .exact import ExactIndex

ROWS_PER_TASK = 64  # rows that a thread takes at a time


class ApproximateIndex:
    """Each interest is one query; the candidates of all are scored by the nearest interest.

    Rows ask for ``k`` items more than they exclude, so that filtering leaves ``k``. Rows that are
    still short, and calls with an allow-list, are answered by `ExactIndex`.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    search_k : int or None
        What a query visits: nodes of a forest, or lists of an inverted file. Higher: better
        recall, slower. None: ``effort`` times the square root of ``size`` × items asked for.

    Attributes
    ----------
    effort : float
        Set by `calibrate`.
    size : int
        Number of nodes or lists that can be visited.
    """

    FIRST_EFFORT: ClassVar[float]  # the lowest effort that `calibrate` tries
    MAX_VISITED_SHARE: ClassVar[float]  # of `size`; above it exact search of a user is as fast

    def __init__(self, vectors: np.ndarray, search_k: int | None = None) -> None:
        self.vectors = vectors
        self.search_k = search_k
        self.effort = self.FIRST_EFFORT
        self.size = len(vectors)
        self._exact = ExactIndex(vectors)

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """Return the codes of about ``n`` items nearest each query (K, D), flat; -1: no item."""
        raise NotImplementedError

    def budget(self, n: int) -> int:
        """Return how many nodes or lists a query for ``n`` items visits."""
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
        top = self.search_candidates(queries, mask, k, excluded, n_jobs)
        short = np.flatnonzero((top.codes < 0).any(1) & mask.any(1))
        full = self._exact.search(
            queries[short], mask[short], k, excluded.take(short), None, n_jobs
        )
        for part, theirs in zip(top, full, strict=True):
            part[short] = theirs
        return top

    def search_candidates(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        n_jobs: int | None = None,
    ) -> TopK:
        """Search without an allow-list and without refill, so that rows may be short."""
        top = TopK.padding(len(queries), k)

        def fill(rows: np.ndarray) -> None:
            for row in rows:
                used = np.flatnonzero(mask[row])
                banned = excluded.values[excluded.offsets[row] : excluded.offsets[row + 1]]
                codes = self._candidates(queries[row, used], k, banned)
                products = self.vectors[codes] @ queries[row, used].T
                scores = products.max(1, initial=-np.inf)
                best = np.argsort(-scores, kind="stable")[:k]  # of equal scores the lower code
                n = len(best)
                top.codes[row, :n] = codes[best]
                top.scores[row, :n] = scores[best]
                if n:
                    top.interests[row, :n] = used[products[best].argmax(1)]

        rows = np.arange(len(queries))
        parts = [
            rows[start : start + ROWS_PER_TASK] for start in range(0, len(rows), ROWS_PER_TASK)
        ]
        run_in_threads(fill, parts, n_jobs)
        return top

    def _candidates(self, queries: np.ndarray, k: int, banned: np.ndarray) -> np.ndarray:
        """Return the items near any query without the banned ones, ascending."""
        if not len(queries):
            return np.empty(0, dtype=np.int64)
        n = min(len(self.vectors), k + len(banned))
        return np.setdiff1d(self.nearest(queries, n, self.budget(n)), np.append(banned, -1))
