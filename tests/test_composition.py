"""Pipelines, unions, searches and routed metadata with a recommender inside.

Each composition is compared with the recommender alone, called by hand.
"""

import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_validate,
)
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import NothingToScoreWarning
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold
from skmind.scoring import make_ranking_scorer

SMALL = {
    "n_interests": 2,
    "embedding_dim": 8,
    "max_history": 10,
    "max_epochs": 1,
    "batch_size": 64,
    "random_state": 0,
}
COLUMNS = ["user_id", "item_id", "timestamp"]
REC = MINDRecommender(**SMALL)


@pytest.fixture(scope="module")
def X():
    made = make_interactions(40, 30, n_topics=6, n_interests=2, n_events=(6, 9), random_state=0)
    channel = np.where(np.arange(len(made.interactions)) % 3, "web", "shop")
    return made.interactions.assign(channel=channel)


@pytest.fixture(scope="module")
def fitted(X):
    return clone(REC).fit(X[COLUMNS])


@pytest.fixture(scope="module")
def tables(X):
    """Features of items and users, in tables of other lengths than X."""
    topic = pd.DataFrame({"item_id": range(35), "topic": [f"t{i % 5}" for i in range(35)]})
    return {"items": topic, "users": pd.DataFrame({"user_id": range(40), "age": np.arange(40.0)})}


def same(mine, other):
    np.testing.assert_array_equal(mine.item_embeddings_, other.item_embeddings_)
    pd.testing.assert_frame_equal(mine.recommend(k=5), other.recommend(k=5), check_exact=True)


# ------------------------------------------------------------------ pipelines


def chosen(output):
    """The columns of the interactions, as the only ones, in another order and kind of table."""
    columns = ColumnTransformer([("kept", "passthrough", COLUMNS)], verbose_feature_names_out=False)
    return columns.set_output(transform=output)


BEFORE = {
    "passthrough": "passthrough",
    "column transformer, arrays": chosen("default"),
    "column transformer, pandas": chosen("pandas"),
    "column transformer, polars": chosen("polars"),
    "function, pandas": FunctionTransformer(lambda X: X[COLUMNS]),
    "function, polars": FunctionTransformer(lambda X: pl.from_pandas(X[COLUMNS])),
    "function, list": FunctionTransformer(lambda X: X[COLUMNS].to_numpy().tolist()),
}


@pytest.mark.parametrize("before", BEFORE)
def test_steps_before(X, fitted, before):
    pipeline = make_pipeline(BEFORE[before], clone(REC)).fit(X)
    same(pipeline[-1], fitted)
    np.testing.assert_array_equal(pipeline.predict(X), fitted.predict(X[COLUMNS]))
    np.testing.assert_array_equal(pipeline.predict(X, k=3), fitted.predict(X[COLUMNS], k=3))
    np.testing.assert_array_equal(pipeline.transform(X), fitted.transform(X[COLUMNS]))
    assert pipeline.score(X) == fitted.score(X[COLUMNS])


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_a_classifier_after_sees_the_past_only(X, output):
    y = np.where(X["item_id"] % 2, "odd", "even")
    past = clone(REC).set_params(transform_history="past")
    model = LogisticRegression(max_iter=200)
    pipeline = make_pipeline(clone(past), model).set_output(transform=output).fit(X, y)
    alone = past.fit(X).transform(X)
    expected = clone(model).fit(alone, y)
    np.testing.assert_array_equal(pipeline[:-1].transform(X), alone)
    # polars hands the classifier another memory layout, which rounds differently
    np.testing.assert_allclose(pipeline.predict_proba(X), expected.predict_proba(alone), rtol=1e-4)
    assert pipeline.score(X, y) == pytest.approx(expected.score(alone, y), abs=0.01)
    changed = X.assign(item_id=X["item_id"].to_numpy()[::-1])  # its own item says nothing of a row
    np.testing.assert_array_equal(pipeline.predict(changed), pipeline.predict(X))


