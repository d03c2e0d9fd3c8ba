"""Arguments of a metric → relevance matrix; name of a metric → function name and k.

Ids are translated to codes here, so that `_core` works on integers only.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from .._checks import check_count
from ..data.formats import as_frame, check_columns, check_item_lists
from ..data.histories import check_lists
from ..data.ragged import Ragged, group_rows, pair_keys
from ..data.tables import (
    check_comparable,
    check_exact,
    column_names,
    id_array,
    id_kinds,
    is_frame,
    take_column,
    warn_of_twins,
)
from ..data.weights import check_readable
from ..exceptions import IdTypeError, InvalidInputError, UnknownIdError
from ._core import METRIC_FUNCTIONS, relevance_matrix

LIST_METRICS = ("coverage", "novelty", "average_popularity", "intra_list_diversity")
METRICS = (*METRIC_FUNCTIONS, "serendipity", *LIST_METRICS)


class Columns(NamedTuple):
    """Columns of the frames; ``rank`` is None if the order of the rows is the rank."""

    user: Hashable
    item: Hashable
    rank: Hashable | None


class Matched(NamedTuple):
    """Recommendations, matched with the relevant items of each user.

    Attributes
    ----------
    relevance : ndarray of shape (n_users, n_ranks), bool
        ``n_ranks`` is the length of the longest list, at most ``k``.
    n_relevant : ndarray of shape (n_users,), int64
        Number of distinct relevant items.
    user_ids : ndarray of shape (n_users,) or None
        None for sequences.
    codes : ndarray of shape (n_users, n_ranks), int64
        Codes of the recommended items; -1 is padding.
    item_ids : ndarray of shape (n_codes,)
        Id of each code.
    """

    relevance: np.ndarray
    n_relevant: np.ndarray
    user_ids: np.ndarray | None
    codes: np.ndarray
    item_ids: np.ndarray


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


def parse_metrics(
    metrics: str | Sequence[str], valid: Sequence[str] = METRICS
) -> dict[str, tuple[str, int]]:
    """Translate ``["ndcg@10"]`` to ``{"ndcg@10": ("ndcg", 10)}``.

    Parameters
    ----------
    metrics : str or sequence of str
    valid : sequence of str
        The metrics to choose from.

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
        if match and match[1] in valid:
            parsed[name] = match[1], check_count(int(match[2]), "k")
        else:
            errors.append(_describe_unknown(name, valid))
    if errors or not names:
        valid_names = ", ".join(repr(name + "@<k>") for name in valid)
        raise InvalidInputError(
            f"metrics={metrics!r}: {'; '.join(errors) or 'no name is given'}. Valid names are "
            f"{valid_names} with k a positive integer, such as 'ndcg@10'"
        )
    return parsed


def _describe_unknown(name: Any, valid: Sequence[str]) -> str:
    """Return a message about an unknown name, with the most similar valid one if there is any."""
    metric, _, k = str(name).partition("@")
    similar = difflib.get_close_matches(metric.lower(), valid, n=1, cutoff=0.5)
    if not similar:
        return f"unknown name {name!r}"
    k = k if re.fullmatch("[1-9][0-9]*", k) else "10"
    return f"unknown name {name!r} (did you mean '{similar[0]}@{k}'?)"


def match_lists(y_true: Any, y_pred: Any, k: int, columns: Columns) -> Matched:
    """Match the recommendations of each user with the relevant items.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
    k : int
    columns : Columns

    Returns
    -------
    Matched

    Raises
    ------
    InvalidInputError
        If one input is a frame and the other isn't, the lengths or the indexes differ, an item is
        recommended more than once to a user, or as `read_lists`.
    IdTypeError
        If the ids of one input are numbers and the ids of the other are text.
    """
    y_true = as_frame(y_true, "y_true")
    y_pred = as_frame(y_pred, "y_pred")
    check_item_lists(y_true, "y_true")
    if is_frame(y_true) != is_frame(y_pred):
        raise InvalidInputError(
            f"y_true is a {type(y_true).__name__} and y_pred a {type(y_pred).__name__}: give two "
            "frames (matched by user id) or two sequences, one entry per user (matched by position)"
        )
    y_pred = _align_series(y_true, y_pred)
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
    return Matched(relevance, n_relevant, true.user_ids, codes, item_ids)


