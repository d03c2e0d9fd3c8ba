"""Histories and lists of items from the caller → item codes per user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import IgnoredDataWarning, InvalidInputError
from .formats import as_frame, check_item_lists, check_no_names
from .ids import IdEncoder
from .interactions import Interactions
from .prepare import Schema, check_roles, read_column, read_rows, warn_of_unknown_items
from .ragged import Ragged, group_rows
from .tables import as_list, column_names, id_array, is_frame, is_unnamed
from .ties import mix_ties

MIN_UNKNOWN = 3  # ids or lists; fewer unknown ones are usual


def read_histories(
    histories: Any, schema: Schema, items: IdEncoder
) -> tuple[np.ndarray, Interactions]:
    """Read histories of users who were not in ``fit``; unknown items are left out.

    Parameters
    ----------
    histories : list of lists, dict or Series of lists, or frame
        Item ids, oldest first; or a table of interactions.
    schema : Schema
    items : IdEncoder

    Returns
    -------
    keys : ndarray of shape (n_histories,)
        Positions in the list, keys of the dict, index of the Series, or user ids of the frame.
    histories : Interactions
        One user per key.

    Raises
    ------
    InvalidInputError
        If a history is not a list but a set, for example, an id is missing, a Series has a key
        twice, a frame has no column names, or a dict has columns instead of people.
    IdTypeError
        If the item ids are of another kind than the ids of ``fit``, or an id is not a scalar.

    Warns
    -----
    IgnoredDataWarning
        If no item is known, or none at one place of lists that are all equally long.
    """
    times = None
    histories = as_frame(histories, "histories")
    check_item_lists(histories, "histories")
    if is_frame(histories):
        _check_named(histories, "histories", schema)
        rows = read_rows(histories, schema)
        owners, keys = pd.factorize(rows.users)
        ids: Any = rows.items
        codes = items.encode(ids, schema.label(histories, "item"))
        times = rows.times
    else:
        if isinstance(histories, Mapping | pd.Series):
            keys, lists = _read_keys(histories, "histories", schema)
        elif isinstance(histories, set | frozenset):
            raise InvalidInputError(
                f"histories is a {type(histories).__name__}, so that its histories have no order; "
                "pass a list of lists, or a dict of lists by user"
            )
        else:
            lists = as_list(histories)
            lists = lists if isinstance(lists, list) else [lists]
            keys = np.arange(len(lists))
        check_lists(lists, "histories", "most recent last")
        owners, ids = _flatten(lists, "histories", "for one user write [[id, id, ...]]")
        codes = items.encode(ids)
        _warn_of_rows(ids, owners, codes, schema)
    if len(codes) >= MIN_UNKNOWN:
        warn_of_unknown_items(ids, codes, items, "ids in histories", "all are ignored")
    is_known = codes >= 0
    times = None if times is None else times[is_known]
    sequences = Interactions.from_codes(owners[is_known], codes[is_known], times, len(keys))
    if is_frame(histories) and not schema.has_row_order:
        sequences = mix_ties(sequences)
    return keys, sequences


def read_item_lists(
    lists: Any, parameter: str, schema: Schema, items: IdEncoder, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Read a list of items per user; unknown items, and users not in ``users``, are left out.

    Parameters
    ----------
    lists : dict or Series of lists, or frame
        Item ids by user id; or a table with the user and item columns of ``fit``.
    parameter : str
        Name of the parameter that receives ``lists``, for messages.
    schema : Schema
    items : IdEncoder
    users : ndarray of shape (n,)
        User ids; if an id is repeated, each of its positions gets the list.

    Returns
    -------
    rows : ndarray of shape (n_entries,), int64
        Positions in ``users``.
    codes : ndarray of shape (n_entries,), int32
        Item codes.

    Raises
    ------
    InvalidInputError
        If an entry is not a list, an id is missing, a Series has a key twice, the frame has no such
        column, or a dict has columns instead of users.
    IdTypeError
        If ids are of another kind than the ids of ``fit`` or ``users``, or not scalars.
    """
    key_name = f"the keys of {parameter}"
    item_name = None  # a list of ids
    if is_frame(lists):
        _check_named(lists, parameter, schema)
        names = column_names(lists)
        if schema.user not in names and schema.item in names:
            raise InvalidInputError(
                f"{parameter} has the column {schema.item!r} but no column {schema.user!r}; pass "
                f"{parameter}[{schema.item!r}] for one list that holds for all users, or add the "
                "column of users for a list per user"
            )
        check_roles(lists, schema, ("user", "item"))
        owners, keys = pd.factorize(read_column(lists, schema, "user"))
        ids: Any = read_column(lists, schema, "item")
        key_name = schema.label(lists, "user")
        item_name = schema.label(lists, "item")
    else:
        keys, entries = _read_keys(lists, parameter, schema)
        owners, ids = _flatten(entries, parameter, "write {user: [id, id, ...]}")
    rows, distinct_users = pd.factorize(users)
    owners = IdEncoder(distinct_users, "user", "this call has").encode(keys, key_name)[owners]
    codes = items.encode(ids, item_name)
    is_known = (codes >= 0) & (owners >= 0)
    offsets, (codes,) = group_rows(owners[is_known], len(distinct_users), [codes[is_known]])
    return Ragged(codes, offsets).take(rows).pairs()


