import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind.data import ragged, tables
from skmind.data.ids import IdEncoder
from skmind.data.prepare import Schema, prepare, profile_rows, read_column, read_rows
from skmind.exceptions import IdTypeError, IgnoredDataWarning, InvalidInputError

SCHEMA = Schema("user", "item", "time")
DAY = 86400 * 10**9


def random_rows(seed=0, n=80):
    """Return users as text, items as integers, and times as days of which many are equal."""
    rng = np.random.default_rng(seed)
    users = [f"u{code:02d}" for code in rng.integers(12, size=n)]
    return users, rng.integers(100, 115, n).tolist(), rng.integers(9, size=n).tolist()


def oracle(users, items, times):
    """Return (time, item) pairs per user, oldest first; equal times keep the order of the rows."""
    histories = {}
    for row, (user, item, time) in enumerate(zip(users, items, times, strict=True)):
        histories.setdefault(user, []).append((time, row, item))
    return {
        user: [(time, item) for time, _, item in sorted(history)]
        for user, history in sorted(histories.items())
    }


def decoded(prepared):
    """Return the item ids of each history, by user id."""
    codes = np.split(prepared.interactions.items, prepared.interactions.offsets[1:-1])
    ids = [prepared.items.ids[history].tolist() for history in codes]
    return dict(zip(prepared.users.ids.tolist(), ids, strict=True))


def items_of(histories):
    return {user: [item for _, item in history] for user, history in histories.items()}


# ------------------------------------------------------------------ tables of every kind


def moments(days, zone=None):
    return pd.to_datetime(pd.Series(days) * DAY, utc=True).dt.tz_convert(zone)


def pandas(users="object", items="int64", times=None):
    def make(u, i, t):
        columns = {"user": pd.Series(u, dtype=users), "item": pd.Series(i, dtype=items)}
        return pd.DataFrame({**columns, "time": pd.Series(t) if times is None else times(t)})

    return make


def structured(u, i, t):
    stamps = np.array(t, dtype="M8[D]")
    types = [("user", "U3"), ("item", "i4"), ("time", "M8[D]")]
    return np.array(list(zip(u, i, stamps, strict=True)), dtype=types)


def objects(u, i, t):
    return np.array(list(zip(u, i, t, strict=True)), dtype=object)


def polars(u, i, t):
    stamps = moments(t).dt.tz_localize(None).tolist()
    frame = pl.DataFrame({"user": u, "item": i, "time": stamps})
    return frame.with_columns(pl.col("user").cast(pl.Categorical), pl.col("item").cast(pl.UInt16))


def arrow(u, i, t):
    stamps = pa.array(moments(t, "Asia/Tokyo").tolist(), pa.timestamp("us", "Asia/Tokyo"))
    return pa.table({"user": pa.array(u).dictionary_encode(), "item": i, "time": stamps})


ARROW_TEXT = pd.ArrowDtype(pa.string())
ARROW_INT = pd.ArrowDtype(pa.int32())
# name → (function of users, items and days, length of a day in the unit of the times)
TABLES = {
    "object, integer times": (pandas(), 1),
    "object items": (pandas(items="object"), 1),
    "object times": (pandas(times=lambda t: pd.Series(t, dtype=object)), 1),
    "str, float times": (pandas("str", times=lambda t: pd.Series(t, dtype=float)), 1),
    "string, Int64": (pandas("string", "Int64", lambda t: pd.Series(t, dtype="Int64")), 1),
    "string[pyarrow], uint8 times": (
        pandas("string[pyarrow]", "int16", lambda t: pd.Series(t, dtype="uint8")),
        1,
    ),
    "categorical": (pandas("category", "category", lambda t: pd.Series(t, dtype="category")), 1),
    "pyarrow-backed": (
        pandas(ARROW_TEXT, ARROW_INT, lambda t: pd.Series(t, dtype=pd.ArrowDtype(pa.float32()))),
        1,
    ),
    "times of seconds": (pandas(times=lambda t: pd.Series(np.array(t, dtype="M8[D]"))), DAY),
    "times in Tokyo": (pandas(times=lambda t: moments(t, "Asia/Tokyo")), DAY),
    "times of objects": (pandas(times=lambda t: moments(t, "Asia/Tokyo").astype(object)), DAY),
    "dates": (pandas(times=lambda t: [dt.date(1970, 1, 1) + dt.timedelta(d) for d in t]), DAY),
    "pyarrow-backed times": (
        pandas(times=lambda t: moments(t).astype(pd.ArrowDtype(pa.timestamp("ms", "UTC")))),
        DAY,
    ),
    "odd index": (lambda u, i, t: pandas()(u, i, t).set_index(np.arange(len(u)) % 7), 1),
    "more columns": (
        lambda u, i, t: pandas()(u, i, t).assign(x=0)[["x", "time", "item", "user"]],
        1,
    ),
    "polars": (polars, DAY),
    "pyarrow": (arrow, DAY),
    "pyarrow batch": (
        lambda u, i, t: pa.RecordBatch.from_pydict({"user": u, "item": i, "time": t}),
        1,
    ),
    "structured array": (structured, DAY),
    "record array": (lambda u, i, t: structured(u, i, t).view(np.recarray), DAY),
    "object array": (objects, 1),
    "fortran array": (lambda u, i, t: np.asfortranarray(objects(u, i, t)), 1),
    "strided array": (lambda u, i, t: np.repeat(objects(u, i, t), 2, axis=0)[::2], 1),
}