def _align_series(y_true: Any, y_pred: Any) -> Any:
    """Return ``y_pred`` in the order of ``y_true``, where their indexes name the users.

    Raises
    ------
    InvalidInputError
        If two Series have different users, or only one input has an index that names users.
    """
    true_index = _user_index(y_true)
    pred_index = _user_index(y_pred)
    cure = "or call .to_list() on both to match them by position"
    if true_index is None or pred_index is None:
        for name, other, index in (
            ("y_true", "y_pred", true_index),
            ("y_pred", "y_true", pred_index),
        ):
            if index is not None and not is_row_number(index):
                raise InvalidInputError(
                    f"{name} is a Series whose index names the users (the first is "
                    f"{_first(index)}), but {other} has no index to match it with; give both as a "
                    f"Series with the same index, {cure}"
                )
        return y_pred
    names = "the index of y_pred", "that of y_true"
    check_comparable(pred_index.to_numpy(), true_index.to_numpy(), *names)
    for name, index in (("y_true", true_index), ("y_pred", pred_index)):
        if not index.is_unique:
            user = _first(index[index.duplicated()])
            raise InvalidInputError(
                f"the index of {name} names the user {user} more than once, so the two Series "
                f"can't be matched by index; give one list per user, {cure}"
            )
    if true_index.equals(pred_index):
        return y_pred
    for name, other, index, others in (
        ("y_true", "y_pred", true_index, pred_index),
        ("y_pred", "y_true", pred_index, true_index),
    ):
        missing = index[~index.isin(others)]
        if len(missing):
            raise InvalidInputError(
                f"two Series are matched by their index, but {len(missing)} users in the index of "
                f"{name} are not in that of {other}, the first is {_first(missing)}; select the "
                f"same users in both, {cure}"
            )
    return y_pred.reindex(true_index)


def _first(index: pd.Index) -> str:
    return repr(index[:1].tolist()[0])  # as a Python object: 1, not np.int64(1)


def _user_index(y: Any) -> pd.Index | None:
    return y.index if isinstance(y, pd.Series) else None


def is_row_number(index: pd.Index) -> bool:
    """Return whether an index only counts the rows from 0."""
    return not len(index) or index.equals(pd.RangeIndex(len(index)))


def read_lists(y: Any, name: str, columns: Columns) -> ItemLists:
    """Read ``y_true`` or ``y_pred``; ``name`` is the name of this argument.

    Raises
    ------
    InvalidInputError
        If a column or a sequence is invalid.
    """
    y = as_frame(y, name)
    if not is_frame(y):
        return _flatten(y, name)
    given = {f"{role}_col": column for role, column in columns._asdict().items()}
    if name == "y_true":
        del given["rank_col"]
    check_columns(y, given, name)
    users = _read_ids(
        take_column(y, columns.user, "user_col"), f"column {columns.user!r} of {name}"
    )
    items = _read_ids(
        take_column(y, columns.item, "item_col"), f"column {columns.item!r} of {name}"
    )
    if name == "y_pred" and columns.rank is not None:
        ranks = pd.to_numeric(take_column(y, columns.rank, "rank_col"), errors="coerce")
        if ranks.isna().any():
            raise InvalidInputError(
                f"column {columns.rank!r} of y_pred has no number in row {ranks.isna().argmax()}; "
                "ranks must be numbers, and the lowest is the best. Set rank_col=None if the rows "
                "are in order"
            )
        _check_ranks(ranks, columns.rank)
        order = ranks.to_numpy().argsort(kind="stable")
        users = users[order]
        items = items[order]
    codes, user_ids = pd.factorize(users)
    return ItemLists(codes, items, len(user_ids), user_ids)


def _check_ranks(ranks: pd.Series, column: Hashable) -> None:
    """Raise if ranks are rather scores, of which the highest is the best.

    Mean ranks of ties are multiples of one half.

    Raises
    ------
    InvalidInputError
    """
    is_score = 2 * ranks % 1 > 0
    if is_score.any():
        raise InvalidInputError(
            f"column {column!r} of y_pred has the value {ranks[is_score.argmax()]:g} in row "
            f"{is_score.argmax()}, which looks like a score, but the lowest rank is the best. Sort "
            "the rows, best first, and set rank_col=None: "
            f"y_pred.sort_values({column!r}, ascending=False)"
        )


def _read_ids(ids: Any, name: str) -> np.ndarray:
    """Return ids as an array; floats that may stand for several integers are refused, as in fit."""
    values = id_array(ids, name)
    check_exact(values, name)
    return values


