r"""Relevant and recommended items → recall, hit rate, NDCG, MRR, MAP, coverage, diversity.

Each ranking metric is a mean over users of a value that depends on the first ``k`` items of the
user's list. The docstring of each metric gives the value, where :math:`h_{ur}` is 1 if the item at
rank :math:`r` of user :math:`u` is relevant, else 0, and :math:`n_u` is the number of distinct
relevant items of the user, whether or not they can be recommended. Users without relevant items
have no value and are left out of the mean.

There are two forms of input:

* two tables: ``y_true`` has the columns ``user_id`` and ``item_id``; ``y_pred`` has these and
  ``rank``, as :meth:`MINDRecommender.recommend` returns it. They are matched by user id. Users in
  ``y_true`` without recommendations have the value 0; users only in ``y_pred`` are ignored;
* two sequences with one entry per user, matched by position: an entry of ``y_true`` is a relevant
  id or a list of relevant ids; an entry of ``y_pred`` is a list of ids, best first, padded with
  None or NaN.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from .._checks import check_count, warn
from ..exceptions import InvalidInputError, NothingToScoreWarning
from ._core import intra_list_diversity, mean_over_users, values_per_user
from ._inputs import Columns, match_lists, parse_metrics, read_lists, top_codes, vector_rows

__all__ = [
    "coverage_at_k",
    "evaluate",
    "hit_rate_at_k",
    "intra_list_diversity_at_k",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "recall_at_k",
]


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
    r"""Share of the relevant items of a user that are among the first ``k`` recommendations.

    .. math:: \mathrm{recall}_u = \frac{1}{n_u} \sum_{r=1}^{k} h_{ur}

    The denominator is the number of relevant items, not ``min(k, n_u)``, so a user with more than
    ``k`` relevant items can't reach 1.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items: a frame with the columns ``user_col`` and ``item_col`` and one row per
        relevant item, or a sequence with an id or a list of ids per user. An empty list, None or
        NaN means that no item is relevant. An id that occurs twice for a user counts once.
    y_pred : frame or sequence of length n_users
        The recommendations: the frame of :meth:`MINDRecommender.recommend`, or a sequence with a
        list of ids per user, best first. None and NaN are padding. Gaps in the ranks are ignored.
    k : int, default=10
        Number of recommendations per user that count, at least 1. Lists may be shorter. Raising it
        never lowers the value.
    per_user : bool, default=False
        Whether to return one value per user instead of the mean.
    user_col, item_col : str or int, default="user_id", "item_id"
        Columns of both frames. Not used with sequences.
    rank_col : str, int or None, default="rank"
        Column of the ranks in the frame ``y_pred``. The lowest rank is the best, and rows of equal
        rank stay in order. If None, the order of the rows is the rank.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        The mean over the users with relevant items; nan if there are none. If ``per_user`` is
        True, one value per user, nan for users without relevant items: for frames a Series indexed
        by user id, in the order of ``y_true``, for sequences an array.

    Raises
    ------
    InvalidInputError
        If a column is missing, only one input is a frame, the lengths differ, an item is
        recommended twice to a user, or ``k`` is not a positive integer.
    IdTypeError
        If the ids of one input are numbers and the ids of the other are text.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

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
    columns = Columns(user_col, item_col, rank_col)
    return _compute("recall", y_true, y_pred, k, per_user, columns)


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
    r"""Share of users with at least one relevant item among the first ``k`` recommendations.

    .. math:: \mathrm{hit\ rate}_u = \max_{r \le k} h_{ur}

    The denominator is the number of users with relevant items. With one relevant item per user,
    the hit rate equals :func:`recall_at_k`.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
        The relevant items and the recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1. Raising it never lowers the
        value.
    per_user : bool, default=False
        Whether to return one value per user instead of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        As for :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As for :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import hit_rate_at_k
    >>> hit_rate_at_k(["tea", "rum"], [["gin", "tea"], ["gin", "tea"]], k=2)
    0.5
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("hit_rate", y_true, y_pred, k, per_user, columns)


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

    The gain is binary. The denominator is the gain of an ideal list, which begins with
    ``min(k, n_u)`` relevant items, so every user can reach 1.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
        The relevant items and the recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    per_user : bool, default=False
        Whether to return one value per user instead of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        As for :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As for :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import ndcg_at_k
    >>> ndcg_at_k(["tea", "rum"], [["gin", "rum", "tea"], ["rum", "gin", "tea"]], k=3)
    0.75
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("ndcg", y_true, y_pred, k, per_user, columns)


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
    r"""Mean reciprocal rank of the first relevant item among the first ``k`` recommendations.

    .. math:: \mathrm{RR}_u = \max_{r \le k} \frac{h_{ur}}{r}

    The value is 0 if none of the ``k`` items is relevant.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
        The relevant items and the recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1. Raising it never lowers the
        value.
    per_user : bool, default=False
        Whether to return one value per user instead of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        As for :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As for :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import mrr_at_k
    >>> mrr_at_k(["tea", "rum"], [["gin", "tea"], ["rum", "tea"]], k=2)
    0.75
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("mrr", y_true, y_pred, k, per_user, columns)


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

    The denominator is ``min(k, n_u)``, so every user can reach 1. (``map_cut`` of trec_eval divides
    by ``n_u``.)

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
        The relevant items and the recommendations, see :func:`recall_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    per_user : bool, default=False
        Whether to return one value per user instead of the mean.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    float, Series or ndarray of shape (n_users,), float64
        As for :func:`recall_at_k`.

    Raises
    ------
    InvalidInputError, IdTypeError
        As for :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import map_at_k
    >>> map_at_k([["tea", "milk"]], [["gin", "tea", "rum", "milk"]], k=4)
    0.5
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("map", y_true, y_pred, k, per_user, columns)


def evaluate(
    y_true: Any,
    y_pred: Any,
    metrics: str | Sequence[str] = ("ndcg@10", "hit_rate@10"),
    *,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> dict[str, float]:
    """Compute several metrics of one ranking; it is matched with the relevant items only once.

    Parameters
    ----------
    y_true : frame or sequence of length n_users
        The relevant items, see :func:`recall_at_k`.
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`; each list as long as the largest ``k``.
    metrics : str or sequence of str, default=("ndcg@10", "hit_rate@10")
        Names of the form ``"<metric>@<k>"``. The metric is ``"recall"``, ``"hit_rate"``,
        ``"ndcg"``, ``"mrr"`` or ``"map"``, and k a positive integer.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    dict of str to float
        The mean of each metric over the users with relevant items, by name.

    Raises
    ------
    InvalidInputError
        If a name is unknown (the message lists all unknown and all valid names), and as for
        :func:`recall_at_k`.
    IdTypeError
        As for :func:`recall_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; all values are nan.

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
    parsed = parse_metrics(metrics)
    k_max = max(k for _, k in parsed.values())
    columns = Columns(user_col, item_col, rank_col)
    relevance, n_relevant, _ = match_lists(y_true, y_pred, k_max, columns)
    return mean_over_users(relevance, n_relevant, parsed)


def coverage_at_k(
    y_pred: Any,
    n_items: int,
    *,
    k: int = 10,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float:
    r"""Share of the catalogue that is among the first ``k`` recommendations of any user.

    .. math:: \mathrm{coverage} = \frac{1}{n_{items}} \Big| \bigcup_u L_u^k \Big|

    where :math:`L_u^k` is the set of the first ``k`` items of user :math:`u`.

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    n_items : int
        Number of items in the catalogue, the denominator. At least the number of distinct
        recommended items.
    k : int, default=10
        Number of recommendations per user that count, at least 1. Raising it never lowers the
        value.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame, see :func:`recall_at_k`.

    Returns
    -------
    float
        From 0 (nothing is recommended) to 1 (every item is recommended to some user).

    Raises
    ------
    InvalidInputError
        If more than ``n_items`` items are recommended, or an argument is invalid.

    Examples
    --------
    >>> from skmind.metrics import coverage_at_k
    >>> coverage_at_k([["tea", "gin"], ["tea", "rum"]], n_items=4, k=2)
    0.75
    """
    n_items = check_count(n_items, "n_items")
    k = check_count(k, "k")
    lists = read_lists(y_pred, "y_pred", Columns(user_col, item_col, rank_col))
    items, _ = pd.factorize(lists.items)
    codes = top_codes(lists.users, items, lists.n_users, k)
    n_recommended = len(np.unique(codes[codes >= 0]))
    if n_recommended > n_items:
        raise InvalidInputError(
            f"n_items={n_items} is less than the {n_recommended} items that y_pred recommends; "
            "give the number of all items that can be recommended"
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
    r"""Mean cosine distance between the items of a list of ``k`` recommendations.

    .. math::

        \mathrm{ILD}_u = \frac{2}{m (m - 1)} \sum_{r < s \le m} \big(1 - \cos(v_{ur}, v_{us})\big)

    where :math:`m \le k` is the length of the user's list and :math:`v_{ur}` the vector of its item
    at rank :math:`r`. The mean is over the users with :math:`m \ge 2`. The cosine of a vector of
    zeros with any vector is 0.

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    item_vectors : array-like of shape (n_items, n_features)
        One vector per item, such as ``item_embeddings_``.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        Id of each row of ``item_vectors``, such as ``items_``. If None, the ids are the row numbers
        from 0.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame, see :func:`recall_at_k`.

    Returns
    -------
    float
        From 0 (the vectors of a list have the same direction) to 2; nan if no list has two items.

    Raises
    ------
    UnknownIdError
        If a recommended item has no vector.
    InvalidInputError
        If ``item_ids`` has repeated ids or another length than ``item_vectors``, or an argument
        is invalid.

    Warns
    -----
    NothingToScoreWarning
        If no list has two items; the diversity is nan.

    Examples
    --------
    >>> from skmind.metrics import intra_list_diversity_at_k
    >>> vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]
    >>> intra_list_diversity_at_k([[0, 1], [1, 2]], vectors, k=2)
    0.5
    """
    k = check_count(k, "k")
    vectors = check_array(item_vectors, dtype=np.float64, input_name="item_vectors")
    lists = read_lists(y_pred, "y_pred", Columns(user_col, item_col, rank_col))
    rows = vector_rows(lists.items, item_ids, len(vectors))
    codes = top_codes(lists.users, rows, lists.n_users, k)
    has_pair = (codes >= 0).sum(axis=1) >= 2
    if not has_pair.any():
        message = f"no user of y_pred has two recommendations within k={k}; the diversity is nan"
        warn(message, NothingToScoreWarning)
        return float("nan")
    return float(intra_list_diversity(codes[has_pair], vectors).mean())


def _compute(
    name: str, y_true: Any, y_pred: Any, k: int, per_user: bool, columns: Columns
) -> float | np.ndarray | pd.Series:
    """Compute one metric, the mean or one value per user."""
    k = check_count(k, "k")
    relevance, n_relevant, user_ids = match_lists(y_true, y_pred, k, columns)
    label = f"{name}@{k}"
    metrics = {label: (name, k)}
    if not per_user:
        return mean_over_users(relevance, n_relevant, metrics)[label]
    values = values_per_user(relevance, n_relevant, metrics)[label]
    if user_ids is None:
        return values
    return pd.Series(values, index=pd.Index(user_ids, name=columns.user), name=label)
