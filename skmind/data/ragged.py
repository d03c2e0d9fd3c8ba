"""Rows of unequal length → one flat array with offsets; functions to group and compare rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import sparse

BLOCK_ROWS = 2**16  # rows or values per block; the number of a row in its block fits uint16
CHUNK_VALUES = 2**17  # values that are counted, or moved to their blocks, at a time


@dataclass(frozen=True)
class Ragged:
    """Values in rows of unequal length.

    Attributes
    ----------
    values : ndarray of shape (n_values,)
        Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    offsets : ndarray of shape (n_rows + 1,), int64
    """

    values: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_pairs(cls, rows: np.ndarray, codes: np.ndarray, n_rows: int) -> Ragged:
        """Return the distinct codes of each row, ascending.

        Parameters
        ----------
        rows, codes : ndarray of shape (n_pairs,), int
            Not negative; in any order.
        n_rows : int
        """
        n_codes = int(codes.max(initial=0)) + 1
        keys = np.unique(pair_keys(rows, codes, n_codes))
        offsets = np.searchsorted(keys, pair_keys(np.arange(n_rows + 1), np.array(-1), n_codes))
        return Ragged(keys % (n_codes + 1) - 1, offsets)

    @property
    def n_rows(self) -> int:
        """Number of rows, including empty rows."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Length of each row, int64 of shape (n_rows,)."""
        return np.diff(self.offsets)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the row of every value, and the values."""
        return np.repeat(np.arange(self.n_rows), self.lengths), self.values

    def rows_at(self, places: np.ndarray) -> np.ndarray:
        """Return the rows of the values at these positions, int64 of the same shape."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def find(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the positions of codes in their rows, -1 where the row lacks the code.

        The codes of each row must be ascending.

        Parameters
        ----------
        rows, codes : ndarray of int, of equal or broadcast shape
            Codes of at least -1.
        """
        n_codes = 1 + int(max(self.values.max(initial=0), codes.max(initial=0)))
        keys = pair_keys(*self.pairs(), n_codes)
        wanted = pair_keys(rows, codes, n_codes)
        places = np.searchsorted(keys, wanted)
        return np.where(np.append(keys, -1)[places] == wanted, places, -1)

    def take(self, rows: np.ndarray) -> Self:
        """Return the given rows, in the given order; rows may repeat, and -1 gives an empty row."""
        if len(rows) == self.n_rows and (rows == np.arange(self.n_rows)).all():
            return self  # all rows: avoid the copy
        has_row = rows >= 0
        starts = np.where(has_row, self.offsets[rows], 0)
        lengths = np.where(has_row, self.lengths[rows], 0) if self.n_rows else 0 * starts
        return self._gather(*span_places(starts, lengths))

    def slice_rows(self, start: int, stop: int) -> Self:
        """Return the rows from ``start`` to before ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return self._gather(slice(offsets[0], offsets[-1]), offsets - offsets[0])

    def where(self, kept: np.ndarray) -> Self:
        """Return the rows without the values where the mask ``kept`` is False."""
        n_before = np.concatenate([[0], np.cumsum(kept)])
        return self._gather(kept, n_before[self.offsets])

    def drop(self, places: np.ndarray) -> Self:
        """Return the rows without the values at the distinct positions ``places``."""
        kept = np.ones(len(self.values), dtype=bool)
        kept[places] = False
        return self._gather(kept, self.offsets - np.searchsorted(np.sort(places), self.offsets))

    def without(self, other: Ragged) -> Self:
        """Return the rows without the codes that the same row of ``other`` has."""
        return self.where(~isin_pairs(self.pairs(), other.pairs()))

    def _gather(self, places: np.ndarray | slice, offsets: np.ndarray) -> Self:
        """Return the values at these positions, with these offsets; a subclass adds its arrays."""
        return type(self)(self.values[places], offsets)


def are_offsets(offsets: np.ndarray, n_values: int) -> bool:
    """Return whether ``n_values`` values are divided into rows: ascending from 0 to ``n_values``.

    Neighbours are compared instead of subtracted, because a difference may wrap.
    """
    ends = len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == n_values
    return bool(ends and (offsets[1:] >= offsets[:-1]).all())