def _flatten(lists: Any, name: str) -> ItemLists:
    """Read a sequence with a list per user; in ``y_true`` an entry may also be a single id."""
    for method in ("to_pylist", "to_list"):  # pyarrow; pandas and polars
        lists = getattr(lists, method)() if hasattr(lists, method) else lists
    is_sequence = pd.api.types.is_list_like(lists) and not isinstance(
        lists, Mapping | set | frozenset
    )
    if not is_sequence or getattr(lists, "ndim", 1) > 2:
        kind = type(lists).__name__
        cure = ""
        if isinstance(lists, Mapping):
            cure = f", or pandas.Series({name}) if the keys are users; two Series match by user"
        raise InvalidInputError(
            f"{name} is a {kind}; give a frame or a list, one entry per user{cure}"
        )
    lists = lists if isinstance(lists, np.ndarray) else list(lists)
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        users = np.repeat(np.arange(len(lists)), lists.shape[1])
        ids = pd.Series(lists.ravel(), index=users)
    else:
        lists = [list(ids) if isinstance(ids, Iterator) else ids for ids in lists]
        check_lists(lists, name, "best first" if name == "y_pred" else None)
        entries = pd.Series(lists, dtype=object)
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
    values = _read_ids(ids, name)
    _check_no_scores(values, name)
    return ItemLists(ids.index.to_numpy(np.int64), values, len(lists), None)


