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


# Each metric takes a relevance matrix, the number of relevant items per user, k and ranks, and
# returns a float64 array of shape (n_users,), nan for users without relevant items. k is the number
# of columns by default. It is a parameter because lists may be shorter than k, which must not
# change the ideal list. Ranks are those of the columns, 1, 2, ... by default. They are a parameter
# so that a matrix can hold the relevant items only, ascending by rank, instead of all k places.


def recall(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the share of relevant items among the first ``k``."""
    relevance, _, _ = _first(relevance, k, ranks)
    return _divide(relevance.sum(axis=1), n_relevant)


def precision(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the share of the ``k`` places that relevant items have."""
    relevance, _, k = _first(relevance, k, ranks)
    return _divide(relevance.sum(axis=1), np.where(n_relevant > 0, float(k), 0.0))


def hit_rate(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return 1 if any of the first ``k`` items is relevant, else 0."""
    relevance, _, _ = _first(relevance, k, ranks)
    return _divide(relevance.max(axis=1, initial=False), np.minimum(n_relevant, 1))


def ndcg(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the discounted gain of the first ``k`` items, divided by that of an ideal list."""
    relevance, ranks, k = _first(relevance, k, ranks)
    n_ideal = np.minimum(n_relevant, k).astype(np.int64)
    discount = 1.0 / np.log2(np.arange(2, n_ideal.max(initial=0) + 2))
    gain_of_first = np.concatenate([[0.0], np.cumsum(discount)])  # of the first n items, by n
    gain = (relevance / np.log2(ranks + 1)).sum(axis=1)
    return _divide(gain, gain_of_first[n_ideal])


def mrr(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the reciprocal rank of the first relevant item among the first ``k``, else 0."""
    relevance, ranks, _ = _first(relevance, k, ranks)
    reciprocal = (relevance / ranks).max(axis=1, initial=0.0)
    return _divide(reciprocal, np.minimum(n_relevant, 1))


def average_precision(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int | None = None,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Return the mean precision at the ranks of the relevant items among the first ``k``."""
    relevance, ranks, k = _first(relevance, k, ranks)
    precision = relevance.cumsum(axis=1) / ranks  # (n_users, n_columns)
    return _divide((precision * relevance).sum(axis=1), np.minimum(n_relevant, k))


def _first(
    relevance: np.ndarray, k: int | None, ranks: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the relevance within the first ``k`` ranks, the rank of each column or cell, and k."""
    k = relevance.shape[1] if k is None else k
    if ranks is None:
        relevance = relevance[:, :k]
        return relevance, np.arange(1, relevance.shape[1] + 1), k
    return relevance & (ranks <= k), ranks, k


def _divide(gain: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return ``gain / denominator``, nan where the denominator is 0."""
    return np.divide(gain, denominator, out=np.full(len(gain), np.nan), where=denominator > 0)


METRIC_FUNCTIONS = {
    "recall": recall,
    "precision": precision,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
}


def values_per_user(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    metrics: dict[str, tuple[str, int]],
    ranks: np.ndarray | None = None,
    expected: tuple[np.ndarray, int] | None = None,
) -> dict[str, np.ndarray]:
    """Compute several metrics.

    Parameters
    ----------
    relevance : ndarray of shape (n_users, n_columns), bool
    n_relevant : ndarray of shape (n_users,), int
    metrics : dict of str to (str, int)
        Name of the metric and k, by label.
    ranks : ndarray of shape (n_users, n_columns), int, or None
        Rank of each place of ``relevance``, ascending per row; None: 1, 2, ...
    expected : tuple or None
        What `serendipity` needs: ``expectations`` and ``n_items``.

    Returns
    -------
    dict of str to ndarray of shape (n_users,), float64
        By label; nan for users without relevant items.
    """
    values = {}
    for label, (name, k) in metrics.items():
        if name == "serendipity" and expected is not None:
            values[label] = serendipity(relevance, n_relevant, k, ranks, *expected)
        else:
            values[label] = METRIC_FUNCTIONS[name](relevance, n_relevant, k, ranks)
    return values


def mean_over_users(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    metrics: dict[str, tuple[str, int]],
    expected: tuple[np.ndarray, int] | None = None,
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
    values = values_per_user(relevance, n_relevant, metrics, None, expected)
    return {label: float(value[has_relevant].mean()) for label, value in values.items()}


# Metrics of lists need no relevant items. Codes are rows of what is known of the items.


def mean_self_information(codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean of -log2 of the share of all interactions that each item of a list has.

    Parameters
    ----------
    codes : ndarray of shape (n_lists, n_ranks), int64
        Row of ``counts`` of each item; -1 is padding.
    counts : ndarray of shape (n_items,)
        Interactions of each item; 0 counts as 1.

    Returns
    -------
    ndarray of shape (n_lists,), float64
        nan for empty lists.
    """
    return _mean_of_lists(codes, np.log2(max(counts.sum(), 1)) - np.log2(np.maximum(counts, 1)))


def mean_popularity(codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean number of interactions of the items of a list; see above."""
    return _mean_of_lists(codes, counts)


def _mean_of_lists(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    is_item = codes >= 0
    sums = np.where(is_item, values[codes], 0.0).sum(axis=1)
    return _divide(sums, is_item.sum(axis=1))


def popularity_expectation(counts: np.ndarray) -> np.ndarray:
    """Return how strongly popularity alone recommends each item: from 1 for the first down to 0.

    Equally frequent items share a place, and the next ones have the next place. Items without
    interactions have the value 0.

    Parameters
    ----------
    counts : ndarray of shape (n_items,)

    Returns
    -------
    ndarray of shape (n_items,), float64
    """
    n = len(counts)
    distinct, places = np.unique(-counts, return_inverse=True)
    return np.where(counts > 0, (n - places) / n, 0.0)


def serendipity(
    relevance: np.ndarray,
    n_relevant: np.ndarray,
    k: int,
    ranks: np.ndarray | None,
    expectations: np.ndarray,
    n_items: int,
) -> np.ndarray:
    """Return how much better relevant items are placed than popularity would; see `recall`.

    Parameters
    ----------
    relevance, n_relevant, k, ranks
        As for the metrics above.
    expectations : ndarray of shape (n_users, n_columns)
        `popularity_expectation` of the item at each place.
    n_items : int
    """
    relevance, ranks, k = _first(relevance, k, ranks)
    expectations = expectations[:, : relevance.shape[1]]
    surprise = np.maximum((n_items + 1 - ranks) / n_items - expectations, 0.0)
    gain = (relevance * surprise).sum(axis=1)
    return _divide(gain, np.where(n_relevant > 0, float(k), 0.0))


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
    # Powers of 2 scale without rounding; the squares of 1e200 would overflow.
    exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True))[1]
    vectors = np.ldexp(vectors, -exponents)
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
