import datetime as dt
import decimal
import uuid
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skmind.data import tables
from skmind.data.ids import IdEncoder
from skmind.data.tables import (
    column_names,
    factorize,
    float_spacing,
    has_column,
    id_array,
    id_kind,
    id_parts,
    is_frame,
    is_unnamed,
    scalar_array,
    take_cells,
    take_column,
    time_array,
    time_kind,
    warn_of_twins,
)
from skmind.exceptions import IdTypeError, InvalidInputError, SkmindWarning

COLUMNS = {"user": ["b", "a", "b"], "item": [3, 1, 2]}


def structured(columns):
    types = [(name, np.array(values).dtype) for name, values in columns.items()]
    return np.array(list(zip(*columns.values(), strict=True)), dtype=types)


FRAMES = {
    "pandas": pd.DataFrame,
    "pandas, odd index": lambda columns: pd.DataFrame(columns, index=[7, 7, 0]),
    "pandas, nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas, pyarrow": lambda c: pd.DataFrame(c).convert_dtypes(dtype_backend="pyarrow"),
    "polars": pl.DataFrame,
    "pyarrow table": pa.table,
    "pyarrow batch": lambda columns: pa.RecordBatch.from_pydict(columns),
    "structured array": structured,
    "record array": lambda columns: structured(columns).view(np.recarray),
}
EVERY_FRAME = pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)


# ------------------------------------------------------------------ tables


@EVERY_FRAME
def test_frames_have_named_columns(make):
    frame = make(COLUMNS)
    assert is_frame(frame)
    assert column_names(frame) == ["user", "item"]


@pytest.mark.parametrize("array", [np.zeros((2, 2)), [[1, 2]], np.array([["a", 1]], dtype=object)])
def test_arrays_and_lists_are_not_frames(array):
    assert not is_frame(array)


def test_two_levels_of_columns_are_flattened_as_the_message_says():
    X = pd.DataFrame({"user": [1, 1], "item": [2, 3], "time": [4, 5]})
    X = X.groupby("user").agg({"time": ["max", "min"]}).reset_index()
    with pytest.raises(InvalidInputError, match="flatten them") as raised:
        column_names(X)
    exec(str(raised.value).split(": ")[1])
    assert column_names(X) == ["user", "time_max", "time_min"]


def test_multiindex_columns_raise():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    with pytest.raises(InvalidInputError, match="MultiIndex; flatten them"):
        column_names(frame)
    with pytest.raises(InvalidInputError, match="MultiIndex; flatten them"):
        take_column(frame, ("a", "x"), "user_col")


@EVERY_FRAME
@pytest.mark.parametrize(("column", "name"), [("user", "user"), (0, "user"), (np.int64(1), "item")])
def test_columns_are_taken_by_name_or_position(make, column, name):
    taken = take_column(make(COLUMNS), column, "user_col")
    assert isinstance(taken, pd.Series)
    assert taken.index.tolist() == [0, 1, 2]
    assert taken.tolist() == COLUMNS[name]


def test_columns_of_an_array_get_their_own_type():
    array = np.array([["a", 1, 0.5], [2, 2, 1.5]], dtype=object)
    assert take_column(array, 0, "user_col").tolist() == ["a", 2]
    assert take_column(array, 1, "item_col").dtype == np.int64
    assert take_column(array, 2, "time_col").dtype == np.float64


def test_an_integer_is_a_name_where_names_are_integers_else_a_position():
    years = pd.DataFrame([[1, 2, 3]], columns=[2022, 0, "a"])
    assert take_column(years, 0, "user_col").tolist() == [2]
    assert take_column(years, np.int64(2022), "user_col").tolist() == [1]
    for absent in (1, 2, False, True):
        with pytest.raises(
            InvalidInputError, match=rf"no column {absent}; it has \[2022, 0, 'a'\]"
        ):
            take_column(years, absent, "user_col")
    repeated = pd.DataFrame([[1, 2]], columns=["a", "a"])
    assert take_column(repeated, 1, "user_col").tolist() == [2]
    assert take_column(pa.Table.from_pandas(pd.DataFrame({"a": [1]})), 0, "x").tolist() == [1]
    arrow = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    assert take_column(arrow, 1, "user_col").tolist() == [2]


@EVERY_FRAME
def test_an_integer_is_no_position_where_only_names_are_asked_for(make):
    frame = make(COLUMNS)
    with pytest.raises(InvalidInputError, match="no column 0"):
        take_column(frame, 0, "item_features", may_be_position=False)
    assert not has_column(frame, 0)
    assert has_column(frame, "user")
    assert has_column(np.zeros((1, 2)), 1)
    assert not has_column(np.zeros((1, 2)), 2)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (np.zeros((1, 2)), True),
        (pd.DataFrame(np.zeros((1, 2))), True),
        (pd.DataFrame(np.zeros((1, 3)))[[0, 1]], True),
        (pd.DataFrame(np.zeros((1, 2)))[[1, 0]], False),
        (pd.DataFrame(np.zeros((1, 2)), columns=["0", "1"]), False),
        (pd.DataFrame(np.zeros((1, 2)), columns=[False, True]), False),
        (pd.DataFrame(np.zeros((1, 2)), columns=[0.0, 1.0]), False),
        (pd.DataFrame(), False),
        (pl.DataFrame(np.zeros((1, 2))), False),
    ],
)
def test_which_tables_have_positions_only(X, expected):
    assert is_unnamed(X) == expected


