"""Checks that scikit-learn has for estimators, and its tools with a recommender inside.

`check_estimator` runs in its own process. Its array API check needs an environment variable that
must be set before scipy is imported and that no other test should run under.
"""

import copy
import inspect
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.validation import check_is_fitted

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut, TemporalSplit

ROOT = Path(__file__).resolve().parents[1]

CHECK_ESTIMATOR = """
import json, warnings
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator
from skmind import MINDRecommender

class Categorical(MINDRecommender):  # gets data in which most users have several rows
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        return tags

class Float32Transformer(TransformerMixin, BaseEstimator):  # default tags, but always float32
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return X
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

warnings.simplefilter("ignore")  # some checks have tables of one row and the like
results = {"expected": [
    getattr(check, "func", check).__name__
    for _, check in estimator_checks_generator(Float32Transformer())
]}
for mode in ("default", "categorical", "routing"):
    estimator = Categorical() if mode == "categorical" else MINDRecommender()
    with sklearn.config_context(enable_metadata_routing=mode == "routing"):
        records = check_estimator(estimator, on_skip=None, on_fail=None)
    results[mode] = [
        [r["check_name"], r["status"], r["expected_to_fail"], repr(r["exception"])]
        for r in records
    ]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def check_results():
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", CHECK_ESTIMATOR],
        env=os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mode", ["default", "categorical", "routing"])
def test_check_estimator_passes_without_skipping_a_check(check_results, mode):
    records = check_results[mode]
    assert [record for record in records if record[1] != "passed" or record[2]] == []
    # No tag of the recommender removes a check that a transformer with default tags has.
    assert sorted(name for name, *_ in records) == sorted(check_results["expected"])


# Checks of scikit-learn's own estimators that check_estimator leaves out.
MORE_CHECKS = [
    "check_dataframe_column_names_consistency",
    "check_estimator_cloneable",
    "check_get_feature_names_out_error",
    "check_global_output_transform_pandas",
    "check_global_set_output_transform_polars",
    "check_inplace_ensure_writeable",
    "check_param_validation",
    "check_set_output_transform",
    "check_set_output_transform_pandas",
    "check_set_output_transform_polars",
    "check_transformer_get_feature_names_out",
    "check_transformer_get_feature_names_out_pandas",
    "check_transformer_preserve_dtypes",
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # feature names in fit only, nothing to learn
@pytest.mark.parametrize("name", MORE_CHECKS)
def test_checks_that_check_estimator_leaves_out(name):
    positions = MINDRecommender(user_col=0, item_col=1, time_col=2, embedding_dim=8, max_epochs=1)
    getattr(estimator_checks, name)("MINDRecommender", positions)


# ------------------------------------------------------------------ with scikit-learn's tools

SMALL = {
    "n_interests": 2,
    "embedding_dim": 8,
    "max_history": 10,
    "max_epochs": 2,
    "batch_size": 64,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def interactions():
    return make_interactions(
        40, 30, n_topics=6, n_interests=2, n_events=(6, 9), random_state=0
    ).interactions


@pytest.fixture(scope="module")
def fitted(interactions):
    return MINDRecommender(**SMALL).fit(interactions)


def test_tags(fitted):
    tags = get_tags(fitted)
    assert tags.transformer_tags.preserves_dtype == []
    assert not tags.target_tags.required
    assert not tags.input_tags.sparse
    assert tags.estimator_type is None


def test_clone_copies_parameters_only(fitted):
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert vars(copied) == copied.get_params()


def test_get_params_lists_every_parameter(fitted):
    parameters = MINDRecommender().get_params()
    assert set(parameters) == set(inspect.signature(MINDRecommender).parameters)
    changed = {**parameters, **SMALL}
    assert MINDRecommender().set_params(**SMALL).get_params() == changed
    assert repr(MINDRecommender(n_interests=2)) == "MINDRecommender(n_interests=2)"


def test_parameters_can_be_set_through_a_pipeline_and_a_search():
    pipeline = Pipeline([("mind", MINDRecommender()), ("model", LogisticRegression())])
    pipeline.set_params(mind__n_interests=3, model__C=2.0)
    assert pipeline["mind"].n_interests == 3
    search = GridSearchCV(pipeline, {"mind__n_interests": [1]})
    search.set_params(estimator__mind__embedding_dim=5)
    assert pipeline["mind"].embedding_dim == 5
    with pytest.raises(ValueError, match="Invalid parameter 'n_intrests'"):
        MINDRecommender().set_params(n_intrests=3)


def test_pipeline_passes_past_interests_to_a_classifier(interactions):
    y = (interactions["item_id"] % 2).to_numpy()
    recommender = MINDRecommender(**SMALL, transform_history="past")
    pipeline = make_pipeline(recommender, LogisticRegression()).fit(interactions, y)
    alone = clone(recommender).fit(interactions).transform(interactions)
    expected = LogisticRegression().fit(alone, y).predict_proba(alone)
    np.testing.assert_array_equal(pipeline.predict_proba(interactions), expected)
    assert pipeline[:-1].get_feature_names_out()[-1] == "mindrecommender15"


def test_pipeline_that_ends_in_the_recommender(interactions, fitted):
    pipeline = make_pipeline("passthrough", MINDRecommender(**SMALL)).fit(interactions)
    np.testing.assert_array_equal(pipeline.predict(interactions), fitted.predict(interactions))
    assert pipeline.score(interactions) == fitted.score(interactions)


def test_grid_search_with_leave_last_out(interactions):
    search = GridSearchCV(
        MINDRecommender(**SMALL),
        {"n_interests": [1, 2]},
        cv=LeaveLastOut(),
        error_score="raise",
    ).fit(interactions)
    train, test = next(LeaveLastOut().split(interactions))
    for n_interests, score in zip((1, 2), search.cv_results_["mean_test_score"], strict=True):
        alone = MINDRecommender(**{**SMALL, "n_interests": n_interests})
        assert score == alone.fit(interactions.iloc[train]).score(interactions.iloc[test])
        assert 0 < score < 1
    assert search.n_features_in_ == 3
    assert len(search.best_estimator_.recommend([0], k=3)) == 3


def test_cross_validate_with_temporal_split(interactions):
    result = cross_validate(
        MINDRecommender(**SMALL),
        interactions,
        cv=TemporalSplit(2, test_size=0.2),
        return_train_score=True,
        error_score="raise",
    )
    for scores in (result["test_score"], result["train_score"]):
        assert scores.shape == (2,)
        assert ((scores > 0) & (scores < 1)).all()


def test_set_output(interactions, fitted):
    as_frame = copy.deepcopy(fitted).set_output(transform="pandas").transform(interactions)
    assert as_frame.columns.tolist() == fitted.get_feature_names_out().tolist()
    assert as_frame.columns[0] == "mindrecommender0"
    assert as_frame.index.equals(interactions.index)
    assert set(as_frame.dtypes) == {np.dtype("float32")}
    np.testing.assert_array_equal(as_frame.to_numpy(), fitted.transform(interactions))


def through_joblib(estimator, path):
    joblib.dump(estimator, path / "recommender.joblib")
    return joblib.load(path / "recommender.joblib")


@pytest.mark.parametrize(
    "copied",
    [
        lambda estimator, _: pickle.loads(pickle.dumps(estimator)),
        lambda estimator, _: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(estimator)))),
        through_joblib,
        lambda estimator, _: copy.deepcopy(estimator),
    ],
    ids=["pickle", "pickle twice", "joblib", "deepcopy"],
)
@pytest.mark.parametrize("index", ["exact", "annoy"])
def test_copies_give_bit_equal_results(interactions, fitted, tmp_path, copied, index):
    original = fitted
    if index == "annoy":
        original = MINDRecommender(**SMALL, index="annoy", search_k=50).fit(interactions)
    twin = copied(original, tmp_path)
    check_is_fitted(twin)
    pd.testing.assert_frame_equal(twin.recommend(), original.recommend(), check_exact=True)
    np.testing.assert_array_equal(twin.transform(interactions), original.transform(interactions))
    assert twin.score(interactions) == original.score(interactions)
    pd.testing.assert_frame_equal(
        twin.similar_items([3], k=4), original.similar_items([3], k=4), check_exact=True
    )
    before = original.item_embeddings_.copy()
    twin.set_params(random_state=1).fit(interactions)  # must not change the original
    np.testing.assert_array_equal(original.item_embeddings_, before)


def test_copies_of_an_unfitted_recommender():
    unfitted = MINDRecommender(**SMALL)
    assert vars(pickle.loads(pickle.dumps(unfitted))) == vars(unfitted)
    assert vars(copy.deepcopy(unfitted)) == vars(unfitted)
