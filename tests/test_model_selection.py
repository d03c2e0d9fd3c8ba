import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import dataset
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, cross_validate

from skmind.exceptions import IdTypeError, InvalidInputError
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold

SPLITTERS = [
    LeaveLastOut(),
    LeaveLastOut(2, n_splits=3),
    LeaveLastOut(0.3, n_splits=2),
    TemporalSplit(3, test_size=0.2),
    UserKFold(4),
    UserKFold(3, shuffle=True, random_state=0),
]
ALL_SPLITTERS = pytest.mark.parametrize("splitter", SPLITTERS, ids=repr)


def interactions(n_rows=300, n_users=25, n_times=120, seed=0):
    """Shuffled rows with repeated times and users of all sizes."""
    rng = np.random.default_rng(seed)
    users = (n_users * rng.random(n_rows) ** 2).astype(int)
    times = rng.integers(n_times, size=n_rows)
    return pd.DataFrame(
        {"user_id": users, "item_id": rng.integers(40, size=n_rows), "timestamp": times}
    )


def folds(splitter, X):
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(X)]


class Popularity(BaseEstimator):
    """Scores the share of rows whose item is among the most frequent of training."""

    def __init__(self, n_top=3):
        self.n_top = n_top

    def fit(self, X, y=None):
        self.top_ = pd.Series(self._items(X)).value_counts().index[: self.n_top]
        return self

    def score(self, X, y=None):
        return float(np.isin(self._items(X), self.top_).mean())

    def _items(self, X):
        return X[:, 1] if isinstance(X, np.ndarray) else np.asarray(X["item_id"])


# ------------------------------------------------------------------ the protocol


@ALL_SPLITTERS
def test_splits_are_disjoint_sorted_positions_and_repeatable(splitter):
    X = interactions()
    parts = list(splitter.split(X))
    assert len(parts) == splitter.get_n_splits() == splitter.get_n_splits(X, None, None)
    for train, test in parts:
        assert train.dtype == test.dtype == np.int64
        assert len(train) > 0
        assert len(test) > 0
        both = np.concatenate([train, test])
        assert len(np.unique(both)) == len(both)
        assert both.min() >= 0
        assert both.max() < len(X)
        assert (np.diff(train) > 0).all()
        assert (np.diff(test) > 0).all()
    tests = np.concatenate([test for _, test in parts])
    assert len(np.unique(tests)) == len(tests)
    assert folds(splitter, X) == [(a.tolist(), b.tolist()) for a, b in parts]


@ALL_SPLITTERS
def test_every_kind_of_table_gives_the_same_positions(splitter):
    X = interactions()
    expected = folds(splitter, X)
    dates = X.assign(timestamp=pd.to_datetime(X["timestamp"], unit="D"))
    kinds = {
        "index": X.set_axis(range(1000, 1000 + len(X))),
        "text": X.astype({"user_id": str}),
        "category": X.astype({"user_id": "category"}),
        "nullable": X.convert_dtypes(),
        "float time": X.astype({"timestamp": float}),
        "dates": dates,
        "zone": dates.assign(timestamp=dates["timestamp"].dt.tz_localize("Asia/Tokyo")),
        "polars": pl.from_pandas(X),
        "polars dates": pl.from_pandas(dates),
        "arrow": pa.Table.from_pandas(X),
        "structured": X.to_records(index=False),
        "array": X.to_numpy(),
        "list of rows": X.to_numpy().tolist(),
        "list of tuples": [*X.itertuples(index=False, name=None)],
        "batch": pa.Table.from_pandas(X).to_batches()[0],
        "dataset": dataset.dataset(pa.Table.from_pandas(X)),
        "objects": X.astype({"user_id": str}).to_numpy(dtype=object),
        "positions": X.set_axis([0, 1, 2], axis=1),
    }
    copy = X.copy()
    for kind, table in kinds.items():
        by_position = {"user_col": 0, "time_col": 2} if kind == "positions" else {}
        for name, value in by_position.items():
            if hasattr(splitter, name):
                splitter = type(splitter)(**{**vars(splitter), name: value})
        assert folds(splitter, table) == expected, kind
    pd.testing.assert_frame_equal(X, copy)


