"""Interactions → (train, test) row positions, in scikit-learn's cross-validation protocol.

The splitters read the user and time columns from ``X`` themselves, so they need no ``groups`` and
can be passed as ``cv=`` to ``cross_validate``, ``GridSearchCV`` and the like. ``X`` is a pandas or
polars frame, a pyarrow table, or a 2-D array. In an array, which has no column names, the default
names stand for the positions 0 (user), 1 (item) and 2 (time, if there is a third column; else the
order of the rows is time). Positions come in ascending order.
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

_USER, _TIME = "user_id", "timestamp"
_Splits = Iterator[tuple[np.ndarray, np.ndarray]]


class _InteractionSplitter(BaseCrossValidator):
    """What the splitters share: how many splits, and reading the columns."""

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

    The usual protocol of sequential recommendation. No test row of a user comes before one of the
    user's training rows. Across users times do overlap: another user's training rows may be later
    than a test row; where that matters use :class:`TemporalSplit`.

    With more than one split the folds walk back in time, oldest first: each is the single split of
    the table without the last rows of each user that later folds test on.

    Parameters
    ----------
    n_test : int, default=1
        Test rows of each user, at least 1. Raising it makes the test set larger and the training
        set smaller.
    n_splits : int, default=1
        Number of folds, at least 1. Each further fold reaches ``n_test`` rows of each user further
        into the past.
    user_col : str or int, default="user_id"
        Column of the user ids.
    time_col : str, int or None, default="timestamp"
        Column of the times; rows of the same time keep their order, the later row is the later
        event. None: the order of the rows is time.

    Notes
    -----
    A user with at most ``n_test`` rows (left, in an older fold) can't be both learned from and
    tested: all of these rows are training rows. Rows later than a fold's test rows are in neither
    part.

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
        user_col: Hashable = _USER,
        time_col: Hashable | None = _TIME,
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
            Each an ndarray of ascending row positions, int64.

        Raises
        ------
        InvalidInputError
            If a column is missing or has missing values, or if no user has more than
            ``n_test * n_splits`` rows, so the oldest fold would test nobody.
        """
        users, counts = _users(X, self.user_col)
        times = _times(X, self.time_col)
        n_needed = self.n_test * self.n_splits + 1
        if counts.max(initial=0) < n_needed:
            raise InvalidInputError(
                f"n_test={self.n_test} with n_splits={self.n_splits} needs a user with at least "
                f"{n_needed} rows, but no user has more than {counts.max(initial=0)}; lower n_test "
                "or n_splits, or split by time with TemporalSplit"
            )
        order = np.lexsort((times, users))  # stable: ties keep the order of the rows
        from_end = np.empty(len(order), dtype=np.int64)  # 0: the user's last row
        from_end[order] = counts.cumsum()[users[order]] - 1 - np.arange(len(order))
        return self._folds(from_end, counts[users])

    def _folds(self, from_end: np.ndarray, n_rows: np.ndarray) -> _Splits:
        for n_after in range((self.n_splits - 1) * self.n_test, -1, -self.n_test):
            rest = from_end >= n_after
            test = rest & (from_end < n_after + self.n_test) & (n_rows > n_after + self.n_test)
            yield np.flatnonzero(rest & ~test), np.flatnonzero(test)


