"""Interests and a query → the final k items of every user."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .base import Index, TopK
from .exact import search_lists
from .popular import popular, popular_in_lists
from .query import MIN_WEIGHT, RecommendQuery
from .rerank import diversify, share_out

DIVERSITY_CANDIDATES = 5  # candidates per returned item that diversity chooses from

Search = Callable[[np.ndarray, np.ndarray, int], TopK]  # interests, mask, k


def retrieve(
    index: Index,
    interests: np.ndarray,
    mask: np.ndarray,
    query: RecommendQuery,
    counts: np.ndarray,
    n_jobs: int | None = None,
) -> TopK:
    """Return exactly ``query.k`` items per user, or all that are eligible.

    Parameters
    ----------
    index, n_jobs
        See `Index.search`.
    interests : ndarray of shape (n_users, K, D), float32, unit length
    mask : ndarray of shape (n_users, K), bool
        Interests in use.
    query : RecommendQuery
    counts : ndarray of shape (n_items,)
        Interactions of each item, for users who have no interest in use.
    """
    n_items = len(index.vectors)
    k = min(query.k, n_items)
    lists = query.lists
    highest = None
    if query.weights is not None:
        # Scores are multiplied by the highest weight afterwards, so that only the ratios of the
        # weights matter for the order.
        mask = mask & (query.weights > 0)
        weights = np.where(mask, query.weights, 0)
        highest = weights.max(1, keepdims=True)
        highest[highest == 0] = 1  # no interest is used
        interests = interests * np.maximum(weights / highest, MIN_WEIGHT)[:, :, None]
    quotas = query.quotas_of(mask)
    repeats = query.eligible_repeats()

    def search(queries: np.ndarray, mask: np.ndarray, k: int) -> TopK:
        if lists is not None:
            top = search_lists(index.vectors, queries, mask, k, lists, n_jobs, index.temperature)
        else:
            top = index.search(queries, mask, k, query.excluded, query.allowed, n_jobs)
        if repeats is not None:
            top = repeats.merge(top, index.vectors, queries, mask, n_jobs)
        return top if highest is None else top._replace(scores=top.scores * highest)

    if quotas is not None:
        top = share_out(search_each_interest(search, interests, mask, k), k, quotas)
    elif query.diversity:
        candidates = search(interests, mask, min(DIVERSITY_CANDIDATES * k, n_items))
        top = diversify(candidates, index.vectors, k, query.diversity, query.values)
    else:
        top = search(interests, mask, k)
    without_interest = np.flatnonzero(~mask.any(1))
    if len(without_interest):
        if lists is not None:
            fallback = popular_in_lists(counts, k, lists.take(without_interest))
        else:
            fallback = popular(counts, k, query.excluded.take(without_interest), query.allowed)
        for part, fallback_part in zip(top, fallback, strict=True):
            part[without_interest] = fallback_part
    return top


def search_each_interest(search: Search, interests: np.ndarray, mask: np.ndarray, k: int) -> TopK:
    """Return the ``k`` best items of each interest, shape (B, K · k), in the order of the scores.

    If several interests find an item, it occurs once per interest.
    """
    per_interest = [search(interests[:, [j]], mask[:, [j]], k) for j in range(mask.shape[1])]
    for j, top in enumerate(per_interest):
        top.interests[top.codes >= 0] = j
    joined = TopK(*(np.concatenate(parts, axis=1) for parts in zip(*per_interest, strict=True)))
    order = np.argsort(-joined.scores, axis=1, kind="stable")
    return TopK(*(np.take_along_axis(part, order, axis=1) for part in joined))
