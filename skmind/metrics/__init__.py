r"""Relevant and recommended items → recall, precision, hit rate, NDCG, MRR, MAP, and others.

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
  None or NaN. Two Series are matched by their index instead, which names the users: both must have
  the same users, each once.

Coverage, novelty, average popularity and intra-list diversity look at the recommendations only.
They are over all users of ``y_pred``.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .._checks import check_count, warn
from ..exceptions import InvalidInputError, NothingToScoreWarning
from ._core import (
    METRIC_FUNCTIONS,
    intra_list_diversity,
    mean_over_users,
    mean_popularity,
    mean_self_information,
    popularity_expectation,
    values_per_user,
)
from ._inputs import (
    Columns,
    Matched,
    match_lists,
    parse_metrics,
    read_item_counts,
    read_item_vectors,
    read_lists,
    top_codes,
    vector_rows,
)

__all__ = [
    "average_popularity_at_k",
    "coverage_at_k",
    "evaluate",
    "hit_rate_at_k",
    "intra_list_diversity_at_k",
    "map_at_k",
    "mrr_at_k",
    "ndcg_at_k",
    "novelty_at_k",
    "precision_at_k",
    "recall_at_k",
    "serendipity_at_k",
]

# Arguments of `evaluate` without which a metric has no value, and what a fitted model has of each.
NEEDED_ARGUMENTS = {
    "coverage": "n_items",
    "novelty": "item_counts",
    "average_popularity": "item_counts",
    "serendipity": "item_counts",
    "intra_list_diversity": "item_vectors",
}
ARGUMENTS_OF_MODEL = {
    "n_items": "n_items=len(model.items_)",
    "item_counts": "item_counts=model.item_counts_ and item_ids=model.items_",
    "item_vectors": "item_vectors=model.item_embeddings_ and item_ids=model.items_",
}


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
        list of ids per user, best first; not a set. None and NaN are padding. Gaps in the ranks
        are ignored.
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
        If a column is missing, only one input is a frame, the lengths or the indexes of two Series
        differ, only one input is a Series with an index that names users, an index names a user
        twice, an item is recommended twice to a user, a list of ``y_pred`` is a set, ids are floats
        that may stand for several integers, or ``k`` is not a positive integer.
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


def precision_at_k(
    y_true: Any,
    y_pred: Any,
    *,
    k: int = 10,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""Share of the first ``k`` recommendations that are relevant.

    .. math:: \mathrm{precision}_u = \frac{1}{k} \sum_{r=1}^{k} h_{ur}

    The denominator is ``k``, also where a list is shorter or a user has fewer relevant items.

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
    >>> from skmind.metrics import precision_at_k
    >>> precision_at_k([["tea", "milk"], ["rum"]], [["tea", "milk"], ["gin", "tea"]], k=2)
    0.5
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("precision", y_true, y_pred, k, per_user, columns)


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
    n_items: int | None = None,
    item_counts: Any = None,
    item_vectors: Any = None,
    item_ids: Any = None,
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
        Names of the form ``"<metric>@<k>"``, where k is a positive integer. The metric is
        ``"recall"``, ``"precision"``, ``"hit_rate"``, ``"ndcg"``, ``"mrr"``, ``"map"``,
        ``"serendipity"``, ``"coverage"``, ``"novelty"``, ``"average_popularity"`` or
        ``"intra_list_diversity"``.
    n_items : int or None, default=None
        Number of items in the catalogue; needed for ``"coverage"``.
    item_counts : Series, dict, or array-like of shape (n_items,), or None, default=None
        Number of interactions of each item; needed for ``"novelty"``, ``"average_popularity"`` and
        ``"serendipity"``. See :func:`novelty_at_k`.
    item_vectors : frame, dict, Series, array-like of shape (n_items, n_features), default=None
        One vector per item; needed for ``"intra_list_diversity"``. See
        :func:`intra_list_diversity_at_k`.
    item_ids : array-like of shape (n_items,), default=None
        Id of each row of ``item_counts`` and ``item_vectors``, if they have none in their index.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frames, see :func:`recall_at_k`.

    Returns
    -------
    dict of str to float
        The value of each metric by name, as its function returns it.

    Raises
    ------
    InvalidInputError
        If a name is unknown (the message lists all unknown names and the valid ones), an argument
        that a metric needs is None, and as for the functions of the metrics.
    IdTypeError, UnknownIdError
        As for the functions of the metrics.

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
    given: dict[str, Any] = {
        "n_items": n_items,
        "item_counts": item_counts,
        "item_vectors": item_vectors,
    }
    for label, (name, _) in parsed.items():
        needed = NEEDED_ARGUMENTS.get(name)
        if needed and given[needed] is None:
            raise InvalidInputError(
                f"metrics={metrics!r}: {label!r} needs {needed}=; for a fitted model set "
                f"{ARGUMENTS_OF_MODEL[needed]}"
            )
    columns = Columns(user_col, item_col, rank_col)
    values = {}
    matching = {
        label: metric
        for label, metric in parsed.items()
        if metric[0] in METRIC_FUNCTIONS or metric[0] == "serendipity"
    }
    if matching:
        k_max = max(k for _, k in matching.values())
        matched = match_lists(y_true, y_pred, k_max, columns)
        expected = None
        if any(name == "serendipity" for name, _ in matching.values()):
            expected = _expected_by_popularity(matched, item_counts, item_ids, columns.item)
        values = mean_over_users(matched.relevance, matched.n_relevant, matching, expected)
    by_name = columns._asdict()
    columns_of_lists = {f"{name}_col": column for name, column in by_name.items()}
    for label, (name, k) in parsed.items():
        if name == "coverage":
            values[label] = coverage_at_k(y_pred, given["n_items"], k=k, **columns_of_lists)
        elif name == "novelty":
            values[label] = novelty_at_k(
                y_pred, item_counts, k=k, item_ids=item_ids, **columns_of_lists
            )
        elif name == "average_popularity":
            values[label] = average_popularity_at_k(
                y_pred, item_counts, k=k, item_ids=item_ids, **columns_of_lists
            )
        elif name == "intra_list_diversity":
            values[label] = intra_list_diversity_at_k(
                y_pred, item_vectors, k=k, item_ids=item_ids, **columns_of_lists
            )
    return {label: values[label] for label in parsed}


def serendipity_at_k(
    y_true: Any,
    y_pred: Any,
    item_counts: Any,
    *,
    k: int = 10,
    item_ids: Any = None,
    per_user: bool = False,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float | np.ndarray | pd.Series:
    r"""How much better relevant items are placed than popularity would place them.

    .. math::

        \mathrm{serendipity}_u = \frac{1}{k} \sum_{r=1}^{k} h_{ur}
            \max\Big(\frac{n + 1 - r}{n} - \frac{n + 1 - p_{ur}}{n}, 0\Big)

    where :math:`n` is the number of items in ``item_counts`` and :math:`p_{ur}` the place of the
    item at rank :math:`r` by popularity, from 1. Equally frequent items share a place, and the next
    ones have the next place. For items without interactions the second fraction is 0. This is the
    definition of RecTools. The value is 0 if all relevant items among the first ``k`` are popular
    ones, and never above 1.

    Parameters
    ----------
    y_true, y_pred : frame or sequence of length n_users
        The relevant items and the recommendations, see :func:`recall_at_k`.
    item_counts : Series, dict, or array-like of shape (n_items,)
        Number of interactions of each item of the catalogue, see :func:`novelty_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        Id of each count, if ``item_counts`` has none.
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
        As for :func:`recall_at_k` and :func:`novelty_at_k`.
    UnknownIdError
        If a recommended item has no count.

    Warns
    -----
    NothingToScoreWarning
        If no user has a relevant item; the mean is nan.

    Examples
    --------
    >>> from skmind.metrics import serendipity_at_k
    >>> counts = {"tea": 9, "milk": 5, "gin": 2, "rum": 1}
    >>> serendipity_at_k([["tea"], ["rum"]], [["tea", "gin"], ["rum", "tea"]], counts, k=1)
    0.375
    """
    columns = Columns(user_col, item_col, rank_col)
    return _compute("serendipity", y_true, y_pred, k, per_user, columns, item_counts, item_ids)


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
    item_vectors : frame, dict or Series of vectors, or array-like of shape (n_items, n_features)
        One vector per item, such as ``item_embeddings_``. A pandas frame or Series may have the
        item ids in its index; a dict has them in its keys.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        Id of each row of ``item_vectors``, such as ``items_``, if the rows have no index of their
        own.
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
        If ``item_ids`` has repeated ids or another length than ``item_vectors``, or is None where
        ``item_vectors`` has no ids, the vectors are not finite numbers or differ in length, or
        another argument is invalid.

    Warns
    -----
    NothingToScoreWarning
        If no list has two items; the diversity is nan.

    Examples
    --------
    >>> from skmind.metrics import intra_list_diversity_at_k
    >>> vectors = [[1.0, 0.0], [0.0, 1.0], [0.0, 3.0]]
    >>> intra_list_diversity_at_k([["a", "b"], ["b", "c"]], vectors, k=2, item_ids=["a", "b", "c"])
    0.5
    """
    k = check_count(k, "k")
    vectors, item_ids = read_item_vectors(item_vectors, item_ids, item_col)
    lists = read_lists(y_pred, "y_pred", Columns(user_col, item_col, rank_col))
    rows = vector_rows(lists.items, item_ids, len(vectors))
    codes = top_codes(lists.users, rows, lists.n_users, k)
    has_pair = (codes >= 0).sum(axis=1) >= 2
    if not has_pair.any():
        message = f"no user of y_pred has two recommendations within k={k}; the diversity is nan"
        warn(message, NothingToScoreWarning)
        return float("nan")
    return float(intra_list_diversity(codes[has_pair], vectors).mean())


def novelty_at_k(
    y_pred: Any,
    item_counts: Any,
    *,
    k: int = 10,
    item_ids: Any = None,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float:
    r"""Mean self-information of the first ``k`` recommendations, in bits.

    .. math::

        \mathrm{novelty}_u = \frac{1}{m} \sum_{r=1}^{m} -\log_2 \frac{c_{ur}}{\sum_i c_i}

    where :math:`m \le k` is the length of the user's list, :math:`c_{ur}` the number of
    interactions of its item at rank :math:`r`, and the sum of all counts is the number of
    interactions. Items without interactions count as if they had one. The mean is over the users
    with recommendations. Rare items have high values. (The novelty of Microsoft's ``recommenders``
    is the mean over all recommended items; ``MeanInvUserFreq`` of RecTools has the share of the
    users instead of that of the interactions.)

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    item_counts : Series, dict, or array-like of shape (n_items,)
        Number of interactions of each item in training, such as ``item_counts_``. A Series has the
        item ids in its index, such as ``X["item_id"].value_counts()``, and a dict in its keys.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        Id of each count, such as ``items_``, if ``item_counts`` has none.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame, see :func:`recall_at_k`.

    Returns
    -------
    float
        At least 0; nan if nothing is recommended.

    Raises
    ------
    UnknownIdError
        If a recommended item has no count.
    InvalidInputError
        If the counts have no ids or repeated ones, are not finite numbers of at least 0, are all 0,
        or are shares below 1, or another argument is invalid.

    Warns
    -----
    NothingToScoreWarning
        If nothing is recommended; the novelty is nan.

    Examples
    --------
    >>> from skmind.metrics import novelty_at_k
    >>> novelty_at_k([["tea"], ["gin"]], {"tea": 4, "gin": 2, "rum": 2}, k=1)
    1.5
    """
    columns = Columns(user_col, item_col, rank_col)
    codes, counts = _lists_with_counts(y_pred, item_counts, item_ids, k, columns)
    shares = counts[(counts > 0) & (counts < 1)]
    if len(shares):
        raise InvalidInputError(
            f"item_counts has the value {shares[0]:g}, which looks like a share; give numbers of "
            "interactions, such as X['item_id'].value_counts() without normalize=True"
        )
    return _mean_of_lists(mean_self_information(codes, counts), "novelty")


def average_popularity_at_k(
    y_pred: Any,
    item_counts: Any,
    *,
    k: int = 10,
    item_ids: Any = None,
    user_col: Hashable = "user_id",
    item_col: Hashable = "item_id",
    rank_col: Hashable | None = "rank",
) -> float:
    r"""Mean number of interactions of the first ``k`` recommendations.

    .. math:: \mathrm{ARP}_u = \frac{1}{m} \sum_{r=1}^{m} c_{ur}

    where :math:`m \le k` is the length of the user's list and :math:`c_{ur}` the number of
    interactions of its item at rank :math:`r`. The mean is over the users with recommendations.

    Parameters
    ----------
    y_pred : frame or sequence of length n_users
        The recommendations, see :func:`recall_at_k`.
    item_counts : Series, dict, or array-like of shape (n_items,)
        Number of interactions of each item in training, see :func:`novelty_at_k`.
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    item_ids : array-like of shape (n_items,), default=None
        Id of each count, if ``item_counts`` has none.
    user_col, item_col, rank_col : str or int, default="user_id", "item_id", "rank"
        Columns of the frame, see :func:`recall_at_k`.

    Returns
    -------
    float
        At least 0; nan if nothing is recommended.

    Raises
    ------
    UnknownIdError, InvalidInputError
        As for :func:`novelty_at_k`.

    Warns
    -----
    NothingToScoreWarning
        If nothing is recommended; the popularity is nan.

    Examples
    --------
    >>> from skmind.metrics import average_popularity_at_k
    >>> average_popularity_at_k([["tea", "gin"], ["gin"]], {"tea": 4, "gin": 2}, k=2)
    2.5
    """
    columns = Columns(user_col, item_col, rank_col)
    codes, counts = _lists_with_counts(y_pred, item_counts, item_ids, k, columns)
    return _mean_of_lists(mean_popularity(codes, counts), "popularity")


def _lists_with_counts(
    y_pred: Any, item_counts: Any, item_ids: Any, k: int, columns: Columns
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first ``k`` items of each list as rows of the counts, and the counts."""
    k = check_count(k, "k")
    counts, item_ids = read_item_counts(item_counts, item_ids, columns.item)
    lists = read_lists(y_pred, "y_pred", columns)
    rows = vector_rows(lists.items, item_ids, len(counts), "item_counts")
    return top_codes(lists.users, rows, lists.n_users, k), counts


def _mean_of_lists(values: np.ndarray, name: str) -> float:
    """Return the mean over the lists that are not empty; nan if all are."""
    values = values[~np.isnan(values)]
    if not len(values):
        warn(f"y_pred has no recommendations; the {name} is nan", NothingToScoreWarning)
        return float("nan")
    return float(values.mean())


def _expected_by_popularity(
    matched: Matched, item_counts: Any, item_ids: Any, item_col: Hashable
) -> tuple[np.ndarray, int]:
    """Return the `popularity_expectation` of each recommended item, and the number of items."""
    counts, item_ids = read_item_counts(item_counts, item_ids, item_col)
    used = np.unique(matched.codes[matched.codes >= 0])
    rows = vector_rows(matched.item_ids[used], item_ids, len(counts), "item_counts")
    expectations = np.zeros(len(matched.item_ids) + 1)  # the last one is that of padding
    expectations[used] = popularity_expectation(counts)[rows]
    return expectations[matched.codes], len(counts)


def _compute(
    name: str,
    y_true: Any,
    y_pred: Any,
    k: int,
    per_user: bool,
    columns: Columns,
    item_counts: Any = None,
    item_ids: Any = None,
) -> float | np.ndarray | pd.Series:
    """Compute one metric, the mean or one value per user."""
    k = check_count(k, "k")
    matched = match_lists(y_true, y_pred, k, columns)
    expected = None
    if name == "serendipity":
        expected = _expected_by_popularity(matched, item_counts, item_ids, columns.item)
    label = f"{name}@{k}"
    metrics = {label: (name, k)}
    relevance, n_relevant = matched.relevance, matched.n_relevant
    if not per_user:
        return mean_over_users(relevance, n_relevant, metrics, expected)[label]
    values = values_per_user(relevance, n_relevant, metrics, None, expected)[label]
    if matched.user_ids is None:
        return values
    return pd.Series(values, index=pd.Index(matched.user_ids, name=columns.user), name=label)
