"""Tables of the caller → ids, histories and features, encoded for training."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from .._checks import warn
from ..exceptions import IgnoredDataWarning, InvalidInputError
from .features import Column, FeatureEncoder, Features
from .ids import IdEncoder
from .interactions import Interactions
from .ragged import count, group_rows
from .tables import (
    column_names,
    id_array,
    id_parts,
    is_frame,
    join_scalars,
    take_cells,
    take_column,
    time_column,
)


class Schema(NamedTuple):
    """The columns of a table of interactions.

    Attributes
    ----------
    user, item : str or int
        Name or position.
    time : str, int or None
        None: the order of the rows is the order in time.
    user_features, item_features : tuple of str, or None
        None: every column of the feature table except its key.
    """

    user: Any
    item: Any
    time: Any
    user_features: tuple | None = None
    item_features: tuple | None = None

    def for_table(self, X: Any) -> Schema:
        """Return the schema for ``X``; in an array, names become the positions 0, 1 and 2."""
        if is_frame(X):
            return self
        third = 2 if X.shape[1] > 2 else None
        return self._replace(
            user=0 if isinstance(self.user, str) else self.user,
            item=1 if isinstance(self.item, str) else self.item,
            time=third if isinstance(self.time, str) else self.time,
        )


class Rows(NamedTuple):
    """The id and time columns of a table of interactions."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`: ids, histories, counts and features, all in codes.

    Attributes
    ----------
    users, items : IdEncoder
    interactions : Interactions
    counts : ndarray of shape (n_items,), int64
        Number of interactions per item.
    user_features, item_features : Features
    """

    users: IdEncoder
    items: IdEncoder
    interactions: Interactions
    counts: np.ndarray
    user_features: Features
    item_features: Features


def prepare(
    X: Any, schema: Schema, *, users: Any = None, items: Any = None, min_item_count: int = 1
) -> Prepared:
    """Encode interactions and features.

    Parameters
    ----------
    X : frame, or 2-D array
    schema : Schema
    users, items : frame or None
        Feature tables keyed by id. Ids that occur only in these tables are encoded too.
    min_item_count : int, default=1
        Items with fewer rows in ``X`` are left out.

    Raises
    ------
    InvalidInputError
        If a column is missing or a value is not valid, if an id occurs more than once in a feature
        table, or if ``min_item_count`` leaves no item.
    IdTypeError
        If ids are not scalars, or a feature table has ids of another kind than ``X``.

    Warns
    -----
    IgnoredDataWarning
        If a column of an array is not used, or a feature column has no value.
    """
    if not is_frame(X) and isinstance(schema.user, str):
        _warn_of_unread_columns(X, schema)
    times = read_times(X, schema)
    user_ids, user_codes = read_codes(X, schema, "user")
    item_ids, item_codes = read_codes(X, schema, "item")
    rows = _rows_of_frequent_items(item_ids, item_codes, min_item_count)
    if rows is not None:
        times = None if times is None else times[rows]
        user_ids, user_codes = _encode_again(user_ids, user_codes[rows])
        item_ids, item_codes = _encode_again(item_ids, item_codes[rows])
    user_ids, user_codes, user_features = _prepare_side(
        user_ids, user_codes, users, schema, X=X, rows=rows, times=times
    )
    item_ids, item_codes, item_features = _prepare_side(
        item_ids, item_codes, items, schema, X=X, rows=rows, times=times
    )
    interactions = Interactions.from_codes(user_codes, item_codes, times, len(user_ids))
    counts = count(item_codes, len(item_ids))
    return Prepared(user_ids, item_ids, interactions, counts, user_features, item_features)


# ------------------------------------------------------------------ columns of the interactions


def read_rows(X: Any, schema: Schema) -> Rows:
    """Return the checked ids and times of a table of interactions.

    Raises
    ------
    InvalidInputError
        If a column is missing, or an id or time is missing or not valid.
    IdTypeError
        If an id is not a scalar.
    """
    times = read_times(X, schema)
    return Rows(read_column(X, schema, "user"), read_column(X, schema, "item"), times)


def read_times(X: Any, schema: Schema) -> np.ndarray | None:
    """Return the checked times of a table of interactions; None without a time column."""
    column = schema.for_table(X).time
    return None if column is None else time_column(X, column, "time_col")


def read_column(X: Any, schema: Schema, role: str) -> np.ndarray:
    """Return the checked ids of one side ("user" or "item") of a table of interactions."""
    column = getattr(schema.for_table(X), role)
    return id_array(take_column(X, column, f"{role}_col"), f"column {column!r}")


def read_codes(X: Any, schema: Schema, role: str) -> tuple[IdEncoder, np.ndarray]:
    """Return an encoder fitted on `read_column`, and the codes of the rows, int32."""
    column = getattr(schema.for_table(X), role)
    return IdEncoder.fit_parts(id_parts(X, column, f"{role}_col"), len(X), role)


def result_name(column: Any, default: str) -> str:
    """Return the name of a column in results: the user's name, or ``default`` for a position."""
    return column if isinstance(column, str) else default


