"""Events of equal time → an order that does not depend on the order of the rows.

A table is often sorted by item within a day, or has no times at all. If the order of its rows were
the order in time, the model would learn "the next item has a larger id".
"""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import numpy as np

from .._checks import warn
from ..exceptions import TiedTimesWarning
from .interactions import Interactions

TIE_ORDERS = "auto", "random", "rows"
MIN_SORTED_SHARE = 0.6  # of pairs with ascending (or descending) ids, to speak of sorted rows
MIN_SORTED_DEVIATIONS = 4  # standard deviations from the share that is expected by chance
MIN_TIED_SHARE = 0.05  # of the events; fewer ties have little influence


class Ties(NamedTuple):
    """Events that have the same time as another event of their user.

    Attributes
    ----------
    places : ndarray of shape (n_tied,), int64
        Positions in `Interactions.items`, ascending.
    groups : ndarray of shape (n_tied,), int64
        Events with the same user and time have the same number; numbers ascend.
    """

    places: np.ndarray
    groups: np.ndarray


def find_ties(interactions: Interactions, kinds: np.ndarray | None = None) -> Ties:
    """Return the ties of all users; without times, all events of a user are tied.

    Parameters
    ----------
    interactions : Interactions
    kinds : ndarray of shape (n_interactions,) or None
        Neighbours of different kinds are not tied.
    """
    is_like_previous = np.zeros(len(interactions.items), dtype=bool)
    is_like_previous[1:] = True
    for values in (interactions.times, kinds):
        if values is not None:
            is_like_previous[1:] &= values[1:] == values[:-1]
    firsts = interactions.offsets[:-1]
    is_like_previous[firsts[interactions.lengths > 0]] = False
    is_tied = is_like_previous.copy()
    is_tied[:-1] |= is_like_previous[1:]
    places = np.flatnonzero(is_tied)
    return Ties(places, np.cumsum(~is_like_previous[places]))


def mix_ties(interactions: Interactions, kinds: np.ndarray | None = None) -> Interactions:
    """Order tied events by a hash of the item: the same for any order of the rows.

    Parameters
    ----------
    interactions, kinds
        See `find_ties`.
    """
    places, groups = find_ties(interactions, kinds)
    if not len(places):
        return interactions
    keys = [hash_codes(interactions.items[places]), groups]
    if interactions.weights is not None:  # an item may be there twice, with different weights
        keys.insert(0, interactions.weights[places])
    return interactions.moved(places, places[np.lexsort(keys)])


def mixed_order(codes: np.ndarray) -> np.ndarray:
    """Return the positions of these item codes in the order of their hashes."""
    return np.argsort(hash_codes(codes), kind="stable")


def draw_tie_order(
    interactions: Interactions, ties: Ties, rng: np.random.Generator, users: np.ndarray
) -> Interactions:
    """Draw a new order of the tied events.

    Parameters
    ----------
    interactions : Interactions
    ties : Ties
        Of `find_ties`.
    rng : numpy.random.Generator
        Its state decides, and stays as it is, so that ties don't change what it draws later.
    users : ndarray of shape (n_users,), int
        Numbers that stand for the users.
    """
    if not len(ties.places):
        return interactions
    seed = np.random.Generator(deepcopy(rng.bit_generator)).integers(2**63)
    rows = interactions.rows_at(ties.places)
    places = (ties.places - interactions.offsets[rows]).astype(np.uint64)
    hashes = hash_codes(hash_codes(users ^ seed)[rows] + places)
    shares = (hashes >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    order = np.argsort(ties.groups + shares)
    return interactions.moved(ties.places, ties.places[order])


def hash_codes(codes: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each code: the finaliser of splitmix64 (Steele et al., 2014)."""
    x = codes.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def warn_of_rounding(interactions: Interactions, name: str, dtype: str, spacing: float) -> None:
    """Warn of tied events whose times are floats that can't tell neighbouring integers apart.

    Parameters
    ----------
    interactions : Interactions
    name : str
        What has the times, for the message.
    dtype : str
    spacing : float
        Distance of neighbouring floats at the largest time.

    Warns
    -----
    TiedTimesWarning
    """
    n_tied = len(find_ties(interactions).places)
    if n_tied:
        warn(
            f"{name} has times of type {dtype}, which are {spacing:g} apart at this size, and "
            f"{n_tied / len(interactions.items):.0%} of the events have the same time as another "
            "event of their user: different times may have become one. Read the column as int64 or "
            "datetimes, before it is float: missing values make integers floats, unless the dtype "
            "is 'Int64'",
            TiedTimesWarning,
        )


def warn_of_ties(interactions: Interactions) -> None:
    """Warn if the order of the rows is not used although it may mean something.

    Parameters
    ----------
    interactions : Interactions
        In the order of the rows where times are equal.

    Warns
    -----
    TiedTimesWarning
        If there are no times, or if the ids of tied events are sorted.
    """
    places, groups = find_ties(interactions)
    n_events = len(interactions.items)
    if len(places) < max(MIN_TIED_SHARE * n_events, 1):
        return
    steps = np.diff(interactions.items[places].astype(np.int64))[np.diff(groups) == 0]
    n_steps = max(int(np.count_nonzero(steps)), 1)
    share = int(np.count_nonzero(steps > 0)) / n_steps
    margin = max(MIN_SORTED_SHARE - 0.5, MIN_SORTED_DEVIATIONS * 0.5 / n_steps**0.5)
    is_sorted = abs(share - 0.5) > margin
    found = (
        f"From row to row their item ids increase in {share:.0%} of the cases, where 50% are "
        "expected by chance: the table looks sorted by item. "
        if is_sorted
        else ""
    )
    if interactions.times is None:
        warn(
            "there are no times, so the events of a user have no order: the order of the rows is "
            f"not used. {found}If it is the order in time, set tie_order='rows'; if not, set "
            "tie_order='random' to silence this warning",
            TiedTimesWarning,
        )
    elif is_sorted:
        warn(
            f"{len(places) / n_events:.0%} of the events have the same time as another event of "
            f"their user. {found}The order of the rows within equal times is not used. If it is "
            "the order in time, set tie_order='rows'; if not, set tie_order='random' to silence "
            "this warning, or give finer times",
            TiedTimesWarning,
        )
