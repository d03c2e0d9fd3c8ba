"""Table of any library (pandas, polars, pyarrow, numpy) → one checked numpy array per column."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Number
from typing import Any

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import IdTypeError, InvalidInputError

PART_ROWS = 2**19  # rows of a column that are converted together
MAX_SLOTS_PER_ID = 4  # in a look-up table of integer ids; above, a hash table is faster
_NUMBER_KINDS = {"integer", "floating", "mixed-integer-float", "decimal"}
_INTEGERS = (int, np.integer)
_FLOATS = (float, np.floating)
END_OF_INTEGERS = 2.0**64  # larger floats were no 64-bit integers
MAX_EXACT_FLOAT = 2**53  # a float64 stands for one integer below this, and for several above it
_ADVICE_IF_MISSING = {
    "ids": "drop these rows or give them an id",
    "times": "drop these rows or give them a time, or fit with time_col=None to ignore the times",
}
# What NaT becomes as a number of nanoseconds, microseconds, milliseconds or seconds.
_NAT_NUMBERS = [
    number
    for divisor in (1, 10**3, 10**6, 10**9)
    for number in (-(2**63) // divisor, -(2**63 // divisor), -(2**63) / divisor)
]
_TIME_OF_DAY_ADVICE = (
    "a time of day has no date; join both: pandas.to_datetime(dates.astype(str) + ' ' + "
    "times.astype(str))"
)
# How to convert times that are neither numbers nor dates, by the kind that pandas infers.
_TIME_ADVICE = dict.fromkeys(
    ("timedelta64", "timedelta"),
    "add the moment at which they begin, such as pandas.Timestamp('2024-01-01'), or convert it to "
    "seconds: .dt.total_seconds()",
) | {
    "period": "convert it to the beginnings of the periods: .dt.to_timestamp()",
    "interval": "take one end of each: pandas.IntervalIndex(column).left",
    "time": _TIME_OF_DAY_ADVICE,
    "decimal": "convert it to int64 or float: .astype('int64')",
    "bytes": "decode it first: .str.decode('utf-8'), then pandas.to_datetime or pandas.to_numeric",
    "boolean": "set time_col= to the column of the times",
}


# ------------------------------------------------------------------ columns of a table


def is_frame(X: Any) -> bool:
    """Return whether ``X`` has named columns: pandas, polars, pyarrow or a structured array."""
    is_structured = isinstance(X, np.ndarray) and X.dtype.names is not None
    return is_structured or hasattr(X, "columns") or hasattr(X, "column_names")


def is_unnamed(X: Any) -> bool:
    """Return whether the columns of ``X`` have positions only: an array, or the frame of one."""
    if not is_frame(X):
        return True
    if not isinstance(X, pd.DataFrame) or isinstance(X.columns, pd.MultiIndex):
        return False
    names = list(X.columns)
    are_integers = all(isinstance(name, _INTEGERS) and name is not False for name in names)
    return are_integers and names == list(range(len(names))) and len(names) > 0


def column_names(X: Any) -> list:
    """Return the names of the columns of the frame ``X``, in order.

    Raises
    ------
    InvalidInputError
        If the columns are a MultiIndex.
    """
    if isinstance(X, np.ndarray):
        return list(X.dtype.names or ())
    if isinstance(getattr(X, "columns", None), pd.MultiIndex):
        raise InvalidInputError(
            "the columns of the table are a MultiIndex; flatten them to one level of names first: "
            "X.columns = ['_'.join(filter(None, map(str, names))) for names in X.columns]"
        )
    if isinstance(X, pd.DataFrame):
        return X.columns.tolist()  # list() is slow where pandas stores text in Arrow arrays
    return list(X.column_names if hasattr(X, "column_names") else X.columns)


def check_names(names: list) -> None:
    """Raise `InvalidInputError` if names of columns repeat, or only some of them are text."""
    others = [name for name in names if not isinstance(name, str)]
    if 0 < len(others) < len(names):
        raise InvalidInputError(
            f"the table has the column {others[0]!r} of type {type(others[0]).__name__} beside "
            f"names that are text; it has {names}. Give all columns names of one type: X.columns = "
            "X.columns.astype(str), or drop the columns that are not used"
        )
    repeated = sorted({name for name in names if names.count(name) > 1}, key=str)
    if repeated:
        raise InvalidInputError(
            f"the table has more than one column {', '.join(map(repr, repeated))}; it has {names}. "
            "Rename the columns, or drop all but one."
        )


def take_column(X: Any, column: Any, parameter: str, *, may_be_position: bool = True) -> pd.Series:
    """Return a column of a frame or 2-D array as a Series with a fresh index.

    Parameters
    ----------
    X : frame or ndarray of shape (n_rows, n_columns)
    column : str or int
        A name, or a position in an array. In a frame, an integer is a name if the frame has
        integers as names, else a position.
    parameter : str
        The parameter that chose the column, for the message.
    may_be_position : bool, default=True
        False: in a frame, integers are never positions.

    Raises
    ------
    InvalidInputError
        If ``X`` has no such column or more than one, or a text is not valid Unicode.
    """
    position = _column_position(X, column, parameter, may_be_position)
    return _as_series(_raw_column(X, position, column), f"column {column!r}")


def take_cells(
    X: Any, column: Any, rows: np.ndarray, parameter: str, *, may_be_position: bool = True
) -> pd.Series:
    """Return these rows of `take_column`, indexed by their positions in ``rows``."""
    name = f"column {column!r}"
    position = _column_position(X, column, parameter, may_be_position)
    if _is_read_in_parts(X):
        return _as_series(X.take(position, rows), name)
    return _as_series(_as_series(_raw_column(X, position, column), name).iloc[rows], name)


def take_rows(X: Any, rows: np.ndarray) -> Any:
    """Return the rows of a table in memory, of any library, at these positions."""
    if isinstance(X, pd.DataFrame):
        return X.iloc[rows]
    if hasattr(X, "column_names"):  # pyarrow
        return X.take(rows)
    return X[rows]


def has_column(X: Any, column: Any) -> bool:
    """Return whether ``X`` has a column of this name, or an array this position."""
    if is_frame(X):
        return column in column_names(X)
    return isinstance(column, Integral) and 0 <= int(column) < X.shape[1]


def first_cell(X: Any, position: int) -> Any:
    """Return the first cell of a column in memory, if it has rows, as in `take_column`.

    None for a `ParquetTable`, of which nothing is read.
    """
    first = _first_row(X, position, column_names(X)[position])
    return first.iloc[0] if len(first) else None


def _first_row(X: Any, position: int, column: Any) -> pd.Series:
    """Return the first row of a column as in `take_column`; none of a `ParquetTable`."""
    name = f"column {column!r}"
    if _is_read_in_parts(X):
        return _as_series(X.head()[position], name)
    if not is_frame(X):
        return _as_series(X[:1, position], name)
    values = _raw_column(X, position, column)
    return _as_series(values.iloc[:1] if isinstance(values, pd.Series) else values[:1], name)


def _column_position(X: Any, column: Any, parameter: str, may_be_position: bool = True) -> int:
    if not is_frame(X):
        return _check_position(column, X.shape[1], parameter, f"{X.shape[1]} columns")
    names = column_names(X)
    is_integer = isinstance(column, Integral)
    n_found = 0 if isinstance(column, bool) else names.count(column)
    if is_integer and may_be_position and not any(isinstance(name, Integral) for name in names):
        return _check_position(column, len(names), parameter, f"the columns {names}")
    if n_found != 1:
        problem = "more than one column" if n_found else "no column"
        raise InvalidInputError(
            f"the table has {problem} {column!r}; it has {names}. "
            f"Rename the column or set {parameter}= to one of these."
        )
    return names.index(column)


def _check_position(column: Any, n_columns: int, parameter: str, columns: str) -> int:
    is_integer = isinstance(column, Integral) and not isinstance(column, bool)
    if not is_integer or not 0 <= column < n_columns:
        raise InvalidInputError(
            f"{parameter}={column!r} is not a column of the table, which has {columns}; "
            f"give a position from 0 to {n_columns - 1}"
        )
    return int(column)


def _is_read_in_parts(X: Any) -> bool:
    """Return whether ``X`` is a `ParquetTable`, which is not in memory."""
    return hasattr(X, "parts")


def _raw_column(X: Any, position: int, column: Any) -> Any:
    """Return a column in the type of the library of the table; ``column`` is for messages."""
    if not is_frame(X):
        return _infer_dtype(X[:, position], f"column {column!r}")
    if isinstance(X, pd.DataFrame):
        return X.iloc[:, position]
    return X[position if hasattr(X, "column_names") else column_names(X)[position]]


# ------------------------------------------------------------------ ids


def id_array(ids: Any, name: str) -> np.ndarray:
    """Return ids as a 1-D array of integers, floats, dates or Python objects, without loss.

    Parameters
    ----------
    ids : Series or other sequence of scalars
    name : str
        What the ids are, for the message ("column 'user_id'").

    Raises
    ------
    InvalidInputError
        If an id is missing, infinite or not valid Unicode, or ``ids`` has more than one dimension.
    IdTypeError
        If an id is not a scalar (a tuple, a list).
    """
    if is_frame(ids) or getattr(ids, "ndim", 1) != 1:
        raise InvalidInputError(
            f"{name} must have one dimension, like a list of ids, but is a {type(ids).__name__}; "
            "pass one of its columns"
        )
    dtype = getattr(ids, "type", None)
    if hasattr(ids, "to_pylist") and hasattr(dtype, "value_field"):  # pyarrow
        raise InvalidInputError(
            f"{name} must be a list of ids, but is a {type(ids).__name__} whose type is {dtype}; "
            "make one list of it: pyarrow.compute.list_flatten()"
        )
    values = scalar_array(ids, name, "id")
    _check_present(values, name, "ids")
    return _indexable_floats(values, name)


def id_parts(X: Any, column: Any, parameter: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the codes and distinct ids of an id column, part by part.

    The whole column is never converted at once, and only distinct ids become Python objects.

    Parameters
    ----------
    X, column, parameter
        As `take_column`.

    Yields
    ------
    codes : ndarray of shape (n_rows,), int
        Positions in ``ids``.
    ids : ndarray of shape (n_ids,)
        Distinct ids of the part, in the order of `factorize`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `id_array`. Missing ids raise after the last part, so that the message can count them.
    """
    name = f"column {column!r}"
    missing = _MissingCounter(name, "ids")
    for part in _column_parts(X, _column_position(X, column, parameter), column):
        if getattr(part.dtype, "numpy_dtype", part.dtype) in (np.float16, np.longdouble):
            part = _indexable_floats(scalar_array(part, name, "id"), name)
        try:
            codes, distinct = factorize(part)
        except (TypeError, NotImplementedError):  # a list can't be hashed; `scalar_array` says so
            codes, distinct = factorize(scalar_array(part, name, "id"))
        ids = distinct
        if not isinstance(part, np.ndarray):
            ids = scalar_array(pd.Series(distinct, dtype=distinct.dtype), name, "id")
        check_exact(ids, name)
        # The code -1 stands for a missing id, and as an index it selects the appended True.
        missing.add(np.append(_is_missing(ids), True)[codes])
        if not missing.n_missing:
            yield codes, ids
    missing.check()