@EVERY_FRAME
def test_the_error_of_a_missing_column_names_the_columns_and_the_parameter(make):
    message = r"no column 'users'; it has \['user', 'item'\].* set user_col= to one"
    with pytest.raises(InvalidInputError, match=message):
        take_column(make(COLUMNS), "users", "user_col")


def test_a_repeated_column_name_raises():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(InvalidInputError, match="more than one column 'a'"):
        take_column(frame, "a", "user_col")


@pytest.mark.parametrize("column", [-1, 2, True, np.int64(9)])
def test_an_invalid_position_in_a_frame_raises(column):
    message = r"time_col=.* is not a column .* the columns \['user', 'item'\]; .* from 0 to 1"
    with pytest.raises(InvalidInputError, match=message):
        take_column(pd.DataFrame(COLUMNS), column, "time_col")


@pytest.mark.parametrize("column", [-1, 2, True, "user", None, 0.0])
def test_an_invalid_position_in_an_array_raises(column):
    with pytest.raises(InvalidInputError, match=r"item_col=.* which has 2 columns; .* from 0 to 1"):
        take_column(np.zeros((3, 2)), column, "item_col")


@pytest.mark.parametrize(
    "make",
    [pl.DataFrame, pa.table, lambda columns: pd.DataFrame(columns, dtype=object)],
    ids=["polars", "pyarrow", "pandas"],
)
def test_integers_with_missing_values_do_not_become_floats(make):
    large = 2**60 + 1  # a float would lose the 1
    taken = take_column(make({"x": [large, None, 2]}), "x", "item_features")
    assert taken.dtype == object
    assert taken[0] == large
    assert taken.isna().tolist() == [False, True, False]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame])
def test_floats_with_missing_values_stay_floats(make):
    taken = take_column(make({"x": [0.5, None]}), "x", "item_features")
    assert taken.dtype == np.float64
    assert taken.isna().tolist() == [False, True]


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table, pd.DataFrame])
def test_cells_of_lists_stay_lists(make):
    taken = take_column(make({"x": [["a", "b"], [], None]}), "x", "item_features")
    assert list(taken[0]) == ["a", "b"]
    assert len(taken[1]) == 0
    assert taken[2] is None


@pytest.mark.parametrize("make", [pl.DataFrame, pa.table])
def test_cells_with_fields_become_dicts(make):
    assert take_column(make({"x": [{"a": 1}]}), "x", "item_features").tolist() == [{"a": 1}]


# ------------------------------------------------------------------ ids

INTEGERS = {
    "list": [3, 1, 2],
    "tuple": (3, 1, 2),
    "int32": np.array([3, 1, 2], dtype=np.int32),
    "uint8": np.array([3, 1, 2], dtype=np.uint8),
    "object": np.array([3, 1, 2], dtype=object),
    "Series": pd.Series([3, 1, 2], index=[5, 5, 5]),
    "Index": pd.Index([3, 1, 2]),
    "Int64": pd.Series([3, 1, 2], dtype="Int64"),
    "pyarrow-backed": pd.Series([3, 1, 2], dtype=pd.ArrowDtype(pa.int64())),
    "categorical": pd.Series(pd.Categorical([3, 1, 2])),
    "categorical array": pd.Categorical([3, 1, 2]),
    "sparse": pd.Series(pd.arrays.SparseArray([3, 1, 2])),
    "polars": pl.Series([3, 1, 2]),
    "pyarrow array": pa.array([3, 1, 2]),
    "pyarrow chunks": pa.chunked_array([[3], [1, 2]]),
}
TEXTS = {
    "list": ["3", "é", ""],
    "numpy text": np.array(["3", "é", ""]),
    "object": np.array(["3", "é", ""], dtype=object),
    "str": pd.Series(["3", "é", ""]),
    "object Series": pd.Series(["3", "é", ""], dtype=object),
    "string[python]": pd.Series(["3", "é", ""], dtype="string[python]"),
    "string[pyarrow]": pd.Series(["3", "é", ""], dtype="string[pyarrow]"),
    "pyarrow-backed": pd.Series(["3", "é", ""], dtype=pd.ArrowDtype(pa.string())),
    "categorical": pd.Series(["3", "é", ""], dtype="category"),
    "pyarrow dictionary": pa.array(["3", "é", ""]).dictionary_encode(),
    "polars": pl.Series(["3", "é", ""]),
    "polars categorical": pl.Series(["3", "é", ""], dtype=pl.Categorical),
    "polars enum": pl.Series(["3", "é", ""], dtype=pl.Enum(["é", "3", ""])),
}


