"""What `prepare` returned and new tables → the same of both; codes and feature columns stay."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from .._checks import warn
from ..exceptions import IgnoredDataWarning
from .features import Column, Features
from .ids import IdEncoder
from .prepare import (
    Prepared,
    Schema,
    key_column,
    newest_rows,
    read_codes,
    read_times,
    table_ids,
)
from .tables import column_names, is_frame, take_cells, take_column


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
    source = X, schema, times
    user_ids, user_codes, user_columns = _read_side(known.users, known.user_features, users, source)
    item_ids, item_codes, item_columns = _read_side(known.items, known.item_features, items, source)
    log, is_new = known.interactions.extended(user_codes, item_codes, times, len(user_ids))
    return Prepared(
        user_ids,
        item_ids,
        log,
        np.bincount(log.items, minlength=len(item_ids)),
        _extended(known.user_features, user_columns, len(user_ids)),
        _extended(known.item_features, item_columns, len(item_ids)),
    ), is_new


def append(known: Prepared, X: Any, schema: Schema) -> Prepared:
    """Add interactions with known items, and their users; nothing that would need training.

    Warns
    -----
    IgnoredDataWarning
        If rows have items that are not known.
    """
    times = read_times(X, schema)
    source = X, schema, times
    users, user_codes, columns = _read_side(known.users, known.user_features, None, source)
    encoder, rows = read_codes(X, schema, "item")
    item_codes = known.items.encode(encoder.ids)[rows]
    kept = item_codes >= 0
    if not kept.all():
        first = encoder.ids[rows[[kept.argmin()]]].tolist()[0]
        warn(
            f"{(~kept).sum()} of {len(kept)} interactions have items that are not known, the first "
            f"is {first!r}, and are left out; partial_fit learns new items",
            IgnoredDataWarning,
        )
    times = None if times is None else times[kept]
    log, _ = known.interactions.extended(user_codes[kept], item_codes[kept], times, len(users))
    return replace(
        known,
        users=users,
        interactions=log,
        counts=np.bincount(log.items, minlength=len(known.items)),
        user_features=known.user_features.updated(known.user_features.encoder, columns, len(users)),
    )


def _extended(features: Features, columns: dict[str, Column], n_rows: int) -> Features:
    """The features with new values of some ids, and with the categories among these."""
    return features.updated(features.encoder.extended(columns), columns, n_rows)


def _read_side(
    known: IdEncoder, features: Features, table: Any, source: tuple
) -> tuple[IdEncoder, np.ndarray, dict[str, Column]]:
    """Encoder, codes and new feature values of one side, the users or the items.

    As in `prepare`, a feature is taken from the side's table, or else from the interactions if
    ``fit`` was told to look for it there.
    """
    X, schema, times = source
    role, newest, in_table = known.name, None, []
    key, names = getattr(schema, role), getattr(schema, f"{role}_features")
    encoder, codes = read_codes(X, schema, role)
    ids = known.extended(encoder.ids)
    codes = ids.encode(encoder.ids)[codes]
    if table is not None:
        rows = table_ids(table, key, role)
        ids, in_table = ids.extended(rows), column_names(table)
        table_codes = ids.encode(rows)
        if names is None:
            _warn_ignored({*in_table} - {key_column(table, key)}, features, role)
    columns = {}
    name: Any
    for name in (feature.name for feature in features.encoder.features):
        in_log = isinstance(name, Integral) or (is_frame(X) and name in column_names(X))
        in_log = in_log and names is not None
        if table is not None and (name in in_table or not in_log):
            columns[name] = Column(take_column(table, name, f"{role}_features"), table_codes)
        elif in_log:
            newest = newest_rows(codes, times) if newest is None else newest
            columns[name] = Column(take_cells(X, name, newest, f"{role}_features"), codes[newest])
    return ids, codes, columns


def _warn_ignored(found: set, features: Features, role: str) -> None:
    """Warn of columns of a feature table that ``fit`` did not learn."""
    known = [feature.name for feature in features.encoder.features]
    ignored = sorted(found - {*known}, key=str)
    if ignored:
        warn(
            f"columns {ignored} of the {role}s table are ignored: the {role} features that fit "
            f"learned are {known}; call fit to learn others",
            IgnoredDataWarning,
        )
