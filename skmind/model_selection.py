"""Interactions → (train, test) row positions, in scikit-learn's cross-validation protocol.

The splitters read the user and time columns from ``X``, so they need no ``groups``. They can be
passed as ``cv`` to ``cross_validate``, ``GridSearchCV`` and similar functions. ``X`` is a pandas or
polars frame, a pyarrow table, or a 2-D array. An array has no column names, so the default names
mean the positions 0 (user), 1 (item) and 2 (time; without a third column the order of the rows is
the order in time). The row positions of each part are ascending.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_random_state

from ._checks import check_count
from .data.tables import id_array, is_frame, take_column, time_array
from .exceptions import InvalidInputError

__all__ = ["LeaveLastOut", "TemporalSplit", "UserKFold"]

_DEFAULT_USER_COL = "user_id"
_DEFAULT_TIME_COL = "timestamp"
_Splits = Iterator[tuple[np.ndarray, np.ndarray]]


class _InteractionSplitter(BaseCrossValidator):
    """Base class of the splitters."""

    n_splits: int

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored.

        Returns
        -------
        int
        """
        return self.n_splits


class LeaveLastOut(_InteractionSplitter):
    """Test on the last interactions of each user, train on the earlier ones.

    This is the usual protocol of sequential recommendation. The training rows of a user are earlier
    than the test rows of this user, but they may be later than the test rows of other users. Use
    :class:`TemporalSplit` if that matters.

    With more than one split, the folds go back in time, oldest first. Each fold is the single split
    of the table without the last rows of each user, on which the later folds test.

    Parameters
    ----------
    n_test : int, default=1
        Number of test rows per user, at least 1. Raising it makes the test set larger and the
        training set smaller.
    n_splits : int, default=1
        Number of folds, at least 1. Each additional fold tests ``n_test`` earlier rows per
        user.
    user_col : str or int, default="user_id"
        Column of the user ids.
    time_col : str, int or None, default="timestamp"
        Column of the times. If two rows have the same time, the second row is the later event. If
        None, the order of the rows is the order in time.

    Notes
    -----
    If a user has at most ``n_test`` rows (in an older fold: without the test rows of later folds),
    all of them are training rows. Rows later than the test rows of a fold are in neither part.

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
        n_test: int = 1,
        *,
        n_splits: int = 1,
        user_col: Hashable = _DEFAULT_USER_COL,
        time_col: Hashable | None = _DEFAULT_TIME_COL,
    ) -> None:
        self.n_test = check_count(n_test, "n_test")
        self.n_splits = check_count(n_splits, "n_splits")
        self.user_col = user_col
        self.time_col = time_col

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Return an iterator over the folds, oldest first.

        Parameters
        ----------
        X : frame or ndarray of shape (n_rows, n_columns)
            The interactions.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        iterator of (train, test)
            Ascending row positions, both ndarray of int64.

        Raises
        ------
        InvalidInputError
            If a column is missing or has missing values, or if no user has more than
            ``n_test * n_splits`` rows, so that the oldest fold has no test row.
        """
        users, row_counts = _read_users(X, self.user_col)
        times = _read_times(X, self.time_col)
        n_needed = self.n_test * self.n_splits + 1
        max_rows = row_counts.max(initial=0)
        if max_rows < n_needed:
            raise InvalidInputError(
                f"n_test={self.n_test} with n_splits={self.n_splits} needs a user with at least "
                f"{n_needed} rows, but no user has more than {max_rows}; lower n_test or n_splits, "
                "or split by time with TemporalSplit"
            )
        # Sort the rows by user and time; ties keep their order. The cumulated counts give the end
        # of the rows of each user. The distance to this end is the number of later rows of the
        # user.
        order = np.lexsort((times, users))
        ends = row_counts.cumsum()[users[order]]
        n_later = np.empty(len(order), dtype=np.int64)
        n_later[order] = ends - 1 - np.arange(len(order))
        return self._folds(n_later, row_counts[users])

    def _folds(self, n_later: np.ndarray, n_rows_of_user: np.ndarray) -> _Splits:
        """Yield the folds.

        Parameters
        ----------
        n_later : ndarray of shape (n_rows,), int64
            Number of later rows of the same user.
        n_rows_of_user : ndarray of shape (n_rows,), int64
            Number of rows of the same user.
        """
        for fold in reversed(range(self.n_splits)):
            n_of_later_folds = fold * self.n_test
            n_up_to_fold = n_of_later_folds + self.n_test
            is_in_fold = n_later >= n_of_later_folds
            is_last = is_in_fold & (n_later < n_up_to_fold)
            is_test = is_last & (n_rows_of_user > n_up_to_fold)  # else no training row is left
            yield np.flatnonzero(is_in_fold & ~is_test), np.flatnonzero(is_test)