def _column_parts(X: Any, position: int, column: Any) -> Iterator[pd.Series | np.ndarray]:
    """Yield a column in parts of at most `PART_ROWS` rows; ``column`` is for messages."""
    name = f"column {column!r}"
    if _is_read_in_parts(X):
        yield from (_as_series(part, name) for part in X.parts(position))
        return
    values = _raw_column(X, position, column)
    if hasattr(values, "slice"):  # pyarrow and polars: all parts have the same type
        for start in _part_starts(values):
            yield _as_series(values.slice(start, PART_ROWS), name)
        return
    values = _as_series(values, name)
    rows = values.iloc
    # Mixed objects are converted as a whole, since the type of each part depends on its values.
    cells = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    if cells.dtype == object and pd.api.types.infer_dtype(cells) != "string":
        rows = scalar_array(values, name, "id")
    yield from (rows[start : start + PART_ROWS] for start in _part_starts(values))


def _part_starts(values: Any) -> range:
    """Return the first row of each part; a column without rows has one part."""
    return range(0, max(len(values), 1), PART_ROWS)


def factorize(values: Any) -> tuple[np.ndarray, Any]:
    """Encode values like `pandas.factorize`, but dense integers by a look-up table.

    Parameters
    ----------
    values : Series or ndarray of shape (n,)

    Returns
    -------
    codes : ndarray of shape (n,), int
        Positions in ``ids``; -1 for missing values.
    ids : ndarray or Index of shape (n_ids,)
        Distinct values, sorted if a look-up table was used, otherwise in the order of their first
        appearance.
    """
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "iu" or not len(values):
        return pd.factorize(values)
    array = np.asarray(values)
    low = int(array.min())
    high = int(array.max())
    if high - low >= MAX_SLOTS_PER_ID * len(array) or high > np.iinfo(np.int64).max:
        return pd.factorize(values)
    # Slot i of the table stands for the integer low + i. The code of a value is the number of used
    # slots before its own.
    slots = np.subtract(array, low, dtype=np.int64, casting="unsafe")
    is_used = np.zeros(high - low + 1, dtype=bool)
    is_used[slots] = True
    code_of_slot = np.cumsum(is_used, dtype=np.int32) - 1
    ids = (np.flatnonzero(is_used) + low).astype(array.dtype)
    return code_of_slot[slots], ids