def test_a_cache_fits_once(X, tmp_path, monkeypatch):
    fits, fit = [], MINDRecommender._fit
    monkeypatch.setattr(MINDRecommender, "_fit", lambda *args: fits.append(1) or fit(*args))
    y = (X["item_id"] % 2).to_numpy()
    model = Pipeline([("rec", clone(REC)), ("model", LogisticRegression())], memory=str(tmp_path))
    found = [model.set_params(model__C=C).fit(X, y).predict_proba(X) for C in (1.0, 1.0, 9.0)]
    assert len(fits) == 1
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    assert len(model["rec"].recommend([0], k=3)) == 3
    model.set_params(rec__embedding_dim=4).fit(X, y)
    assert len(fits) == 2


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_a_union_with_other_features(X, fitted, output):
    web = FunctionTransformer(
        lambda X: pd.DataFrame({"web": X["channel"] == "web"}),
        feature_names_out=lambda *_: ["web"],
    )
    union = FeatureUnion([("mind", clone(REC)), ("seen", web)]).fit(X)
    names = [f"mind__mindrecommender{i}" for i in range(16)] + ["seen__web"]
    assert union.get_feature_names_out().tolist() == names
    plain = union.transform(X)
    np.testing.assert_array_equal(plain[:, :16], fitted.transform(X[COLUMNS]))
    np.testing.assert_array_equal(plain[:, 16], X["channel"] == "web")
    framed = clone(union).set_output(transform=output).fit_transform(X)
    assert list(framed.columns) == names
    np.testing.assert_array_equal(framed["mind__mindrecommender3"], plain[:, 3])


def test_as_a_part_of_a_column_transformer(X, fitted):
    parts = ColumnTransformer(
        [("mind", clone(REC), COLUMNS), ("kind", OneHotEncoder(), ["channel"])]
    ).set_output(transform="pandas")
    parts.set_params(kind__sparse_output=False, mind__n_interests=2)
    made = parts.fit_transform(X)
    assert list(made.columns[-3:]) == [
        "mind__mindrecommender15",
        "kind__channel_shop",
        "kind__channel_web",
    ]
    assert made.index.equals(X.index)
    np.testing.assert_array_equal(made.iloc[:, :16], fitted.transform(X[COLUMNS]))


def test_a_cloned_pipeline_is_unfitted_and_fits_alike(X, fitted):
    pipeline = make_pipeline(chosen("pandas"), clone(REC)).fit(X)
    twin = clone(pipeline).set_params(mindrecommender__n_interests=1)
    assert not hasattr(twin[-1], "items_")
    same(twin.set_params(mindrecommender__n_interests=2).fit(X)[-1], pipeline[-1])
    assert pipeline.get_feature_names_out().tolist() == fitted.get_feature_names_out().tolist()


# ------------------------------------------------------------------ searches

SCORER = make_ranking_scorer(["hit_rate", "ndcg"], k=[5, 10])
SPLITTERS = [
    LeaveLastOut(n_splits=2),
    TemporalSplit(2),
    UserKFold(2),
    KFold(2),
    KFold(2, shuffle=True, random_state=0),
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=str)
def test_every_splitter_gives_scores(X, cv):
    with warnings.catch_warnings():
        warnings.simplefilter("error", NothingToScoreWarning)
        found = cross_validate(REC, X, cv=cv, scoring=SCORER, error_score="raise")
    for fold, (train, test) in enumerate(cv.split(X)):
        alone = clone(REC).fit(X.iloc[train])
        scores = SCORER(alone, X.iloc[test])
        assert {name: found[f"test_{name}"][fold] for name in scores} == scores
        assert scores["ndcg@10"] == alone.score(X.iloc[test])
        assert 0 < scores["ndcg@5"] < scores["hit_rate@10"] <= 1


