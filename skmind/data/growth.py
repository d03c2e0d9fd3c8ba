"""What `prepare` returned and new tables → the same of both; codes and feature columns stay."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any

import numpy as np

from .._validation import column_names, is_frame, take_cells, take_column
from ..exceptions import IgnoredDataWarning
from .encoder import IdEncoder
from .features import Column, Features
from .prepare import (
    Prepared,
    Schema,
    key_column,
    newest_rows,
    read_codes,
    read_times,
    table_ids,
)


def grow(
    known: Prepared, X: Any, schema: Schema, *, users: Any = None, items: Any = None
) -> tuple[Prepared, np.ndarray]:
    """Add interactions, their users and items, and features.

    Parameters
    ----------
    known : Prepared
        Not changed.
    X : frame, or 2-D array
    schema : Schema
        That of ``known``.
    users, items : frame or None
        Feature tables; a row replaces what was known of its id.

    Returns
    -------
    Prepared
        New ids have the codes after the known ones, new categories the columns after those known
        of their feature.
    is_new : ndarray of shape (n_interactions,), bool
        Which of its interactions are those of ``X``.
    """
    times = read_times(X, schema)
    user_ids, user_codes = _codes(known.users, X, schema)
    item_ids, item_codes = _codes(known.items, X, schema)
    user_ids, user_columns = _columns(
        user_ids, known.user_features, X, schema, users, user_codes, times
    )
    item_ids, item_columns = _columns(
        item_ids, known.item_features, X, schema, items, item_codes, times
    )
    interactions, is_new = known.interactions.extended(user_codes, item_codes, times, len(user_ids))
    user_features, item_features = (
        old.updated(old.encoder.extended(columns), columns, n)
        for old, columns, n in (
            (known.user_features, user_columns, len(user_ids)),
            (known.item_features, item_columns, len(item_ids)),
        )
    )
    counts = np.bincount(interactions.items, minlength=len(item_ids))
    return Prepared(user_ids, item_ids, interactions, counts, user_features, item_features), is_new


def append(known: Prepared, X: Any, schema: Schema) -> Prepared:
    """Add interactions with known items, and their users; nothing that would need training.

    Warns
    -----
    IgnoredDataWarning
        If rows have items that are not known.
    """
    times = read_times(X, schema)
    users, user_codes = _codes(known.users, X, schema)
    encoder, rows = read_codes(X, schema, "item")
    items = known.items.encode(encoder.ids)[rows]
    users, columns = _columns(users, known.user_features, X, schema, None, user_codes, times)
    kept = items >= 0
    if not kept.all():
        first = encoder.ids[rows[kept.argmin()]]
        warnings.warn(
            f"{(~kept).sum()} of {len(kept)} interactions have items that fit did not see, the "
            f"first is {first!r}, and are left out; partial_fit learns new items",
            IgnoredDataWarning,
            stacklevel=4,
        )
    times = None if times is None else times[kept]
    interactions, _ = known.interactions.extended(user_codes[kept], items[kept], times, len(users))
    features = known.user_features
    return Prepared(
        users,
        known.items,
        interactions,
        np.bincount(interactions.items, minlength=len(known.items)),
        features.updated(features.encoder, columns, len(users)),
        known.item_features,
    )


def _codes(known: IdEncoder, X: Any, schema: Schema) -> tuple[IdEncoder, np.ndarray]:
    """The encoder that knows the ids of one side of ``X`` too, and their codes."""
    encoder, codes = read_codes(X, schema, known.name)
    ids = known.extended(encoder.ids)
    return ids, ids.encode(encoder.ids)[codes]


def _columns(
    ids: IdEncoder,
    features: Features,
    X: Any,
    schema: Schema,
    table: Any,
    codes: np.ndarray,
    times: np.ndarray | None,
) -> tuple[IdEncoder, dict[str, Column]]:
    """New values of the features of one side, and its encoder with the ids of its table.

    As in `prepare`: from the side's table, else from the interactions, if ``fit`` was told to read
    features there; of these, the newest row of each id counts.
    """
    role, in_table, newest = ids.name, [], None
    names = getattr(schema, f"{role}_features")
    if table is not None:
        key = getattr(schema, role)
        in_table = column_names(table)
        rows = table_ids(table, key, role)
        ids = ids.extended(rows)
        table_codes = ids.encode(rows)
        if names is None:
            _warn_ignored({*in_table} - {key_column(table, key)}, features, role)
    columns = {}
    for name in (feature.name for feature in features.encoder.features):
        in_log = isinstance(name, Integral) or (is_frame(X) and name in column_names(X))
        if table is not None and (name in in_table or not (names and in_log)):
            columns[name] = Column(take_column(table, name, f"{role}_features"), table_codes)
        elif names and in_log:
            newest = newest_rows(codes, times) if newest is None else newest
            columns[name] = Column(take_cells(X, name, newest, f"{role}_features"), codes[newest])
    return ids, columns


def _warn_ignored(found: set, features: Features, role: str) -> None:
    """Warn of columns of a feature table that ``fit`` did not learn."""
    known = [feature.name for feature in features.encoder.features]
    ignored = sorted(found - {*known}, key=str)
    if ignored:
        warnings.warn(
            f"columns {ignored} of the {role}s table are ignored: the {role} features that fit "
            f"learned are {known}; call fit to learn others",
            IgnoredDataWarning,
            stacklevel=6,
        )
