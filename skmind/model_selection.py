"""Interactions → (train, test) row positions, in scikit-learn's cross-validation protocol.

The splitters read the user and time columns from ``X``, so they need no ``groups``. They can be
passed as ``cv`` to ``cross_validate``, ``GridSearchCV`` and similar functions. ``X`` is any table
that ``fit`` takes. An array or a list of rows has no column names, so the default names
mean the positions 0 (user), 1 (item) and 2 (time; without a third column the order of the rows is
the order in time). The row positions of each part are ascending.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import suppress
from datetime import timedelta
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from ._checks import check_count
from .data.formats import as_table, check_columns, check_in_memory, check_log
from .data.tables import (
    check_exact,
    id_array,
    is_frame,
    is_unnamed,
    take_column,
    time_array,
    time_kind,
    warn_of_twins,
)
from .data.units import warn_of_mixed_units, warn_of_ratings
from .exceptions import InvalidInputError

__all__ = ["LeaveLastOut", "TemporalSplit", "UserKFold"]

_DEFAULT_USER_COL = "user_id"
_DEFAULT_TIME_COL = "timestamp"
# What the components of a Timedelta are worth: days, hours, minutes, seconds, ..., nanoseconds.
_NANOSECONDS = (86_400 * 10**9, 3_600 * 10**9, 60 * 10**9, 10**9, 10**6, 10**3, 1)
_Splits = Iterator[tuple[np.ndarray, np.ndarray]]


class _InteractionSplitter(BaseCrossValidator):
    """Base class of the splitters."""

    n_splits: int

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X : frame, array of shape (n_rows, n_columns), list of rows or None
            A search passes the table of which it takes the rows of each split.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        int

        Raises
        ------
        InvalidInputError
            If ``X`` is a path or another table of which scikit-learn can't take rows.
        """
        check_in_memory(X)
        return self.n_splits

    def _read_table(self, X: Any) -> Any:
        """Return ``X`` as a frame or array with the columns of the splitter."""
        columns = {name: value for name, value in vars(self).items() if name.endswith("_col")}
        has_default = not {_DEFAULT_USER_COL, _DEFAULT_TIME_COL}.isdisjoint(columns.values())
        X = as_table(X, may_be_sessions=has_default)
        if not _is_array(X):
            check_columns(X, columns)
        elif has_default:
            check_log(X)
        return X


