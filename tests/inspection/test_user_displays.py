"""Map and heat map of a user have the numbers of the model, and look as they did."""

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError, UnknownIdError
from skmind.inspection import InterestMapDisplay, RoutingDisplay
from skmind.inspection._plotting import color_of
from skmind.inspection._user_displays import _plane_of_groups
from tests.inspection.pictures import STYLES, assert_looks_the_same, overlapping, plt, style


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def titles(fitted):
    return {item: f"title of {item}" for item in fitted[1].items_}


# ------------------------------------------------------------------ map


def test_the_map_has_history_recommendations_and_interests(fitted, titles):
    X, rec, test = fitted
    display = InterestMapDisplay.from_estimator(rec, "u3", k=7, titles=titles)
    parts = dict(list(display.points.groupby("kind")))
    interests = np.flatnonzero((rec.interests(["u3"])[0] != 0).any(axis=1))
    assert parts["interest"]["interest"].tolist() == interests.tolist()
    top = rec.recommend(["u3"], 7, titles=titles)
    assert parts["recommendation"]["label"].tolist() == top["title"].tolist()
    assert parts["recommendation"]["interest"].tolist() == top["interest"].tolist()
    seen = X.drop(test.index).query("user_id == 'u3'")["item_id"]
    assert set(parts["history"]["label"]) == {titles[item] for item in seen}
    assert parts["history"]["weight"].between(0, 1).all()
    explained = rec.explain("u3", top["item_id"][0], titles=titles)
    weights = explained.groupby("history_title")["weight"].sum()
    history = parts["history"].set_index("label")
    same = history[history["interest"] == explained["interest"][0]]
    np.testing.assert_allclose(same["weight"], weights[same.index], atol=1e-6)


def test_markers_have_the_colours_of_interests(fitted):
    display = InterestMapDisplay.from_estimator(fitted[1], "u3")
    for kind, marker in display.markers_.items():
        rows = display.points[display.points["kind"] == kind]
        np.testing.assert_allclose(marker.get_offsets(), rows[["x", "y"]])
        colors = [to_hex(color).upper() for color in marker.get_facecolors()]
        assert colors == [color_of(number) for number in rows["interest"]]
    sizes = display.markers_["history"].get_sizes()
    weights = display.points.query("kind == 'history'")["weight"]
    assert np.argmax(sizes) == np.argmax(weights)


def test_labels_of_the_map_do_not_overlap(fitted, titles):
    display = InterestMapDisplay.from_estimator(fitted[1], "u3", titles=titles)
    assert len(display.labels_) > 5
    legend = display.ax_.get_legend()
    display.figure_.canvas.draw()
    assert overlapping([*display.labels_, legend]) == []
    without_titles = InterestMapDisplay.from_estimator(fitted[1], "u3")
    assert {label.get_text() for label in without_titles.labels_} <= set(fitted[1].items_)


def test_the_plane_separates_planted_groups():
    rng = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 20)
    noise = rng.normal(size=(60, 10)) * 3
    noise[:, :3] = 0
    vectors = 2 * np.eye(3, 10)[groups] + noise
    plane = _plane_of_groups(vectors, groups)
    assert plane.shape == (60, 2)
    centres = np.stack([plane[groups == g].mean(axis=0) for g in range(3)])
    sides = np.linalg.norm(centres - np.roll(centres, 1, axis=0), axis=1)
    true = np.stack([vectors[groups == g].mean(axis=0) for g in range(3)])
    np.testing.assert_allclose(sides, np.linalg.norm(true - np.roll(true, 1, axis=0), axis=1))