@pytest.mark.parametrize(("make", "day"), TABLES.values(), ids=TABLES)
def test_tables_of_every_kind_give_the_same_interactions(make, day):
    users, items, days = random_rows()
    prepared = prepare(make(users, items, days), SCHEMA)
    expected = oracle(users, items, days)
    assert decoded(prepared) == items_of(expected)
    assert prepared.users.ids.tolist() == sorted(set(users))
    assert prepared.items.ids.tolist() == sorted(set(items))
    assert prepared.items.ids.dtype.kind in "iu"
    assert prepared.interactions.items.dtype == np.int32
    times = [time * day for history in expected.values() for time, _ in history]
    assert prepared.interactions.times.tolist() == times
    assert prepared.counts.tolist() == [items.count(item) for item in sorted(set(items))]


@pytest.mark.parametrize(("make", "day"), TABLES.values(), ids=TABLES)
def test_tables_in_small_parts_give_the_same_interactions(make, day, monkeypatch):
    monkeypatch.setattr(tables, "PART_ROWS", 7)
    monkeypatch.setattr(ragged, "BLOCK_ROWS", 16)
    test_tables_of_every_kind_give_the_same_interactions(make, day)


@pytest.mark.parametrize("dtype", [int, float, np.int16, ">i8", ">f4"])
def test_arrays_of_numbers(dtype):
    users, items, days = random_rows()
    users = [int(user[1:]) for user in users]
    X = np.array([users, items, days], dtype=dtype).T
    assert decoded(prepare(X, SCHEMA)) == items_of(oracle(users, items, days))
    assert decoded(prepare(X[:, :2], SCHEMA)) == items_of(oracle(users, items, range(len(users))))


@pytest.mark.parametrize("seed", range(5))
def test_histories_equal_those_of_a_loop(seed):
    rows = random_rows(seed, 300)
    X = pandas()(*rows)
    assert decoded(prepare(X, SCHEMA)) == items_of(oracle(*rows))
    row_order = items_of(oracle(*rows[:2], range(300)))
    assert decoded(prepare(X, SCHEMA._replace(time=None))) == row_order
    assert prepare(X, SCHEMA._replace(time=None)).interactions.times is None
    by_position = prepare(X.to_numpy()[:, [2, 0, 1]], Schema(1, 2, 0))
    assert decoded(by_position) == items_of(oracle(*rows))


def test_ids_may_mix_types():
    X = pd.DataFrame(
        {"user": ["a", 1, "a", 1], "item": [2.5, -1.0, 2.5, 3.0], "time": [2, 1, 1, 2]}
    )
    assert decoded(prepare(X, SCHEMA)) == {"a": [2.5, 2.5], 1: [-1.0, 3.0]}


@pytest.mark.parametrize("kind", ["object, integer times", "polars", "pyarrow", "object array"])
def test_the_callers_tables_are_not_changed(kind):
    make = TABLES[kind][0]
    X = make(*random_rows())
    copy = make(*random_rows())
    table = pd.DataFrame({"item": [100, 101], "price": [0.5, np.nan], "tags": [["a"], []]})
    before = table.copy(deep=True)
    prepare(X, SCHEMA, items=table, min_item_count=3)
    pd.testing.assert_frame_equal(table, before)
    if kind.startswith("object,"):
        pd.testing.assert_frame_equal(X, copy)
    else:
        assert X.equals(copy) if hasattr(X, "equals") else np.array_equal(X, copy)