def id_kind(values: np.ndarray) -> str:
    """Return the kind of ids: ``"number"``, ``"text"``, ``"mixed"`` or another name of pandas."""
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind in _NUMBER_KINDS:
        return "number"
    return {"string": "text", "mixed-integer": "mixed"}.get(kind, kind)


def id_kinds(values: np.ndarray) -> dict[str, str]:
    """Return the kinds of ids that may be of several types, and their names for messages.

    Ids of different kinds are never equal. A type that pandas doesn't know is a kind together with
    its subclasses.
    """
    kind = id_kind(values)
    if not kind.startswith("mixed"):
        kind = kind.removesuffix("64")  # dates in an array are those of a list
        return {kind: kind}
    return dict(_kind_of_value(value) for value in _one_per_type(values))


def _one_per_type(values: np.ndarray) -> list:
    return list({type(value): value for value in values}.values())


def _kind_of_value(value: Any) -> tuple[str, str]:
    kind = pd.api.types.infer_dtype([value], skipna=False)
    if isinstance(value, Number) and not isinstance(value, bool | np.bool_):
        kind = "number"
    kind = {"string": "text", "datetime64": "datetime"}.get(kind, kind)
    if kind != "mixed":
        return kind, kind
    root = type(value).__mro__[-2]
    return f"{root.__module__}.{root.__qualname__}", type(value).__name__