class LeaveLastOut(_InteractionSplitter):
    """Test on the last interactions of each user, train on the earlier ones.

    This is the usual protocol of sequential recommendation. The training rows of a user are earlier
    than the test rows of this user, but they may be later than the test rows of other users. Use
    :class:`TemporalSplit` if that matters.

    With more than one split, the folds go back in time, oldest first. Each fold is the single split
    of the table without the last rows of each user, on which the later folds test.

    Parameters
    ----------
    n_test : int or float, default=1
        Number of test rows per user, at least 1; or a float above 0 and below 1, the share of the
        rows of the user, rounded to the nearest number of rows (a half to the even one), and at
        most all rows but one. Raising it makes the test set larger and the training set smaller.
    n_splits : int, default=1
        Number of folds, at least 1. Each further fold tests as many rows per user, which are
        further in the past.
    user_col : str or int, default="user_id"
        Column of the user ids.
    time_col : str, int or None, default="timestamp"
        Column of the times. If two rows have the same time, the second row is the later event. If
        None, the order of the rows is the order in time.

    Notes
    -----
    If a user has at most ``n_test`` rows (in an older fold: without the test rows of later folds),
    all of them are training rows; also if a share of the user's rows rounds to 0. Rows later than
    the test rows of a fold are in neither part.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.model_selection import LeaveLastOut
    >>> X = pd.DataFrame(
    ...     {"user_id": ["a", "a", "b", "a"], "item_id": [7, 8, 7, 9], "timestamp": [1, 3, 1, 2]}
    ... )
    >>> LeaveLastOut()
    LeaveLastOut(n_splits=1, n_test=1, time_col='timestamp', user_col='user_id')
    >>> for train, test in LeaveLastOut(n_splits=2).split(X):
    ...     print(train, test)
    [0] [3]
    [0 2 3] [1]
    """

    def __init__(
        self,
        n_test: float = 1,
        *,
        n_splits: int = 1,
        user_col: Hashable = _DEFAULT_USER_COL,
        time_col: Hashable | None = _DEFAULT_TIME_COL,
    ) -> None:
        self.n_test = n_test if _is_share(n_test) else check_count(n_test, "n_test")
        self.n_splits = check_count(n_splits, "n_splits")
        self.user_col = user_col
        self.time_col = time_col

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Return an iterator over the folds, oldest first.

        Parameters
        ----------
        X : frame, array of shape (n_rows, n_columns), list of rows or path
            The interactions, as in ``fit``.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        iterator of (train, test)
            Ascending row positions, both ndarray of int64.

        Raises
        ------
        InvalidInputError
            If a column is missing or has missing values, or if no user has so many rows that the
            oldest fold has a test row and a training row.
        """
        X = self._read_table(X)
        users, row_counts = _read_users(X, self.user_col)
        times = _read_times(X, self.time_col)
        if _is_array(X) and self.time_col == _DEFAULT_TIME_COL:
            warn_of_ratings(users, times, "column 2")
        max_rows = row_counts.max(initial=0)
        if _is_share(self.n_test):
            n_tested = np.minimum(np.rint(row_counts * self.n_test), row_counts - 1)
            n_tested = n_tested.astype(np.int64)
            needed = "enough rows for a test row and a training row in each fold"
            is_enough = ((n_tested > 0) & (row_counts > n_tested * self.n_splits)).any()
        else:
            n_needed = self.n_test * self.n_splits + 1
            needed = f"at least {n_needed} rows"
            is_enough = max_rows >= n_needed
            n_tested = np.full(len(row_counts), self.n_test if is_enough else 0)
        if not is_enough:
            raise InvalidInputError(
                f"n_test={self.n_test} with n_splits={self.n_splits} needs a user with {needed}, "
                f"but no user has more than {max_rows}; change n_test, lower n_splits, or split by "
                "time with TemporalSplit"
            )
        # Sort the rows by user and time; ties keep their order. The cumulated counts give the end
        # of the rows of each user. The distance to this end is the number of later rows of the
        # user.
        order = np.lexsort((times, users))
        ends = row_counts.cumsum()[users[order]]
        n_later = np.empty(len(order), dtype=np.int64)
        n_later[order] = ends - 1 - np.arange(len(order))
        return self._folds(n_later, row_counts[users], n_tested[users])

    def _folds(
        self, n_later: np.ndarray, n_rows_of_user: np.ndarray, n_tested: np.ndarray
    ) -> _Splits:
        """Yield the folds.

        Parameters
        ----------
        n_later : ndarray of shape (n_rows,), int64
            Number of later rows of the same user.
        n_rows_of_user : ndarray of shape (n_rows,), int64
            Number of rows of the same user.
        n_tested : ndarray of shape (n_rows,), int64
            Number of rows of the same user that each fold tests.
        """
        for fold in reversed(range(self.n_splits)):
            n_of_later_folds = fold * n_tested
            n_up_to_fold = n_of_later_folds + n_tested
            is_in_fold = n_later >= n_of_later_folds
            is_last = is_in_fold & (n_later < n_up_to_fold)
            is_test = is_last & (n_rows_of_user > n_up_to_fold)  # else no training row is left
            yield np.flatnonzero(is_in_fold & ~is_test), np.flatnonzero(is_test)


class TemporalSplit(_InteractionSplitter):
    """Test on consecutive windows of time, train on all rows before each window.

    This is the strictest protocol: all training rows are earlier than all test rows, even across
    users. The windows follow each other, oldest first. They are at the end of the table, or begin
    at a given moment. The training set grows from fold to fold.

    Parameters
    ----------
    n_splits : int or None, default=None
        Number of windows, at least 1. None: 3, or 1 with ``test_start``. ``n_splits * test_size``
        must be below 1 if ``test_size`` is a share.
    test_size : float, int, Timedelta, timedelta, timedelta64 or None, default=None
        Size of a window. A float above 0 and below 1 is a share of all rows. Rows of the same time
        are in the same window, so the sizes of the windows vary if times repeat. Anything else is a
        length of time: a ``pandas.Timedelta`` if the times are dates, or a number above 1, in the
        unit of the column, if they are numbers. The last window ends at the last time, and a
        row exactly one length before the end of a window is in the window before. None: 0.1, or
        everything from ``test_start`` on.
    test_start : date, number or None, default=None
        The moment at which the first window begins; a row at this time is in it. Dates may be
        anything that ``pandas.Timestamp`` takes, but text must begin with the year; they have a
        time zone if the times have one. A window is then one length of time from its
        beginning, its end excluded. More than one window needs a ``test_size``, which can't be a
        share.
    gap : int, float, Timedelta, timedelta or timedelta64, default=0
        Length of time before each window: the rows in it are not in the training part. Of the kind
        of the times, as ``test_size``.
    time_col : str, int or None, default="timestamp"
        Column of the times. If None, the order of the rows is the order in time; lengths of time
        are then numbers of rows.

    Notes
    -----
    Users and items that first occur in a window are only in its test rows, as in production.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.model_selection import TemporalSplit
    >>> X = pd.DataFrame({"user_id": list("abcab"), "item_id": 7, "timestamp": [1, 5, 2, 4, 3]})
    >>> for train, test in TemporalSplit(2, test_size=0.2).split(X):
    ...     print(train, test)
    [0 2 4] [3]
    [0 2 3 4] [1]
    >>> days = X.assign(timestamp=pd.to_datetime(X["timestamp"], unit="D"))
    >>> for train, test in TemporalSplit(1, test_size=pd.Timedelta("2D")).split(days):
    ...     print(train, test)
    [0 2 4] [1 3]
    >>> for train, test in TemporalSplit(test_start="1970-01-04", gap=pd.Timedelta("1D")).split(
    ...     days
    ... ):
    ...     print(train, test)
    [0] [1 3 4]
    """

    def __init__(
        self,
        n_splits: int | None = None,
        *,
        test_size: Any = None,
        test_start: Any = None,
        gap: Any = 0,
        time_col: Hashable | None = _DEFAULT_TIME_COL,
    ) -> None:
        if n_splits is None:
            n_splits = 3 if test_start is None else 1
        if test_size is None and test_start is None:
            test_size = 0.1
        self.n_splits = check_count(n_splits, "n_splits")
        is_valid = test_size is None or _is_share(test_size) or _is_length(test_size, 1)
        if not is_valid or test_size == 1:  # not a share, and rarely meant as a length
            raise InvalidInputError(
                f"test_size={test_size!r} must be a share of the rows, a number above 0 and below "
                "1; or the length of a window: a positive pandas.Timedelta, or a number above 1 in "
                "the unit of the time column"
            )
        if not _is_length(gap, 0):
            raise InvalidInputError(
                f"gap={gap!r} must be the length of time between training and test rows: a "
                "pandas.Timedelta, or a number in the unit of the time column, at least 0"
            )
        if _is_share(test_size) and test_start is not None:
            raise InvalidInputError(
                f"test_size={test_size!r} is a share of the rows, but with test_start= it must be "
                "the length of a window, such as pandas.Timedelta('7D'); or leave it out to test "
                "on all later rows"
            )
        if test_size is None and self.n_splits > 1:
            raise InvalidInputError(
                f"n_splits={n_splits} windows from test_start={test_start!r} on need a test_size=, "
                "the length of each, such as pandas.Timedelta('7D'); or set n_splits=1"
            )
        if _is_share(test_size) and n_splits * test_size >= 1:
            raise InvalidInputError(
                f"n_splits={n_splits} windows of test_size={test_size!r} leave no row to train on; "
                f"lower n_splits, or set test_size= below {1 / n_splits:g}"
            )
        self.test_size = test_size
        self.test_start = test_start
        self.gap = gap
        self.time_col = time_col

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Return an iterator over the folds, oldest first.

        Parameters
        ----------
        X : frame, array of shape (n_rows, n_columns), list of rows or path
            The interactions, as in ``fit``.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        iterator of (train, test)
            Ascending row positions, both ndarray of int64.

        Raises
        ------
        InvalidInputError
            If the time column is missing or has missing values, if there are too few rows or too
            few distinct times for the windows, if a window has no test or no training row, or if
            ``test_size``, ``test_start`` or ``gap`` is of another kind than the times.
        """
        X = self._read_table(X)
        times = _read_times(X, self.time_col)
        kind = _kind_of_times(X, self.time_col, times)
        if not len(times) and not _is_share(self.test_size):
            raise InvalidInputError("the table has no rows; give at least two")
        is_date = times.dtype.kind == "M"
        ticks = times.astype(np.int64) if is_date else times
        gap = _length_in_ticks(self.gap, times, "gap")
        side: Literal["left", "right"] = "right"  # a row at the beginning of a window is in it
        if _is_share(self.test_size):
            bounds = self._bounds_by_share(times).astype(ticks.dtype).tolist()
        else:
            length: Any = None
            if self.test_size is not None:
                length = _length_in_ticks(self.test_size, times, "test_size")
            if self.test_start is not None:
                first = _moment_in_ticks(self.test_start, kind)
                n_bounds = 1 if length is None else self.n_splits + 1
                bounds = [first + (length or 0) * number for number in range(n_bounds)]
            else:
                last = ticks.max().item()
                bounds = [last - length * number for number in range(self.n_splits, -1, -1)]
                side = "left"  # a row at the end of a window is in it
        edges = _clipped(bounds, ticks)
        ends_of_training = _clipped([bound - gap for bound in bounds], ticks)
        window = edges.searchsorted(ticks, side=side)  # 0: before the first window
        is_before = np.less if side == "right" else np.less_equal
        folds = []
        for fold in range(self.n_splits):
            train = np.flatnonzero(is_before(ticks, ends_of_training[fold]))
            test = np.flatnonzero(window == fold + 1)
            for part, name in ((train, "training"), (test, "test")):
                if not len(part):
                    beginning = edges[fold].astype(times.dtype)
                    raise InvalidInputError(
                        f"window {fold + 1} of n_splits={self.n_splits}, which begins at "
                        f"{beginning}, has no {name} rows; the times are from {times.min()} to "
                        f"{times.max()}. Change test_size, test_start, gap or n_splits"
                    )
            folds.append((train, test))
        return iter(folds)

    def _bounds_by_share(self, times: np.ndarray) -> np.ndarray:
        """Return the first time of each window, ndarray of shape (n_splits,)."""
        n_window = round(len(times) * self.test_size)
        n_train = len(times) - n_window * self.n_splits
        if n_window == 0 or n_train < 1:
            raise InvalidInputError(
                f"{len(times)} rows are too few for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g} and at least one training row; give more rows, "
                "lower n_splits or change test_size"
            )
        sorted_times = np.sort(times)
        starts = sorted_times[n_train::n_window]
        previous_starts = np.append(sorted_times[0], starts[:-1])
        if (starts == previous_starts).any():
            raise InvalidInputError(
                f"too many rows share the same time for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g}: the windows would start at {starts.tolist()} and "
                f"the training rows at {sorted_times[0]}, but rows of the same time can't be in "
                "two parts; lower n_splits, raise test_size, or use times with a higher resolution"
            )
        return starts


