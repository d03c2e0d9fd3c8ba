"""A fitted or an unfitted recommender → what its several interests are worth.

`interest_diagnostics` looks at the interests themselves, `hits_by_interest` at what each of them
finds, and `interest_curve` fits the model with different numbers of interests and tests whether
more of them find more. All of them ask the recommender by its public methods only, for blocks of
users, so that memory grows with the number of users by a few numbers each.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from .. import metrics
from .._checks import check_count, warn
from ..data.formats import as_table
from ..data.ids import IdEncoder
from ..data.parquet import ParquetTable
from ..data.prepare import Schema, check_roles, read_column
from ..data.tables import id_array, is_frame
from ..exceptions import InterestCollapseWarning, InvalidInputError
from ..metrics._inputs import parse_metrics
from ..model_selection import LeaveLastOut

__all__ = [
    "InterestCurveDisplay",
    "InterestDiagnostics",
    "hits_by_interest",
    "interest_curve",
    "interest_diagnostics",
]

COLLAPSED = 1.05  # effective number of four vectors with a mean cosine of .991, of two with .982
_BLOCK = 10_000  # users
_N_FLIPS = 9_999
_CURVE_COLUMNS = ["n_interests", "metric", "mean", "std_error"]  # what the plot needs


@dataclass(frozen=True, eq=False, repr=False)
class InterestDiagnostics:
    """What `interest_diagnostics` found.

    Attributes
    ----------
    n_users : int
        Users that were looked at: those with an interest.
    n_interests : float
        Mean number of interests in use a user, from 1 to K.
    effective_number : float
        Mean over the users of the effective number of different interests, from 1 to K.
    mean_cosine : float
        Mean cosine between two interests of the same user, from -1 to 1, over the users with at
        least two in use; nan if there are none.
    usage : DataFrame of K rows
        By ``interest``: ``in_use``, the share of the users who have it in use;
        ``share_of_recommended``, the share of all top-k recommendations that it won; and
        ``wins_any``, the share of the users for whom it won at least one.
    """

    n_users: int
    n_interests: float
    effective_number: float
    mean_cosine: float
    usage: pd.DataFrame

    def __repr__(self) -> str:
        names = "n_interests", "effective_number", "mean_cosine"
        means = ", ".join(f"{name}={getattr(self, name):.4g}" for name in names)
        return f"InterestDiagnostics(n_users={self.n_users}, {means})\n{self.usage.round(3)}"


def interest_diagnostics(rec: Any, user_ids: Any = None, *, k: int = 10) -> InterestDiagnostics:
    r"""How many interests users have, how different these are, and which of them win.

    The effective number of a user's interests is the Vendi score of [1]_, the exponential of the
    entropy of the eigenvalues of a similarity matrix. With the n unit vectors in use as the rows
    of V,

    .. math:: \exp\Big(-\sum_i \lambda_i \log \lambda_i\Big), \qquad
              \lambda = \mathrm{eigenvalues}(V V^\top / n)

    which is 1 if all of them are the same vector and n if they are orthogonal.

    Parameters
    ----------
    rec : fitted MINDRecommender
    user_ids : list or array of ids, or None
        Users to look at, each once; None: all of ``fit``. Those without an interest, such as those
        that ``fit`` has not seen, are left out.
    k : int, default=10
        Recommendations a user that ``usage`` counts, at least 1. Raising it lets more interests
        win something.

    Returns
    -------
    InterestDiagnostics

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``rec`` is not fitted.
    InvalidInputError
        If no user has an interest, or ``k`` or ``user_ids`` is illegal.
    IdTypeError
        If the ids are of another kind than those of ``fit``.

    Warns
    -----
    InterestCollapseWarning
        If the interests of the users who have several are practically one vector: a mean
        effective number below 1.05, which is a mean cosine of about .99.

    References
    ----------
    .. [1] D. Friedman and A. B. Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine
       Learning", TMLR 2023, arXiv 2210.02410, definition 3.1.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import interest_diagnostics
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    >>> found = interest_diagnostics(rec)
    >>> found.n_users, found.n_interests
    (50, 2.0)
    >>> found.usage.columns.tolist()
    ['in_use', 'share_of_recommended', 'wins_any']
    """
    check_is_fitted(rec, "users_")
    k = check_count(k, "k")
    users = rec.users_ if user_ids is None else pd.unique(id_array(user_ids, "user_ids"))
    geometry = _Geometry.of(rec, users)
    n_users, n_interests = geometry.in_use.shape
    n_won, n_winning = np.zeros((2, n_interests), dtype=np.int64)
    for frame in _recommendations(rec, users, k):
        n_won += np.bincount(frame["interest"], minlength=n_interests)
        pairs = frame[["user_id", "interest"]].drop_duplicates()
        n_winning += np.bincount(pairs["interest"], minlength=n_interests)
    geometry.warn_if_collapsed()
    usage = {
        "in_use": geometry.in_use.mean(axis=0),
        "share_of_recommended": _ratio(n_won, n_won.sum()),
        "wins_any": n_winning / n_users,
    }
    return InterestDiagnostics(
        n_users=n_users,
        n_interests=float(geometry.in_use.sum(axis=1).mean()),
        effective_number=float(geometry.effective_number.mean()),
        mean_cosine=geometry.mean_cosine,
        usage=pd.DataFrame(usage, index=pd.RangeIndex(n_interests, name="interest")),
    )


def hits_by_interest(rec: Any, X: Any, *, k: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
    """Which interests win recommendations, and which of these are right.

    Parameters
    ----------
    rec : fitted MINDRecommender
    X : frame (pandas, polars, pyarrow) or path with the user and item columns of ``fit``
        What users did after ``fit``, such as the test rows of
        :class:`~skmind.model_selection.LeaveLastOut`. Rows of users that ``fit`` has not seen are
        dropped: they get what is popular, which no interest won.
    k : int, default=10
        Recommendations a user, at least 1.
    exclude_seen : bool, default=True
        Recommend nothing that the user did in ``fit``; then such rows of ``X`` can't be hit.

    Returns
    -------
    DataFrame of n_interests rows
        By ``interest``: ``n_recommended``, ``n_hits`` (recommended items that the user has in
        ``X``), ``share_of_recommended``, ``share_of_hits`` and ``precision``
        (``n_hits / n_recommended``); nan where a denominator is 0. Each item counts for the
        interest that is nearest to it; that another would have found it too is not seen.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``rec`` is not fitted.
    InvalidInputError
        If ``X`` is no frame, lacks a column, has missing ids or no user of ``fit``, or ``k`` is
        illegal.
    IdTypeError
        If the ids are of another kind than those of ``fit``.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import hits_by_interest
    >>> from skmind.model_selection import LeaveLastOut
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> train, test = next(LeaveLastOut().split(X))
    >>> rec = MINDRecommender(n_interests=2, embedding_dim=8, max_epochs=1, random_state=0)
    >>> found = hits_by_interest(rec.fit(X.iloc[train]), X.iloc[test])
    >>> int(found["n_recommended"].sum())
    500
    """
    check_is_fitted(rec, "users_")
    k = check_count(k, "k")
    relevant = _known_pairs(rec, X)
    users, items = IdEncoder(rec.users_, "user"), IdEncoder(rec.items_, "item")

    def keys(pairs: pd.DataFrame) -> np.ndarray:
        codes = items.encode(pairs["item_id"])
        pair_keys = users.encode(pairs["user_id"]).astype(np.int64) * len(items) + codes
        return np.where(codes >= 0, pair_keys, -1)

    asked, relevant_keys = relevant["user_id"].unique(), keys(relevant)
    n_interests = rec.interests(asked[:1]).shape[1]
    n_recommended, n_hits = np.zeros((2, n_interests), dtype=np.int64)
    for frame in _recommendations(rec, asked, k, exclude_seen):
        hits = frame["interest"][np.isin(keys(frame), relevant_keys)]
        n_recommended += np.bincount(frame["interest"], minlength=n_interests)
        n_hits += np.bincount(hits, minlength=n_interests)
    return pd.DataFrame(
        {
            "n_recommended": n_recommended,
            "n_hits": n_hits,
            "share_of_recommended": _ratio(n_recommended, n_recommended.sum()),
            "share_of_hits": _ratio(n_hits, n_hits.sum()),
            "precision": _ratio(n_hits, n_recommended),
        },
        index=pd.RangeIndex(n_interests, name="interest"),
    )


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
    """Fit with different numbers of interests, and test whether more find more.

    Each row is compared with the first by a two-sided paired sign-flip test over users: if the
    number of interests made no difference, a user's difference would be as likely with the other
    sign. Its statistic is the difference of the means, the number that is reported, and it asks
    for no distribution. Where all differences that are not 0 are of one size, as with one test
    item a user and a metric of 0 or 1, it is McNemar's test in its exact, binomial form; else it
    is taken from 9,999 random flips (all of them where there are fewer). Wilcoxon's test would
    compare ranks, which may contradict the means, and has only ties to rank in zeros and ones.

    Parameters
    ----------
    estimator : MINDRecommender
        Cloned for each fit; its own ``n_interests`` is not used. An int as its ``random_state``
        makes the curve repeatable.
    X : frame (pandas, polars, pyarrow) or path
        Interactions with the columns of the estimator.
    n_interests : sequence of distinct int, default=(1, 2, 4, 8)
        Numbers of interests, each at least 1; the first is what others are compared with.
    cv : splitter, or None
        None: :class:`~skmind.model_selection.LeaveLastOut` with the columns of the estimator. With
        several folds, a user's value is the mean over the folds that test the user.
    metric : str, default="recall@50"
        As in `skmind.metrics.evaluate`: "recall", "hit_rate", "ndcg", "mrr" or "map" at a k.
        What the user did in the training part is not recommended. Test users that are not in the
        training part are dropped.
    users, items : frame or None
        Feature tables, passed to ``fit``.

    Returns
    -------
    DataFrame of one row a number of interests
        ``n_interests``, ``metric`` (its name), ``n_users`` (tested), ``mean``, ``std_error`` (of
        the mean over users), ``difference`` (to the first row), ``p_value`` (nan in the first row;
        not corrected for the number of rows), ``effective_number`` and ``mean_cosine`` of the
        tested users (`InterestDiagnostics`) and ``fit_seconds``, the last three as means over
        folds.

    Raises
    ------
    InvalidInputError
        If ``X`` is no frame or no test user is in a training part, or an argument is illegal;
        and as the estimator and the splitter do.

    Notes
    -----
    The standard error and the test speak of other users under the same trained models. They do
    not contain how much the result would change with another ``random_state``: where that may
    matter, draw the curve for several.

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
    X = _read_frame(X)
    ((name, k),) = parse_metrics([metric]).values()
    folds = list(_splitter(cv, estimator).split(X))
    curve, first = [], None
    for size in sizes:
        values, means = [], []
        for train, test in folds:
            rec = clone(estimator).set_params(n_interests=size)
            start = time.perf_counter()
            rec.fit(_rows(X, train), users=users, items=items)
            seconds = time.perf_counter() - start
            values_of_users, means_of_interests = _evaluated(rec, _rows(X, test), name, k)
            values.append(values_of_users)
            means.append(means_of_interests | {"fit_seconds": seconds})
        by_user = pd.concat(values).groupby(level=0, sort=False).mean()
        first = by_user if first is None else first
        row = {"n_interests": size, "metric": metric} | _compared(by_user, first)
        curve.append(row | pd.DataFrame(means).mean().to_dict())
    curve[0]["p_value"] = np.nan
    return pd.DataFrame(curve)


