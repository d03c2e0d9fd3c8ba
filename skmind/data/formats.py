"""Whatever is passed as a table → a frame or an array that `tables` reads, or an error with a cure.

Libraries are recognised by the names and methods of their classes, so that none is imported.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..exceptions import IdTypeError, InvalidInputError
from .parquet import ParquetTable, arrow_table, is_path, reader_call
from .tables import column_names, first_cell, is_frame
from .units import MAX_RATINGS

MAX_NAMES_SHOWN = 20  # column names in a message
MAX_LOG_COLUMNS = 10  # an array with more columns, all unnamed, is hardly a table of interactions
MIN_EMPTY_SHARE = 0.4  # of the cells of a matrix of interactions
SAMPLE_ROWS = 1000  # rows of an array that are looked at
_SEPARATORS = ";\t|,"
# Methods that return a table in memory, of lazy and distributed frames, datasets and cursors.
_METHODS_IN_MEMORY = (
    "toPandas", "collect", "compute", "to_pandas", "df", "fetchall", "to_table", "read_all",
)  # fmt: skip
# Calls that read objects with one of these methods.
_EXPORTS = {
    "__dataframe__": "pyarrow.interchange.from_dataframe({})",
    "__arrow_c_array__": "pyarrow.table({})",
}
_TABLES = (
    "a table (pandas, polars, pyarrow), an array of shape (n_rows, n_columns) or the path of "
    "Parquet files"
)
_MATRIX_TO_LISTS = "give the item ids of each row as a list, such as {0}.tolil().rows"
_MATRIX_TO_TABLE = (
    "give one row per interaction: users, items = {0}.tocoo().nonzero(), then "
    "pandas.DataFrame({{'user_id': users, 'item_id': items}}) with time_col=None"
)
_SESSIONS_TO_TABLE = (
    "for sessions, give one row per event: table = pandas.DataFrame({{'user_id': range(len({0})), "
    "'item_id': {0}}}).explode('item_id'), then table['timestamp'] = range(len(table)) if the "
    "lists are in the order of time"
)


# ------------------------------------------------------------------ tables


def as_frame(X: Any, name: str, matrix_cure: str = _MATRIX_TO_LISTS) -> Any:
    """Return a frame of any library as one that `tables` reads, and other objects unchanged.

    pandas and polars frames, pyarrow tables and arrays are returned as they are. What exports
    Arrow data (duckdb relations, readers, record batches) becomes a pyarrow table.

    Parameters
    ----------
    X : object
    name : str
        The parameter that ``X`` was given as, for messages.
    matrix_cure : str
        What to do with a sparse matrix, with ``{0}`` for ``name``.

    Raises
    ------
    InvalidInputError
        If ``X`` is a sparse matrix, a masked array, groups, the text of a file, or a frame that is
        not in memory or of an unknown library.
    """
    _check_no_text(X, name)
    _check_no_mask(X, name)
    _check_no_groups(X, name)
    if hasattr(X, "to_native"):  # narwhals
        X = X.to_native()
    if sparse.issparse(X):
        kind = type(X).__name__
        raise InvalidInputError(
            f"{name} is a sparse matrix ({kind} of shape {X.shape}); {matrix_cure.format(name)}"
        )
    if _is_type(X, "pyarrow", "StructArray"):  # as which scikit-learn takes rows of a RecordBatch
        return arrow_table(X, name)
    if isinstance(X, np.ndarray | list | tuple) or is_series(X) or _is_known_frame(X):
        return X
    if _is_type(X, "pyarrow", "Dataset"):
        return ParquetTable(X)
    if hasattr(X, "__arrow_c_stream__"):
        return arrow_table(X, name)
    _check_no_foreign_frame(X, name)
    return X


def as_table(X: Any, name: str = "X", *, may_be_sessions: bool = False) -> Any:
    """Return a table of interactions as a frame or array.

    Scalars and 1-D arrays are returned unchanged; see `check_dimensions`.

    Parameters
    ----------
    X : frame, array, list of rows, or path
    name : str
        The parameter that ``X`` was given as, for messages.
    may_be_sessions : bool, default=False
        Whether rows that may be lists of items instead of user, item and time are refused.

    Returns
    -------
    frame, or ndarray of shape (n_rows, n_columns)

    Raises
    ------
    InvalidInputError
        If ``X`` is something else; the message says how to make a table of it.
    ImportError
        If ``X`` is a path and pyarrow is not installed.
    """
    X = as_frame(X, name, _MATRIX_TO_TABLE)
    if is_path(X):
        _check_whole_path(X, name)
        return ParquetTable(X)
    if is_frame(X):
        return X
    if isinstance(X, np.ndarray):
        X = np.asarray(X) if isinstance(X, np.matrix) else X
        if X.ndim != 1 or X.dtype != object or not len(X):
            return X
        check_no_names(X[0], f"list({name})", f"{name} is an array of")
        return _rows_to_array(X.tolist(), name, may_be_sessions) if _is_row(X[0]) else X
    if isinstance(X, list | tuple):
        return _rows_to_array(X, name, may_be_sessions)
    _check_single_object(X, name)
    return np.asarray(X) if hasattr(X, "__array__") else X


def check_in_memory(X: Any) -> None:
    """Raise if scikit-learn can't take rows of ``X``, as searches and cross-validation do.

    Raises
    ------
    InvalidInputError
        If ``X`` is a path, or a table that is not in memory or of another library.
    """
    is_in_memory = isinstance(X, np.ndarray) or is_series(X) or _is_known_frame(X)
    if is_in_memory or _is_type(X, "pyarrow", "RecordBatch"):
        return
    methods = [name for name in ("to_native", *_METHODS_IN_MEMORY) if hasattr(X, name)]
    if is_path(X):
        cure = reader_call(X)
    elif methods:
        cure = f"X.{methods[0]}()"
    elif hasattr(X, "__arrow_c_stream__"):
        cure = "pyarrow.table(X)"
    else:
        return
    raise InvalidInputError(
        f"X is a {type(X).__name__}, of which scikit-learn can't take the rows of a split; pass "
        f"{cure}"
    )


def _check_whole_path(X: Any, name: str) -> None:
    """Raise if ``X`` has characters of a path, as scikit-learn's splits of a path have."""
    is_split = isinstance(X, list | tuple) and all(len(str(path)) == 1 for path in X)
    if is_split and len(X) > 2:
        raise InvalidInputError(
            f"{name} is a {type(X).__name__} of characters such as {X[0]!r}, which are rather rows "
            "of a path; to split a table, read it first: pandas.read_parquet(path)"
        )