# ------------------------------------------------------------------ columns


def test_names_of_columns_are_positions_in_an_array():
    wide = np.zeros((1, 3))
    narrow = np.zeros((1, 2))
    assert SCHEMA.for_table(pd.DataFrame()) is SCHEMA
    assert SCHEMA.for_table(wide)[:3] == (0, 1, 2)
    assert SCHEMA.for_table(narrow)[:3] == (0, 1, None)
    assert Schema(2, 0, 1).for_table(wide)[:3] == (2, 0, 1)
    assert Schema(2, 0, None).for_table(wide)[:3] == (2, 0, None)


def test_read_rows_and_read_column():
    X = pd.DataFrame({"user": ["a", "b"], "item": [2, 1], "time": [0.5, 1.5]})
    rows = read_rows(X, SCHEMA)
    assert [column.tolist() for column in rows] == [["a", "b"], [2, 1], [0.5, 1.5]]
    assert read_rows(X, SCHEMA._replace(time=None)).times is None
    assert read_column(X, SCHEMA, "user").tolist() == ["a", "b"]
    assert read_column(X, SCHEMA, "item").tolist() == [2, 1]


@pytest.mark.parametrize("name", ["user", "item", "time"])
def test_the_error_of_a_missing_column_names_the_parameter(name):
    X = pd.DataFrame({"user": [1], "item": [1], "time": [1]}).drop(columns=name)
    with pytest.raises(InvalidInputError, match=f"no column '{name}'; it has .* set {name}_col="):
        prepare(X, SCHEMA)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("user", None, InvalidInputError, "column 'user' has 1 missing"),
        ("item", np.nan, InvalidInputError, "column 'item' has 1 missing"),
        ("time", None, InvalidInputError, "column 'time' has 1 missing or infinite times"),
        ("time", "2020-01-01", InvalidInputError, "column 'time' .* must be numeric or datetime"),
        ("user", (1, 2), IdTypeError, "column 'user' has the id .* of type tuple"),
    ],
)
def test_the_error_of_an_invalid_cell_names_the_column(name, value, error, message):
    X = pd.DataFrame({"user": [1, 2], "item": [1, 2], "time": [1, 2]}, dtype=object)
    X.at[1, name] = value
    with pytest.raises(error, match=message):
        prepare(X, SCHEMA)


def test_unread_columns_of_an_array_are_ignored_with_a_warning():
    X = np.array([[1, 10, 2, 5, 7], [1, 11, 1, 5, 7]])
    with pytest.warns(IgnoredDataWarning, match=r"has 5 unnamed columns; .* \[3, 4\] are ignored"):
        prepared = prepare(X, SCHEMA)
    assert decoded(prepared) == {1: [11, 10]}
    schema = SCHEMA._replace(item_features=(3,))
    with pytest.warns(IgnoredDataWarning, match=r"time, and \[4\] are ignored"):
        prepare(X, schema)


