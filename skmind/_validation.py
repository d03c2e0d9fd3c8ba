"""Table of any kind (pandas, polars, pyarrow, numpy) → one numpy array per column, checked."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from .exceptions import IdTypeError, InvalidInputError

_NUMBERS = {"integer", "floating", "boolean", "mixed-integer-float", "decimal"}


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
    if not is_frame(X):
        position = _position(column, X.shape[1], parameter, f"{X.shape[1]} columns")
        return pd.Series(X[:, position]).infer_objects()
    names = column_names(X)
    if not isinstance(column, bool) and isinstance(column, Integral):
        column = names[_position(column, len(names), parameter, f"the columns {names}")]
    elif names.count(column) != 1:
        what = "no column" if column not in names else "more than one column"
        raise InvalidInputError(
            f"the table has {what} {column!r}; it has {names}. "
            f"Rename the column or set {parameter}= to one of these."
        )
    values = X[column]
    if isinstance(values, pd.Series):
        return values.reset_index(drop=True)
    if hasattr(X, "column_names"):  # pyarrow
        return values.to_pandas()
    if str(getattr(values, "dtype", "")).startswith(("List", "Array")):  # polars
        return pd.Series(values.to_list(), dtype=object)
    return pd.Series(values.to_numpy() if hasattr(values, "to_numpy") else values)


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
    ids : Series or sequence of scalars
    name : str
        What the ids are, for the message ("column 'user_id'").

    Raises
    ------
    InvalidInputError
        If an id is missing or infinite.
    IdTypeError
        If an id is no scalar (a tuple, a list).
    """
    values = _plain(ids)
    missing = np.asarray(pd.isna(values))
    if values.dtype.kind == "f":
        missing = missing | np.isinf(values)
    if missing.any():
        raise InvalidInputError(
            f"{name} has {int(missing.sum())} missing or infinite ids, "
            f"the first in row {int(missing.argmax())}; drop these rows or give them an id"
        )
    if values.dtype == object and pd.api.types.infer_dtype(values) in ("mixed", "mixed-integer"):
        for value in values:
            if isinstance(value, tuple | list | dict | set | np.ndarray):
                raise IdTypeError(
                    f"{name} has the id {value!r} of type {type(value).__name__}, but an id "
                    "argument must be a string, a number or a date; join its parts into one string"
                )
    return values


def _plain(values: Any) -> np.ndarray:
    """Values of any pandas dtype, or a list, as a numpy array without loss."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iufbM":
        return values
    if not isinstance(values, pd.Series):
        values = list(values) if not isinstance(values, np.ndarray) else values
        values = pd.Series(values, dtype=object).infer_objects()
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.dtype.categories.dtype)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    if values.isna().any() or values.dtype.kind not in "iufbMm":
        values = values.astype(object).infer_objects(copy=False)
    if values.dtype.kind in "iufbMm":
        dtype = getattr(values.dtype, "numpy_dtype", values.dtype)
        return values.to_numpy(dtype=dtype)
    return values.to_numpy(dtype=object)


def id_kind(values: np.ndarray) -> str:
    """``"number"``, ``"text"``, ``"mixed"``, or another kind; only equal kinds can be compared."""
    kind = pd.api.types.infer_dtype(values, skipna=False)
    if kind in _NUMBERS:
        return "number"
    return {"string": "text", "mixed-integer": "mixed"}.get(kind, kind)


def time_array(times: pd.Series, name: str) -> np.ndarray:
    """Times as int64 (integers; datetimes as nanoseconds since 1970 UTC) or float64.

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
    values = _plain(times)
    missing = np.asarray(pd.isna(values))
    if values.dtype.kind == "f":
        missing = missing | np.isinf(values)
    if missing.any():
        raise InvalidInputError(
            f"{name} has {int(missing.sum())} missing or infinite times, the first in row "
            f"{int(missing.argmax())}; drop these rows, or set time_col=None to use row order"
        )
    if values.dtype == object and pd.api.types.infer_dtype(values) in ("datetime", "date"):
        values = pd.to_datetime(pd.Series(values), utc=True).dt.tz_localize(None).to_numpy()
    if values.dtype.kind == "M":
        return _nanoseconds(values, name)
    if values.dtype.kind not in "iuf":
        example = f", such as {values[0]!r}," if len(values) else ""
        raise InvalidInputError(
            f"{name} has values of type {pd.api.types.infer_dtype(values)}{example} but must be "
            "numeric or datetime; convert it first (pandas.to_datetime)"
        )
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)


def _nanoseconds(values: np.ndarray, name: str) -> np.ndarray:
    try:
        return pd.Series(values).astype("datetime64[ns]").to_numpy().view(np.int64)
    except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
        raise InvalidInputError(
            f"{name} has a date outside the years 1678 to 2261 ({error}); correct or drop it"
        ) from error


def check_count(value: Any, name: str, minimum: int = 1) -> int:
    """``value`` as int, if it is an integer of at least ``minimum``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < minimum:
        raise InvalidInputError(f"{name}={value!r} must be an integer of at least {minimum}")
    return int(value)


def check_real(value: Any, name: str, low: float, high: float) -> float:
    """``value`` as float, if it is a number in the closed range from ``low`` to ``high``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) <= high:
        raise InvalidInputError(f"{name}={value!r} must be a number from {low:g} to {high:g}")
    return float(value)


def check_option(value: Any, name: str, options: Sequence[str]) -> str:
    """``value``, if it is one of ``options``.

    Raises
    ------
    InvalidInputError
        If it is anything else.
    """
    if not isinstance(value, str) or value not in options:
        raise InvalidInputError(f"{name}={value!r} is not one of {', '.join(map(repr, options))}")
    return value
