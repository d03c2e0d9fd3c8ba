"""Fitted models and interactions → ranking metrics: scorers for searches, and pairs of models.

A model is a fitted `MINDRecommender`, a Pipeline that ends in one, or a search over these. It is
asked for its `target_ranks`, once for all metrics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.metadata_routing import UNUSED

from ._checks import check_count, check_option
from .data.ragged import pair_keys
from .exceptions import InvalidInputError
from .metrics import _METRICS, _parse_metrics

__all__ = ["compare", "make_ranking_scorer"]

_UNSEEN = "fold_in", "skip", "popular", "error"

_Metrics = dict[str, tuple[str, int]]  # label → metric, k


def make_ranking_scorer(
    metric: Any, *, k: Any, unseen_users: str = "fold_in", exclude_seen: bool = True
) -> _RankingScorer:
    """A scorer for ``scoring=`` of searches and `cross_validate`.

    Parameters
    ----------
    metric : str or list of str
        "recall", "hit_rate", "ndcg", "mrr" or "map"; see :mod:`skmind.metrics`.
    k : int or list of int
        Number of recommendations looked at, at least 1.
    unseen_users : {"fold_in", "skip", "popular", "error"}, default="fold_in"
        What becomes of users that ``fit`` has not seen; see `MINDRecommender.target_ranks`.
    exclude_seen : bool, default=True
        Leave out what is in a user's history, except what is to be found.

    Returns
    -------
    callable ``(estimator, X, y=None, sample_weight=None)``
        Returns a float; with a list of metrics or of k, a dict such as ``{"ndcg@10": 0.1,
        "recall@50": 0.3}`` of every metric at every k, from one ranking. In a search, say with
        ``refit="ndcg@10"`` which of them counts. Can be pickled and cloned;
        ``set_score_request(sample_weight=True)`` asks for weights where metadata are routed.

    Raises
    ------
    InvalidInputError
        If a metric, k or ``unseen_users`` is illegal.

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
    >>> found = cross_validate(rec, X, cv=LeaveLastOut(), scoring=scorer)
    >>> [name for name in found if name.startswith("test")]
    ['test_ndcg@10', 'test_ndcg@50', 'test_recall@10', 'test_recall@50']
    """
    _named(metric, k)
    check_option(unseen_users, "unseen_users", _UNSEEN)
    return _RankingScorer(metric, k, unseen_users, exclude_seen)


class _RankingScorer(BaseEstimator):
    """What `make_ranking_scorer` returns; a BaseEstimator for clone, repr and metadata routing."""

    __metadata_request__score = {"estimator": UNUSED}

    def __init__(self, metric: Any, k: Any, unseen_users: str, exclude_seen: bool) -> None:
        self.metric = metric
        self.k = k
        self.unseen_users = unseen_users
        self.exclude_seen = exclude_seen

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, sample_weight: Any = None
    ) -> float | dict[str, float]:
        """The metrics of a fitted model on ``X``; nan, with a warning, if nothing can be scored.

        Parameters
        ----------
        estimator : fitted recommender, Pipeline that ends in one, or search
        X : frame or array with the columns of ``fit``
        y : None
            Ignored.
        sample_weight : array of shape (n_rows,) or None
            A user's weight is the mean over the user's rows.

        Returns
        -------
        float or dict of str to float
        """
        metrics = _named(self.metric, self.k)
        options = {"unseen_users": self.unseen_users, "exclude_seen": self.exclude_seen}
        targets = _targets(estimator, X, metrics, sample_weight=sample_weight, **options)
        means = _mean_values(targets, metrics)
        several = pd.api.types.is_list_like(self.metric) or pd.api.types.is_list_like(self.k)
        return means if several else next(iter(means.values()))

    score = __call__  # by this name metadata are requested


def compare(
    model_a: Any,
    model_b: Any,
    X: Any,
    *,
    metric: str = "ndcg",
    k: int = 10,
    unseen_users: str = "fold_in",
    exclude_seen: bool = True,
    n_segments: int = 3,
    n_resamples: int = 9_999,
    random_state: Any = None,
) -> pd.DataFrame:
    """Whether one fitted model finds more than another, paired by user, overall and in segments.

    Parameters
    ----------
    model_a, model_b : fitted recommender, Pipeline that ends in one, or search
        Fitted on the same users.
    X : frame or array with the columns of ``fit``
        What users did after ``fit``.
    metric : str, default="ndcg"
        "recall", "hit_rate", "ndcg", "mrr" or "map".
    k : int, default=10
        Number of recommendations looked at, at least 1.
    unseen_users, exclude_seen
        As in `make_ranking_scorer`.
    n_segments : int, default=3
        Segments by the length of the history, and as many by the popularity of the item, at most:
        of about as many events to be found each, but equal values stay together. At least 1.
    n_resamples : int, default=9999
        Bootstrap samples of users, at least 1. More: intervals that depend less on
        ``random_state``.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame of one row a segment
        ``segment`` ("all", "history_length" or "item_count") with the smallest and largest value
        in it, ``from`` and ``to``; ``n_users``; the ``metric``; its means ``a`` and ``b``;
        ``difference``, b - a, and the ends ``low`` and ``high`` of its 95 % interval, by the
        percentiles of the bootstrap over users (Efron and Tibshirani, An Introduction to the
        Bootstrap, 1993, chapter 13; nan for a single user). In a segment only its events are to
        be found, among all items; what it goes by is as ``model_a`` has it.

    Raises
    ------
    InvalidInputError
        If an argument is illegal, or the models have different events to find in ``X``.

    Notes
    -----
    The interval speaks of other users under the same two fitted models, not of what other values
    of ``random_state`` would change in the fits. Segments are looked at many at once: of twenty
    intervals one misses 0 by chance.

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
    metrics = _parse_metrics([f"{metric}@{check_count(k, 'k')}"])
    n_segments = check_count(n_segments, "n_segments")
    n_resamples = check_count(n_resamples, "n_resamples")
    rng = check_random_state(random_state)
    options = {"unseen_users": unseen_users, "exclude_seen": exclude_seen}
    a, b = (_targets(model, X, metrics, **options) for model in (model_a, model_b))
    a, b = (frame.set_index(list(frame.columns[:2]), drop=False) for frame in (a, b))
    if not len(a) or len(a) != len(b) or not b.index.isin(a.index).all():
        raise InvalidInputError(
            f"model_a has {len(a)} events to find in X and model_b {len(b)}, but they must be the "
            "same and at least one; fit both on the same users, of whom X has further rows"
        )
    b, (label,) = b.reindex(a.index), metrics
    rows = []
    for segment, part in _segments(a, n_segments):
        values_a, values_b = (_user_values(frame[part], metrics)[label] for frame in (a, b))
        difference = (values_b - values_a).to_numpy()
        low, high = _interval(difference, n_resamples, rng)
        means = {"a": values_a.mean(), "b": values_b.mean(), "difference": difference.mean()}
        row = {"n_users": len(difference), "metric": label} | means
        rows.append(segment | row | {"low": low, "high": high})
    return pd.DataFrame(rows)


