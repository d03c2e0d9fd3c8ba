"""Calls during a change of the model answer from one state; of two changes, one waits."""

import copy
import os
import pickle
import threading
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skmind._estimator
from skmind import MINDRecommender
from skmind._model import Snapshot
from skmind._recommender import FittedRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import TrainingDivergedError
from skmind.inspection import hits_by_interest, interest_diagnostics
from skmind.scoring import make_ranking_scorer
from skmind.training.trainer import Trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore::skmind.exceptions.ShortageWarning"),
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
]
SMALL = {"n_interests": 2, "embedding_dim": 4, "max_history": 5, "max_epochs": 1, "random_state": 0}
X = make_interactions(20, 24, n_topics=6, n_interests=2, random_state=0).interactions
# Other users, items and columns: what mixes both states fails, or differs.
OTHER = X.assign(user_id=X["user_id"] + 5, item_id=29 - X["item_id"], price=1.0)
NEW = X.iloc[:9].assign(item_id=[3, 50, 51] * 3, user_id=100, timestamp=2e9)
LISTS = [[3, 5, 7], [], [9]]


def fitted(table=X):
    return MINDRecommender(**SMALL).fit(table)


def saved(rec):
    with TemporaryDirectory() as folder:
        rec.save(f"{folder}/model")
        return MINDRecommender.load(f"{folder}/model").recommend()


# By the table of the fit.
ANSWERS = {
    "transform": lambda rec, X: rec.transform(X),
    "transform, array": lambda rec, X: rec.transform(X.to_numpy()),
    "predict": lambda rec, X: rec.predict(X, k=3),
    "interests": lambda rec, _: rec.interests([5, 7]),
    "interests_from_history": lambda rec, _: rec.interests_from_history(LISTS),
    "recommend": lambda rec, _: rec.recommend(),
    "recommend, arrays": lambda rec, _: rec.recommend(k=40, output="arrays"),
    "recommend, diverse": lambda rec, _: rec.recommend([5], k=4, items=[3, 5, 9], diversity=0.5),
    "recommend_from_history": lambda rec, _: rec.recommend_from_history(LISTS, k=3),
    "predict_scores": lambda rec, X: rec.predict_scores(X),
    "similar_items": lambda rec, _: rec.similar_items([7, 9], k=30),
    "audience": lambda rec, _: rec.audience([7, 9], k=30),
    "explain": lambda rec, _: rec.explain(7, 9),
    "index_recall": lambda rec, _: rec.index_recall(),
    "target_ranks": lambda rec, X: rec.target_ranks(X),
    "score": lambda rec, X: rec.score(X),
    "scorer": lambda rec, X: make_ranking_scorer(["ndcg", "coverage"], k=9)(rec, X),
    "hits_by_interest": lambda rec, X: hits_by_interest(rec, X),
    "interest_diagnostics": lambda rec, _: interest_diagnostics(rec).usage,
    "save": lambda rec, _: saved(rec),
    "pickle": lambda rec, _: pickle.loads(pickle.dumps(rec)).recommend(),
    "copy": lambda rec, _: copy.deepcopy(rec).recommend(),
}
ATTRIBUTES = (
    "users_",
    "items_",
    "item_counts_",
    "item_embeddings_",
    "index_",
    "history_",
    "n_epochs_",
    "n_features_in_",
    "feature_names_in_",
)
# Functions that the answers call, and whether another fit ends at their begin or at their end.
SEAMS = {
    "before the check": (FittedRecommender, "_fitted", False),
    "after the check": (FittedRecommender, "_fitted", True),
    "table": (FittedRecommender, "_check_table", True),
    "network": (Snapshot, "network", False),
    "index": (Snapshot, "search_index", False),
}


def assert_same(received, expected):
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(received, expected, check_exact=True)
    elif isinstance(expected, tuple):
        for one, two in zip(received, expected, strict=True):
            np.testing.assert_array_equal(one, two)
    else:
        np.testing.assert_equal(received, expected)


@pytest.fixture(scope="module")
def states():
    return fitted(), fitted(OTHER)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("seam", SEAMS)
def test_an_answer_is_of_one_state(states, monkeypatch, seam, name):
    before, after = states
    rec = copy.deepcopy(before)
    answer = ANSWERS[name]
    owner, function, at_end = SEAMS[seam]
    original = getattr(owner, function)

    def change(*arguments, **options):
        monkeypatch.setattr(owner, function, original)
        if not at_end:
            rec._take_over(after)
        result = original(*arguments, **options)
        rec._take_over(after)
        return result

    expected = answer(copy.deepcopy(before), X)
    monkeypatch.setattr(owner, function, change)
    assert_same(answer(rec, X), expected)
    monkeypatch.setattr(owner, function, original)
    rec._take_over(after)
    assert_same(answer(rec, OTHER), answer(copy.deepcopy(after), OTHER))


