"""Notebooks see scikit-learn's box, and after fit the numbers and curves of the fit."""

import re
import xml.etree.ElementTree as ET

import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, clone

from skmind import MINDRecommender
from skmind._summary import HEIGHT, WIDTH, summary_html
from skmind.datasets import make_interactions

SMALL = {"embedding_dim": 8, "max_epochs": 3, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return make_interactions(60, 30, n_topics=5, n_interests=2, random_state=0).interactions


def parts_of(html):
    """The rows of the table, and the points and labels of the curves."""
    tree = ET.fromstring(html)
    rows = {row[0].text: row[1].text for row in tree.iter("tr")}
    points = [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in tree.iter("polyline")
    ]
    return rows, points, [svg.get("aria-label") for svg in tree.iter("svg")]


def test_table_and_curves():
    rows, (loss, one), labels = parts_of(
        summary_html({"users <b>": "1 & 2"}, {"loss": [3.0, 1.0, 2.0], "ndcg": [0.5]})
    )
    assert rows == {"users <b>": "1 & 2"}
    assert labels == ["loss from 3 to 2 in 3 epochs", "ndcg from 0.5 to 0.5 in 1 epoch"]
    assert [x for x, _ in loss] == [4, WIDTH / 2, WIDTH - 4]
    assert [y for _, y in loss] == [4, HEIGHT - 4, HEIGHT / 2]  # svg counts down from the top
    assert len(one) == 1
    flat = parts_of(summary_html({}, {"loss": [2.0, 2.0]}))[1]
    assert flat == [[(4, HEIGHT - 4), (WIDTH - 4, HEIGHT - 4)]]


def test_nothing_is_loaded_and_nothing_runs():
    html = summary_html({"users": "1"}, {"loss": [1.0, 2.0]})
    assert not any(word in html for word in ("script", "href", "src=", "url(", "onload"))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fitted_estimator_shows_its_fit(X, early_stopping):
    rec = MINDRecommender(**SMALL, early_stopping=early_stopping)
    bare = re.sub(r"\d+", "", BaseEstimator._html_repr(rec))  # without the numbers of elements
    assert re.sub(r"\d+", "", rec._repr_html_()) == bare
    rec.fit(X)
    html = rec._repr_html_()
    summary = html[html.index('<div class="skmind-summary"') :]
    rows, curves, _ = parts_of(summary)
    last = rec.history_[-1]
    if early_stopping:
        assert rows.pop("validation NDCG@10") == f"{last['validation_ndcg']:.4f}"
    assert rows == {
        "users": "60",
        "items": str(len(rec.items_)),
        "interactions": f"{len(X):,}",
        "epochs": "3",
        "loss": f"{last['loss']:.4f}",
        "index": "exact search",
    }
    assert [len(curve) for curve in curves] == [rec.n_epochs_] * (1 + early_stopping)
    assert rec._repr_mimebundle_()["text/html"].endswith(summary)
    assert "skmind-summary" not in clone(rec)._repr_html_()
    with config_context(display="text"):
        assert not hasattr(rec, "_repr_html_")


@pytest.mark.filterwarnings("ignore:nothing to learn")
def test_a_fit_that_learned_nothing_has_no_curve(X):
    rec = MINDRecommender(**SMALL).fit(X.drop_duplicates("user_id"))
    html = rec._repr_html_()
    rows, curves, _ = parts_of(html[html.index('<div class="skmind-summary"') :])
    assert rows["epochs"] == "0"
    assert curves == []