def feature_table(table: Any, role: str) -> Any:
    """Return a feature table as a frame; None if there is none.

    Raises
    ------
    InvalidInputError
        If ``table`` is neither; the message says how to make a table of it.
    """
    if table is None:
        return None
    name = f"{role}s"
    must = f"the {name} table must be a DataFrame, got {type(table).__name__}"
    if sparse.issparse(table):
        raise InvalidInputError(
            f"{must}; convert it and add the column of ids: pandas.DataFrame.sparse.from_spmatrix("
            f"{name}, columns=[...]).assign({role}_id=[...])"
        )
    table = as_frame(table, name)
    if is_frame(table):
        return table
    if is_path(table):
        cure = f"read it first: {reader_call(table)}"
    elif is_series(table):
        cure = f"pass {_series_cure(table, name)}"
    elif isinstance(table, Iterator):
        cure = f"pass {_iterator_cure(name)}"
    else:
        cure = f"pass pandas.DataFrame({name}), with a name for each column"
    raise InvalidInputError(f"{must}; {cure}")


def is_series(X: Any) -> bool:
    """Return whether ``X`` is one column: of pandas, polars or pyarrow."""
    is_arrow = hasattr(X, "to_pylist") and not is_frame(X)
    return isinstance(X, pd.Series | pd.Index) or _is_type(X, "polars", "Series") or is_arrow


def _is_known_frame(X: Any) -> bool:
    known = isinstance(X, pd.DataFrame | ParquetTable)
    return known or _is_type(X, "polars", "DataFrame") or _is_type(X, "pyarrow", "Table")


def _is_type(X: Any, package: str, name: str) -> bool:
    """Return whether ``X`` is of a class of this package, or of a subclass."""
    names = ((base.__module__.partition(".")[0], base.__name__) for base in type(X).__mro__)
    return (package, name) in names


