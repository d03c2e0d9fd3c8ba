"""Arguments of a metric → relevance matrix; name of a metric → function name and k.

Ids are translated to codes here, so that `_core` works on integers only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..data.ragged import Ragged, group_rows, pair_keys
from ..data.tables import id_array, id_kind, is_frame, take_column
from ..exceptions import IdTypeError, InvalidInputError, UnknownIdError
from ._core import METRIC_FUNCTIONS, relevance_matrix


class Columns(NamedTuple):
    """Columns of the frames; ``rank`` is None if the order of the rows is the rank."""

    user: Hashable
    item: Hashable
    rank: Hashable | None


class ItemLists(NamedTuple):
    """A list of items per user, as pairs of user and item.

    Attributes
    ----------
    users : ndarray of shape (n_pairs,), int64
        User code of each pair.
    items : ndarray of shape (n_pairs,)
        Item id of each pair. The items of a user are in the order of their ranks.
    n_users : int
    user_ids : ndarray of shape (n_users,) or None
        Id of each user code; None if the codes are positions in a sequence.
    """

    users: np.ndarray
    items: np.ndarray
    n_users: int
    user_ids: np.ndarray | None


def parse_metrics(metrics: str | Sequence[str]) -> dict[str, tuple[str, int]]:
    """Translate ``["ndcg@10"]`` to ``{"ndcg@10": ("ndcg", 10)}``.

    Raises
    ------
    InvalidInputError
        If a name is invalid or there is none. The message lists all invalid names.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    parsed = {}
    errors = []
    for name in names:
        match = re.fullmatch(r"(\w+)@([1-9][0-9]*)", name) if isinstance(name, str) else None
        if match and match[1] in METRIC_FUNCTIONS:
            parsed[name] = match[1], int(match[2])
        else:
            errors.append(_describe_unknown(name))
    if errors or not names:
        valid = ", ".join(repr(name + "@<k>") for name in METRIC_FUNCTIONS)
        raise InvalidInputError(
            f"metrics={metrics!r}: {'; '.join(errors) or 'no name is given'}. Valid names are "
            f"{valid} with k a positive integer, such as 'ndcg@10'"
        )
    return parsed


def _describe_unknown(name: Any) -> str:
    """Return a message about an unknown name, with the most similar valid one if there is any."""
    metric, _, k = str(name).partition("@")
    similar = difflib.get_close_matches(metric.lower(), METRIC_FUNCTIONS, n=1, cutoff=0.5)
    if not similar:
        return f"unknown name {name!r}"
    k = k if re.fullmatch("[1-9][0-9]*", k) else "10"
    return f"unknown name {name!r} (did you mean '{similar[0]}@{k}'?)"