def warn_of_twins(ids: np.ndarray, noun: str) -> None:
    """Warn if an id is there in two kinds, such as text and numbers, since these are two ids.

    Parameters
    ----------
    ids : ndarray
    noun : str
        What the ids are, for the message.

    Warns
    -----
    SkmindWarning
    """
    if ids.dtype != object:
        return
    kinds = {type(value): _kind_of_value(value)[1] for value in _one_per_type(ids)}
    if len(set(kinds.values())) < 2:
        return
    kind_of: dict[str, str] = {}
    twins = {}
    for value in ids:
        kind = kinds[type(value)]
        for spelling in _spellings(value):
            other = kind_of.setdefault(spelling, kind)
            if other != kind:
                twins[value] = spelling, other, kind
    if twins:
        spelling, *both = next(iter(twins.values()))
        first, second = sorted(both, key=lambda kind: (kind != "text", kind))
        warn(
            f"{len(twins)} {noun} are there both as {first} and as "
            f"{'numbers' if second == 'number' else second}, such as {spelling!r}; they are "
            "different ids. If they are the same, convert the column to one type"
        )


def _spellings(value: Any) -> set[str]:
    """Return how an id may be written as text."""
    if isinstance(value, bytes):
        return {value.decode(errors="replace")}
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return {str(value), str(value.date())}
    is_whole = isinstance(value, _FLOATS) and value % 1 == 0
    return {str(value), str(int(value))} if is_whole else {str(value)}


def check_exact(ids: np.ndarray, name: str) -> None:
    """Raise if an id or category is so large a float that several integers may have become it.

    Parameters
    ----------
    ids : ndarray
    name : str
        What they are, for the message.

    Raises
    ------
    InvalidInputError
    """
    if ids.dtype.kind == "f":
        limit = _exact_limit(ids.dtype)
        sizes = np.abs(ids)
        is_large = (sizes >= limit) & (sizes < END_OF_INTEGERS)
        _refuse_large(ids[is_large], f"{name} has the float", limit)


def _exact_limit(dtype: np.dtype) -> int:
    """Return the integer from which on a float of this type stands for several integers."""
    return 2 ** (np.finfo(dtype).nmant + 1)


def check_comparable(
    ids: np.ndarray, others: np.ndarray, name: str, other_name: str, noun: str = ""
) -> None:
    """Raise if an id is a float, and ``others`` are integers, or vice versa, and it is too large.

    From 2**53 on, a float64 stands for several integers; a float32 from 2**24 on.

    Parameters
    ----------
    ids, others : ndarray, as `id_array` returns them
    name, other_name, noun : str
        What they are, for the message.

    Raises
    ------
    InvalidInputError
    """
    if ids.dtype == object and id_kind(ids) == "text":
        return
    for types, other_types, kind in ((_FLOATS, _INTEGERS, "float"), (_INTEGERS, _FLOATS, "int")):
        numbers = _numbers_of(ids, types)
        if not len(numbers) or not len(_numbers_of(others, other_types)):
            continue
        floats = ids if kind == "float" else others
        limit = MAX_EXACT_FLOAT
        if floats.dtype.kind == "f":
            limit = _exact_limit(floats.dtype)
        large = numbers[(numbers >= limit) | (numbers <= -limit)]
        others_are = f", but {other_name} are {'integers' if kind == 'float' else 'floats'}"
        _refuse_large(large, f"{name} has the {noun}{kind}", limit, others_are)


