"""Pipelines, unions, searches and metadata routing with a recommender inside.

Each composition is compared with direct calls of a recommender.
"""

import functools
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
    data = make_interactions(40, 30, n_topics=6, n_interests=2, n_events=(6, 9), random_state=0)
    channel = np.where(np.arange(len(data.interactions)) % 3, "web", "shop")
    return data.interactions.assign(channel=channel)


@pytest.fixture(scope="module")
def fitted(X):
    return clone(REC).fit(X[COLUMNS])


@pytest.fixture(scope="module")
def tables(X):
    """Feature tables of items and users, whose lengths differ from that of X."""
    topic = pd.DataFrame({"item_id": range(35), "topic": [f"t{i % 5}" for i in range(35)]})
    return {"items": topic, "users": pd.DataFrame({"user_id": range(40), "age": np.arange(40.0)})}


def assert_same(rec, expected):
    np.testing.assert_array_equal(rec.item_embeddings_, expected.item_embeddings_)
    pd.testing.assert_frame_equal(rec.recommend(k=5), expected.recommend(k=5), check_exact=True)


# ------------------------------------------------------------------ pipelines


def select_columns(output):
    """Return a transformer that keeps the columns of the recommender, as a table of this kind."""
    columns = ColumnTransformer([("kept", "passthrough", COLUMNS)], verbose_feature_names_out=False)
    return columns.set_output(transform=output)


STEPS_BEFORE = {
    "passthrough": "passthrough",
    "column transformer, arrays": select_columns("default"),
    "column transformer, pandas": select_columns("pandas"),
    "column transformer, polars": select_columns("polars"),
    "function, pandas": FunctionTransformer(lambda X: X[COLUMNS]),
    "function, polars": FunctionTransformer(lambda X: pl.from_pandas(X[COLUMNS])),
    "function, list": FunctionTransformer(lambda X: X[COLUMNS].to_numpy().tolist()),
}


@pytest.mark.parametrize("step", STEPS_BEFORE)
def test_a_step_before_the_recommender(X, fitted, step):
    pipeline = make_pipeline(STEPS_BEFORE[step], clone(REC)).fit(X)
    assert_same(pipeline[-1], fitted)
    np.testing.assert_array_equal(pipeline.predict(X), fitted.predict(X[COLUMNS]))
    np.testing.assert_array_equal(pipeline.predict(X, k=3), fitted.predict(X[COLUMNS], k=3))
    np.testing.assert_array_equal(pipeline.transform(X), fitted.transform(X[COLUMNS]))
    assert pipeline.score(X) == fitted.score(X[COLUMNS])


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_a_classifier_after_the_recommender_sees_only_the_past(X, output):
    y = np.where(X["item_id"] % 2, "odd", "even")
    past = clone(REC).set_params(transform_history="past")
    model = LogisticRegression(max_iter=200)
    pipeline = make_pipeline(clone(past), model).set_output(transform=output).fit(X, y)
    alone = past.fit(X).transform(X)
    expected = clone(model).fit(alone, y)
    np.testing.assert_array_equal(pipeline[:-1].transform(X), alone)
    # polars passes another memory layout to the classifier, which rounds differently.
    np.testing.assert_allclose(pipeline.predict_proba(X), expected.predict_proba(alone), rtol=1e-4)
    assert pipeline.score(X, y) == pytest.approx(expected.score(alone, y), abs=0.01)
    changed = X.assign(item_id=X["item_id"].to_numpy()[::-1])  # a row's own item is not used
    np.testing.assert_array_equal(pipeline.predict(changed), pipeline.predict(X))


def test_a_cache_fits_once(X, tmp_path, monkeypatch):
    fits = []
    fit = MINDRecommender.fit

    @functools.wraps(fit)
    def counted_fit(*args, **kwargs):
        fits.append(1)
        return fit(*args, **kwargs)

    monkeypatch.setattr(MINDRecommender, "fit", counted_fit)
    y = (X["item_id"] % 2).to_numpy()
    model = Pipeline([("rec", clone(REC)), ("model", LogisticRegression())], memory=str(tmp_path))
    first, again, other = (
        model.set_params(model__C=C).fit(X, y).predict_proba(X) for C in (1.0, 1.0, 9.0)
    )
    assert len(fits) == 1
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
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