def match_lists(
    y_true: Any, y_pred: Any, k: int, columns: Columns
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Match the recommendations of each user with the relevant items.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
    k : int
    columns : Columns

    Returns
    -------
    relevance : ndarray of shape (n_users, n_ranks), bool
        ``n_ranks`` is the length of the longest list, at most ``k``.
    n_relevant : ndarray of shape (n_users,), int64
        Number of distinct relevant items.
    user_ids : ndarray of shape (n_users,) or None
        None for sequences.

    Raises
    ------
    InvalidInputError
        If one input is a frame and the other isn't, the lengths differ, an item is recommended
        more than once to a user, or `read_lists` raises.
    IdTypeError
        If the ids of one input are numbers and the ids of the other are text.
    """
    if is_frame(y_true) != is_frame(y_pred):
        raise InvalidInputError(
            f"y_true is a {type(y_true).__name__} and y_pred a {type(y_pred).__name__}: give two "
            "frames (matched by user id) or two sequences, one entry per user (matched by position)"
        )
    true = read_lists(y_true, "y_true", columns)
    pred = read_lists(y_pred, "y_pred", columns)
    pred_users = pred.users
    if true.user_ids is None or pred.user_ids is None:
        if true.n_users != pred.n_users:
            raise InvalidInputError(
                f"y_true has {true.n_users} users and y_pred {pred.n_users}; sequences are matched "
                "by position, so both need one entry per user (an empty list for a user without "
                "items)"
            )
    else:
        # `_joint_codes` gives the users of y_true the codes that they already have.
        _, codes_of_pred, _ = _joint_codes(true.user_ids, pred.user_ids, "user ids of y_true")
        pred_users = codes_of_pred[pred.users]
    true_items, pred_items, item_ids = _joint_codes(true.items, pred.items, "item ids of y_true")
    codes = top_codes(pred_users, pred_items, true.n_users, k)
    _check_no_repeats(codes, true.user_ids, item_ids)
    relevance = relevance_matrix(codes, true.users, true_items)
    n_relevant = Ragged.from_pairs(true.users, true_items, true.n_users).lengths
    return relevance, n_relevant, true.user_ids


def read_lists(y: Any, name: str, columns: Columns) -> ItemLists:
    """Read ``y_true`` or ``y_pred``; ``name`` is the name of this argument.

    Raises
    ------
    InvalidInputError
        If a column or a sequence is invalid.
    """
    if not is_frame(y):
        return _flatten(y, name)
    users = id_array(take_column(y, columns.user, "user_col"), f"column {columns.user!r} of {name}")
    items = id_array(take_column(y, columns.item, "item_col"), f"column {columns.item!r} of {name}")
    if name == "y_pred" and columns.rank is not None:
        ranks = pd.to_numeric(take_column(y, columns.rank, "rank_col"), errors="coerce")
        if ranks.isna().any():
            raise InvalidInputError(
                f"column {columns.rank!r} of y_pred has no number in row {ranks.isna().argmax()}; "
                "ranks must be numbers, and the lowest is the best. Set rank_col=None if the rows "
                "are in order"
            )
        order = ranks.to_numpy().argsort(kind="stable")
        users = users[order]
        items = items[order]
    codes, user_ids = pd.factorize(users)
    return ItemLists(codes, items, len(user_ids), user_ids)


def _flatten(lists: Any, name: str) -> ItemLists:
    """Read a sequence with a list per user; in ``y_true`` an entry may also be a single id."""
    for method in ("to_pylist", "to_list"):  # pyarrow; pandas and polars
        lists = getattr(lists, method)() if hasattr(lists, method) else lists
    is_sequence = pd.api.types.is_list_like(lists) and not isinstance(lists, Mapping | set)
    if not is_sequence or getattr(lists, "ndim", 1) > 2:
        kind = type(lists).__name__
        raise InvalidInputError(f"{name} is a {kind}; give a frame or a list, one entry per user")
    lists = lists if isinstance(lists, np.ndarray) else list(lists)
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        users = np.repeat(np.arange(len(lists)), lists.shape[1])
        ids = pd.Series(lists.ravel(), index=users)
    else:
        entries = pd.Series(list(lists), dtype=object)
        is_list = entries.map(pd.api.types.is_list_like).astype(bool)
        is_single_id = ~(is_list | entries.isna())
        if name == "y_pred" and is_single_id.any():
            row = is_single_id.argmax()
            raise InvalidInputError(
                f"{name} must have a list of ids per user, best first, but row {row} is "
                f"{entries[row]!r}"
            )
        ids = entries.explode()  # its index repeats the position of the user
    ids = ids[ids.notna()]
    return ItemLists(ids.index.to_numpy(np.int64), id_array(ids, name), len(lists), None)


def _joint_codes(
    first: np.ndarray, second: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Encode two arrays of ids with the same codes, in the order of first appearance.

    Parameters
    ----------
    first, second : ndarray of shape (n,)
    name : str
        What ``first`` is, for the message; ``second`` is from ``y_pred``.

    Returns
    -------
    first_codes, second_codes : ndarray of shape (n,), int64
    ids : ndarray of shape (n_ids,)
        Id of each code.
    """
    kinds = [id_kind(first), id_kind(second)]
    if len(set(kinds) - {"mixed", "empty"}) > 1:
        raise IdTypeError(
            f"the {name} are of the kind {kinds[0]!r} and the ids of y_pred of the kind "
            f"{kinds[1]!r}, so no id can match; convert one of them first"
        )
    first = _whole_floats_to_int(first)
    second = _whole_floats_to_int(second)
    if first.dtype.kind != second.dtype.kind:
        # Python objects, because numpy would round large integers or turn 1 into "1".
        first = pd.Series(first).astype(object).to_numpy()
        second = pd.Series(second).astype(object).to_numpy()
    codes, ids = pd.factorize(np.concatenate([first, second]))
    return codes[: len(first)], codes[len(first) :], ids


def _whole_floats_to_int(ids: np.ndarray) -> np.ndarray:
    """Convert float ids to int64 if all are whole: integers padded with nan arrive as floats."""
    if ids.dtype.kind == "f" and ((ids == np.trunc(ids)) & (np.abs(ids) < 2.0**63)).all():
        return ids.astype(np.int64)
    return ids


def top_codes(users: np.ndarray, items: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """Return the first ``k`` item codes per user.

    Parameters
    ----------
    users, items : ndarray of shape (n_pairs,), int64
        The items of a user are in the order of their ranks. Users of ``n_users`` and above are
        ignored.
    n_users : int
    k : int

    Returns
    -------
    ndarray of shape (n_users, n_ranks), int64
        ``n_ranks`` is the length of the longest list, at most ``k``; -1 is padding.
    """
    is_counted = users < n_users
    offsets, (items,) = group_rows(users[is_counted], n_users, [items[is_counted]])
    rows, _ = Ragged(items, offsets).pairs()
    ranks = np.arange(len(rows)) - offsets[rows]  # from 0
    n_ranks = min(k, int(ranks.max(initial=-1)) + 1)
    codes = np.full((n_users, n_ranks), -1, dtype=np.int64)
    is_top = ranks < k
    codes[rows[is_top], ranks[is_top]] = items[is_top]
    return codes


def _check_no_repeats(codes: np.ndarray, user_ids: np.ndarray | None, item_ids: np.ndarray) -> None:
    """Raise if an item occurs more than once in a row of ``codes``."""
    rows, ranks = np.nonzero(codes >= 0)
    items = codes[rows, ranks]
    is_repeat = pd.Series(pair_keys(rows, items, len(item_ids))).duplicated()
    if is_repeat.any():
        place = is_repeat.argmax()
        row = rows[place]
        user = f"in row {row}" if user_ids is None else f"{user_ids.astype(object)[row]!r}"
        raise InvalidInputError(
            f"y_pred recommends the item {item_ids.astype(object)[items[place]]!r} more than once "
            f"to the user {user}; drop the repetitions, because each would count as a hit"
        )


def vector_rows(items: np.ndarray, item_ids: Any, n_vectors: int) -> np.ndarray:
    """Return the row of ``item_vectors`` of each recommended item.

    Parameters
    ----------
    items : ndarray of shape (n_pairs,)
        Ids of the recommended items.
    item_ids : array-like of shape (n_vectors,) or None
        Ids of the rows; None: the row numbers.
    n_vectors : int

    Raises
    ------
    InvalidInputError
        If ``item_ids`` does not have one distinct id per row.
    UnknownIdError
        If a recommended item has no row.
    """
    row_ids = np.arange(n_vectors) if item_ids is None else id_array(item_ids, "item_ids")
    if len(row_ids) != n_vectors or not pd.Index(row_ids).is_unique:
        raise InvalidInputError(
            f"item_ids has {len(row_ids)} ids, {len(pd.unique(row_ids))} of them distinct, but "
            f"item_vectors has {n_vectors} rows; give each row an id of its own"
        )
    # The ids of the rows are distinct and come first, so their codes are the row numbers.
    _, rows, ids = _joint_codes(row_ids, items, "item_ids")
    if len(ids) > n_vectors:
        item = ids.astype(object)[n_vectors]
        advice = "set item_ids= to the ids of the rows" if item_ids is None else "add its vector"
        raise UnknownIdError(
            f"y_pred recommends the item {item!r}, which has no row in item_vectors "
            f"({len(ids) - n_vectors} such items); {advice}"
        )
    return rows
