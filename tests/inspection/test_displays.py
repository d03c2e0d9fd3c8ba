"""Plots have the numbers of their curve, look as they did, and tell what to install."""

import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.inspection import (
    ArchitectureDisplay,
    IndexRecallDisplay,
    InterestCurveDisplay,
    InterestMapDisplay,
    LearningCurveDisplay,
    RoutingDisplay,
    index_curve,
    interest_curve,
)
from tests.inspection.pictures import STYLES, assert_looks_the_same, overlapping, style

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


def draw(display, plt):
    """Draw into axes of a fixed place, for pictures that don't depend on the size of texts."""
    figure = plt.figure(figsize=(4, 3))
    return display.plot(figure.add_axes([0.1, 0.1, 0.85, 0.85]))


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


@pytest.mark.parametrize(
    "call",
    [
        lambda rec: InterestMapDisplay.from_estimator(rec, "u1"),
        lambda rec: RoutingDisplay.from_estimator(rec, "u1"),
        lambda rec: ArchitectureDisplay.from_estimator(rec),
        lambda rec: LearningCurveDisplay.from_estimator(rec),
        lambda rec: IndexRecallDisplay.from_estimator(rec),
    ],
)
def test_every_display_says_what_to_install(monkeypatch, fitted, call):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"Display needs matplotlib.*pip install skmind\[plot\]"):
        call(fitted[1])


# ------------------------------------------------------------------ learning curves

SHORT = [{"epoch": i + 1, "loss": 6.0 / (i + 1), "seconds": 1.0} for i in range(3)]
LONG = [
    {"epoch": i + 1, "loss": 5.0 - i / 2, "validation_ndcg": ndcg}
    for i, ndcg in enumerate([0.1, 0.3, 0.2, 0.25])
]


def test_learning_curves_of_several_fits(plt):
    display = LearningCurveDisplay({"short": SHORT, "long": LONG}).plot()
    assert [line.get_xydata().tolist() for line in display.lines_] == [
        [[1, 6], [2, 3], [3, 2]],
        [[1, 5], [2, 4.5], [3, 4], [4, 3.5]],
    ]
    (metric,) = display.metric_lines_
    assert metric.get_ydata().tolist() == [0.1, 0.3, 0.2, 0.25]
    assert metric.get_color() == display.lines_[1].get_color() != display.lines_[0].get_color()
    texts = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert texts == ["short", "long"]
    assert display.figure_ is display.axes_[1].figure


def test_a_learning_curve_without_metric_or_with_one_axes(plt):
    display = LearningCurveDisplay({"": SHORT}).plot()
    assert len(display.axes_) == 1
    assert display.axes_[0].get_legend() is None
    assert display.axes_[0].get_xlabel() == "Epoch"
    _, ax = plt.subplots()
    display = LearningCurveDisplay({"": LONG}).plot(ax)
    assert display.axes_.tolist() == [ax]
    assert display.metric_lines_ == []


def test_learning_curves_of_estimators(plt, fitted):
    _, rec, _ = fitted
    losses = [epoch["loss"] for epoch in rec.history_]
    for estimator, names in ((rec, [""]), ({"a": rec, "b": rec}, ["a", "b"])):
        display = LearningCurveDisplay.from_estimator(estimator)
        assert list(display.histories) == names
        assert all(line.get_ydata().tolist() == losses for line in display.lines_)
    with pytest.raises(NotFittedError):
        LearningCurveDisplay.from_estimator(MINDRecommender())


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        (SHORT, "histories must be a dict"),
        ({}, "histories must be a dict"),
        ({"a": SHORT, "b": []}, "the fit 'b' has no epoch"),
    ],
)
def test_histories_that_can_not_be_drawn(histories, message):
    with pytest.raises(InvalidInputError, match=message):
        LearningCurveDisplay(histories)


# ------------------------------------------------------------------ recall of an index

INDEX_CURVE = pd.DataFrame(
    {
        "index": ["exact", "annoy", "annoy", "annoy", "faiss", "faiss"],
        "search_k": [None, 10, 1000, 100, 1, 4],
        "k": 10,
        "recall": [1.0, 0.5, 0.95, 0.8, 0.7, 1.0],
        "users_per_second": [400.0, 9000.0, 1000.0, 3000.0, 9500.0, 2500.0],
    }
)


def test_recall_against_speed(plt):
    display = draw(IndexRecallDisplay(INDEX_CURVE), plt)
    lines = {line.get_label(): line.get_xydata().tolist() for line in display.lines_}
    assert lines == {
        "annoy, by search_k": [[9000, 0.5], [3000, 0.8], [1000, 0.95]],
        "faiss, by search_k": [[9500, 0.7], [2500, 1.0]],
    }
    assert display.exact_line_.get_xdata()[0] == 400
    assert display.ax_.get_ylabel() == "Recall@10"
    labels = [text for text in display.ax_.texts if text.get_text()]
    assert {text.get_text() for text in labels} <= {"10", "100", "1,000", "1", "4"}
    assert len(labels) >= 4
    display.figure_.canvas.draw()
    ticks = display.ax_.xaxis.get_ticklabels(which="both")
    assert overlapping([*labels, *(tick for tick in ticks if tick.get_text())]) == []
    without = IndexRecallDisplay.from_curve(INDEX_CURVE[1:])
    assert without.exact_line_ is None


def test_recall_of_an_estimator(plt, fitted):
    display = IndexRecallDisplay.from_estimator(fitted[1], search_k=[1, 500], k=5, n_users=20)
    expected = index_curve(fitted[1], search_k=[1, 500], k=5, n_users=20)
    assert display.curve["recall"].tolist() == expected["recall"].tolist()
    with pytest.raises(InvalidInputError, match=r"curve lacks the columns \['recall'\]"):
        IndexRecallDisplay(INDEX_CURVE.drop(columns="recall"))


# ------------------------------------------------------------------ pictures


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize(
    "display",
    [InterestCurveDisplay(CURVE), IndexRecallDisplay(INDEX_CURVE)],
    ids=lambda display: type(display).__name__,
)
def test_curves_look_as_they_did(plt, tmp_path, display, name):
    with style(name):
        figure = draw(display, plt).figure_
        assert_looks_the_same(figure, f"{type(display).__name__}-{name}", tmp_path)


@pytest.mark.parametrize("name", STYLES)
def test_learning_curves_look_as_they_did(plt, tmp_path, name):
    with style(name):
        figure = plt.figure(figsize=(4, 3))
        axes = [figure.add_axes([0.1, y, 0.85, 0.4]) for y in (0.55, 0.1)]
        LearningCurveDisplay({"short": SHORT, "long": LONG}).plot(axes)
        assert_looks_the_same(figure, f"LearningCurveDisplay-{name}", tmp_path)