def _refuse_large(numbers: np.ndarray, what: str, limit: int, reason: str = "") -> None:
    """Raise for the first of these numbers, if there is one."""
    if len(numbers):
        raise InvalidInputError(
            f"{what} {numbers[:1].tolist()[0]!r}{reason}: from {limit} on, a float stands for "
            "several integers, so different ones may have become one. Convert them to int64 or "
            "text before they are floats: missing values make integers floats, unless the dtype is "
            "'Int64'"
        )


def _numbers_of(values: np.ndarray, types: tuple[type, ...]) -> np.ndarray:
    """Return the values of these types."""
    if values.dtype == object:
        return np.array([value for value in values if isinstance(value, types)], dtype=object)
    return values if issubclass(values.dtype.type, types) else values[:0]


def _indexable_floats(values: np.ndarray, name: str) -> np.ndarray:
    """Return floats of 2 or 16 bytes, which pandas can't index, as floats of 4 or 8 bytes.

    Raises
    ------
    InvalidInputError
        If that changes a value, or an id of 2 bytes stands for several integers.
    """
    if values.dtype.kind != "f" or values.dtype.itemsize in (4, 8):
        return values
    is_half = values.dtype.itemsize == 2
    converted = values.astype(np.float32 if is_half else np.float64)
    is_lost = abs(values) >= 2**11 if is_half else converted != values
    is_lost &= ~np.isnan(values)
    if is_lost.any():
        raise InvalidInputError(
            f"{name} has the {values.dtype} {values[is_lost][0]}, which "
            f"{'stands for several integers' if is_half else 'float64 does not hold'}; read the "
            "column as int64, or convert it to text"
        )
    return converted


# ------------------------------------------------------------------ times


def time_column(X: Any, column: Any, parameter: str) -> np.ndarray:
    """Return a column as `time_array` does; Parquet files are converted part by part."""
    name = f"column {column!r}"
    if not _is_read_in_parts(X):
        return time_array(take_column(X, column, parameter), name)
    missing = _MissingCounter(name, "times")
    times = np.empty(0)
    start = 0
    for part in X.parts(_column_position(X, column, parameter)):
        values = _to_numpy(_as_series(part, name), name)
        missing.add(_is_missing(values))
        if missing.n_missing:
            continue
        values = _convert_times(values, name)
        if not start:
            times = np.empty(len(X), dtype=values.dtype)
        times[start : start + len(values)] = values
        start += len(values)
    missing.check()
    return times


def time_array(times: pd.Series, name: str) -> np.ndarray:
    """Return times as int64, float64, or datetime64[ns] in UTC.

    Parameters
    ----------
    times : Series
        Numbers or datetimes; datetimes without a time zone are taken as UTC.
    name : str
        What the times are, for the message.

    Raises
    ------
    InvalidInputError
        If a time is missing, infinite, neither a number nor a date, outside the years 1678 to 2261,
        or a number that int64 or float64 doesn't hold.
    """
    values = _to_numpy(_as_series(times, name), name)
    _check_present(values, name, "times")
    return _convert_times(values, name)


def _convert_times(values: np.ndarray, name: str) -> np.ndarray:
    """Convert times as `time_array` does; no value is missing."""
    kind = pd.api.types.infer_dtype(values)
    if kind in ("datetime64", "datetime", "date"):
        _check_one_kind_of_dates(values, name)
        return _to_nanoseconds(values, name)
    is_too_large = values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max
    if is_too_large or (values.dtype == object and kind in ("integer", "mixed-integer-float")):
        raise InvalidInputError(
            f"{name} has times such as {max(values, key=abs)!r}, which can't all be int64 or all "
            "be float64 without loss; convert it to datetimes, or subtract the first time"
        )
    if values.dtype.kind not in "iuf":
        example = f", such as {values[0]!r}," if len(values) else ""
        raise InvalidInputError(
            f"{name} has values of type {kind}{example} but must be numeric or datetime; "
            f"{_TIME_ADVICE.get(kind) or _text_advice(values)}"
        )
    if values.dtype.kind == "f":
        if values.dtype.itemsize > 8:
            values = _indexable_floats(values, name)
        values = values.astype(np.float64, copy=False)
    else:
        values = values.astype(np.int64, copy=False)
    _check_no_nat(values, name)
    return values


