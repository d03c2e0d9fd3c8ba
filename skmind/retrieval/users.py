"""An item → the users for whom it has the highest scores."""

from __future__ import annotations

import numpy as np

from ..data.ragged import Ragged
from .base import TopK, multiply, run_in_threads, soft_maximum
from .exact import BLOCK_SCORES, TILE_PRODUCTS, top_k
from .repeats import Repeats


def nearest_users(
    items: np.ndarray,
    interests: np.ndarray,
    mask: np.ndarray,
    k: int,
    excluded: Ragged,
    n_jobs: int | None = None,
    temperature: float | None = None,
    repeats: Repeats | None = None,
) -> TopK:
    """Return, for each item, the ``k`` users for whom it has the highest scores.

    Parameters
    ----------
    items : ndarray of shape (B, D), float32, unit length
    interests : ndarray of shape (n_users, K, D), float32, unit length
    mask : ndarray of shape (n_users, K), bool
        Interests in use; users without any are not returned.
    k : int
    excluded : Ragged
        Users that each item must not get.
    n_jobs : int or None
        See `run_in_threads`.
    temperature : float or None, default=None
        See `soft_maximum`.
    repeats : Repeats or None, default=None
        Users for whom each item scores higher; None: no users.

    Returns
    -------
    TopK
        With user codes instead of item codes.
    """
    top = TopK.padding(len(items), k)
    size = max(1, BLOCK_SCORES // max(len(interests), 1))
    parts = [
        np.arange(start, min(start + size, len(items))) for start in range(0, len(items), size)
    ]

    def fill(rows: np.ndarray) -> None:
        scores = _scores(items[rows], interests, mask, temperature)
        if repeats is not None:
            repeats.take(rows).raise_all(scores, mask.sum(1)[None])
        scores[excluded.take(rows).pairs()] = -np.inf
        codes, values = top_k(scores, k)
        products = multiply(interests[codes], items[rows, None, :, None]).squeeze(3)  # (b, k, K)
        products[~mask[codes]] = -np.inf
        found = TopK(codes, values, products.argmax(2))
        for part, theirs in zip(top, found, strict=True):
            part[rows, : theirs.shape[1]] = theirs

    run_in_threads(fill, parts, n_jobs)
    return top.padded()


def _scores(
    items: np.ndarray, interests: np.ndarray, mask: np.ndarray, temperature: float | None
) -> np.ndarray:
    """Return the score of each item for each user, (b, n_users); -inf without an interest."""
    n_users, K, D = interests.shape
    scores = np.empty((len(items), n_users), dtype=np.float32)
    width = max(1, TILE_PRODUCTS // (len(items) * K))
    for start in range(0, n_users, width):
        users = slice(start, start + width)
        products = multiply(items, interests[users].reshape(-1, D).T)
        products = products.reshape(len(items), -1, K)
        products[:, ~mask[users]] = -np.inf
        soft_maximum(products, 2, temperature, mask[users].sum(1), out=scores[:, users])
    return scores
