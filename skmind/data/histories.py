"""What people ask after fit → histories in codes: lists of items, or a table to be scored."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import InvalidInputError, NothingToScoreWarning, UnknownIdError
from .ids import IdEncoder
from .interactions import Interactions
from .prepare import Rows, Schema, read_column, read_rows
from .ragged import Ragged, group_rows, isin_pairs, pair_keys
from .tables import id_array, is_frame


def read_histories(
    histories: Any, schema: Schema, items: IdEncoder
) -> tuple[np.ndarray, Interactions]:
    """Histories of people who were not in ``fit``; items that it did not see are left out.

    Parameters
    ----------
    histories : list of lists, dict of lists, or frame
        Item ids, oldest first; or an interactions table.
    schema : Schema
    items : IdEncoder

    Returns
    -------
    keys : ndarray of shape (n,)
        Positions of the list, keys of the dict, or user ids of the frame.
    histories : Interactions
    """
    if is_frame(histories):
        rows = read_rows(histories, schema)
        owners, keys = pd.factorize(rows.users)
        codes, times = items.encode(rows.items), rows.times
    else:
        as_map = isinstance(histories, Mapping)
        lists = list(histories.values()) if as_map else histories
        lists = list(lists) if hasattr(lists, "__iter__") else [lists]
        keys = id_array(list(histories), "the keys") if as_map else np.arange(len(lists))
        owners, ids = _flat(lists, "histories", "for one person write [[id, id, ...]]")
        codes, times = items.encode(ids), None
    known = codes >= 0
    times = None if times is None else times[known]
    return keys, Interactions.from_codes(owners[known], codes[known], times, len(keys))


def _flat(lists: list, name: str, cure: str) -> tuple[np.ndarray, list]:
    """Position of the list of each id, and the ids."""
    for one in lists:
        if isinstance(one, str | bytes) or not hasattr(one, "__len__"):
            raise InvalidInputError(
                f"{name} must hold a list of item ids per person, got {one!r}; {cure}"
            )
    lengths = np.array([len(one) for one in lists], dtype=np.int64)
    return np.repeat(np.arange(len(lists)), lengths), list(chain.from_iterable(lists))


def read_item_lists(
    lists: Any, name: str, schema: Schema, items: IdEncoder, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A list of items for each of ``users``; ids of items and users that are unknown are left out.

    Parameters
    ----------
    lists : dict of lists, or frame
        Item ids by user id; or a table with the user and item columns of ``fit``.
    name : str
        The parameter, for messages.
    schema : Schema
    items : IdEncoder
    users : ndarray of shape (n,)
        Ids, repeats allowed.

    Returns
    -------
    rows : ndarray of shape (n_entries,)
        Position in ``users``.
    codes : ndarray of shape (n_entries,)
        Item code.
    """
    if is_frame(lists):
        owners, keys = pd.factorize(read_column(lists, schema, "user"))
        ids: Any = read_column(lists, schema, "item")
    else:
        keys = id_array(list(lists), f"the keys of {name}")
        owners, ids = _flat(list(lists.values()), name, "write {user: [id, id, ...]}")
    rows, distinct = pd.factorize(users)
    owners = IdEncoder(distinct, "user").encode(keys)[owners]
    codes = items.encode(ids)
    known = (codes >= 0) & (owners >= 0)
    offsets, (values,) = group_rows(owners[known], len(distinct), [codes[known]])
    return Ragged(values, offsets).take(rows).pairs()


class ScoreTask(NamedTuple):
    """What a model is scored on: histories, and the events to be found for each.

    Attributes
    ----------
    users : ndarray of shape (n,), int
        Code of the user of each history; -1 for people who were not in ``fit``.
    histories : Interactions
        Of n people.
    targets : ndarray of shape (n_targets,), int
        Row of the table of each event to be found; an item once for each history.
    target_rows, target_items : ndarray of shape (n_targets,), int
        Its history and the code of its item (-1: not in ``fit``).
    weights : ndarray of shape (n,), float64
        Mean weight of the rows to be found.
    """

    users: np.ndarray
    histories: Interactions
    targets: np.ndarray
    target_rows: np.ndarray
    target_items: np.ndarray
    weights: np.ndarray

    def seen(self) -> Interactions:
        """The histories without the items to be found."""
        targets = self.target_rows, self.target_items
        return self.histories.where(~isin_pairs(self.histories.pairs(), targets))