@pytest.mark.parametrize("make", [GridSearchCV, RandomizedSearchCV])
def test_a_search_over_several_metrics(X, make, monkeypatch):
    grid = {"mindrecommender__n_interests": [1, 2]}
    options = {"n_iter": 2, "random_state": 0} if make is RandomizedSearchCV else {}
    search = make(
        make_pipeline("passthrough", REC),
        grid,
        cv=LeaveLastOut(),
        scoring=SCORER,
        refit="ndcg@10",
        error_score="raise",
        **options,
    )
    with monkeypatch.context() as patch:
        asked, rank = [], MINDRecommender.target_ranks
        patch.setattr(
            MINDRecommender, "target_ranks", lambda *a, **kw: asked.append(1) or rank(*a, **kw)
        )
        search.fit(X)
    assert len(asked) == 2  # one ranking for each candidate, of four metrics
    train, test = next(LeaveLastOut().split(X))
    for params, score, hits in zip(
        search.cv_results_["params"],
        search.cv_results_["mean_test_ndcg@10"],
        search.cv_results_["mean_test_hit_rate@5"],
        strict=True,
    ):
        alone = clone(search.estimator).set_params(**params).fit(X.iloc[train])
        assert score == alone.score(X.iloc[test])
        assert hits == SCORER(alone, X.iloc[test])["hit_rate@5"]
    assert len(set(search.cv_results_["mean_test_ndcg@10"])) == 2
    assert search.best_score_ == search.cv_results_["mean_test_ndcg@10"].max()
    same(
        search.best_estimator_[-1],
        clone(search.estimator).set_params(**search.best_params_).fit(X)[-1],
    )


def test_halving_by_epochs(X):
    search = HalvingGridSearchCV(
        REC,
        {"n_interests": [1, 2, 3]},
        resource="max_epochs",
        min_resources=1,
        max_resources=3,
        factor=3,
        cv=LeaveLastOut(),
        scoring=make_ranking_scorer("ndcg", k=10),
        error_score="raise",
    ).fit(X)
    results = search.cv_results_
    assert search.n_resources_ == [1, 3]
    assert results["n_resources"].tolist() == [1, 1, 1, 3]
    assert np.argmax(results["mean_test_score"][:3]) + 1 == results["param_n_interests"][3]
    assert search.best_estimator_.n_epochs_ == 3
    assert np.isfinite(results["mean_test_score"]).all()


