"""What every index answers: queries (B, K, D) → the top k items of each row."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class Hits(NamedTuple):
    """Top items of each row, best first; rows that run out of items are padded.

    Attributes
    ----------
    codes : ndarray of shape (B, k), int32
        Item codes; -1 is padding.
    scores : ndarray of shape (B, k), float32
        Best cosine over the row's interests; -inf in the padding.
    interests : ndarray of shape (B, k), int32
        The interest that found the item; -1 in the padding.
    """

    codes: np.ndarray
    scores: np.ndarray
    interests: np.ndarray

    @classmethod
    def padding(cls, n_rows: int, k: int) -> Hits:
        """Rows without items, to be filled."""
        return cls(
            np.full((n_rows, k), -1, dtype=np.int32),
            np.full((n_rows, k), -np.inf, dtype=np.float32),
            np.full((n_rows, k), -1, dtype=np.int32),
        )

    def widened(self, k: int) -> Hits:
        """The same with padding up to ``k`` columns."""
        B, n = self.codes.shape
        both = zip(self, Hits.padding(B, max(k - n, 0)), strict=True)
        return Hits(*(np.concatenate(parts, axis=1) for parts in both))


class Excluded(NamedTuple):
    """Items that each row must not get: ``codes[offsets[i]:offsets[i + 1]]`` for row ``i``."""

    codes: np.ndarray
    offsets: np.ndarray

    def rows(self, start: int, stop: int) -> Excluded:
        """The same for rows ``start`` to ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return Excluded(self.codes[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: np.ndarray) -> Excluded:
        """The same for the chosen rows."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        first = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Excluded(self.codes[first + np.arange(offsets[-1])], offsets)

    def among(self, allowed: np.ndarray) -> Excluded:
        """The same in the codes that the allowed items have among themselves."""
        keep = allowed[self.codes]
        before = np.concatenate([[0], np.cumsum(keep)])
        return Excluded((np.cumsum(allowed) - 1)[self.codes[keep]], before[self.offsets])

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and item code of every exclusion."""
        lengths = np.diff(self.offsets)
        return np.repeat(np.arange(len(lengths)), lengths), self.codes


class Index(Protocol):
    """Holds the unit item vectors, shape (n_items, D), and searches them."""

    vectors: np.ndarray

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Excluded,
        allowed: np.ndarray | None = None,
    ) -> Hits:
        """The ``k`` items with the highest cosine to any interest of the row, each once.

        Parameters
        ----------
        queries : ndarray of shape (B, K, D), float32, unit length
        mask : ndarray of shape (B, K), bool
            Interests in use; a row without any gets padding only.
        k : int
        excluded : Excluded
        allowed : ndarray of shape (n_items,), bool, or None
            Items that may be returned; None: all.

        Returns
        -------
        Hits
            Exactly ``k`` items a row unless fewer are eligible.
        """
        ...