class UserKFold(_InteractionSplitter):
    """Test on users who are not in the training set: all rows of a user are in the same part.

    This measures the recommendations for new users with a history.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2. Each user is tested in one fold, and the numbers of users per
        fold differ by at most one. Raising it makes the training sets larger and takes longer.
    shuffle : bool, default=False
        Whether to assign the users to the folds at random. If False, they are assigned in turn, in
        the order of their first rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle. Must be None if ``shuffle`` is False.
    user_col : str or int, default="user_id"
        Column of the user ids.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.model_selection import UserKFold
    >>> X = pd.DataFrame({"user_id": list("abcab"), "item_id": 7})
    >>> for train, test in UserKFold(3).split(X):
    ...     print(train, test)
    [1 2 4] [0 3]
    [0 2 3] [1 4]
    [0 1 3 4] [2]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: Any = None,
        user_col: Hashable = _DEFAULT_USER_COL,
    ) -> None:
        self.n_splits = check_count(n_splits, "n_splits", minimum=2)
        if not isinstance(shuffle, bool):
            raise InvalidInputError(f"shuffle={shuffle!r} must be True or False")
        if random_state is not None and not shuffle:
            raise InvalidInputError(
                f"random_state={random_state!r} has no effect with shuffle=False; "
                "set shuffle=True, or leave random_state=None"
            )
        self.shuffle = shuffle
        self.random_state = random_state
        self.user_col = user_col

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Return an iterator over the folds.

        Parameters
        ----------
        X : frame, array of shape (n_rows, n_columns), list of rows or path
            The interactions, as in ``fit``.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        iterator of (train, test)
            Ascending row positions, both ndarray of int64.

        Raises
        ------
        InvalidInputError
            If the user column is missing or has missing values, or if there are fewer users than
            ``n_splits``.
        """
        X = self._read_table(X)
        users, row_counts = _read_users(X, self.user_col)
        n_users = len(row_counts)
        if n_users < self.n_splits:
            raise InvalidInputError(
                f"n_splits={self.n_splits} is more than the number of users, {n_users}; "
                "lower n_splits or give rows of more users"
            )
        places = np.arange(n_users)
        if self.shuffle:
            places = check_random_state(self.random_state).permutation(n_users)
        fold_of_user = places % self.n_splits
        return self._folds(fold_of_user[users])

    def _folds(self, fold_of_row: np.ndarray) -> _Splits:
        for fold in range(self.n_splits):
            yield np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _is_share(value: Any) -> bool:
    """Return whether ``value`` is a number above 0 and below 1."""
    return _is_number(value) and 0 < value < 1


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta | np.timedelta64)  # pandas.Timedelta is a timedelta


