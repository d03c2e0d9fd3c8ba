"""Relevance matrix → the value of each ranking metric per user; item vectors → diversity.

A relevance matrix is bool of shape (n_users, n_ranks). It is true where the item at this rank, best
first, is relevant to the user. Padding is not relevant.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from .._checks import warn
from ..data.ragged import isin_pairs
from ..exceptions import NothingToScoreWarning


def relevance_matrix(
    codes: np.ndarray, target_users: np.ndarray, target_codes: np.ndarray
) -> np.ndarray:
    """Return whether each recommended item is relevant.

    Parameters
    ----------
    codes : ndarray of shape (n_users, n_ranks), int64
        Codes of the recommended items, best first and distinct per row; -1 is padding.
    target_users : ndarray of shape (n_targets,), int64
        Row of ``codes`` to which each relevant item belongs.
    target_codes : ndarray of shape (n_targets,), int64
        Codes of the relevant items; -1 is an unknown item, which is never recommended.

    Returns
    -------
    ndarray of shape (n_users, n_ranks), bool
    """
    rows = np.arange(len(codes))[:, None]
    return isin_pairs((rows, codes), (target_users, target_codes)) & (codes >= 0)


# Each metric takes a relevance matrix, the number of relevant items per user and k, and returns a
# float64 array of shape (n_users,), nan for users without relevant items. k is the number of ranks
# by default. It is a parameter because lists may be shorter than k, which must not change the ideal
# list.


def recall(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """Return the share of relevant items among the first ``k``."""
    return _divide(relevance[:, :k].sum(axis=1), n_relevant)


def hit_rate(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """Return 1 if any of the first ``k`` items is relevant, else 0."""
    is_hit = relevance[:, :k].max(axis=1, initial=False)
    return _divide(is_hit, np.minimum(n_relevant, 1))


def ndcg(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """Return the discounted gain of the first ``k`` items, divided by that of an ideal list."""
    k = relevance.shape[1] if k is None else k
    relevance = relevance[:, :k]
    n_ideal = np.minimum(n_relevant, k).astype(np.int64)
    n_ranks = max(relevance.shape[1], int(n_ideal.max(initial=0)))
    discount = 1.0 / np.log2(np.arange(2, n_ranks + 2))
    gain_of_first = np.concatenate([[0.0], np.cumsum(discount)])  # entry n: gain of n items
    gain = relevance @ discount[: relevance.shape[1]]
    return _divide(gain, gain_of_first[n_ideal])


def mrr(relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """Return the reciprocal rank of the first relevant item among the first ``k``, else 0."""
    relevance = relevance[:, :k]
    ranks = np.arange(1, relevance.shape[1] + 1)
    reciprocal = (relevance / ranks).max(axis=1, initial=0.0)
    return _divide(reciprocal, np.minimum(n_relevant, 1))


def average_precision(
    relevance: np.ndarray, n_relevant: np.ndarray, k: int | None = None
) -> np.ndarray:
    """Return the mean precision at the ranks of the relevant items among the first ``k``."""
    k = relevance.shape[1] if k is None else k
    relevance = relevance[:, :k]
    ranks = np.arange(1, relevance.shape[1] + 1)
    precision = relevance.cumsum(axis=1) / ranks  # (n_users, n_ranks)
    return _divide((precision * relevance).sum(axis=1), np.minimum(n_relevant, k))


def _divide(gain: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return ``gain / denominator``, nan where the denominator is 0."""
    return np.divide(gain, denominator, out=np.full(len(gain), np.nan), where=denominator > 0)


METRIC_FUNCTIONS = {
    "recall": recall,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
}


def values_per_user(
    relevance: np.ndarray, n_relevant: np.ndarray, metrics: dict[str, tuple[str, int]]
) -> dict[str, np.ndarray]:
    """Compute several metrics.

    Parameters
    ----------
    relevance : ndarray of shape (n_users, n_ranks), bool
    n_relevant : ndarray of shape (n_users,), int
    metrics : dict of str to (str, int)
        Name of the metric and k, by label.

    Returns
    -------
    dict of str to ndarray of shape (n_users,), float64
        By label; nan for users without relevant items.
    """
    return {
        label: METRIC_FUNCTIONS[name](relevance, n_relevant, k)
        for label, (name, k) in metrics.items()
    }


def mean_over_users(
    relevance: np.ndarray, n_relevant: np.ndarray, metrics: dict[str, tuple[str, int]]
) -> dict[str, float]:
    """Return the mean of `values_per_user` over the users with relevant items; nan without any.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item.
    """
    has_relevant = n_relevant > 0
    if not has_relevant.any():
        message = "no user of y_true has a relevant item, so the metrics are nan"
        warn(message, NothingToScoreWarning)
        return dict.fromkeys(metrics, float("nan"))
    values = values_per_user(relevance, n_relevant, metrics)
    return {label: float(value[has_relevant].mean()) for label, value in values.items()}


def intra_list_diversity(codes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the mean cosine distance over all pairs of items of each list.

    Parameters
    ----------
    codes : ndarray of shape (n_lists, n_ranks), int64
        Row of ``vectors`` of each item; -1 is padding. At least two items per list.
    vectors : ndarray of shape (n_items, n_features), float64

    Returns
    -------
    ndarray of shape (n_lists,), float64
    """
    n_items = (codes >= 0).sum(axis=1)
    n_pairs = n_items * (n_items - 1) / 2
    return np.clip(1.0 - _sum_of_cosines(codes, vectors) / n_pairs, 0.0, 2.0)


def _sum_of_cosines(codes: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Return the sum of the cosines over all pairs of items of each list, (n_lists,)."""
    norms = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(norms > 0, norms, 1.0)[:, None]
    rows, ranks = np.nonzero(codes >= 0)
    items = codes[rows, ranks]
    is_in_list = sparse.csr_array(
        (np.ones(len(rows)), (rows, items)), shape=(len(codes), len(vectors))
    )
    # |sum of v|² = sum of |v|² + twice the sum over pairs, so the pairs are not computed.
    # |v|² is 1, or 0 for a vector of zeros.
    square_of_sum = ((is_in_list @ unit) ** 2).sum(axis=1)
    sum_of_squares = np.bincount(rows, weights=norms[items] > 0, minlength=len(codes))
    return (square_of_sum - sum_of_squares) / 2