def _segments(targets: pd.DataFrame, n: int) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """What distinguishes a segment, and its rows of ``targets`` as a mask."""
    yield {"segment": "all", "from": np.nan, "to": np.nan}, np.ones(len(targets), dtype=bool)
    for name in ("history_length", "item_count"):
        values = targets[name].to_numpy()
        edges = np.unique(np.quantile(values, np.arange(1, n) / n, method="lower"))
        groups = edges.searchsorted(values)
        for group in np.unique(groups):
            part = groups == group
            yield {"segment": name, "from": values[part].min(), "to": values[part].max()}, part


def _interval(
    differences: np.ndarray, n_resamples: int, rng: np.random.RandomState
) -> tuple[float, float]:
    """Ends of the 95 % interval of the mean, by the percentiles of the bootstrap."""
    if len(differences) < 2:
        return np.nan, np.nan
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=n_resamples,
        batch=max(1, 10_000_000 // len(differences)),
        method="percentile",
        random_state=rng,
    )
    return found.confidence_interval


# What the estimator's `score` shares.


def _find_ranks(codes: np.ndarray, target_rows: np.ndarray, target_codes: np.ndarray) -> np.ndarray:
    """Rank, from 1, of each target in its row of ``codes``; nan where it isn't there.

    Parameters
    ----------
    codes : ndarray of shape (n, k), integer
        Recommended items, best first, none twice in a row; negative ones are padding.
    target_rows, target_codes : ndarray of shape (n_targets,), integer
        Row of ``codes`` and item of each target; negative items are never found.

    Returns
    -------
    ndarray of shape (n_targets,), float64
    """
    rows, columns = np.nonzero(codes >= 0)
    n_codes = 1 + max(int(codes.max(initial=0)), int(target_codes.max(initial=0)))
    listed = pd.Index(pair_keys(rows, codes[rows, columns], n_codes))
    places = listed.get_indexer(pair_keys(target_rows, target_codes, n_codes))
    return np.where(places >= 0, np.append(columns, 0)[places] + 1.0, np.nan)