def _refuse(X: Any, name: str, what: str) -> None:
    raise InvalidInputError(f"{name} is a {type(X).__name__}{what}")


def _check_no_foreign_frame(X: Any, name: str) -> None:
    """Raise if ``X`` is a frame of another library, or can become one."""
    for method in _METHODS_IN_MEMORY:
        if callable(getattr(X, method, None)):
            _refuse(X, name, f", which is not in memory as a table; pass {name}.{method}()")
    for method, call in _EXPORTS.items():
        if hasattr(X, method):
            _refuse(X, name, f", which is read by another library; pass {call.format(name)}")
    if is_frame(X):
        _refuse(X, name, f", which has columns but is of no known library; give {_TABLES}")


def _check_no_groups(X: Any, name: str) -> None:
    """Raise if ``X`` is the groups of a frame."""
    if hasattr(X, "ngroups") or _is_type(X, "polars", "GroupBy"):
        is_column = isinstance(getattr(X, "obj", None), pd.Series)
        lists = f"{name}.agg(list) for a list per group, or " if is_column else ""
        _refuse(X, name, f"; pass {lists}the frame that was grouped")


def _check_no_mask(X: Any, name: str) -> None:
    """Raise if ``X`` is a masked array; numpy would drop the mask."""
    if not isinstance(X, np.ma.MaskedArray):
        return
    mask = np.ma.getmaskarray(X)
    is_structured = mask.dtype.names is not None
    if not (np.array(mask.tolist()) if is_structured else mask).any():
        cure = f"{name}.data, since no value is masked"
    elif is_structured:
        rows = f"[not any(row) for row in numpy.ma.getmaskarray({name}).tolist()]"
        cure = f"{name}.data[{rows}], the rows without masked values"
    elif X.ndim == 1:
        cure = f"{name}.compressed(), the values that are not masked"
    else:
        rows = f"~numpy.ma.getmaskarray({name}).any(axis=1)"
        cure = f"{name}.data[{rows}], the rows without masked values"
    _refuse(X, name, f" whose mask would be lost; pass {cure}")


def _check_no_text(X: Any, name: str) -> None:
    """Raise if ``X`` is what is in a file instead of its path."""
    if not isinstance(X, str | bytes):
        return
    text = X if isinstance(X, str) else X.decode(errors="replace")
    is_json = text.lstrip()[:1] in ("[", "{")
    if len(text.splitlines()) < 2 and not is_json:
        return
    stream = f"io.{'StringIO' if isinstance(X, str) else 'BytesIO'}({name})"
    raise InvalidInputError(
        f"{name} is a text of {len(text)} characters, which begins with {text[:40]!r}; give a "
        f"table: pandas.read_{'json' if is_json else 'csv'}({stream}), or the path of Parquet files"
    )


def check_dimensions(X: Any, *, is_fitted: bool, given: Any, user: str) -> None:
    """Raise if what `as_table` returned is a single value or one list of values.

    Parameters
    ----------
    X : object
    is_fitted : bool
        Whether the table is of another method than ``fit``.
    given : object
        What the user passed.
    user : str
        Column of the users, for the message.

    Raises
    ------
    InvalidInputError
    """
    if is_frame(X) or np.ndim(X) > 1:
        return
    # scikit-learn's checks look for "Expected 2D array" and "Reshape your data".
    kind = type(given).__name__
    if np.ndim(X) == 0:
        path = "; for a path, pass os.fsdecode(X)" if isinstance(given, bytes) else ""
        raise InvalidInputError(
            f"Expected 2D array, got scalar array instead: X is {given!r:.80} of type {kind}. "
            f"Reshape your data: give {_TABLES}{path}"
        )
    example = f" such as {X[:1].tolist()[0]!r:.80}" if len(X) else ""
    cure = "give a user, an item and a time in each row"
    if is_fitted:
        cure = (
            "give a table with the columns that the method reads, such as pandas.DataFrame("
            f"{{{user!r}: X}}) for predict and transform; recommend(X) takes a list of users"
        )
    raise InvalidInputError(
        f"Expected 2D array, got 1D array instead: X is a {kind} of {len(X)} single values"
        f"{example}. Reshape your data: {cure}"
    )


