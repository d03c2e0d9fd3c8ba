"""Numbers as times → warnings and errors if they differ in their unit, or are no times at all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._checks import warn
from ..exceptions import InvalidInputError

MAX_RATING = 100
MAX_RATINGS = 11  # distinct values of ratings, such as 0 to 10
MIN_RATED = 3  # rows; fewer say nothing
# Times of one table may span 1970 to 2100, but in another unit they differ by a factor of 1000.
MAX_RATIO = 3


class Unit(NamedTuple):
    """A unit of times since 1970, and the numbers that such times of the last decades have."""

    name: str
    seconds: float
    low: float
    high: float


UNITS = (
    Unit("days", 86_400, 1e3, 1e5),
    Unit("seconds", 1, 1e8, 1e10),
    Unit("milliseconds", 1e-3, 1e11, 1e13),
    Unit("microseconds", 1e-6, 1e14, 1e16),
    Unit("nanoseconds", 1e-9, 1e17, 1e19),
)
_EDGES = np.array([edge for unit in UNITS for edge in (unit.low, unit.high)])


class _Cluster(NamedTuple):
    """Times of one unit: their middle, and their number."""

    unit: Unit
    middle: float
    n_times: int

    def is_like(self, other: _Cluster) -> bool:
        """Return whether both are about the same moments, in different units."""
        ratio = self.middle * self.unit.seconds / (other.middle * other.unit.seconds)
        return self.unit != other.unit and 1 / MAX_RATIO < ratio < MAX_RATIO

    def __str__(self) -> str:
        return f"about {self.middle:.3g}, as {self.unit.name} since 1970 are"


def _clusters(times: np.ndarray) -> list[_Cluster]:
    """Return the times by unit; none if there are numbers that no unit has."""
    if times.dtype.kind == "M" or not len(times):
        return []
    low, high = float(times.min()), float(times.max())
    first, last = np.searchsorted(_EDGES, [low, high], side="right")
    if first == last:  # most tables
        places, counts = np.array([first]), np.array([len(times)])
    else:
        places, counts = np.unique(np.searchsorted(_EDGES, times, side="right"), return_counts=True)
    if (places % 2 == 0).any():
        return []
    clusters = []
    for place, count in zip(places.tolist(), counts.tolist(), strict=True):
        unit = UNITS[place // 2]
        own = times[(times >= unit.low) & (times < unit.high)] if len(places) > 1 else times
        clusters.append(_Cluster(unit, (float(own.min()) + float(own.max())) / 2, count))
    return clusters


def warn_of_mixed_units(times: np.ndarray, name: str, call: str) -> None:
    """Warn if some times are in another unit than the others, such as seconds and milliseconds.

    Parameters
    ----------
    times : ndarray of shape (n,)
        Not positive times, which may stand for unknown ones, don't matter.
    name, call : str
        What has the times, and the code that returns them, for the message.

    Warns
    -----
    SkmindWarning
    """
    if times.dtype.kind == "M" or not len(times) or times.max() < UNITS[0].low:
        return
    clusters = _clusters(times if times.min() > 0 else times[times > 0])
    if len(clusters) < 2 or not clusters[0].is_like(clusters[1]):
        return
    first, second = clusters[:2]
    factor = round(first.unit.seconds / second.unit.seconds)
    warn(
        f"{name} has {first.n_times} times of {first}, and {second.n_times} of {second}; their "
        f"order is wrong if these units are mixed. Convert them to one unit: {call}.where({call} < "
        f"{first.unit.high:g}, {call} // {factor})"
    )


def check_unit(times: np.ndarray, fitted: np.ndarray | None, name: str, call: str) -> None:
    """Raise if all times are in another unit than all times of ``fit``.

    Parameters
    ----------
    times : ndarray of shape (n,)
    fitted : ndarray of shape (n_interactions,) or None
    name, call : str
        As in `warn_of_mixed_units`.

    Raises
    ------
    InvalidInputError
    """
    if fitted is None:
        return
    new, known = _clusters(times), _clusters(fitted)
    if len(new) != 1 or len(known) != 1 or not new[0].is_like(known[0]):
        return
    factor = new[0].unit.seconds / known[0].unit.seconds
    cure = f"{call} * {round(factor)}" if factor > 1 else f"{call} // {round(1 / factor)}"
    raise InvalidInputError(
        f"{name} has times of {new[0]}, but the times of fit are {known[0]}; convert them to the "
        f"unit of fit: {cure}"
    )


def warn_of_ratings(users: np.ndarray, times: np.ndarray, name: str) -> None:
    """Warn if times that nobody named are few small numbers that fall within users.

    Parameters
    ----------
    users : ndarray of shape (n,), int
    times : ndarray of shape (n,)
    name : str
        What has the times, for the message.

    Warns
    -----
    SkmindWarning
    """
    if times.dtype.kind == "M" or len(times) < MIN_RATED or np.abs(times).max() > MAX_RATING:
        return
    values = np.unique(times)
    order = np.argsort(users, kind="stable")
    is_same_user = users[order][1:] == users[order][:-1]
    falls = (np.diff(times[order]) < 0) & is_same_user
    if len(values) <= MAX_RATINGS and falls.any():
        shown = ", ".join(f"{value:g}" for value in values)
        warn(
            f"{name} is read as the time, but has only the values {shown}: if they are ratings, "
            "name the columns, such as pandas.DataFrame(X, columns=['user_id', 'item_id', "
            "'rating']), and set time_col=None and weight_col='rating'. If the rows are sessions "
            "of items, give one row per event; if they are times, set time_col=2"
        )
