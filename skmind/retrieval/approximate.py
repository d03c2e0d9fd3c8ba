"""Interests → candidates of an approximate index → top k; short rows use exact search."""

from __future__ import annotations

from math import ceil, sqrt
from typing import ClassVar

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, multiply, run_in_threads, soft_maximum
from .exact import ExactIndex

MAX_BUDGET = 2**31 - 1  # Annoy counts in 32 bits
SOFT_CANDIDATES = 2  # per item: a few of the best are not among the k nearest of any interest
ROWS_PER_TASK = 64  # rows that a thread takes at a time


class ApproximateIndex:
    """Search with each interest, then score all candidates by all interests.

    Each interest requests ``k`` items, twice as many for a soft maximum, plus the number of the
    excluded items, so that enough remain after filtering. `ExactIndex` answers rows that still have
    fewer, and calls with an allow-list.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32, unit length
    search_k : int or None
        Number of nodes of a forest, or of lists of an inverted file, that a query visits. Higher:
        better recall, slower. None: ``effort`` times the square root of ``size`` times the number
        of requested items.
    temperature : float or None, default=None
        See `soft_maximum`.

    Attributes
    ----------
    effort : float
        Set by `calibrate`.
    size : int
        Number of nodes or lists that can be visited.
    """

    FIRST_EFFORT: ClassVar[float]  # the lowest effort that `calibrate` tries
    MAX_VISITED_SHARE: ClassVar[float]  # of `size`; above, exact search is as fast

    def __init__(
        self, vectors: np.ndarray, search_k: int | None = None, temperature: float | None = None
    ) -> None:
        self.vectors = vectors
        self.search_k = search_k
        self.temperature = temperature
        self.effort = self.FIRST_EFFORT
        self.size = len(vectors)
        self._exact = ExactIndex(vectors, temperature)

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """Return the codes of about ``n`` items nearest each query (K, D), flat; -1 is padding."""
        raise NotImplementedError

    def budget(self, n: int) -> int:
        """Return how many nodes or lists a query for ``n`` items visits."""
        return self.search_k or min(ceil(self.effort * sqrt(self.size * n)), MAX_BUDGET)

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
        short_rows = np.flatnonzero((top.codes < 0).any(1) & mask.any(1))
        exact_top = self._exact.search(
            queries[short_rows], mask[short_rows], k, excluded.take(short_rows), None, n_jobs
        )
        for part, exact_part in zip(top, exact_top, strict=True):
            part[short_rows] = exact_part
        return top

    def search_candidates(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        n_jobs: int | None = None,
    ) -> TopK:
        """Search the index only, without an allow-list; rows may have fewer than ``k`` items."""
        top = TopK.padding(len(queries), k)

        def fill(rows: np.ndarray) -> None:
            for row in rows:
                used = np.flatnonzero(mask[row])
                if not len(used):
                    continue
                banned = excluded.values[excluded.offsets[row] : excluded.offsets[row + 1]]
                codes = self._candidates(queries[row, used], k, banned)
                products = multiply(self.vectors[codes], queries[row, used].T)
                won = products.argmax(1)
                scores = soft_maximum(products, 1, self.temperature)
                best = np.argsort(-scores, kind="stable")[:k]  # ties: lower code first
                n = len(best)
                top.codes[row, :n] = codes[best]
                top.scores[row, :n] = scores[best]
                top.interests[row, :n] = used[won[best]]

        rows = np.arange(len(queries))
        parts = [
            rows[start : start + ROWS_PER_TASK] for start in range(0, len(rows), ROWS_PER_TASK)
        ]
        run_in_threads(fill, parts, n_jobs)
        return top

    def _candidates(self, queries: np.ndarray, k: int, banned: np.ndarray) -> np.ndarray:
        """Return the items near any query except the banned items, ascending."""
        is_soft = self.temperature is not None and len(queries) > 1
        n = min(len(self.vectors), k * (SOFT_CANDIDATES if is_soft else 1) + len(banned))
        return np.setdiff1d(self.nearest(queries, n, self.budget(n)), np.append(banned, -1))