def _is_length(value: Any, minimum: int) -> bool:
    """Return whether ``value`` is a positive length of time, or a number of at least this."""
    if not _is_duration(value):
        return _is_number(value) and minimum <= value < np.inf
    try:
        return pd.Timedelta(value) > pd.Timedelta(0)  # false for NaT
    except ValueError:  # months and years have no fixed length
        return False


def _length_in_ticks(value: Any, times: np.ndarray, name: str) -> Any:
    """Return a length of time as a number, of nanoseconds if the times are dates.

    Raises
    ------
    InvalidInputError
        If it is a duration and the times are numbers, or the other way round.
    """
    is_date = times.dtype.kind == "M"
    if _is_duration(value):
        if is_date:
            parts = pd.Timedelta(value).components  # the number of nanoseconds may exceed int64
            return sum(part * size for part, size in zip(parts, _NANOSECONDS, strict=True))
        raise InvalidInputError(
            f"{name}={value!r} is a length of time, but the times are numbers; give {name}= as a "
            "number in the unit of the times, such as 7 * 86_400 for a week of seconds, or convert "
            "the times first (pandas.to_datetime with unit=)"
        )
    if is_date and value:
        raise InvalidInputError(
            f"{name}={value!r} is a number, but the times are dates; give {name}= as a "
            "pandas.Timedelta, such as pandas.Timedelta('7D')"
        )
    return _as_number(value)