class InterestCurveDisplay:
    """Plot of `interest_curve`: the metric against the number of interests.

    Use `from_estimator` or `from_curve` to make one.

    Parameters
    ----------
    curve : DataFrame
        As `interest_curve` returns it.

    Attributes
    ----------
    curve : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbar_ : matplotlib ErrorbarContainer
        The means, with bars of one standard error to each side.

    Raises
    ------
    InvalidInputError
        If ``curve`` is no DataFrame or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.inspection import InterestCurveDisplay
    >>> curve = pd.DataFrame(
    ...     {"n_interests": [1, 4], "metric": "recall@50", "mean": [0.2, 0.3], "std_error": 0.01}
    ... )
    >>> InterestCurveDisplay.from_curve(curve).ax_.get_ylabel()
    'recall@50'
    """

    ax_: Any
    figure_: Any
    errorbar_: Any

    def __init__(self, curve: pd.DataFrame) -> None:
        missing = [
            column for column in _CURVE_COLUMNS if column not in getattr(curve, "columns", ())
        ]
        if missing:
            raise InvalidInputError(
                f"curve lacks the columns {missing}; pass the DataFrame that interest_curve returns"
            )
        self.curve = curve

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_interests: Sequence[int] = (1, 2, 4, 8),
        cv: Any = None,
        metric: str = "recall@50",
        users: Any = None,
        items: Any = None,
        ax: Any = None,
    ) -> InterestCurveDisplay:
        """Fit for each number of interests and plot.

        Parameters
        ----------
        estimator, X, n_interests, cv, metric, users, items
            As in `interest_curve`.
        ax : matplotlib Axes or None
            None: a new figure.

        Returns
        -------
        InterestCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed; nothing is fitted then.
        """
        _pyplot()
        curve = interest_curve(
            estimator, X, n_interests=n_interests, cv=cv, metric=metric, users=users, items=items
        )
        return cls(curve).plot(ax)

    @classmethod
    def from_curve(cls, curve: pd.DataFrame, *, ax: Any = None) -> InterestCurveDisplay:
        """Plot what `interest_curve` returned.

        Parameters
        ----------
        curve : DataFrame
        ax : matplotlib Axes or None
            None: a new figure.

        Returns
        -------
        InterestCurveDisplay
        """
        return cls(curve).plot(ax)

    def plot(self, ax: Any = None) -> InterestCurveDisplay:
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None
            None: a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = _pyplot()
        if ax is None:
            _, ax = plt.subplots()
        curve = self.curve.sort_values("n_interests")
        self.errorbar_ = ax.errorbar(
            curve["n_interests"], curve["mean"], curve["std_error"], marker="o", capsize=3
        )
        ax.set_xticks(curve["n_interests"])
        ax.set(xlabel="Interests a user (n_interests)", ylabel=curve["metric"].iloc[0])
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "InterestCurveDisplay needs matplotlib, which can't be imported: "
            "pip install skmind[plot]"
        ) from error
    return plt