def _check_no_nat(values: np.ndarray, name: str) -> None:
    """Raise if a number is that of a missing date (NaT) in any unit."""
    if values.min(initial=0) > max(_NAT_NUMBERS):
        return
    is_nat = np.isin(values, _NAT_NUMBERS)
    if is_nat.any():
        raise InvalidInputError(
            f"{name} has {is_nat.sum()} times such as {values[is_nat][0]}, the first in row "
            f"{is_nat.argmax()}, which are missing dates (NaT) as numbers; "
            f"{_ADVICE_IF_MISSING['times']}"
        )


def _text_advice(values: np.ndarray) -> str:
    """Return how to convert times that are text, or of several types."""
    text = values[0].strip() if len(values) and isinstance(values[0], str) else ""
    call = "pandas.to_datetime"
    if re.fullmatch(r"(19|20)\d{6}", text):
        call = 'pandas.to_datetime, with format="%Y%m%d"'
    elif re.fullmatch(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", text, re.IGNORECASE):
        call = "pandas.to_numeric"
    elif re.match(r"\d{1,2}[./ -]\d{1,2}[./ -]\d{2,4}", text):
        call = "pandas.to_datetime, with dayfirst=True or dayfirst=False"
    elif re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d*)?)?", text):
        return _TIME_OF_DAY_ADVICE
    elif not text:
        call = "pandas.to_numeric or pandas.to_datetime, so that all have one type"
    return f"convert it first ({call})"


def _check_one_kind_of_dates(values: np.ndarray, name: str) -> None:
    """Raise if some dates have a time zone and others have none."""
    if values.dtype != object:
        return
    has_zone = [getattr(value, "tzinfo", None) is not None for value in values]
    if any(has_zone) and not all(has_zone):
        raise InvalidInputError(
            f"{name} has times with a time zone, such as {values[has_zone.index(True)]!r}, and "
            f"without one, such as {values[has_zone.index(False)]!r}; give the latter the zone in "
            "which they were recorded (tz_localize), or convert the former to it and drop it "
            "(tz_convert, then tz_localize(None))"
        )


def time_kind(X: Any, column: Any, parameter: str, times: np.ndarray) -> str:
    """Return what the times of a column are: "numbers", "dates" or "zoned dates".

    Parameters
    ----------
    X, column, parameter
        As `take_column`.
    times : ndarray
        What `time_column` returned.
    """
    if times.dtype.kind != "M":
        return "numbers"
    first = _first_row(X, _column_position(X, column, parameter), column)
    return "dates" if _time_zone(first) is None else "zoned dates"


def float_spacing(X: Any, column: Any, parameter: str, times: np.ndarray) -> tuple[str, float]:
    """Return the type of the floats of a column, and their distance at the largest of them.

    Parameters
    ----------
    X, column, parameter, times
        As `time_kind`.

    Returns
    -------
    dtype : str
    spacing : float
        0 if the times are no floats.
    """
    if times.dtype.kind != "f" or not len(times):
        return str(times.dtype), 0.0
    dtype = _plain_dtype(_first_row(X, _column_position(X, column, parameter), column))
    if dtype.kind != "f":
        dtype = times.dtype
    return str(dtype), float(np.spacing(np.abs(times).max().astype(dtype)))


def _time_zone(values: pd.Series) -> Any:
    """Return the time zone of a column of datetimes of one type, or of the first; None if none."""
    dtype = values.dtype.categories.dtype if hasattr(values.dtype, "categories") else values.dtype
    zone = getattr(dtype, "tz", None) or getattr(getattr(dtype, "pyarrow_dtype", None), "tz", None)
    return zone or getattr(values.iloc[0] if len(values) else None, "tzinfo", None)


def _plain_dtype(values: pd.Series) -> np.dtype:
    """Return numpy's type of the values of a column of any type of pandas."""
    dtype = values.dtype.categories.dtype if hasattr(values.dtype, "categories") else values.dtype
    dtype = getattr(dtype, "subtype", dtype)  # sparse
    return getattr(dtype, "numpy_dtype", dtype)


