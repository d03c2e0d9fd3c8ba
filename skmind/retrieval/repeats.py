"""Histories and the weights of their events → the higher scores of the items that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..data.ragged import Ragged, span_places
from .base import TopK
from .exact import search_lists

BLOCK_PLACES = 2**22  # candidates that are sorted at once


@dataclass(frozen=True)
class Repeats(Ragged):
    """The distinct items of each history, ascending, and what they gain.

    An item that gains g has the score ``t · log(exp(score / t) + exp(g / t) / n_used)``, where
    n_used is the number of interests of its row that are in use: the interests and the history find
    it together.

    Attributes
    ----------
    gains : ndarray of the shape of ``values``, float64
    temperature : float
        t, see `soft_maximum`.
    """

    gains: np.ndarray
    temperature: float

    @classmethod
    def of_histories(cls, histories: Ragged, weights: np.ndarray, temperature: float) -> Self:
        """Return the items of histories; each gains by all of its events.

        Parameters
        ----------
        histories : Ragged
            Item codes, oldest first.
        weights : ndarray of shape (max_history,)
            By the age of an event, 0 for the newest; older events count for nothing.
        temperature : float
        """
        logs = np.asarray(weights, dtype=np.float64) / temperature
        highest = logs.max()
        rows, items = histories.pairs()
        ages = histories.offsets[rows + 1] - 1 - np.arange(len(items))
        is_counted = ages < len(logs)
        rows = rows[is_counted]
        items = items[is_counted]
        distinct = Ragged.from_pairs(rows, items, histories.n_rows)
        events = np.exp(logs[ages[is_counted]] - highest)
        masses = np.bincount(distinct.find(rows, items), events, len(distinct.values))
        with np.errstate(divide="ignore"):  # less than the smallest number
            gains = temperature * (np.log(masses) + highest)
        return cls(distinct.values, distinct.offsets, gains, temperature)

    def _gather(self, places: np.ndarray | slice, offsets: np.ndarray) -> Self:
        return type(self)(self.values[places], offsets, self.gains[places], self.temperature)

    def transposed(self, items: np.ndarray) -> Repeats:
        """Return the rows that have each of these items, ascending, and what it gains in them."""
        rows, values = self.pairs()
        order = np.argsort(values, kind="stable")
        starts = np.searchsorted(values, items, side="left", sorter=order)
        ends = np.searchsorted(values, items, side="right", sorter=order)
        places, offsets = span_places(starts, ends - starts)
        places = order[places]
        return Repeats(rows[places], offsets, self.gains[places], self.temperature)

    def gains_of(self, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return what items gain in these rows, -inf for items that the history does not have.

        A gain of the history may be -inf, too, at low temperatures.
        """
        return np.append(self.gains, -np.inf)[self.find(rows, items)]  # -1 is the appended place

    def raised(self, scores: np.ndarray, gains: np.ndarray, n_used: np.ndarray) -> np.ndarray:
        """Return the scores of items that gain; -inf where no interest is in use.

        Parameters
        ----------
        scores, gains, n_used : ndarray of equal or broadcast shape
        """
        t = self.temperature
        shares = gains / t - np.log(np.maximum(n_used, 1))
        new = t * np.logaddexp(scores.astype(np.float64) / t, shares)
        is_used = (n_used > 0) & ~np.isneginf(scores)
        return np.where(is_used, new, scores).astype(np.float32)

    def raise_all(self, scores: np.ndarray, n_used: np.ndarray) -> None:
        """Raise the scores of all items of each row, in place.

        Parameters
        ----------
        scores : ndarray of shape (n_rows, n_items), float32
        n_used : ndarray of shape (n_rows, 1), or (1, n_items) for the transposed scores
        """
        places = self.pairs()
        counts = np.broadcast_to(n_used, scores.shape)[places]
        scores[places] = self.raised(scores[places], self.gains, counts)

    def merge(
        self,
        top: TopK,
        vectors: np.ndarray,
        queries: np.ndarray,
        mask: np.ndarray,
        n_jobs: int | None = None,
    ) -> TopK:
        """Return the items with the highest scores of each row, the repeats among them.

        Exact if ``top`` is, because no other item scores higher than before.

        Parameters
        ----------
        top : TopK
            Best items by the scores without repeats.
        vectors, queries, mask, n_jobs
            See `search_lists`.
        """
        B, k = top.codes.shape
        merged = TopK.padding(B, k)
        size = max(1, BLOCK_PLACES // (k + int(self.lengths.max(initial=0)) + 1))
        for start in range(0, B, size):
            rows = slice(start, min(start + size, B))
            own = self.slice_rows(start, rows.stop)
            part = TopK(*(values[rows] for values in top))
            found = own._join(part, vectors, queries[rows], mask[rows], n_jobs)
            for values, theirs in zip(merged, found, strict=True):
                values[rows] = theirs
        return merged

    def _join(
        self,
        top: TopK,
        vectors: np.ndarray,
        queries: np.ndarray,
        mask: np.ndarray,
        n_jobs: int | None,
    ) -> TopK:
        k = top.codes.shape[1]
        rows = np.arange(len(mask))[:, None]
        width = int(self.lengths.max(initial=0))
        own = search_lists(vectors, queries, mask, width, self, n_jobs, self.temperature)
        gains = self.gains_of(rows, own.codes)
        own = own._replace(scores=self.raised(own.scores, gains, mask.sum(1)[:, None]))
        is_repeat = self.find(rows, top.codes) >= 0
        others = top._replace(scores=np.where(is_repeat, -np.inf, top.scores))
        joined = TopK(*(np.concatenate(pair, axis=1) for pair in zip(others, own, strict=True)))
        order = np.lexsort((joined.codes, -joined.scores), axis=1)[:, :k]
        return TopK(*(np.take_along_axis(part, order, axis=1) for part in joined)).padded()