@ALL_SPLITTERS
def test_chosen_columns(splitter):
    X = interactions()
    changed = {
        name: column
        for name, column in (("user_col", "who"), ("time_col", "when"))
        if hasattr(splitter, name)
    }
    other = type(splitter)(**{**vars(splitter), **changed})
    renamed = X.rename(columns={"user_id": "who", "timestamp": "when"})
    assert folds(other, renamed) == folds(splitter, X)
    missing = f"no column '{'who' if 'user_col' in changed else 'when'}'.* set .*_col="
    with pytest.raises(InvalidInputError, match=missing):
        other.split(X)


@pytest.mark.parametrize("splitter", [LeaveLastOut(2, n_splits=2), TemporalSplit(test_size=0.2)])
def test_without_a_time_column_the_order_of_the_rows_is_time(splitter):
    X = interactions()
    no_time = type(splitter)(**{**vars(splitter), "time_col": None})
    expected = folds(splitter, X.assign(timestamp=range(len(X))))
    assert folds(no_time, X) == expected
    assert folds(no_time, pa.Table.from_pandas(X)) == expected
    assert folds(no_time, X.to_numpy()) == expected
    assert folds(splitter, X.to_numpy()[:, :2]) == expected
    assert folds(splitter, X.to_numpy()) != expected


@ALL_SPLITTERS
@pytest.mark.parametrize("convert", [lambda X: X, pl.from_pandas, pa.Table.from_pandas, np.asarray])
def test_in_cross_validate(splitter, convert):
    X = interactions()
    result = cross_validate(Popularity(), convert(X), cv=splitter, return_indices=True)
    for fold, (train, test) in enumerate(splitter.split(X)):
        np.testing.assert_array_equal(result["indices"]["train"][fold], train)
        np.testing.assert_array_equal(result["indices"]["test"][fold], test)
        expected = Popularity().fit(X.iloc[train]).score(X.iloc[test])
        assert result["test_score"][fold] == expected


@ALL_SPLITTERS
def test_in_grid_search(splitter):
    search = GridSearchCV(Popularity(), {"n_top": [1, 40]}, cv=splitter).fit(interactions())
    assert search.n_splits_ == splitter.get_n_splits()
    assert search.best_params_ == {"n_top": 40}


def test_repr():
    assert repr(LeaveLastOut(2)) == (
        "LeaveLastOut(n_splits=1, n_test=2, time_col='timestamp', user_col='user_id')"
    )
    assert repr(TemporalSplit(time_col=None)) == (
        "TemporalSplit(gap=0, n_splits=3, test_size=0.1, test_start=None,\n       time_col=None)"
    )
    assert repr(UserKFold(shuffle=True, random_state=1)) == (
        "UserKFold(n_splits=5, random_state=1, shuffle=True, user_col='user_id')"
    )


# ------------------------------------------------------------------ LeaveLastOut


def test_leave_last_out_on_a_planted_table():
    X = pd.DataFrame(
        [("a", 5), ("b", 1), ("a", 1), ("a", 3), ("c", 9), ("b", 2), ("a", 3), ("a", 4)],
        columns=["user_id", "timestamp"],
    )  # user a by time: rows 2, 3, 6, 7, 0
    assert folds(LeaveLastOut(), X) == [([1, 2, 3, 4, 6, 7], [0, 5])]
    assert folds(LeaveLastOut(2), X) == [([1, 2, 3, 4, 5, 6], [0, 7])]
    assert folds(LeaveLastOut(1, n_splits=3), X) == [
        ([2, 3], [6]),
        ([1, 2, 3, 6], [7]),
        ([1, 2, 3, 4, 6, 7], [0, 5]),
    ]
    assert folds(LeaveLastOut(2, n_splits=2), X) == [
        ([2], [3, 6]),
        ([1, 2, 3, 4, 5, 6], [0, 7]),
    ]


def test_of_equal_times_the_later_row_is_the_later_event():
    X = pd.DataFrame({"user_id": [1, 2, 1, 2, 1], "timestamp": 7})
    assert folds(LeaveLastOut(), X) == [([0, 1, 2], [3, 4])]
    assert folds(LeaveLastOut(n_splits=2), X)[0] == ([0, 1], [2])