def _check_single_object(X: Any, name: str) -> None:
    """Raise if an object that is neither a frame, an array, a list nor a path is no table."""
    if isinstance(X, Mapping):
        _refuse(
            X,
            name,
            f"; pass a DataFrame (pandas.DataFrame({name})), a 2-D array, or a list of rows. If it "
            f"holds a list of items per user, pass pandas.Series({name}).explode()"
            ".rename_axis('user_id').reset_index(name='item_id')",
        )
    if is_series(X):
        _refuse(X, name, f"; give a table: {_series_cure(X, name)}")
    if hasattr(X, "readline"):
        _refuse(X, name, f", an open file; read it first: pandas.read_csv({name})")
    if isinstance(X, Iterator):
        _refuse(
            X,
            name,
            f", but a table is read more than once; pass {_iterator_cure(name)}",
        )
    if callable(getattr(X, "read", None)):
        _refuse(X, name, f", which is not in memory as a table; pass {name}.read()")
    if isinstance(X, Iterable) and not hasattr(X, "__array__") and not isinstance(X, str | bytes):
        _refuse(X, name, f"; give {_TABLES}")


def _iterator_cure(name: str) -> str:
    """Return the call that makes a table of what an iterator yields."""
    return (
        f"pandas.concat({name}) if it yields frames, pandas.DataFrame({name}, columns=[...]) if it "
        f"yields rows, or pandas.DataFrame({name}) if it yields dicts"
    )


def _series_cure(X: Any, name: str) -> str:
    """Return the call that makes a table of one column."""
    if not hasattr(X, "to_frame"):
        return f"pyarrow.table({{'item_id': {name}, ...}})"
    if not isinstance(X, pd.Series):
        return f"{name}.to_frame()"
    if isinstance(X.name, Integral) and pd.api.types.infer_dtype(X.index) == "string":
        return f"{name}.to_frame().T"  # a row of a frame
    has_lists = len(X) > 0 and isinstance(X.iloc[0], list | tuple | set | np.ndarray)
    return f"{name}.explode().reset_index()" if has_lists else f"{name}.reset_index()"


# ------------------------------------------------------------------ lists of rows


def _is_row(row: Any) -> bool:
    return isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim > 0)


def _parts_cure(part: Any, name: str) -> str:
    """Return the call that makes a table of a list of frames or columns; "" for other lists."""
    if _is_type(part, "pyarrow", "RecordBatch"):
        return f"pyarrow.Table.from_batches({name})"
    if _is_type(part, "pyarrow", "Table"):
        return f"pyarrow.concat_tables({name})"
    if _is_type(part, "polars", "DataFrame"):
        return f"polars.concat({name})"
    if isinstance(part, pd.DataFrame):
        return f"pandas.concat({name})"
    if isinstance(part, pd.Series | pd.Index):
        return f"pandas.DataFrame({name}) if they are rows, pandas.concat({name}, axis=1) if not"
    return f"pandas.DataFrame(dict(zip(names, {name})))" if is_series(part) else ""


def check_no_names(row: Any, name: str, what: str) -> None:
    """Raise if a row of a list has names for its values, which would be read by position.

    Parameters
    ----------
    row : object
    name : str
        The parameter that the list was given as, or a call that makes a list of it.
    what : str
        What is a row, for the message.

    Raises
    ------
    InvalidInputError
    """
    cure = ""
    if isinstance(row, np.void) and row.dtype.names:
        cure = f"pandas.DataFrame(numpy.array({name}))"
    elif hasattr(row, "_fields") or dataclasses.is_dataclass(row):  # as pandas does
        cure = f"pandas.DataFrame({name})"
    elif hasattr(row, "__fields__"):  # Spark
        cure = f"pandas.DataFrame({name}, columns={name}[0].__fields__)"
    elif hasattr(row, "cursor_description"):  # pyodbc
        cure = f"pandas.DataFrame({name}, columns=[c[0] for c in {name}[0].cursor_description])"
    elif callable(getattr(row, "keys", None)):  # sqlite3
        cure = f"pandas.DataFrame({name}, columns={name}[0].keys())"
    if cure:
        raise InvalidInputError(
            f"{what} {type(row).__name__} objects, whose values have names that would not be read; "
            f"pass a table with these names: {cure}"
        )


