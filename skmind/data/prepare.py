"""The user's tables → everything that training needs, in codes."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Which columns of a table hold what.

    Attributes
    ----------
    user, item : str or int
    time : str, int or None
        None: row order is time.
    user_features, item_features : tuple of str, or None
        None: every column of the feature table but its key.
    """

    user: Any
    item: Any
    time: Any
    user_features: tuple | None = None
    item_features: tuple | None = None

    def for_table(self, X: Any) -> Schema:
        """The same for ``X``: names become positions 0, 1 and 2 if it is an array."""
        if is_frame(X):
            return self
        third = 2 if X.shape[1] > 2 else None
        return self._replace(
            user=0 if isinstance(self.user, str) else self.user,
            item=1 if isinstance(self.item, str) else self.item,
            time=third if isinstance(self.time, str) else self.time,
        )


class Rows(NamedTuple):
    """The id and time columns of an interactions table."""

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None


@dataclass(frozen=True)
class Prepared:
    """What `prepare` returns: ids, histories, counts and features, all in codes."""

    users: IdEncoder
    items: IdEncoder
    interactions: Interactions
    counts: np.ndarray
    user_features: Features
    item_features: Features


def read_column(X: Any, schema: Schema, role: str) -> np.ndarray:
    """The ids of one side ("user" or "item") of an interactions table, checked."""
    column = getattr(schema.for_table(X), role)
    return id_array(take_column(X, column, f"{role}_col"), f"column {column!r}")


def result_name(column: Any, default: str) -> str:
    """Name of a column in results: the caller's, unless it was a position."""
    return column if isinstance(column, str) else default


def read_rows(X: Any, schema: Schema) -> Rows:
    """The ids and times of an interactions table, checked.

    Raises
    ------
    InvalidInputError
        If a column is missing, or an id or time is.
    """
    times = read_times(X, schema)
    return Rows(read_column(X, schema, "user"), read_column(X, schema, "item"), times)


def prepare(
    X: Any, schema: Schema, *, users: Any = None, items: Any = None, min_item_count: int = 1
) -> Prepared:
    """Encode interactions and features.

    Parameters
    ----------
    X : frame, or 2-D array
    schema : Schema
    users, items : frame or None
        Feature tables keyed by id; their ids are known and recommendable without interactions.
    min_item_count : int
        Items with fewer rows in ``X`` are left out.
    """
    if not is_frame(X) and isinstance(schema.user, str):
        _warn_ignored(X, schema)
    times = read_times(X, schema)
    user_side, item_side = (read_codes(X, schema, role) for role in ("user", "item"))
    kept = _frequent(*item_side, min_item_count)
    if kept is not None:
        times = None if times is None else times[kept]
        user_side, item_side = _of_rows(*user_side, kept), _of_rows(*item_side, kept)
    user_ids, user_codes, user_features = _prepare_side(
        *user_side, schema.user, users, schema.user_features, (X, kept, times)
    )
    item_ids, item_codes, item_features = _prepare_side(
        *item_side, schema.item, items, schema.item_features, (X, kept, times)
    )
    interactions = Interactions.from_codes(user_codes, item_codes, times, len(user_ids))
    counts = count(item_codes, len(item_ids))
    return Prepared(user_ids, item_ids, interactions, counts, user_features, item_features)


def read_times(X: Any, schema: Schema) -> np.ndarray | None:
    """The times of an interactions table, checked; None: row order is time."""
    time = schema.for_table(X).time
    if time is None:
        return None
    return time_column(X, time, "time_col")


def read_codes(X: Any, schema: Schema, role: str) -> tuple[IdEncoder, np.ndarray]:
    """`read_column` in codes."""
    column = getattr(schema.for_table(X), role)
    return IdEncoder.fit_parts(id_parts(X, column, f"{role}_col"), len(X), role)


def _of_rows(
    encoder: IdEncoder, codes: np.ndarray, rows: np.ndarray
) -> tuple[IdEncoder, np.ndarray]:
    """The same of some of the rows, as if there had been no others."""
    codes, left = pd.factorize(codes[rows])
    encoder, rank = IdEncoder.fit(encoder.ids[left], encoder.name)
    return encoder, rank[codes]


def _warn_ignored(X: np.ndarray, schema: Schema) -> None:
    """Warn of the columns of an array that nothing reads."""
    features = [*(schema.user_features or ()), *(schema.item_features or ())]
    ignored = [i for i in range(3, X.shape[1]) if i not in features]
    if ignored:
        warn(
            f"the array has {X.shape[1]} unnamed columns; 0, 1 and 2 are taken as user, item and "
            f"time, and {ignored} are ignored. Pass a DataFrame, or set user_col, item_col and "
            "time_col to positions.",
            IgnoredDataWarning,
        )


