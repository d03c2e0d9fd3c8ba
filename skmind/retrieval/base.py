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
        See `soft_maximum`; -inf in the padding.
    interests : ndarray of shape (B, k), int32
        The interest with the highest product; -1 in the padding.
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
    """Holds the unit item vectors, shape (n_items, D), and searches them.

    The score of an item is the `soft_maximum` of its products with the interests of the row, at
    ``temperature``.
    """

    vectors: np.ndarray
    temperature: float | None

    def search(
        self,
        queries: np.ndarray,
        mask: np.ndarray,
        k: int,
        excluded: Ragged,
        allowed: np.ndarray | None = None,
        n_jobs: int | None = None,
    ) -> TopK:
        """Return the ``k`` distinct items with the highest scores of each row.

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


def soft_maximum(
    products: np.ndarray,
    axis: int,
    temperature: float | None,
    n_used: int | np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return ``temperature · log(mean(exp(products / temperature)))`` over the interests.

    An item that is near several interests scores higher than one that is as near to one of them:
    interests that were trained as a mixture find together what none of them finds alone. The result
    is at most the highest product. Without a temperature, or with one interest, it is that product.

    Parameters
    ----------
    products : ndarray, float32
        Overwritten; -inf stands for an interest that is not in use.
    axis : int
        Axis of the interests.
    temperature : float or None
        Positive.
    n_used : int, ndarray of the shape of the result, or None
        Number of interests in use; None: all.
    out : ndarray or None
        Receives the result.

    Returns
    -------
    ndarray of the shape of ``products`` without the axis
        -inf where no interest is in use.
    """
    highest = products.max(axis, out=out)
    if temperature is None or products.shape[axis] == 1:
        return highest
    if temperature > 1:  # the logarithm is near 0, so that float32 would lose its digits
        products = products.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        products -= np.expand_dims(highest, axis)  # nan where no interest is in use
        products *= products.dtype.type(1 / temperature)
        total = np.exp(products, out=products).sum(axis)
        total /= products.shape[axis] if n_used is None else n_used
        np.log(total, out=total)
        total *= total.dtype.type(temperature)
        is_used = True if n_used is None else np.asarray(n_used) > 0
        np.add(highest, total, out=highest, where=is_used, casting="same_kind")
    return highest


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