@pytest.mark.parametrize("n_test", [1, 2, 3])
@pytest.mark.parametrize("n_splits", [1, 3])
def test_leave_last_out_equals_a_loop_over_users(n_test, n_splits):
    X = interactions(n_users=150)
    rest = {
        user: sorted(rows.index, key=lambda row: (X["timestamp"][row], row))
        for user, rows in X.groupby("user_id")
    }
    sizes = {len(rows) for rows in rest.values()}
    assert min(sizes) <= 2 < max(sizes)
    expected = []
    for _ in range(n_splits):
        train = [
            r for rows in rest.values() for r in rows[: -n_test if len(rows) > n_test else None]
        ]
        test = [r for rows in rest.values() for r in rows[-n_test:] if len(rows) > n_test]
        expected.insert(0, (sorted(train), sorted(test)))
        rest = {user: rows[:-n_test] for user, rows in rest.items()}
    assert folds(LeaveLastOut(n_test, n_splits=n_splits), X) == expected


def test_leave_last_out_trains_on_the_past_of_each_user():
    X = interactions(n_times=10**6)
    assert X["timestamp"].is_unique
    splitter = LeaveLastOut(2, n_splits=3)
    for train, test in splitter.split(X):
        latest = X.iloc[train].groupby("user_id")["timestamp"].max()
        tested = X.iloc[test].groupby("user_id")["timestamp"]
        assert (tested.size() == 2).all()
        assert (latest[tested.min().index] < tested.min()).all()


def test_leave_last_out_too_few_rows():
    X = pd.DataFrame({"user_id": [1, 1, 1, 2], "timestamp": range(4)})
    message = (
        "n_test=1 with n_splits=3 needs a user with at least 4 rows, .* no user has more than 3"
    )
    with pytest.raises(InvalidInputError, match=message):
        LeaveLastOut(n_splits=3).split(X)
    assert len(folds(LeaveLastOut(n_splits=2), X)) == 2
    with pytest.raises(InvalidInputError, match="no user has more than 0"):
        LeaveLastOut().split(X.iloc[:0])


# ------------------------------------------------------------------ TemporalSplit


def test_temporal_split_on_a_planted_table():
    X = pd.DataFrame({"user_id": 1, "timestamp": [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]})
    assert folds(TemporalSplit(2), X) == [
        ([1, 3, 4, 5, 6, 7, 8, 9], [2]),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [0]),
    ]
    assert folds(TemporalSplit(1, test_size=0.3), X) == [([1, 3, 5, 6, 7, 8, 9], [0, 2, 4])]
    assert folds(TemporalSplit(2, test_size=0.3, time_col=None), X) == [
        ([0, 1, 2, 3], [4, 5, 6]),
        ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9]),
    ]


def test_rows_of_the_same_time_are_all_tested():
    X = pd.DataFrame({"timestamp": [1, 2, 3, 3, 3, 3, 4, 5, 5, 5]})
    # the windows would begin at positions 4 and 7, inside the runs of 3 and of 5
    assert folds(TemporalSplit(2, test_size=0.3), X) == [
        ([0, 1], [2, 3, 4, 5, 6]),
        ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9]),
    ]


@pytest.mark.parametrize("n_times", [60, 10**6])
@pytest.mark.parametrize(("n_splits", "test_size"), [(1, 0.1), (3, 0.1), (4, 0.24), (9, 0.05)])
def test_temporal_split_trains_on_the_past_only(n_times, n_splits, test_size):
    X = interactions(n_times=n_times)
    times = X["timestamp"].to_numpy()
    splits = list(TemporalSplit(n_splits, test_size=test_size).split(X))
    for number, (train, test) in enumerate(splits):
        assert times[train].max() < times[test].min()
        assert abs(len(test) - test_size * len(X)) <= (20 if n_times == 60 else 0)
        later = [rows for _, rows in splits[number + 1 :]]
        assert len(train) + len(test) + sum(map(len, later)) == len(X)


