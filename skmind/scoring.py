"""Fitted models and interactions → ranking metrics: scorers, and a comparison of two models.

A model is a fitted `MINDRecommender`, a Pipeline that ends in one, or a search over these. Its
`target_ranks` is called once for all metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED

from ._checks import check_count, check_option
from .data.formats import as_table
from .data.ragged import pair_keys
from .exceptions import InvalidInputError
from .metrics._core import (
    METRIC_FUNCTIONS,
    intra_list_diversity,
    mean_popularity,
    mean_self_information,
    popularity_expectation,
    values_per_user,
)
from .metrics._inputs import LIST_METRICS, parse_metrics
from .retrieval.base import Index
from .retrieval.query import RecommendQuery, check_exclude_seen
from .retrieval.ranks import count_ranks
from .retrieval.search import retrieve

__all__ = ["compare", "make_ranking_scorer"]

BOOTSTRAP_BATCH_VALUES = 10_000_000  # values of bootstrap samples held at a time
UNSEEN_USERS_OPTIONS = ("fold_in", "skip", "popular", "error")

MAX_SEARCHED_K = 100  # up to this k, ranks are places in the lists of a search; above, counted
BLOCK_PLACES = 2**24  # places in lists that are held at once: 192 MiB

_Metrics = dict[str, tuple[str, int]]  # label → metric, k
_Visit = Callable[[np.ndarray], None]  # is called with item codes (b, k), block by block


def make_ranking_scorer(
    metric: Any, *, k: Any, unseen_users: str = "fold_in", exclude_seen: bool | None = None
) -> _RankingScorer:
    """Make a scorer for the parameter ``scoring`` of searches and `cross_validate`.

    Parameters
    ----------
    metric : str or list of str
        "recall", "precision", "hit_rate", "ndcg", "mrr", "map", "serendipity", "coverage",
        "novelty", "average_popularity" or "intra_list_diversity"; see :mod:`skmind.metrics`. What
        they need of the items is that of the fitted model: ``item_counts_``, ``item_embeddings_``
        and the length of ``items_``. The last four are of the lists of the scored users, whatever
        is to be found. A search maximises, so select by none of the last three alone.
    k : int or list of int
        Number of recommendations per user that count, at least 1. Above the number of items the
        result is that for all items, except that precision and serendipity divide by ``k``.
    unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
        How to treat users that ``fit`` has not seen; see `MINDRecommender.target_ranks`.
    exclude_seen : bool or None, default=None
        Whether to leave out the items of a user's history, except the items to be found. If False,
        they keep their places in the ranking, as in libraries that filter after ranking. None: as
        the parameter ``exclude_seen`` of the recommender.

    Returns
    -------
    callable ``(estimator, X, y=None, sample_weight=None)``
        It returns a float. With a list of metrics or of k it returns a dict of every metric at
        every k, such as ``{"ndcg@10": 0.1, "recall@50": 0.3}``, from one ranking; in a search,
        ``refit="ndcg@10"`` selects the metric that counts. The scorer can be pickled and cloned.
        With metadata routing, ``set_score_request(sample_weight=True)`` requests weights.

    Raises
    ------
    InvalidInputError
        If a metric, k, ``unseen_users`` or ``exclude_seen`` is invalid.

    Examples
    --------
    >>> from sklearn.model_selection import cross_validate
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.model_selection import LeaveLastOut
    >>> from skmind.scoring import make_ranking_scorer
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> scorer = make_ranking_scorer(["ndcg", "recall"], k=[10, 50])
    >>> rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0)
    >>> scores = cross_validate(rec, X, cv=LeaveLastOut(), scoring=scorer)
    >>> [name for name in scores if name.startswith("test")]
    ['test_ndcg@10', 'test_ndcg@50', 'test_recall@10', 'test_recall@50']
    """
    _label_metrics(metric, k)
    check_option(unseen_users, "unseen_users", UNSEEN_USERS_OPTIONS)
    check_exclude_seen(exclude_seen)
    return _RankingScorer(metric, k, unseen_users, exclude_seen)


class _RankingScorer(BaseEstimator):
    """Scorer of `make_ranking_scorer`; a BaseEstimator for clone, repr and metadata routing."""

    __metadata_request__score = {"estimator": UNUSED}

    def __init__(self, metric: Any, k: Any, unseen_users: str, exclude_seen: bool | None) -> None:
        self.metric = metric
        self.k = k
        self.unseen_users = unseen_users
        self.exclude_seen = exclude_seen

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float | dict[str, float]:
        """Compute the metrics of a fitted model on ``X``.

        Parameters
        ----------
        estimator : fitted recommender, Pipeline that ends in one, or search
        X : frame or array with the columns of ``fit``
        y : None
            Ignored.
        sample_weight : array of shape (n_rows,), default=None
            Weight of each row; the weight of a user is the mean over the user's rows.

        Returns
        -------
        float or dict of str to float
            nan, with a warning, if there is nothing to score.
        """
        metrics = _label_metrics(self.metric, self.k)
        options = {"unseen_users": self.unseen_users, "exclude_seen": self.exclude_seen}
        model, X = _find_recommender(estimator, X)
        k = max(k for _, k in metrics.values())
        if all(name in METRIC_FUNCTIONS for name, _ in metrics.values()):
            targets = model.target_ranks(X, k, sample_weight=sample_weight, **options)
            means = mean_values(targets, metrics)
        else:
            items = _ItemMetrics(model, metrics)
            targets, items.target_codes = model._rank_targets(
                X, k, sample_weight=sample_weight, visit=items.visit, **options
            )
            means = mean_values(targets, metrics, items)
        is_list = pd.api.types.is_list_like(self.metric) or pd.api.types.is_list_like(self.k)
        return means if is_list else next(iter(means.values()))

    score = __call__  # scikit-learn requests metadata by the name of the method


def compare(
    model_a: Any,
    model_b: Any,
    X: Any,
    *,
    metric: str = "ndcg",
    k: int = 10,
    unseen_users: str = "fold_in",
    exclude_seen: bool | None = None,
    n_segments: int = 3,
    n_resamples: int = 9_999,
    random_state: Any = None,
) -> pd.DataFrame:
    """Compare two fitted models on the same events, overall and in segments.

    The metric is compared per user (paired).

    Parameters
    ----------
    model_a, model_b : fitted recommender, Pipeline that ends in one, or search
        Models fitted on the same users.
    X : frame or array with the columns of ``fit``
        Interactions later than the interactions of ``fit``.
    metric : str, default="ndcg"
        "recall", "precision", "hit_rate", "ndcg", "mrr" or "map".
    k : int, default=10
        Number of recommendations per user that count, at least 1.
    unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
        As in `make_ranking_scorer`.
    exclude_seen : bool or None, default=None
        As in `make_ranking_scorer`.
    n_segments : int, default=3
        Maximum number of segments by length of the history, and of segments by popularity of the
        item, at least 1. Segments have about the same number of events, but equal values stay in
        one segment.
    n_resamples : int, default=9999
        Number of bootstrap samples of users, at least 1. With more samples the intervals depend
        less on ``random_state``.
    random_state : int, RandomState or None, default=None
        Seed of the bootstrap.

    Returns
    -------
    DataFrame with one row per segment
        ``segment`` is "all", "history_length" or "item_count"; ``from`` and ``to`` are the smallest
        and the largest value in the segment, as ``model_a`` has them. ``n_users``, the ``metric``,
        its means ``a`` and ``b``, and ``difference``, b - a. ``low`` and ``high`` are the ends of
        the 95 % interval of the difference, by the percentiles of a bootstrap over users (Efron and
        Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13); nan for a single user. In a
        segment, only its own events are targets; all items are ranked.

    Raises
    ------
    InvalidInputError
        If an argument is invalid, or the models have different target events in ``X``.

    Notes
    -----
    The interval describes the variation between users under the same two fitted models. It does not
    describe how fits with other values of ``random_state`` differ. The segments are not corrected
    for multiple comparisons: by chance, one of twenty intervals does not contain 0.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.model_selection import LeaveLastOut
    >>> from skmind.scoring import compare
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> train, test = next(LeaveLastOut().split(X))
    >>> one, two = (
    ...     MINDRecommender(n_interests=K, embedding_dim=8, max_epochs=1).fit(X.iloc[train])
    ...     for K in (1, 2)
    ... )
    >>> compare(one, two, X.iloc[test])["segment"].value_counts(sort=False).to_dict()
    {'all': 1, 'history_length': 3, 'item_count': 3}
    """
    _check_no_k([metric])
    metrics = parse_metrics([f"{metric}@{check_count(k, 'k')}"], tuple(METRIC_FUNCTIONS))
    n_segments = check_count(n_segments, "n_segments")
    n_resamples = check_count(n_resamples, "n_resamples")
    rng = check_random_state(random_state)
    options = {"unseen_users": unseen_users, "exclude_seen": exclude_seen}
    X = as_table(X)  # a reader can be read only once
    a, b = (
        _index_by_event(recommender.target_ranks(table, k, **options))
        for recommender, table in (_find_recommender(model, X) for model in (model_a, model_b))
    )
    if not len(a) or len(a) != len(b) or not b.index.isin(a.index).all():
        raise InvalidInputError(
            f"model_a has {len(a)} target events in X and model_b has {len(b)}, but both must have "
            "the same events, at least one; fit both on the same users, and set X to later rows of "
            "these users"
        )
    b = b.reindex(a.index)
    (label,) = metrics
    rows = []
    for segment, is_in_segment in _split_into_segments(a, n_segments):
        values_a = _values_of_users(a[is_in_segment], metrics)[label]
        values_b = _values_of_users(b[is_in_segment], metrics)[label]
        difference = (values_b - values_a).to_numpy()
        low, high = _bootstrap_interval(difference, n_resamples, rng)
        row = {
            "n_users": len(difference),
            "metric": label,
            "a": values_a.mean(),
            "b": values_b.mean(),
            "difference": difference.mean(),
            "low": low,
            "high": high,
        }
        rows.append(segment | row)
    return pd.DataFrame(rows)


def _index_by_event(targets: pd.DataFrame) -> pd.DataFrame:
    """Index the result of `MINDRecommender.target_ranks` by its first columns, user and item."""
    return targets.set_index(list(targets.columns[:2]), drop=False)


def _split_into_segments(
    targets: pd.DataFrame, n_segments: int
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield the columns that describe each segment, and its rows of ``targets`` as a mask."""
    yield {"segment": "all", "from": np.nan, "to": np.nan}, np.ones(len(targets), dtype=bool)
    for name in ("history_length", "item_count"):
        values = targets[name].to_numpy()
        shares = np.arange(1, n_segments) / n_segments
        edges = np.unique(np.quantile(values, shares, method="lower"))
        segments = edges.searchsorted(values)
        for segment in np.unique(segments):
            mask = segments == segment
            yield {"segment": name, "from": values[mask].min(), "to": values[mask].max()}, mask


