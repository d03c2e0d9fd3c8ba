r"""Relevant and recommended items → recall, hit rate, NDCG, MRR, MAP, coverage, diversity.

Every ranking metric is a mean over users of a value that only looks at the first ``k`` items of a
user's list. With :math:`h_{ur} = 1` if the item at rank :math:`r` of user :math:`u` is relevant,
else 0, and :math:`n_u` the number of distinct relevant items of the user (whether or not they could
be recommended), the value of each metric is stated in its own docstring. Users without any relevant
item have no value and are left out of the mean.

Two forms of input are understood:

* two tables: ``y_true`` with the columns ``user_id`` and ``item_id``, ``y_pred`` with those and
  ``rank``, as :meth:`MINDRecommender.recommend` returns it. They are matched by user id. Users in
  ``y_true`` without recommendations count with the value 0; users only in ``y_pred`` are ignored;
* two sequences with one entry per user, matched by position: in ``y_true`` the relevant id or a
  list of relevant ids, in ``y_pred`` a list of ids, best first, padded with None or NaN.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array

from .._checks import check_count, warn
from ..data.tables import id_array, id_kind, is_frame, take_column
from ..exceptions import IdTypeError, InvalidInputError, NothingToScoreWarning, UnknownIdError


def recall_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Share of a user's relevant items that are among the first ``k`` recommended.

    .. math:: \mathrm{recall}_u = \frac{1}{n_u} \sum_{r=1}^{k} h_{ur}

    The denominator is the number of relevant items, not ``min(k, n_u)``: a user with more than
    ``k`` relevant items can't reach 1.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items: a frame with the columns ``user_col`` and ``item_col`` and one row per
        relevant item, or per user one id or a list of ids (an empty list, None or NaN: nothing is
        relevant). An id that occurs twice for a user counts once.
    y_pred : frame or sequence of length n_users
        The recommendations: the frame of :meth:`MINDRecommender.recommend`, or per user a list of
        ids, best first; None and NaN are padding. Gaps in the ranks close up.
    k : int, default=10
        Number of recommendations looked at, at least 1. Lists that are shorter count as they are.
    per_user : bool, default=False
        Return one value per user in place of the mean.
    user_col, item_col : str or int, default="user_id", "item_id"
        Columns of both frames. Not used with sequences.
    rank_col : str, int or None, default="rank"
        Column of the frame ``y_pred`` with the ranks, the lowest the best, equal ones in the order
        of the rows; None: the order of the rows.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean over the users with relevant items; nan if there are none. With ``per_user`` a
        Series by user id, in the order in which ``y_true`` names them, for frames, and an array
        for sequences; nan where a user has no relevant item.

    Raises
    ------
    InvalidInputError
        If a column is missing, one input is a frame and the other isn't, the lengths differ, an
        item is recommended twice to a user, or ``k`` is no positive integer.
    IdTypeError
        If the ids of one input are numbers and of the other text.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import recall_at_k
    >>> y_true = [["tea", "milk"], ["rum"]]
    >>> y_pred = [["tea", "gin", "milk"], ["gin", "tea", None]]
    >>> recall_at_k(y_true, y_pred, k=2)
    0.25
    >>> recall_at_k(y_true, y_pred, k=3, per_user=True)
    array([1., 0.])
    """
    return _score("recall", y_true, y_pred, k, per_user, (user_col, item_col, rank_col))


def hit_rate_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Share of the users with at least one relevant item among the first ``k`` recommended.

    .. math:: \mathrm{hit\ rate}_u = \max_{r \le k} h_{ur}

    The denominator is the number of users with relevant items. With one relevant item per user
    it equals :func:`recall_at_k`.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations looked at, at least 1; raising it can only raise the value.
    per_user : bool, default=False
        Return one value per user in place of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean, or with ``per_user`` a value per user, as in :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import hit_rate_at_k
    >>> hit_rate_at_k(["tea", "rum"], [["gin", "tea"], ["gin", "tea"]], k=2)
    0.5
    """
    return _score("hit_rate", y_true, y_pred, k, per_user, (user_col, item_col, rank_col))


def ndcg_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Normalised discounted cumulative gain of the first ``k`` recommendations.

    .. math::

        \mathrm{NDCG}_u = \frac{\sum_{r=1}^{k} h_{ur} / \log_2(r + 1)}
                               {\sum_{r=1}^{\min(k, n_u)} 1 / \log_2(r + 1)}

    The gain is binary. The denominator is the gain of an ideal list, which has ``min(k, n_u)``
    relevant items in front, so 1 can always be reached.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations looked at, at least 1.
    per_user : bool, default=False
        Return one value per user in place of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean, or with ``per_user`` a value per user, as in :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import ndcg_at_k
    >>> ndcg_at_k(["tea", "rum"], [["gin", "rum", "tea"], ["rum", "gin", "tea"]], k=3)
    0.75
    """
    return _score("ndcg", y_true, y_pred, k, per_user, (user_col, item_col, rank_col))


