"""What a call of recommend asks for → checked, in codes: lists, weights and quotas of each user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._checks import warn
from ..data.histories import read_item_lists
from ..data.ids import IdEncoder
from ..data.interactions import Interactions
from ..data.prepare import Schema
from ..data.ragged import Ragged
from ..data.tables import is_frame
from ..exceptions import InvalidInputError, ShortageWarning, UnknownIdError
from .base import TopK


class RecommendQuery(NamedTuple):
    """The arguments of `FittedRecommender.recommend`, by their names."""

    k: int
    exclude_seen: bool = True
    items: Any = None
    exclude_items: Any = None
    interest_weights: Any = None
    quotas: Any = None
    diversity: float = 0.0
    diversity_by: str | None = None


def eligible_items(
    wanted: RecommendQuery,
    seen: Interactions,
    users: np.ndarray,
    schema: Schema,
    encoder: IdEncoder,
) -> tuple[Ragged, np.ndarray | None, Ragged | None]:
    """Arguments of `retrieve` that say which items each user may get.

    Returns
    -------
    excluded : Ragged
    allowed : ndarray of shape (n_items,), bool, or None
    lists : Ragged or None

    Raises
    ------
    UnknownIdError
        If ``items`` is one list for all, none of which is known.
    """
    if not wanted.exclude_seen:
        seen = seen.take(np.full(seen.n_users, -1))
    excluded = Ragged(seen.items, seen.offsets)
    allowed: np.ndarray | None = None
    if _by_user(wanted.exclude_items):
        more = read_item_lists(wanted.exclude_items, "exclude_items", schema, encoder, users)
        rows, codes = map(np.concatenate, zip(excluded.pairs(), more, strict=True))
        excluded = Ragged.from_pairs(rows, codes, len(users))
    elif wanted.exclude_items is not None:
        allowed = ~_mask(encoder, wanted.exclude_items)
    if _by_user(wanted.items):
        rows, codes = read_item_lists(wanted.items, "items", schema, encoder, users)
        if allowed is not None:
            rows, codes = rows[allowed[codes]], codes[allowed[codes]]
        lists = Ragged.from_pairs(rows, codes, len(users)).without(excluded)
        return excluded, None, lists
    if wanted.items is not None:
        mask = _mask(encoder, wanted.items)
        if not mask.any():
            raise UnknownIdError(
                f"items= has {len(wanted.items)} ids, none of which was in fit; name at least one "
                "that is in items_, or None for all"
            )
        allowed = mask if allowed is None else mask & allowed
    return excluded, allowed, None


def _by_user(items: Any) -> bool:
    return isinstance(items, Mapping) or is_frame(items)


def _mask(encoder: IdEncoder, ids: Any) -> np.ndarray:
    """Which items ``ids`` names; unknown ones are passed over."""
    codes = encoder.encode(ids)
    mask = np.zeros(len(encoder), dtype=bool)
    mask[codes[codes >= 0]] = True
    return mask


def read_weights(weights: Any, mask: np.ndarray) -> np.ndarray:
    """``interest_weights`` of each user.

    Parameters
    ----------
    weights : array of shape (n_interests,) or (n_users, n_interests)
    mask : ndarray of shape (n_users, n_interests), bool

    Returns
    -------
    ndarray of shape (n_users, n_interests), float32

    Raises
    ------
    InvalidInputError
        If the shape is another, or a weight is negative or no finite number, or all of a user are
        0.
    """
    found = _numbers(weights, "interest_weights", mask)
    if not (np.isfinite(found) & (found >= 0)).all() or not (found > 0).any(1).all():
        raise InvalidInputError(
            f"interest_weights has values from {found.min():g} to {found.max():g}; they must be "
            "finite and at least 0, and one of each user above 0"
        )
    return found.astype(np.float32)


def read_quotas(quotas: Any, k: int, mask: np.ndarray) -> np.ndarray:
    """``quotas`` of each user: how many of the ``k`` items each interest brings.

    Parameters
    ----------
    quotas : "equal", or array of shape (n_interests,) or (n_users, n_interests)
    k : int
    mask : ndarray of shape (n_users, n_interests), bool

    Returns
    -------
    ndarray of shape (n_users, n_interests), int64

    Raises
    ------
    InvalidInputError
        If they are no integers of at least 0 that add up to ``k``.
    """
    if isinstance(quotas, str) and quotas == "equal":
        each, more = np.divmod(k, np.maximum(mask.sum(1, keepdims=True), 1))
        return mask * (each + (np.cumsum(mask, axis=1) <= more))
    found = _numbers(quotas, "quotas", mask, 'or "equal"')
    counts = np.where(np.isfinite(found), found, -1).astype(np.int64)
    if (counts != found).any() or (counts < 0).any() or (counts.sum(1) != k).any():
        raise InvalidInputError(
            f'quotas={quotas!r} must be "equal", or integers of at least 0 that add up to k={k}'
        )
    return counts


def _numbers(values: Any, name: str, mask: np.ndarray, other: str = "") -> np.ndarray:
    """``values`` as numbers of the shape of ``mask``."""
    n_users, K = mask.shape
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        found = np.array(np.nan)  # of no legal shape
    if found.shape not in ((K,), (n_users, K)):
        raise InvalidInputError(
            f"{name}={values!r} must be an array of shape (n_interests,) = ({K},) or "
            f"(n_users, n_interests) = ({n_users}, {K}) {other}".rstrip()
        )
    return np.broadcast_to(found, mask.shape)


def warn_of_shortage(hits: TopK, wanted: RecommendQuery, n_items: int) -> None:
    """Say how many users get fewer than ``k`` items, and why.

    Warns
    -----
    ShortageWarning
    """
    found = (hits.codes >= 0).sum(1)
    n_short = int((found < wanted.k).sum())
    if not n_short:
        return
    given = {
        "exclude_seen=True": wanted.exclude_seen,
        "items=": wanted.items is not None,
        "exclude_items=": wanted.exclude_items is not None,
    }
    limits = " and ".join(name for name, is_given in given.items() if is_given)
    why = f"no other of the {n_items} known items is left" + (f" after {limits}" if limits else "")
    warn(
        f"{n_short} of {len(found)} users get fewer than k={wanted.k} items, the fewest "
        f"{found.min()}: {why}; lower k, or allow more",
        ShortageWarning,
    )
