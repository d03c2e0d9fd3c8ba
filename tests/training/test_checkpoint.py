"""Fits that are interrupted go on, bit for bit as if they had not been."""

import errno
import os
import signal
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import ModelFileError, ModelWriteError, NothingToScoreWarning
from skmind.model_selection import TemporalSplit
from skmind.nn import optim
from skmind.persistence.store import MANIFEST_FILE, read_files, read_manifest, write
from skmind.training.checkpoint import Checkpoint, _locked
from skmind.training.trainer import Trainer

DATA = make_interactions(20, 24, n_topics=6, n_interests=2, n_events=(3, 6), random_state=0)
X = DATA.interactions
TABLES = {
    "items": DATA.item_table[["item_id", "topic"]],
    "users": pd.DataFrame({"user_id": range(20), "sex": ["f", "m"] * 10}),
}
SETTINGS = {
    "n_interests": 2, "embedding_dim": 4, "max_history": 5, "n_negatives": 10, "max_epochs": 3,
    "batch_size": 16, "n_encoder_layers": 1, "random_state": 0, "device": "cpu",
}  # fmt: skip


LOCKS = pytest.mark.skipif(os.name == "nt", reason="Windows locks no directories")


class Killed(BaseException):
    """What interrupts a fit."""


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # takes time; test_store tests it


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint"


def fit(path=None, table=X, **changes):
    rec = MINDRecommender(**SETTINGS | {"checkpoint_dir": path} | changes)
    return rec.fit(table, **TABLES)


def steps_of(monkeypatch, act=None):
    """The epoch of each step from now on, as a list; ``act`` is called before each."""
    taken, step, epoch = [], Trainer._step, Trainer._epoch
    now = []

    def spy_epoch(self, number, *rest):
        now[:] = [number]
        return epoch(self, number, *rest)

    def spy_step(self, *batch):
        taken.append(now[0])
        if act:
            act(len(taken))
        return step(self, *batch)

    monkeypatch.setattr(Trainer, "_epoch", spy_epoch)
    monkeypatch.setattr(Trainer, "_step", spy_step)
    return taken


def kill_at(moment):
    def act(number):
        if number == moment:
            raise Killed

    return act


def interrupt(monkeypatch, path, moment, **changes):
    """A fit that is interrupted in a step; the epoch of that."""
    with monkeypatch.context() as patch:
        taken = steps_of(patch, kill_at(moment))
        with pytest.raises(Killed):
            fit(path, **changes)
    return taken[-1]


def resume(monkeypatch, path, **changes):
    """The fit that goes on, and the epochs of its steps."""
    with monkeypatch.context() as patch:
        taken = steps_of(patch)
        return fit(path, **changes), taken


def assert_same(rec, expected):
    assert rec._model.weights.keys() == expected._model.weights.keys()
    for name, array in expected._model.weights.items():
        np.testing.assert_array_equal(rec._model.weights[name], array, err_msg=name)
    keys = ("epoch", "loss", "validation_ndcg")
    mine, theirs = ([[r.get(k) for k in keys] for r in one.history_] for one in (rec, expected))
    assert mine == theirs


# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_fit_that_goes_on_is_bit_equal(monkeypatch, path, large, early_stopping):
    if large:
        monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", 0)
    changes = {"early_stopping": early_stopping, "n_iter_no_change": 1}
    expected, taken = resume(monkeypatch, None, **changes)
    assert len(taken) > 2 * max(taken)  # several steps an epoch
    for moment in range(1, len(taken) + 1, 7):
        epoch = interrupt(monkeypatch, path, moment, **changes)
        rec, rest = resume(monkeypatch, path, **changes)
        assert rest == [one for one in taken if one >= epoch]
        assert_same(rec, expected)
        assert list(path.iterdir()) == []  # complete


def test_a_fit_goes_on_after_several_interruptions(monkeypatch, path):
    first = interrupt(monkeypatch, path, 7)
    second = interrupt(monkeypatch, path, 7)
    assert 1 < first < second
    assert_same(fit(path), fit())