def test_temporal_split_of_the_fewest_rows():
    X = pd.DataFrame({"timestamp": range(4)})
    expected = [([0], [1]), ([0, 1], [2]), ([0, 1, 2], [3])]
    assert folds(TemporalSplit(3, test_size=0.32), X) == expected


@pytest.mark.parametrize(("n_rows", "test_size"), [(3, 0.1), (0, 0.1), (3, 0.3), (5, 0.33)])
def test_temporal_split_too_few_rows(n_rows, test_size):
    X = pd.DataFrame({"timestamp": range(n_rows)})
    message = f"{n_rows} rows are too few for n_splits=3 windows of test_size={test_size}"
    with pytest.raises(InvalidInputError, match=message):
        TemporalSplit(3, test_size=test_size).split(X)


@pytest.mark.parametrize("times", [[1] * 10, [1, 2, 3, 4, 5, 6, 7, 8, 8, 8], [1] * 8 + [2, 3]])
def test_temporal_split_too_many_equal_times(times):
    X = pd.DataFrame({"timestamp": times})
    message = (
        r"share the same time for n_splits=3 .* start at \[.*\] and .* rows at 1.* lower n_splits"
    )
    with pytest.raises(InvalidInputError, match=message):
        TemporalSplit(3).split(X)


@pytest.mark.parametrize(
    ("share", "n_splits"), [(0.1, 1), (0.25, 1), (0.5, 1), (0.9, 1), (0.1, 2), (0.3, 2), (0.3, 3)]
)
def test_a_share_of_the_rows_of_each_user(share, n_splits):
    X = interactions(n_users=40)
    expected = [([], []) for _ in range(n_splits)]
    for _, rows in X.groupby("user_id"):
        ordered = sorted(rows.index, key=lambda row: (X["timestamp"][row], row))
        n = min(round(share * len(ordered)), len(ordered) - 1)
        for fold in range(n_splits):
            end = len(ordered) - (n_splits - 1 - fold) * n
            start = end - n if end - n > 0 else end
            expected[fold][0].extend(ordered[:start] if n else ordered)
            expected[fold][1].extend(ordered[start : max(end, 0)])
    expected = [(sorted(train), sorted(test)) for train, test in expected]
    assert folds(LeaveLastOut(share, n_splits=n_splits), X) == expected


def test_a_share_that_leaves_nothing_to_test():
    X = pd.DataFrame({"user_id": [1, 1, 1, 2], "timestamp": range(4)})
    for splitter in (LeaveLastOut(0.1), LeaveLastOut(0.5, n_splits=2)):
        with pytest.raises(
            InvalidInputError, match="enough rows for a test row and a training row"
        ):
            splitter.split(X)
    assert folds(LeaveLastOut(0.99), X) == [([0, 3], [1, 2])]


# ------------------------------------------------------------------ TemporalSplit: lengths of time

TIMES = [0, 10, 19, 20, 21, 30, 35, 40]  # in any unit


def as_dates(times, unit="h"):
    return pd.DataFrame({"timestamp": pd.to_datetime(times, unit=unit)})


WINDOWS = [
    # arguments, test rows of each fold, last training time of each fold
    ({"n_splits": 1, "test_size": 10}, [[6, 7]], [30]),
    ({"n_splits": 2, "test_size": 10}, [[4, 5], [6, 7]], [20, 30]),
    ({"n_splits": 1, "test_size": 10, "gap": 9}, [[6, 7]], [21]),
    ({"n_splits": 1, "test_size": 10, "gap": 10}, [[6, 7]], [20]),
    ({"test_start": 20}, [[3, 4, 5, 6, 7]], [19]),
    ({"test_start": 20, "gap": 1}, [[3, 4, 5, 6, 7]], [10]),
    ({"test_start": 20, "test_size": 10}, [[3, 4]], [19]),
    ({"n_splits": 2, "test_start": 20, "test_size": 10}, [[3, 4], [5, 6]], [19, 21]),
    ({"n_splits": 1, "test_size": 0.25, "gap": 10}, [[6, 7]], [21]),
]


