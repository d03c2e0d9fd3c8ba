"""What every index answers: queries (B, K, D) → the top k items of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from joblib import Parallel, delayed


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

    def padded(self) -> Hits:
        """The same, where a score of -inf makes its place padding."""
        short = np.isneginf(self.scores)
        self.codes[short] = self.interests[short] = -1
        return self

    def widened(self, k: int) -> Hits:
        """The same with padding up to ``k`` columns."""
        B, n = self.codes.shape
        both = zip(self, Hits.padding(B, max(k - n, 0)), strict=True)
        return Hits(*(np.concatenate(parts, axis=1) for parts in both))


class ItemLists(NamedTuple):
    """A list of items a row: ``codes[offsets[i]:offsets[i + 1]]`` for row ``i``."""

    codes: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_pairs(cls, rows: np.ndarray, codes: np.ndarray, n_rows: int) -> ItemLists:
        """The distinct items of each row, ascending; a pair is a row and an item code."""
        size = int(codes.max(initial=0)) + 1
        pairs = np.unique(rows.astype(np.int64) * size + codes)
        offsets = np.searchsorted(pairs, np.arange(n_rows + 1) * size)
        return cls(pairs % size, offsets)

    def rows(self, start: int, stop: int) -> ItemLists:
        """The same for rows ``start`` to ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return ItemLists(self.codes[offsets[0] : offsets[-1]], offsets - offsets[0])

    def take(self, rows: np.ndarray) -> ItemLists:
        """The same for the chosen rows."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        first = np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return ItemLists(self.codes[first + np.arange(offsets[-1])], offsets)

    def without(self, other: ItemLists) -> ItemLists:
        """The same without the items of the same row of ``other``."""
        (rows, codes), (other_rows, other_codes) = self.pairs(), other.pairs()
        size = int(max(codes.max(initial=0), other_codes.max(initial=0))) + 1
        keep = ~np.isin(rows * size + codes, other_rows * size + other_codes)
        before = np.concatenate([[0], np.cumsum(keep)])
        return ItemLists(codes[keep], before[self.offsets])

    def among(self, allowed: np.ndarray) -> ItemLists:
        """The same in the codes that the allowed items have among themselves."""
        keep = allowed[self.codes]
        before = np.concatenate([[0], np.cumsum(keep)])
        return ItemLists((np.cumsum(allowed) - 1)[self.codes[keep]], before[self.offsets])

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and item code of every entry."""
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
        excluded: ItemLists,
        allowed: np.ndarray | None = None,
        n_jobs: int | None = None,
    ) -> Hits:
        """The ``k`` items with the highest product with any interest of the row, each once.

        Parameters
        ----------
        queries : ndarray of shape (B, K, D), float32
            Of unit length the product is the cosine.
        mask : ndarray of shape (B, K), bool
            Interests in use; a row without any gets padding only.
        k : int
        excluded : ItemLists
            Items that each row must not get.
        allowed : ndarray of shape (n_items,), bool, or None
            Items that may be returned; None: all.
        n_jobs : int or None
            Threads; see `each`.

        Returns
        -------
        Hits
            Exactly ``k`` items a row unless fewer are eligible.
        """
        ...


def each(
    function: Callable[[np.ndarray], None], parts: list[np.ndarray], n_jobs: int | None
) -> None:
    """Call ``function`` for each part, in ``n_jobs`` threads as scikit-learn counts them.

    Threads suffice: numpy, Annoy and faiss release the interpreter while they search.
    """
    Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(function)(part) for part in parts)
