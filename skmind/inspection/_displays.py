"""History of fits, curve of `interest_curve` or of `index_curve` → matplotlib plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from ..exceptions import InvalidInputError
from ._curve import interest_curve
from ._index_curve import index_curve
from ._plotting import GREY, import_pyplot, line_style, place_labels

INTEREST_CURVE_COLUMNS = ("n_interests", "metric", "mean", "std_error")
INDEX_CURVE_COLUMNS = ("index", "search_k", "k", "recall", "users_per_second")
METRIC_LABEL = "Validation NDCG@10"


def check_curve(curve: Any, columns: Sequence[str], function: str) -> pd.DataFrame:
    """Return ``curve``, a result of ``function``; raise `InvalidInputError` if columns miss."""
    missing = [column for column in columns if column not in getattr(curve, "columns", ())]
    if missing:
        raise InvalidInputError(
            f"curve lacks the columns {missing}; pass the DataFrame that {function} returns"
        )
    return curve


class InterestCurveDisplay:
    """Plot of `interest_curve`: the metric against the number of interests.

    Create it with `from_estimator` or `from_curve`.

    Parameters
    ----------
    curve : DataFrame
        Result of `interest_curve`.

    Attributes
    ----------
    curve : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbar_ : matplotlib ErrorbarContainer
        The means, with error bars of one standard error to each side.

    Raises
    ------
    InvalidInputError
        If ``curve`` is not a DataFrame or lacks a column.

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
        self.curve = check_curve(curve, INTEREST_CURVE_COLUMNS, "interest_curve")

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
        """Fit with each number of interests and plot the curve.

        Parameters
        ----------
        estimator, X, n_interests, cv, metric, users, items
            As in `interest_curve`.
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        InterestCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed; nothing is fitted then.
        InvalidInputError
            As in `interest_curve`.
        """
        import_pyplot(cls)
        curve = interest_curve(
            estimator, X, n_interests=n_interests, cv=cv, metric=metric, users=users, items=items
        )
        return cls(curve).plot(ax)

    @classmethod
    def from_curve(cls, curve: pd.DataFrame, *, ax: Any = None) -> InterestCurveDisplay:
        """Plot the result of `interest_curve`.

        Parameters
        ----------
        curve : DataFrame
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        InterestCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        InvalidInputError
            If ``curve`` is not a DataFrame or lacks a column.
        """
        return cls(curve).plot(ax)

    def plot(self, ax: Any = None) -> InterestCurveDisplay:
        """Plot the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(type(self))
        if ax is None:
            _, ax = plt.subplots()
        curve = self.curve.sort_values("n_interests")
        self.errorbar_ = ax.errorbar(
            curve["n_interests"], curve["mean"], curve["std_error"], capsize=3, **line_style(0)
        )
        ax.set_xticks(curve["n_interests"])
        ax.set(xlabel="Interests per user (n_interests)", ylabel=curve["metric"].iloc[0])
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


class LearningCurveDisplay:
    """Plot of ``history_``: the loss and the validation metric by epoch, for one fit or several.

    Create it with `from_estimator`.

    Parameters
    ----------
    histories : dict of str to list of dict
        The attribute ``history_`` of each fit, by the name of the fit.

    Attributes
    ----------
    histories : dict of str to list of dict
    axes_ : ndarray of matplotlib Axes
        The loss; and the validation metric if a fit has it and there is a place for it.
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The losses, in the order of ``histories``.
    metric_lines_ : list of matplotlib Line2D
        The validation metrics of the fits that have them.

    Raises
    ------
    InvalidInputError
        If ``histories`` is not a dict, or a history has no epoch.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import LearningCurveDisplay
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(embedding_dim=8, max_epochs=3, random_state=0).fit(X)
    >>> LearningCurveDisplay.from_estimator(rec).lines_[0].get_xdata().tolist()
    [1, 2, 3]
    """

    axes_: Any
    figure_: Any
    lines_: list[Any]
    metric_lines_: list[Any]

    def __init__(self, histories: Mapping[str, list[dict[str, Any]]]) -> None:
        if not isinstance(histories, Mapping) or not histories:
            raise InvalidInputError(
                "histories must be a dict with a history_ for each name of a fit, such as "
                "{'4 interests': rec.history_}"
            )
        empty = [name for name, history in histories.items() if not history]
        if empty:
            raise InvalidInputError(
                f"the fit {empty[0]!r} has no epoch, because there was nothing to learn; leave it "
                "out"
            )
        self.histories = dict(histories)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> LearningCurveDisplay:
        """Plot the learning curve of a fitted recommender, or of several.

        Parameters
        ----------
        estimator : fitted MINDRecommender, or dict of str to fitted MINDRecommender
            A dict has several fits by their names in the legend.
        ax : matplotlib Axes, two of them, or None, default=None
            As in `plot`.

        Returns
        -------
        LearningCurveDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        sklearn.exceptions.NotFittedError
            If an estimator is not fitted.
        InvalidInputError
            If a fit has no epoch.
        """
        estimators = estimator if isinstance(estimator, Mapping) else {"": estimator}
        for each in estimators.values():
            check_is_fitted(each, "items_")
        histories = {name: each.history_ for name, each in estimators.items()}
        return cls(histories).plot(ax)

    def plot(self, ax: Any = None) -> LearningCurveDisplay:
        """Plot the loss, and the validation metric below it if a fit has one.

        Parameters
        ----------
        ax : matplotlib Axes, two of them, or None, default=None
            Axes to draw into. One has only the loss. None: a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(type(self))
        has_metric = any("validation_ndcg" in history[0] for history in self.histories.values())
        if ax is None:
            _, ax = plt.subplots(1 + has_metric, sharex=True, layout="constrained")
        axes = np.atleast_1d(np.asarray(ax, dtype=object))
        self.lines_ = []
        self.metric_lines_ = []
        for number, (name, history) in enumerate(self.histories.items()):
            epochs = [epoch["epoch"] for epoch in history]
            style = line_style(number) | {"label": name, "markersize": 4}
            losses = [epoch["loss"] for epoch in history]
            self.lines_ += axes[0].plot(epochs, losses, **style)
            if len(axes) > 1 and "validation_ndcg" in history[0]:
                values = [epoch["validation_ndcg"] for epoch in history]
                self.metric_lines_ += axes[1].plot(epochs, values, **style)
        axes[0].set_ylabel("Loss")
        if len(axes) > 1:
            axes[1].set_ylabel(METRIC_LABEL)
        axes[-1].set_xlabel("Epoch")
        axes[-1].xaxis.get_major_locator().set_params(integer=True)
        if any(self.histories):
            axes[0].legend()
        self.axes_ = axes
        self.figure_ = axes[0].figure
        return self