def _prepare_side(
    encoder: IdEncoder,
    codes: np.ndarray,
    key: Any,
    table: Any,
    names: tuple | None,
    source: tuple,
) -> tuple[IdEncoder, np.ndarray, Features]:
    """Encoder, codes and features of one side, the users or the items, with those of its table.

    A feature column is taken from the side's table, else from the interactions, where the newest
    row of each id counts.
    """
    role, table_codes = encoder.name, codes[:0]
    if table is not None:
        encoder, codes, table_codes = _join(encoder, codes, table_ids(table, key, role))
    in_table = [] if table is None else column_names(table)
    if names is None:
        names = tuple(name for name in in_table if name != key_column(table, key))
    if not names:
        return encoder, codes, FeatureEncoder([]).transform({}, len(encoder))
    X, kept, times = source
    columns, newest = {}, None
    for name in names:
        if name in in_table:
            values = take_column(table, name, f"{role}_features")
            columns[name] = Column(values, table_codes)
        else:
            if table is not None and is_frame(X) and name not in column_names(X):
                raise InvalidInputError(
                    f"{role}_features names {name!r}, which is neither in the {role}s table, which "
                    f"has {in_table}, nor in X, which has {column_names(X)}"
                )
            newest = newest_rows(codes, times) if newest is None else newest
            rows = newest if kept is None else kept[newest]
            values = take_cells(X, name, rows, f"{role}_features")
            columns[name] = Column(values, codes[newest])
    return encoder, codes, FeatureEncoder.fit(columns).transform(columns, len(encoder))


def newest_rows(codes: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Position of the newest row of each code; of equal times the last counts."""
    n_codes = int(codes.max(initial=-1)) + 1
    rows = np.arange(len(codes))
    offsets, (rows, *_) = group_rows(codes, n_codes, [rows] if times is None else [rows, times])
    return rows[offsets[1:][np.diff(offsets) > 0] - 1]


def _frequent(encoder: IdEncoder, codes: np.ndarray, minimum: int) -> np.ndarray | None:
    """Rows whose item has at least ``minimum`` of them; None: all."""
    if minimum <= 1:
        return None
    counts = count(codes, len(encoder))
    is_frequent = counts >= minimum
    if is_frequent.all():
        return None
    if not is_frequent.any():
        raise InvalidInputError(
            f"min_item_count={minimum} leaves no item: the most frequent one has "
            f"{counts.max(initial=0)} interactions; lower it"
        )
    return np.flatnonzero(is_frequent[codes])


def table_ids(table: Any, key: Any, role: str) -> np.ndarray:
    """The key column of a feature table; every id once."""
    name = f"the {role}s table"
    if not is_frame(table):
        raise InvalidInputError(f"{name} must be a DataFrame, got {type(table).__name__}")
    column = key_column(table, key)
    ids = id_array(take_column(table, column, f"{role}_col"), f"column {column!r} of {name}")
    repeated = pd.Index(ids).duplicated()
    if repeated.any():
        raise InvalidInputError(
            f"column {column!r} of {name} has the id {ids[repeated.argmax()]!r} more than once; "
            "keep one row per id"
        )
    return ids


def key_column(table: Any, key: Any) -> Any:
    """A feature table's id column: of the name set for the interactions; its first without one."""
    return key if isinstance(key, str) else column_names(table)[0]


def _join(
    encoder: IdEncoder, codes: np.ndarray, table_ids: np.ndarray
) -> tuple[IdEncoder, np.ndarray, np.ndarray]:
    """Encoder of all ids of the interactions and the table, and the codes of both."""
    encoder.encode(table_ids)  # raises if they are of another kind: no id would ever match
    joined = join_scalars(encoder.ids, table_ids, f"{encoder.name} ids")
    joint, joined_codes = IdEncoder.fit(joined, encoder.name)
    return joint, joined_codes[codes], joined_codes[len(encoder) :]


def profile_rows(
    encoder: FeatureEncoder, table: Any, schema: Schema, ids: IdEncoder
) -> sparse.csr_matrix:
    """Feature matrix of people who were not in ``fit``, one row per id of ``ids``."""
    rows = ids.encode(table_ids(table, schema.user, "user"))
    columns = {
        feature.name: Column(take_column(table, feature.name, "user_features"), rows)
        for feature in encoder.features
    }
    return encoder.transform(columns, len(ids)).matrix