def test_what_was_trained_to_the_end_is_not_trained_again(monkeypatch, path):
    changes = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 9}
    expected = fit(**changes)
    assert len(expected.history_) < 9  # it is the early stop that must be kept
    with monkeypatch.context() as patch:
        patch.setattr(MINDRecommender, "_plan_index", lambda *_: kill_at(0)(0))
        with pytest.raises(Killed):
            fit(path, **changes)
    rec, taken = resume(monkeypatch, path, **changes)
    assert taken == []
    assert_same(rec, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process(monkeypatch, path):
    child = os.fork()
    if not child:
        steps_of(monkeypatch, lambda n: n == 7 and os.kill(os.getpid(), signal.SIGKILL))
        fit(path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    rec, taken = resume(monkeypatch, path)
    assert taken[0] > 1
    assert_same(rec, fit())


@pytest.mark.parametrize("states", [(None, None), (1, 2)])
def test_the_drawn_seed_is_kept(monkeypatch, path, states):
    def states_of(number):
        monkeypatch.setattr("skmind._estimator.secrets.randbits", lambda _: 2**100 + number)
        seed = states[number - 1]
        return {"random_state": seed and np.random.RandomState(seed)}

    expected = fit(**states_of(1))
    assert fit(**states_of(2)).history_[0]["loss"] != expected.history_[0]["loss"]
    interrupt(monkeypatch, path, 7, **states_of(1))
    rec, taken = resume(monkeypatch, path, **states_of(2))
    assert taken[0] > 1
    assert_same(rec, expected)


def test_a_refit_starts_afresh(monkeypatch, path):
    fit(path)
    rec, taken = resume(monkeypatch, path)
    assert set(taken) == {1, 2, 3}
    assert_same(rec, fit())


def test_the_parameter_is_copied_but_not_saved(path, tmp_path):
    rec = fit(path)
    assert clone(rec).checkpoint_dir == path
    rec.save(tmp_path / "model")
    assert MINDRecommender.load(tmp_path / "model").checkpoint_dir is None
    fit(str(path))
    assert list(path.iterdir()) == []


# ------------------------------------------------------------------ what is in the directory


def epochs_in(path):
    """Number of epochs by folder."""
    return {folder: len(read_manifest(folder)["history"]) for folder in path.glob("*/*")}


def two_epochs(monkeypatch, path):
    """Folders of the newest and the one before, of a fit that is interrupted in the third epoch."""
    with monkeypatch.context() as patch:
        epoch = Trainer._epoch

        def stop(self, number, *rest):
            kill_at(3)(number)
            return epoch(self, number, *rest)

        patch.setattr(Trainer, "_epoch", stop)
        with pytest.raises(Killed):
            fit(path)
    found = epochs_in(path)
    assert sorted(found.values()) == [1, 2]
    return sorted(found, key=found.get, reverse=True)


def damage(folder, name):
    file = next(folder.glob(f"{name}*"))
    raw = file.read_bytes()
    file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


@pytest.mark.parametrize("name", [MANIFEST_FILE, "weights.item_embedding"])
def test_the_last_but_one_stands_in(monkeypatch, path, name):
    newest, before = two_epochs(monkeypatch, path)
    damage(newest, name)
    rec, taken = resume(monkeypatch, path)
    assert set(taken) == {2, 3}
    assert_same(rec, fit())

    newest, before = two_epochs(monkeypatch, path)
    damage(newest, name)
    damage(before, name)
    with pytest.raises(ModelFileError, match="holds no usable epoch: .*damaged.*; remove it to st"):
        fit(path)


FORGED = {
    "no weight": lambda facts, arrays: arrays.pop("weights.item_embedding.npy"),
    "a small moment": lambda facts, arrays: arrays.update(
        {"moments.item_embedding.exp_avg.npy": np.zeros((1, 4), np.float32)}
    ),
    "no moment": lambda facts, arrays: arrays.pop("moments.bilinear.exp_avg.npy"),
    "no generator": lambda facts, arrays: arrays.pop("generator.npy"),
    "a short generator": lambda facts, arrays: arrays.update(
        {"generator.npy": arrays["generator.npy"][:9]}
    ),
    "a generator of floats": lambda facts, arrays: arrays.update({"generator.npy": np.ones(9)}),
    "another rng": lambda facts, arrays: facts["rng"].update(bit_generator="MT19937"),
    "an empty rng": lambda facts, arrays: facts.update(rng={}),
    "a best of other weights": lambda facts, arrays: arrays.update({"best.x.npy": np.ones(3)}),
    "no seed": lambda facts, arrays: facts.pop("seed"),
    "text as loss": lambda facts, arrays: facts["history"][0].update(loss="0"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_epochs_are_refused(monkeypatch, path, forgery):
    for folder in two_epochs(monkeypatch, path):
        facts = read_manifest(folder)
        files = facts.pop("files")
        arrays = read_files(folder, files, mmap=False)
        FORGED[forgery](facts, arrays)
        write(folder, facts, arrays)
    with pytest.raises(ModelFileError, match="holds no usable epoch: "):
        fit(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.02},
        {"embedding_dim": 5},
        {"random_state": 1},
        {"random_state": None},
        {"table": X[1:]},
    ],
)
def test_another_fit_has_a_folder_of_its_own(monkeypatch, path, changes):
    interrupt(monkeypatch, path, 7)
    before = epochs_in(path)
    _, taken = resume(monkeypatch, path, **changes)
    assert set(taken) == {1, 2, 3}
    assert epochs_in(path) == before
    assert_same(resume(monkeypatch, path)[0], fit())


def test_the_fits_of_a_search_share_the_directory(path):
    """A part of the candidates trains alike, another part does not."""

    def search(checkpoint_dir):
        rec = MINDRecommender(**SETTINGS, checkpoint_dir=checkpoint_dir)
        grid = {"n_trees": [1, 2], "learning_rate": [0.01, 0.1]}
        return GridSearchCV(rec, grid, cv=TemporalSplit(2), error_score="raise")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingToScoreWarning)
        found, expected = (search(where).fit(X, **TABLES) for where in (path, None))
    np.testing.assert_array_equal(
        found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert_same(found.best_estimator_, expected.best_estimator_)
    assert list(path.iterdir()) == []


def test_a_search_that_was_killed_goes_on(monkeypatch, path):
    search = GridSearchCV(
        MINDRecommender(**SETTINGS, checkpoint_dir=path), {"learning_rate": [0.1]}, cv=KFold(2)
    )
    with monkeypatch.context() as patch:
        taken = steps_of(patch, kill_at(4))
        with pytest.raises(Killed):
            search.fit(X, **TABLES)
    epoch = taken[-1]
    taken = steps_of(monkeypatch)
    search.fit(X, **TABLES)
    assert 1 < epoch == taken[0]


@LOCKS
def test_of_two_equal_fits_at_once_one_keeps_nothing(monkeypatch, path):
    """As in a search over the steps after a recommender, with n_jobs."""
    expected, others = fit(), []

    def start_another(number):
        if number == 7:
            before = epochs_in(path)
            others.append(fit(path))
            assert epochs_in(path) == before

    steps_of(monkeypatch, start_another)
    for rec in (fit(path), *others):
        assert_same(rec, expected)
    assert len(others) == 1
    assert list(path.iterdir()) == []


@LOCKS
@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_was_removed_just_now_is_not_ours(monkeypatch, tmp_path, again):
    folder = tmp_path / "fit"
    with _locked(folder) as is_ours:
        assert not is_ours
    folder.mkdir()

    def too_late(*_):
        folder.rmdir()
        if again:
            folder.mkdir()

    monkeypatch.setattr("skmind.training.checkpoint.fcntl.flock", too_late)
    with _locked(folder) as is_ours:
        assert not is_ours


@LOCKS
def test_without_locks_a_fit_goes_on_as_well(monkeypatch, path):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("skmind.training.checkpoint.fcntl.flock", no_locks)
    interrupt(monkeypatch, path, 7)
    rec, taken = resume(monkeypatch, path)
    assert taken[0] > 1
    assert_same(rec, fit())


def test_what_does_not_change_training_may_change(monkeypatch, path):
    interrupt(monkeypatch, path, 7)
    rec, taken = resume(monkeypatch, path, verbose=1, n_jobs=2)
    assert taken[0] > 1
    assert_same(rec, fit())


def test_a_warm_start_goes_on_from_the_same_weights_only(monkeypatch, path):
    olds = [fit(random_state=seed) for seed in (1, 2)]
    for old in olds:
        old.set_params(warm_start=True, random_state=0, checkpoint_dir=path)
    with monkeypatch.context() as patch:
        steps_of(patch, kill_at(7))
        with pytest.raises(Killed):
            olds[0].fit(X, **TABLES)
    taken = steps_of(monkeypatch)
    for old, first in zip(reversed(olds), (1, 2), strict=True):
        del taken[:]
        old.fit(X, **TABLES)
        assert taken[0] == first
    assert list(path.iterdir()) == []


def test_paths_that_cannot_be_used(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "no" / "parent"):
        with pytest.raises(ModelWriteError, match="checkpoint_dir='.*' can't be used.*; choose a"):
            fit(path)
    interrupt(monkeypatch, tmp_path / "mine", 1)
    folder = next((tmp_path / "mine").iterdir()) / "odd"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ModelWriteError, match=r"it is not the directory of a model.*thesis\.txt"):
        fit(tmp_path / "mine")
    assert (folder / "thesis.txt").read_text() == "mine"


def test_other_folders_are_left_alone(tmp_path):
    folder = tmp_path / "even"  # of another owner: no manifest is in it
    folder.mkdir()
    Checkpoint(tmp_path, 0).remove()
    assert folder.is_dir()
