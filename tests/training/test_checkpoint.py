"""Interrupted fits resume, with results bit-equal to those of an uninterrupted fit."""

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
from skmind.training.checkpoint import Checkpoint, open_checkpoint
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


LOCKS = pytest.mark.skipif(os.name == "nt", reason="Windows can't lock directories")


class Killed(BaseException):
    """An interrupt of a fit."""


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow; test_store tests it


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint"


def fit(path=None, table=X, **changes):
    rec = MINDRecommender(**SETTINGS | {"checkpoint_dir": path} | changes)
    return rec.fit(table, **TABLES)


def watch_steps(monkeypatch, act=None):
    """Return a list that fills up with the epoch of each step; ``act`` is called before each."""
    epochs = []
    set_learning_rate = Trainer.set_learning_rate

    def spy(self, n_epochs_done):  # called once before each step
        epochs.append(int(n_epochs_done) + 1)
        if act:
            act(len(epochs))
        return set_learning_rate(self, n_epochs_done)

    monkeypatch.setattr(Trainer, "set_learning_rate", spy)
    return epochs


def kill_at(number):
    """Return a function that interrupts the fit at the step of this number."""

    def act(step):
        if step == number:
            raise Killed

    return act


def interrupt(monkeypatch, path, step, **changes):
    """Fit until a step is interrupted; return the epoch of that step."""
    with monkeypatch.context() as patch:
        epochs = watch_steps(patch, kill_at(step))
        with pytest.raises(Killed):
            fit(path, **changes)
    return epochs[-1]


def resume(monkeypatch, path, **changes):
    """Return the fit that resumes, and the epochs of its steps."""
    with monkeypatch.context() as patch:
        epochs = watch_steps(patch)
        return fit(path, **changes), epochs


def assert_same(rec, expected):
    assert rec._model.weights.keys() == expected._model.weights.keys()
    for name, array in expected._model.weights.items():
        np.testing.assert_array_equal(rec._model.weights[name], array, err_msg=name)
    keys = ("epoch", "loss", "validation_ndcg")
    records = [[record.get(key) for key in keys] for record in rec.history_]
    assert records == [[record.get(key) for key in keys] for record in expected.history_]


# ------------------------------------------------------------------ resuming


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_resumed_fit_is_bit_equal(monkeypatch, path, large, early_stopping):
    if large:
        monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", 0)
    changes = {"early_stopping": early_stopping, "n_iter_no_change": 1, "max_epochs": 4}
    expected, epochs = resume(monkeypatch, None, **changes)
    assert len(expected.history_) == 4 - early_stopping  # with a cooldown of one epoch
    assert len(epochs) > 2 * max(epochs)  # several steps per epoch
    for step in range(1, len(epochs) + 1, 7):
        interrupted = interrupt(monkeypatch, path, step, **changes)
        rec, rest = resume(monkeypatch, path, **changes)
        assert rest == [epoch for epoch in epochs if epoch >= interrupted]
        assert_same(rec, expected)
        assert list(path.iterdir()) == []  # complete


def test_a_fit_resumes_after_several_interrupts(monkeypatch, path):
    first = interrupt(monkeypatch, path, 7)
    second = interrupt(monkeypatch, path, 7)
    assert 1 < first < second
    assert_same(fit(path), fit())