@pytest.mark.parametrize("ids", INTEGERS.values(), ids=INTEGERS)
def test_integer_ids_of_every_type_become_integers(ids):
    array = id_array(ids, "x")
    assert array.dtype.kind in "iu"
    assert array.tolist() == [3, 1, 2]
    assert id_kind(array) == "number"


@pytest.mark.parametrize("ids", TEXTS.values(), ids=TEXTS)
def test_text_ids_of_every_type_become_python_text(ids):
    array = id_array(ids, "x")
    assert array.dtype == object
    assert array.tolist() == ["3", "é", ""]
    assert {type(value) for value in array.tolist()} <= {str, np.str_}
    assert id_kind(array) == "text"


def test_large_integers_keep_every_digit():
    ids = [2**62 + 1, -(2**62) - 1]
    assert id_array(ids, "x").tolist() == ids
    assert id_array(pa.array(ids), "x").tolist() == ids
    assert id_array([2**64 - 1, 1], "x").tolist() == [2**64 - 1, 1]
    assert id_array([2**70, 1], "x").tolist() == [2**70, 1]


def test_text_beside_numbers_keeps_both():
    array = id_array(["1", 1, 2.5], "x")
    assert array.tolist() == ["1", 1, 2.5]
    assert id_kind(array) == "mixed"


@pytest.mark.parametrize(
    ("ids", "kind"),
    [
        ([1.5, 2.0], "number"),
        ([-1, 2**70], "number"),
        ([decimal.Decimal("1.5")], "number"),
        ([True, False], "boolean"),
        ([b"a"], "bytes"),
        ([dt.date(2020, 1, 1)], "date"),
        (pd.to_datetime(["2020-01-01"]), "datetime64"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "datetime64"),
        (np.array([1], dtype="m8[s]"), "timedelta64"),
        ([uuid.UUID(int=1)], "mixed"),
    ],
)
def test_id_kind(ids, kind):
    assert id_kind(id_array(ids, "x")) == kind


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([3, "3", "4"], "^1 user ids are there both as text and as numbers, such as '3'; they"),
        (["3", 3.0, "4", decimal.Decimal(4)], "^2 .* both as text and as numbers, such as '3'"),
        ([b"3", "3"], "both as text and as bytes, such as '3'"),
        ([uuid.UUID(int=0), str(uuid.UUID(int=0))], "both as text and as UUID, such as '0000"),
        ([dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)], "both as date and as datetime, .*'2020-"),
        ([1.0, 2, 3], None),
        ([3, "4", b"5"], None),
        ([dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, 12)], None),
    ],
)
def test_one_id_in_two_kinds_is_warned_of(ids, message):
    ids = id_array(ids, "x")
    if message is not None:
        with pytest.warns(SkmindWarning, match=message):
            warn_of_twins(ids, "user ids")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_twins(ids, "user ids")


@pytest.mark.parametrize("unit", ["ns", "us", "ms", "s"])
@pytest.mark.parametrize("conversion", ["floor", "divide", "numpy"])
def test_missing_dates_as_numbers(unit, conversion):
    dates = pd.Series(pd.to_datetime(["2020-01-01", None]).astype("datetime64[ns]"))
    numbers = dates.astype("int64")
    factor = pd.Timedelta(1, unit).value
    if conversion == "floor":
        numbers = numbers // factor
    elif conversion == "divide":
        numbers = numbers / factor
    else:
        numbers = pd.Series(dates.to_numpy().astype(f"M8[{unit}]").astype(np.int64))
    with pytest.raises(InvalidInputError, match="x has 1 times such as .* in row 1, .*NaT.*drop"):
        time_array(numbers, "x")
    assert len(time_array(numbers[:1], "x")) == 1
    assert len(time_array(numbers[:1] * -1, "x")) == 1


MOMENT = pd.Series(pd.to_datetime(["2020-01-01 12:00"]))
TIMES_OF_ZONES = {
    "pandas": MOMENT.dt.tz_localize("Asia/Tokyo"),
    "objects": MOMENT.dt.tz_localize("Asia/Tokyo").astype(object),
    "two zones": pd.Series(
        [pd.Timestamp(2020, 1, 1), pd.Timestamp(2020, 1, 1, tz="UTC")], dtype=object
    ),
    "categories": MOMENT.dt.tz_localize("UTC").astype("category"),
    "list": MOMENT.dt.tz_localize("UTC").tolist(),
    "datetime": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)],
    "pyarrow-backed": MOMENT.dt.tz_localize("UTC").astype(pd.ArrowDtype(pa.timestamp("us", "UTC"))),
    "polars": pl.from_pandas(MOMENT.dt.tz_localize("Asia/Tokyo")),
    "pyarrow": pa.Array.from_pandas(MOMENT.dt.tz_localize("Asia/Tokyo")),
    "dictionary": pa.Array.from_pandas(MOMENT.dt.tz_localize("Asia/Tokyo")).dictionary_encode(),
    "missing": pd.Series(pd.to_datetime(["2020-01-01", None], utc=True)),
}


