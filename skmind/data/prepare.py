"""Tables of the caller → ids, histories and features, encoded for training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from .._checks import warn
from ..exceptions import FeatureTypeWarning, IgnoredDataWarning, InvalidInputError
from .features import Column, FeatureEncoder, Features
from .formats import check_columns, check_log, feature_table
from .ids import IdEncoder, join_ids
from .interactions import Interactions
from .ragged import count, group_rows
from .shard import (
    ALONE,
    Collectives,
    check_same_items,
    join_columns,
    join_encoders,
    own_table,
)
from .tables import (
    column_names,
    float_spacing,
    has_column,
    id_array,
    id_parts,
    is_frame,
    is_unnamed,
    take_cells,
    take_column,
    time_column,
    time_kind,
    warn_of_twins,
)
from .ties import mix_ties, warn_of_rounding, warn_of_ties
from .units import check_unit, warn_of_mixed_units, warn_of_ratings

KINDS_OF_TIMES = {
    "numbers": "numbers",
    "dates": "dates without a time zone",
    "zoned dates": "dates with a time zone",
}
# How to convert times of the first kind to the second, the kind of ``fit``.
_TIME_CONVERSIONS = {
    ("numbers", "dates"): "convert them with their unit, such as pandas.to_datetime({0}, unit='s')",
    ("numbers", "zoned dates"): (
        "convert them with their unit, such as pandas.to_datetime({0}, unit='s', utc=True)"
    ),
    ("dates", "numbers"): (
        "convert them to numbers in the unit of fit, such as seconds: "
        "({0} - pandas.Timestamp(0)) // pandas.Timedelta('1s')"
    ),
    ("zoned dates", "numbers"): (
        "convert them to numbers in the unit of fit, such as seconds: "
        "({0} - pandas.Timestamp(0, tz='UTC')) // pandas.Timedelta('1s')"
    ),
    ("dates", "zoned dates"): (
        "give them the zone in which they were recorded, such as {0}.dt.tz_localize('UTC')"
    ),
    ("zoned dates", "dates"): (
        "convert them to the zone in which the times of fit were recorded, and drop it, such as "
        "{0}.dt.tz_convert('UTC').dt.tz_localize(None)"
    ),
}

# Columns of results, beside those of the ids.
RESULT_COLUMNS = frozenset(
    "score rank interest similar_item_id history_item_id weight contribution history_length "
    "item_count".split()
)
# Columns of results that have titles.
TITLE_COLUMNS = frozenset({"title", "similar_title", "history_title"})


class Schema(NamedTuple):
    """The columns of a table of interactions.

    Attributes
    ----------
    user, item : str or int
        Name or position.
    time : str, int or None
        None: there are no times.
    user_features, item_features : tuple of str, or None
        None: every column of the feature table except its key.
    tie_order : {"auto", "random", "rows"} or None
        Order of events of equal time, or without times; None: as "rows".
    weight : str, int or None
        Column of the weights in training; None: there is none.
    time_kind : str or None
        What the times of ``fit`` were: "none", or as `time_kind` returns it. None: before ``fit``,
        or in models of earlier versions.
    """

    user: Any
    item: Any
    time: Any
    user_features: tuple | None = None
    item_features: tuple | None = None
    tie_order: str | None = None
    weight: Any = None
    time_kind: str | None = None
    title: Any = None

    @property
    def has_row_order(self) -> bool:
        """Whether rows of equal time, or without times, are in the order of time."""
        return self.tie_order in (None, "rows")

    def for_table(self, X: Any) -> Schema:
        """Return the schema for ``X``; in an array, names become the positions 0, 1 and 2.

        Raises
        ------
        InvalidInputError
            If the names become positions and ``X`` looks like a matrix of users × items.
        """
        if not is_unnamed(X):
            return self
        if isinstance(self.user, str):
            features = [*(self.user_features or ()), *(self.item_features or ())]
            check_log(X, [*features, self.weight, self.title])
        third = 2 if X.shape[1] > 2 else None
        return self._replace(
            user=0 if isinstance(self.user, str) else self.user,
            item=1 if isinstance(self.item, str) else self.item,
            time=third if isinstance(self.time, str) else self.time,
        )

    def label(self, X: Any, role: str) -> str:
        """Return what the ids of one side are in messages: their column."""
        return f"column {getattr(self.for_table(X), role)!r}"


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
    item_titles : ndarray of shape (n_items,), object, or None
        Texts, "" for items without one; None: no titles were named.
    """

    users: IdEncoder
    items: IdEncoder
    interactions: Interactions
    counts: np.ndarray
    user_features: Features
    item_features: Features
    item_titles: np.ndarray | None = None