def test_what_was_trained_to_the_end_is_not_trained_again(monkeypatch, path):
    changes = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 9}
    expected = fit(**changes)
    assert len(expected.history_) < 9  # the early stop is part of the stored state
    with monkeypatch.context() as patch:
        patch.setattr(MINDRecommender, "_plan_index", lambda *_: kill_at(0)(0))
        with pytest.raises(Killed):
            fit(path, **changes)
    rec, epochs = resume(monkeypatch, path, **changes)
    assert epochs == []
    assert_same(rec, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process(monkeypatch, path):
    child = os.fork()
    if not child:
        watch_steps(monkeypatch, lambda n: n == 7 and os.kill(os.getpid(), signal.SIGKILL))
        fit(path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    rec, epochs = resume(monkeypatch, path)
    assert epochs[0] > 1
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
    rec, epochs = resume(monkeypatch, path, **states_of(2))
    assert epochs[0] > 1
    assert_same(rec, expected)


def test_a_refit_starts_afresh(monkeypatch, path):
    fit(path)
    rec, epochs = resume(monkeypatch, path)
    assert set(epochs) == {1, 2, 3}
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
    """Return the number of epochs by folder."""
    return {folder: len(read_manifest(folder)["history"]) for folder in path.glob("*/*")}


def two_epochs(monkeypatch, path):
    """Interrupt a fit in its third epoch; return the folders of its epochs, newest first."""
    with monkeypatch.context() as patch:
        epochs = watch_steps(patch, lambda _: kill_at(3)(epochs[-1]))
        with pytest.raises(Killed):
            fit(path)
    counts = epochs_in(path)
    assert sorted(counts.values()) == [1, 2]
    return sorted(counts, key=counts.get, reverse=True)


def damage(folder, name):
    file = next(folder.glob(f"{name}*"))
    raw = file.read_bytes()
    file.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))


@pytest.mark.parametrize("name", [MANIFEST_FILE, "weights.item_embedding"])
def test_a_damaged_epoch_is_skipped(monkeypatch, path, caplog, name):
    newest, _ = two_epochs(monkeypatch, path)
    damage(newest, name)
    rec, epochs = resume(monkeypatch, path)
    assert set(epochs) == {2, 3}
    assert_same(rec, fit())
    if name != MANIFEST_FILE:
        assert "skipping a damaged checkpoint: weights.item_embedding" in caplog.text

    newest, before = two_epochs(monkeypatch, path)
    damage(newest, name)
    damage(before, name)
    with pytest.raises(ModelFileError, match="holds no usable epoch: .*damaged.*; remove it to st"):
        fit(path)