def _moment_in_ticks(test_start: Any, kind: str) -> Any:
    """Return ``test_start`` as a number, of nanoseconds since 1970 if the times are dates.

    Parameters
    ----------
    test_start : date or number
    kind : {"numbers", "dates", "zoned dates"}
        What the times are.

    Raises
    ------
    InvalidInputError
        If it is no moment, or of another kind than the times.
    """
    is_number = _is_number(test_start)
    if kind == "numbers":
        if not is_number or not abs(test_start) < np.inf:
            raise InvalidInputError(
                f"test_start={test_start!r} must be a number, as the times are; or convert the "
                "times first (pandas.to_datetime with unit=)"
            )
        return _as_number(test_start)
    # Of a text such as 01.09.2021 it is not known which number is the month.
    is_unclear = isinstance(test_start, str) and not re.match(r"\d{4}(-|$)", test_start)
    moment = pd.NaT
    if not is_number and not is_unclear:
        with suppress(TypeError, ValueError):
            moment = pd.Timestamp(test_start).as_unit("ns")
    if pd.isna(moment):
        raise InvalidInputError(
            f"test_start={test_start!r} must be a date, as the times are, such as '2024-12-31' or "
            "pandas.Timestamp('2024-12-31 18:00')"
        )
    if moment.tzinfo is None and kind == "zoned dates":
        raise InvalidInputError(
            f"test_start={test_start!r} has no time zone, but the times have one; give it the zone "
            f"that it is meant in, such as pandas.Timestamp('{moment}').tz_localize('UTC')"
        )
    if moment.tzinfo is not None and kind == "dates":
        raise InvalidInputError(
            f"test_start={test_start!r} has a time zone, but the times have none; convert it to "
            "the zone in which they were recorded, and drop it, such as "
            f"pandas.Timestamp('{moment}').tz_convert('UTC').tz_localize(None)"
        )
    return moment.value


