"""User, item and time codes → one flat array of item codes sorted by (user, time), with offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from ..exceptions import InvalidInputError
from .ragged import Ragged, group_rows, span_places
from .tables import check_comparable

PADDING = -1


@dataclass(frozen=True)
class Interactions(Ragged):
    """All histories in one array: 4 bytes per interaction (12 with times) and 8 per user.

    Attributes
    ----------
    values : ndarray of shape (n_interactions,), int32
        Item codes; the history of user ``u``, oldest first, is
        ``values[offsets[u]:offsets[u + 1]]``.
    offsets : ndarray of shape (n_users + 1,), int64
    times : ndarray of shape (n_interactions,), int64, float64 or datetime64[ns], or None
    weights : ndarray of shape (n_interactions,), float32, or None
        Weight of each event as a target of training; 0: it is no target. None: all weigh the same.
    """

    times: np.ndarray | None = None
    weights: np.ndarray | None = None

    @classmethod
    def from_codes(
        cls,
        users: np.ndarray,
        items: np.ndarray,
        times: np.ndarray | None,
        n_users: int,
        weights: np.ndarray | None = None,
    ) -> Interactions:
        """Sort rows by user, then time; rows of equal time keep their order.

        Parameters
        ----------
        users, items : ndarray of shape (n_rows,), int32
        times : ndarray of shape (n_rows,) or None
            None: the order of the rows is the order in time.
        n_users : int
            Users without a row get an empty history.
        weights : ndarray of shape (n_rows,), float32, or None, default=None
        """
        firsts = items if weights is None else np.arange(len(items))
        columns = [firsts] if times is None else [firsts, times]
        offsets, (firsts, *grouped) = group_rows(users, n_users, columns)
        times = grouped[0] if grouped else None
        if weights is None:
            return cls(firsts, offsets, times)
        return cls(items[firsts], offsets, times, weights[firsts])

    @property
    def items(self) -> np.ndarray:
        """Item codes, the same array as `values`."""
        return self.values

    @property
    def n_users(self) -> int:
        """Number of users, including users with an empty history."""
        return self.n_rows

    def _gather(self, places: np.ndarray | slice, offsets: np.ndarray) -> Self:
        times = None if self.times is None else self.times[places]
        weights = None if self.weights is None else self.weights[places]
        return type(self)(self.values[places], offsets, times, weights)

    def moved(self, places: np.ndarray, sources: np.ndarray) -> Interactions:
        """Return the interactions with other items, and their weights, at some positions.

        Parameters
        ----------
        places, sources : ndarray of shape (n,), int
            Positions of the same events in two orders: what is at ``sources`` moves to ``places``.
        """
        items = self.items.copy()
        items[places] = items[sources]
        if self.weights is None:
            return replace(self, values=items)
        weights = self.weights.copy()
        weights[places] = weights[sources]
        return replace(self, values=items, weights=weights)

    @property
    def n_samples(self) -> np.ndarray:
        """Number of training samples per user, int64 of shape (n_users,): one per later event.

        0 for users who have no target, because all their weights are 0.
        """
        n_samples = np.maximum(self.lengths - 1, 0)
        if self.weights is not None:
            n_targets = np.concatenate([[0], np.cumsum(self.is_target)])[self.offsets]
            n_samples[np.diff(n_targets) == 0] = 0
        return n_samples

    @property
    def is_target(self) -> np.ndarray:
        """Whether each event is a target of training: it has a past, and its weight is not 0."""
        is_target = np.ones(len(self.items), dtype=bool)
        is_target[self.offsets[:-1][self.lengths > 0]] = False
        return is_target if self.weights is None else is_target & (self.weights > 0)

    def windows(
        self, ends: np.ndarray, lengths: np.ndarray, width: int | None = None
    ) -> np.ndarray:
        """Return the items before a position, newest first.

        Parameters
        ----------
        ends : ndarray of shape (B,)
            Position in `items` of the first item after the window.
        lengths : ndarray of shape (B,)
            Number of items in each window; they must belong to one user.
        width : int or None, default=None
            Columns of the result; None: the longest window, at least 1.

        Returns
        -------
        ndarray of shape (B, L), int32
            Item codes; ``L`` is the width. Column 0 is the newest item;
            padding is -1.
        """
        L = max(int(lengths.max(initial=0)), 1) if width is None else width
        ages = np.arange(L)
        if len(self.items) == 0:
            return np.full((len(ends), L), PADDING, dtype=np.int32)
        positions = np.maximum(ends[:, None] - 1 - ages, 0)  # (B, L)
        codes = np.where(ages < lengths[:, None], self.items[positions], PADDING)
        return codes.astype(np.int32, copy=False)

    def ends_before(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the position in `items` after the last event of each user before a time.

        Parameters
        ----------
        users : ndarray of shape (n,), int
            Not negative.
        times : ndarray of shape (n,)
            Only events strictly before this time count.

        Raises
        ------
        InvalidInputError
            If the interactions have no times, or either ``times`` or they have dates but not both.
        """
        if self.times is None:
            raise InvalidInputError("the interactions have no times; set time_col and fit again")
        self._check_kind(times)
        low = self.offsets[users]
        high = self.offsets[users + 1]
        while (low < high).any():  # binary search, for all users at once
            middle = (low + high) // 2
            is_before = (low < high) & (self.times[np.minimum(middle, high - 1)] < times)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        return low

    def _check_kind(self, times: np.ndarray) -> None:
        """Raise if one side has dates as times and the other numbers, or they can't be compared."""
        if self.times is not None:
            check_comparable(times, self.times, "the table", "the times of fit", "time, as ")
        if self.times is not None and (times.dtype.kind == "M") != (self.times.dtype.kind == "M"):
            raise InvalidInputError(
                f"the times are of type {times.dtype} but fit saw {self.times.dtype}; convert them "
                "to the same kind (pandas.to_datetime)"
            )

    def extended(
        self,
        users: np.ndarray,
        items: np.ndarray,
        times: np.ndarray | None,
        n_users: int,
        weights: np.ndarray | None = None,
    ) -> tuple[Interactions, np.ndarray]:
        """Return the interactions with new rows; at equal times, new rows follow known rows.

        Parameters
        ----------
        users, items, times, n_users, weights
            As in `from_codes`; ``times`` is required if these interactions have times. With
            weights, the known rows have the weight 1.

        Returns
        -------
        Interactions
        is_new : ndarray of shape (n_interactions,), bool
            Whether each interaction is new.

        Raises
        ------
        InvalidInputError
            If one side has dates and the other numbers as times, or one has floats and the other
            integers that a float doesn't hold.
        """
        if times is not None:
            self._check_kind(times)
            times = np.concatenate([self.times, times])
        known_users = np.repeat(np.arange(self.n_users, dtype=np.int32), self.lengths)
        items = np.concatenate([self.items, items])
        users = np.concatenate([known_users, users])
        rows = np.arange(len(items))
        columns = [rows] if times is None else [rows, times]
        offsets, (rows, *times_grouped) = group_rows(users, n_users, columns)
        times = times_grouped[0] if times_grouped else None
        if weights is not None:
            known_weights = np.ones(len(known_users), dtype=weights.dtype)
            weights = np.concatenate([known_weights, weights])[rows]
        return Interactions(items[rows], offsets, times, weights), rows >= len(known_users)

    def since(self, marked: np.ndarray, max_history: int) -> tuple[np.ndarray, Interactions]:
        """Return the users with a marked event, and their events from before the first one on.

        Parameters
        ----------
        marked : ndarray of shape (n_interactions,), bool
        max_history : int
            Number of events before the first marked event that are included.

        Returns
        -------
        users : ndarray of shape (n,), int64
        Interactions
            The events of these users.
        """
        places = np.flatnonzero(marked)
        users, first = np.unique(self.rows_at(places), return_index=True)
        ends = self.offsets[users + 1]
        lengths = np.minimum(ends - places[first] + max_history, self.lengths[users])
        return users, self._gather(*span_places(ends - lengths, lengths))

    def before(self, ends: np.ndarray, users: np.ndarray, max_history: int) -> Interactions:
        """Return the last ``max_history`` items before each position ``ends``, as histories."""
        starts = np.maximum(self.offsets[users], ends - max_history)
        places, offsets = span_places(starts, ends - starts)
        return Interactions(self.items[places], offsets)

    def last_windows(self, users: np.ndarray, max_history: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the newest items of each user, the input of the network, and their number.

        Returns
        -------
        codes : ndarray of shape (B, L), int32
            As in `windows`, at most ``max_history`` wide.
        lengths : ndarray of shape (B,), int64
        """
        lengths = np.minimum(self.lengths[users], max_history)
        return self.windows(self.offsets[users + 1], lengths), lengths
