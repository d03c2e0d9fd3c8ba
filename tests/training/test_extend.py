"""Growing a fitted recommender: `partial_fit` trains, `add_interactions` extends the histories."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import skmind._estimator
import skmind.retrieval.calibration
from skmind import MINDRecommender
from skmind.data.interactions import Interactions
from skmind.datasets import make_interactions
from skmind.exceptions import IgnoredDataWarning, InvalidInputError, NothingToLearnWarning
from skmind.metrics import ndcg_at_k
from skmind.model_selection import LeaveLastOut
from skmind.training.extend import NEIGHBOUR_EVENTS, REPLAYED_PER_NEW_EVENT, with_replay

SMALL = {
    "n_interests": 2,
    "embedding_dim": 8,
    "max_history": 10,
    "n_negatives": "all",
    "max_epochs": 2,
    "batch_size": 64,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def data():
    return make_interactions(60, 40, n_topics=4, n_interests=2, n_events=(4, 9), random_state=0)


@pytest.fixture(scope="module")
def parts(data):
    """The rows of `fit`, and rows with later events, new users and new items."""
    X = data.interactions
    late = X["timestamp"] > X["timestamp"].quantile(0.7)
    new = late | (X["user_id"] % 10 == 3) | (X["item_id"] % 9 == 2)
    return X[~new], X[new]


@pytest.fixture(scope="module")
def items(data):
    return data.item_table[["item_id", "topic"]].astype({"topic": str})


@pytest.fixture(scope="module")
def once(parts):
    return MINDRecommender(**SMALL).fit(parts[0])


@pytest.fixture
def fitted(once):
    rec = copy.deepcopy(once)
    rec._moments = copy.deepcopy(once._moments)  # a copy does not have them
    return rec


def histories(rec):
    log = rec._model.interactions
    parts = np.split(rec.items_[log.items], log.offsets[1:-1])
    return dict(zip(rec.users_.tolist(), (part.tolist() for part in parts), strict=True))


# ------------------------------------------------------------------ ids and histories afterwards


@pytest.mark.parametrize("method", ["partial_fit", "add_interactions"])
@pytest.mark.parametrize("time_col", ["timestamp", None])
def test_old_codes_stay_and_histories_are_those_of_a_fit(parts, method, time_col):
    old, new = parts
    if method == "add_interactions":
        new = new[new["item_id"].isin(old["item_id"])]
    rec = MINDRecommender(**SMALL, time_col=time_col, tie_order="rows").fit(old)
    users, items = rec.users_, rec.items_
    assert getattr(rec, method)(new) is rec
    for before, after, column in ((users, rec.users_, "user_id"), (items, rec.items_, "item_id")):
        assert (after[: len(before)] == before).all()
        added = after[len(before) :].tolist()
        assert added == sorted(set(new[column]) - set(old[column]))
    assert len(rec.users_) > len(users)
    full = MINDRecommender(**SMALL, time_col=time_col, tie_order="rows").fit(pd.concat([old, new]))
    assert histories(rec) == histories(full)
    assert dict(zip(rec.items_, rec.item_counts_, strict=True)) == dict(
        zip(full.items_, full.item_counts_, strict=True)
    )


def test_new_users_and_items_are_recommended(fitted, parts):
    old, new = parts
    fitted.partial_fit(new)
    users = sorted(set(new["user_id"]) - set(old["user_id"]))
    result = fitted.recommend(users, k=len(fitted.items_), exclude_seen=False)
    assert (result["interest"] >= 0).all()  # popularity answers for nobody
    assert set(new["item_id"]) <= set(result["item_id"])
    assert len(fitted.item_embeddings_) == len(fitted.items_) == len(fitted.item_counts_)
    epochs = [epoch["epoch"] for epoch in fitted.history_]
    assert epochs == [1, 2, 3]
    assert fitted.n_epochs_ == 3
    assert [e["epoch"] for e in fitted.partial_fit(new, n_epochs=2).history_] == [1, 2, 3, 4, 5]


def test_transform_of_the_past_knows_what_was_added(parts):
    old, new = parts
    new = new[new["item_id"].isin(old["item_id"])]
    rec = MINDRecommender(**SMALL, transform_history="past").fit(old).add_interactions(new)
    row = new.sort_values("timestamp").tail(1)
    before = histories(rec)[row["user_id"].item()][:-1]
    np.testing.assert_allclose(
        rec.transform(row), rec.interests_from_history([before]).reshape(1, -1), atol=1e-6
    )


def test_an_unfitted_estimator_is_fitted(parts, items):
    one = MINDRecommender(**SMALL).fit(parts[0], items=items)
    two = MINDRecommender(**SMALL).partial_fit(parts[0], items=items, n_epochs=9)
    np.testing.assert_array_equal(one.item_embeddings_, two.item_embeddings_)
    assert two.n_epochs_ == SMALL["max_epochs"]


def test_min_item_count_is_for_fit(parts):
    old, new = parts
    rec = MINDRecommender(**SMALL, min_item_count=3).fit(old)
    rec.partial_fit(new)
    assert set(new["item_id"]) <= set(rec.items_)


# ------------------------------------------------------------------ add_interactions


def test_add_interactions_trains_nothing(fitted, parts):
    fitted.recommend(k=1)  # builds the index
    new = parts[1]
    vectors = fitted.item_embeddings_
    index = fitted._snapshot.search_index()
    weights = fitted._model.weights
    with pytest.warns(
        IgnoredDataWarning, match="items that are not known, .*partial_fit"
    ) as warned:
        fitted.add_interactions(new)
    assert warned[0].filename == __file__
    assert fitted.item_embeddings_ is vectors
    assert fitted._snapshot.index is index
    assert fitted._model.weights is weights
    assert fitted.n_epochs_ == 2
    user, seen = next((u, h) for u, h in histories(fitted).items() if u % 10 == 3 and h)
    np.testing.assert_allclose(
        fitted.interests([user]), fitted.interests_from_history([seen]), atol=1e-6
    )
    assert not set(fitted.recommend([user], k=20)["item_id"]) & set(seen)


def test_first_events_of_an_item_known_by_its_features_change_no_vector(parts, items, tmp_path):
    old, new = parts
    rec = MINDRecommender(**SMALL).fit(old, items=items)
    cold = new[~new["item_id"].isin(old["item_id"])].head(1)
    histories = [cold["item_id"].tolist(), [rec.items_[0], *cold["item_id"]]]
    before, weights = rec.interests_from_history(histories), rec._model.weights
    kept = weights["item_embedding"].copy()
    rec.add_interactions(cold)
    np.testing.assert_allclose(rec.interests_from_history(histories), before, atol=1e-5)
    np.testing.assert_array_equal(weights["item_embedding"], kept)  # other models may share them
    rec.save(tmp_path / "model")
    again = MINDRecommender.load(tmp_path / "model")
    np.testing.assert_array_equal(
        again.interests_from_history(histories), rec.interests_from_history(histories)
    )


# ------------------------------------------------------------------ starting vectors


def untrained(monkeypatch):
    """Let `partial_fit` train nothing, so that the starting vectors stay."""
    monkeypatch.setattr(skmind._estimator.Trainer, "fit", lambda *_: [])


def test_new_items_start_near_their_neighbours(fitted, monkeypatch):
    untrained(monkeypatch)
    old_items = fitted.items_[: NEIGHBOUR_EVENTS + 2].tolist()
    log = pd.DataFrame({"user_id": 1000, "item_id": [*old_items, 901, 902], "timestamp": range(9)})
    alone = pd.DataFrame({"user_id": 1001, "item_id": [903], "timestamp": [0]})
    vectors = fitted.item_embeddings_
    fitted.partial_fit(pd.concat([log, alone]))
    np.testing.assert_allclose(fitted.item_embeddings_[: len(vectors)], vectors, atol=1e-6)
    for item, neighbours in (
        (901, old_items[-NEIGHBOUR_EVENTS:]),
        (902, old_items[-NEIGHBOUR_EVENTS + 1 :]),
    ):
        total = vectors[np.isin(fitted.items_[: len(vectors)], neighbours)].sum(0)
        vector = fitted.item_embeddings_[fitted.items_ == item][0]
        np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-5)
    assert np.isfinite(fitted.item_embeddings_).all()
    norms = np.linalg.norm(fitted._model.weights["item_embedding"], axis=1)
    assert norms[-3] == pytest.approx(norms[: len(vectors)].mean(), rel=1e-4)


def test_new_items_start_from_their_features(parts, items, monkeypatch):
    old, new = parts
    rec = MINDRecommender(**SMALL).fit(old, items=items[items["item_id"].isin(old["item_id"])])
    untrained(monkeypatch)
    vectors = rec.item_embeddings_
    table = items.assign(topic=items["topic"].where(items["item_id"] != 2, "new"))
    rec.partial_fit(new, items=table)
    values = dict(
        zip(
            rec._model.prepared.item_features.encoder.features[0].values,
            rec._model.weights["item_values.weight"],
            strict=True,
        )
    )
    for item, topic in table[~table["item_id"].isin(old["item_id"])].to_numpy():
        vector = rec.item_embeddings_[rec.items_ == item][0]
        cosine = vector @ values[topic] / np.linalg.norm(values[topic])
        assert (cosine > 0.9999) == (topic != "new")
    np.testing.assert_allclose(rec.item_embeddings_[: len(vectors)], vectors, atol=1e-6)


# ------------------------------------------------------------------ the optimiser continues


def moments_of(rec, name, key):
    return rec._moments[name][key]


def test_the_state_of_the_optimiser_is_kept_and_grown(fitted, parts, monkeypatch):
    before = copy.deepcopy(fitted._moments)
    n_old = len(fitted.items_)
    after = {}

    def fit(trainer, _):
        after.update(copy.deepcopy(trainer.moments()))
        return []

    monkeypatch.setattr(skmind._estimator.Trainer, "fit", fit)
    fitted.partial_fit(parts[1])
    assert after.keys() == before.keys()
    for name, state in before.items():
        for key, value in state.items():
            grown = after[name][key]
            if name == "item_embedding" and key != "step":
                assert value.any()
                assert not grown[n_old:].any()
                assert len(grown) == len(fitted.items_)
                grown = grown[:n_old]
            np.testing.assert_array_equal(grown, value)


@pytest.mark.parametrize("is_pickled", [False, True])
def test_the_learning_rate_stays_where_fit_ended(fitted, parts, monkeypatch, is_pickled):
    if is_pickled:  # then the optimiser starts afresh, but at the same rate
        fitted = pickle.loads(pickle.dumps(fitted))
    rates = []
    step = skmind._estimator.Trainer.step

    def spy(trainer, *batch):
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        return step(trainer, *batch)

    monkeypatch.setattr(skmind._estimator.Trainer, "step", spy)
    fitted.partial_fit(parts[1], n_epochs=2)
    assert len(rates) > 2
    np.testing.assert_allclose(rates, 0.1 * fitted.learning_rate)


def test_steps_add_up_until_a_pickle(fitted, parts):
    steps = [moments_of(fitted, "bilinear", "step").item()]
    fitted.partial_fit(parts[1])
    steps.append(moments_of(fitted, "bilinear", "step").item())
    assert 0 < steps[0] < steps[1]
    again = pickle.loads(pickle.dumps(fitted))
    assert not hasattr(again, "_moments")
    total = moments_of(fitted.partial_fit(parts[1]), "bilinear", "step").item()
    afresh = moments_of(again.partial_fit(parts[1]), "bilinear", "step").item()
    assert total - afresh == steps[1]


# ------------------------------------------------------------------ replay


def test_whole_histories_are_learned_again_beside_the_new_events():
    lengths = np.r_[0, 3, np.full(198, 5)]
    offsets = np.r_[0, np.cumsum(lengths)]
    log = Interactions(np.arange(offsets[-1], dtype=np.int32), offsets)
    is_new = np.zeros(offsets[-1], dtype=bool)
    is_new[[0, 1, 7, 12, 20, 21, 22]] = True  # event 0 is the first of its user: it has no past
    n_drawn = np.zeros(200)
    for seed in range(40):
        marked = with_replay(log, is_new, np.random.default_rng(seed))
        assert marked[is_new].all()
        whole = np.array([part.all() for part in np.split(marked, offsets[1:-1])])
        assert (marked == is_new | np.repeat(whole, lengths)).all()
        assert REPLAYED_PER_NEW_EVENT * 6 - 5 < lengths[whole].sum() <= REPLAYED_PER_NEW_EVENT * 6
        n_drawn += whole
    assert n_drawn[2:].astype(bool).mean() > 0.5
    assert not n_drawn[[1, 2, 3, 5]].any()  # users with new events are not replayed
    is_new[:] = np.isin(np.arange(len(is_new)), offsets)  # first events only
    assert (with_replay(log, is_new, np.random.default_rng(0)) == is_new).all()


def test_partial_fit_trains_on_the_past_too(fitted, parts, monkeypatch):
    logs = []
    monkeypatch.setattr(skmind._estimator.Trainer, "fit", lambda _, log: logs.append(log) or [])
    new = parts[1].sort_values("timestamp").tail(8)
    fitted.partial_fit(new)
    assert new["user_id"].nunique() < logs[0].n_users


# ------------------------------------------------------------------ failures and empty cases


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


@pytest.mark.parametrize("cause", ["table", "epochs", "parameter", "interrupt", "late", "added"])
def test_a_failure_changes_nothing(fitted, parts, monkeypatch, cause):
    table = parts[1]
    options = {}
    error = InvalidInputError
    answer = fitted.recommend(k=3)
    weights = {name: value.copy() for name, value in fitted._model.weights.items()}
    if cause == "table":
        table = table.assign(timestamp=np.nan)
    if cause == "epochs":
        options = {"n_epochs": 0}
    if cause == "parameter":
        fitted.set_params(temperature=0)
        error = ValueError
    if cause == "interrupt":
        monkeypatch.setattr(skmind._estimator.Trainer, "moments", interrupted)
        error = KeyboardInterrupt
    if cause == "late":
        monkeypatch.setattr(skmind.retrieval.calibration, "ExactIndex", interrupted)
        error = KeyboardInterrupt
    if cause == "added":
        monkeypatch.setattr(skmind._estimator, "Snapshot", interrupted)
        error = KeyboardInterrupt
        table = table[table["item_id"].isin(parts[0]["item_id"])]
    before = dict(vars(fitted))
    method = fitted.add_interactions if cause == "added" else fitted.partial_fit
    with pytest.raises(error):
        method(table, **options)
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
    monkeypatch.undo()
    pd.testing.assert_frame_equal(fitted.recommend(k=3), answer, check_exact=True)
    for name, value in fitted._model.weights.items():
        np.testing.assert_array_equal(value, weights[name])


def test_nothing_to_train_on(fitted):
    steps = moments_of(fitted, "bilinear", "step")
    log = pd.DataFrame({"user_id": [700, 701], "item_id": [900, 3], "timestamp": 0})
    with pytest.warns(NothingToLearnWarning, match="no user has two interactions") as warned:
        fitted.partial_fit(log)
    assert warned[0].filename == __file__
    assert fitted.users_[-2:].tolist() == [700, 701]
    assert fitted.n_epochs_ == 2
    assert moments_of(fitted, "bilinear", "step") == steps
    assert fitted.partial_fit(log.assign(item_id=4, timestamp=1)).n_epochs_ == 3


def test_early_stopping_is_for_fit(parts):
    rec = MINDRecommender(**SMALL, early_stopping=True).fit(parts[0])
    rec.partial_fit(parts[1])
    assert "validation_ndcg" in rec.history_[1]
    assert "validation_ndcg" not in rec.history_[2]


# ------------------------------------------------------------------ what is learned


@pytest.mark.filterwarnings("ignore:.*items that are not known:UserWarning")
def test_partial_fit_learns_new_tastes_and_add_interactions_does_not():
    """The new users like topics whose items no old user has."""
    data = make_interactions(150, 60, n_topics=6, n_interests=2, noise=0, random_state=1)
    X = data.interactions
    is_new = X["user_id"].isin(np.flatnonzero(data.user_interests[:, 4:].any(axis=1)))
    old, new = X[~is_new], X[is_new]
    train, test = (new.iloc[rows] for rows in next(LeaveLastOut().split(new)))
    added = MINDRecommender(**SMALL | {"max_epochs": 5}).fit(old)
    learned = copy.deepcopy(added).partial_fit(train, n_epochs=10)
    full = MINDRecommender(**SMALL | {"max_epochs": 5}).fit(pd.concat([old, train]))
    added.add_interactions(train)
    ndcg = [
        ndcg_at_k(test, rec.recommend(test["user_id"].tolist(), k=10), k=10)
        for rec in (added, learned, full)
    ]
    assert ndcg[1] > 1.5 * ndcg[0]
    assert ndcg[1] > 0.8 * ndcg[2]