@pytest.mark.parametrize("ids", TIMES_OF_ZONES.values(), ids=TIMES_OF_ZONES)
def test_ids_with_a_time_zone_raise(ids):
    message = r"has datetimes with a time zone as ids, such as .*; convert .*astype\(str\).*tz_conv"
    with pytest.raises(InvalidInputError, match=f"^x {message}"):
        id_array(ids, "x")
    make = pl.DataFrame if isinstance(ids, pl.Series) else pd.DataFrame
    table = (pa.table if isinstance(ids, pa.Array) else make)({"id": ids})
    with pytest.raises(InvalidInputError, match=f"^column 'id' {message}"):
        list(id_parts(table, "id", "user_col"))


def test_dates_without_a_time_zone_are_ids():
    expected = np.array(["2020-01-01T12:00"], dtype="M8[ns]")
    for ids in (MOMENT, MOMENT.astype(object), MOMENT.astype("category"), MOMENT.tolist()):
        assert (id_array(ids, "x") == expected).all()


def test_the_callers_ids_are_not_changed():
    for ids in (np.array([2, 1]), np.array(["b", "a"], dtype=object), pd.Series([2, 1])):
        before = ids.copy()
        id_array(ids, "x")
        assert type(ids) is type(before)
        assert (ids == before).all()


def test_no_ids():
    for ids in ([], (), np.array([]), pd.Series([], dtype="int64"), pa.array([]), pl.Series([])):
        assert len(id_array(ids, "x")) == 0


@pytest.mark.parametrize(
    "ids",
    [
        [1, None, 3],
        [1.0, np.nan, np.nan],
        [1.0, np.inf, 2.0],
        [1.0, -np.inf],
        ["a", None],
        ["a", float("nan")],
        [pd.NaT],
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1, None], dtype=pd.ArrowDtype(pa.int64())),
        pd.Series(["a", None], dtype="string"),
        pd.Series(pd.Categorical([1, None])),
        pd.Series(pd.Categorical(["a", None])),
        pd.Series(pd.to_datetime(["2020-01-01", None])),
        pl.Series([1, None]),
        pa.array(["a", None]),
    ],
    ids=str,
)
def test_missing_ids_raise(ids):
    row = 0 if len(ids) == 1 else 1
    n = len(ids) - 1 if len(ids) > 1 and not pd.notna(list(ids)[-1]) else 1
    message = f"column 'u' has {n} missing or infinite ids, the first in row {row}; drop"
    with pytest.raises(InvalidInputError, match=message):
        id_array(ids, "column 'u'")


@pytest.mark.parametrize(
    "part", [(1, 2), [1], {"a": 1}, {1}, frozenset({1}), np.array([1, 2]), pa.scalar(1)], ids=str
)
@pytest.mark.parametrize("others", [[], ["a"], [1]])
def test_ids_that_are_not_scalars_raise(part, others):
    ids = np.empty(len(others) + 1, dtype=object)
    ids[:-1] = others
    ids[-1] = part
    kind = type(part).__name__
    message = f"column 'u' has the id .* of type {kind}, but the argument must be a string, num"
    with pytest.raises(IdTypeError, match=message):
        id_array(ids, "column 'u'")
    with pytest.raises(IdTypeError, match=message.replace("the id", "the value")):
        scalar_array(list(ids), "column 'u'")


def test_text_that_is_not_unicode_raises():
    message = (
        r"^x: the text 'b.ud800' has half of a surrogate pair.*; drop it, or replace the half by"
    )
    for values in (["a", "b\ud800"], np.array(["a", "b\ud800"], dtype=object)):
        with pytest.raises(InvalidInputError, match=message):
            id_array(values, "x")
    assert id_array(["a", "b\ud800".encode(errors="replace").decode()], "x").tolist() == ["a", "b?"]


@pytest.mark.parametrize("make", [pd.Series, lambda ids: pd.DataFrame({"x": ids})])
def test_small_and_long_floats_are_exact_or_refused(make):
    def read(ids):
        table = make(ids)
        if isinstance(table, pd.Series):
            return id_array(table, "column 'x'")
        return pd.Index(next(id_parts(table, "x", "user_col"))[1]).to_numpy()

    assert read(np.array([3, 2047], np.float16)).dtype == np.float32
    assert read(np.array([3, 2**52], np.longdouble)).dtype == np.float64
    with pytest.raises(InvalidInputError, match="'x' has the float16 .*2048.* stands for several"):
        read(np.array([3, 2048], np.float16))
    with pytest.raises(
        InvalidInputError, match="'x' has the .*, which float64 does not hold; read"
    ):
        read(np.array([3, 2**62 + 1], np.longdouble))
    with pytest.raises(InvalidInputError, match="column 'x' has 1 missing or infinite ids"):
        read(np.array([3, np.nan], np.float16))


