"""A fit and its epochs are tasks of scikit-learn's callbacks, where scikit-learn has them."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmind import MINDRecommender
from skmind._callbacks import FitTasks, with_callbacks
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError
from skmind.model_selection import LeaveLastOut
from skmind.scoring import make_ranking_scorer

X = make_interactions(20, 24, n_topics=6, n_interests=2, random_state=0).interactions
SMALL = {"n_interests": 2, "embedding_dim": 4, "max_history": 5, "max_epochs": 3, "random_state": 0}
EPOCHS = ["epoch 1", "epoch 2", "epoch 3"]


class Recorder:
    """Notes what it is told; stops or fails at the end of a task."""

    def __init__(self, stop_at=None, fail_at=None):
        self.events = []
        self.fitted = []
        self.stop_at = stop_at
        self.fail_at = fail_at

    def setup(self, estimator, context):
        self.events.append("set up")

    def teardown(self, estimator, context):
        self.events.append("torn down")

    def on_fit_task_begin(self, estimator, context, *, X=None):
        self.events.append(("begin", context.task_name, context.max_subtasks))
        self.X = X

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(("end", context.task_name))
        self.fitted.append(fitted_estimator)
        if context.task_name == self.fail_at:
            raise KeyboardInterrupt
        return context.task_name == self.stop_at


def events(name, epochs):
    tasks = [("begin", name, len(epochs))]
    for epoch in epochs:
        tasks += [("begin", epoch, 0), ("end", epoch)]
    return ["set up", *tasks, ("end", name), "torn down"]


def test_without_callbacks_in_scikit_learn_nothing_is_called():
    tasks = FitTasks(object(), "fit", 2, X, None)
    tasks.begin()
    assert tasks.begin_epoch(1, None)(None) is False
    tasks.end()


def test_fit_without_callbacks_leaves_nothing_of_them():
    rec = MINDRecommender(**SMALL).fit(X)
    assert not [name for name in vars(rec) if "callback" in name]


callback = pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


def test_a_fit_and_its_epochs_are_tasks():
    recorder = Recorder()
    rec = MINDRecommender(**SMALL).set_callbacks(recorder).fit(X)
    assert recorder.events == events("fit", EPOCHS)
    assert recorder.X is X
    alone = MINDRecommender(**SMALL).fit(X)
    np.testing.assert_array_equal(rec.item_embeddings_, alone.item_embeddings_)
    recorder.events.clear()
    rec.partial_fit(X.iloc[:9], n_epochs=2)
    assert recorder.events == events("partial_fit", EPOCHS[:2])
    assert [len(fitted.history_) for fitted in recorder.fitted] == [1, 2, 3, 3, 4, 5, 5]
    recorder.events.clear()
    MINDRecommender(**SMALL).set_callbacks(recorder).partial_fit(X)
    assert recorder.events == events("fit", EPOCHS)  # the first call is a fit


@pytest.mark.parametrize("params", [{}, {"early_stopping": True, "validation_fraction": 0.5}])
def test_callbacks_get_the_model_as_if_fit_ended_with_the_epoch(params):
    recorder = Recorder()
    rec = MINDRecommender(**SMALL, **params).set_callbacks(recorder).fit(X)
    *_, last, end = recorder.fitted
    for fitted in (last, end):
        np.testing.assert_array_equal(fitted.item_embeddings_, rec.item_embeddings_)
        assert fitted.recommend(k=3).equals(rec.recommend(k=3))
        assert fitted.n_epochs_ == rec.n_epochs_ == 3
    assert (recorder.fitted[0].item_embeddings_ != rec.item_embeddings_).any()
    assert recorder.fitted[0].n_epochs_ == 1


def test_a_callback_can_stop_the_fit():
    recorder = Recorder(stop_at="epoch 2")
    rec = MINDRecommender(**SMALL).set_callbacks(recorder).fit(X)
    assert rec.n_epochs_ == len(rec.history_) == 2
    np.testing.assert_array_equal(rec.item_embeddings_, recorder.fitted[1].item_embeddings_)


@pytest.mark.parametrize("fail_at", ["epoch 2", "fit"])
def test_a_callback_that_fails_leaves_the_estimator_as_it_was(fail_at):
    rec = MINDRecommender(**SMALL).fit(X)
    before = dict(vars(rec))
    recorder = Recorder(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        rec.set_callbacks(recorder).fit(X.iloc[:30])
    assert recorder.events[-1] == "torn down"
    assert vars(rec.set_callbacks()) == before


def test_callbacks_are_torn_down_after_bad_input():
    recorder = Recorder()
    rec = MINDRecommender(**SMALL).set_callbacks(recorder)
    with pytest.raises(InvalidInputError, match="no column"):
        rec.fit(X[["user_id"]])
    assert recorder.events == ["set up", ("begin", "fit", 3), "torn down"]
    with pytest.raises(ValueError, match="'max_epochs' parameter"):
        rec.set_params(max_epochs=0).fit(X)
    assert len(recorder.events) == 3  # nothing begins with an invalid parameter


def test_copies_keep_the_callbacks():
    rec = MINDRecommender(**SMALL).set_callbacks(Recorder()).fit(X)
    again = pickle.loads(pickle.dumps(rec))
    assert again.recommend(k=3).equals(rec.recommend(k=3))
    copied = clone(rec).fit(X)
    assert copied._skl_callbacks == rec._skl_callbacks
    np.testing.assert_array_equal(copied.item_embeddings_, rec.item_embeddings_)


def test_scikit_learn_monitors_the_score_of_each_epoch():
    scoring = {"ndcg": make_ranking_scorer("ndcg", k=10)}
    monitor = callback.ScoringMonitor(scoring=scoring)
    rec = MINDRecommender(**SMALL).set_callbacks(monitor).fit(X, y=X["item_id"])
    scores = [row["ndcg"] for row in monitor.get_logs().data]
    assert len(scores) == 1 + rec.n_epochs_
    assert scores[0] == scores[-1] == scoring["ndcg"](rec, X)
    assert scores[1] != scores[-1]


def test_progress_bars_of_a_search_and_a_pipeline_show_the_epochs(capsys):
    pytest.importorskip("rich", reason="scikit-learn's ProgressBar needs rich")
    bar = callback.ProgressBar(max_propagation_depth=None)
    rec = MINDRecommender(**SMALL)
    search = GridSearchCV(rec, {"horizon": [1, 2]}, cv=LeaveLastOut())
    for outer in (search, make_pipeline(rec)):
        outer.set_callbacks(bar).fit(X)
        assert "MINDRecommender - fit" in capsys.readouterr().out.replace("\n", " ")


def test_the_decorator_keeps_the_signature():
    def fit(self, X, y=None):
        """Learn."""

    assert with_callbacks(fit).__doc__ == "Learn."
