"""Table of any kind (pandas, polars, pyarrow, numpy) → one numpy array per column, checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import IdTypeError, InvalidInputError

PART = 2**19  # rows of a table that are converted together
SPREAD = 4  # of integer ids, times their number: up to this a table is faster than a hash table
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}
_IDS = "ids", "drop these rows or give them an id"
_TIMES = "times", "drop these rows, or set time_col=None to use row order"


def is_frame(X: Any) -> bool:
    """Whether ``X`` has named columns: pandas, polars, a pyarrow table, a structured array."""
    structured = isinstance(X, np.ndarray) and X.dtype.names is not None
    return structured or hasattr(X, "columns") or hasattr(X, "column_names")


def column_names(X: Any) -> list:
    """Names of the columns of the frame ``X``, in order."""
    if isinstance(X, np.ndarray):
        return list(X.dtype.names or ())
    if isinstance(getattr(X, "columns", None), pd.MultiIndex):
        raise InvalidInputError(
            "the columns of the table are a MultiIndex; flatten them to one level of names first"
        )
    return list(X.column_names if hasattr(X, "column_names") else X.columns)


def take_column(X: Any, column: Any, parameter: str) -> pd.Series:
    """Column of a frame or 2-D array as a Series with a fresh index.

    Parameters
    ----------
    X : frame or ndarray of shape (n_rows, n_columns)
    column : str or int
        A name, or a position (a frame whose columns have integer names is read by position).
    parameter : str
        The parameter that chose the column, for the message.

    Raises
    ------
    InvalidInputError
        If there is no such column; the message lists those there are.
    """
    return _series(_column_at(X, _find(X, column, parameter)))


def take_cells(X: Any, column: Any, rows: np.ndarray, parameter: str) -> pd.Series:
    """These rows of `take_column`, with their positions in ``rows`` as index."""
    position = _find(X, column, parameter)
    if hasattr(X, "parts"):
        return _series(X.take(position, rows))
    return _series(_series(_column_at(X, position)).iloc[rows])


def _find(X: Any, column: Any, parameter: str) -> int:
    """Position of a column."""
    if not is_frame(X):
        return _position(column, X.shape[1], parameter, f"{X.shape[1]} columns")
    names = column_names(X)
    if isinstance(column, Integral):
        return _position(column, len(names), parameter, f"the columns {names}")
    if names.count(column) != 1:
        what = "no column" if column not in names else "more than one column"
        raise InvalidInputError(
            f"the table has {what} {column!r}; it has {names}. "
            f"Rename the column or set {parameter}= to one of these."
        )
    return names.index(column)


def _column_at(X: Any, position: int) -> Any:
    """A column as the library of the table has it."""
    if not is_frame(X):
        return _inferred(X[:, position])
    if isinstance(X, pd.DataFrame):
        return X.iloc[:, position]
    return X[position if hasattr(X, "column_names") else column_names(X)[position]]


def _series(values: Any) -> pd.Series:
    """A column of any library, an array or a list as a Series with a fresh index."""
    if isinstance(values, pd.Series):
        return _native(values.reset_index(drop=True))
    if isinstance(values, np.ndarray):
        return _inferred(values)
    if hasattr(values, "to_pylist"):  # pyarrow
        return values.to_pandas(integer_object_nulls=True)
    if hasattr(values, "null_count"):  # polars
        as_floats = values.dtype.is_integer() and values.has_nulls()
        if values.dtype.is_nested() or as_floats:
            return pd.Series(values.to_list(), dtype=object)
        return pd.Series(values.to_numpy())
    return _inferred(pd.Series(list(values), dtype=object))


def _native(values: Any) -> Any:
    """Numbers in this machine's order of bytes, as pandas needs them; some files have the other."""
    if isinstance(values.dtype, np.dtype) and not values.dtype.isnative:
        return values.astype(values.dtype.newbyteorder("="))
    return values


@contextmanager
def legal_text() -> Iterator[None]:
    """What finds that a text is none in Unicode raises `InvalidInputError`."""
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"the text {error.object!r} has half of a surrogate pair, which no file can hold; "
            "drop it, or repair it: text.encode(errors='replace').decode() puts a question mark "
            "there"
        ) from error


def _inferred(values: pd.Series | np.ndarray) -> pd.Series:
    """As a Series; objects that are all of one kind as that kind.

    Raises
    ------
    InvalidInputError
        If a text is none in Unicode, on which pandas and files would fail.
    """
    with legal_text():
        inferred = pd.Series(_native(values)).infer_objects()
        if inferred.dtype == object:
            for value in inferred:
                if isinstance(value, str):
                    value.encode()
    return inferred


