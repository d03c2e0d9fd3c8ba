"""What a manifest says of a fitted model, and the card that is made from it."""

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.exceptions import InvalidInputError, ModelFileError
from skmind.persistence.manifest import (
    FORMAT,
    LIBRARIES,
    card,
    check_facts,
    current_parameters,
    facts_of,
    saved_arrays,
)
from skmind.persistence.store import DTYPES

LOG = pd.DataFrame({"user_id": [1, 1, 1, 2, 2, 2], "item_id": list("abcabd")})
ITEMS = pd.DataFrame(
    {"item_id": list("abe"), "color": ["red", "red", None], "price": [1.0, None, 3]}
)
SETTINGS = {"embedding_dim": 4, "max_epochs": 2, "time_col": None, "random_state": 0}


def fit(**settings):
    return MINDRecommender(**SETTINGS | settings).fit(LOG, items=ITEMS)


@pytest.fixture(scope="module")
def facts():
    return facts_of(fit())


def test_facts(facts):
    assert facts["format"] == FORMAT
    assert facts["class"] == "MINDRecommender"
    assert facts["versions"].keys() == {"python", *LIBRARIES}
    assert (
        facts["parameters"] | {"checkpoint_dir": None} == MINDRecommender(**SETTINGS).get_params()
    )
    assert "checkpoint_dir" not in facts["parameters"]
    assert facts["sizes"] == {
        "n_users": 2, "n_interactions": 6, "n_user_values": 0, "n_item_values": 6
    }  # fmt: skip
    assert facts["user_features"] == []
    assert facts["item_features"] == [
        {"name": "color", "kind": "category", "width": 1},
        {"name": "price", "kind": "number", "width": 2},
    ]
    assert facts["schema"]["time"] is None
    assert facts["config"]["n_items"] == 5
    assert [epoch["epoch"] for epoch in facts["attributes"]["history_"]] == [1, 2]
    assert facts["attributes"]["feature_names_in_"] == ["user_id", "item_id"]
    check_facts(facts | {"files": {}}, MINDRecommender)


def test_facts_are_plain():
    settings = {
        "n_trees": np.int64(7),
        "item_dropout": np.float32(0.5),
        "user_features": ("user_id",),
    }
    parameters = facts_of(fit().set_params(**settings))["parameters"]
    assert (parameters["n_trees"], parameters["item_dropout"]) == (7, 0.5)
    assert type(parameters["n_trees"]) is int
    assert type(parameters["item_dropout"]) is float
    assert parameters["user_features"] == ["user_id"]


def test_parameters_that_can_not_be_saved():
    rec = fit(random_state=np.random.RandomState(0))
    with pytest.raises(InvalidInputError, match=r"parameters random_state is RandomState.*set_par"):
        facts_of(rec)
    facts_of(rec.set_params(random_state=None))


def test_saved_arrays_are_what_the_estimator_holds(facts):
    rec = fit()
    fields = saved_arrays(facts)
    for name, field in fields.items():
        array = field.get(rec)
        if name == "interactions.times":
            assert array is None
            continue
        assert array.shape == field.shape, name
        assert array.dtype.str in field.dtypes or (array.dtype == object and field.dtypes is DTYPES)
    weights = {name.removeprefix("weights.") for name in fields if name.startswith("weights.")}
    assert weights == rec._model.weights.keys()
    assert fields["item_features.vocabulary.1"].get(rec).tolist() == [2, 1]


def test_the_card_says_what_the_model_is(facts):
    text = card(facts)
    assert text.startswith("# MINDRecommender\n")
    for line in (
        "| users | 2 |", "| items | 5 |", "| interactions | 6 |", "| user features | none |",
        "| item features | color, price |", "| epochs | 2 |", "- `embedding_dim=4`",
        f"| loss | {facts['attributes']['history_'][1]['loss']:.4g} |",
    ):  # fmt: skip
        assert line in text


def test_the_card_shows_the_epoch_that_was_kept(facts):
    scores = [0.25, 0.75, 0.75, 0.5]
    history = [
        {"epoch": i, "loss": float(i), "validation_ndcg": score}
        for i, score in enumerate(scores, 1)
    ]
    text = card(facts | {"attributes": facts["attributes"] | {"history_": history}})
    assert "| validation_ndcg | 0.75 |" in text
    assert "| loss | 2 |" in text
    assert "loss |" not in card(facts | {"attributes": facts["attributes"] | {"history_": []}})


def test_a_fact_that_may_be_none_may_be_missing(facts):
    attributes = {k: v for k, v in facts["attributes"].items() if k != "feature_names_in_"}
    check_facts(facts | {"attributes": attributes, "files": {}}, MINDRecommender)
    attributes.pop("n_epochs_")
    with pytest.raises(ModelFileError, match="n_epochs_ in attributes in manifest.json is None"):
        check_facts(facts | {"attributes": attributes, "files": {}}, MINDRecommender)


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "other"}, {"n_trees": 0}, {"search_k": -1}, {"seed": -1}, {"effort": -0.5}]
    + [{"effort": float("nan")}],
)
def test_a_plan_that_no_index_can_be_built_by_is_refused(facts, wrong):
    check_facts(facts | {"files": {}}, MINDRecommender)
    with pytest.raises(ModelFileError, match=r"the plan .* of manifest.json is illegal"):
        check_facts(facts | {"files": {}, "plan": facts["plan"] | wrong}, MINDRecommender)


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
