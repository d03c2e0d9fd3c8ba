"""Sizes → Bunch of interactions of users with planted interests."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from .._checks import check_count, check_real
from ..exceptions import InvalidInputError

BLOCK_SCORES = 1 << 21  # scores of (user, item) pairs held at a time, 16 MiB per matrix

FIRST_SECOND = 1_577_836_800  # 2020-01-01 UTC
START_SECONDS = 30 * 86_400  # each user starts within this time after FIRST_SECOND
MAX_GAP_SECONDS = 86_400  # between two interactions of a user


def make_interactions(
    n_users: int = 1000,
    n_items: int = 400,
    *,
    n_topics: int = 40,
    n_interests: int = 4,
    n_events: int | tuple[int, int] = (20, 30),
    noise: float = 0.1,
    popularity_exponent: float = 0.5,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> Bunch:
    """Generate interactions of users who each have a few planted interests.

    Items belong to topics of (nearly) equal size. Each user is interested in ``n_interests`` topics
    drawn at random, so no pair of topics is more frequent than others. Each event draws one of
    the user's topics with equal probability, and an item of this topic by popularity. With
    probability ``noise`` it draws any item of the catalogue with equal probability instead.

    Parameters
    ----------
    n_users : int, default=1000
        Number of users, at least 1.
    n_items : int, default=400
        Number of items, at least ``n_topics``. Run time grows with ``n_users * n_items``.
    n_topics : int, default=40
        Number of topics, at least 1. Raising it makes each topic smaller and rarer. A single user
        vector with fewer dimensions than there are topics then represents several topics less well.
    n_interests : int, default=4
        Number of topics per user, 1 to ``n_topics``. Raising it increases the advantage of a model
        with several interests over one with a single vector per user.
    n_events : int or (int, int), default=(20, 30)
        Number of events per user, at least 1. A pair gives the ends (inclusive) of the range from
        which the number is drawn uniformly for each user.
    noise : float, default=0.1
        Share of events that ignore the user's interests, 0 to 1. With 1 nothing can be learnt:
        each user's items are drawn uniformly from the catalogue, so a metric must stay at chance
        level.
    popularity_exponent : float, default=0.5
        The r-th most popular item of a topic has the weight ``r**-popularity_exponent``, with an
        exponent of 0 to 100. With 0 all items of a topic are equally popular, 1 is Zipf's law.
        Raising it makes popularity a stronger baseline.
    random_state : int, RandomState, Generator or None, default=None
        Seed (0 or more) or generator. The same seed gives the same data, None gives different
        data in each call. numpy's global generator is neither used nor changed.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        interactions : DataFrame
            ``user_id``, ``item_id`` and ``timestamp`` (int64, seconds since 1970 UTC, distinct
            per user), sorted by time.
        item_table : DataFrame
            ``item_id`` (0 to ``n_items - 1``), ``title`` ("topic 3, item 17"), ``topic``.
        item_interest : ndarray of shape (n_items,), int64
            Topic of each item.
        user_interests : ndarray of shape (n_users, n_topics), bool
            Topics of each user; each row has ``n_interests`` true values.
        DESCR : str
            Description of the data.

    Raises
    ------
    InvalidInputError
        If a parameter is outside its valid range.

    Notes
    -----
    An item occurs once per user, unless the topics of the user (or, for noise, the catalogue) have
    no unseen item left. The order of a user's events is random, so it has no information.

    Items are drawn without replacement: the items with the largest log weight plus Gumbel noise are
    taken (Efraimidis and Spirakis, Information Processing Letters 97(5), 2006, in its log form).
    The probability of a topic therefore falls while its items are used up.

    Examples
    --------
    >>> from skmind.datasets import make_interactions
    >>> data = make_interactions(n_users=5, n_events=8, random_state=0)
    >>> data.interactions.shape
    (40, 3)
    >>> data.user_interests.sum(axis=1)
    array([4, 4, 4, 4, 4])
    """
    _check_sizes(n_users=n_users, n_items=n_items, n_topics=n_topics, n_interests=n_interests)
    min_events, max_events = _event_range(n_events)
    check_real(noise, "noise", 0, 1)
    check_real(popularity_exponent, "popularity_exponent", 0, 100)
    rng = _generator(random_state)

    topics, log_weights = _plant_topics(rng, n_items, n_topics, popularity_exponent)
    topics_of_user = rng.random((n_users, n_topics)).argsort(axis=1)[:, :n_interests]
    user_interests = np.zeros((n_users, n_topics), dtype=bool)
    np.put_along_axis(user_interests, topics_of_user, True, axis=1)
    event_counts = rng.integers(min_events, max_events + 1, size=n_users)
    items = np.empty((n_users, max_events), dtype=np.int64)
    users_per_block = max(1, BLOCK_SCORES // n_items)
    for start in range(0, n_users, users_per_block):
        block = slice(start, start + users_per_block)
        scores = np.where(user_interests[block][:, topics], log_weights, -np.inf)  # (B, n_items)
        items[block] = _draw_items(rng, scores, event_counts[block], noise, max_events)

    titles = [f"topic {topic}, item {item}" for item, topic in enumerate(topics)]
    item_table = {"item_id": np.arange(n_items), "title": titles, "topic": topics}
    return Bunch(
        interactions=_add_times(rng, items, event_counts),
        item_table=pd.DataFrame(item_table),
        item_interest=topics,
        user_interests=user_interests,
        DESCR=f"Planted interests\n\n{n_users} users, {min_events} to {max_events} events each, "
        f"{n_items} items.\nEach user has {n_interests} of {n_topics} topics; noise {noise:g}.",
    )


def _check_sizes(*, n_users: Any, n_items: Any, n_topics: Any, n_interests: Any) -> None:
    check_count(n_users, "n_users")
    check_count(n_items, "n_items")
    check_count(n_topics, "n_topics")
    check_count(n_interests, "n_interests")
    if not n_interests <= n_topics <= n_items:
        raise InvalidInputError(
            f"n_interests={n_interests}, n_topics={n_topics} and n_items={n_items} must not "
            "decrease in this order: the topics of a user are distinct, and each topic needs an "
            "item; raise the later value or lower the earlier one"
        )


def _event_range(n_events: Any) -> tuple[int, int]:
    ends = tuple(n_events) if isinstance(n_events, tuple | list) else (n_events, n_events)
    are_integers = all(isinstance(end, Integral) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not are_integers or not 1 <= ends[0] <= ends[1]:
        raise InvalidInputError(
            f"n_events={n_events!r} must be an integer of at least 1, or a pair (low, high) of "
            "such integers with low <= high"
        )
    return int(ends[0]), int(ends[1])


def _generator(random_state: Any) -> np.random.Generator:
    """Return the caller's own Generator, or a new one."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**32, size=4, dtype=np.uint32))
    if random_state is not None:
        is_integer = isinstance(random_state, Integral) and not isinstance(random_state, bool)
        if not is_integer or random_state < 0:
            raise InvalidInputError(
                f"random_state={random_state!r} must be None, an integer of at least 0, or a "
                "numpy Generator or RandomState; pass for example random_state=0"
            )
    return np.random.default_rng(random_state)