def score_task(
    rows: Rows,
    users: np.ndarray,
    items: np.ndarray,
    known: Interactions,
    sample_weight: Any = None,
    unseen_users: str = "fold_in",
) -> ScoreTask:
    """Known users: all their rows are targets. Unknown ones: the last row, if there are two.

    Parameters
    ----------
    rows : Rows
    users, items : ndarray of shape (n_rows,), int32
        Codes of the rows' users and items, -1 for those that ``fit`` did not see.
    known : Interactions
        The histories of ``fit``.
    sample_weight : array of shape (n_rows,) or None
    unseen_users : {"fold_in", "skip", "popular", "error"}
        "popular": unknown users have no history, and all their rows are targets.

    Raises
    ------
    UnknownIdError
        If ``unseen_users="error"`` and there are some.
    InvalidInputError
        If there is not one finite weight of at least 0 a row.

    Warns
    -----
    NothingToScoreWarning
        If there is no target.
    """
    row_weights = _row_weights(sample_weight, len(items))
    old, item_keys = users >= 0, pd.factorize(rows.items)[0]
    codes, old_rows = np.unique(users[old], return_inverse=True)
    past, new_rows, new_targets = _strangers(rows, np.flatnonzero(~old), unseen_users)
    past = Interactions(items[past.values], past.offsets)
    past = past.where(past.items >= 0)
    all_rows = np.concatenate([old_rows, len(codes) + new_rows])
    positions = np.concatenate([np.flatnonzero(old), new_targets]).astype(np.int64)
    if not len(positions):
        _warn_nothing_to_score(unseen_users)
    keys = pair_keys(all_rows, item_keys[positions], item_keys.max(initial=0) + 1)
    first = np.unique(keys, return_index=True)[1]
    targets = positions[first]
    return ScoreTask(
        users=np.concatenate([codes, np.full(past.n_users, -1)]).astype(np.int64),
        histories=_append(known.take(codes), past),
        targets=targets,
        target_rows=all_rows[first],
        target_items=items[targets].astype(np.int64),
        weights=np.bincount(all_rows, row_weights[positions]) / np.bincount(all_rows),
    )


def _strangers(
    rows: Rows, new: np.ndarray, unseen_users: str
) -> tuple[Ragged, np.ndarray, np.ndarray]:
    """Histories of strangers, of rows in place of items; and each target's history and row."""
    if unseen_users == "error" and len(new):
        raise UnknownIdError(
            f"{len(new)} rows of X are of users who were not in fit, the first is "
            f"{rows.users[new].tolist()[0]!r}; use unseen_users='fold_in', 'skip' or 'popular'"
        )
    new = new[:0] if unseen_users == "skip" else new
    times = None if rows.times is None else rows.times[new]
    owners, strangers = pd.factorize(rows.users[new])
    columns = [new] if times is None else [new, times]
    offsets, (positions, *_) = group_rows(owners, len(strangers), columns)
    sorted_rows = Ragged(positions, offsets)
    wanted = np.arange(len(new))
    if unseen_users == "fold_in":
        sorted_rows = sorted_rows.take(np.flatnonzero(sorted_rows.lengths >= 2))
        wanted = sorted_rows.offsets[1:] - 1
    owners, positions = sorted_rows.pairs()
    return sorted_rows.drop(wanted), owners[wanted], positions[wanted]


def _warn_nothing_to_score(unseen_users: str) -> None:
    others = "and unseen_users='skip' leaves out the others"
    warn(
        "nothing to score: no user of X was in fit "
        f"{others if unseen_users == 'skip' else 'or has two rows'}. To score known users, split "
        "by time (skmind.model_selection.LeaveLastOut) rather than by row; to score new ones, "
        "split by user (UserKFold), with two rows or more of each and unseen_users='fold_in'",
        NothingToScoreWarning,
    )


def _row_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n_rows)
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"sample_weight must have one number for each row of X, got {sample_weight!r}"
        ) from error
    if weights.shape != (n_rows,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise InvalidInputError(
            f"sample_weight must have one finite number of at least 0 for each of the {n_rows} "
            f"rows of X, got an array of shape {weights.shape} with values from "
            f"{weights.min(initial=np.inf):g} to {weights.max(initial=-np.inf):g}"
        )
    return weights


def _append(first: Interactions, second: Interactions) -> Interactions:
    offsets = np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]])
    return Interactions(np.concatenate([first.items, second.items]), offsets)