def _rows_to_array(X: Sequence, name: str, may_be_sessions: bool) -> np.ndarray:
    """Return a list of rows as a 2-D array of objects, which keeps the kind of each id.

    Raises
    ------
    InvalidInputError
        If ``X`` is a list of dicts, frames, sets or rows with names, or if its rows differ in
        length or may be sessions.
    """
    first = X[0] if len(X) else None
    if isinstance(first, Mapping):
        raise InvalidInputError(f"{name} is a list of dicts; pass pandas.DataFrame({name})")
    cure = _parts_cure(first, name)
    if cure:
        raise InvalidInputError(
            f"{name} is a {type(X).__name__} of {type(first).__name__} objects; pass one table: "
            f"{cure}"
        )
    check_no_names(first, name, f"{name} is a {type(X).__name__} of")
    if isinstance(first, set | frozenset) or (
        all(map(_is_row, X)) and len({len(row) for row in X}) > 1
    ):
        raise InvalidInputError(
            f"{name} is a list of rows of unequal length, but needs a user, an item and a time in "
            f"each row; {_SESSIONS_TO_TABLE.format(name)}"
        )
    rows = np.array(X, dtype=object)
    if may_be_sessions and rows.ndim == 2:
        sample = pd.DataFrame(rows[:SAMPLE_ROWS]).infer_objects().to_numpy()
        if rows.shape[1] > 3 and _is_matrix(sample):
            _refuse_matrix(rows.shape[1], name)
        if not isinstance(first, tuple):
            _check_no_sessions(rows, name)
    return rows


def _check_no_sessions(rows: np.ndarray, name: str) -> None:
    """Raise if rows may be sessions: integers or texts that come from one set of items.

    The rows of a log have users who occur more than once, and times that are no ids. Tuples, as
    databases return them, are always rows of a log.
    """
    kind = pd.api.types.infer_dtype(rows[:, :3].ravel(), skipna=False)
    if len(rows) < 2 or rows.shape[1] < 2 or kind not in ("integer", "string"):
        return
    columns = [set(column) for column in rows[:, :3].T]
    is_text = kind == "string" and not all(map(str.isdigit, columns[-1]))
    shares_values = bool(columns[-1] & set().union(*columns[:-1]))
    never_repeats = len(columns[0]) == len(rows)
    may_be_ids = shares_values and (is_text or _are_alike(rows[:, :3], columns))
    if never_repeats or may_be_ids:
        roles = ["user_id", "item_id", "timestamp", *["..."] * rows.shape[1]][: rows.shape[1]]
        raise InvalidInputError(
            f"{name} is a list of lists with {rows.shape[1]} values each, which may be sessions "
            f"of items or rows of user, item and time: name the columns of rows: "
            f"pandas.DataFrame({name}, columns={roles}); {_SESSIONS_TO_TABLE.format(name)}"
        )


def _are_alike(rows: np.ndarray, columns: list[set]) -> bool:
    """Return whether three columns of integers have about as many values, of about one size.

    Times without ties are no ids, and a session seldom has an item twice.
    """
    if len(columns) < 3 or len(columns[2]) == len(rows):
        return False
    counts = [len(values) for values in columns]
    largest = [max(abs(int(value)) for value in values) for values in columns]
    is_distinct = [len(set(row)) == 3 for row in rows[:SAMPLE_ROWS]]
    is_alike = max(counts) <= 2 * min(counts) and max(largest) <= 2 * min(largest)
    return is_alike and 2 * sum(is_distinct) > len(is_distinct)


# ------------------------------------------------------------------ matrices of users × items


