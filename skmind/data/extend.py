"""`Prepared` and new tables → `Prepared` of both; known codes and columns do not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .._checks import warn
from ..exceptions import IgnoredDataWarning
from .features import Column, Features
from .formats import feature_table
from .ids import IdEncoder
from .prepare import (
    NewestRows,
    Prepared,
    Schema,
    check_roles,
    key_column,
    read_codes,
    read_times,
    table_ids,
    table_label,
    take_feature,
    warn_of_foreign_ids,
)
from .ragged import count
from .tables import column_names, has_column, warn_of_twins
from .ties import mix_ties


def grow(
    prepared: Prepared,
    X: Any,
    schema: Schema,
    *,
    users: Any = None,
    items: Any = None,
    weights: np.ndarray | None = None,
) -> tuple[Prepared, np.ndarray]:
    """Add interactions, their users and items, and features.

    Parameters
    ----------
    prepared : Prepared
        Not changed.
    X : frame, or 2-D array
    schema : Schema
        The schema of ``prepared``.
    users, items : frame or None
        Feature tables; a row replaces the known feature values of its id.
    weights : ndarray of shape (n_rows,), float32, or None, default=None
        Weights of the rows of ``X``; known events have the weight 1.

    Returns
    -------
    Prepared
        The codes of new ids follow the known codes. The columns of new categories follow the known
        columns of their feature.
    is_new : ndarray of shape (n_interactions,), bool
        Whether each of its interactions is from ``X``.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `prepare`; also if ids or times are of another kind than in ``prepared``.

    Warns
    -----
    IgnoredDataWarning
        If a feature table has columns that ``fit`` did not learn, and the schema does not name the
        features.
    """
    check_roles(X, schema)
    users = feature_table(users, "user")
    items = feature_table(items, "item")
    times = read_times(X, schema, prepared.interactions.times)
    user_ids, user_codes, user_columns = _read_side(
        prepared.users, prepared.user_features, users, schema, X=X, times=times
    )
    item_ids, item_codes, item_columns = _read_side(
        prepared.items, prepared.item_features, items, schema, X=X, times=times
    )
    interactions, is_new = prepared.interactions.extended(
        user_codes, item_codes, times, len(user_ids), weights
    )
    if not schema.has_row_order:
        interactions = mix_ties(interactions, is_new)
    grown = Prepared(
        users=user_ids,
        items=item_ids,
        interactions=interactions,
        counts=count(interactions.items, len(item_ids)),
        user_features=_extended(prepared.user_features, user_columns, len(user_ids)),
        item_features=_extended(prepared.item_features, item_columns, len(item_ids)),
    )
    return grown, is_new


def append(prepared: Prepared, X: Any, schema: Schema) -> Prepared:
    """Add interactions with known items, and their users, without training.

    Parameters
    ----------
    prepared : Prepared
        Not changed.
    X : frame, or 2-D array
    schema : Schema
        The schema of ``prepared``.

    Raises
    ------
    InvalidInputError, IdTypeError
        As `grow`.

    Warns
    -----
    IgnoredDataWarning
        If rows have unknown items.
    """
    check_roles(X, schema)
    times = read_times(X, schema, prepared.interactions.times)
    user_ids, user_codes, user_columns = _read_side(
        prepared.users, prepared.user_features, None, schema, X=X, times=times
    )
    encoder, codes = read_codes(X, schema, "item")
    item_codes = prepared.items.encode(encoder.ids, schema.label(X, "item"))[codes]
    is_known = item_codes >= 0
    if not is_known.all():
        first = encoder.ids[codes[[is_known.argmin()]]].tolist()[0]
        warn(
            f"{(~is_known).sum()} of {len(is_known)} interactions have items that are not "
            f"known, such as {first!r}, and are ignored; use partial_fit to learn new items",
            IgnoredDataWarning,
        )
    times = None if times is None else times[is_known]
    interactions, is_new = prepared.interactions.extended(
        user_codes[is_known], item_codes[is_known], times, len(user_ids)
    )
    if not schema.has_row_order:
        interactions = mix_ties(interactions, is_new)
    user_features = prepared.user_features
    return replace(
        prepared,
        users=user_ids,
        interactions=interactions,
        counts=count(interactions.items, len(prepared.items)),
        user_features=user_features.updated(user_features.encoder, user_columns, len(user_ids)),
    )


def _read_side(
    known_ids: IdEncoder,
    features: Features,
    table: Any,
    schema: Schema,
    *,
    X: Any,
    times: np.ndarray | None,
) -> tuple[IdEncoder, np.ndarray, dict[str, Column]]:
    """Return the encoder, the codes of the rows and the new feature values of users or items.

    As in `prepare`, a feature is read from the feature table. If the table lacks the column and the
    schema names the features, it is read from the newest row per id of the interactions.
    """
    role = known_ids.name
    key = getattr(schema, role)
    parameter = f"{role}_features"
    are_features_chosen = getattr(schema, parameter) is not None

    encoder, codes = read_codes(X, schema, role)
    ids = known_ids.extended(encoder.ids, schema.label(X, role))
    codes = ids.encode(encoder.ids)[codes]
    in_table = []
    if table is not None:
        ids_of_table = table_ids(table, key, role)
        label = table_label(table, key, role)
        warn_of_foreign_ids(ids, ids_of_table, label, are_new_usual=True)
        ids = ids.extended(ids_of_table, label)
        table_codes = ids.encode(ids_of_table)
        in_table = column_names(table)
        if not are_features_chosen:
            not_learned = {*in_table} - {key_column(table, key)}
            if role == "item":
                not_learned -= {schema.title}
            _warn_of_new_columns(not_learned, features, role)

    if len(ids) > len(known_ids):
        warn_of_twins(ids.ids, f"{role} ids")
    newest_rows = NewestRows(X, None, codes, times)
    columns = {}
    for feature in features.encoder.features:
        name: Any = feature.name
        may_use_X = are_features_chosen and has_column(X, name)
        if table is not None and (name in in_table or not may_use_X):
            columns[name] = Column(take_feature(table, name, role), table_codes)
        elif may_use_X:
            columns[name] = newest_rows.take(name, parameter)
    return ids, codes, columns


def _warn_of_new_columns(columns: set, features: Features, role: str) -> None:
    """Warn about columns of a feature table that ``fit`` did not learn."""
    learned = [feature.name for feature in features.encoder.features]
    ignored = sorted(columns - {*learned}, key=str)
    if ignored:
        warn(
            f"columns {ignored} of the {role}s table are ignored: the {role} features that fit "
            f"learned are {learned}; call fit to learn others",
            IgnoredDataWarning,
        )


def _extended(features: Features, columns: dict[str, Column], n_rows: int) -> Features:
    """Return the features with the new values and their categories, for ``n_rows`` ids."""
    return features.updated(features.encoder.extended(columns), columns, n_rows)