@pytest.mark.parametrize(("arguments", "tests", "last"), WINDOWS, ids=str)
def test_windows_of_time(arguments, tests, last):
    shuffled = np.random.default_rng(0).permutation(len(TIMES))
    for times in (np.array(TIMES), np.array(TIMES, dtype=float), np.array(TIMES)[shuffled]):
        values = sorted(range(len(times)), key=lambda row: times[row])
        expected = [
            (
                sorted(row for row in values if times[row] <= end),
                sorted(values[place] for place in places),
            )
            for places, end in zip(tests, last, strict=True)
        ]
        X = pd.DataFrame({"timestamp": times})
        assert folds(TemporalSplit(**arguments), X) == expected
        X = as_dates(times)
        for to_length in (
            lambda n: pd.Timedelta(n, "h"),
            lambda n: pd.Timedelta(n, "h").to_pytimedelta(),
            lambda n: np.timedelta64(n, "h"),
        ):
            lengths = {
                name: to_length(value)
                for name, value in arguments.items()
                if name in ("test_size", "gap") and value >= 1
            }
            moments = {}
            if "test_start" in arguments:
                moments["test_start"] = pd.Timestamp(arguments["test_start"], unit="h")
            dated = TemporalSplit(**{**arguments, **lengths, **moments})
            assert folds(dated, X) == expected
            zoned = X.assign(
                timestamp=X["timestamp"].dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
            )
            if moments:
                dated.test_start = dated.test_start.tz_localize("UTC")
            assert folds(dated, zoned) == expected


def test_windows_in_rows_without_times():
    X = pd.DataFrame({"user_id": range(10)})
    splitter = TemporalSplit(2, test_size=3, gap=1, time_col=None)
    assert folds(splitter, X) == [([0, 1, 2], [4, 5, 6]), ([0, 1, 2, 3, 4, 5], [7, 8, 9])]
    assert folds(TemporalSplit(test_start=8, time_col=None), X)[0][1] == [8, 9]


@pytest.mark.parametrize(
    "moment",
    [
        "1970-01-02",
        "1970-01-02 00:00+00:00",
        "1970-01-02T09:00+09:00",
        pd.Timestamp("1970-01-02"),
        pd.Timestamp("1970-01-02 09:00", tz="Asia/Tokyo"),
        np.datetime64("1970-01-02"),
        datetime.date(1970, 1, 2),
        datetime.datetime(1970, 1, 2),
    ],
    ids=repr,
)
def test_moments(moment):
    splitter = TemporalSplit(test_start=moment)
    assert splitter.get_n_splits() == 1
    naive = as_dates([23, 24, 25])
    zoned = naive.assign(timestamp=naive["timestamp"].dt.tz_localize("UTC"))
    has_zone = pd.Timestamp(moment).tzinfo is not None
    right, wrong = (zoned, naive) if has_zone else (naive, zoned)
    assert folds(splitter, right) == [([0], [1, 2])]
    message = "has a time zone, .*tz_convert" if has_zone else "has no time zone, .*tz_localize"
    with pytest.raises(InvalidInputError, match=f"^test_start=.* {message}"):
        splitter.split(wrong)


DATES = as_dates(TIMES)
NUMBERS = pd.DataFrame({"timestamp": TIMES})
HOUR = pd.Timedelta("1h")


