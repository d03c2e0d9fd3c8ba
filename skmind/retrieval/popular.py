"""Item counts → the most frequent items, for users who have no interest in use."""

from __future__ import annotations

import numpy as np

from ..data.ragged import Ragged
from .base import TopK
from .exact import search_lists

POPULARITY_INTEREST = -1  # interest of the items that popularity recommends
BLOCK_PLACES = 2**18  # places held at once: 1 MiB stays in the cache


def popular(
    counts: np.ndarray, k: int, excluded: Ragged, allowed: np.ndarray | None = None
) -> TopK:
    """Return the most frequent eligible items for each row of ``excluded``.

    The score is the item's share of all interactions, the interest is
    `POPULARITY_INTEREST`. Ties: the item with the lower code comes first.

    Parameters
    ----------
    counts : ndarray of shape (n_items,), int64
    k : int
    excluded : Ragged
        Items that each row must not get.
    allowed : ndarray of shape (n_items,), bool, or None
        Items that may be returned; None: all items.
    """
    order = np.argsort(-counts, kind="stable")
    if allowed is not None:
        order = order[allowed[order]]
    rank = np.full(len(counts), len(order))
    rank[order] = np.arange(len(order))
    share = np.append(counts / max(counts.sum(), 1), -np.inf).astype(np.float32)
    max_excluded = int(excluded.lengths.max(initial=0))
    top = TopK.padding(excluded.n_rows, k)
    width = min(len(order), k + max_excluded)  # enough to leave k items after the exclusion
    block_rows = max(1, BLOCK_PLACES // max(width, 1))
    for start in range(0, excluded.n_rows, block_rows):
        stop = min(start + block_rows, excluded.n_rows)
        rows, codes = excluded.slice_rows(start, stop).pairs()
        is_candidate = rank[codes] < width
        banned = np.zeros((stop - start, width), dtype=bool)
        banned[rows[is_candidate], rank[codes[is_candidate]]] = True
        # A stable sort of the mask moves the allowed candidates to the front, in rank order.
        places = np.argsort(banned, axis=1, kind="stable")[:, :k]
        is_banned = np.take_along_axis(banned, places, axis=1)
        top.codes[start:stop, : places.shape[1]] = np.where(is_banned, -1, order[places])
    top.scores[:] = share[top.codes]  # code -1, padding, selects the last one, -inf
    top.interests[:] = POPULARITY_INTEREST
    return top


def popular_in_lists(counts: np.ndarray, k: int, lists: Ragged) -> TopK:
    """Return the most frequent items of each row's own list; see `popular`."""
    share = (counts / max(counts.sum(), 1)).astype(np.float32)
    # Search with vectors of length 1: the product of an item and the query 1 is the item's share.
    query = np.ones((lists.n_rows, 1, 1), dtype=np.float32)
    mask = np.ones((lists.n_rows, 1), dtype=bool)
    top = search_lists(share[:, None], query, mask, k, lists)
    top.interests[:] = POPULARITY_INTEREST
    return top