@dataclass(frozen=True)
class _Geometry:
    """The interests of users who have any."""

    in_use: np.ndarray  # (n_users, K) bool
    effective_number: np.ndarray  # (n_users,)
    cosine: np.ndarray  # (n_users,), nan with fewer than two interests

    @classmethod
    def of(cls, rec: Any, users: np.ndarray) -> _Geometry:
        """The interests of ``users``, those without any left out."""
        blocks = [_block_geometry(rec.interests(block)) for block in _blocks(users)]
        in_use, effective_number, cosine = map(np.concatenate, zip(*blocks, strict=True))
        kept = in_use.any(axis=1)
        if not kept.any():
            raise InvalidInputError(
                f"none of the {len(users)} users has an interest; ask for users that were in fit "
                "(users_)"
            )
        return cls(in_use[kept], effective_number[kept], cosine[kept])

    @property
    def mean_cosine(self) -> float:
        several = np.isfinite(self.cosine)
        return float(self.cosine[several].mean()) if several.any() else float("nan")

    def warn_if_collapsed(self) -> None:
        several = np.isfinite(self.cosine)
        if not several.any():
            return
        effective = self.effective_number[several].mean()
        if effective < COLLAPSED:
            warn(
                f"the interests of the {several.sum()} users who have several are practically one "
                f"vector: on average {effective:.3f} different ones of "
                f"{self.in_use[several].sum(axis=1).mean():.3g}, with a cosine of "
                f"{self.mean_cosine:.3f}. Set n_interests=1, which finds as much and trains "
                "faster, or fit again with lower item_dropout or other training settings, and see "
                "with interest_curve whether that finds more",
                InterestCollapseWarning,
            )