def test_the_plane_of_few_groups_or_dimensions():
    vectors = np.array([[0.0, 0, 0], [0, 1, 0], [4, 0, 0], [4, 1, 0]])
    plane = _plane_of_groups(vectors, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(np.ptp(plane, axis=0), [4, 1])
    assert _plane_of_groups(vectors, np.zeros(4)).shape == (4, 2)
    np.testing.assert_allclose(_plane_of_groups(vectors[:, :1], np.zeros(4))[:, 1], 0)
    np.testing.assert_array_equal(_plane_of_groups(vectors[:1], np.zeros(1)), [[0, 0]])


# ------------------------------------------------------------------ heat map


def test_the_heat_map_has_the_weights_in_the_order_of_time(fitted, titles):
    X, rec, test = fitted
    display = RoutingDisplay.from_estimator(rec, "u3", titles=titles)
    seen = X.drop(test.index).query("user_id == 'u3'").sort_values("timestamp", kind="stable")
    assert display.weights.index.tolist() == [titles[item] for item in seen["item_id"][::-1]]
    np.testing.assert_allclose(display.weights.sum(), 1, atol=1e-6)
    explained = rec.explain("u3", rec.items_[0], titles=titles)
    column = display.weights[explained["interest"][0]]
    np.testing.assert_allclose(
        column.groupby(level=0).sum().sort_index(),
        explained.groupby("history_title")["weight"].sum().sort_index(),
        atol=1e-6,
    )
    np.testing.assert_array_equal(display.mesh_.get_array(), display.weights)
    assert display.ax_.yaxis_inverted()
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == display.weights.index.tolist()
    display.figure_.canvas.draw()
    assert overlapping([*display.ax_.get_yticklabels(), *display.ax_.get_xticklabels()]) == []


def test_long_histories_are_cut_and_long_titles_shortened(fitted):
    long = dict.fromkeys(fitted[1].items_, "A very long title of $1 " * 5)
    display = RoutingDisplay.from_estimator(fitted[1], "u3", titles=long, n_items=3)
    assert display.weights.shape[0] == 3
    assert {len(label.get_text()) for label in display.ax_.get_yticklabels()} <= {35, 36}
    display.figure_.canvas.draw()


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("display", [InterestMapDisplay, RoutingDisplay])
def test_bad_arguments(fitted, display):
    rec = fitted[1]
    with pytest.raises(UnknownIdError, match="the user 'nobody' was not in fit"):
        display.from_estimator(rec, "nobody")
    with pytest.raises(UnknownIdError, match="none of the 1 ids of titles"):
        display.from_estimator(rec, "u3", titles={"i999": "a"})
    with pytest.raises(NotFittedError):
        display.from_estimator(MINDRecommender(), "u3")
    with pytest.raises(InvalidInputError, match="create the display with from_estimator"):
        display([1])
    count = {"k": 0} if display is InterestMapDisplay else {"n_items": 0}
    with pytest.raises(InvalidInputError, match="=0 must be an integer"):
        display.from_estimator(rec, "u3", **count)


def test_a_user_without_history():
    X = pd.DataFrame({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "timestamp": [1, 2, 3]})
    users = pd.DataFrame({"user_id": [1, 2], "age": [1.0, None]})
    rec = MINDRecommender(embedding_dim=4, max_epochs=1).fit(X, users=users)
    with pytest.raises(InvalidInputError, match="user 2 has no history"):
        RoutingDisplay.from_estimator(rec, 2)
    with pytest.raises(InvalidInputError, match="user 2 has no interest"):
        InterestMapDisplay.from_estimator(rec, 2)


# ------------------------------------------------------------------ pictures

rng = np.random.default_rng(0)
POINTS = pd.DataFrame(
    {
        "kind": ["interest"] * 3 + ["recommendation"] * 5 + ["history"] * 12,
        "label": [f"item {i}" for i in range(20)],
        "interest": np.append([0, 1, 2], rng.integers(3, size=17)),
        "weight": np.append([1, 1, 1], rng.random(17) ** 2),
        "x": rng.normal(size=20).round(2),
        "y": rng.normal(size=20).round(2),
    }
)
WEIGHTS = pd.DataFrame(
    rng.dirichlet(np.full(8, 0.5), size=3).T, index=[f"item {i}" for i in "abcdefgh"]
)


@pytest.mark.parametrize("name", STYLES)
def test_the_map_looks_as_it_did(tmp_path, name):
    with style(name):
        figure = plt.figure(figsize=(4, 3))
        InterestMapDisplay(POINTS).plot(figure.add_axes([0.02, 0.02, 0.96, 0.8]))
        assert_looks_the_same(figure, f"InterestMapDisplay-{name}", tmp_path)


@pytest.mark.parametrize("name", STYLES)
def test_the_heat_map_looks_as_it_did(tmp_path, name):
    with style(name):
        figure = plt.figure(figsize=(4, 3))
        RoutingDisplay(WEIGHTS).plot(figure.add_axes([0.3, 0.2, 0.64, 0.64]))  # whole pixels
        assert_looks_the_same(figure, f"RoutingDisplay-{name}", tmp_path)