def group_rows(
    rows: np.ndarray, n_rows: int, columns: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sort columns by row, then by the second column if there is one; the sort is stable.

    Takes linear time: the values are moved to blocks of rows, a chunk of values at a time, so that
    little memory is needed beside the result, and then sorted within each block.

    Parameters
    ----------
    rows : ndarray of shape (n_values,), int
        Row of each value, from 0 to ``n_rows - 1``.
    n_rows : int
    columns : sequence of one or two ndarrays of shape (n_values,)

    Returns
    -------
    offsets : ndarray of shape (n_rows + 1,), int64
    columns : list of ndarray
    """
    offsets = np.zeros(n_rows + 1, dtype=np.int64)
    np.cumsum(count(rows, n_rows), out=offsets[1:])
    cuts = np.searchsorted(offsets, np.arange(0, len(rows), BLOCK_ROWS))
    first = np.unique(np.concatenate([cuts, np.arange(0, n_rows, BLOCK_ROWS), [n_rows]]))
    sizes = np.diff(first)  # rows per block; ``first`` is the first row of each
    places = (np.arange(n_rows) - np.repeat(first[:-1], sizes)).astype(np.uint16)
    blocks = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    moved = [np.empty_like(column) for column in columns]
    keys = np.empty(len(rows), np.uint16)
    ends = offsets[first[:-1]]  # next free position of each block
    for start in range(0, len(rows), CHUNK_VALUES):
        chunk = slice(start, start + CHUNK_VALUES)
        chunk_rows = rows[chunk]
        order, counts = _by_block(blocks[chunk_rows], len(sizes))
        slots = np.arange(len(chunk_rows)) + np.repeat(ends - np.cumsum(counts) + counts, counts)
        for target, source in zip(moved, columns, strict=True):
            target[slots] = source[chunk][order]
        keys[slots] = places[chunk_rows[order]]
        ends += counts
    for block in map(slice, offsets[first[:-1]], offsets[first[1:]]):
        order = np.lexsort([key[block] for key in (*moved[1:], keys)])
        for column in moved:
            column[block] = column[block][order]
    return offsets, moved


def _by_block(blocks: np.ndarray, n_blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions, sorted stably by block, and the number of positions per block."""
    n = len(blocks)
    table = np.arange(n, dtype=np.int32), blocks, np.array([0, n])
    by_block = sparse.csr_matrix(table, shape=(1, n_blocks)).tocsc()  # scipy's counting sort
    return by_block.data, np.diff(by_block.indptr)


def span_places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all positions from ``starts[i]`` to before ``starts[i] + lengths[i]``, and offsets.

    Parameters
    ----------
    starts, lengths : ndarray of shape (n,), int

    Returns
    -------
    places : ndarray of shape (lengths.sum(),), int64
    offsets : ndarray of shape (n + 1,), int64
        Where each span begins in ``places``.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets


def pair_keys(rows: np.ndarray, codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Return an int64 key for each pair of row and code; equal pairs have equal keys.

    Codes are from -1 to ``n_codes - 1``. The keys sort by row, then code:
    ``divmod(key, n_codes + 1)`` is ``(row, code + 1)``.
    """
    return rows.astype(np.int64) * (n_codes + 1) + codes + 1


def isin_pairs(
    pairs: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return whether each pair of row and code is among ``others``, bool of the shape of the codes.

    Parameters
    ----------
    pairs, others : tuple of two ndarrays of int
        Rows, and codes of at least -1.
    """
    n_codes = 1 + int(max(pairs[1].max(initial=0), others[1].max(initial=0)))
    return np.isin(pair_keys(*pairs, n_codes), pair_keys(*others, n_codes))


def count(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """Return how often each code occurs, int64 of shape (n_codes,)."""
    counts = np.zeros(n_codes, dtype=np.int64)
    size = max(CHUNK_VALUES, n_codes)  # bincount copies its input: 8 bytes per value
    for start in range(0, len(codes), size):
        counts += np.bincount(codes[start : start + size], minlength=n_codes)
    return counts