def _user_values(targets: pd.DataFrame, metrics: _Metrics) -> pd.DataFrame:
    """Metrics of each user.

    Parameters
    ----------
    targets : DataFrame
        As `MINDRecommender.target_ranks` returns it.
    metrics : dict of str to (str, int)
        Metric and k of each label.

    Returns
    -------
    DataFrame of one row a user, in the order of ``targets``, and one column a label
    """
    users, ids = pd.factorize(targets.iloc[:, 0])
    ranks = targets["rank"].to_numpy()
    found = ranks > 0
    hits = np.zeros((len(ids), max(k for _, k in metrics.values())), dtype=bool)
    hits[users[found], ranks[found].astype(np.int64) - 1] = True
    n_relevant = np.bincount(users)
    values = {label: _METRICS[name](hits, n_relevant, k) for label, (name, k) in metrics.items()}
    return pd.DataFrame(values, index=ids)


def _mean_values(targets: pd.DataFrame, metrics: _Metrics) -> dict[str, float]:
    """Means over users of `_user_values`, weighted by the column ``weight``; nan for nobody.

    Raises
    ------
    InvalidInputError
        If all weights are 0.
    """
    if not len(targets):
        return dict.fromkeys(metrics, float("nan"))
    weights = targets["weight"][~targets.iloc[:, 0].duplicated()].to_numpy()
    if not weights.any():
        raise InvalidInputError(
            "sample_weight is 0 in every row that can be scored; give one a positive weight"
        )
    values = _user_values(targets, metrics)
    return {label: float(np.average(values[label], weights=weights)) for label in metrics}


# From what the caller gave.


def _named(metric: Any, k: Any) -> _Metrics:
    """Metric and k by their label, such as "ndcg@10"."""
    names, sizes = (one if pd.api.types.is_list_like(one) else [one] for one in (metric, k))
    sizes = [check_count(size, "k") for size in sizes]
    return _parse_metrics([f"{name}@{size}" for name in names for size in sizes])


def _targets(model: Any, X: Any, metrics: _Metrics, **options: Any) -> pd.DataFrame:
    """`MINDRecommender.target_ranks` of what is inside of a model."""
    k = max(k for _, k in metrics.values())
    while not hasattr(model, "target_ranks"):
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif isinstance(model, Pipeline):
            X, model = model[:-1].transform(X) if len(model) > 1 else X, model[-1]
        else:
            raise InvalidInputError(
                f"a {type(model).__name__} can't be scored by ranking; give a fitted "
                "MINDRecommender, a Pipeline that ends in one, or a fitted search over these that "
                "has refit its best"
            )
    return model.target_ranks(X, k, **options)