class TemporalSplit(_InteractionSplitter):
    """Test on consecutive windows of time, train on everything before each.

    The strictest protocol: every training row is earlier than every test row, whoever the user.
    The windows lie at the end of the table, one after the other, oldest first; the training set
    grows from fold to fold.

    Parameters
    ----------
    n_splits : int, default=3
        Number of windows, at least 1. ``n_splits * test_size`` must be below 1.
    test_size : float, default=0.1
        Share of all rows in a window, above 0 and below 1. Rows of the same time are never
        divided: those at a window's first time all belong to it, so sizes vary where times repeat.
    time_col : str, int or None, default="timestamp"
        Column of the times. None: the order of the rows is time.

    Notes
    -----
    Users and items that are first seen in a window are in its test rows only, as in production.

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
        self, n_splits: int = 3, *, test_size: float = 0.1, time_col: Hashable | None = _TIME
    ) -> None:
        self.n_splits = check_count(n_splits, "n_splits")
        self.test_size = _share(test_size)
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
            Each an ndarray of ascending row positions, int64.

        Raises
        ------
        InvalidInputError
            If the time column is missing or has missing values, or if there are too few rows or
            too few distinct times for the windows.
        """
        times = _times(X, self.time_col)
        n_window = round(len(times) * self.test_size)
        n_train = len(times) - n_window * self.n_splits
        if n_window == 0 or n_train < 1:
            raise InvalidInputError(
                f"{len(times)} rows are too few for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g} and a row to train on; give more rows, lower "
                "n_splits or change test_size"
            )
        ordered = np.sort(times)
        cuts = ordered[n_train::n_window]  # (n_splits,)
        if (cuts == np.append(ordered[0], cuts[:-1])).any():
            raise InvalidInputError(
                f"too many rows share the same time for n_splits={self.n_splits} windows of "
                f"test_size={self.test_size:g}: the first times of the windows are "
                f"{cuts.tolist()} after {ordered[0]}, and rows of one time are never divided; "
                "lower n_splits, raise test_size, or use finer times"
            )
        return self._folds(times, cuts)

    def _folds(self, times: np.ndarray, cuts: np.ndarray) -> _Splits:
        window = cuts.searchsorted(times, side="right")  # 0: before the first window
        for fold in range(1, self.n_splits + 1):
            yield np.flatnonzero(window < fold), np.flatnonzero(window == fold)


class UserKFold(_InteractionSplitter):
    """Test on users whom training has not seen: all rows of a user are on one side.

    Measures recommendations for new people, from the history that they bring along.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2. Each user is tested in one of them; the folds differ by at
        most one user in size. Raising it makes training sets larger and takes longer.
    shuffle : bool, default=False
        Deal the users at random. False: in turn, in the order of their first rows.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle; only with ``shuffle=True``.
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
        user_col: Hashable = _USER,
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
            Each an ndarray of ascending row positions, int64.

        Raises
        ------
        InvalidInputError
            If the user column is missing or has missing values, or if there are fewer users than
            ``n_splits``.
        """
        users, counts = _users(X, self.user_col)
        n_users = len(counts)
        if n_users < self.n_splits:
            raise InvalidInputError(
                f"n_splits={self.n_splits} is more than the number of users, {n_users}; "
                "lower n_splits or give rows of more users"
            )
        turns = np.arange(n_users)
        if self.shuffle:
            turns = check_random_state(self.random_state).permutation(n_users)
        return self._folds(turns[users] % self.n_splits)

    def _folds(self, fold_of_row: np.ndarray) -> _Splits:
        for fold in range(self.n_splits):
            yield np.flatnonzero(fold_of_row != fold), np.flatnonzero(fold_of_row == fold)


def _share(test_size: Any) -> float:
    if not isinstance(test_size, Real) or not 0 < test_size < 1:  # type: ignore[operator]
        raise InvalidInputError(
            f"test_size={test_size!r} must be a share of the rows, a number above 0 and below 1"
        )
    return float(test_size)


def _users(X: Any, user_col: Hashable) -> tuple[np.ndarray, np.ndarray]:
    """User code of each row, numbered by first appearance, and the number of rows of each user."""
    column = 0 if _is_array(X) and user_col == _USER else user_col
    ids = id_array(take_column(X, column, "user_col"), f"column {column!r}")
    users, _ = pd.factorize(ids)
    return users, np.bincount(users)


def _times(X: Any, time_col: Hashable | None) -> np.ndarray:
    """Time of each row; the row number where there is no time column."""
    column = time_col
    if _is_array(X) and time_col == _TIME:
        column = 2 if X.shape[1] > 2 else None
    if column is None:
        return np.arange(X.shape[0])
    return time_array(take_column(X, column, "time_col"), f"column {column!r}")


def _is_array(X: Any) -> bool:
    """Whether ``X`` is a 2-D array; False for a frame, an error for anything else."""
    if is_frame(X):
        return False
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        shape = f" of shape {X.shape}" if isinstance(X, np.ndarray) else ""
        raise InvalidInputError(
            f"X is a {type(X).__name__}{shape}; give a table (pandas, polars, pyarrow) or an "
            "array of shape (n_rows, n_columns)"
        )
    return True
