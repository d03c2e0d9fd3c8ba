"""The drawn layers have the shapes and weights of the network, and texts fit into their boxes."""

import pandas as pd
import pytest

pytest.importorskip("matplotlib")

from sklearn.utils._param_validation import InvalidParameterError

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError
from skmind.inspection import ArchitectureDisplay
from tests.inspection.pictures import STYLES, assert_looks_the_same, overlapping, plt, style

X = pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": [*"abcbad"], "timestamp": range(6)})
ITEMS = pd.DataFrame({"item_id": [*"abcd"], "color": ["red", "blue", "red", "blue"]})
USERS = pd.DataFrame({"user_id": [1, 2], "age": [3.0, 4.0]})
SMALL = {"embedding_dim": 4, "n_interests": 3, "max_history": 5, "max_epochs": 1, "random_state": 0}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def layers_of(rec):
    return ArchitectureDisplay.from_estimator(rec).layers.set_index("layer")


@pytest.mark.parametrize("n_encoder_layers", [0, 1, 2])
@pytest.mark.parametrize("tables", [{}, {"items": ITEMS, "users": USERS}])
def test_the_weights_are_those_of_the_network(n_encoder_layers, tables):
    rec = MINDRecommender(**SMALL, n_encoder_layers=n_encoder_layers).fit(X, **tables)
    net = rec._model.network()
    layers = layers_of(rec)
    n_parameters = sum(parameter.numel() for parameter in net.parameters())
    assert layers["n_weights"].sum() == n_parameters
    assert layers.loc["Item vectors", "n_weights"] == net.item_embedding.numel() + (
        net.item_values.weight.numel() if tables else 0
    )
    assert layers.loc["Capsule routing", "n_weights"] == net.bilinear.numel() + net.recency.numel()
    assert ("Sequence encoder" in layers.index) == (n_encoder_layers > 0)
    assert ("User profile" in layers.index) == bool(tables)
    assert layers.loc["Interests", "output"] == "→ B × 3 × 4"
    assert layers.loc["Scores", "output"] == "→ B × 4"


def test_weights_of_repeats_belong_to_the_scores():
    rec = MINDRecommender(**SMALL, exclude_seen=False)
    for layers in (layers_of(rec), layers_of(rec.fit(X))):
        assert layers.loc["Scores", "n_weights"] == 5
        assert layers.loc["Scores", "weights"] == "5 weights of repeats"
    net = rec._model.network()
    assert layers["n_weights"].sum() == sum(parameter.numel() for parameter in net.parameters())
    rec.set_params(loss="label_aware")
    assert layers_of(MINDRecommender(**rec.get_params())).loc["Scores", "n_weights"] == 0


def test_items_and_catalogue_share_their_weights():
    shared = layers_of(MINDRecommender(**SMALL))["shares_weights_with"]
    assert shared[shared != ""].to_dict() == {
        "Item vectors": "Catalogue", "Catalogue": "Item vectors"
    }  # fmt: skip


def test_what_is_not_known_before_fit_is_not_counted():
    display = ArchitectureDisplay.from_estimator(MINDRecommender(**SMALL, user_features=["age"]))
    layers = display.layers.set_index("layer")
    assert layers["n_weights"].isna().sum() == 2
    assert display.ax_.get_title().endswith("and those of item vectors and user profile")
    assert layers.loc["Scores", "output"] == "→ B × n"
    assert layers.loc["Sequence encoder", "detail"].startswith("0 or 1 layer (auto)")


@pytest.mark.parametrize(
    ("parameters", "layer", "text"),
    [
        ({}, "Loss", "mixture loss,\n1,024 popularity negatives"),
        ({"loss": "label_aware", "n_negatives": "all"}, "Loss", "label-aware loss,\nall items as"),
        (
            {"label_attention": 2.0, "negative_sampling": "in_batch"},
            "Loss",
            "aware loss,\nnegatives",
        ),
        ({"index": "annoy"}, "Top k", "Annoy search"),
        ({}, "Top k", "search chosen in fit"),
        ({"adaptive_interests": False}, "Interests", "4 per user"),
        ({}, "Interests", "1 to 4 in use, by length of history"),
        ({"n_routing_iter": 1}, "Capsule routing", "1 iteration;"),
        ({"n_encoder_layers": 2}, "Sequence encoder", "2 layers of"),
    ],
)
def test_parameters_are_named(parameters, layer, text):
    assert text in layers_of(MINDRecommender(**parameters)).loc[layer, "detail"]


LARGE = {
    "n_interests": 256, "embedding_dim": 2**14, "max_history": 10**3, "n_encoder_layers": 1,
    "loss": "label_aware", "n_negatives": 10**6, "negative_sampling": "popularity",
    "user_features": ["a"], "item_features": ["b"],
}  # fmt: skip
REPEATS = {"exclude_seen": False, "max_history": 10**6, "n_encoder_layers": 1}


@pytest.mark.parametrize("parameters", [{}, LARGE, {"n_encoder_layers": 0}, REPEATS])
def test_texts_fit_into_their_boxes(parameters):
    display = ArchitectureDisplay.from_estimator(MINDRecommender(**parameters))
    display.figure_.canvas.draw()
    texts = [text for text in display.ax_.texts if text.get_text()]
    assert overlapping(texts) == []
    boxes = [box.get_window_extent() for box in display.boxes_.values()]
    for text in texts:
        extent = text.get_window_extent()
        assert any(
            box.x0 <= extent.x0
            and extent.x1 <= box.x1
            and box.y0 <= extent.y0 < extent.y1 <= box.y1
            for box in boxes
        ), text
    assert overlapping([*display.boxes_.values()]) == []


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_files(tmp_path, suffix):
    display = ArchitectureDisplay.from_estimator(MINDRecommender())
    path = tmp_path / f"model.{suffix}"
    display.figure_.savefig(path)
    start = path.read_bytes()[:200]
    assert (b"<?xml" in start) if suffix == "svg" else start.startswith(b"\x89PNG")


def test_bad_arguments():
    with pytest.raises(InvalidParameterError, match="n_interests"):
        ArchitectureDisplay.from_estimator(MINDRecommender(n_interests=0))
    with pytest.raises(InvalidInputError, match="layers lacks the columns"):
        ArchitectureDisplay([1])
    _, ax = plt.subplots()
    assert ArchitectureDisplay.from_estimator(MINDRecommender(), ax=ax).ax_ is ax


@pytest.mark.parametrize("name", STYLES)
def test_the_drawing_looks_as_it_did(tmp_path, name):
    with style(name):
        figure = plt.figure(figsize=(4, 3.5))
        rec = MINDRecommender(user_features=["age"])
        ArchitectureDisplay.from_estimator(rec, ax=figure.add_axes([0, 0, 1, 1]))
        assert_looks_the_same(figure, f"ArchitectureDisplay-{name}", tmp_path)
