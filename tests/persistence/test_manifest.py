"""The manifest of a fitted model, its checks, and the model card."""

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError, ModelFileError
from skmind.persistence.manifest import (
    MODEL_FORMAT,
    RECORDED_LIBRARIES,
    array_specs,
    check_manifest,
    current_parameters,
    manifest_of,
    model_card,
)

LOG = pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": list("abcabd")})
ITEMS = pd.DataFrame(
    {"item_id": list("abe"), "color": ["red", "red", None], "price": [1.0, None, 3]}
)
SETTINGS = {"embedding_dim": 4, "max_epochs": 2, "time_col": None, "random_state": 0}


def fit(**settings):
    return MINDRecommender(**SETTINGS | settings).fit(LOG, items=ITEMS)


@pytest.fixture(scope="module")
def manifest():
    return manifest_of(fit())


def test_the_manifest_describes_the_model(manifest):
    assert manifest["format"] == MODEL_FORMAT
    assert manifest["class"] == "MINDRecommender"
    assert manifest["versions"].keys() == {"python", *RECORDED_LIBRARIES}
    assert (
        manifest["parameters"] | {"checkpoint_dir": None}
        == MINDRecommender(**SETTINGS).get_params()
    )
    assert "checkpoint_dir" not in manifest["parameters"]
    assert manifest["sizes"] == {
        "n_users": 2, "n_interactions": 6, "n_user_values": 0, "n_item_values": 6
    }  # fmt: skip
    assert manifest["user_features"] == []
    assert manifest["item_features"] == [
        {"name": "color", "kind": "category", "width": 1},
        {"name": "price", "kind": "number", "width": 2},
    ]
    assert manifest["schema"]["time"] is None
    assert manifest["config"]["n_items"] == 5
    assert [epoch["epoch"] for epoch in manifest["attributes"]["history_"]] == [1, 2]
    assert manifest["attributes"]["feature_names_in_"] == ["user_id", "item_id"]
    check_manifest(manifest | {"files": {}}, MINDRecommender)


def test_values_are_converted_for_json():
    settings = {
        "n_trees": np.int64(7),
        "item_dropout": np.float32(0.5),
        "user_features": ("user_id",),
    }
    parameters = manifest_of(fit().set_params(**settings))["parameters"]
    assert (parameters["n_trees"], parameters["item_dropout"]) == (7, 0.5)
    assert type(parameters["n_trees"]) is int
    assert type(parameters["item_dropout"]) is float
    assert parameters["user_features"] == ["user_id"]


def test_parameters_that_can_not_be_saved():
    rec = fit(random_state=np.random.RandomState(0))
    with pytest.raises(
        InvalidInputError, match=r"parameters random_state is RandomState.*use set_par"
    ):
        manifest_of(rec)
    manifest_of(rec.set_params(random_state=None))


@pytest.mark.parametrize("log", [LOG, LOG.assign(timestamp=range(6))])
def test_every_array_of_a_model_is_specified(log):
    time_col = "timestamp" if "timestamp" in log else None
    rec = MINDRecommender(**SETTINGS | {"time_col": time_col}).fit(log, items=ITEMS)
    arrays = rec._model.to_arrays() | {"item_embeddings": rec.item_embeddings_}
    specs = array_specs(manifest_of(rec))
    required = {name for name, spec in specs.items() if not spec.is_optional}
    assert required <= arrays.keys() <= specs.keys()
    assert ("interactions.times" in arrays) == (time_col is not None)
    for name, array in arrays.items():
        assert array.shape == specs[name].shape, name
        is_text = array.dtype == object and specs[name].may_be_objects
        assert is_text or array.dtype.str in specs[name].dtypes, name


def test_the_card_says_what_the_model_is(manifest):
    text = model_card(manifest)
    assert text.startswith("# MINDRecommender\n")
    for line in (
        "| users | 2 |", "| items | 5 |", "| interactions | 6 |", "| user features | none |",
        "| item features | color, price |", "| epochs | 2 |", "- `embedding_dim=4`",
        f"| loss | {manifest['attributes']['history_'][1]['loss']:.4g} |",
    ):  # fmt: skip
        assert line in text


def test_the_card_shows_the_last_epoch(manifest):
    scores = [0.25, 0.75, 0.75, 0.5]
    history = [
        {"epoch": i, "loss": float(i), "validation_ndcg": score}
        for i, score in enumerate(scores, 1)
    ]
    text = model_card(manifest | {"attributes": manifest["attributes"] | {"history_": history}})
    assert "| validation_ndcg | 0.5 |" in text
    assert "| loss | 4 |" in text
    assert "loss |" not in model_card(
        manifest | {"attributes": manifest["attributes"] | {"history_": []}}
    )


def test_a_value_that_may_be_none_may_be_missing(manifest):
    attributes = {k: v for k, v in manifest["attributes"].items() if k != "feature_names_in_"}
    check_manifest(manifest | {"attributes": attributes, "files": {}}, MINDRecommender)
    attributes.pop("n_epochs_")
    with pytest.raises(ModelFileError, match="n_epochs_ in attributes in manifest.json is None"):
        check_manifest(manifest | {"attributes": attributes, "files": {}}, MINDRecommender)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "other"}, "kind in plan in manifest.json is 'other', but must be one of exact"),
        ({"n_trees": 0}, "n_trees in plan in manifest.json is 0, but must be an integer from 1"),
        ({"n_trees": 1001}, r"'n_trees' parameter .* in the range \[1, 1000\]. Got 1001 instead"),
        ({"search_k": -1}, "search_k in plan in manifest.json is -1, but must be an integer"),
        ({"seed": -1}, "seed in plan in manifest.json is -1, but must be an integer from 0"),
        ({"effort": -0.5}, "effort in plan in manifest.json is -0.5, but must be a number from"),
        ({"effort": float("nan")}, "effort in plan in manifest.json is nan"),
        ({"effort": 1e7}, "effort in plan in manifest.json is 10000000.0"),
        ({"temperature": 0}, "temperature in plan in manifest.json is 0, but must be a number"),
        ({"temperature": 1e-300}, "temperature in plan in manifest.json is 1e-300"),
        ({"temperature": "0.1"}, "temperature in plan in manifest.json is '0.1'"),
    ],
)
def test_an_invalid_plan_is_rejected(manifest, wrong, message):
    check_manifest(manifest | {"files": {}}, MINDRecommender)
    with pytest.raises(ModelFileError, match=message):
        check_manifest(manifest | {"files": {}, "plan": manifest["plan"] | wrong}, MINDRecommender)


def test_an_array_of_two_columns_has_no_times(tmp_path):
    """Only then a model may lack the times that its schema names."""
    array = LOG.to_numpy(dtype=object)
    rec = MINDRecommender(**SETTINGS | {"time_col": "timestamp", "tie_order": "rows"}).fit(array)
    rec.save(tmp_path / "model")
    MINDRecommender.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("saved", "today"),
    [
        ({"dropout": 0.3}, {"item_dropout": 0.3}),
        (
            {"dropout": "deprecated", "item_dropout": 0.3},
            {"dropout": "deprecated", "item_dropout": 0.3},
        ),
        ({"label_attention": "mixture"}, {"label_attention": None}),
        ({"label_attention": "hard"}, {"label_attention": "hard"}),
        ({"label_attention": 2.0, "loss": "auto"}, {"label_attention": 2.0, "loss": "auto"}),
    ],
)
def test_parameters_of_older_models_have_todays_names(saved, today):
    assert current_parameters(saved) == today