@pytest.mark.parametrize(
    ("X", "arguments", "message"),
    [
        (NUMBERS, {"test_size": HOUR}, "test_size=.* but the times are numbers; .*to_datetime"),
        (NUMBERS, {"gap": HOUR}, "gap=.* is a length of time, but the times are numbers"),
        (DATES, {"test_size": 7}, r"test_size=7 is a number, but the times are dates; .*Timedelta"),
        (DATES, {"gap": 2}, "gap=2 is a number, but the times are dates"),
        (NUMBERS, {"test_start": "2020-01-01"}, "test_start=.* must be a number, as the times are"),
        (NUMBERS, {"test_start": np.inf}, "test_start=inf must be a number"),
        (DATES, {"test_start": 20}, "test_start=20 must be a date, as the times are"),
        (DATES, {"test_start": "02.01.1970"}, "test_start='02.01.1970' must be a date"),
        (DATES, {"test_start": "1970-13-01"}, "test_start='1970-13-01' must be a date"),
        (DATES, {"test_start": "9970-01-01"}, "test_start='9970-01-01' must be a date"),
        (DATES, {"test_start": pd.NaT}, "test_start=NaT must be a date"),
        (DATES, {"test_start": [1]}, r"test_start=\[1\] must be a date"),
        (
            DATES,
            {"test_start": "1970-01-03"},
            "begins at 1970-01-03.*, has no test rows; the times",
        ),
        (
            DATES,
            {"test_start": "1970-01-01"},
            "has no training rows; the times are from 1970-01-01T",
        ),
        (DATES, {"test_size": 24 * HOUR}, "window 1 of n_splits=3, .* has no training rows"),
        (DATES, {"test_size": np.timedelta64(10**6, "D")}, "has no training rows"),
        (NUMBERS, {"test_size": 10**30}, "has no training rows"),
        (NUMBERS.astype(float), {"test_size": 10**400}, "has no training rows"),
        (NUMBERS, {"test_start": 10**400}, "has no test rows"),
        (NUMBERS.astype(float), {"test_start": -(10**400)}, "has no training rows"),
        (NUMBERS, {"n_splits": 1, "test_size": 9, "gap": 10**30}, "has no training rows"),
        (
            as_dates([0, 1, 9, 10]),
            {"test_size": 3 * HOUR},
            "window 1 of n_splits=3, .* no test rows",
        ),
        (NUMBERS[:0], {"test_size": 3}, "the table has no rows"),
    ],
)
def test_windows_that_do_not_fit_the_times(X, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        TemporalSplit(**arguments).split(X)


# ------------------------------------------------------------------ UserKFold


def test_user_kfold_on_a_planted_table():
    X = pd.DataFrame({"user_id": ["x", "y", 3, "x", 2.5, "y"]})
    assert folds(UserKFold(2), X) == [([1, 4, 5], [0, 2, 3]), ([0, 2, 3], [1, 4, 5])]
    assert folds(UserKFold(4), X)[0] == ([1, 2, 4, 5], [0, 3])


@pytest.mark.parametrize("kwargs", [{}, {"shuffle": True}, {"shuffle": True, "random_state": 3}])
@pytest.mark.parametrize("n_splits", [2, 4, 25])
def test_each_user_is_tested_once_and_on_one_side(kwargs, n_splits):
    X = interactions()
    users = X["user_id"].to_numpy()
    tested = []
    for train, test in UserKFold(n_splits, **kwargs).split(X):
        assert len(train) + len(test) == len(X)
        assert not set(users[train]) & set(users[test])
        tested.append(set(users[test]))
    sizes = [len(fold) for fold in tested]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(set(users)) == len(set.union(*tested))


def test_user_kfold_shuffles_by_its_seed():
    X = interactions()
    first, again = (folds(UserKFold(shuffle=True, random_state=1), X) for _ in range(2))
    assert first == again
    assert first != folds(UserKFold(shuffle=True, random_state=2), X)
    assert first != folds(UserKFold(), X)
    state = np.random.RandomState(1)
    assert first == folds(UserKFold(shuffle=True, random_state=state), X)
    assert len(folds(UserKFold(shuffle=True), X)) == 5


def test_user_kfold_too_few_users():
    with pytest.raises(InvalidInputError, match="n_splits=5 is more than the number of users, 2"):
        UserKFold().split(pd.DataFrame({"user_id": [1, 2, 1, 2, 1, 1]}))
    with pytest.raises(InvalidInputError, match="the number of users, 0"):
        UserKFold().split(pd.DataFrame({"user_id": []}))


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LeaveLastOut(0), "n_test=0 must be an integer of at least 1"),
        (lambda: LeaveLastOut(1.0), r"n_test=1\.0 must be an integer"),
        (lambda: LeaveLastOut(n_splits=0), "n_splits=0 must be an integer of at least 1"),
        (lambda: TemporalSplit(0), "n_splits=0 must be an integer of at least 1"),
        (lambda: TemporalSplit(test_size=0), "test_size=0 must be a share of the rows"),
        (lambda: TemporalSplit(test_size=1), "test_size=1 must be a share of the rows"),
        (lambda: TemporalSplit(test_size=True), "test_size=True must be a share of the rows"),
        (lambda: TemporalSplit(test_size="0.1"), "test_size='0.1' must be a share of the rows"),
        (lambda: TemporalSplit(test_size=float("nan")), "test_size=nan must be a share"),
        (lambda: LeaveLastOut(1.5), r"n_test=1\.5 must be an integer"),
        (lambda: LeaveLastOut(10**30), r"n_test=10{30} must be below 2\*\*63"),
        (lambda: TemporalSplit(test_size="7d"), "a positive pandas.Timedelta, or a number above 1"),
        (lambda: TemporalSplit(test_size=-HOUR), "test_size=.* must be a share"),
        (lambda: TemporalSplit(test_size=0 * HOUR), "test_size=.* must be a share"),
        (lambda: TemporalSplit(test_size=pd.NaT), "test_size=NaT must be a share"),
        (lambda: TemporalSplit(test_size=np.timedelta64(1, "M")), "test_size=.* must be a share"),
        (lambda: TemporalSplit(test_size=np.inf), "test_size=inf must be a share"),
        (lambda: TemporalSplit(gap=-1), "gap=-1 must be the length of time between training and"),
        (lambda: TemporalSplit(gap="1d"), "gap='1d' must be the length of time"),
        (lambda: TemporalSplit(gap=True), "gap=True must be the length of time"),
        (
            lambda: TemporalSplit(test_size=0.1, test_start=5),
            "test_size=0.1 is a share .* with tes",
        ),
        (
            lambda: TemporalSplit(3, test_start=5),
            "n_splits=3 windows from test_start=5 on need a t",
        ),
        (lambda: TemporalSplit(5, test_size=0.2), "leave no row to train on; .* below 0.2"),
        (lambda: UserKFold(1), "n_splits=1 must be an integer of at least 2"),
        (lambda: UserKFold(shuffle=1), "shuffle=1 must be True or False"),
        (lambda: UserKFold(random_state=0), "random_state=0 has no effect with shuffle=False"),
    ],
)
def test_bad_parameters(build, message):
    with pytest.raises(InvalidInputError, match=message):
        build()


