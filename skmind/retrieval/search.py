"""Interests and a query → the final k items of every user; an item → its nearest users."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data.ragged import Ragged
from .base import Index, TopK
from .exact import ExactIndex, search_lists
from .popular import popular, popular_in_lists
from .query import RecommendQuery
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
    if query.weights is not None:
        interests = interests * query.weights[:, :, None]
        mask = mask & (query.weights > 0)
    quotas = query.quotas_of(mask)

    def search(queries: np.ndarray, mask: np.ndarray, k: int) -> TopK:
        if lists is not None:
            return search_lists(index.vectors, queries, mask, k, lists, n_jobs)
        return index.search(queries, mask, k, query.excluded, query.allowed, n_jobs)

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


def nearest_users(
    items: np.ndarray,
    interests: np.ndarray,
    mask: np.ndarray,
    k: int,
    excluded: Ragged,
    n_jobs: int | None = None,
) -> TopK:
    """Return, for each item, the ``k`` users whose interests are nearest to it.

    Parameters
    ----------
    items : ndarray of shape (B, D), float32, unit length
    interests : ndarray of shape (n_users, K, D), float32, unit length
    mask : ndarray of shape (n_users, K), bool
        Interests in use.
    k : int
    excluded : Ragged
        Users that each item must not get.
    n_jobs : int or None
        See `Index.search`.

    Returns
    -------
    TopK
        With user codes instead of item codes.
    """
    K = mask.shape[1]
    owners, numbers = np.nonzero(mask)
    # Search among the interests in use. To exclude a user, exclude all interests of the user. The
    # k · K nearest interests belong to at least k users, because a user has at most K.
    first_interest = np.append(0, np.cumsum(mask.sum(1)))
    of_users = Ragged(np.arange(len(owners)), first_interest).take(excluded.values)
    excluded_interests = Ragged(of_users.values, of_users.offsets[excluded.offsets])
    top = ExactIndex(interests[mask]).search(
        items[:, None],
        np.ones((len(items), 1), dtype=bool),
        k * K,
        excluded_interests,
        None,
        n_jobs,
    )
    candidates = top._replace(
        codes=np.append(owners, -1)[top.codes], interests=np.append(numbers, -1)[top.codes]
    )
    return share_out(candidates, k, np.full((len(items), K), k))