def _block_geometry(interests: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The fields of `_Geometry`, users without interests included."""
    in_use = (interests != 0).any(axis=2)  # (B, K)
    n = in_use.sum(axis=1)
    lengths = np.linalg.norm(interests.astype(np.float64), axis=2, keepdims=True)
    unit = interests / np.where(lengths > 0, lengths, 1.0)
    gram = unit @ unit.transpose(0, 2, 1)  # (B, K, K)
    # Interests that are not in use add eigenvalues of 0, which have no entropy.
    eigenvalues = np.linalg.eigvalsh(gram).clip(0.0) / np.maximum(n, 1)[:, None]  # (B, K)
    effective_number = np.exp(special.entr(eigenvalues).sum(axis=1))  # (B,)
    return in_use, effective_number, _ratio(gram.sum(axis=(1, 2)) - n, n * (n - 1))


def _evaluated(rec: Any, test: Any, name: str, k: int) -> tuple[pd.Series, dict[str, float]]:
    """Value of a metric by user, and means over the users' interests."""
    relevant = _known_pairs(rec, test)
    users, metric = relevant["user_id"].unique(), getattr(metrics, f"{name}_at_k")
    values = []
    for block in _blocks(users):
        truth = relevant[relevant["user_id"].isin(block)]
        values.append(metric(truth, _recommended(rec, block, k), k=k, per_user=True))
    geometry = _Geometry.of(rec, users)
    means = {
        "effective_number": float(geometry.effective_number.mean()),
        "mean_cosine": geometry.mean_cosine,
    }
    return pd.concat(values), means


def _compared(values: pd.Series, first: pd.Series) -> dict[str, float]:
    differences = (values - first.loc[values.index]).to_numpy()
    return {
        "n_users": len(values),
        "mean": values.mean(),
        "std_error": values.sem(),
        "difference": differences.mean(),
        "p_value": _sign_flip_p(differences),
    }


def _sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p-value of the mean of paired differences under random signs."""
    moved = differences[differences != 0]  # a 0 is the same with either sign
    if not len(moved):
        return 1.0
    if np.ptp(np.abs(moved)) == 0:
        return float(stats.binomtest(int((moved > 0).sum()), len(moved)).pvalue)
    test = stats.permutation_test(
        (moved,),
        np.mean,
        permutation_type="samples",
        n_resamples=_N_FLIPS,
        batch=max(1, 10_000_000 // len(moved)),
        random_state=0,
    )
    return float(test.pvalue)


def _blocks(users: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, max(len(users), 1), _BLOCK):  # nobody: one block of nobody
        yield users[start : start + _BLOCK]


def _recommended(rec: Any, users: np.ndarray, k: int, exclude_seen: bool = True) -> pd.DataFrame:
    """Recommendations under fixed column names, whatever those of ``fit``."""
    frame = rec.recommend(users, k, exclude_seen=exclude_seen, unknown="drop")
    return frame.set_axis(["user_id", "item_id", *frame.columns[2:]], axis=1)


def _recommendations(
    rec: Any, users: np.ndarray, k: int, exclude_seen: bool = True
) -> Iterator[pd.DataFrame]:
    """What the interests of ``users`` won, a frame a block; popular items are no interest's."""
    for block in _blocks(users):
        frame = _recommended(rec, block, k, exclude_seen)
        yield frame[frame["interest"] >= 0]


def _known_pairs(rec: Any, X: Any) -> pd.DataFrame:
    """Users (known to ``rec``) and items of the rows of ``X``."""
    X = _read_frame(X)
    schema = Schema(rec.user_col, rec.item_col, None)
    check_roles(X, schema, ("user", "item"))
    pairs = pd.DataFrame(
        {
            "user_id": read_column(X, schema, "user"),
            "item_id": read_column(X, schema, "item"),
        }
    )
    known = IdEncoder(rec.users_, "user").encode(pairs["user_id"]) >= 0
    if not known.any():
        raise InvalidInputError(
            f"none of the {pairs['user_id'].nunique()} users to test was in fit, so they have no "
            "interests; split by time (skmind.model_selection.LeaveLastOut) rather than by user"
        )
    return pairs[known]


def _read_frame(X: Any) -> Any:
    frame = as_table(X)
    if not is_frame(frame):
        raise InvalidInputError(
            f"X is a {type(X).__name__}; give a table (pandas, polars, pyarrow) with the columns "
            "of the estimator"
        )
    return frame


def _check_sizes(n_interests: Any) -> list[int]:
    legal = pd.api.types.is_list_like(n_interests)
    sizes = [check_count(size, "n_interests") for size in n_interests] if legal else []
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


def _rows(X: Any, positions: np.ndarray) -> Any:
    """Rows of a frame of any library."""
    if isinstance(X, ParquetTable):
        return X.take_rows(positions)
    if isinstance(X, pd.DataFrame):
        return X.iloc[positions]
    return X.take(positions) if hasattr(X, "column_names") else X[positions]


def _ratio(numerator: np.ndarray, denominator: Any) -> np.ndarray:
    """``numerator / denominator``, nan where the denominator is 0."""
    nan = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=nan, where=np.asarray(denominator) > 0)