def _warn_of_unread_columns(X: np.ndarray, schema: Schema) -> None:
    """Warn about the columns of an array that are not used."""
    features = [*(schema.user_features or ()), *(schema.item_features or ())]
    ignored = [i for i in range(3, X.shape[1]) if i not in features]
    if ignored:
        warn(
            f"the array has {X.shape[1]} unnamed columns; 0, 1 and 2 are used as user, item and "
            f"time, and {ignored} are ignored. Pass a DataFrame, or set user_col, item_col and "
            "time_col to positions.",
            IgnoredDataWarning,
        )


def _rows_of_frequent_items(
    encoder: IdEncoder, codes: np.ndarray, min_count: int
) -> np.ndarray | None:
    """Return the rows whose item has at least ``min_count`` rows; None for all rows."""
    if min_count <= 1:
        return None
    counts = count(codes, len(encoder))
    is_frequent = counts >= min_count
    if is_frequent.all():
        return None
    if not is_frequent.any():
        raise InvalidInputError(
            f"min_item_count={min_count} leaves no item: the most frequent one has "
            f"{counts.max(initial=0)} interactions; lower min_item_count"
        )
    return np.flatnonzero(is_frequent[codes])


def _encode_again(encoder: IdEncoder, codes: np.ndarray) -> tuple[IdEncoder, np.ndarray]:
    """Return an encoder of only the ids that occur in ``codes``, and the new codes."""
    positions, used_codes = pd.factorize(codes)
    encoder, new_codes = IdEncoder.fit(encoder.ids[used_codes], encoder.name)
    return encoder, new_codes[positions]


# ------------------------------------------------------------------ features


@dataclass(frozen=True)
class NewestRows:
    """The newest row per id in a table of interactions; features in the table are read from it.

    Attributes
    ----------
    X : frame, or 2-D array
    rows : ndarray of shape (n,), int, or None
        The rows of ``X`` that are used. None: all rows.
    codes : ndarray of shape (n,), int32
        Code of the user, or of the item, of each of these rows.
    times : ndarray of shape (n,) or None
        None: the order of the rows is the order in time. At equal times, the last row counts.
    """

    X: Any
    rows: np.ndarray | None
    codes: np.ndarray
    times: np.ndarray | None

    @cached_property
    def places(self) -> np.ndarray:
        """Position of the newest row per id in ``codes``, ascending by code."""
        n_ids = int(self.codes.max(initial=-1)) + 1
        places = np.arange(len(self.codes))
        columns = [places] if self.times is None else [places, self.times]
        offsets, (places, *_) = group_rows(self.codes, n_ids, columns)
        has_rows = np.diff(offsets) > 0
        return places[offsets[1:][has_rows] - 1]

    def take(self, column: Any, parameter: str) -> Column:
        """Return a feature column; messages name the ``parameter`` that chose the column."""
        rows = self.places if self.rows is None else self.rows[self.places]
        return Column(take_cells(self.X, column, rows, parameter), self.codes[self.places])