def _position(column: Any, n_columns: int, parameter: str, there: str) -> int:
    legal = isinstance(column, Integral) and not isinstance(column, bool)
    if not legal or not 0 <= column < n_columns:
        raise InvalidInputError(
            f"{parameter}={column!r} is not a column of the table, which has {there}; "
            f"give a position from 0 to {n_columns - 1}"
        )
    return int(column)


def id_array(ids: Any, name: str) -> np.ndarray:
    """Ids as a 1-D array that keeps their kind: integers, floats, or Python objects.

    Parameters
    ----------
    ids : Series or other sequence of scalars
    name : str
        What the ids are, for the message ("column 'user_id'").

    Raises
    ------
    InvalidInputError
        If an id is missing, infinite or no legal text, or there is more than one dimension.
    IdTypeError
        If an id is no scalar (a tuple, a list).
    """
    if is_frame(ids) or getattr(ids, "ndim", 1) != 1:
        raise InvalidInputError(
            f"{name} must have one dimension, a list of ids, but is a {type(ids).__name__}; "
            "pass one of its columns"
        )
    values = scalar_array(ids, name, "id")
    _check_present(values, name, *_IDS)
    return values


def factorize(values: Any) -> tuple[np.ndarray, Any]:
    """`pandas.factorize`, through a table in place of a hash table where ids are close integers.

    Returns
    -------
    codes : ndarray of shape (n,), int
        Positions in ``ids``; -1 for missing values.
    ids : ndarray or Index of shape (n_ids,)
        Sorted if they went through a table, else in the order of their first appearance.
    """
    if not isinstance(values.dtype, np.dtype) or values.dtype.kind not in "iu" or not len(values):
        return pd.factorize(values)
    array = np.asarray(values)
    low, high = int(array.min()), int(array.max())
    if high - low >= SPREAD * len(array) or high > np.iinfo(np.int64).max:
        return pd.factorize(values)
    places = np.subtract(array, low, dtype=np.int64, casting="unsafe")
    is_there = np.zeros(high - low + 1, dtype=bool)
    is_there[places] = True
    rank = np.cumsum(is_there, dtype=np.int32) - 1
    return rank[places], (np.flatnonzero(is_there) + low).astype(array.dtype)


