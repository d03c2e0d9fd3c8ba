"""Arguments of `recommend` → a validated `RecommendQuery` with integer codes."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._checks import check_count, check_real, warn
from ..data.features import FeatureValues
from ..data.formats import as_frame
from ..data.histories import read_item_lists
from ..data.ids import IdEncoder
from ..data.prepare import Prepared, Schema
from ..data.ragged import Ragged, isin_pairs
from ..data.tables import column_names, is_frame
from ..data.weights import check_readable
from ..exceptions import InvalidInputError, ShortageWarning, UnknownIdError
from .base import TopK
from .repeats import Repeats

MAX_WEIGHT = 1e30  # products of such weights and cosines fit into float32, as do their inverses
MIN_WEIGHT = 1e-37  # about the smallest normal float32
_MATRIX_TO_DICT = "give lists by user: dict(zip(users, {0}.tolil().rows))"


@dataclass(frozen=True)
class RecommendQuery:
    """Validated arguments of one call, with one row per user.

    Attributes
    ----------
    k : int
        Items per user.
    excluded : Ragged
        Items that each user must not get.
    allowed : ndarray of shape (n_items,), bool, or None
        Items that may be recommended to everybody; None: all items.
    lists : Ragged or None
        Items that each user may get, without the excluded items; used instead of ``excluded`` and
        ``allowed``.
    weights : ndarray of shape (n_users, n_interests), float32, or None
        Factors of the scores of each interest.
    quotas : "equal", ndarray of shape (n_users, n_interests), int64, or None
        Number of items from each interest.
    diversity : float
    values : FeatureValues or None
        The item feature by which lists are diversified; None: the item vectors.
    limits : tuple of str
        Arguments that leave out items, for the message of `warn_of_shortage`.
    repeats : Repeats or None
        Items of the histories that score higher; None: no items.
    """

    k: int
    excluded: Ragged
    allowed: np.ndarray | None = None
    lists: Ragged | None = None
    weights: np.ndarray | None = None
    quotas: np.ndarray | str | None = None
    diversity: float = 0.0
    values: FeatureValues | None = None
    limits: tuple[str, ...] = ()
    repeats: Repeats | None = None

    @classmethod
    def read(
        cls,
        users: np.ndarray,
        histories: Ragged,
        prepared: Prepared,
        schema: Schema,
        n_interests: int,
        *,
        k: Any = 10,
        exclude_seen: Any = True,
        items: Any = None,
        exclude_items: Any = None,
        interest_weights: Any = None,
        quotas: Any = None,
        diversity: Any = 0.0,
        diversity_by: Any = None,
    ) -> RecommendQuery:
        """Read and check all arguments, before any history is encoded.

        Parameters
        ----------
        users : ndarray of shape (n_users,)
            User ids, in the order of the rows.
        histories : Ragged
            Item codes that each user has seen.
        prepared : Prepared
        schema : Schema
        n_interests : int
        k, exclude_seen, items, exclude_items, interest_weights, quotas, diversity, diversity_by
            As in `MINDRecommender.recommend`.

        Raises
        ------
        InvalidInputError
            If an argument is invalid, or quotas are combined with diversity.
        UnknownIdError
            If ``items`` is one list for all users and no item of it is known.
        """
        shape = len(users), n_interests
        k = check_count(k, "k")
        exclude_seen = check_exclude_seen(exclude_seen)
        diversity = check_real(diversity, "diversity", 0, 1)
        values = None
        if diversity_by is not None:
            values = prepared.item_features.values_of(diversity_by, "diversity_by")
        weights = None
        if interest_weights is not None:
            weights = read_weights(interest_weights, shape)
            check_labels(interest_weights, "interest_weights", users, schema, n_interests)
        shares = None
        if quotas is not None:
            shares = read_quotas(quotas, k, shape)
            check_labels(quotas, "quotas", users, schema, n_interests)
            if diversity:
                raise InvalidInputError(
                    f"quotas={quotas!r} and diversity={diversity:g} can't be combined; leave one "
                    "out"
                )
        if not exclude_seen:
            histories = histories.take(np.full(histories.n_rows, -1))
        seen = Ragged(histories.values, histories.offsets)
        selection = eligible_items(items, exclude_items, seen, users, schema, prepared.items)
        given = {
            "exclude_seen=True": exclude_seen,
            "items=": items is not None,
            "exclude_items=": exclude_items is not None,
        }
        limits = tuple(name for name, is_given in given.items() if is_given)
        return cls(k, *selection, weights, shares, diversity, values, limits)

    def slice_rows(self, start: int, stop: int) -> RecommendQuery:
        """Return the query of the rows from ``start`` to before ``stop``.

        The query has neither lists nor anything else by user but excluded items and repeats.
        """
        repeats = None if self.repeats is None else self.repeats.slice_rows(start, stop)
        return replace(self, excluded=self.excluded.slice_rows(start, stop), repeats=repeats)

    def eligible_repeats(self) -> Repeats | None:
        """Return the repeats that may be recommended."""
        repeats = self.repeats
        if repeats is None:
            return None
        if self.lists is not None:
            return repeats.where(isin_pairs(repeats.pairs(), self.lists.pairs()))
        repeats = repeats.without(self.excluded)
        return repeats if self.allowed is None else repeats.where(self.allowed[repeats.values])

    def quotas_of(self, mask: np.ndarray) -> np.ndarray | None:
        """Return the quotas; ``mask``, of shape (n_users, n_interests), marks the interests in use.

        "equal" divides ``k`` among the interests in use. If there is a remainder, the first ones
        get one more.
        """
        if not isinstance(self.quotas, str):
            return self.quotas
        per_interest, n_more = np.divmod(self.k, np.maximum(mask.sum(1, keepdims=True), 1))
        return mask * (per_interest + (np.cumsum(mask, axis=1) <= n_more))


def check_exclude_seen(value: Any) -> bool:
    """Return ``exclude_seen`` as bool; None is the default, True.

    Raises
    ------
    InvalidInputError
        If ``value`` is neither True nor False nor None.
    """
    if value is not None and not isinstance(value, bool | np.bool_):
        raise InvalidInputError(
            f"exclude_seen={value!r} must be True or False, or None for the default"
        )
    return value is None or bool(value)


def eligible_items(
    items: Any,
    exclude_items: Any,
    seen: Ragged,
    users: np.ndarray,
    schema: Schema,
    encoder: IdEncoder,
) -> tuple[Ragged, np.ndarray | None, Ragged | None]:
    """Return ``excluded``, ``allowed`` and ``lists`` of a `RecommendQuery`.

    Raises
    ------
    InvalidInputError
        If one of them is a Series with one item per row and an index of users.
    UnknownIdError
        If ``items`` is one list for all users and no item of it is known.
    """
    items = as_frame(items, "items", _MATRIX_TO_DICT)
    exclude_items = as_frame(exclude_items, "exclude_items", _MATRIX_TO_DICT)
    for name, ids in (("items", items), ("exclude_items", exclude_items)):
        if not is_per_user(ids) and isinstance(ids, pd.Series) and schema.user in ids.index.names:
            raise InvalidInputError(
                f"{name} is a Series with one item per row and the index {schema.user!r}; pass "
                f"{name}.rename({schema.item!r}).reset_index() for a list per user, or "
                f"{name}.to_numpy() for one list that holds for all users"
            )
    excluded = seen
    allowed: np.ndarray | None = None
    if is_per_user(exclude_items):
        more = read_item_lists(exclude_items, "exclude_items", schema, encoder, users)
        rows, codes = map(np.concatenate, zip(excluded.pairs(), more, strict=True))
        excluded = Ragged.from_pairs(rows, codes, len(users))
    elif exclude_items is not None:
        allowed = ~_mask(encoder, exclude_items)
    if is_per_user(items):
        rows, codes = read_item_lists(items, "items", schema, encoder, users)
        if allowed is not None:
            is_allowed = allowed[codes]
            rows = rows[is_allowed]
            codes = codes[is_allowed]
        lists = Ragged.from_pairs(rows, codes, len(users)).without(excluded)
        return excluded, None, lists
    if items is not None:
        mask = _mask(encoder, items)
        if not mask.any():
            raise UnknownIdError(
                f"items= has {len(items)} ids, none of which was in fit; name at least one that is "
                "in items_, or None for all"
            )
        allowed = mask if allowed is None else mask & allowed
    return excluded, allowed, None


def is_per_user(items: Any) -> bool:
    """Return whether ``items`` has a list per user."""
    if isinstance(items, pd.Series):
        return len(items) > 0 and pd.api.types.is_list_like(items.iloc[0])
    return isinstance(items, Mapping) or is_frame(items)


def _mask(encoder: IdEncoder, ids: Any) -> np.ndarray:
    """Return a mask of the items in ``ids``; unknown ids are ignored."""
    codes = encoder.encode(ids)
    mask = np.zeros(len(encoder), dtype=bool)
    mask[codes[codes >= 0]] = True
    return mask


def check_labels(
    values: Any, name: str, users: np.ndarray, schema: Schema, n_interests: int
) -> None:
    """Raise if the labels of a frame or Series may say another order than its positions.

    Parameters
    ----------
    values : array, frame or Series
        Numbers of each interest, or of each user and interest.
    name : str
        The parameter that received ``values``.
    users : ndarray of shape (n_users,)
        User ids, in the order of the rows.
    schema : Schema
    n_interests : int

    Raises
    ------
    InvalidInputError
        If the columns of a frame, or the index of a Series, are not 0, 1, …, or the index of a
        frame is neither that nor ``users``.
    """
    is_series = isinstance(values, pd.Series)
    interests = [*range(n_interests)]
    kind = type(values).__name__
    cure = f"numpy.asarray({name}) if it is in the order of the {{}}"
    if is_series or is_frame(values):
        labels = values.index.tolist() if is_series else column_names(values)
        names_users = is_series and schema.user in values.index.names
        if names_users or [*map(str, labels)] != [*map(str, interests)]:
            has = "whose index is" if is_series else "with the columns"
            raise InvalidInputError(
                f"{name} is a {kind} {has} {reprlib.repr(labels)}, but the interests are numbered "
                f"{reprlib.repr(interests)}; pass {name}[{reprlib.repr(interests)}] if these are "
                f"its labels, or {cure.format('interests')}"
            )
    if isinstance(values, pd.DataFrame) and not _is_order_of(values.index, users, schema.user):
        raise InvalidInputError(
            f"{name} is a {kind} whose index {reprlib.repr(values.index.tolist())} is not in the "
            f"order of the users {reprlib.repr(users.tolist())}; pass {name}.loc[user_ids] if the "
            f"index has the users, or {cure.format('users')}"
        )


def _is_order_of(index: pd.Index, users: np.ndarray, user_col: Any) -> bool:
    """Return whether an index has the users in their order, or only counts rows."""
    if index.nlevels == 1 and index.equals(pd.Index(users)):
        return True
    # The numbers of rows may as well be the users in another order.
    counts_rows = index.equals(pd.RangeIndex(len(index))) and index.name != user_col
    return counts_rows and not index.isin(users).all()


def read_weights(weights: Any, shape: tuple[int, int]) -> np.ndarray:
    """Read ``interest_weights``.

    Only their ratios matter for the order. So that no score overflows or underflows, weights whose
    highest of a user is above 1e30 or below 1e-30 are divided by it.

    Parameters
    ----------
    weights : array of shape (n_interests,) or (n_users, n_interests)
    shape : tuple
        ``(n_users, n_interests)``.

    Returns
    -------
    ndarray of shape (n_users, n_interests), float32

    Raises
    ------
    InvalidInputError
        If the shape is invalid, a weight is negative or not finite, or all weights of a user
        are 0.
    """
    numbers = _numbers(weights, "interest_weights", shape)
    if not (np.isfinite(numbers) & (numbers >= 0)).all() or not (numbers > 0).any(1).all():
        raise InvalidInputError(
            f"interest_weights has values from {numbers.min():g} to {numbers.max():g}; they must "
            "be finite and at least 0, and at least one per user must be above 0"
        )
    highest = numbers.max(1, keepdims=True)
    is_extreme = (highest > MAX_WEIGHT) | (highest < 1 / MAX_WEIGHT)
    scaled = np.where(is_extreme, numbers / highest, numbers)
    # An interest with a tiny weight comes last, but it stays in use.
    return np.where(numbers > 0, np.maximum(scaled, MIN_WEIGHT), 0).astype(np.float32)


def read_quotas(quotas: Any, k: int, shape: tuple[int, int]) -> np.ndarray | str:
    """Read ``quotas``: how many of the ``k`` items come from each interest.

    Parameters
    ----------
    quotas : "equal", or array of shape (n_interests,) or (n_users, n_interests)
    k : int
    shape : tuple
        ``(n_users, n_interests)``.

    Returns
    -------
    "equal", or ndarray of shape (n_users, n_interests), int64

    Raises
    ------
    InvalidInputError
        If the quotas are not integers of at least 0 that add up to ``k``.
    """
    if isinstance(quotas, str) and quotas == "equal":
        return quotas
    numbers = _numbers(quotas, "quotas", shape, 'or "equal"')
    counts = np.where(np.isfinite(numbers), numbers, -1).astype(np.int64)
    if (counts != numbers).any() or (counts < 0).any() or (counts.sum(1) != k).any():
        raise InvalidInputError(
            f'quotas={quotas!r} must be "equal", or integers of at least 0 that add up to k={k}'
        )
    return counts


def _numbers(values: Any, name: str, shape: tuple[int, int], alternative: str = "") -> np.ndarray:
    """Return ``values`` as numbers, broadcast to ``shape``."""
    check_readable(values, name)
    n_users, K = shape
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array(np.nan)  # its shape is not valid either
    if numbers.shape not in ((K,), (n_users, K)):
        raise InvalidInputError(
            f"{name}={values!r} must be an array of shape (n_interests,) = ({K},) or "
            f"(n_users, n_interests) = ({n_users}, {K}) {alternative}".rstrip()
        )
    return np.broadcast_to(numbers, shape)


def warn_of_shortage(top: TopK, query: RecommendQuery, n_items: int, rows: str = "users") -> None:
    """Warn if users get fewer than ``k`` items: how many users, and why.

    ``rows`` says what each row of ``top`` stands for.

    Warns
    -----
    ShortageWarning
    """
    lengths = (top.codes >= 0).sum(1)
    n_short = int((lengths < query.k).sum())
    if not n_short:
        return
    why = f"no other of the {n_items} known items is left"
    if query.limits:
        why += f" after {' and '.join(query.limits)}"
    warn(
        f"{n_short} of {len(lengths)} {rows} get fewer than k={query.k} items, the fewest "
        f"{lengths.min()}: {why}; lower k, or allow more",
        ShortageWarning,
    )