def test_a_recommender_in_a_column_transformer(X, fitted):
    parts = ColumnTransformer(
        [("mind", clone(REC), COLUMNS), ("kind", OneHotEncoder(), ["channel"])]
    ).set_output(transform="pandas")
    parts.set_params(kind__sparse_output=False, mind__n_interests=2)
    output = parts.fit_transform(X)
    assert list(output.columns[-3:]) == [
        "mind__mindrecommender15",
        "kind__channel_shop",
        "kind__channel_web",
    ]
    assert output.index.equals(X.index)
    np.testing.assert_array_equal(output.iloc[:, :16], fitted.transform(X[COLUMNS]))


def test_a_cloned_pipeline_is_unfitted_and_fits_the_same(X, fitted):
    pipeline = make_pipeline(select_columns("pandas"), clone(REC)).fit(X)
    twin = clone(pipeline).set_params(mindrecommender__n_interests=1)
    assert not hasattr(twin[-1], "items_")
    assert_same(twin.set_params(mindrecommender__n_interests=2).fit(X)[-1], pipeline[-1])
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
        results = cross_validate(REC, X, cv=cv, scoring=SCORER, error_score="raise")
    for fold, (train, test) in enumerate(cv.split(X)):
        alone = clone(REC).fit(X.iloc[train])
        scores = SCORER(alone, X.iloc[test])
        assert {name: results[f"test_{name}"][fold] for name in scores} == scores
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
        rankings = []
        target_ranks = MINDRecommender.target_ranks
        patch.setattr(
            MINDRecommender,
            "target_ranks",
            lambda *args, **kwargs: rankings.append(1) or target_ranks(*args, **kwargs),
        )
        search.fit(X)
    assert len(rankings) == 2  # one ranking per candidate gives all four metrics
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
    assert_same(
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


def test_workers_give_the_same_scores_with_a_share_of_the_threads(X):
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
    assert_same(one.best_estimator_, two.best_estimator_)
    # loky sets OMP_NUM_THREADS for its workers, and torch uses it.
    threads = joblib.Parallel(n_jobs=2)(joblib.delayed(torch.get_num_threads)() for _ in range(2))
    assert threads == [max(1, joblib.cpu_count() // 2)] * 2


def test_workers_share_a_directory_of_checkpoints(X, tmp_path):
    """Workers train the same model at the same time: the candidates differ in a later step."""

    def search(checkpoint_dir, n_jobs):
        rec = clone(REC).set_params(max_epochs=3, checkpoint_dir=checkpoint_dir)
        pipeline = Pipeline([("rec", rec), ("model", LogisticRegression())])
        grid = {"model__C": [0.01, 0.1, 1.0, 10.0]}
        cv = TemporalSplit(1)
        return GridSearchCV(pipeline, grid, cv=cv, n_jobs=n_jobs, error_score="raise")

    y = X["item_id"] % 2
    one = search(None, 1).fit(X, y)
    two = search(tmp_path / "training", 2).fit(X, y)
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    assert_same(one.best_estimator_["rec"], two.best_estimator_["rec"])
    assert list((tmp_path / "training").iterdir()) == []


def test_a_search_with_nothing_to_score_warns_how_to_split(X):
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


def test_feature_tables_are_passed_by_prefix_and_by_routing(X, fitted, tables):
    expected = clone(REC).fit(X, **tables)
    assert (expected.item_embeddings_[:30] != fitted.item_embeddings_).any()
    prefixed = {f"rec__{name}": table for name, table in tables.items()}
    pipeline = Pipeline([("all", "passthrough"), ("rec", REC)])
    search = GridSearchCV(
        pipeline, {"rec__n_interests": [2]}, cv=LeaveLastOut(), error_score="raise"
    )
    assert_same(clone(pipeline).fit(X, **prefixed)["rec"], expected)
    assert_same(clone(search).fit(X, **prefixed).best_estimator_["rec"], expected)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = clone(search)
        routed.estimator["rec"].set_fit_request(users=True, items=True)
        assert_same(clone(routed.estimator).fit(X, **tables)["rec"], expected)
        routed.fit(X, **tables)
        results = cross_validate(routed.estimator, X, cv=LeaveLastOut(), params=tables)
    assert_same(routed.best_estimator_["rec"], expected)
    train, test = next(LeaveLastOut().split(X))
    alone = clone(REC).fit(X.iloc[train], **tables)
    assert routed.best_score_ == alone.score(X.iloc[test]) == results["test_score"]


def test_features_as_columns_pass_through_a_pipeline(X):
    columns = ["user_id", "item_id", "timestamp", "channel"]
    rec = clone(REC).set_params(user_features=["channel"])
    before = ColumnTransformer([("kept", "passthrough", columns)], verbose_feature_names_out=False)
    pipeline = make_pipeline(before.set_output(transform="pandas"), rec)
    assert_same(pipeline.fit(X)[-1], clone(rec).fit(X))
    results = cross_validate(pipeline, X, cv=LeaveLastOut(), scoring=SCORER, error_score="raise")
    train, test = next(LeaveLastOut().split(X))
    alone = clone(rec).fit(X.iloc[train])
    assert results["test_ndcg@10"] == [SCORER(alone, X.iloc[test])["ndcg@10"]]


def test_weights_are_routed_to_the_scorer(X):
    weights = np.random.default_rng(0).random(len(X))
    train, test = next(LeaveLastOut().split(X))
    alone = clone(REC).fit(X.iloc[train])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_ranking_scorer("ndcg", k=10).set_score_request(sample_weight=True)
        rec = clone(REC).set_fit_request(sample_weight=False)
        results = cross_validate(
            rec, X, cv=LeaveLastOut(), scoring=scorer, params={"sample_weight": weights}
        )
    expected = alone.score(X.iloc[test], sample_weight=weights[test])
    assert results["test_score"] == [expected]
    assert expected != alone.score(X.iloc[test])


def test_a_search_finds_that_several_interests_are_planted():
    data = make_interactions(
        300,
        240,
        n_topics=12,
        n_events=(12, 16),
        n_interests=2,
        noise=0.3,
        popularity_exponent=0.0,
        random_state=0,
    )
    topics = data.item_table[["item_id", "topic"]].astype({"topic": str})
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
            Pipeline(
                [("columns", select_columns("pandas")), ("rec", rec.set_fit_request(items=True))]
            ),
            {"rec__n_interests": [1, 2, 4]},
            cv=LeaveLastOut(3),
            scoring=make_ranking_scorer("recall", k=20),
            refit=False,
            error_score="raise",
        ).fit(data.interactions, items=topics)
    one, two, four = search.cv_results_["mean_test_score"]
    assert search.best_params_["rec__n_interests"] > 1
    assert min(two, four) > 1.05 * one
    assert one > 20 / 240  # a random ranking
    # A ranking by the two topics themselves: at least 24 of their items are unseen.
    assert two < 0.7 * 20 / 24


def test_weights_are_routed_to_fit(X):
    X = X[COLUMNS]
    weights = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    expected = clone(REC).fit(X, sample_weight=weights)
    direct = make_pipeline("passthrough", clone(REC)).fit(X, mindrecommender__sample_weight=weights)
    assert_same(direct[-1], expected)
    train, test = next(LeaveLastOut().split(X))
    alone = clone(REC).fit(X.iloc[train], sample_weight=weights[train])
    with sklearn.config_context(enable_metadata_routing=True):
        rec = clone(REC).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline("passthrough", rec).fit(X, sample_weight=weights)
        assert_same(pipeline[-1], expected)
        pipeline.set_score_request(sample_weight=True)  # scikit-learn 1.7 needs it
        search = GridSearchCV(
            pipeline, {"mindrecommender__n_interests": [2]}, cv=LeaveLastOut(), error_score="raise"
        ).fit(X, sample_weight=pd.Series(weights))
    assert_same(search.best_estimator_[-1], expected)
    assert search.best_score_ == alone.score(X.iloc[test], sample_weight=weights[test])