def test_the_names_of_columns_are_of_the_state_of_the_values(monkeypatch):
    rec = MINDRecommender(**SMALL).set_output(transform="pandas").fit(X)
    wide = MINDRecommender(**SMALL | {"embedding_dim": 6}).fit(X)
    original = FittedRecommender._encode_users

    def change(*arguments):
        rec._take_over(wide)
        return original(*arguments)

    monkeypatch.setattr(FittedRecommender, "_encode_users", change)
    assert rec.transform(X).shape == (len(X), 8)
    assert rec.transform(X).shape == (len(X), 12)


CHANGES = {
    "fit": lambda rec: rec.fit(OTHER),
    "fit, array": lambda rec: rec.fit(X.to_numpy()),
    "partial_fit": lambda rec: rec.partial_fit(NEW),
    "add_interactions": lambda rec: rec.add_interactions(X.iloc[:1].assign(user_id=100)),
}
STEPS = {
    (skmind._estimator, "prepare"): ["fit", "fit, array"],
    (skmind._estimator, "grow"): ["partial_fit"],
    (skmind._estimator, "append"): ["add_interactions"],
    (skmind._estimator, "extend_model"): ["partial_fit", "add_interactions"],
    (Trainer, "fit"): ["fit", "fit, array", "partial_fit"],
    (MINDRecommender, "_plan_index"): ["fit", "fit, array", "partial_fit"],
    (MINDRecommender, "_keep"): ["fit", "fit, array", "partial_fit"],
}
CASES = [(*step, change) for step, changes in STEPS.items() for change in changes]


def attributes(rec):
    return {name: getattr(rec, name, None) for name in ATTRIBUTES}


@pytest.mark.parametrize(("owner", "step", "change"), CASES)
def test_a_change_shows_only_when_it_is_complete(states, monkeypatch, owner, step, change):
    rec = copy.deepcopy(states[0])
    before = attributes(rec)
    n_calls = 0
    original = getattr(owner, step)

    def check(*arguments, **options):
        nonlocal n_calls
        n_calls += 1
        result = original(*arguments, **options)
        assert_same(attributes(rec), before)
        assert_same(rec.predict(X.to_numpy()), states[0].predict(X.to_numpy()))
        rec.set_params(n_jobs=2)
        return result

    monkeypatch.setattr(owner, step, check)
    assert CHANGES[change](rec) is rec
    assert n_calls == 1
    assert rec.n_jobs == 2  # the change doesn't undo what was set meanwhile
    assert not np.array_equal(rec.users_, before["users_"]) or change == "fit, array"


def test_a_first_fit_shows_only_when_it_is_complete(monkeypatch):
    rec = MINDRecommender(**SMALL)
    original = Trainer.fit

    def check(*arguments):
        result = original(*arguments)
        for name in ATTRIBUTES[:4]:
            assert not hasattr(rec, name)
        with pytest.raises(NotFittedError):
            rec.recommend()
        assert vars(clone(rec)) == vars(pickle.loads(pickle.dumps(rec))) == rec.get_params()
        return result

    monkeypatch.setattr(Trainer, "fit", check)
    assert len(rec.fit(X).recommend([5])) == 10


def test_a_change_that_fails_never_shows(states, monkeypatch):
    rec = copy.deepcopy(states[0])
    before = dict(vars(rec))

    def fail(*_):
        assert vars(rec) == before
        raise TrainingDivergedError("stop")

    monkeypatch.setattr(Trainer, "fit", fail)
    with pytest.raises(TrainingDivergedError, match="stop"):
        rec.fit(OTHER)
    assert vars(rec) == before


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_of_two_changes_at_once_one_waits(states, monkeypatch, first):
    rec = copy.deepcopy(states[0])
    seen = pd.DataFrame({"user_id": [7], "item_id": [9], "timestamp": 2e9, "price": 1.0})
    threads = []
    original = Trainer.fit

    def start_another(*arguments):
        monkeypatch.setattr(Trainer, "fit", original)
        threads.append(threading.Thread(target=rec.add_interactions, args=[seen]))
        threads[0].start()
        threads[0].join(0.2)
        assert threads[0].is_alive()
        return original(*arguments)

    expected = CHANGES[first](copy.deepcopy(rec)).add_interactions(seen)
    monkeypatch.setattr(Trainer, "fit", start_another)
    CHANGES[first](rec)
    threads[0].join()
    assert_same(rec.recommend(), expected.recommend())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_during_a_change_can_change_its_copy(states):
    rec = copy.deepcopy(states[0])
    is_locked = threading.Event()
    may_end = threading.Event()

    def hold():
        with rec._change_lock():
            is_locked.set()
            may_end.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    is_locked.wait()
    child = os.fork()
    if not child:
        rec.add_interactions(X.iloc[:1].assign(user_id=100))
        os._exit(100 in rec.users_)
    status = os.waitpid(child, 0)[1]
    may_end.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 1