def mrr_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Mean reciprocal rank of the first relevant item among the first ``k`` recommended.

    .. math:: \mathrm{RR}_u = \max_{r \le k} \frac{h_{ur}}{r}

    A user without a hit counts with 0; the denominator is the number of users with relevant items.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations looked at, at least 1; raising it can only raise the value.
    per_user : bool, default=False
        Return one value per user in place of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean, or with ``per_user`` a value per user, as in :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import mrr_at_k
    >>> mrr_at_k(["tea", "rum"], [["gin", "tea"], ["rum", "tea"]], k=2)
    0.75
    """
    return _score("mrr", y_true, y_pred, k, per_user, (user_col, item_col, rank_col))


def map_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Mean average precision of the first ``k`` recommendations.

    .. math::

        \mathrm{AP}_u = \frac{1}{\min(k, n_u)} \sum_{r=1}^{k} h_{ur} \frac{1}{r}
                        \sum_{s=1}^{r} h_{us}

    The denominator is ``min(k, n_u)``, so 1 can always be reached. (trec_eval's ``map_cut`` divides
    by ``n_u``.)

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations looked at, at least 1.
    per_user : bool, default=False
        Return one value per user in place of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean, or with ``per_user`` a value per user, as in :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import map_at_k
    >>> map_at_k([["tea", "milk"]], [["gin", "tea", "rum", "milk"]], k=4)
    0.5
    """
    return _score("map", y_true, y_pred, k, per_user, (user_col, item_col, rank_col))


