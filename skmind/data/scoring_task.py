"""Table of events to predict → histories and the target items of each history."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .._checks import warn
from ..exceptions import NothingToScoreWarning, UnknownIdError
from .interactions import Interactions
from .prepare import Rows
from .ragged import Ragged, group_rows, isin_pairs, pair_keys
from .ties import mixed_order
from .weights import check_weights


class ScoringTask(NamedTuple):
    """Histories and their target items, on which a model is scored.

    Attributes
    ----------
    users : ndarray of shape (n_histories,), int64
        User code of each history; -1 for users who were not in ``fit``.
    histories : Interactions
    targets : ndarray of shape (n_targets,), int64
        Row of the table that each target was read from. An item is a target once per history.
    target_rows, target_items : ndarray of shape (n_targets,), int64
        History and item code of each target; the code is -1 for items that were not in ``fit``.
    weights : ndarray of shape (n_histories,), float64
        Mean weight of the rows of the targets.
    """

    users: np.ndarray
    histories: Interactions
    targets: np.ndarray
    target_rows: np.ndarray
    target_items: np.ndarray
    weights: np.ndarray

    def seen(self) -> Interactions:
        """Return the histories without the target items."""
        targets = self.target_rows, self.target_items
        return self.histories.where(~isin_pairs(self.histories.pairs(), targets))


def scoring_task(
    rows: Rows,
    users: np.ndarray,
    items: np.ndarray,
    interactions: Interactions,
    sample_weight: Any = None,
    unseen_users: str = "fold_in",
    has_row_order: bool = True,
) -> ScoringTask:
    """Split a table into histories and targets.

    All rows of a known user are targets, and the history is the one in ``fit``. The last row of an
    unseen user is a target, and the rows before it are the history.

    Parameters
    ----------
    rows : Rows
    users, items : ndarray of shape (n_rows,), int32
        User and item codes of the rows; -1 for ids that ``fit`` has not seen.
    interactions : Interactions
        The histories of ``fit``.
    sample_weight : array of shape (n_rows,) or None, default=None
        None: all weights are 1.
    unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
        "fold_in" uses the unseen users who have at least two rows. "popular" gives them no history,
        and all their rows are targets. "skip" leaves them out.

    Raises
    ------
    UnknownIdError
        If ``unseen_users="error"`` and a user is unseen.
    InvalidInputError
        If ``sample_weight`` isn't one finite number of at least 0 per row.

    Warns
    -----
    NothingToScoreWarning
        If there is no target.
    """
    row_weights = check_weights(sample_weight, len(items))
    is_known = users >= 0
    known_users, known_owners = np.unique(users[is_known], return_inverse=True)
    unseen_rows = np.flatnonzero(~is_known)
    if not has_row_order:  # rows are sorted by time in a stable way: ties stay in this order
        unseen_rows = unseen_rows[mixed_order(items[unseen_rows])]
    past_rows, unseen_owners, unseen_targets = _split_unseen_users(rows, unseen_rows, unseen_users)

    # Known users come first, then unseen users.
    past = Interactions(items[past_rows.values], past_rows.offsets)
    past = past.where(past.items >= 0)
    histories = _concatenate(interactions.take(known_users), past)
    target_rows = np.concatenate([known_owners, len(known_users) + unseen_owners])
    positions = np.concatenate([np.flatnonzero(is_known), unseen_targets]).astype(np.int64)
    if not len(positions):
        _warn_nothing_to_score(unseen_users)

    # Keep the first row of each pair of history and item. Items are compared by id, because unknown
    # items have no code.
    id_codes = pd.factorize(rows.items)[0]
    keys = pair_keys(target_rows, id_codes[positions], id_codes.max(initial=0) + 1)
    first = np.unique(keys, return_index=True)[1]
    targets = positions[first]
    return ScoringTask(
        users=np.concatenate([known_users, np.full(past.n_users, -1)]).astype(np.int64),
        histories=histories,
        targets=targets,
        target_rows=target_rows[first],
        target_items=items[targets].astype(np.int64),
        weights=np.bincount(target_rows, row_weights[positions]) / np.bincount(target_rows),
    )


def _split_unseen_users(
    rows: Rows, unseen_rows: np.ndarray, unseen_users: str
) -> tuple[Ragged, np.ndarray, np.ndarray]:
    """Split the rows of unseen users into histories and targets; see `scoring_task`.

    Returns
    -------
    past_rows : Ragged
        Rows of the table instead of items, one history per user.
    owners, targets : ndarray of shape (n_targets,), int64
        History and row of each target.
    """
    if unseen_users == "error" and len(unseen_rows):
        raise UnknownIdError(
            f"{len(unseen_rows)} rows of X belong to users who were not in fit, the first is "
            f"{rows.users[unseen_rows].tolist()[0]!r}; use unseen_users='fold_in', 'skip' or "
            "'popular'"
        )
    if unseen_users == "skip":
        unseen_rows = unseen_rows[:0]
    owners, ids = pd.factorize(rows.users[unseen_rows])
    columns = [unseen_rows]
    if rows.times is not None:
        columns.append(rows.times[unseen_rows])
    offsets, (sorted_rows, *_) = group_rows(owners, len(ids), columns)
    events = Ragged(sorted_rows, offsets)
    if unseen_users == "fold_in":
        events = events.take(np.flatnonzero(events.lengths >= 2))
        places = events.offsets[1:] - 1  # last event per user
    else:
        places = np.arange(len(events.values))
    owners, event_rows = events.pairs()
    return events.drop(places), owners[places], event_rows[places]


def _warn_nothing_to_score(unseen_users: str) -> None:
    reason = "or has two rows"
    if unseen_users == "skip":
        reason = "and unseen_users='skip' leaves out the others"
    warn(
        f"nothing to score: no user of X was in fit {reason}. To score known users, split by time "
        "(skmind.model_selection.LeaveLastOut) rather than by row; to score new ones, split by "
        "user (UserKFold), with at least two rows per user and unseen_users='fold_in'",
        NothingToScoreWarning,
    )


def _concatenate(first: Interactions, second: Interactions) -> Interactions:
    """Concatenate the histories, without times."""
    offsets = np.concatenate([first.offsets, first.offsets[-1] + second.offsets[1:]])
    return Interactions(np.concatenate([first.items, second.items]), offsets)