def _prepare_side(
    encoder: IdEncoder,
    codes: np.ndarray,
    table: Any,
    schema: Schema,
    *,
    X: Any,
    rows: np.ndarray | None,
    times: np.ndarray | None,
) -> tuple[IdEncoder, np.ndarray, Features]:
    """Add the ids and features of a feature table to one side, the users or the items.

    A feature is read from the feature table. If the table lacks the column, it is read from the
    newest row per id of the interactions.
    """
    role = encoder.name
    key = getattr(schema, role)
    parameter = f"{role}_features"
    names = getattr(schema, parameter)
    in_table = []
    table_codes = codes[:0]
    if table is not None:
        encoder, codes, table_codes = _add_ids(encoder, codes, table_ids(table, key, role))
        in_table = column_names(table)
    if names is None:
        names = tuple(name for name in in_table if name != key_column(table, key))

    newest_rows = NewestRows(X, rows, codes, times)
    columns = {}
    for name in names:
        if name in in_table:
            columns[name] = Column(take_column(table, name, parameter), table_codes)
            continue
        if table is not None and is_frame(X) and name not in column_names(X):
            raise InvalidInputError(
                f"{parameter} names {name!r}, which is neither in the {role}s table, which "
                f"has {in_table}, nor in X, which has {column_names(X)}"
            )
        columns[name] = newest_rows.take(name, parameter)
    return encoder, codes, FeatureEncoder.fit(columns).transform(columns, len(encoder))


def _add_ids(
    encoder: IdEncoder, codes: np.ndarray, ids: np.ndarray
) -> tuple[IdEncoder, np.ndarray, np.ndarray]:
    """Return an encoder that also knows ``ids``, the new ``codes``, and the codes of ``ids``."""
    encoder.encode(ids)  # raises if the ids are of another kind, because then no id would match
    all_ids = join_scalars(encoder.ids, ids, f"{encoder.name} ids")
    joint_encoder, all_codes = IdEncoder.fit(all_ids, encoder.name)
    code_of_old = all_codes[: len(encoder)]
    return joint_encoder, code_of_old[codes], all_codes[len(encoder) :]


def table_ids(table: Any, key: Any, role: str) -> np.ndarray:
    """Return the ids of a feature table.

    Parameters
    ----------
    table : frame
    key : str or int
        The id column of the interactions.
    role : {"user", "item"}

    Raises
    ------
    InvalidInputError
        If ``table`` isn't a frame or has no key column, or an id is missing or repeated.
    IdTypeError
        If an id is not a scalar.
    """
    name = f"the {role}s table"
    if not is_frame(table):
        raise InvalidInputError(f"{name} must be a DataFrame, got {type(table).__name__}")
    column = key_column(table, key)
    ids = id_array(take_column(table, column, f"{role}_col"), f"column {column!r} of {name}")
    is_repeated = pd.Index(ids).duplicated()
    if is_repeated.any():
        raise InvalidInputError(
            f"column {column!r} of {name} has the id {ids[is_repeated.argmax()]!r} more than once; "
            "keep one row per id"
        )
    return ids


def key_column(table: Any, key: Any) -> Any:
    """Return the id column of a feature table: ``key``, or the first if ``key`` is a position."""
    return key if isinstance(key, str) else column_names(table)[0]


def profile_rows(
    encoder: FeatureEncoder, table: Any, schema: Schema, ids: IdEncoder
) -> sparse.csr_matrix:
    """Return a matrix of the features of users who were not in ``fit``, with one row per id.

    Parameters
    ----------
    encoder : FeatureEncoder
        The user features of ``fit``.
    table : frame
        Feature table of the users; rows with ids that are not in ``ids`` are ignored.
    schema : Schema
    ids : IdEncoder

    Raises
    ------
    InvalidInputError, IdTypeError
        As `table_ids` and `FeatureEncoder.transform`, or if a feature column is missing.
    """
    rows = ids.encode(table_ids(table, schema.user, "user"))
    columns = {
        feature.name: Column(take_column(table, feature.name, "user_features"), rows)
        for feature in encoder.features
    }
    return encoder.transform(columns, len(ids)).matrix