def test_integers_beside_floats_keep_every_digit():
    ids = [2**53 + 1, 2**53, 0.5]
    assert id_array(ids, "x").tolist() == ids
    assert id_array([1, 0.5], "x").dtype == np.float64


def test_a_dict_in_a_cell_is_refused_with_the_way_to_one_of_its_values():
    with pytest.raises(IdTypeError, match=r"type dict.* take one of its values, .*cell\['name'\]"):
        id_array([{"id": 1, "name": "Drama"}], "x")


def test_a_multiindex_has_no_ids():
    with pytest.raises(IdTypeError, match="of type tuple"):
        id_array(pd.MultiIndex.from_tuples([(1, 2)]), "x")


@pytest.mark.parametrize(
    "ids",
    [
        np.array([[1, 2]]),
        np.array(1),
        pd.DataFrame({"a": [1]}),
        pl.DataFrame({"a": [1]}),
        pa.table({"a": [1]}),
        structured(COLUMNS),
    ],
    ids=lambda ids: type(ids).__module__,
)
def test_ids_have_one_dimension(ids):
    message = f"user_ids must have one dimension, .* is a {type(ids).__name__}; pass one of its"
    with pytest.raises(InvalidInputError, match=message):
        id_array(ids, "user_ids")


def test_scalars_may_be_missing():
    array = scalar_array(pd.Series(["a", None]), "x")
    assert array[0] == "a"
    assert pd.isna(array[1])


# ------------------------------------------------------------------ times

STAMPS = ["2020-01-02 12:30:00.25", "1969-12-31 23:59:59.5"]
NANOSECONDS = [1577968200250000000, -500000000]
UTC = [pd.Timestamp(stamp, tz="UTC") for stamp in STAMPS]
NAIVE = [stamp.tz_localize(None) for stamp in UTC]
TOKYO = [stamp.tz_convert("Asia/Tokyo") for stamp in UTC]
MOMENTS = {
    "ns": pd.Series(np.array(NAIVE, dtype="M8[ns]")),
    "us": pd.Series(np.array(NAIVE, dtype="M8[us]")),
    "ms": pd.Series(np.array(NAIVE, dtype="M8[ms]")),
    "UTC": pd.Series(UTC),
    "Tokyo": pd.Series(TOKYO),
    "mixed zones": pd.Series([UTC[0], TOKYO[1]], dtype=object),
    "datetime": pd.Series([stamp.to_pydatetime() for stamp in NAIVE], dtype=object),
    "datetime, Tokyo": pd.Series([stamp.to_pydatetime() for stamp in TOKYO], dtype=object),
    "categorical": pd.Series(TOKYO).astype("category"),
    "pyarrow-backed": pd.Series(NAIVE, dtype=pd.ArrowDtype(pa.timestamp("us"))),
    "pyarrow-backed, Tokyo": pd.Series(
        TOKYO, dtype=pd.ArrowDtype(pa.timestamp("us", "Asia/Tokyo"))
    ),
    "polars": take_column(pl.DataFrame({"t": NAIVE}), "t", "time_col"),
    "polars, Tokyo": take_column(
        pl.DataFrame({"t": UTC}).with_columns(pl.col("t").dt.convert_time_zone("Asia/Tokyo")),
        "t",
        "time_col",
    ),
    "pyarrow, Tokyo": take_column(
        pa.table({"t": pa.array(UTC, pa.timestamp("ns", "Asia/Tokyo"))}), "t", "time_col"
    ),
}
DAYS = {
    "object": pd.Series([dt.date(2020, 1, 2), dt.date(1969, 12, 31)]),
    "polars": take_column(
        pl.DataFrame({"t": [dt.date(2020, 1, 2), dt.date(1969, 12, 31)]}), "t", "time_col"
    ),
    "pyarrow": take_column(
        pa.table({"t": [dt.date(2020, 1, 2), dt.date(1969, 12, 31)]}), "t", "time_col"
    ),
    "pyarrow-backed": pd.Series(
        [dt.date(2020, 1, 2), dt.date(1969, 12, 31)], dtype=pd.ArrowDtype(pa.date32())
    ),
    "numpy": take_column(
        np.array([("2020-01-02",), ("1969-12-31",)], dtype=[("t", "M8[D]")]), "t", "time_col"
    ),
}


@pytest.mark.parametrize("times", MOMENTS.values(), ids=MOMENTS)
def test_moments_become_nanoseconds_of_utc(times):
    array = time_array(times, "x")
    assert array.dtype == "datetime64[ns]"
    assert array.tolist() == NANOSECONDS


@pytest.mark.parametrize(
    "others", [NAIVE[:1], [NAIVE[0].to_pydatetime()], [NAIVE[0].date()]], ids=repr
)
def test_times_with_and_without_a_zone_raise(others):
    message = "^x has times with a time zone, such as .*Tokyo.*, and without one, such as .*2020, 1"
    message = message.replace("2020, 1", "2020.*tz_localize.*tz_convert")
    with pytest.raises(InvalidInputError, match=message):
        time_array(pd.Series([TOKYO[1], *others], dtype=object), "x")


