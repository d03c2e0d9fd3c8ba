"""Interface of the indexes: interests (B, K, D) → the top k items of each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from joblib import Parallel, cpu_count, delayed

from ..data.ragged import Ragged


class TopK(NamedTuple):
    """Top items of each row, best first; rows with fewer than k items are padded.

    Attributes
    ----------
    codes : ndarray of shape (B, k), int32
        Item codes; -1 is padding.
    scores : ndarray of shape (B, k), float32
        Highest cosine to an interest of the row; -inf in the padding.
    interests : ndarray of shape (B, k), int32
        The interest with that cosine; -1 in the padding.
    """

    codes: np.ndarray
    scores: np.ndarray
    interests: np.ndarray

    @classmethod
    def padding(cls, n_rows: int, k: int) -> TopK:
        """Return rows without items, to be filled."""
        return cls(
            np.full((n_rows, k), -1, dtype=np.int32),
            np.full((n_rows, k), -np.inf, dtype=np.float32),
            np.full((n_rows, k), -1, dtype=np.int32),
        )

    def padded(self) -> TopK:
        """Turn the places with a score of -inf into padding, in place; return self."""
        is_padding = np.isneginf(self.scores)
        self.codes[is_padding] = -1
        self.interests[is_padding] = -1
        return self

    def widened(self, k: int) -> TopK:
        """Return the items with padding up to ``k`` columns."""
        B, n = self.codes.shape
        both = zip(self, TopK.padding(B, max(k - n, 0)), strict=True)
        return TopK(*(np.concatenate(parts, axis=1) for parts in both))


class Index(Protocol):
    """Holds the unit item vectors, shape (n_items, D), and searches them."""

    vectors: np.ndarray

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        allowed: np.ndarray | None = None,
        n_jobs: int | None = None,
    ) -> TopK:
        """Return the ``k`` distinct items with the highest product with any interest of the row.

        Parameters
        ----------
        queries : ndarray of shape (B, K, D), float32
            Interests; the product is the cosine if they have unit length.
        mask : ndarray of shape (B, K), bool
            Interests in use; a row without interests gets padding only.
        k : int
        excluded : Ragged
            Items that each row must not get.
        allowed : ndarray of shape (n_items,), bool, or None
            Items that may be returned; None: all items.
        n_jobs : int or None
            Threads; see `run_in_threads`.

        Returns
        -------
        TopK
            Exactly ``k`` items per row unless fewer are eligible.
        """
        ...


def multiply(left: np.ndarray, right: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Return ``left @ right`` of finite vectors, without numpy's warning about the result.

    On some processors BLAS computes with what lies beyond the matrices, and numpy then warns of an
    "invalid value" though the product is right (numpy issue 24067).
    """
    with np.errstate(all="ignore"):
        return np.matmul(left, right, out=out)


def run_in_threads(
    function: Callable[[np.ndarray], None], parts: list[np.ndarray], n_jobs: int | None
) -> None:
    """Call ``function`` for each part, in ``n_jobs`` threads as scikit-learn counts them.

    Threads are enough, because numpy, Annoy and faiss release the GIL while they search.
    """
    if len(parts) == 1:  # starting threads would take longer than a small search
        function(parts[0])
        return
    if n_jobs is not None:  # more threads than parts or processors would have nothing to do
        n_jobs = min(n_jobs, max(1, len(parts)), cpu_count())
    Parallel(n_jobs=n_jobs, require="sharedmem")(delayed(function)(part) for part in parts)
