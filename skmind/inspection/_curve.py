"""Unfitted recommender and interactions → table of a metric by number of interests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.base import clone

from .. import metrics
from .._checks import check_count
from ..data.parquet import ParquetTable
from ..data.tables import take_rows
from ..exceptions import InvalidInputError
from ..metrics._core import METRIC_FUNCTIONS
from ..metrics._inputs import parse_metrics
from ..model_selection import LeaveLastOut
from ._diagnostics import (
    InterestGeometry,
    pairs_of_known_users,
    read_frame,
    recommend,
    user_blocks,
)

MAX_SIGN_FLIPS = 9_999
SIGNS_PER_BATCH = 10_000_000


def interest_curve(
    estimator: Any,
    X: Any,
    *,
    n_interests: Sequence[int] = (1, 2, 4, 8),
    cv: Any = None,
    metric: str = "recall@50",
    users: Any = None,
    items: Any = None,
) -> pd.DataFrame:
    """Fit with different numbers of interests, and test whether more interests recommend better.

    Each row is compared with the first row by a two-sided paired sign-flip test over users. Its
    null hypothesis is that the number of interests makes no difference, so that each user's
    difference is as likely with the opposite sign. The test statistic is the reported difference of
    the means, and the test makes no assumption about the distribution.

    If all differences other than 0 have the same size, as with one test item per user and a metric
    of 0 or 1, the test is the exact binomial form of McNemar's test. Otherwise the p-value comes
    from 9,999 random sign flips, or from all of them if there are fewer. Wilcoxon's test is not
    used because it compares ranks, which may contradict the means, and because a metric of 0 or 1
    gives it only ties.

    Parameters
    ----------
    estimator : MINDRecommender
        Cloned for each fit; its own ``n_interests`` is not used. Give it an int as
        ``random_state`` to get the same curve on every call.
    X : frame (pandas, polars, pyarrow) or path
        Interactions with the columns of the estimator.
    n_interests : sequence of distinct int, default=(1, 2, 4, 8)
        Numbers of interests, each at least 1. The other numbers are compared with the first.
    cv : splitter or None, default=None
        With several folds, a user's value is the mean over the folds that test this user. None:
        :class:`~skmind.model_selection.LeaveLastOut` with the columns of the estimator.
    metric : str, default="recall@50"
        "recall", "hit_rate", "ndcg", "mrr" or "map" at a k, as in `skmind.metrics.evaluate`.
        Items that the user interacted with in the training part are not recommended. Test users
        outside the training part are dropped.
    users, items : frame or None, default=None
        Feature tables, passed to ``fit``.

    Returns
    -------
    DataFrame of one row per number of interests
        ``n_interests``; ``metric``, its name; ``n_users``, the number of tested users; ``mean``;
        ``std_error`` of the mean over users; ``difference`` to the first row; ``p_value``, nan in
        the first row and not corrected for the number of rows; and as means over folds
        ``effective_number`` and ``mean_cosine`` of the tested users (see `InterestDiagnostics`)
        and ``fit_seconds``.

    Raises
    ------
    InvalidInputError
        If ``X`` is not a frame, no test user is in a training part, or an argument is invalid.
        Errors of the estimator and the splitter are passed on.

    Notes
    -----
    The standard error and the test describe how results vary between users under the same trained
    models. They do not describe how the result varies with ``random_state``. Where that matters,
    compute the curve for several values of it.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import interest_curve
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0)
    >>> curve = interest_curve(rec, X, n_interests=[1, 2], metric="recall@10")
    >>> curve[["n_interests", "metric", "n_users"]].to_numpy().tolist()
    [[1, 'recall@10', 50], [2, 'recall@10', 50]]
    """
    sizes = _check_sizes(n_interests)
    X = read_frame(X)
    ((metric_name, k),) = parse_metrics([metric], tuple(METRIC_FUNCTIONS)).values()
    folds = list(_splitter(cv, estimator).split(X))
    rows = []
    first_values = None
    for size in sizes:
        fold_values = []
        fold_means = []
        for train, test in folds:
            rec = clone(estimator).set_params(n_interests=size)
            start = time.perf_counter()
            rec.fit(_take_rows(X, train), users=users, items=items)
            fit_seconds = time.perf_counter() - start
            values, means = _evaluate(rec, _take_rows(X, test), metric_name, k)
            fold_values.append(values)
            fold_means.append(means | {"fit_seconds": fit_seconds})
        user_values = pd.concat(fold_values).groupby(level=0, sort=False).mean()
        if first_values is None:
            first_values = user_values
        comparison = _compare(user_values, first_values)
        means_over_folds = pd.DataFrame(fold_means).mean().to_dict()
        rows.append({"n_interests": size, "metric": metric} | comparison | means_over_folds)
    rows[0]["p_value"] = np.nan
    return pd.DataFrame(rows)


def _evaluate(rec: Any, test: Any, metric_name: str, k: int) -> tuple[pd.Series, dict[str, float]]:
    """Return the value of the metric per user, and means over the interests of these users."""
    relevant = pairs_of_known_users(rec, test)
    users = relevant["user_id"].unique()
    metric = getattr(metrics, f"{metric_name}_at_k")
    values = []
    for block in user_blocks(users):
        block_relevant = relevant[relevant["user_id"].isin(block)]
        values.append(metric(block_relevant, recommend(rec, block, k), k=k, per_user=True))
    geometry = InterestGeometry.of_users(rec, users)
    means = {
        "effective_number": float(geometry.effective_number.mean()),
        "mean_cosine": geometry.mean_cosine,
    }
    return pd.concat(values), means


def _compare(values: pd.Series, first_values: pd.Series) -> dict[str, float]:
    """Return the columns of the curve that compare values per user with the first row."""
    differences = (values - first_values.loc[values.index]).to_numpy()
    return {
        "n_users": len(values),
        "mean": values.mean(),
        "std_error": values.sem(),
        "difference": differences.mean(),
        "p_value": sign_flip_p_value(differences),
    }


def sign_flip_p_value(differences: np.ndarray) -> float:
    """Return the two-sided p-value of the mean of paired differences under random signs."""
    nonzero = differences[differences != 0]  # the sign of a 0 has no effect
    if not len(nonzero):
        return 1.0
    if np.ptp(np.abs(nonzero)) == 0:
        return float(stats.binomtest(int((nonzero > 0).sum()), len(nonzero)).pvalue)
    test = stats.permutation_test(
        (nonzero,),
        np.mean,
        permutation_type="samples",
        n_resamples=MAX_SIGN_FLIPS,
        batch=max(1, SIGNS_PER_BATCH // len(nonzero)),
        random_state=0,
    )
    return float(test.pvalue)


def _check_sizes(n_interests: Any) -> list[int]:
    if not pd.api.types.is_list_like(n_interests):
        sizes = []
    else:
        sizes = [check_count(size, "n_interests") for size in n_interests]
    if not sizes or len(set(sizes)) < len(sizes):
        raise InvalidInputError(
            f"n_interests={n_interests!r} must be a sequence of one or more distinct integers of "
            "at least 1, such as (1, 2, 4, 8)"
        )
    return sizes


def _splitter(cv: Any, estimator: Any) -> Any:
    if cv is None:
        return LeaveLastOut(user_col=estimator.user_col, time_col=estimator.time_col)
    if not hasattr(cv, "get_n_splits"):
        raise InvalidInputError(
            f"cv={cv!r} must be a splitter, such as skmind.model_selection.LeaveLastOut(), or None"
        )
    return cv


def _take_rows(X: Any, positions: np.ndarray) -> Any:
    """Return the rows of a frame of any library, or of files, at these positions."""
    return X.take_rows(positions) if isinstance(X, ParquetTable) else take_rows(X, positions)