@pytest.mark.parametrize("times", MOMENTS.values(), ids=MOMENTS)
def test_time_kind_of_moments(times):
    has_zone = getattr(times.iloc[0], "tzinfo", None) is not None
    expected = "zoned dates" if has_zone else "dates"
    array = time_array(times, "x")
    X = pd.DataFrame({"t": times})
    is_category = isinstance(times.dtype, pd.CategoricalDtype)  # polars 1.0 has those of text only
    plain = X.astype({"t": times.cat.categories.dtype}) if is_category else X
    for table in (X, X.astype(object), X.astype(object).to_numpy(), pl.from_pandas(plain)):
        column = "t" if hasattr(table, "columns") else 0
        assert time_kind(table, column, "time_col", array) == expected
    assert time_kind(X, "t", "time_col", np.arange(2)) == "numbers"


@pytest.mark.parametrize(
    ("dtype", "largest", "plain", "spacing"),
    [
        ("float32", 1.7e9, "float32", 128),
        ("float64", 1.7e18, "float64", 256),
        ("float64", -1.7e18, "float64", 256),
        ("float16", 4000, "float16", 2),
        ("float32", 2.0**24, "float32", 2),
        ("float32", 2.0**23, "float32", 1),
        ("Float32", 1.7e9, "float32", 128),
        ("float[pyarrow]", 1.7e9, "float32", 128),
        (pd.SparseDtype("float32"), 1.7e9, "float32", 128),
        ("category", 1.7e18, "float64", 256),
        (object, 1.7e18, "float64", 256),
        ("int64", 1.7e18, "int64", 0),
    ],
    ids=str,
)
def test_float_spacing(dtype, largest, plain, spacing):
    X = pd.DataFrame({"t": pd.Series([0.0, largest]).astype(dtype)})
    times = time_array(X["t"], "x")
    assert float_spacing(X, "t", "time_col", times) == (plain, spacing)
    assert float_spacing(X.head(0), "t", "time_col", times[:0])[1] == 0


@pytest.mark.parametrize("times", DAYS.values(), ids=DAYS)
def test_dates_become_nanoseconds(times):
    assert time_array(times, "x").tolist() == [18263 * 86400 * 10**9, -86400 * 10**9]


@pytest.mark.parametrize(
    "dtype", ["int8", "uint32", "int64", "Int64", "int64[pyarrow]", "uint64", "object", "category"]
)
def test_integer_times_stay_integers(dtype):
    array = time_array(pd.Series([3, 1]).astype(dtype), "x")
    assert array.dtype == np.int64
    assert array.tolist() == [3, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float64", "double[pyarrow]", "object"])
def test_float_times_stay_floats(dtype):
    array = time_array(pd.Series([2.5, -1.0]).astype(dtype), "x")
    assert array.dtype == np.float64
    assert array.tolist() == [2.5, -1.0]


def test_nanoseconds_as_integers_keep_every_digit():
    assert time_array(pd.Series([2**62 + 1]), "x").tolist() == [2**62 + 1]


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([2**63 + 2**20, 5], dtype="uint64"),
        pd.Series([2**64, 5], dtype=object),
        pd.Series([2**53 + 1, 0.5], dtype=object),
        pl.Series([2**63, 5], dtype=pl.UInt64),
    ],
)
def test_times_that_neither_int64_nor_float64_holds_raise(times):
    message = "^x has times such as 9007199254740993|^x has times such as .*subtract the first time"
    with pytest.raises(InvalidInputError, match=message):
        time_array(times, "x")


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble", "uint8", "uint64"])
def test_times_of_every_number_type(dtype):
    times = time_array(pd.Series(np.array([3, 1, 2], dtype=dtype)), "x")
    assert times.dtype in (np.int64, np.float64)
    assert times.tolist() == [3, 1, 2]


def test_times_of_long_doubles_keep_every_digit():
    times = np.array([2**53 + 1, 2**53], dtype=np.longdouble)
    with pytest.raises(InvalidInputError, match="x has the .* which float64 does not hold; read"):
        time_array(pd.Series(times), "x")