def check_log(X: Any, features: Iterable = ()) -> None:
    """Raise if an array without names is rather a matrix of users × items than a table of rows.

    Parameters
    ----------
    X : array, or frame without names, of shape (n_rows, n_columns)
        Its first columns are about to be read as user, item and time.
    features : iterable
        Positions of the columns that are read as features.

    Raises
    ------
    InvalidInputError
        If there are more than `MAX_LOG_COLUMNS` columns, or more than 3 columns whose values are
        those of a matrix of interactions, counts or ratings.
    """
    n_columns = X.shape[1]
    if isinstance(X, pd.DataFrame):
        if X.columns.name is not None:
            raise InvalidInputError(
                f"X has the columns 0 to {n_columns - 1}, which are named {X.columns.name!r} as a "
                "whole and look like a matrix of users × items; give one row per interaction: "
                "X.stack().rename('n').reset_index().query('n > 0'), or "
                "X.rename_axis(columns=None) if the columns are user, item and time"
            )
        X = X.iloc[:SAMPLE_ROWS].to_numpy()
    if not set(range(3, n_columns)) - set(features) and X.dtype.kind != "b":
        return
    if n_columns > MAX_LOG_COLUMNS or _is_matrix(X):
        _refuse_matrix(n_columns, "X")


def _is_matrix(X: np.ndarray) -> bool:
    """Return whether an array of numbers with 4 columns or more has the values of a matrix."""
    # User, item and time are not 0 as often as columns of features may be.
    return (looks_like_matrix(X) and looks_like_matrix(X[:, :3])) or _holds_ratings(X)


def _refuse_matrix(n_columns: int, name: str) -> None:
    raise InvalidInputError(
        f"{name} has {n_columns} columns without names, which look like a matrix of users × items. "
        f"Give one row per interaction: users, items = numpy.nonzero({name}), then "
        "pandas.DataFrame({'user_id': users, 'item_id': items}) with time_col=None. If its columns "
        "are user, item, time and others, name them in a DataFrame, or set user_col=0, item_col=1 "
        "and time_col=2"
    )


def looks_like_matrix(X: Any) -> bool:
    """Return whether an array has only 0, 1 and nan, or many 0 or nan and no negative value."""
    values = _sample_of_numbers(X)
    if values is None:
        return False
    is_empty = np.isnan(values) | (values == 0)
    is_binary = (is_empty | (values == 1)).all()
    return bool(is_binary or (is_empty.mean() >= MIN_EMPTY_SHARE and not (values < 0).any()))


def check_item_lists(lists: Any, name: str) -> None:
    """Raise if a 2-D array that should hold a list of item ids per row looks like a matrix."""
    is_wide = isinstance(lists, np.ndarray) and lists.ndim == 2 and lists.shape[1] > 3
    if is_wide and looks_like_matrix(lists):
        raise InvalidInputError(
            f"{name} is an array of shape {lists.shape} that looks like a matrix of users × items; "
            f"give the item ids of each row: [row.nonzero()[0] for row in {name}]"
        )


def _holds_ratings(X: np.ndarray) -> bool:
    """Return whether all columns share few values without 0, and have ties in that of times."""
    values = _sample_of_numbers(X)
    if values is None or (values <= 0).any():
        return False
    has_ties = 2 * len(np.unique(values[:, 2])) <= len(values)
    return bool(has_ties and len(np.unique(values)) <= MAX_RATINGS)


def _sample_of_numbers(X: np.ndarray) -> np.ndarray | None:
    """Return the first rows as floats; None if they are no numbers, or there is only one."""
    is_number = X.dtype.kind in "biuf" and len(X) > 1
    return X[:SAMPLE_ROWS].astype(np.float64) if is_number else None


# ------------------------------------------------------------------ columns


def check_columns(
    X: Any, columns: Mapping[str, Any], name: str = "the table", *, is_fitted: bool = False
) -> None:
    """Raise one error for all columns that a frame doesn't have, or that hold lists.

    Parameters
    ----------
    X : frame or array
        Nothing is checked for an array.
    columns : mapping of str to name of a column
        By the parameter that chose the column. Positions are not checked.
    name : str
        What ``X`` is, for messages.
    is_fitted : bool, default=False
        Whether ``fit`` was called, so that parameters can't be changed without fitting again.

    Raises
    ------
    InvalidInputError
        If columns are missing. The message names similar ones, and likely causes.
    IdTypeError
        If the cells of a column are lists.
    """
    if not is_frame(X):
        return
    names = column_names(X)
    if isinstance(X, ParquetTable):
        X.check_in_all_files(columns.values())
    named = {parameter: column for parameter, column in columns.items() if isinstance(column, str)}
    missing = {parameter: column for parameter, column in named.items() if column not in names}
    cells = {
        column: first_cell(X, names.index(column))
        for column in named.values()
        if names.count(column) == 1
    }
    lists = {k: cell for k, cell in cells.items() if isinstance(cell, list | np.ndarray | set)}
    cure = f"give each of its values a row of its own: DataFrame.explode({[*lists]})"
    if missing:
        message = _describe_missing(X, names, missing, columns, name, is_fitted)
        raise InvalidInputError(message + (f" A list is in a cell; {cure}." if lists else ""))
    for column, cell in lists.items():
        noun = "time" if column == columns.get("time_col") else "id"
        raise IdTypeError(
            f"column {column!r} has the {noun} {cell!r} of type {type(cell).__name__}, but the "
            f"argument must be a string, number or date per row; join its parts to a string, or "
            f"{cure}"
        )


