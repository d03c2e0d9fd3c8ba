"""Plots have the means and errors of their curve, and tell what to install."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.inspection import InterestCurveDisplay, interest_curve

CURVE = pd.DataFrame(
    {"n_interests": [4, 1], "metric": "ndcg@5", "mean": [0.3, 0.2], "std_error": [0.01, 0.02]}
)


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")  # needs no screen
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_display_draws_means_and_errors_in_order(plt):
    display = InterestCurveDisplay.from_curve(CURVE)
    line, _, (bars,) = display.errorbar_
    assert line.get_xydata().tolist() == [[1, 0.2], [4, 0.3]]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, [[0.18, 0.22], [0.29, 0.31]])
    assert display.ax_.get_xticks().tolist() == [1, 4]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == (
        "Interests per user (n_interests)",
        "ndcg@5",
    )
    assert display.figure_ is display.ax_.figure


def test_display_draws_into_the_axes_given(plt):
    _, ax = plt.subplots()
    assert InterestCurveDisplay.from_curve(CURVE, ax=ax).ax_ is ax
    assert InterestCurveDisplay(CURVE).plot().ax_ is not ax


def test_display_of_an_estimator_has_its_curve(plt, fitted, small_parameters):
    X, _, _ = fitted
    rec = MINDRecommender(**small_parameters)
    options = {"n_interests": [1, 2], "metric": "hit_rate@5"}
    _, ax = plt.subplots()
    display = InterestCurveDisplay.from_estimator(rec, X, **options, ax=ax)
    assert display.ax_ is ax
    expected = interest_curve(rec, X, **options)
    pd.testing.assert_frame_equal(
        display.curve.drop(columns="fit_seconds"), expected.drop(columns="fit_seconds")
    )


@pytest.mark.parametrize(
    ("curve", "missing"),
    [(CURVE.drop(columns=["mean"]), r"\['mean'\]"), ([1, 2], r"\['n_interests', 'metric'")],
)
def test_display_needs_the_columns_of_a_curve(curve, missing):
    with pytest.raises(InvalidInputError, match=f"curve lacks the columns {missing}"):
        InterestCurveDisplay.from_curve(curve)


class NeverFitted(BaseEstimator):
    def fit(self, X, y=None, **tables):
        raise AssertionError("fitted although there is nothing to plot with")


def test_display_says_what_to_install_before_any_fit(monkeypatch, fitted):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    display = InterestCurveDisplay(CURVE)
    with pytest.raises(ImportError, match=r"needs matplotlib.*pip install skmind\[plot\]"):
        display.plot()
    X, _, _ = fitted
    with pytest.raises(ImportError, match=r"pip install skmind\[plot\]"):
        InterestCurveDisplay.from_estimator(NeverFitted(), X)