def prepare(
    X: Any,
    schema: Schema,
    *,
    users: Any = None,
    items: Any = None,
    min_item_count: int = 1,
    weights: np.ndarray | None = None,
    processes: Collectives = ALONE,
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
    weights : ndarray of shape (n_rows,), float32, or None, default=None
        Weights of the rows of ``X`` as targets.
    processes : Collectives, default=ALONE
        The processes of the fit; ``X`` has the rows of the users of this one, see `own_rows`.

    Returns
    -------
    Prepared
        The items of all processes, and the users of this one.

    Raises
    ------
    InvalidInputError
        If a column is missing or a value is not valid, if an id occurs more than once in a feature
        table, if ``min_item_count`` leaves no item, or if the tables of several processes don't fit
        together.
    IdTypeError
        If ids are not scalars, or a feature table has ids of another kind than ``X``.

    Warns
    -----
    IgnoredDataWarning
        If nothing reads a column of an array, or a feature column has no value.
    SkmindWarning
        If an id is there in two kinds, such as text and numbers, if a feature table has no id of
        ``X``, or as `warn_of_mixed_units` and `warn_of_ratings`.
    TiedTimesWarning
        As `warn_of_ties` and `warn_of_rounding`.
    """
    check_roles(X, schema)
    users = feature_table(users, "user")
    items = feature_table(items, "item")
    if is_unnamed(X) and isinstance(schema.user, str):
        _warn_of_unread_columns(X, schema)
    _check_distinct_columns(X, schema)
    times = read_times(X, schema)
    user_ids, user_codes = read_codes(X, schema, "user")
    own_item_ids, item_codes = read_codes(X, schema, "item")
    item_ids = join_encoders(processes, own_item_ids)
    if item_ids is not own_item_ids:
        item_codes = item_ids.encode(own_item_ids.ids)[item_codes]
    counts = processes.sum(count(item_codes, len(item_ids)))
    is_kept = _frequent_items(counts, min_item_count)
    rows = None
    if is_kept is not None:
        rows = np.flatnonzero(is_kept[item_codes])
        times = None if times is None else times[rows]
        weights = None if weights is None else weights[rows]
        user_ids, user_codes = _encode_again(user_ids, user_codes[rows])
        item_ids = IdEncoder(item_ids.ids[is_kept], "item")
        item_codes = (np.cumsum(is_kept, dtype=np.int32) - 1)[item_codes[rows]]
        counts = counts[is_kept]
    user_ids, user_codes, user_features = _prepare_side(
        user_ids, user_codes, users, schema, X=X, rows=rows, times=times, processes=processes
    )
    item_ids, item_codes, item_features = _prepare_side(
        item_ids, item_codes, items, schema, X=X, rows=rows, times=times, processes=processes
    )
    if times is not None and is_unnamed(X) and isinstance(schema.time, str):
        warn_of_ratings(user_codes, times, f"column {schema.for_table(X).time}")
    interactions = Interactions.from_codes(user_codes, item_codes, times, len(user_ids), weights)
    if times is not None:
        column = schema.for_table(X).time
        dtype, spacing = float_spacing(X, column, "time_col", times)
        if spacing > 1:
            warn_of_rounding(interactions, f"column {column!r}", dtype, spacing)
    if not schema.has_row_order:
        if schema.tie_order == "auto":
            warn_of_ties(interactions)
        interactions = mix_ties(interactions)
    counts = processes.sum(count(item_codes, len(item_ids)))
    return Prepared(user_ids, item_ids, interactions, counts, user_features, item_features)


# ------------------------------------------------------------------ columns of the interactions


def read_rows(X: Any, schema: Schema, fitted: np.ndarray | None = None) -> Rows:
    """Return the checked ids and times of a table of interactions; ``fitted`` as in `read_times`.

    Raises
    ------
    InvalidInputError
        If a column is missing, or an id or time is missing or not valid.
    IdTypeError
        If an id is not a scalar.
    """
    check_roles(X, schema)
    times = read_times(X, schema, fitted)
    return Rows(read_column(X, schema, "user"), read_column(X, schema, "item"), times)


def check_roles(X: Any, schema: Schema, roles: tuple = ("user", "item", "time")) -> None:
    """Check that a table of interactions has the columns of these roles.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `check_columns`.
    """
    is_fitted = schema.time_kind is not None
    schema = schema.for_table(X)
    columns = {f"{role}_col": getattr(schema, role) for role in roles}
    check_columns(X, columns, is_fitted=is_fitted)


def read_times(X: Any, schema: Schema, fitted: np.ndarray | None = None) -> np.ndarray | None:
    """Return the checked times of a table of interactions; None without a time column.

    Parameters
    ----------
    X : frame, or 2-D array
    schema : Schema
    fitted : ndarray or None, default=None
        The times of ``fit`` that they are compared with.

    Raises
    ------
    InvalidInputError
        As `time_column`; also if they are of another kind, or in another unit, than in ``fit``.

    Warns
    -----
    SkmindWarning
        As `warn_of_mixed_units`.
    """
    column = schema.for_table(X).time
    if column is None:
        return None
    times = time_column(X, column, "time_col")
    if schema.time_kind in KINDS_OF_TIMES:
        kind = time_kind(X, column, "time_col", times)
        if kind != schema.time_kind:
            raise InvalidInputError(
                f"column {column!r} has {KINDS_OF_TIMES[kind]}, but the times of fit were "
                f"{KINDS_OF_TIMES[schema.time_kind]}; "
                f"{_TIME_CONVERSIONS[kind, schema.time_kind].format(f'X[{column!r}]')}"
            )
    name, call = f"column {column!r}", f"X[{column!r}]"
    warn_of_mixed_units(times, name, call)
    check_unit(times, fitted, name, call)
    return times


def fitted_schema(X: Any, schema: Schema, times: np.ndarray | None) -> Schema:
    """Return the schema after ``fit`` on ``X``, whose ``times`` may be in another order."""
    column = schema.for_table(X).time
    if column is None or times is None:
        return schema._replace(time_kind="none")
    return schema._replace(time_kind=time_kind(X, column, "time_col", times))


def read_column(X: Any, schema: Schema, role: str) -> np.ndarray:
    """Return the checked ids of one side ("user" or "item") of a table of interactions."""
    check_roles(X, schema, (role,))
    column = getattr(schema.for_table(X), role)
    return id_array(take_column(X, column, f"{role}_col"), f"column {column!r}")


def encode_column(X: Any, schema: Schema, encoder: IdEncoder) -> np.ndarray:
    """Return the codes of the ids of one side of a table of interactions, as `IdEncoder.encode`."""
    role = encoder.name
    return encoder.encode(read_column(X, schema, role), schema.label(X, role))


def read_codes(X: Any, schema: Schema, role: str) -> tuple[IdEncoder, np.ndarray]:
    """Return an encoder fitted on `read_column`, and the codes of the rows, int32."""
    column = getattr(schema.for_table(X), role)
    return IdEncoder.fit_parts(id_parts(X, column, f"{role}_col"), len(X), role)


def result_name(column: Any, default: str) -> str:
    """Return the name of a column in results: the user's name, or ``default`` for a position."""
    return column if isinstance(column, str) else default


def check_distinct_roles(schema: Schema) -> None:
    """Check that the roles have different columns, also in results.

    Raises
    ------
    InvalidInputError
        If two roles have the same column, or a column of ids has the name of another one of
        results.
    """
    roles = {"user_col": schema.user, "item_col": schema.item, "time_col": schema.time}
    if schema.weight is not None:
        roles["weight_col"] = schema.weight
    if schema.title is not None:
        roles["item_title"] = schema.title
    columns = [column for column in roles.values() if column is not None]
    if len(set(columns)) < len(columns):
        given = ", ".join(f"{role}={column!r}" for role, column in roles.items())
        raise InvalidInputError(f"{given}: each must name a different column")
    for role in ("user_col", "item_col"):
        if isinstance(roles[role], str) and roles[role] in RESULT_COLUMNS:
            raise InvalidInputError(
                f"{role}={roles[role]!r} is the name of a column of results; rename it: "
                f"X.rename(columns={{{roles[role]!r}: {role[:4] + '_id'!r}}}), and set {role}="
            )
    if schema.title is not None:
        check_title_columns(schema)
    user = result_name(schema.user, "user_id")
    if user == result_name(schema.item, "item_id"):
        raise InvalidInputError(
            f"user_col={schema.user!r} and item_col={schema.item!r} would both be named {user!r} "
            "in results, where positions are named 'user_id' and 'item_id'; name both columns"
        )


def check_title_columns(schema: Schema) -> None:
    """Raise `InvalidInputError` if a column of ids has the name of a column of titles."""
    for role in ("user", "item"):
        column = getattr(schema, role)
        if isinstance(column, str) and column in TITLE_COLUMNS:
            raise InvalidInputError(
                f"{role}_col={column!r} is the name of a column of titles in results; leave out "
                f"titles= and item_title=, or rename the column of ids to {role + '_id'!r} and set "
                f"{role}_col="
            )


def _check_distinct_columns(X: Any, schema: Schema) -> None:
    """Raise if a position and a name are the same column of ``X``."""
    names = [] if is_unnamed(X) else column_names(X)
    resolved = schema.for_table(X)
    columns = [column for column in (*resolved[:3], resolved.weight) if column is not None]
    for i, column in enumerate(columns):
        if isinstance(column, bool) or not isinstance(column, Integral) or column in names:
            continue
        if 0 <= int(column) < len(names):  # else an array's, or an error when it is read
            columns[i] = names[int(column)]
    if len(set(columns)) < len(columns):
        raise InvalidInputError(
            f"user_col={schema.user!r}, item_col={schema.item!r} and time_col={schema.time!r}"
            f"{'' if schema.weight is None else f' and weight_col={schema.weight!r}'} are "
            f"the columns {columns} of X; each must be a different column"
        )


def _warn_of_unread_columns(X: Any, schema: Schema) -> None:
    """Warn of the columns of a table without column names that nothing reads."""
    features = [*(schema.user_features or ()), *(schema.item_features or ())]
    features += [schema.weight, schema.title]
    ignored = [i for i in range(3, X.shape[1]) if i not in features]
    if ignored:
        warn(
            f"the {'table' if is_frame(X) else 'array'} has {X.shape[1]} unnamed columns; 0, 1 and "
            f"2 are used as user, item and time, and {ignored} are ignored. Pass a DataFrame, or "
            "set user_col, item_col and time_col to positions.",
            IgnoredDataWarning,
        )


def _frequent_items(counts: np.ndarray, min_count: int) -> np.ndarray | None:
    """Return which items have at least ``min_count`` rows; None for all items."""
    is_frequent = counts >= min_count
    if is_frequent.all():
        return None
    if not is_frequent.any():
        raise InvalidInputError(
            f"min_item_count={min_count} leaves no item: the most frequent one has "
            f"{counts.max(initial=0)} interactions; lower min_item_count"
        )
    return is_frequent


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
        cells = take_cells(self.X, column, rows, parameter, may_be_position=False)
        return Column(cells, self.codes[self.places])


def _prepare_side(
    encoder: IdEncoder,
    codes: np.ndarray,
    table: Any,
    schema: Schema,
    *,
    X: Any,
    rows: np.ndarray | None,
    times: np.ndarray | None,
    processes: Collectives,
) -> tuple[IdEncoder, np.ndarray, Features]:
    """Add the ids and features of a feature table to one side, the users or the items.

    A feature is read from the feature table. If the table lacks the column, it is read from the
    newest row per id of the interactions.

    With several processes, each adds its own users, and all add all items.
    """
    role = encoder.name
    key = getattr(schema, role)
    parameter = f"{role}_features"
    names = getattr(schema, parameter)
    in_table = []
    table_codes = codes[:0]
    table_rows = None
    ids = None if table is None else table_ids(table, key, role)
    if ids is not None:
        if role == "user":
            table_rows = own_table(ids, encoder, processes)
            ids = ids if table_rows is None else ids[table_rows]
        encoder, codes, table_codes = _add_ids(encoder, codes, ids, table_label(table, key, role))
        in_table = column_names(table)
    if names is None:
        others = [key_column(table, key)] if table is not None else []
        if role == "item" and schema.title is not None:
            others.append(schema.title)  # words for people, which are different for each item
        names = tuple(name for name in in_table if name not in others)
        _warn_of_other_ids(names, schema, role)

    warn_of_twins(encoder.ids, f"{role} ids")
    newest_rows = NewestRows(X, rows, codes, times)
    columns = {}
    for name in names:
        if name in in_table:
            _check_unambiguous(name, X, schema, role)
            values = take_column(table, name, parameter, may_be_position=False)
            values = values if table_rows is None else values[table_rows]
            columns[name] = Column(values, table_codes)
        else:
            _check_in_interactions(name, X, key, role, table is not None, in_table, processes)
            columns[name] = newest_rows.take(name, parameter)
    learned = join_columns(processes, columns) if role == "user" else columns
    features = FeatureEncoder.fit(learned).transform(columns, len(encoder))
    if role == "item":
        check_same_items(processes, encoder, features.matrix)
    return encoder, codes, features


def _check_unambiguous(name: Any, X: Any, schema: Schema, role: str) -> None:
    """Raise if a chosen feature of the feature table may also be a position of ``X``."""
    parameter = f"{role}_features"
    is_chosen = getattr(schema, parameter) is not None
    if is_chosen and isinstance(name, Integral) and is_unnamed(X) and has_column(X, name):
        raise InvalidInputError(
            f"{parameter} names {name!r}, which is both a column of the {role}s table and "
            "a position of X; name the columns of the table by text"
        )


def _check_in_interactions(
    name: Any,
    X: Any,
    key: Any,
    role: str,
    has_table: bool,
    in_table: list,
    processes: Collectives,
) -> None:
    """Raise if a feature that the feature table lacks can't be read from ``X``."""
    parameter = f"{role}_features"
    if is_frame(X) and name not in column_names(X):
        if not has_table:
            raise InvalidInputError(
                f"{parameter} names {name!r}, which is not in X, which has {column_names(X)}; give "
                f"the table that has it ({role}s=), or set {parameter}= to some of these"
            )
        raise InvalidInputError(
            f"{parameter} names {name!r}, which is neither in the {role}s table, which "
            f"has {in_table}, nor in X, which has {column_names(X)}"
        )
    if role == "item" and processes.size > 1:  # its newest row may be in another process
        raise InvalidInputError(
            f"{parameter} names {name!r}, a column of X, but with several processes it must be in "
            f"the table of the items: items=X[[{key!r}, {name!r}]].drop_duplicates({key!r})"
        )


def _warn_of_other_ids(names: tuple, schema: Schema, role: str) -> None:
    """Warn if a feature table has the other ids of the interactions, with which it was joined.

    Warns
    -----
    FeatureTypeWarning
    """
    other = schema.user if role == "item" else schema.item
    if isinstance(other, str) and other in names:
        warn(
            f"the {role}s table has the column {other!r} of X, which is read as a feature: each "
            f"{role} has only one of them there. Drop it, or name the features: "
            f"{role}_features={[name for name in names if name not in schema[:3]]}",
            FeatureTypeWarning,
        )


def _add_ids(
    encoder: IdEncoder, codes: np.ndarray, ids: np.ndarray, label: str
) -> tuple[IdEncoder, np.ndarray, np.ndarray]:
    """Return an encoder that also knows ``ids``, the new ``codes``, and the codes of ``ids``."""
    warn_of_foreign_ids(encoder, ids, label)
    all_ids = join_ids(encoder.ids, ids, f"{encoder.name} ids")
    joint_encoder, all_codes = IdEncoder.fit(all_ids, encoder.name)
    code_of_old = all_codes[: len(encoder)]
    return joint_encoder, code_of_old[codes], all_codes[len(encoder) :]


def warn_of_foreign_ids(
    encoder: IdEncoder, ids: np.ndarray, label: str, *, are_new_usual: bool = False
) -> None:
    """Warn if no id of a feature table occurs in ``X``.

    Parameters
    ----------
    encoder : IdEncoder
        The ids of ``X``, or all known ones.
    ids : ndarray of shape (n,)
        The ids of the table.
    label : str
        What they are, for messages.
    are_new_usual : bool, default=False
        True: warn only if an id is a known one in another spelling.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `IdEncoder.encode`.

    Warns
    -----
    SkmindWarning
    """
    is_known = encoder.encode(ids, label) >= 0
    if is_known.any() or not len(ids) or not len(encoder):
        return
    spellings = {_plain_spelling(value): value for value in encoder.ids.tolist()}
    alike = [value for value in ids.tolist() if _plain_spelling(value) in spellings]
    if are_new_usual and not alike:
        return
    example = alike[0] if alike else ids[:1].tolist()[0]
    known = spellings.get(_plain_spelling(example), encoder.ids[:1].tolist()[0])
    warn(
        f"none of the {len(ids)} ids in {label} occurs in X: they are such as {example!r}, those "
        f"of X such as {known!r}; all are new {encoder.name}s, without interactions. If they "
        f"should be the same, convert the table to the {encoder.name} ids of X"
    )


def warn_of_unknown_items(
    ids: Any, codes: np.ndarray, items: IdEncoder, name: str, consequence: str
) -> None:
    """Warn if no item of a call is known.

    Parameters
    ----------
    ids : sequence of shape (n_ids,)
    codes : ndarray of shape (n_ids,), int
        Codes of ``ids``; -1 is unknown.
    items : IdEncoder
        The items of ``fit``.
    name, consequence : str
        What the ids are, and what happens to them, for the message.

    Warns
    -----
    IgnoredDataWarning
    """
    if len(codes) and len(items) and (codes < 0).all():
        warn(
            f"no item of the {len(codes)} {name} was in fit, such as {list(ids[:1])[0]!r}, where "
            f"the ids of fit are such as {items.ids[:1].tolist()[0]!r}; {consequence}",
            IgnoredDataWarning,
        )


def _plain_spelling(value: Any) -> str:
    """Return a text that is equal for "3", " 03" and "3.0"."""
    text = re.sub(r"\.0+$", "", str(value).strip().casefold())
    return text.lstrip("0") or "0"


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
        If ``table`` has no key column, or an id is missing or repeated.
    IdTypeError
        If an id is not a scalar.
    """
    name = f"the {role}s table"
    column = key_column(table, key)
    label = table_label(table, key, role)
    check_columns(table, {f"{role}_col": column}, name)
    ids = id_array(take_column(table, column, f"{role}_col", may_be_position=False), label)
    is_repeated = pd.Index(ids).duplicated()
    if is_repeated.any():
        raise InvalidInputError(
            f"{label} has the id {ids[is_repeated.argmax()]!r} more than once; keep one row per id"
        )
    return ids


def take_feature(table: Any, name: Any, role: str) -> pd.Series:
    """Return a column of a feature table that ``fit`` learned.

    Raises
    ------
    InvalidInputError
        If the table does not have it, or has it more than once.
    """
    names = column_names(table)
    if name not in names:
        raise InvalidInputError(
            f"the {role}s table has no column {name!r}, which is a feature that fit learned; it "
            f"has {names}. Add the column, with None where it is unknown, or rename the one that "
            "has it"
        )
    return take_column(table, name, f"{role}_features", may_be_position=False)


def table_label(table: Any, key: Any, role: str) -> str:
    """Return what the ids of a feature table are in messages: their column."""
    return f"column {key_column(table, key)!r} of the {role}s table"


def key_column(table: Any, key: Any) -> Any:
    """Return the id column of a feature table: named as in the interactions, or else its first.

    Raises
    ------
    InvalidInputError
        If the column of the interactions is a position, and a column of the table has this name
        but is not its first.
    """
    if isinstance(key, str):
        return key
    names = column_names(table)
    if key in names and names[0] != key:
        raise InvalidInputError(
            f"the ids of the table with the columns {names} may be in its first column, or in "
            f"{key!r}, which is the column of X; move this column to the front, or name the "
            "columns by text"
        )
    return names[0]


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

    Warns
    -----
    IgnoredDataWarning
        If no row has an id of ``ids``.
    """
    key = schema.user
    table = feature_table(table, "user")
    keys = table_ids(table, key, "user")
    rows = ids.encode(keys, table_label(table, key, "user"))
    if len(rows) and len(ids) and (rows < 0).all():
        warn(
            f"users= has rows for {len(keys)} people, such as {keys[:1].tolist()[0]!r}, but for "
            f"nobody in this call, which is about {ids.ids[:1].tolist()[0]!r} for example; give "
            "the ids of this call: a list of histories has the ids 0, 1, ..., a dict its keys",
            IgnoredDataWarning,
        )
    columns = {}
    for feature in encoder.features:
        columns[feature.name] = Column(take_feature(table, feature.name, "user"), rows)
    return encoder.transform(columns, len(ids)).matrix
