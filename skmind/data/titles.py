"""Titles of items, from the caller's table or dict → one text per item code, "" for none."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import InvalidInputError, UnknownIdError
from .formats import as_frame, check_columns, feature_table
from .ids import IdEncoder
from .parquet import reader_call
from .prepare import Schema, key_column, read_codes, result_name, table_ids
from .tables import (
    column_names,
    has_column,
    id_array,
    is_frame,
    scalar_array,
    take_cells,
    take_column,
)

TITLE = "title"  # column of results, and of the caller's tables unless another one is named


def read_titles(titles: Any, encoder: IdEncoder, schema: Schema) -> np.ndarray:
    """Return the titles that a method was given.

    Parameters
    ----------
    titles : Series or dict keyed by item id, or frame with the item column
        The titles of a frame are in the column ``schema.title``, else "title", else its only other
        column.
    encoder : IdEncoder
        The known items. Other items of ``titles`` are ignored.
    schema : Schema

    Returns
    -------
    ndarray of shape (n_items,), object
        Texts; "" for items without a title.

    Raises
    ------
    InvalidInputError
        If ``titles`` is something else, has an id twice, or has no column of ids or of titles.
    IdTypeError
        If its ids are of another kind than the items of ``fit``, or a title is not a scalar.
    UnknownIdError
        If it has no known item.

    Warns
    -----
    SkmindWarning
        If the keys look like row numbers instead of ids.
    """
    keys, values = _keys_and_values(titles, schema)
    ids = id_array(keys, "the keys of titles")
    texts = title_texts(values, "titles")
    is_repeated = pd.Index(ids).duplicated()
    if is_repeated.any():
        repeated = ids[is_repeated].tolist()[0]
        raise InvalidInputError(f"titles has the id {repeated!r} more than once; keep one of them")
    codes = encoder.encode(ids, "the keys of titles")
    if len(codes) and (codes < 0).all():
        raise UnknownIdError(
            f"none of the {len(ids)} ids of titles was in fit: they are such as "
            f"{ids.tolist()[0]!r}, the items of fit such as {encoder.ids.tolist()[0]!r}; convert "
            "them to the item ids of fit"
        )
    if _are_row_numbers(titles) and codes[0] < 0:
        warn(
            "the index of titles numbers its rows from 0, and 0 is not an item of fit, so that the "
            "titles may be those of other items; if the ids are in a column, pass the frame, or "
            f"frame.set_index({result_name(schema.item, 'item_id')!r})[{TITLE!r}]"
        )
    return _by_code(np.full(len(encoder), "", dtype=object), codes, texts)


def learn_titles(
    X: Any,
    items: Any,
    schema: Schema,
    encoder: IdEncoder,
    known: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the titles in the tables of ``fit`` or ``partial_fit``.

    They are read from the table of the items, or else from ``X``, in which the last row of each
    item counts.

    Parameters
    ----------
    X : frame, or 2-D array
    items : frame or None
    schema : Schema
        ``title`` is the column; None: there are no titles.
    encoder : IdEncoder
        All items.
    known : ndarray of shape (n_known,), object, or None, default=None
        Titles of the first items, which stay where the tables have none.

    Returns
    -------
    ndarray of shape (n_items,), object, or None
        None if ``schema.title`` is None.

    Raises
    ------
    InvalidInputError
        If neither table has the column, and there are no known titles.
    IdTypeError
        If a title is not a scalar.
    """
    if schema.title is None:
        return None
    titles = np.full(len(encoder), "", dtype=object)
    if known is not None:
        titles[: len(known)] = known
    items = feature_table(items, "item")
    label = f"column {schema.title!r}"
    if items is not None and schema.title in column_names(items):
        codes = encoder.encode(table_ids(items, schema.item, "item"))
        cells = take_column(items, schema.title, "item_title", may_be_position=False)
        return _by_code(titles, codes, title_texts(cells, label))
    if has_column(X, schema.title):
        ids, row_codes = read_codes(X, schema, "item")
        last_rows = np.zeros(len(ids), dtype=np.int64)
        last_rows[row_codes] = np.arange(len(row_codes))  # of equal indexes, the last one is kept
        cells = take_cells(X, schema.title, last_rows, "item_title", may_be_position=False)
        return _by_code(titles, encoder.encode(ids.ids), title_texts(cells, label))
    if known is None:
        have = [
            f"{name} has {column_names(table)}"
            for name, table in (("the items table", items), ("X", X))
            if table is not None and is_frame(table)
        ]
        raise InvalidInputError(
            f"item_title={schema.title!r} is not a column: {', '.join(have)}; pass items= with the "
            "item ids and this column, or set item_title=None"
        )
    return titles