def id_parts(X: Any, column: Any, parameter: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An id column in parts: the distinct ids of each, and where they are.

    What is made of the column is never as long as it, and no row becomes an object of its own.

    Yields
    ------
    codes : ndarray of shape (n_rows,), int
        Positions in ``ids``.
    ids : ndarray of shape (n_ids,)
        Each once; see `factorize`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `id_array`; for missing ids, when all parts have been read.
    """
    name = f"column {column!r}"
    missing = _Missing()
    for part in _parts(X, _find(X, column, parameter), name):
        try:
            codes, distinct = factorize(part)
        except (TypeError, NotImplementedError):  # lists, which the next line names, have no hash
            codes, distinct = factorize(scalar_array(part, name, "id"))
        ids = distinct
        if not isinstance(part, np.ndarray):
            ids = scalar_array(pd.Series(distinct, dtype=distinct.dtype), name, "id")
        missing.add(np.append(_missing(ids), True)[codes])  # the code of a missing id is -1
        if not missing.n_missing:
            yield codes, ids
    missing.check(name, *_IDS)


def _parts(X: Any, position: int, name: str) -> Iterator[pd.Series | np.ndarray]:
    """A column in parts; as arrays where what they are converted to depends on all of it."""
    if hasattr(X, "parts"):
        yield from map(_series, X.parts(position))
        return
    values = _column_at(X, position)
    if hasattr(values, "slice"):  # pyarrow, polars: of one type
        yield from (_series(values.slice(start, PART)) for start in _starts(values))
        return
    values = _series(values)
    cells = values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values
    rows = values.iloc
    if cells.dtype == object and pd.api.types.infer_dtype(cells) != "string":
        rows = scalar_array(values, name, "id")
    yield from (rows[start : start + PART] for start in _starts(values))


def _starts(values: Any) -> range:
    return range(0, max(len(values), 1), PART)


def _missing(values: np.ndarray) -> np.ndarray:
    """Where a value is missing or infinite."""
    missing = np.asarray(pd.isna(values))
    return missing | np.isinf(values) if values.dtype.kind == "f" else missing


class _Missing:
    """Count of the missing or infinite values of a column that comes in parts."""

    def __init__(self) -> None:
        self.n_rows = self.n_missing = self.first = 0

    def add(self, missing: np.ndarray) -> None:
        """Take note of a part: whether each value is missing."""
        if not self.n_missing:
            self.first = self.n_rows + int(missing.argmax()) if len(missing) else 0
        self.n_rows += len(missing)
        self.n_missing += int(missing.sum())

    def check(self, name: str, what: str, cure: str) -> None:
        """Raise if there was any."""
        if self.n_missing:
            raise InvalidInputError(
                f"{name} has {self.n_missing} missing or infinite {what}, "
                f"the first in row {self.first}; {cure}"
            )


def _check_present(values: np.ndarray, name: str, what: str, cure: str) -> None:
    """Raise if a value is missing or infinite."""
    missing = _Missing()
    missing.add(_missing(values))
    missing.check(name, what, cure)


def scalar_array(values: Any, name: str, what: str = "value") -> np.ndarray:
    """Values of any kind of column as a 1-D numpy array without loss, missing ones included.

    Raises
    ------
    IdTypeError
        If a value is no scalar.
    """
    array = _plain(_series(values))
    if array.dtype == object and pd.api.types.infer_dtype(array) in ("mixed", "mixed-integer"):
        for value in array:
            has_parts = hasattr(value, "__len__") and not isinstance(value, str | bytes)
            if has_parts or hasattr(value, "as_py"):  # the scalars of pyarrow equal nothing
                raise IdTypeError(  # scikit-learn's checks want "argument must be a string, number"
                    f"{name} has the {what} {value!r} of type {type(value).__name__}, but the "
                    "argument must be a string, number or date a row; join its parts into a string"
                )
    return array


def join_scalars(first: np.ndarray, second: np.ndarray, name: str) -> np.ndarray:
    """All values of two results of `scalar_array`, one after the other, without loss."""
    both = [pd.Series(part).astype(object) for part in (first, second)]
    return scalar_array(pd.concat(both), name)


def _plain(values: pd.Series) -> np.ndarray:
    if isinstance(values.dtype, pd.CategoricalDtype) and not values.isna().any():
        values = values.astype(values.dtype.categories.dtype)
    if isinstance(values.dtype, pd.SparseDtype):
        values = values.astype(values.dtype.subtype)
    if values.isna().any() or values.dtype.kind not in "iufbMm":
        values = _inferred(values.astype(object))
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if values.dtype.kind in "iufbMm":
        dtype: Any = getattr(values.dtype, "numpy_dtype", values.dtype)
        return values.to_numpy(dtype=dtype)
    return values.to_numpy(dtype=object)


def id_kind(values: np.ndarray) -> str:
    """``"number"``, ``"text"``, ``"mixed"``, or another kind; only equal kinds can be compared."""
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind in _NUMBERS:
        return "number"
    return {"string": "text", "mixed-integer": "mixed"}.get(kind, kind)


def time_column(X: Any, column: Any, parameter: str) -> np.ndarray:
    """`time_array` of a column; of Parquet files, it is filled part by part."""
    name = f"column {column!r}"
    if not hasattr(X, "parts"):
        return time_array(take_column(X, column, parameter), name)
    missing, start = _Missing(), 0
    times = np.empty(0)
    for part in X.parts(_find(X, column, parameter)):
        values = _plain(_series(part))
        missing.add(_missing(values))
        if missing.n_missing:
            continue
        values = _times(values, name)
        if not start:
            times = np.empty(len(X), dtype=values.dtype)
        # Unsigned integers that are too large for int64 are floats.
        times = times.astype(np.promote_types(times.dtype, values.dtype), copy=False)
        times[start : start + len(values)] = values
        start += len(values)
    missing.check(name, *_TIMES)
    return times


def time_array(times: pd.Series, name: str) -> np.ndarray:
    """Times as int64, float64, or datetime64[ns] in UTC.

    Parameters
    ----------
    times : Series
        Numbers or datetimes; datetimes without a zone are taken as UTC.
    name : str
        What the times are, for the message.

    Raises
    ------
    InvalidInputError
        If a time is missing, infinite, text, or outside the years 1678 to 2261.
    """
    values = _plain(_series(times))
    _check_present(values, name, *_TIMES)
    return _times(values, name)


def _times(values: np.ndarray, name: str) -> np.ndarray:
    """`time_array` of what is known to be present."""
    kind = pd.api.types.infer_dtype(values)
    if kind in ("datetime64", "datetime", "date"):
        return _nanoseconds(values, name)
    if values.dtype.kind not in "iuf":
        example = f", such as {values[0]!r}," if len(values) else ""
        raise InvalidInputError(
            f"{name} has values of type {kind}{example} but must be numeric or datetime; "
            "convert it first (pandas.to_datetime)"
        )
    too_large = values.dtype.kind == "u" and values.max(initial=0) > np.iinfo(np.int64).max
    dtype = np.float64 if values.dtype.kind == "f" or too_large else np.int64
    return values.astype(dtype, copy=False)


def _nanoseconds(values: np.ndarray, name: str) -> np.ndarray:
    try:
        utc = pd.to_datetime(pd.Series(values), utc=True).dt.tz_localize(None)
        return utc.astype("datetime64[ns]").to_numpy()
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise InvalidInputError(
            f"{name} has a date outside the years 1678 to 2261 ({error}); correct or drop it"
        ) from error