def _plant_topics(
    rng: np.random.Generator, n_items: int, n_topics: int, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the topic of each item and the log of its probability within it, both (n_items,)."""
    place = rng.permutation(n_items)
    topics = place % n_topics
    ranks = place // n_topics  # from 0, within the topic
    weights = (1.0 + ranks) ** -exponent
    totals = np.bincount(topics, weights=weights)  # (n_topics,)
    # Take the logs separately, because a weight underflows to 0 if the exponent is large.
    return topics, -exponent * np.log1p(ranks) - np.log(totals)[topics]


def _draw_items(
    rng: np.random.Generator,
    scores: np.ndarray,
    event_counts: np.ndarray,
    noise: float,
    max_events: int,
) -> np.ndarray:
    """Draw the items of a block of users, in no particular order.

    Parameters
    ----------
    rng : Generator
    scores : ndarray of shape (n_users, n_items), float64
        Log weights; -inf outside the topics of the user.
    event_counts : ndarray of shape (n_users,), int64
    noise : float
    max_events : int

    Returns
    -------
    ndarray of shape (n_users, max_events), int64
        Row ``i`` is valid in the first ``event_counts[i]`` columns: first the items from the user's
        topics, then the noise.
    """
    B, N = scores.shape
    rows = np.arange(B)[:, None]
    columns = np.arange(max_events)
    n_liked = (event_counts - rng.binomial(event_counts, noise))[:, None]  # (B, 1)
    is_liked = columns < n_liked  # (B, max_events)

    # Sorting by log weight + Gumbel noise, descending, is a weighted draw without replacement. If
    # the topics have too few items, the modulo repeats the items from the first on.
    n_in_topics = np.isfinite(scores).sum(axis=1, keepdims=True)
    order = _largest(scores + rng.gumbel(size=(B, N)), max_events)
    liked = order[rows, columns % n_in_topics]

    # Noise is a random order of all items. An item that the user already has gets a negative key,
    # so it comes after all the others.
    is_taken = np.zeros((B, N), dtype=bool)
    is_taken[np.nonzero(is_liked)[0], liked[is_liked]] = True
    order = _largest(rng.random((B, N)) - is_taken, max_events)
    noisy = order[rows, np.maximum(columns - n_liked, 0) % N]
    return np.where(is_liked, liked, noisy)


def _largest(keys: np.ndarray, n: int) -> np.ndarray:
    """Return the columns of the ``n`` largest keys per row (at most all), largest first."""
    n = min(n, keys.shape[1])
    top = np.argpartition(-keys, n - 1, axis=1)[:, :n]
    order = np.take_along_axis(-keys, top, axis=1).argsort(axis=1)
    return np.take_along_axis(top, order, axis=1)


def _add_times(
    rng: np.random.Generator, items: np.ndarray, event_counts: np.ndarray
) -> pd.DataFrame:
    """Put the items of each user in random order and give them times.

    Parameters
    ----------
    rng : Generator
    items : ndarray of shape (n_users, max_events), int64
        As `_draw_items` returns it.
    event_counts : ndarray of shape (n_users,), int64

    Returns
    -------
    DataFrame
        Sorted by time.
    """
    B, E = items.shape
    is_event = np.arange(E) < event_counts[:, None]
    # Invalid columns have the key inf, so a row is shuffled within its first columns.
    order = np.where(is_event, rng.random((B, E)), np.inf).argsort(axis=1)
    items = np.take_along_axis(items, order, axis=1)
    gaps = rng.integers(1, MAX_GAP_SECONDS + 1, size=(B, E))
    starts = FIRST_SECOND + rng.integers(0, START_SECONDS, size=(B, 1))
    times = starts + gaps.cumsum(axis=1)
    interactions = pd.DataFrame({"user_id": np.nonzero(is_event)[0], "item_id": items[is_event]})
    interactions["timestamp"] = times[is_event]
    return interactions.sort_values("timestamp", kind="stable", ignore_index=True)