def evaluate(
    y_true: Any,
    y_pred: Any,
    metrics: str | Sequence[str] = ("ndcg@10", "hit_rate@10"),
    *,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> dict[str, float]:
    """Several metrics of one ranking, which is matched with the relevant items only once.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`; ask for as many as the largest ``k``.
    metrics : str or sequence of str, default=("ndcg@10", "hit_rate@10")
        Names of the form ``"<metric>@<k>"`` with a metric of ``"recall"``, ``"hit_rate"``,
        ``"ndcg"``, ``"mrr"`` and ``"map"``, and a positive integer.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    dict of str to float
        The mean of each metric over the users with relevant items, by the names asked for.

    Raises
    ------
    InvalidInputError
        If a name is unknown (the message lists all that are, and the legal ones), and as
        :func:`recall_at_k`.
    IdTypeError
        As :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item, so every value is nan.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.metrics import evaluate
    >>> y_true = pd.DataFrame({"user_id": [1, 1, 2], "item_id": ["tea", "milk", "rum"]})
    >>> y_pred = pd.DataFrame(
    ...     {"user_id": [1, 1, 2, 2], "item_id": ["tea", "rum", "gin", "rum"], "rank": [1, 2, 1, 2]}
    ... )
    >>> evaluate(y_true, y_pred, ["mrr@2", "recall@1", "recall@2"])
    {'mrr@2': 0.75, 'recall@1': 0.25, 'recall@2': 0.75}
    """
    parsed = _parse_metrics(metrics)
    k_max = max(k for _, k in parsed.values())
    hits, n_relevant, _ = _match(y_true, y_pred, k_max, (user_col, item_col, rank_col))
    return _means(hits, n_relevant, parsed)


def coverage_at_k(
    y_pred: Any,
    n_items: int,
    *,
    k: int = 10,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float:
    r"""Share of the catalogue that is among the first ``k`` recommendations of anyone.

    .. math:: \mathrm{coverage} = \frac{1}{n_{items}} \Big| \bigcup_u L_u^k \Big|

    where :math:`L_u^k` is the set of the first ``k`` items of user :math:`u`.

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    n_items : int
        Size of the catalogue, the denominator; at least the number of distinct recommended items.
    k : int, default=10
        Number of recommendations looked at, at least 1; raising it can only raise the value.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float
        From 0 (nothing recommended) to 1 (every item recommended to someone).

    Raises
    ------
    InvalidInputError
        If more items are recommended than ``n_items``, or an argument is illegal.

    Examples
    --------
    >>> from skmind.metrics import coverage_at_k
    >>> coverage_at_k([["tea", "gin"], ["tea", "rum"]], n_items=4, k=2)
    0.75
    """
    n_items, k = check_count(n_items, "n_items"), check_count(k, "k")
    users, items, n_users, _ = _read(y_pred, "y_pred", (user_col, item_col, rank_col))
    codes, ids = pd.factorize(_whole(items))
    top = _top(users, codes, n_users, k)
    n_recommended = len(np.unique(top[top >= 0]))
    if n_recommended > n_items:
        raise InvalidInputError(
            f"n_items={n_items} is less than the {n_recommended} items that y_pred recommends; "
            "give the number of all items that could be recommended"
        )
    return n_recommended / n_items


def intra_list_diversity_at_k(
    y_pred: Any,
    item_vectors: Any,
    *,
    k: int = 10,
    item_ids: Any = None,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float:
    r"""Mean cosine distance between two items of the same list of ``k`` recommendations.

    .. math::

        \mathrm{ILD}_u = \frac{2}{m (m - 1)} \sum_{r < s \le m} \big(1 - \cos(v_{ur}, v_{us})\big)

    with :math:`m \le k` the length of the user's list; the mean is over the users with
    :math:`m \ge 2`. The cosine with a vector of zeros is taken as 0.

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    item_vectors : array-like of shape (n_items, n_features)
        A vector for each item, such as ``item_embeddings_``.
    k : int, default=10
        Number of recommendations looked at, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        The id of each row of ``item_vectors``, such as ``items_``; None: the ids are the row
        numbers from 0.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame; ``rank_col=None``: the order of the rows is the rank.

    Returns
    -------
    float
        From 0 (all items of a list point the same way) to 2; nan if no list has two items.

    Raises
    ------
    UnknownIdError
        If a recommended item has no vector.
    InvalidInputError
        If ``item_ids`` has repeated ids or another length than ``item_vectors``, or an argument
        is illegal.

    Warns
    -----
    NothingToScoreWarning
        If no list has two items.

    Examples
    --------
    >>> from skmind.metrics import intra_list_diversity_at_k
    >>> vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]
    >>> intra_list_diversity_at_k([[0, 1], [1, 2]], vectors, k=2)
    0.5
    """
    k = check_count(k, "k")
    vectors = check_array(item_vectors, dtype=np.float64, input_name="item_vectors")
    users, items, n_users, _ = _read(y_pred, "y_pred", (user_col, item_col, rank_col))
    rows = _vector_rows(items, item_ids, len(vectors))
    top = _top(users, rows, n_users, k)  # (n_users, k)
    lengths = (top >= 0).sum(axis=1)
    scored = lengths >= 2
    if not scored.any():
        message = f"no user of y_pred has two recommendations within k={k}; the diversity is nan"
        warn(message, NothingToScoreWarning)
        return float("nan")
    n_pairs = lengths * (lengths - 1) / 2
    cosines = _pair_cosines(top[scored], vectors) / n_pairs[scored]
    return float(np.clip(1.0 - cosines, 0.0, 2.0).mean())


# The integer core. ``codes`` are item codes, best first, padded with -1; ``hits`` says where they
# are relevant. Callers with codes of their own (the estimator, the trainer) start here.


def _hits(
    codes: np.ndarray, target_users: np.ndarray, target_codes: np.ndarray, n_users: int
) -> np.ndarray:
    """Where a recommended item is relevant.

    Parameters
    ----------
    codes : ndarray of shape (n_users, k), integer
        Recommended items, best first, none twice in a row; negative ones are padding.
    target_users : ndarray of shape (n_targets,), integer
        Row of ``codes`` that each relevant item belongs to.
    target_codes : ndarray of shape (n_targets,), integer
        Relevant items; negative ones never hit.
    n_users : int

    Returns
    -------
    ndarray of shape (n_users, k), bool
    """
    n_codes = 1 + max(int(codes.max(initial=0)), int(target_codes.max(initial=0)))
    known = target_codes >= 0  # the key of a negative code would be another user's key
    targets = target_users[known].astype(np.int64) * n_codes + target_codes[known]
    keys = np.arange(n_users, dtype=np.int64)[:, None] * n_codes + codes  # (n_users, k)
    return np.isin(keys, targets) & (codes >= 0)


def _n_relevant(target_users: np.ndarray, target_codes: np.ndarray, n_users: int) -> np.ndarray:
    """Number of distinct relevant items of each user, (n_users,) int64.

    A negative code is an unknown item; each counts as an item of its own.
    """
    n_codes = 1 + int(target_codes.max(initial=0))
    known = target_codes >= 0
    keys = target_users[known].astype(np.int64) * n_codes + target_codes[known]
    users = np.concatenate([pd.unique(keys) // n_codes, target_users[~known]])
    return np.bincount(users, minlength=n_users)


# Each metric: hits (n_users, at least as many as the longest list or k), the numbers of relevant
# items (n_users,) and k (default: the width of hits) → (n_users,) float64, nan without relevant
# items. ``k`` is given apart because lists may be shorter than k, which must not change the ideal.


def _recall(hits: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    return _per_relevant(hits[:, :k].sum(axis=1), n_relevant)


def _hit_rate(hits: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    return _per_relevant(hits[:, :k].max(axis=1, initial=False), np.minimum(n_relevant, 1))


def _ndcg(hits: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    k, hits = hits.shape[1] if k is None else k, hits[:, :k]
    n_ideal = np.minimum(n_relevant, k).astype(np.int64)
    n_ranks = max(hits.shape[1], int(n_ideal.max(initial=0)))
    discount = 1.0 / np.log2(np.arange(2, n_ranks + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[n_ideal]  # (n_users,)
    return _per_relevant(hits @ discount[: hits.shape[1]], ideal)


def _mrr(hits: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    ranks = np.arange(1, hits[:, :k].shape[1] + 1)
    best = (hits[:, :k] / ranks).max(axis=1, initial=0.0)  # (n_users,)
    return _per_relevant(best, np.minimum(n_relevant, 1))


def _map(hits: np.ndarray, n_relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    k, hits = hits.shape[1] if k is None else k, hits[:, :k]
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)  # (n_users, k)
    return _per_relevant((precision * hits).sum(axis=1), np.minimum(n_relevant, k))


def _per_relevant(gain: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """``gain / denominator``, nan where the denominator is 0."""
    return np.divide(gain, denominator, out=np.full(len(gain), np.nan), where=denominator > 0)


_METRICS = {"recall": _recall, "hit_rate": _hit_rate, "ndcg": _ndcg, "mrr": _mrr, "map": _map}


def _means(hits: np.ndarray, n_relevant: np.ndarray, metrics: dict[str, tuple]) -> dict[str, float]:
    """Mean over the users with relevant items of each of ``{label: (metric, k)}``."""
    scored = n_relevant > 0
    if not scored.any():
        message = "no user of y_true has a relevant item, so there is nothing to score: nan"
        warn(message, NothingToScoreWarning)
        return dict.fromkeys(metrics, float("nan"))
    values = {label: _METRICS[name](hits, n_relevant, k) for label, (name, k) in metrics.items()}
    return {label: float(value[scored].mean()) for label, value in values.items()}


def _parse_metrics(metrics: str | Sequence[str]) -> dict[str, tuple[str, int]]:
    """``["ndcg@10"]`` → ``{"ndcg@10": ("ndcg", 10)}``; one error lists every bad name."""
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    found = {n: re.fullmatch(r"(\w+)@([1-9][0-9]*)", n) for n in names if isinstance(n, str)}
    parsed = {n: (m[1], int(m[2])) for n, m in found.items() if m and m[1] in _METRICS}
    wrong = [_suggest(n) for n in names if not isinstance(n, str) or n not in parsed]
    if wrong or not names:
        raise InvalidInputError(
            f"metrics={metrics!r}: {'; '.join(wrong) or 'no name at all'}. Legal are "
            f"{', '.join(repr(name + '@<k>') for name in _METRICS)} with k a positive integer, "
            "such as 'ndcg@10'"
        )
    return parsed


def _suggest(name: Any) -> str:
    base, _, k = str(name).partition("@")
    close = difflib.get_close_matches(base.lower(), _METRICS, n=1, cutoff=0.5)
    k = k if re.fullmatch("[1-9][0-9]*", k) else "10"
    return f"unknown name {name!r}" + (f" (did you mean '{close[0]}@{k}'?)" if close else "")


# From ids to the integer core.

_Columns = tuple[Hashable, Hashable, Hashable | None]  # user, item, rank


def _score(
    name: str, y_true: Any, y_pred: Any, k: int, per_user: bool, columns: _Columns
) -> float | np.ndarray | pd.Series:
    k = check_count(k, "k")
    hits, n_relevant, users = _match(y_true, y_pred, k, columns)
    if not per_user:
        return _means(hits, n_relevant, {name: (name, k)})[name]
    values = _METRICS[name](hits, n_relevant, k)
    if users is None:
        return values
    return pd.Series(values, index=pd.Index(users, name=columns[0]), name=f"{name}@{k}")


def _match(
    y_true: Any, y_pred: Any, k: int, columns: _Columns
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """TopK (n_users, at most k), n_relevant (n_users,) and the user ids (None for sequences)."""
    if is_frame(y_true) != is_frame(y_pred):
        raise InvalidInputError(
            f"y_true is a {type(y_true).__name__} and y_pred a {type(y_pred).__name__}: give two "
            "frames (matched by user id) or two sequences, an entry per user (matched by position)"
        )
    true_users, true_items, n_users, user_ids = _read(y_true, "y_true", columns)
    users, items, n_pred, pred_ids = _read(y_pred, "y_pred", columns)
    if user_ids is None and n_users != n_pred:
        raise InvalidInputError(
            f"y_true has {n_users} users and y_pred {n_pred}; sequences are matched by position, "
            "so both need one entry per user (an empty list where there is nothing)"
        )
    if user_ids is not None:
        _, codes, _ = _joint_codes(user_ids, pred_ids, "user ids of y_true")
        users = codes[users]
    true_items, items, item_ids = _joint_codes(true_items, items, "item ids of y_true")
    codes = _top(users, items, n_users, k)
    _check_no_repeats(codes, user_ids, item_ids)
    hits = _hits(codes, true_users, true_items, n_users)
    return hits, _n_relevant(true_users, true_items, n_users), user_ids


def _read(y: Any, name: str, columns: _Columns) -> tuple[np.ndarray, np.ndarray, int, Any]:
    """User codes, item ids (best first), number of users, user ids by code (None: a sequence)."""
    if not is_frame(y):
        return *_flatten(y, name), None
    user, item, rank = columns
    users = id_array(take_column(y, user, "user_col"), f"column {user!r} of {name}")
    items = id_array(take_column(y, item, "item_col"), f"column {item!r} of {name}")
    if name == "y_pred" and rank is not None:
        ranks = pd.to_numeric(take_column(y, rank, "rank_col"), errors="coerce")
        if ranks.isna().any():
            raise InvalidInputError(
                f"column {rank!r} of y_pred has no number in row {ranks.isna().argmax()}; ranks "
                "are numbers, the lowest the best. Set rank_col=None if the rows are in order"
            )
        order = ranks.to_numpy().argsort(kind="stable")
        users, items = users[order], items[order]
    users, user_ids = pd.factorize(users)
    return users, items, len(user_ids), user_ids


def _flatten(lists: Any, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Row of each id, the ids, and the number of rows; rows of ``y_true`` may be one id."""
    for method in ("to_pylist", "to_list"):  # arrow; pandas and polars
        lists = getattr(lists, method)() if hasattr(lists, method) else lists
    legal = pd.api.types.is_list_like(lists) and not isinstance(lists, Mapping | set)
    if not legal or getattr(lists, "ndim", 1) > 2:
        kind = type(lists).__name__
        raise InvalidInputError(f"{name} is a {kind}; give a frame or a list, one entry per user")
    lists = lists if isinstance(lists, np.ndarray) else list(lists)
    if isinstance(lists, np.ndarray) and lists.ndim == 2:
        values = pd.Series(lists.ravel(), index=np.repeat(np.arange(len(lists)), lists.shape[1]))
    else:
        rows = pd.Series(list(lists), dtype=object)
        flat = ~(rows.map(pd.api.types.is_list_like).astype(bool) | rows.isna())
        if name == "y_pred" and flat.any():
            raise InvalidInputError(
                f"{name} must have a list of ids per user, best first, but row {flat.argmax()} is "
                f"{rows[flat.argmax()]!r}"
            )
        values = rows.explode()
    values = values[values.notna()]
    return values.index.to_numpy(np.int64), id_array(values, name), len(lists)


def _joint_codes(true: np.ndarray, pred: np.ndarray, what: str) -> tuple[np.ndarray, ...]:
    """Codes of both id arrays in one numbering, which starts with ``true``, and the ids by code."""
    kinds = [id_kind(true), id_kind(pred)]
    if len(set(kinds) - {"mixed", "empty"}) > 1:
        raise IdTypeError(
            f"the {what} are of the kind {kinds[0]!r} and those of y_pred {kinds[1]!r}, "
            "so none can match; convert one of them first"
        )
    true, pred = _whole(true), _whole(pred)
    if true.dtype.kind != pred.dtype.kind:  # numpy would round large integers or turn 1 into "1"
        true, pred = (pd.Series(ids).astype(object).to_numpy() for ids in (true, pred))
    codes, ids = pd.factorize(np.concatenate([true, pred]))
    return codes[: len(true)], codes[len(true) :], ids


def _whole(ids: np.ndarray) -> np.ndarray:
    """Float ids that are whole numbers as integers: an array padded with nan has floats."""
    if ids.dtype.kind == "f" and ((ids == np.trunc(ids)) & (np.abs(ids) < 2.0**63)).all():
        return ids.astype(np.int64)
    return ids


def _top(users: np.ndarray, items: np.ndarray, n_users: int, k: int) -> np.ndarray:
    """First ``k`` item codes of each user, (n_users, at most k) padded with -1."""
    order = users.argsort(kind="stable")
    order = order[users[order] < n_users]
    users, items = users[order], items[order]
    ranks = np.arange(len(users)) - users.searchsorted(users)  # from 0
    kept = ranks < k
    top = np.full((n_users, min(k, int(ranks.max(initial=-1)) + 1)), -1, dtype=np.int64)
    top[users[kept], ranks[kept]] = items[kept]
    return top


def _check_no_repeats(codes: np.ndarray, user_ids: np.ndarray | None, item_ids: np.ndarray) -> None:
    rows, columns = np.nonzero(codes >= 0)
    keys = rows * np.int64(len(item_ids)) + codes[rows, columns]
    repeated = pd.Series(keys).duplicated()
    if repeated.any():
        row, code = divmod(int(keys[repeated.argmax()]), len(item_ids))
        user = f"in row {row}" if user_ids is None else f"{user_ids.astype(object)[row]!r}"
        raise InvalidInputError(
            f"y_pred recommends the item {item_ids.astype(object)[code]!r} more than once to the "
            f"user {user}; drop the repetitions, which would count as further hits"
        )


def _vector_rows(items: np.ndarray, item_ids: Any, n_vectors: int) -> np.ndarray:
    """Row of ``item_vectors`` of each recommended item."""
    known = np.arange(n_vectors) if item_ids is None else id_array(item_ids, "item_ids")
    if len(known) != n_vectors or not pd.Index(known).is_unique:
        raise InvalidInputError(
            f"item_ids has {len(known)} ids, {len(pd.unique(known))} of them distinct, but "
            f"item_vectors has {n_vectors} rows; give each row an id of its own"
        )
    _, rows, ids = _joint_codes(known, items, "item_ids")
    if len(ids) > n_vectors:
        item = ids.astype(object)[n_vectors]
        advice = "set item_ids= to the ids of the rows" if item_ids is None else "add its vector"
        raise UnknownIdError(
            f"y_pred recommends the item {item!r}, which has no row in item_vectors "
            f"({len(ids) - n_vectors} such items); {advice}"
        )
    return rows


def _pair_cosines(top: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Sum over all pairs of a list of their cosine, (n_users,): (|Σv|² − Σ|v|²) / 2."""
    norms = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(norms > 0, norms, 1.0)[:, None]
    rows, columns = np.nonzero(top >= 0)
    items = top[rows, columns]
    lists = sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=(len(top), len(vectors)))
    lengths = np.bincount(rows, weights=norms[items] > 0, minlength=len(top))
    return (((lists @ unit) ** 2).sum(axis=1) - lengths) / 2
