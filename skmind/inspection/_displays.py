"""Curve of `interest_curve` → matplotlib plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..exceptions import InvalidInputError
from ._curve import interest_curve

PLOTTED_COLUMNS = ["n_interests", "metric", "mean", "std_error"]


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
        columns = getattr(curve, "columns", ())
        missing = [column for column in PLOTTED_COLUMNS if column not in columns]
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
        _import_pyplot()
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
        plt = _import_pyplot()
        if ax is None:
            _, ax = plt.subplots()
        curve = self.curve.sort_values("n_interests")
        self.errorbar_ = ax.errorbar(
            curve["n_interests"], curve["mean"], curve["std_error"], marker="o", capsize=3
        )
        ax.set_xticks(curve["n_interests"])
        ax.set(xlabel="Interests per user (n_interests)", ylabel=curve["metric"].iloc[0])
        self.ax_ = ax
        self.figure_ = ax.figure
        return self


def _import_pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "InterestCurveDisplay needs matplotlib, which can't be imported: "
            "pip install skmind[plot]"
        ) from error
    return plt