def _check_no_scores(ids: np.ndarray, name: str) -> None:
    """Raise if lists hold fractions, which are rather scores or relevance than ids.

    scikit-learn's metrics have a matrix of users × items with such values instead.

    Raises
    ------
    InvalidInputError
    """
    if pd.api.types.infer_dtype(ids) not in ("floating", "mixed-integer-float"):
        return
    numbers = ids.astype(np.float64)
    is_fraction = numbers != np.trunc(numbers)
    if is_fraction.any():
        raise InvalidInputError(
            f"{name} has the value {numbers[is_fraction][0]:g}, which looks like a score; give the "
            "ids of the items: of the relevant ones in y_true, and of the recommended ones, best "
            "first, in y_pred, such as item_ids[(-scores).argsort(axis=1)]. If it is an id, give "
            "two frames, which name the column of ids"
        )


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

    Raises
    ------
    IdTypeError
        If one has numbers and the other text.
    InvalidInputError
        If one has integers and the other floats that may stand for several of them.
    """
    kinds = [id_kinds(first), id_kinds(second)]
    if len(first) and len(second) and kinds[0].keys().isdisjoint(kinds[1]):
        names = [" and ".join(kind.values()) for kind in kinds]
        raise IdTypeError(
            f"the {name} are of the kind {names[0]!r} and the ids of y_pred of the kind "
            f"{names[1]!r}, so no id can match; convert one of them first"
        )
    check_comparable(second, first, "y_pred", f"the {name}")
    first = _whole_floats_to_int(first)
    second = _whole_floats_to_int(second)
    if first.dtype.kind != second.dtype.kind:
        # Python objects, because numpy would round large integers or turn 1 into "1".
        first = pd.Series(first).astype(object).to_numpy()
        second = pd.Series(second).astype(object).to_numpy()
    codes, ids = pd.factorize(np.concatenate([first, second]))
    warn_of_twins(ids, name)
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


def read_item_counts(item_counts: Any, item_ids: Any, item_col: Hashable) -> tuple[np.ndarray, Any]:
    """Return the number of interactions of each item, and the ids of the items.

    Parameters
    ----------
    item_counts : Series, dict, or array-like of shape (n_items,)
        A Series has the ids in its index, and a dict in its keys.
    item_ids : array-like of shape (n_items,) or None
        The ids, if ``item_counts`` has none.
    item_col : str or int
        Name of the column of ids in other tables, which has no counts.

    Raises
    ------
    InvalidInputError
        If there are no ids, the counts are not finite numbers of at least 0, at least one above, or
        ``item_counts`` is the column of ids.
    """
    is_column = isinstance(item_counts, pd.Series) and item_counts.name == item_col
    if is_column and item_counts.index.name != item_col:  # else counts of groupby
        raise InvalidInputError(
            f"item_counts is the column {item_col!r}, whose ids would count as numbers of "
            "interactions; count them: item_counts.value_counts()"
        )
    item_counts, item_ids = keyed_rows(item_counts, item_ids)
    if item_ids is None:
        raise InvalidInputError(
            f"item_counts is a {type(item_counts).__name__} without ids; set item_ids= to the id "
            "of each count, or give a Series that has them in its index, such as "
            "X['item_id'].value_counts()"
        )
    check_readable(item_counts, "item_counts")
    try:
        counts = np.asarray(item_counts, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        counts = np.array(np.nan)  # its shape is not valid either
    is_valid = counts.ndim == 1 and np.isfinite(counts).all() and (counts >= 0).all()
    if not is_valid or not counts.any():
        raise InvalidInputError(
            "item_counts must have the number of interactions of each item: one finite number of "
            f"at least 0 per item, not all 0, but it is {reprlib.repr(item_counts)}"
        )
    return counts, item_ids


def keyed_rows(values: Any, item_ids: Any) -> tuple[Any, Any]:
    """Return values and ids of items.

    A dict has the ids in its keys, and a Series or frame may have them in its index.
    """
    if isinstance(values, Mapping):
        return list(values.values()), list(values)
    if not isinstance(values, pd.Series | pd.DataFrame):
        return values, item_ids
    if item_ids is None or not is_row_number(values.index):
        item_ids = values.index
    return values.to_numpy(), item_ids


def read_item_vectors(
    item_vectors: Any, item_ids: Any, item_col: Hashable
) -> tuple[np.ndarray, Any]:
    """Return one vector per item, float64, and the ids of the items.

    Parameters
    ----------
    item_vectors : frame, dict or Series of vectors, or array-like of shape (n_items, n_features)
        A dict has the ids in its keys; a Series or frame may have them in its index.
    item_ids : array-like of shape (n_items,) or None
    item_col : str or int
        Name of the column of ids in other tables; the vectors must not have it.

    Raises
    ------
    InvalidInputError
        If the vectors are not finite numbers, or not equally long, a frame has a column of ids, or
        there are no ids.
    """
    item_vectors = as_frame(item_vectors, "item_vectors", "pass item_vectors.toarray()")
    if is_frame(item_vectors) and item_col in column_names(item_vectors):
        raise InvalidInputError(
            f"item_vectors has the column {item_col!r}, whose ids would count as numbers; make it "
            f"the index of a pandas frame: item_vectors.set_index({item_col!r})"
        )
    rows, item_ids = keyed_rows(item_vectors, item_ids)
    if isinstance(item_vectors, pd.Series):
        rows = list(rows)
    check_readable(rows, "item_vectors")
    try:
        vectors = check_array(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            "item_vectors must have a vector of finite numbers per item, all of the same length, "
            "such as an array of shape (n_items, n_features) or a dict of lists by item id, but "
            f"{_describe_bad_vector(rows)}"
        ) from error
    if item_ids is None:
        raise InvalidInputError(
            f"item_vectors is a {type(item_vectors).__name__} without ids; set item_ids= to the id "
            "of each vector, such as model.items_, or give a pandas frame that has them in its "
            "index"
        )
    return vectors, item_ids


def _describe_bad_vector(vectors: Any) -> str:
    """Return which of the vectors is not like the first one, or what they are instead."""
    rows = list(vectors) if pd.api.types.is_list_like(vectors) and not is_frame(vectors) else []
    length = len(rows[0]) if rows and hasattr(rows[0], "__len__") else 0
    for place, vector in enumerate(rows):
        if not _is_vector(vector, length):
            first = f", where vector 0 is {reprlib.repr(rows[0])}" if place else ""
            return f"vector {place} is {reprlib.repr(vector)}{first}"
    return f"it is {reprlib.repr(vectors)}"


def _is_vector(vector: Any, length: int) -> bool:
    try:
        numbers = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return numbers.shape == (length,) and bool(np.isfinite(numbers).all())


def vector_rows(
    items: np.ndarray, item_ids: Any, n_vectors: int, name: str = "item_vectors"
) -> np.ndarray:
    """Return the row of ``item_vectors`` of each recommended item.

    Parameters
    ----------
    items : ndarray of shape (n_pairs,)
        Ids of the recommended items.
    item_ids : array-like of shape (n_vectors,)
        Ids of the rows.
    n_vectors : int
    name : str, default="item_vectors"
        The parameter that has the rows.

    Raises
    ------
    InvalidInputError
        If ``item_ids`` does not have one distinct id per row.
    UnknownIdError
        If a recommended item has no row.
    """
    row_ids = _read_ids(item_ids, "item_ids")
    if len(row_ids) != n_vectors or not pd.Index(row_ids).is_unique:
        raise InvalidInputError(
            f"item_ids has {len(row_ids)} ids, {len(pd.unique(row_ids))} of them distinct, but "
            f"{name} has {n_vectors} rows; give each row an id of its own"
        )
    # The ids of the rows are distinct and come first, so their codes are the row numbers.
    _, rows, ids = _joint_codes(row_ids, items, "item_ids")
    if len(ids) > n_vectors:
        item = ids.astype(object)[n_vectors]
        advice = "add its vector" if name == "item_vectors" else "add its count, which may be 0"
        raise UnknownIdError(
            f"y_pred recommends the item {item!r}, which has no row in {name} "
            f"({len(ids) - n_vectors} such items); {advice}"
        )
    return rows