def _as_number(value: Any) -> int | float:
    """Return a number as int if it is whole; beyond all times it becomes 2**64."""
    value = min(max(value, -(2**64)), 2**64)
    return int(value) if value == int(value) else float(value)


def _clipped(numbers: list, ticks: np.ndarray) -> np.ndarray:
    """Return numbers that may exceed int64 as an array; floats if there is a fraction."""
    if ticks.dtype.kind == "f" or any(isinstance(number, float) for number in numbers):
        return np.array(numbers, dtype=np.float64)
    limits = np.iinfo(np.int64)
    return np.array([min(max(number, limits.min), limits.max) for number in numbers])


def _read_users(X: Any, user_col: Hashable) -> tuple[np.ndarray, np.ndarray]:
    """Return the user code of each row, by first appearance, and the number of rows per user."""
    column = 0 if _is_array(X) and user_col == _DEFAULT_USER_COL else user_col
    name = f"column {column!r}"
    ids = id_array(take_column(X, column, "user_col"), name)
    check_exact(ids, name)
    users, distinct = pd.factorize(ids)
    warn_of_twins(distinct, "user ids")
    return users, np.bincount(users)


def _read_times(X: Any, time_col: Hashable | None) -> np.ndarray:
    """Return the time of each row; the row number if there is no time column."""
    column = _time_column(X, time_col)
    if column is None:
        return np.arange(len(X))
    name = f"column {column!r}"
    times = time_array(take_column(X, column, "time_col"), name)
    warn_of_mixed_units(times, name, f"X[{column!r}]")
    return times


def _kind_of_times(X: Any, time_col: Hashable | None, times: np.ndarray) -> str:
    """Return the kind of what `_read_times` returned, as `time_kind`."""
    column = _time_column(X, time_col)
    return "numbers" if column is None else time_kind(X, column, "time_col", times)


def _time_column(X: Any, time_col: Hashable | None) -> Any:
    """Return the column of the times; in an array, the default name means the third one."""
    if _is_array(X) and time_col == _DEFAULT_TIME_COL:
        return 2 if X.shape[1] > 2 else None
    return time_col


def _is_array(X: Any) -> bool:
    """Return whether ``X`` is a 2-D array, or the frame of one; False for other frames.

    Raises
    ------
    InvalidInputError
        If ``X`` is neither a frame nor a 2-D array.
    """
    if is_frame(X):
        return is_unnamed(X)
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        shape = f" of shape {X.shape}" if isinstance(X, np.ndarray) else ""
        raise InvalidInputError(
            f"X is a {type(X).__name__}{shape}; give a table (pandas, polars, pyarrow) or an "
            "array of shape (n_rows, n_columns)"
        )
    return True