def _to_nanoseconds(values: np.ndarray, name: str) -> np.ndarray:
    try:
        utc = pd.to_datetime(pd.Series(values), utc=True).dt.tz_localize(None)
        return utc.astype("datetime64[ns]").to_numpy()
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise InvalidInputError(
            f"{name} has a date outside the years 1678 to 2261 ({error}); correct or drop it"
        ) from error


# ------------------------------------------------------------------ missing values


class _MissingCounter:
    """Count the missing or infinite values of a column that is read in parts.

    Parameters
    ----------
    name : str
        What the values belong to, for the message.
    noun : {"ids", "times"}
        What the values are.
    """

    def __init__(self, name: str, noun: str) -> None:
        self.name = name
        self.noun = noun
        self.n_rows = 0
        self.n_missing = 0
        self.first_row = 0

    def add(self, is_missing: np.ndarray) -> None:
        """Count the next part; ``is_missing`` is a mask of its values."""
        if not self.n_missing:
            self.first_row = self.n_rows + int(is_missing.argmax()) if len(is_missing) else 0
        self.n_rows += len(is_missing)
        self.n_missing += int(is_missing.sum())

    def check(self) -> None:
        """Raise `InvalidInputError` if any value is missing or infinite."""
        if self.n_missing:
            raise InvalidInputError(
                f"{self.name} has {self.n_missing} missing or infinite {self.noun}, "
                f"the first in row {self.first_row}; {_ADVICE_IF_MISSING[self.noun]}"
            )


def _check_present(values: np.ndarray, name: str, noun: str) -> None:
    """Raise `InvalidInputError` if a value is missing or infinite."""
    missing = _MissingCounter(name, noun)
    missing.add(_is_missing(values))
    missing.check()


def _is_missing(values: np.ndarray) -> np.ndarray:
    """Return whether each value is missing or infinite."""
    is_missing = np.asarray(pd.isna(values))
    return is_missing | np.isinf(values) if values.dtype.kind == "f" else is_missing


# ------------------------------------------------------------------ values of any type


def scalar_array(values: Any, name: str, noun: str = "value") -> np.ndarray:
    """Return any column as a 1-D numpy array without loss; values may be missing.

    Parameters
    ----------
    values : Series or other sequence of scalars
    name, noun : str
        What the column and its values are, for the message.

    Raises
    ------
    InvalidInputError
        If a text is not valid Unicode.
    IdTypeError
        If a value is not a scalar.
    """
    series = _as_series(values, name)
    array = _to_numpy(series, name)
    kind = pd.api.types.infer_dtype(array) if array.dtype == object else ""
    if kind in ("mixed", "mixed-integer"):
        for value in array:
            cure = _scalar_cure(value)
            if cure:
                # scikit-learn's checks look for "argument must be a string, number".
                raise IdTypeError(
                    f"{name} has the {noun} {value!r:.200} of type {type(value).__name__}, but the "
                    f"argument must be a string, number or date per row; {cure}"
                )
    if noun == "id" and (array.dtype.kind == "M" or kind == "datetime"):
        _check_no_zone(series, name)
    return array


def _scalar_cure(value: Any) -> str:
    """Return how to make scalars of a value that is none; "" for scalars."""
    if hasattr(value, "as_py") or hasattr(value, "to_pylist"):  # they don't compare equal
        return "convert the Arrow data to Python objects: to_pylist()"
    if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic):
        return "convert tensors to numbers: tolist()"
    if isinstance(value, Iterator):
        return "convert it to a list, and give each of its values its own row (DataFrame.explode)"
    if isinstance(value, Mapping):
        return "take one of its values, such as cell['name']"
    if hasattr(value, "__len__") and not isinstance(value, str | bytes):
        return "join its parts to a string, or give each its own row (DataFrame.explode)"
    return ""


def _check_no_zone(ids: pd.Series, name: str) -> None:
    """Raise if datetimes that are ids have a time zone, which their array would not have."""
    cells = ids if ids.dtype == object else ids.iloc[:1]
    zoned = [cell for cell in cells if getattr(cell, "tzinfo", None) is not None]
    if zoned:
        raise InvalidInputError(
            f"{name} has datetimes with a time zone as ids, such as {zoned[0]!r}, which would lose "
            "it; convert them to text (.astype(str)), or to one zone and drop it: "
            ".dt.tz_convert('UTC').dt.tz_localize(None)"
        )


def join_scalars(first: np.ndarray, second: np.ndarray, name: str) -> np.ndarray:
    """Concatenate two results of `scalar_array` without loss."""
    columns = [pd.Series(part).astype(object) for part in (first, second)]
    return scalar_array(pd.concat(columns), name)


