"""Interests and target items → the rank of each target among all items, by counting.

A search for all items would hold and sort users × items. Here the scores of a block of users are
compared with those of their targets, so that only the ranks are kept.
"""

from __future__ import annotations

import numpy as np

from ..data.ragged import Ragged, pair_keys
from .base import run_in_threads
from .exact import BLOCK_SCORES, ExactIndex
from .repeats import Repeats


def count_ranks(
    vectors: np.ndarray,
    interests: np.ndarray,
    mask: np.ndarray,
    excluded: Ragged,
    counts: np.ndarray,
    target_rows: np.ndarray,
    target_items: np.ndarray,
    n_jobs: int | None = None,
    temperature: float | None = None,
    repeats: Repeats | None = None,
) -> np.ndarray:
    """Return the rank of each target in the exact search of its row, from 1.

    Rows without an interest in use rank the items by popularity, as `popular` does.

    Parameters
    ----------
    vectors : ndarray of shape (n_items, D), float32
    interests : ndarray of shape (n_rows, K, D), float32
    mask : ndarray of shape (n_rows, K), bool
        Interests in use.
    excluded : Ragged
        Items that have no place in the ranking of each row.
    counts : ndarray of shape (n_items,)
        Interactions of each item.
    target_rows, target_items : ndarray of shape (n_targets,), int64
        Row and item code of each target; the code is -1 for an unknown item.
    n_jobs : int or None
        See `run_in_threads`.
    temperature : float or None, default=None
        See `soft_maximum`.
    repeats : Repeats or None, default=None
        Items of each row that score higher; None: no items.

    Returns
    -------
    ndarray of shape (n_targets,), float64
        nan for unknown items and for items that are excluded.
    """
    ranks = np.full(len(target_rows), np.nan)
    n_used = mask.sum(1)
    is_known = target_items >= 0
    is_popular = is_known & (n_used[target_rows] == 0)
    if is_popular.any():
        rows, places = np.unique(target_rows[is_popular], return_inverse=True)
        ranks[is_popular] = _popularity_ranks(
            counts, excluded.take(rows), places, target_items[is_popular]
        )
    # Targets in the order of their rows, so that those of a block of rows are found by its ends.
    order = np.flatnonzero(is_known & (n_used[target_rows] > 0))
    order = order[np.argsort(target_rows[order], kind="stable")]
    rows_with_targets = np.unique(target_rows[order])
    index = ExactIndex(vectors, temperature)
    size = max(1, BLOCK_SCORES // max(len(vectors), 1))
    parts = []
    for K in np.unique(n_used[rows_with_targets]):
        rows = rows_with_targets[n_used[rows_with_targets] == K]
        parts += [rows[start : start + size] for start in range(0, len(rows), size)]

    def fill(rows: np.ndarray) -> None:
        used = np.nonzero(mask[rows])[1].reshape(len(rows), -1)  # (b, K)
        scores = index.score_all(interests[rows[:, None], used], excluded.take(rows))
        if repeats is not None:
            repeats.take(rows).raise_all(scores, n_used[rows, None])
        starts = np.searchsorted(target_rows[order], rows, side="left")
        ends = np.searchsorted(target_rows[order], rows, side="right")
        for step in range(int((ends - starts).max(initial=0))):
            places = np.flatnonzero(starts + step < ends)
            targets = order[starts[places] + step]
            ranks[targets] = _ranks_in_rows(scores, places, target_items[targets])

    run_in_threads(fill, parts, n_jobs)
    return ranks


def _ranks_in_rows(scores: np.ndarray, places: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the rank of one item in each of these rows of ``scores`` (b, n), ties by code."""
    if len(places) < len(scores):
        scores = scores[places]
    score = scores[np.arange(len(items)), items][:, None]
    n_before = np.count_nonzero(scores > score, axis=1)
    # The item itself is equal too; only rows with a second one need to look where it stands.
    tied = np.flatnonzero(np.count_nonzero(scores == score, axis=1) > 1)
    columns = np.arange(scores.shape[1])
    is_earlier = (scores[tied] == score[tied]) & (columns < items[tied, None])
    n_before[tied] += np.count_nonzero(is_earlier, axis=1)
    return np.where(np.isneginf(score[:, 0]), np.nan, n_before + 1.0)


def _popularity_ranks(
    counts: np.ndarray, excluded: Ragged, rows: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """Return the rank of each item by popularity, ties by code, among the items left in its row."""
    n = len(counts)
    place = np.empty(n, dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(n)
    excluded_rows, excluded_items = excluded.pairs()
    keys = np.unique(pair_keys(excluded_rows, place[excluded_items], n))
    targets = pair_keys(rows, place[items], n)
    first = np.searchsorted(keys, targets)  # the excluded items before it, in all rows
    n_excluded = first - np.searchsorted(keys, pair_keys(rows, np.array(-1), n))
    is_excluded = np.append(keys, -1)[first] == targets
    return np.where(is_excluded, np.nan, place[items] - n_excluded + 1.0)