@pytest.mark.parametrize(
    "schema",
    [SCHEMA._replace(item_features=(3,), user_features=(4,)), Schema(0, 1, 2), Schema(4, 1, None)],
)
def test_no_warning_if_all_columns_are_chosen(schema):
    X = np.array([[1, 10, 2, 5, 7], [1, 11, 1, 5, 7]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(X, schema)
        prepare(X[:, :3], SCHEMA)
        prepare(pd.DataFrame(X, columns=["user", "item", "time", "x", "y"]), SCHEMA)


# ------------------------------------------------------------------ rare items


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("minimum", [1, 2, 5, 7])
def test_rare_items_are_left_out(seed, minimum):
    rows = list(zip(*random_rows(seed), strict=True))
    items = [item for _, item, _ in rows]
    kept = [row for row in rows if items.count(row[1]) >= minimum]
    X = pandas()(*zip(*rows, strict=True))
    prepared = prepare(X, SCHEMA, min_item_count=minimum)
    assert decoded(prepared) == items_of(oracle(*zip(*kept, strict=True)))
    assert prepared.counts.min() >= minimum
    assert (len(kept) < len(rows)) is (minimum > min(map(items.count, items)))


def test_ids_that_cannot_be_sorted_keep_the_order_of_the_kept_rows():
    X = pd.DataFrame({"user": ["a", 1, "a"], "item": [9, "x", "x"], "time": [1, 2, 3]})
    prepared = prepare(X, SCHEMA, min_item_count=2)
    assert prepared.users.ids.tolist() == [1, "a"]
    assert prepared.items.ids.tolist() == ["x"]
    assert prepare(X, SCHEMA).users.ids.tolist() == ["a", 1]


def test_leaving_out_all_items_raises():
    X = pd.DataFrame({"user": [1, 2, 3], "item": [1, 1, 2], "time": [1, 2, 3]})
    message = "min_item_count=3 leaves no item: the most frequent one has 2 interactions; lower"
    with pytest.raises(InvalidInputError, match=message):
        prepare(X, SCHEMA, min_item_count=3)


def test_features_of_rare_items_belong_to_the_right_rows():
    X = pd.DataFrame(
        {
            "user": [1, 1, 1, 2],
            "item": ["rare", "b", "c", "b"],
            "time": [1, 2, 3, 4],
            "color": ["red", "green", "blue", "white"],
        }
    )
    schema = SCHEMA._replace(item_features=("color",), user_features=("color",))
    prepared = prepare(X[X.item != "c"], schema, min_item_count=2)
    assert prepared.items.ids.tolist() == ["b"]
    assert prepared.item_features.encoder.features[0].values.tolist() == ["white"]
    assert prepared.user_features.encoder.features[0].values.tolist() == ["green", "white"]
    assert prepared.user_features.matrix.toarray().tolist() == [[1, 0], [0, 1]]


# ------------------------------------------------------------------ feature tables

X = pd.DataFrame({"user": ["b", "a", "b"], "item": [3, 1, 2], "time": [1, 2, 3]})


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_feature_tables(make):
    items = make({"color": ["red", "blue", None], "item": [3, 7, 1], "price": [1.0, 3.0, 2.0]})
    users = make({"user": ["z", "b"], "age": [5, 6]})
    prepared = prepare(X, SCHEMA, users=users, items=items)
    assert prepared.items.ids.tolist() == [1, 2, 3, 7]  # 2 is not in the table, 7 is not in X
    assert prepared.users.ids.tolist() == ["a", "b", "z"]
    assert prepared.counts.tolist() == [1, 1, 1, 0]
    assert decoded(prepared) == {"a": [1], "b": [3, 2], "z": []}
    features = prepared.item_features.encoder.features
    assert [feature.name for feature in features] == ["color", "price"]
    assert features[0].values.tolist() == ["blue", "red"]
    high = np.sqrt(1.5)  # (3 - 2) / the standard deviation of 1, 2, 3
    matrix = [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0.5, -high / 2, 0.5], [0.5, 0, high / 2, 0.5]]
    np.testing.assert_allclose(prepared.item_features.matrix.toarray(), matrix, atol=1e-6)
    assert prepared.item_features.presence.tolist() == [1, 0, 2, 2]
    assert prepared.user_features.matrix.toarray().tolist() == [[0, 0], [0, 1], [1, 0]]


def test_without_tables_there_are_no_features():
    prepared = prepare(X, SCHEMA)
    assert prepared.user_features.matrix.shape == (2, 0)
    assert prepared.item_features.matrix.shape == (3, 0)
    assert prepared.item_features.presence.tolist() == [0, 0, 0]


def test_ids_of_a_table_without_features_are_known():
    prepared = prepare(X, SCHEMA, items=pd.DataFrame({"item": [9]}))
    assert prepared.items.ids.tolist() == [1, 2, 3, 9]
    assert prepared.item_features.encoder.width == 0


def test_a_table_without_rows():
    nothing = pd.DataFrame({"item": np.empty(0, dtype=int), "color": np.empty(0, dtype=object)})
    with pytest.warns(IgnoredDataWarning, match="feature column 'color' has only missing values"):
        prepared = prepare(X, SCHEMA, items=nothing)
    assert prepared.items.ids.tolist() == [1, 2, 3]
    assert prepared.item_features.matrix.shape == (3, 0)


def test_chosen_features_are_read_from_the_table_or_else_from_the_interactions():
    items = pd.DataFrame({"item": [1, 2, 3], "color": ["r", "g", "b"], "unused": [1, 2, 3]})
    more = X.assign(color=["x", "y", "z"], channel=["web", "app", "app"])
    schema = SCHEMA._replace(item_features=("channel", "color"))
    prepared = prepare(more, schema, items=items)
    features = prepared.item_features.encoder.features
    assert [feature.name for feature in features] == ["channel", "color"]
    assert features[0].values.tolist() == ["app", "web"]
    assert features[1].values.tolist() == ["b", "g", "r"]
    matrix = prepared.item_features.matrix.toarray().tolist()
    assert matrix == [[0.5, 0, 0, 0, 0.5], [0.5, 0, 0, 0.5, 0], [0, 0.5, 0.5, 0, 0]]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("with_times", [True, False])
def test_features_in_the_interactions_are_read_from_the_newest_row(seed, with_times):
    users, items, days = random_rows(seed)
    cities = [f"c{i}" for i in np.random.default_rng(seed).integers(5, size=len(users))]
    newest = {}
    for row, (user, time) in enumerate(zip(users, days, strict=True)):
        key = (time if with_times else 0, row)
        newest[user] = max(newest.get(user, key), key)  # at equal times the last row
    table = pandas()(users, items, days).assign(city=cities)
    schema = Schema("user", "item", "time" if with_times else None, user_features=("city",))
    prepared = prepare(table, schema)
    (feature,) = prepared.user_features.encoder.features
    matrix = prepared.user_features.matrix.toarray()
    expected = [cities[newest[user][1]] for user in sorted(newest)]
    assert feature.values[matrix.argmax(axis=1)].tolist() == expected
    assert (matrix.sum(axis=1) == 1).all()


def test_a_missing_value_in_the_newest_row_counts_as_missing():
    table = X.assign(city=["rome", "oslo", None])
    prepared = prepare(table, SCHEMA._replace(user_features=("city",)))
    assert prepared.user_features.matrix.toarray().tolist() == [[1], [0]]


def test_features_of_an_array_are_chosen_by_position():
    array = np.array([["b", 3, 1, "rome"], ["a", 1, 2, "oslo"], ["b", 2, 3, "kiel"]], dtype=object)
    prepared = prepare(array, SCHEMA._replace(user_features=(3,)))
    (feature,) = prepared.user_features.encoder.features
    assert (feature.name, feature.values.tolist()) == (3, ["kiel", "oslo"])
    assert prepared.user_features.matrix.toarray().tolist() == [[0, 1], [1, 0]]


def test_the_key_column_is_the_first_if_the_schema_has_positions():
    array = X.to_numpy()
    items = pd.DataFrame({"id": [1, 2, 3], "color": ["r", "g", "b"]})
    prepared = prepare(array, Schema(0, 1, 2), items=items)
    assert prepared.item_features.matrix.toarray().tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_the_key_column_has_the_name_of_the_schema_beside_an_array():
    array = X.to_numpy()
    items = pd.DataFrame({"color": ["r", "g", "b"], "item": [1, 2, 3]})
    prepared = prepare(array, SCHEMA, items=items)
    assert prepared.item_features.encoder.features[0].name == "color"
    with pytest.raises(InvalidInputError, match="no column 'item'; it has .* set item_col="):
        prepare(array, SCHEMA, items=items.rename(columns={"item": "id"}))


@pytest.mark.parametrize(
    ("side", "table", "error", "message"),
    [
        (
            "items",
            {"item": [1]},
            InvalidInputError,
            "the items table must be a DataFrame, got dict",
        ),
        ("users", [["a", 1]], InvalidInputError, "the users table must be a DataFrame, got list"),
        ("items", pd.DataFrame({"id": [1]}), InvalidInputError, r"no column 'item'.* item_col="),
        (
            "items",
            pd.DataFrame({"item": [1, 2, 1]}),
            InvalidInputError,
            "column 'item' of the items table has the id .*1.* more than once; keep one",
        ),
        (
            "users",
            pd.DataFrame({"user": ["a", None]}),
            InvalidInputError,
            "column 'user' of the users table has 1 missing",
        ),
        (
            "items",
            pd.DataFrame({"item": ["1"]}),
            IdTypeError,
            "item ids are of kind text .* number",
        ),
        ("users", pd.DataFrame({"user": [1]}), IdTypeError, "user ids are of kind number .* text"),
    ],
)
def test_invalid_tables_raise(side, table, error, message):
    with pytest.raises(error, match=message):
        prepare(X, SCHEMA, **{side: table})


@pytest.mark.parametrize("role", ["user", "item"])
def test_an_unknown_feature_raises(role):
    schema = SCHEMA._replace(**{f"{role}_features": ("genre",)})
    with pytest.raises(InvalidInputError, match=f"'genre', which is not in X, .*{role}s="):
        prepare(X, schema)
    with pytest.raises(InvalidInputError, match=f"{role}_features='genre' is not a column"):
        prepare(X.to_numpy(), schema)
    message = (
        rf"^{role}_features names 'genre', which is neither in the {role}s table, which has "
        rf"\['{role}'\], nor in X, which has \['user', 'item', 'time'\]$"
    )
    with pytest.raises(InvalidInputError, match=message):
        prepare(X, schema, **{f"{role}s": X[[role]].drop_duplicates()})


@pytest.mark.parametrize(
    ("ids", "table_ids", "expected"),
    [
        (np.array([3, 1], "int32"), np.array([2, 1], "int64"), [1, 2, 3]),
        (np.array([2**63 + 1, 1], "uint64"), np.array([2, 1], "int64"), [1, 2, 2**63 + 1]),
        (np.array([2**60 + 1, 1], "int64"), np.array([2**60], "uint64"), [1, 2**60, 2**60 + 1]),
        ([1.5, 1.0], [1, 2], [1, 1.5, 2]),
        (["b", "a"], pd.Categorical(["c", "a"]), ["a", "b", "c"]),
        (["b", 1, "a"], [2, 1], ["b", 1, "a", 2]),
        ([1, "b"], ["a", "b"], [1, "b", "a"]),
        ([True, False], [False], [False, True]),
        ([dt.date(2020, 1, 2)], [dt.date(2020, 1, 1)], [dt.date(2020, 1, 1), dt.date(2020, 1, 2)]),
    ],
)
def test_ids_of_the_interactions_and_the_table_are_joined_without_loss(ids, table_ids, expected):
    interactions = pd.DataFrame({"user": np.zeros(len(ids)), "item": ids})
    values = [f"f{i}" for i in range(len(table_ids))]
    table = pd.DataFrame({"item": table_ids, "f": values})
    prepared = prepare(interactions, SCHEMA._replace(time=None), items=table)
    assert prepared.items.ids.tolist() == expected
    assert decoded(prepared) == {0: list(ids)}
    rows = prepared.items.encode(list(table_ids))
    assert prepared.item_features.matrix.toarray()[rows].tolist() == np.eye(len(rows)).tolist()


def test_dates_of_different_units_are_joined():
    days = pd.to_datetime(["2020-01-02", "2020-01-03"])
    interactions = pd.DataFrame({"user": [1, 1], "item": days.astype("M8[ns]"), "time": [1, 2]})
    table = pd.DataFrame({"item": days[1:].astype("M8[s]"), "f": ["x"]})
    prepared = prepare(interactions, SCHEMA, items=table)
    assert (prepared.items.ids == days.to_numpy()).all()
    assert prepared.item_features.presence.tolist() == [0, 1]


# ------------------------------------------------------------------ users who were not in fit


def test_profile_rows():
    users = pd.DataFrame({"user": ["a", "b"], "age": [5, 6], "city": ["rome", "oslo"]})
    encoder = prepare(X, SCHEMA, users=users).user_features.encoder
    people = IdEncoder(np.array(["p", "q", "r"], dtype=object), "user")
    for make in (pd.DataFrame, pl.DataFrame, pa.table):
        table = make(
            {"city": ["oslo", "kiel", "rome"], "age": [6, 5, 5], "user": ["q", "p", "nobody"]}
        )
        rows = profile_rows(encoder, table, SCHEMA, people)
        # age 5, 6; city oslo, rome
        assert rows.toarray().tolist() == [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ([["p", 5]], InvalidInputError, "the users table must be a DataFrame"),
        (pd.DataFrame({"age": [5]}), InvalidInputError, "no column 'user'.* user_col="),
        (pd.DataFrame({"user": ["p"]}), InvalidInputError, "users table has no column 'age'"),
        (pd.DataFrame({"user": ["p", "p"], "age": 1}), InvalidInputError, "'p' more than once"),
        (pd.DataFrame({"user": [1], "age": [5]}), IdTypeError, "user ids are of kind number"),
    ],
)
def test_invalid_profiles_raise(table, error, message):
    encoder = prepare(X, SCHEMA, users=pd.DataFrame({"user": ["a"], "age": [5]})).user_features
    people = IdEncoder(np.array(["p"], dtype=object), "user")
    with pytest.raises(error, match=message):
        profile_rows(encoder.encoder, table, SCHEMA, people)