def test_workers_find_the_same_with_a_share_of_the_threads(X):
    one, two = (
        GridSearchCV(
            REC,
            {"n_interests": [1, 2]},
            cv=LeaveLastOut(),
            scoring=SCORER,
            refit="ndcg@10",
            n_jobs=n_jobs,
        ).fit(X)
        for n_jobs in (1, 2)
    )
    for name in one.cv_results_:
        if "test" in name:
            np.testing.assert_array_equal(one.cv_results_[name], two.cv_results_[name])
    same(one.best_estimator_, two.best_estimator_)
    # loky tells its workers by OMP_NUM_THREADS, which torch obeys
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(torch.get_num_threads)() for _ in range(2))
    assert threads == [max(1, joblib.cpu_count() // 2)] * 2


def test_workers_share_a_directory_of_checkpoints(X, tmp_path):
    """They train the same at the same time, for candidates that differ in a later step."""

    def search(checkpoint_dir, n_jobs):
        rec = clone(REC).set_params(max_epochs=3, checkpoint_dir=checkpoint_dir)
        pipeline = Pipeline([("rec", rec), ("model", LogisticRegression())])
        grid = {"model__C": [0.01, 0.1, 1.0, 10.0]}
        cv = TemporalSplit(1)
        return GridSearchCV(pipeline, grid, cv=cv, n_jobs=n_jobs, error_score="raise")

    y = X["item_id"] % 2
    one, two = search(None, 1).fit(X, y), search(tmp_path / "training", 2).fit(X, y)
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    same(one.best_estimator_["rec"], two.best_estimator_["rec"])
    assert list((tmp_path / "training").iterdir()) == []


def test_a_search_without_anything_to_score_says_how_to_split(X):
    once = X.drop_duplicates("user_id")
    search = GridSearchCV(REC, {"n_interests": [1]}, cv=KFold(2))
    with pytest.warns(NothingToScoreWarning, match="To score known users, split by time .*UserKF"):
        search.fit(once)
    skipping = make_ranking_scorer("ndcg", k=10, unseen_users="skip")
    search.set_params(cv=UserKFold(2), scoring=skipping)
    with pytest.warns(NothingToScoreWarning, match="unseen_users='skip' leaves out the others"):
        search.fit(X)
    search.set_params(
        cv=KFold(2), scoring=make_ranking_scorer("ndcg", k=10, unseen_users="popular")
    )
    assert np.isfinite(search.fit(once).best_score_)


# ------------------------------------------------------------------ features


def test_feature_tables_by_prefix_and_by_routing(X, fitted, tables):
    expected = clone(REC).fit(X, **tables)
    assert (expected.item_embeddings_[:30] != fitted.item_embeddings_).any()
    prefixed = {f"rec__{name}": table for name, table in tables.items()}
    pipeline = Pipeline([("all", "passthrough"), ("rec", REC)])
    search = GridSearchCV(
        pipeline, {"rec__n_interests": [2]}, cv=LeaveLastOut(), error_score="raise"
    )
    same(clone(pipeline).fit(X, **prefixed)["rec"], expected)
    same(clone(search).fit(X, **prefixed).best_estimator_["rec"], expected)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(search)
        routed.estimator["rec"].set_fit_request(users=True, items=True)
        same(clone(routed.estimator).fit(X, **tables)["rec"], expected)
        routed.fit(X, **tables)
        found = cross_validate(routed.estimator, X, cv=LeaveLastOut(), params=tables)
    same(routed.best_estimator_["rec"], expected)
    train, test = next(LeaveLastOut().split(X))
    alone = clone(REC).fit(X.iloc[train], **tables)
    assert routed.best_score_ == alone.score(X.iloc[test]) == found["test_score"]


def test_features_as_columns_go_through_a_pipeline(X):
    columns = ["user_id", "item_id", "timestamp", "channel"]
    rec = clone(REC).set_params(user_features=["channel"])
    before = ColumnTransformer([("kept", "passthrough", columns)], verbose_feature_names_out=False)
    pipeline = make_pipeline(before.set_output(transform="pandas"), rec)
    same(pipeline.fit(X)[-1], clone(rec).fit(X))
    found = cross_validate(pipeline, X, cv=LeaveLastOut(), scoring=SCORER, error_score="raise")
    train, test = next(LeaveLastOut().split(X))
    alone = clone(rec).fit(X.iloc[train])
    assert found["test_ndcg@10"] == [SCORER(alone, X.iloc[test])["ndcg@10"]]


def test_weights_are_routed_to_the_scorer(X):
    weights = np.random.default_rng(0).random(len(X))
    train, test = next(LeaveLastOut().split(X))
    alone = clone(REC).fit(X.iloc[train])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_ranking_scorer("ndcg", k=10).set_score_request(sample_weight=True)
        found = cross_validate(
            REC, X, cv=LeaveLastOut(), scoring=scorer, params={"sample_weight": weights}
        )
    expected = alone.score(X.iloc[test], sample_weight=weights[test])
    assert found["test_score"] == [expected]
    assert expected != alone.score(X.iloc[test])


def test_a_search_finds_the_number_of_interests_that_was_planted():
    made = make_interactions(
        300,
        240,
        n_topics=12,
        n_events=(12, 16),
        n_interests=2,
        noise=0.3,
        popularity_exponent=0.0,
        random_state=0,
    )
    topics = made.item_table[["item_id", "topic"]].astype({"topic": str})
    rec = MINDRecommender(
        embedding_dim=6,
        max_epochs=5,
        batch_size=128,
        learning_rate=0.03,
        n_encoder_layers=0,
        adaptive_interests=False,
        random_state=0,
    )
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            Pipeline([("columns", chosen("pandas")), ("rec", rec.set_fit_request(items=True))]),
            {"rec__n_interests": [1, 2, 4]},
            cv=LeaveLastOut(3),
            scoring=make_ranking_scorer("recall", k=20),
            refit=False,
            error_score="raise",
        ).fit(made.interactions, items=topics)
    one, two, four = search.cv_results_["mean_test_score"]
    assert search.best_params_ == {"rec__n_interests": 2}
    assert two > 1.05 * max(one, four)
    assert one != four
    assert min(one, four) > 20 / 240  # by chance
    assert two < 0.7 * 20 / 24  # by the two topics themselves, whose unseen items are 24 at least