def _to_numpy(values: pd.Series, name: str) -> np.ndarray:
    """Return a Series as an array of numbers, datetimes in UTC, or Python objects."""
    if isinstance(values.dtype, pd.CategoricalDtype) and not values.isna().any():
        values = values.astype(values.dtype.categories.dtype)
    if isinstance(values.dtype, pd.SparseDtype):
        values = values.astype(values.dtype.subtype)
    if values.isna().any() or values.dtype.kind not in "iufbMm":
        values = _infer_dtype(values.astype(object), name)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if values.dtype.kind in "iufbMm":
        dtype: Any = getattr(values.dtype, "numpy_dtype", values.dtype)
        return values.to_numpy(dtype=dtype)
    return values.to_numpy(dtype=object)


def _as_series(values: Any, name: str) -> pd.Series:
    """Return a column of any library, an array or a list as a Series with a fresh index.

    ``name`` is what the values are, for messages.
    """
    if isinstance(values, pd.Series):
        return _to_native_endian(values.reset_index(drop=True))
    if isinstance(values, np.ndarray):  # of two dimensions: a field of a structured array
        return _infer_dtype(values if values.ndim == 1 else pd.Series(list(values)), name)
    if not hasattr(values, "null_count"):
        return _infer_dtype(pd.Series(as_list(values), dtype=object), name)
    try:
        return _to_pandas(values)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} has values of a type that can't be read ({type(error).__name__}: {error}); "
            "convert them to numbers, dates or text first"
        ) from error


def _to_pandas(values: Any) -> pd.Series:
    """Return a column of pyarrow or polars as a Series without loss."""
    if hasattr(values, "to_pylist"):  # pyarrow
        dtype = values.type
        if hasattr(dtype, "index_type") and getattr(dtype.value_type, "tz", None):
            values = values.cast(dtype.value_type)  # a dictionary would lose the time zone
        return values.to_pandas(integer_object_nulls=True)
    would_be_floats = values.dtype.is_integer() and values.has_nulls()
    if values.dtype.is_nested() or would_be_floats:
        return pd.Series(values.to_list(), dtype=object)
    if str(values.dtype) in ("Int128", "UInt128"):  # numpy has none
        return pd.Series(values.to_list(), dtype=object).infer_objects()
    series = pd.Series(values.to_numpy())
    zone = getattr(values.dtype, "time_zone", None)  # numpy has none
    return series if zone is None else series.dt.tz_localize("UTC").dt.tz_convert(zone)


def as_list(values: Any) -> Any:
    """Return Arrow data, tensors and other sequences as a list of Python objects.

    Scalars are returned unchanged, except those of Arrow and tensors without dimensions.
    """
    if hasattr(values, "to_pylist"):
        return values.to_pylist()
    if hasattr(values, "as_py"):
        return values.as_py()
    if hasattr(values, "__dlpack__") and not isinstance(values, np.ndarray | np.generic):
        return values.tolist()
    is_iterable = hasattr(values, "__iter__") and not isinstance(values, str | bytes)
    return list(values) if is_iterable else values


def _infer_dtype(values: pd.Series | np.ndarray, name: str) -> pd.Series:
    """Return a Series; objects that all have one type become a column of that type.

    Integers that a float doesn't hold stay objects beside floats.

    Raises
    ------
    InvalidInputError
        If a text is not valid Unicode; pandas and files would fail on it later.
    """
    with valid_text(name):
        inferred = pd.Series(_to_native_endian(values)).infer_objects()
        if inferred.dtype.kind == "f" and values.dtype == object:
            integers = (value for value in values if isinstance(value, _INTEGERS))
            if any(abs(int(value)) > MAX_EXACT_FLOAT for value in integers):
                return pd.Series(values)
        if inferred.dtype == object:
            for value in inferred:
                if isinstance(value, str):
                    value.encode()
    return inferred


def _to_native_endian(values: Any) -> Any:
    """Convert non-native-endian numbers, which some files hold and pandas doesn't accept."""
    if isinstance(values.dtype, np.dtype) and not values.dtype.isnative:
        return values.astype(values.dtype.newbyteorder("="))
    return values


@contextmanager
def valid_text(name: str) -> Iterator[None]:
    """Convert `UnicodeEncodeError` to `InvalidInputError`; ``name`` is what has the text."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{name}: the text {error.object!r} has half of a surrogate pair, which no file can "
            "hold; drop it, or replace the half by a question mark: "
            "text.encode(errors='replace').decode()"
        ) from error