class IndexRecallDisplay:
    """Plot of `index_curve`: the recall of an index against its speed, for several ``search_k``.

    Create it with `from_estimator` or `from_curve`.

    Parameters
    ----------
    curve : DataFrame
        Result of `index_curve`, or several of them, concatenated.

    Attributes
    ----------
    curve : DataFrame
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        One per approximate index, in the order of ``curve``.
    exact_line_ : matplotlib Line2D or None
        The speed of exact search.

    Raises
    ------
    InvalidInputError
        If ``curve`` is not a DataFrame or lacks a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmind.inspection import IndexRecallDisplay
    >>> curve = pd.DataFrame(
    ...     {
    ...         "index": ["exact", "annoy", "annoy"],
    ...         "search_k": [None, 100, 1000],
    ...         "k": 10,
    ...         "recall": [1.0, 0.6, 0.9],
    ...         "users_per_second": [500.0, 9000.0, 2000.0],
    ...     }
    ... )
    >>> display = IndexRecallDisplay.from_curve(curve)
    >>> display.lines_[0].get_ydata().tolist()
    [0.6, 0.9]
    """

    ax_: Any
    figure_: Any
    lines_: list[Any]
    exact_line_: Any

    def __init__(self, curve: pd.DataFrame) -> None:
        self.curve = check_curve(curve, INDEX_CURVE_COLUMNS, "index_curve")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        index: str = "annoy",
        search_k: Sequence[int] | None = None,
        k: int = 10,
        n_users: int = 256,
        ax: Any = None,
    ) -> IndexRecallDisplay:
        """Measure an index over the item vectors of a fitted recommender and plot the curve.

        Parameters
        ----------
        estimator, index, search_k, k, n_users
            As in `index_curve`.
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        IndexRecallDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed; nothing is measured then. As in `index_curve`.
        InvalidInputError
            As in `index_curve`.
        """
        import_pyplot(cls)
        curve = index_curve(estimator, index=index, search_k=search_k, k=k, n_users=n_users)
        return cls(curve).plot(ax)

    @classmethod
    def from_curve(cls, curve: pd.DataFrame, *, ax: Any = None) -> IndexRecallDisplay:
        """Plot the result of `index_curve`.

        Parameters
        ----------
        curve : DataFrame
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        IndexRecallDisplay

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        InvalidInputError
            If ``curve`` is not a DataFrame or lacks a column.
        """
        return cls(curve).plot(ax)

    def plot(self, ax: Any = None) -> IndexRecallDisplay:
        """Plot the curve; labels beside the points are the values of ``search_k``.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw into. None: a new figure.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        plt = import_pyplot(type(self))
        if ax is None:
            _, ax = plt.subplots()
        is_exact = self.curve["index"] == "exact"
        approximate = self.curve[~is_exact].sort_values("search_k", kind="stable")
        names = approximate["index"].unique()
        self.lines_ = []
        for number, name in enumerate(names):
            rows = approximate[approximate["index"] == name]
            style = line_style(number) | {"label": f"{name}, by search_k"}
            self.lines_ += ax.plot(rows["users_per_second"], rows["recall"], **style)
        self.exact_line_ = None
        if is_exact.any():
            speed = self.curve.loc[is_exact, "users_per_second"].mean()
            self.exact_line_ = ax.axvline(speed, color=GREY, linestyle=":", label="exact search")
        ax.set_xscale("log")
        ax.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
        ax.xaxis.set_major_formatter("{x:,g}")
        ax.xaxis.set_minor_formatter("")
        ax.margins(0.12)
        ax.set(xlabel="Users per second", ylabel=f"Recall@{self.curve['k'].iloc[0]}")
        ax.legend(loc="lower left")
        place_labels(
            ax,
            approximate[["users_per_second", "recall"]].to_numpy(dtype=float),
            np.full(len(approximate), 6.0),
            [f"{value:,.0f}" for value in approximate["search_k"]],
            range(len(approximate)),
            self.lines_,
        )
        self.ax_ = ax
        self.figure_ = ax.figure
        return self