def _describe_missing(
    X: Any,
    names: list,
    missing: dict[str, str],
    columns: Mapping[str, Any],
    name: str,
    is_fitted: bool,
) -> str:
    plural = "s" if len(missing) > 1 else ""
    wanted = ", ".join(f"no column {column!r}" for column in missing.values())
    shown = repr(names)
    if len(names) > MAX_NAMES_SHOWN:
        shown = f"{repr(names[:MAX_NAMES_SHOWN])[:-1]}, … {len(names)} in all]"
    parameters = " and ".join(f"{parameter}=" for parameter in missing)
    to = "some of these" if plural else "one of these"
    change = f"fit again with {parameters} set" if is_fitted else f"set {parameters}"
    message = f"{name} has {wanted}; it has {shown}. Rename the column{plural} or {change} to {to}"
    if "weight_col" in missing and is_fitted:
        message += f", or give all rows the same weight: X.assign({missing['weight_col']}=1)"
    if "time_col" in missing:
        message += f", or {'fit with' if is_fitted else 'set'} time_col=None if there is no time"
    if "rank_col" in missing:
        message += ", or set rank_col=None if the rows of each user are in order, best first"
    return f"{message}. {_likely_cause(X, names, missing, columns)}".rstrip()


def _likely_cause(X: Any, names: list, missing: dict[str, str], columns: Mapping[str, Any]) -> str:
    """Return a sentence on why columns may be missing; empty if nothing is known."""
    separator = _wrong_separator(X, names)
    if separator:
        return f"The file has another separator: read it with sep={separator!r}."
    if isinstance(X, pd.DataFrame):
        in_index = [column for column in missing.values() if column in X.index.names]
        if X.columns.name is not None or (len(missing) > 1 and len(names) > MAX_NAMES_SHOWN):
            return (
                "If it is a matrix of users × items, give one row per interaction: "
                "X.stack().reset_index(), without the cells that mean none."
            )
        if in_index:
            return f"The index has {in_index}: reset_index() makes columns of it."
    free = [other for other in names if isinstance(other, str) and other not in columns.values()]
    similar = {
        parameter: match
        for parameter, column in missing.items()
        if (match := _most_similar(column, free)) is not None
    }
    if not similar and any(_is_number(name) for name in names):
        return (
            "The names look like values: if the file has no header, read it with header=None and "
            "names=[...], the names of its columns."
        )
    if not similar:
        return ""
    guess = ", ".join(f"{parameter}={column!r}" for parameter, column in similar.items())
    return f"Did you mean {guess}?"


def _is_number(name: Any) -> bool:
    """Return whether a name of a column is the text of a number, as in pandas.read_csv."""
    return isinstance(name, str) and re.fullmatch(r"-?\d+(\.\d*)?", name) is not None


def _most_similar(column: str, names: list[str]) -> str | None:
    plain = {"".join(filter(str.isalnum, other.casefold())): other for other in names}
    wanted = "".join(filter(str.isalnum, column.casefold()))
    found = difflib.get_close_matches(wanted, plain, n=1)
    return plain[found[0]] if found else None


def _wrong_separator(X: Any, names: list) -> str:
    """Return the separator in the name or the first cell of a table of one column; "" if none."""
    if len(names) != 1:
        return ""
    for text in (names[0], first_cell(X, 0)):
        counts = {char: text.count(char) for char in _SEPARATORS} if isinstance(text, str) else {}
        if any(counts.values()):
            return max(counts, key=lambda char: counts[char])
    return ""