def title_texts(values: Any, name: str) -> np.ndarray:
    """Return titles as text, "" where one is missing.

    Raises
    ------
    InvalidInputError
        If a text is not valid Unicode.
    IdTypeError
        If a title is not a scalar.
    """
    array = scalar_array(values, name, "title")
    is_missing = np.asarray(pd.isna(array))
    texts = np.array(["", *map(str, array.tolist())], dtype=object)[1:]  # never of length 0
    texts[is_missing] = ""
    return texts


def title_cells(titles: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the titles of item codes for a column of results; None if there is none."""
    cells = np.append(titles, "").astype(object)[codes]  # the last one is for code -1
    cells[cells == ""] = None
    return cells


def _by_code(titles: np.ndarray, codes: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Write texts to ``titles`` at the codes of known items, and return it."""
    has_title = (codes >= 0) & (texts != "")
    titles[codes[has_title]] = texts[has_title]
    return titles


def _are_row_numbers(titles: Any) -> bool:
    if not isinstance(titles, pd.Series) or not isinstance(titles.index, pd.RangeIndex):
        return False
    return len(titles) > 0 and titles.index[0] == 0 and titles.index.name is None


def _keys_and_values(titles: Any, schema: Schema) -> tuple[Any, Any]:
    """Return the ids and the titles of a Series, a dict or a frame."""
    if isinstance(titles, Mapping):
        return list(titles.keys()), list(titles.values())
    if isinstance(titles, pd.Series):
        if isinstance(titles.index, pd.MultiIndex):
            raise InvalidInputError(
                "the index of titles has several levels; keep the level of the item ids: "
                "titles.droplevel(...)"
            )
        return titles.index, titles
    key = schema.item
    item = result_name(key, "item_id")
    if isinstance(titles, str | PathLike):
        raise InvalidInputError(
            f"titles is a {type(titles).__name__}; read the table first: {reader_call(titles)}"
        )
    titles = as_frame(titles, "titles")
    if not is_frame(titles):
        raise InvalidInputError(
            f"titles is a {type(titles).__name__}, which does not say to which item each title "
            f"belongs; pass a dict {{item id: title}}, a pandas Series indexed by item id, or a "
            f"frame with the columns {item!r} and {TITLE!r}"
        )
    if isinstance(titles, pd.DataFrame) and titles.index.name == item not in titles.columns:
        titles = titles.reset_index()
    column = key_column(titles, key)
    check_columns(titles, {"item_col": column}, "titles")
    return (
        take_column(titles, column, "item_col", may_be_position=False),
        take_column(titles, _title_column(titles, column, schema), TITLE, may_be_position=False),
    )


def _title_column(table: Any, key: Any, schema: Schema) -> Any:
    """Return the column of the titles of a frame."""
    others = [name for name in column_names(table) if name != key]
    for name in (schema.title, TITLE):
        if name is not None and name in others:
            return name
    if len(others) == 1:
        return others[0]
    raise InvalidInputError(
        f"titles has the columns {others} beside {key!r}, but none is named {TITLE!r}; pass the "
        f"column as a Series: table.set_index({key!r})['name of the column']"
    )