class TemporalSplit(_InteractionSplitter):
    """Test on consecutive windows of time, train on all rows before each window.

    This is the strictest protocol: all training rows are earlier than all test rows, even across
    users. The windows are at the end of the table and follow each other, oldest first. The training
    set grows from fold to fold.

    Parameters
    ----------
    n_splits : int, default=3
        Number of windows, at least 1. ``n_splits * test_size`` must be below 1.
    test_size : float, default=0.1
        Share of all rows in a window, above 0 and below 1. Rows of the same time are in the same
        window, so the sizes of the windows vary if times repeat.
    time_col : str, int or None, default="timestamp"
        Column of the times. If None, the order of the rows is the order in time.

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
    """

    def __init__(
        self,
        n_splits: int = 3,
        *,
        test_size: float = 0.1,
        time_col: Hashable | None = _DEFAULT_TIME_COL,
    ) -> None:
        self.n_splits = check_count(n_splits, "n_splits")
        self.test_size = _check_test_size(test_size)
        if n_splits * test_size >= 1:
            raise InvalidInputError(
                f"n_splits={n_splits} windows of test_size={test_size!r} leave no row to train on; "
                f"lower n_splits, or set test_size= below {1 / n_splits:g}"
            )
        self.time_col = time_col

    def split(self, X: Any, y: Any = None, groups: Any = None) -> _Splits:
        """Return an iterator over the folds, oldest first.

        Parameters
        ----------
        X : frame or ndarray of shape (n_rows, n_columns)
            The interactions.
        y, groups : object, default=None
            Ignored.

        Returns
        -------
        iterator of (train, test)
            Ascending row positions, both ndarray of int64.

        Raises
        ------
        InvalidInputError
            If the time column is missing or has missing values, or if there are too few rows or
            too few distinct times for the windows.
        """
        times = _read_times(X, self.time_col)
        n_window = round(len(times) * self.test_size)
        n_train = len(times) - n_window * self.n_splits
        if n_window == 0 or n_train < 1:
            raise InvalidInputError(
                f"{len(times)} rows are too few for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g} and at least one training row; give more rows, "
                "lower n_splits or change test_size"
            )
        sorted_times = np.sort(times)
        starts = sorted_times[n_train::n_window]  # first time of each window, (n_splits,)
        previous_starts = np.append(sorted_times[0], starts[:-1])
        if (starts == previous_starts).any():
            raise InvalidInputError(
                f"too many rows share the same time for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g}: the windows would start at {starts.tolist()} and "
                f"the training rows at {sorted_times[0]}, but rows of the same time can't be in "
                "two parts; lower n_splits, raise test_size, or use times with a higher resolution"
            )
        return self._folds(times, starts)

    def _folds(self, times: np.ndarray, starts: np.ndarray) -> _Splits:
        window = starts.searchsorted(times, side="right")  # 0: before the first window
        for fold in range(1, self.n_splits + 1):
            yield np.flatnonzero(window < fold), np.flatnonzero(window == fold)


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
        X : frame or ndarray of shape (n_rows, n_columns)
            The interactions.
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


def _check_test_size(test_size: Any) -> float:
    if not isinstance(test_size, Real) or not 0 < test_size < 1:  # type: ignore[operator]
        raise InvalidInputError(
            f"test_size={test_size!r} must be a share of the rows, a number above 0 and below 1"
        )
    return float(test_size)


def _read_users(X: Any, user_col: Hashable) -> tuple[np.ndarray, np.ndarray]:
    """Return the user code of each row, by first appearance, and the number of rows per user."""
    column = 0 if _is_array(X) and user_col == _DEFAULT_USER_COL else user_col
    ids = id_array(take_column(X, column, "user_col"), f"column {column!r}")
    users, _ = pd.factorize(ids)
    return users, np.bincount(users)


def _read_times(X: Any, time_col: Hashable | None) -> np.ndarray:
    """Return the time of each row; the row number if there is no time column."""
    column = time_col
    if _is_array(X) and time_col == _DEFAULT_TIME_COL:
        column = 2 if X.shape[1] > 2 else None
    if column is None:
        return np.arange(X.shape[0])
    return time_array(take_column(X, column, "time_col"), f"column {column!r}")


def _is_array(X: Any) -> bool:
    """Return whether ``X`` is a 2-D array; False for a frame.

    Raises
    ------
    InvalidInputError
        If ``X`` is neither a frame nor a 2-D array.
    """
    if is_frame(X):
        return False
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        shape = f" of shape {X.shape}" if isinstance(X, np.ndarray) else ""
        raise InvalidInputError(
            f"X is a {type(X).__name__}{shape}; give a table (pandas, polars, pyarrow) or an "
            "array of shape (n_rows, n_columns)"
        )
    return True