def _bootstrap_interval(
    differences: np.ndarray, n_resamples: int, rng: np.random.RandomState
) -> tuple[float, float]:
    """Return the ends of the 95 % interval of the mean, by the percentiles of the bootstrap."""
    if len(differences) < 2:
        return np.nan, np.nan
    result = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=n_resamples,
        batch=max(1, BOOTSTRAP_BATCH_VALUES // len(differences)),
        method="percentile",
        random_state=rng,
    )
    return result.confidence_interval


# Functions that `score` and `target_ranks` of the estimator use, too.


def find_ranks(codes: np.ndarray, target_rows: np.ndarray, target_codes: np.ndarray) -> np.ndarray:
    """Return the rank of each target in its row of ``codes``, from 1; nan if it is not in the row.

    Parameters
    ----------
    codes : ndarray of shape (n, k), int
        Codes of the recommended items, best first and distinct per row; -1 is padding.
    target_rows : ndarray of shape (n_targets,), int
        Row of ``codes`` in which each target is searched.
    target_codes : ndarray of shape (n_targets,), int
        Item code of each target; -1 is an unknown item, which is never recommended.

    Returns
    -------
    ndarray of shape (n_targets,), float64
    """
    rows, columns = np.nonzero(codes >= 0)
    n_codes = 1 + max(int(codes.max(initial=0)), int(target_codes.max(initial=0)))
    recommended = pd.Index(pair_keys(rows, codes[rows, columns], n_codes))
    places = recommended.get_indexer(pair_keys(target_rows, target_codes, n_codes))
    # Place -1 means "not recommended"; it selects the appended 0, which `where` replaces by nan.
    return np.where(places >= 0, np.append(columns, 0)[places] + 1.0, np.nan)