def check_lists(lists: Iterable, parameter: str, order: str | None) -> None:
    """Raise if a list of ids is a dict, a row with names, or a set where the order matters.

    Parameters
    ----------
    lists : iterable
        Lists of ids; other entries are not checked.
    parameter : str
    order : str or None
        The order of a list, for the message; None if it doesn't matter.

    Raises
    ------
    InvalidInputError
    """
    for place, ids in enumerate(lists):
        what = None
        if isinstance(ids, Mapping):
            what = "whose values would not be read; pass a list of its keys"
        elif isinstance(ids, set | frozenset) and order is not None:
            what = "but sets have no order; pass a list"
        elif not isinstance(ids, pd.Series):
            check_no_names(ids, parameter, f"list {place} of {parameter} is one of")
        if what is not None:
            kind = type(ids).__name__
            advice = what if order is None else f"{what}, {order}"
            raise InvalidInputError(f"list {place} of {parameter} is a {kind}, {advice}")


def _read_keys(
    lists: Mapping | pd.Series, parameter: str, schema: Schema
) -> tuple[np.ndarray, list]:
    """Return the keys of a dict, or the index of a Series, and the lists."""
    columns = [column for column in schema[:2] if isinstance(column, str) and column in lists]
    if len(columns) == 2:
        raise InvalidInputError(
            f"{parameter} has the keys {schema.user!r} and {schema.item!r}, which are columns of a "
            f"table instead of people; pass pandas.DataFrame({parameter})"
        )
    name = f"the keys of {parameter}"
    keys = id_array(list(lists.keys()), name)
    is_repeated = pd.Index(keys).duplicated()
    if is_repeated.any():
        raise InvalidInputError(
            f"{name} have {keys[is_repeated].tolist()[0]!r} more than once in the index of a "
            "Series; give each person one list, or reset_index(drop=True) to number them"
        )
    return keys, list(lists.values() if isinstance(lists, Mapping) else lists)


def _warn_of_rows(ids: list, owners: np.ndarray, codes: np.ndarray, schema: Schema) -> None:
    """Warn if lists of one length have no known item at one place, as rows of a log have.

    Parameters
    ----------
    ids : list
        The ids of all lists.
    owners, codes : ndarray of shape (n_ids,)
        List of each id, and its code; -1 is unknown.
    schema : Schema
    """
    lengths = np.bincount(owners)
    if len(lengths) < MIN_UNKNOWN or lengths.min() < lengths.max():
        return
    is_known = codes.reshape(len(lengths), -1) >= 0
    places = np.flatnonzero(~is_known.any(axis=0))
    if is_known.any() and len(places):
        columns = [column for column in schema[:3] if column is not None]
        warn(
            f"histories has {len(lengths)} lists of {lengths[0]} ids, of which those at place "
            f"{places[0]}, such as {ids[places[0]]!r}, are no items of fit and are ignored. If "
            f"the lists are rows of a log, name their columns: pandas.DataFrame(histories, "
            f"columns={columns})",
            IgnoredDataWarning,
        )


def _check_named(table: Any, parameter: str, schema: Schema) -> None:
    """Raise if a table may be interactions as well as one list per row."""
    if is_unnamed(table) and isinstance(schema.user, str):
        raise InvalidInputError(
            f"{parameter} is a table without column names; name its columns if it has "
            "interactions, or write table.to_numpy().tolist() if each row is a list of items"
        )


def _flatten(lists: list, parameter: str, advice: str) -> tuple[np.ndarray, list]:
    """Return the position of the list that each id belongs to, and the ids of all lists."""
    lists = [
        ids if isinstance(ids, list | np.ndarray | pd.Series) else as_list(ids) for ids in lists
    ]
    for ids in lists:
        if isinstance(ids, str | bytes) or not hasattr(ids, "__len__"):
            raise InvalidInputError(
                f"{parameter} must hold a list of item ids per user, got {ids!r}; {advice}"
            )
    lengths = np.array([len(ids) for ids in lists], dtype=np.int64)
    owners = np.repeat(np.arange(len(lists)), lengths)
    return owners, list(chain.from_iterable(lists))