@ALL_SPLITTERS
@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1, 2, 3], [1, 2]], "X is a list of rows of unequal length"),
        (np.random.default_rng(0).integers(2, size=(20, 30)), "look like a matrix of users"),
        (sparse.eye(3), "X is a sparse matrix"),
        (np.arange(5), r"X is a ndarray of shape \(5,\); give a table"),
        (pd.Series([1, 2]), "X is a Series; give a table"),
        (None, "X is a NoneType"),
    ],
)
def test_bad_tables(splitter, X, message):
    with pytest.raises(InvalidInputError, match=message):
        splitter.split(X)


@ALL_SPLITTERS
def test_bad_column(splitter):
    column = "user_col" if hasattr(splitter, "user_col") else "time_col"
    other = type(splitter)(**{**vars(splitter), column: "who"})
    with pytest.raises(InvalidInputError, match=f"{column}='who' is not a column .* 3 columns"):
        other.split(interactions().to_numpy())
    other = type(splitter)(**{**vars(splitter), column: 3})
    with pytest.raises(InvalidInputError, match=f"{column}=3 is not a column .* from 0 to 2"):
        other.split(interactions())


def test_bad_values():
    X = interactions(n_rows=4)
    missing = [1, 2, None, 2]
    with pytest.raises(InvalidInputError, match="column 'user_id' has 1 missing .* row 2"):
        UserKFold(2).split(X.assign(user_id=missing))
    with pytest.raises(InvalidInputError, match="column 'timestamp' has 1 missing .* row 2"):
        TemporalSplit().split(X.assign(timestamp=missing))
    with pytest.raises(InvalidInputError, match="must be numeric or datetime; convert it first"):
        LeaveLastOut().split(X.assign(timestamp=["2020-01-01"] * 4))
    with pytest.raises(IdTypeError, match=r"has the id \(1, 2\) of type tuple"):
        UserKFold(2).split(X.assign(user_id=[(1, 2), "a", "b", "c"]))