@pytest.mark.parametrize("values", [[], [dt.date(2020, 1, 1)][:0]])
def test_no_times(values):
    for dtype in ("int64", "float64", "M8[ns]"):
        assert len(time_array(pd.Series(values, dtype=dtype), "x")) == 0
    with pytest.raises(InvalidInputError, match="values of type empty but must be numeric"):
        time_array(pd.Series(values, dtype=object), "x")


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([1.0, np.nan]),
        pd.Series([1.0, np.inf]),
        pd.Series([1, None], dtype="Int64"),
        pd.Series(pd.to_datetime(["2020-01-01", None])),
        pd.Series(pd.to_datetime(["2020-01-01", None], utc=True)),
        pd.Series([dt.date(2020, 1, 1), None]),
        pd.Series(["2020-01-01", None]),
        pd.Series([1, None], dtype=object),
    ],
    ids=str,
)
def test_missing_times_raise(times):
    message = "column 't' has 1 missing or infinite times, the first in row 1; .*time_col=None"
    with pytest.raises(InvalidInputError, match=message):
        time_array(times, "column 't'")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["2020-01-01"], "string"),
        ([True], "boolean"),
        ([decimal.Decimal(1)], "decimal"),
        ([dt.timedelta(1)], "timedelta64"),
        ([dt.time(1)], "time"),
        (pd.period_range("2020", periods=1), "period"),
        ([1, "a"], "mixed-integer"),
    ],
)
def test_times_of_another_type_raise(values, kind):
    message = f"column 't' has values of type {kind}, such as .*, but must be numeric or datetime"
    with pytest.raises(InvalidInputError, match=message):
        time_array(pd.Series(values), "column 't'")


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([dt.date(1500, 1, 1)]),
        pd.Series([dt.datetime(9999, 12, 31)], dtype=object),
        pd.Series(np.array(["1500-01-01"], dtype="M8[s]")),
        pd.Series(np.array(["2500-01-01"], dtype="M8[us]")),
    ],
)
def test_dates_that_nanoseconds_cannot_hold_raise(times):
    with pytest.raises(InvalidInputError, match="column 't' has a date outside the years 1678 to"):
        time_array(times, "column 't'")


# ------------------------------------------------------------------ in parts

INTEGERS = [5, 3, 5, 5, -2, 3, 8, 5, -2]
TEXT = ["b", "a", "b", "ü", "b", "c", "a", "d", "b"]
DAYS = pd.to_datetime(pd.Series(INTEGERS) * 86_400, unit="s")
ID_COLUMNS = {
    "integers": pd.DataFrame({"id": INTEGERS}),
    "integers beside floats": pd.DataFrame({"id": pd.Series([1, 1.0, 2, 2.5, 1], dtype=object)}),
    "large integers beside floats": pd.DataFrame(
        {"id": pd.Series([2**53 + 1, 2**53, 0, 0.5, 2**53 + 1], dtype=object)}
    ),
    "booleans beside integers": pd.DataFrame(
        {"id": pd.Series([1, True, 0, False, 2], dtype=object)}
    ),
    "text beside integers": pd.DataFrame({"id": pd.Series([1, "1", 2, "b", 1], dtype=object)}),
    "objects of text": pd.DataFrame({"id": pd.Series(TEXT, dtype=object)}),
    "text": pd.DataFrame({"id": pd.Series(TEXT, dtype="str")}),
    "string": pd.DataFrame({"id": pd.Series(TEXT, dtype="string")}),
    "arrow text": pd.DataFrame({"id": pd.Series(TEXT, dtype=pd.ArrowDtype(pa.string()))}),
    "categories": pd.DataFrame({"id": pd.Series(TEXT, dtype="category")}),
    "categories of mixed objects": pd.DataFrame(
        {"id": pd.Series(pd.Categorical(pd.Series([1, "a", 1, 2, "b"], dtype=object)))}
    ),
    "nullable": pd.DataFrame({"id": pd.Series(INTEGERS, dtype="Int16")}),
    "sparse": pd.DataFrame({"id": pd.arrays.SparseArray(INTEGERS)}),
    "booleans": pd.DataFrame({"id": [True, False, False, True]}),
    "moments": pd.DataFrame({"id": DAYS}),
    "polars Int128": pl.DataFrame(
        {"id": pl.Series(INTEGERS, dtype=getattr(pl, "Int128", pl.Int64))}  # polars 1.0 has none
    ),
    "days": pd.DataFrame({"id": DAYS.dt.date}),
    "periods": pd.DataFrame({"id": DAYS.dt.to_period("M")}),
    "no rows": pd.DataFrame({"id": np.empty(0, dtype=np.int64)}),
    "polars text": pl.DataFrame({"id": TEXT}),
    "polars categories": pl.DataFrame({"id": pl.Series(TEXT, dtype=pl.Categorical)}),
    "polars decimals": pl.DataFrame({"id": [decimal.Decimal(number) for number in INTEGERS]}),
    "arrow dictionaries": pa.table({"id": pa.array(TEXT).dictionary_encode()}),
    "arrow integers": pa.table({"id": pa.array(INTEGERS, pa.int8())}),
    "structured": np.array([(number,) for number in INTEGERS], dtype=[("id", "i2")]),
}