def rank_targets(
    index: Index,
    interests: np.ndarray,
    mask: np.ndarray,
    query: RecommendQuery,
    counts: np.ndarray,
    target_rows: np.ndarray,
    target_items: np.ndarray,
    n_jobs: int | None,
    visit: _Visit | None,
) -> np.ndarray:
    """Return the rank of each target among the recommendations of its row.

    Never holds rows × items: for a large ``query.k`` the ranks are counted, and lists are searched
    block by block.

    Parameters
    ----------
    index, interests, mask, query, counts, n_jobs
        See `retrieve`; ``query`` has neither lists, weights, quotas nor diversity.
    target_rows, target_items : ndarray of shape (n_targets,), int
        See `find_ranks`; the rows are ascending.
    visit : callable or None
        It is called with the codes of the recommended items, (b, k), of each block of rows in turn.

    Returns
    -------
    ndarray of shape (n_targets,), float64
        From 1; nan if the target is not among the first ``query.k``.
    """
    k = min(query.k, len(index.vectors))
    if visit is None and k > MAX_SEARCHED_K:
        ranks = count_ranks(
            index.vectors,
            interests,
            mask,
            query.excluded,
            counts,
            target_rows,
            target_items,
            n_jobs,
            index.temperature,
            query.repeats,
        )
        return np.where(ranks <= k, ranks, np.nan)
    ranks = np.full(len(target_rows), np.nan)
    size = max(1, BLOCK_PLACES // k)
    for start in range(0, len(interests), size):
        stop = min(start + size, len(interests))
        block = query.slice_rows(start, stop)
        top = retrieve(index, interests[start:stop], mask[start:stop], block, counts, n_jobs)
        targets = slice(*np.searchsorted(target_rows, [start, stop]))
        ranks[targets] = find_ranks(top.codes, target_rows[targets] - start, target_items[targets])
        if visit is not None:
            visit(top.codes)
    return ranks


class _ItemMetrics:
    """Metrics that need more than ranks: lists of recommended items, and what is known of items.

    Parameters
    ----------
    model : fitted recommender
    metrics : dict of str to (str, int)
        Metric and k of each label.

    Attributes
    ----------
    target_codes : ndarray of shape (n_targets,), int64
        Item code of each target; set by the scorer.
    """

    def __init__(self, model: Any, metrics: _Metrics) -> None:
        self.target_codes = np.empty(0, dtype=np.int64)
        self.counts = model.item_counts_
        self.vectors = model.item_embeddings_.astype(np.float64)
        self.n_items = len(model.items_)
        of_lists = {label: metric for label, metric in metrics.items() if metric[0] in LIST_METRICS}
        self.metrics = of_lists
        self.values: dict[str, list[np.ndarray]] = {label: [] for label in of_lists}
        self.is_covered = {
            label: np.zeros(self.n_items, dtype=bool)
            for label, (name, _) in of_lists.items()
            if name == "coverage"
        }
        self.expectations = np.append(popularity_expectation(self.counts), 0.0)

    def visit(self, codes: np.ndarray) -> None:
        """Read the recommended items (b, k) of the next users."""
        for label, (name, k) in self.metrics.items():
            first = codes[:, :k]
            if name == "coverage":
                self.is_covered[label][first[first >= 0]] = True
            elif name == "novelty":
                self.values[label].append(mean_self_information(first, self.counts))
            elif name == "average_popularity":
                self.values[label].append(mean_popularity(first, self.counts))
            else:
                diversity = np.full(len(first), np.nan)
                has_pair = (first >= 0).sum(axis=1) >= 2
                diversity[has_pair] = intra_list_diversity(first[has_pair], self.vectors)
                self.values[label].append(diversity)

    def mean(self, label: str, weights: np.ndarray) -> float:
        """Return the mean of a metric over the lists that have a value; nan if none has."""
        if label in self.is_covered:
            return float(self.is_covered[label].mean())
        values = np.concatenate(self.values[label])
        has_value = ~np.isnan(values) & (weights > 0)
        if not has_value.any():
            return float("nan")
        return float(np.average(values[has_value], weights=weights[has_value]))


def _values_of_users(
    targets: pd.DataFrame, metrics: _Metrics, items: _ItemMetrics | None = None
) -> pd.DataFrame:
    """Compute metrics per user.

    Parameters
    ----------
    targets : DataFrame
        As `MINDRecommender.target_ranks` returns it.
    metrics : dict of str to (str, int)
        Metric and k of each label.
    items : _ItemMetrics or None
        What serendipity needs.

    Returns
    -------
    DataFrame with one row per user, in the order of ``targets``, and one column per label
    """
    users, user_ids = pd.factorize(targets.iloc[:, 0])
    ranks = targets["rank"].to_numpy()
    hits = np.flatnonzero(ranks > 0)  # false for nan
    hits = hits[np.lexsort((ranks[hits], users[hits]))]
    # A row has the hits of a user only, ascending by rank, whatever k is.
    n_hits = np.bincount(users[hits], minlength=len(user_ids))
    columns = np.arange(len(hits)) - np.repeat(np.cumsum(n_hits) - n_hits, n_hits)
    shape = len(user_ids), n_hits.max(initial=0)
    relevance = np.zeros(shape, dtype=bool)
    relevance[users[hits], columns] = True
    ranks_of_hits = np.ones(shape)
    ranks_of_hits[users[hits], columns] = ranks[hits]
    expected = None
    if items is not None:
        expectations = np.zeros(shape)
        expectations[users[hits], columns] = items.expectations[items.target_codes[hits]]
        expected = expectations, items.n_items
    n_relevant = np.bincount(users, minlength=len(user_ids))
    values = values_per_user(relevance, n_relevant, metrics, ranks_of_hits, expected)
    return pd.DataFrame(values, index=user_ids)


def mean_values(
    targets: pd.DataFrame, metrics: _Metrics, items: _ItemMetrics | None = None
) -> dict[str, float]:
    """Return the mean of each metric over users, weighted by the column ``weight``.

    Parameters
    ----------
    targets : DataFrame
        As `MINDRecommender.target_ranks` returns it.
    metrics : dict of str to (str, int)
        Metric and k of each label.
    items : _ItemMetrics or None
        Has the values of metrics that need more than ``targets``.

    Returns
    -------
    dict of str to float
        By label; nan if ``targets`` is empty.

    Raises
    ------
    InvalidInputError
        If all weights are 0.
    """
    if not len(targets):
        return dict.fromkeys(metrics, float("nan"))
    is_first_of_user = ~targets.iloc[:, 0].duplicated()
    weights = targets["weight"][is_first_of_user].to_numpy()
    if not weights.any():
        raise InvalidInputError(
            "sample_weight is 0 in every row that can be scored; give one a positive weight"
        )
    of_ranks = {label: metric for label, metric in metrics.items() if metric[0] not in LIST_METRICS}
    values = _values_of_users(targets, of_ranks, items)
    means = {label: float(np.average(values[label], weights=weights)) for label in of_ranks}
    if items is not None:  # its lists are in the order of the users
        means |= {label: items.mean(label, weights) for label in items.metrics}
    return {label: means[label] for label in metrics}


# Functions that read the arguments.


def _label_metrics(metric: Any, k: Any) -> _Metrics:
    """Return the metric and k of each label, such as "ndcg@10"."""
    metrics = metric if pd.api.types.is_list_like(metric) else [metric]
    ks = k if pd.api.types.is_list_like(k) else [k]
    ks = [check_count(value, "k") for value in ks]
    _check_no_k(metrics)
    return parse_metrics([f"{name}@{value}" for name in metrics for value in ks])


def _check_no_k(metrics: Any) -> None:
    """Raise if a metric is named with its k, which is another parameter here."""
    for metric in metrics:
        if isinstance(metric, str) and "@" in metric:
            name, _, k = metric.partition("@")
            raise InvalidInputError(
                f"metric={metric!r} has a k of its own; set metric={name!r} and k={k}"
            )


def _find_recommender(model: Any, X: Any) -> tuple[Any, Any]:
    """Return the recommender inside ``model``, and ``X`` as the steps before it transform it."""
    while not hasattr(model, "target_ranks"):
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif isinstance(model, Pipeline):
            X = model[:-1].transform(X) if len(model) > 1 else X
            model = model[-1]
        else:
            raise InvalidInputError(
                f"a {type(model).__name__} can't be scored by ranking; give a fitted "
                "MINDRecommender, a Pipeline that ends in one, or a fitted search over these that "
                "has refit its best estimator"
            )
    return model._frozen(), X
