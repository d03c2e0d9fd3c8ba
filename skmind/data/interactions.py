"""User, item and time codes → one flat array of item codes sorted by (user, time), with offsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ..exceptions import InvalidInputError

PADDING = -1
BLOCK = 2**16  # interactions that are sorted together; users too, so that uint16 numbers them
CHUNK = 2**17  # rows that are counted, or dealt to blocks, together


@dataclass(frozen=True)
class Interactions:
    """All histories in one array: 4 bytes an interaction (12 with times) and 8 a user.

    Attributes
    ----------
    items : ndarray of shape (n_interactions,), int32
        Item codes; the history of user ``u``, oldest first, is
        ``items[offsets[u]:offsets[u + 1]]``.
    offsets : ndarray of shape (n_users + 1,), int64
    times : ndarray of shape (n_interactions,), int64, float64 or datetime64[ns], or None
    """

    items: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def from_codes(
        cls, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, n_users: int
    ) -> Interactions:
        """Sort the rows by user, then time; rows of equal time keep their order.

        In time linear in their number: they are dealt to blocks of users, a chunk of rows at a
        time, so that little is held beside the result, and then sorted within each block.

        Parameters
        ----------
        users, items : ndarray of shape (n_rows,), int32
        times : ndarray of shape (n_rows,) or None
            None: the order of the rows is the order in time.
        n_users : int
            Users without a row get an empty history.
        """
        offsets = np.zeros(n_users + 1, dtype=np.int64)
        np.cumsum(count(users, n_users), out=offsets[1:])
        cuts = np.searchsorted(offsets, np.arange(0, len(users), BLOCK))
        first = np.unique(np.concatenate([cuts, np.arange(0, n_users, BLOCK), [n_users]]))
        sizes = np.diff(first)  # users of each block, which begins with the user ``first``
        places = (np.arange(n_users) - np.repeat(first[:-1], sizes)).astype(np.uint16)
        blocks = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
        given = [items] if times is None else [items, times]
        columns, keys = [np.empty_like(column) for column in given], np.empty(len(users), np.uint16)
        ends = offsets[first[:-1]]  # of what each block has so far
        for rows in (slice(start, start + CHUNK) for start in range(0, len(users), CHUNK)):
            here = users[rows]
            order, counts = _by_block(blocks[here], len(sizes))
            into = np.arange(len(here)) + np.repeat(ends - np.cumsum(counts) + counts, counts)
            for column, values in zip(columns, given, strict=True):
                column[into] = values[rows][order]
            keys[into] = places[here[order]]
            ends += counts
        for part in map(slice, offsets[first[:-1]], offsets[first[1:]]):
            order = np.lexsort([key[part] for key in (*columns[1:], keys)])
            for column in columns:
                column[part] = column[part][order]
        return cls(columns[0], offsets, *columns[1:])

    @property
    def n_users(self) -> int:
        """Number of users, those with an empty history included."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each history, int64 of shape (n_users,)."""
        return np.diff(self.offsets)

    @property
    def n_samples(self) -> np.ndarray:
        """Events of each user that have a past, int64 of shape (n_users,): what is trained on."""
        return np.maximum(self.lengths - 1, 0)

    def select(self, users: np.ndarray) -> Interactions:
        """The histories of ``users`` (codes, any order, repeats allowed); -1 gives an empty one."""
        if len(users) == self.n_users and (users == np.arange(self.n_users)).all():
            return self  # all users, as `recommend` asks for: no copy of the log
        known = users >= 0
        starts = np.where(known, self.offsets[users], 0)
        lengths = np.where(known, self.lengths[users], 0) if self.n_users else 0 * starts
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        times = None if self.times is None else self.times[rows]
        return Interactions(self.items[rows], offsets, times)

    def users_at(self, places: np.ndarray) -> np.ndarray:
        """Users of the events at positions of `items`, int64 of the same shape."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def windows(self, ends: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The items before a position, newest first.

        Parameters
        ----------
        ends : ndarray of shape (B,)
            Position in `items` of the first item that is *not* in the window.
        lengths : ndarray of shape (B,)
            Items of each window; they must be of one user.

        Returns
        -------
        ndarray of shape (B, L), int32
            Item codes; ``L`` is the longest window, at least 1. Column 0 is the newest item;
            padding is -1.
        """
        L = max(int(lengths.max(initial=0)), 1)
        ages = np.arange(L)
        if len(self.items) == 0:
            return np.full((len(ends), L), PADDING, dtype=np.int32)
        positions = np.maximum(ends[:, None] - 1 - ages, 0)  # (B, L)
        codes = np.where(ages < lengths[:, None], self.items[positions], PADDING)
        return codes.astype(np.int32, copy=False)

    def without(self, positions: np.ndarray) -> Interactions:
        """The interactions without those at ``positions`` of `items`; no position twice."""
        kept = np.ones(len(self.items), dtype=bool)
        kept[positions] = False
        offsets = self.offsets - np.searchsorted(np.sort(positions), self.offsets)
        times = None if self.times is None else self.times[kept]
        return Interactions(self.items[kept], offsets, times)

    def ends_before(self, users: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Position in `items` where the events of each user before a time end.

        Parameters
        ----------
        users : ndarray of shape (n,), int
            Not negative.
        times : ndarray of shape (n,)
            Only events strictly before it count.

        Raises
        ------
        InvalidInputError
            If the interactions have no times, or dates where these are numbers.
        """
        if self.times is None:
            raise InvalidInputError("the interactions have no times; set time_col and fit again")
        self._check_kind(times)
        low, high = self.offsets[users], self.offsets[users + 1]
        while (low < high).any():  # halved for all users at once
            middle = (low + high) // 2
            is_before = (low < high) & (self.times[np.minimum(middle, high - 1)] < times)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_before, high, middle)
        return low

    def _check_kind(self, times: np.ndarray) -> None:
        if self.times is not None and (times.dtype.kind == "M") != (self.times.dtype.kind == "M"):
            raise InvalidInputError(
                f"the times are of type {times.dtype} but fit saw {self.times.dtype}; convert them "
                "to the same kind (pandas.to_datetime)"
            )

    def extended(
        self, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, n_users: int
    ) -> tuple[Interactions, np.ndarray]:
        """The interactions with new rows; of equal times, these come after those that are here.

        Parameters
        ----------
        users, items, times, n_users
            As `from_codes`; times if there are any here.

        Returns
        -------
        Interactions
        is_new : ndarray of shape (n_interactions,), bool
            Which of them were added.

        Raises
        ------
        InvalidInputError
            If the times are dates where those here are numbers, or the reverse.
        """
        if times is not None:
            self._check_kind(times)
            times = np.concatenate([self.times, times])
        known = np.repeat(np.arange(self.n_users, dtype=np.int32), self.lengths)
        items = np.concatenate([self.items, items])
        users = np.concatenate([known, users])
        rows = Interactions.from_codes(users, np.arange(len(items)), times, n_users)
        return Interactions(items[rows.items], rows.offsets, rows.times), rows.items >= len(known)

    def since(self, marked: np.ndarray, max_history: int) -> tuple[np.ndarray, Interactions]:
        """Users with a marked event, and what they did from ``max_history`` events before it on.

        Parameters
        ----------
        marked : ndarray of shape (n_interactions,), bool
        max_history : int

        Returns
        -------
        users : ndarray of shape (n,), int64
        Interactions
            Of these users, without times.
        """
        places = np.flatnonzero(marked)
        users, first = np.unique(self.users_at(places), return_index=True)
        ends = self.offsets[users + 1]
        lengths = np.minimum(ends - places[first] + max_history, self.lengths[users])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(ends - offsets[1:], lengths) + np.arange(offsets[-1])
        return users, Interactions(self.items[rows], offsets)

    def before(self, ends: np.ndarray, users: np.ndarray, max_history: int) -> Interactions:
        """Histories of at most ``max_history`` items, each ending before a position of `items`."""
        starts = np.maximum(self.offsets[users], ends - max_history)
        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        rows = np.repeat(starts - offsets[:-1], ends - starts) + np.arange(offsets[-1])
        return Interactions(self.items[rows], offsets)

    def last_windows(self, users: np.ndarray, max_history: int) -> tuple[np.ndarray, np.ndarray]:
        """The newest items of each user, what recommending starts from, and how many they are.

        Returns
        -------
        codes : ndarray of shape (B, L), int32
            As `windows`, at most ``max_history`` wide.
        lengths : ndarray of shape (B,), int64
        """
        lengths = np.minimum(self.lengths[users], max_history)
        return self.windows(self.offsets[users + 1], lengths), lengths


def count(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """How often each code is there, int64 of shape (n_codes,)."""
    counts = np.zeros(n_codes, dtype=np.int64)
    size = max(CHUNK, n_codes)  # numpy makes a copy of what it counts, of 8 bytes a row
    for start in range(0, len(codes), size):
        counts += np.bincount(codes[start : start + size], minlength=n_codes)
    return counts


def _by_block(blocks: np.ndarray, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows sorted by block, else in their order, and the rows of each."""
    n = len(blocks)
    table = np.arange(n, dtype=np.int32), blocks, np.array([0, n])
    by_block = sparse.csr_matrix(table, shape=(1, n_blocks)).tocsc()  # scipy's counting sort
    return by_block.data, np.diff(by_block.indptr)