@pytest.mark.parametrize("part", [1, 2, 4, 100])
@pytest.mark.parametrize("X", ID_COLUMNS.values(), ids=ID_COLUMNS)
def test_id_parts_equal_the_whole_column(monkeypatch, X, part):
    monkeypatch.setattr(tables, "PART_ROWS", part)
    whole = id_array(take_column(X, "id", "user_col"), "x")
    parts = list(id_parts(X, "id", "user_col"))
    assert len(parts) == max(-(-len(whole) // part), 1)
    joined = np.concatenate([ids[codes] for codes, ids in parts])
    assert joined.dtype == whole.dtype
    assert joined.tolist() == whole.tolist()
    expected, whole_codes = IdEncoder.fit(whole, "user")
    encoder, codes = IdEncoder.fit_parts(parts, len(whole), "user")
    assert encoder.ids.dtype == expected.ids.dtype
    assert encoder.ids.tolist() == expected.ids.tolist()
    assert list(map(type, encoder.ids.tolist())) == list(map(type, expected.ids.tolist()))
    assert codes.tolist() == whole_codes.tolist()
    for codes, ids in parts:
        assert len(set(ids.tolist())) == len(ids)
        assert codes.tolist() == [ids.tolist().index(value) for value in ids[codes].tolist()]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("spread", [1, 3, 4, 5, 1000])
def test_integers_are_factorized_with_and_without_a_table(dtype, spread):
    rng = np.random.default_rng(0)
    limits = np.iinfo(dtype)
    width = min(20 * spread, int(limits.max) - int(limits.min))
    for low in (0, int(limits.min), int(limits.max) - width):
        draws = rng.integers(0, width, size=20, endpoint=True, dtype=np.uint64).tolist()
        values = np.array([low + draw for draw in [0, width, *draws]]).astype(dtype)
        for column in (values, pd.Series(values)):
            codes, ids = factorize(column)
            assert ids[codes].tolist() == values.tolist()
            assert len(set(ids.tolist())) == len(ids) == codes.max() + 1
            assert ids.dtype == column.dtype


def test_dense_integers_use_a_table_and_are_sorted():
    codes, ids = factorize(np.array([9, 2, 9, 5]))
    assert (codes.tolist(), ids.tolist()) == ([2, 0, 2, 1], [2, 5, 9])
    codes, ids = factorize(np.array([900, 2, 900, 5]))  # not dense
    assert (codes.tolist(), ids.tolist()) == ([0, 1, 0, 2], [900, 2, 5])


def test_id_parts_of_an_array(monkeypatch):
    monkeypatch.setattr(tables, "PART_ROWS", 2)
    X = np.array([["a", 3], ["b", 1], ["a", 2]], dtype=object)
    assert [ids[codes].tolist() for codes, ids in id_parts(X, 0, "x")] == [["a", "b"], ["a"]]
    assert [ids[codes].tolist() for codes, ids in id_parts(X, 1, "x")] == [[3, 1], [2]]


MISSING_IDS = {
    "floats": pd.DataFrame({"id": [0.5, 1.5, np.nan, np.inf, 2.5, -np.inf]}),
    "objects": pd.DataFrame({"id": pd.Series([1, "a", None, np.nan, 2, pd.NaT], dtype=object)}),
    "text": pd.DataFrame({"id": pd.Series(["a", "b", None, None, "b", None], dtype="str")}),
    "nullable": pd.DataFrame({"id": pd.Series([1, 2, None, None, 1, None], dtype="Int64")}),
    "categories": pd.DataFrame({"id": pd.Series([1, 2, None, None, 1, None], dtype="category")}),
    "days": pd.DataFrame({"id": pd.to_datetime(["2020", "2021", None, None, "2020", None])}),
    "polars": pl.DataFrame({"id": [1, 2, None, None, 1, None]}),
    "arrow": pa.table({"id": [1, 2, None, None, 1, None]}),
}


@pytest.mark.parametrize("part", [1, 3, 100])
@pytest.mark.parametrize("X", MISSING_IDS.values(), ids=MISSING_IDS)
def test_missing_ids_are_counted_over_all_parts(monkeypatch, X, part):
    monkeypatch.setattr(tables, "PART_ROWS", part)
    message = "column 'id' has 3 missing or infinite ids, the first in row 2; drop these rows"
    with pytest.raises(InvalidInputError, match=message):
        list(id_parts(X, "id", "user_col"))
    with pytest.raises(InvalidInputError, match=message):
        id_array(take_column(X, "id", "user_col"), "column 'id'")


@pytest.mark.parametrize(
    "X",
    [
        pd.DataFrame({"id": pd.Series([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64())))}),
        pd.DataFrame({"id": [[1], [2]]}),
        pd.DataFrame({"id": [(1, 2), 3]}),
        pl.DataFrame({"id": [[1], [2]]}),
        pa.table({"id": [{"a": 1}, {"a": 2}]}),
    ],
    ids=["arrow-backed", "lists", "tuples", "polars", "pyarrow"],
)
def test_id_parts_raise_for_ids_that_are_not_scalars(X):
    with pytest.raises(IdTypeError, match="column 'id' has the id .* argument must be a string"):
        list(id_parts(X, "id", "user_col"))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_take_cells_keeps_the_order_of_the_rows(make):
    X = make({"a": [1, 2, 3], "x": ["p", None, "r"]})
    assert take_cells(X, "x", np.array([2, 0, 2]), "item_features").tolist() == ["r", "p", "r"]
    assert take_cells(X, 0, np.array([1]), "item_features").tolist() == [2]