FORGED = {
    "no weight": lambda manifest, arrays: arrays.pop("weights.item_embedding.npy"),
    "a small moment": lambda manifest, arrays: arrays.update(
        {"moments.item_embedding.exp_avg.npy": np.zeros((1, 4), np.float32)}
    ),
    "no moment": lambda manifest, arrays: arrays.pop("moments.bilinear.exp_avg.npy"),
    "no generator": lambda manifest, arrays: arrays.pop("generator.npy"),
    "a short generator": lambda manifest, arrays: arrays.update(
        {"generator.npy": arrays["generator.npy"][:9]}
    ),
    "a generator of floats": lambda manifest, arrays: arrays.update({"generator.npy": np.ones(9)}),
    "another rng": lambda manifest, arrays: manifest["rng"].update(bit_generator="MT19937"),
    "an empty rng": lambda manifest, arrays: manifest.update(rng={}),
    "a best of other weights": lambda manifest, arrays: arrays.update({"best.x.npy": np.ones(3)}),
    "no seed": lambda manifest, arrays: manifest.pop("seed"),
    "text as loss": lambda manifest, arrays: manifest["history"][0].update(loss="0"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_epochs_are_refused(monkeypatch, path, forgery):
    for folder in two_epochs(monkeypatch, path):
        manifest = read_manifest(folder)
        files = manifest.pop("files")
        arrays = read_files(folder, files, mmap=False)
        FORGED[forgery](manifest, arrays)
        write(folder, manifest, arrays)
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
    _, epochs = resume(monkeypatch, path, **changes)
    assert set(epochs) == {1, 2, 3}
    assert epochs_in(path) == before
    assert_same(resume(monkeypatch, path)[0], fit())


def test_the_fits_of_a_search_share_the_directory(path):
    """Some candidates train the same weights, others do not."""

    def search(checkpoint_dir):
        rec = MINDRecommender(**SETTINGS, checkpoint_dir=checkpoint_dir)
        grid = {"n_trees": [1, 2], "learning_rate": [0.01, 0.1]}
        return GridSearchCV(rec, grid, cv=TemporalSplit(2), error_score="raise")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingToScoreWarning)
        kept = search(path).fit(X, **TABLES)
        expected = search(None).fit(X, **TABLES)
    np.testing.assert_array_equal(
        kept.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert_same(kept.best_estimator_, expected.best_estimator_)
    assert list(path.iterdir()) == []


def test_a_search_that_was_killed_resumes(monkeypatch, path):
    search = GridSearchCV(
        MINDRecommender(**SETTINGS, checkpoint_dir=path), {"learning_rate": [0.1]}, cv=KFold(2)
    )
    with monkeypatch.context() as patch:
        epochs = watch_steps(patch, kill_at(4))
        with pytest.raises(Killed):
            search.fit(X, **TABLES)
    interrupted = epochs[-1]
    epochs = watch_steps(monkeypatch)
    search.fit(X, **TABLES)
    assert 1 < interrupted == epochs[0]


@LOCKS
def test_of_two_equal_fits_at_once_one_keeps_nothing(monkeypatch, path):
    """This happens in a search over the steps after a recommender, with n_jobs."""
    expected = fit()
    others = []

    def start_another(step):
        if step == 7:
            before = epochs_in(path)
            others.append(fit(path))
            assert epochs_in(path) == before

    watch_steps(monkeypatch, start_another)
    for rec in (fit(path), *others):
        assert_same(rec, expected)
    assert len(others) == 1
    assert list(path.iterdir()) == []


@LOCKS
@pytest.mark.parametrize(
    ("call", "is_created_again"),
    [("os.open", False), ("fcntl.flock", False), ("fcntl.flock", True)],
)
def test_another_fit_removes_the_folder_meanwhile(monkeypatch, tmp_path, call, is_created_again):
    """The folder goes before it is opened, or before it is locked."""
    folder = tmp_path / "fit"
    original = {"os.open": os.open, "fcntl.flock": lambda *_: None}[call]

    def too_late(*args):
        patch.setattr(f"skmind.persistence.store.{call}", original)
        folder.rmdir()
        if is_created_again:
            folder.mkdir()
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(f"skmind.persistence.store.{call}", too_late)
        with open_checkpoint(tmp_path, "fit", 0) as checkpoint:
            assert checkpoint is None
    assert folder.exists() == is_created_again


@LOCKS
def test_a_fit_resumes_on_file_systems_without_locks(monkeypatch, path):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("skmind.persistence.store.fcntl.flock", no_locks)
    interrupt(monkeypatch, path, 7)
    rec, epochs = resume(monkeypatch, path)
    assert epochs[0] > 1
    assert_same(rec, fit())


def test_what_does_not_change_training_may_change(monkeypatch, path):
    interrupt(monkeypatch, path, 7)
    rec, epochs = resume(monkeypatch, path, verbose=1, n_jobs=2)
    assert epochs[0] > 1
    assert_same(rec, fit())


def test_a_warm_start_resumes_from_the_same_weights_only(monkeypatch, path):
    olds = [fit(random_state=seed) for seed in (1, 2)]
    for old in olds:
        old.set_params(warm_start=True, random_state=0, checkpoint_dir=path)
    with monkeypatch.context() as patch:
        watch_steps(patch, kill_at(7))
        with pytest.raises(Killed):
            olds[0].fit(X, **TABLES)
    epochs = watch_steps(monkeypatch)
    for old, first in zip(reversed(olds), (1, 2), strict=True):
        del epochs[:]
        old.fit(X, **TABLES)
        assert epochs[0] == first
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
    folder = tmp_path / "even"  # without a manifest it is none of ours
    folder.mkdir()
    Checkpoint(tmp_path, 0).remove()
    assert folder.is_dir()
