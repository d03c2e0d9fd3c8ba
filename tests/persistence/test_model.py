"""Saved, pickled and copied models give the same answers; forged ones are rejected."""

import copy
import hashlib
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import time
import warnings
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import threadpoolctl
import torch
from scipy import sparse
from sklearn.base import clone
from skops import io as skops

from skmind import MINDRecommender
from skmind._model import FittedModel
from skmind.exceptions import (
    DeviceFallbackWarning,
    ForkedThreadsWarning,
    InvalidInputError,
    ModelFileError,
    ModelWriteError,
)
from skmind.persistence import model as model_module
from skmind.persistence.store import MANIFEST_FILE, file_name, npy_header

STORED = Path(__file__).parents[1] / "data"
LOG = pd.DataFrame(
    {
        "user_id": ["ann"] * 4 + ["bob"] * 3 + ["Zoë"] * 3 + ["東"] * 2,
        "item_id": [3, 1, 2, 5, 1, 4, 3, 2, 5, 1, 6, 2],
        "timestamp": pd.date_range("2024-02-01", periods=12, freq="D"),
    }
)
ITEMS = pd.DataFrame(
    {
        "item_id": [1, 2, 3, 9],
        "color": ["red", "blue", None, "red"],
        "tags": [["x"], ["y", "x"], ["z"], None],
        "price": [1.5, None, 4.0, 8.0],
        "year": pd.to_datetime(["1999", "2001", "1999", None], format="%Y"),
        "look": [[0.5, 1.0], None, [1.5, np.nan], [2.5, 0.0]],
        "name": ["Zwölf", "Two", None, "Nine"],
    }
)
USERS = pd.DataFrame({"user_id": ["bob", "ann", "new"], "age": [30, 50, 30]})
SETTINGS = {
    "n_interests": 2, "embedding_dim": 4, "max_history": 5, "max_epochs": 1, "batch_size": 4,
    "n_encoder_layers": 1, "random_state": 0, "device": "cpu",
}  # fmt: skip


def rich(**options):
    return MINDRecommender(**SETTINGS, item_title="name", **options).fit(
        LOG, users=USERS, items=ITEMS
    )


@pytest.fixture(scope="module")
def fitted():
    return rich()


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and tested in test_store


@pytest.fixture(scope="module")
def saved_once(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    fitted.save(path)
    return path


@pytest.fixture
def saved(saved_once, tmp_path):
    return shutil.copytree(saved_once, tmp_path / "model")


def parts_by_name(value):
    """The values that ``value`` consists of; None if it has no parts."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if sparse.issparse(value):
        return {name: getattr(value, name) for name in ("data", "indices", "indptr")}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "__getstate__") and type(value).__module__.startswith("skmind"):
        return value.__getstate__()
    return None


def assert_same(a, b, where="model"):
    """Check that the states of two fitted estimators and their types are equal.

    Network and index are not part of the state.
    """
    if isinstance(a, np.ndarray):  # the types of two arrays may differ: one may be mapped
        assert a.dtype == b.dtype, where
        np.testing.assert_array_equal(a, b, err_msg=where)
        if a.dtype == object:
            assert list(map(type, a)) == list(map(type, b)), where
        return
    assert type(a) is type(b), where
    parts = parts_by_name(a)
    other_parts = parts_by_name(b)
    if parts is None:
        assert a == b, where
        return
    assert parts.keys() == other_parts.keys(), where
    if isinstance(a, dict):
        assert list(a) == list(b), where
    for name, part in parts.items():
        assert_same(part, other_parts[name], f"{where}.{name}")


def assert_answers_alike(a, b):
    pd.testing.assert_frame_equal(a.recommend(k=3), b.recommend(k=3))
    pd.testing.assert_frame_equal(
        a.recommend_from_history([[1, 5], []], k=3, users=None),
        b.recommend_from_history([[1, 5], []], k=3, users=None),
    )
    np.testing.assert_array_equal(a.interests(a.users_), b.interests(b.users_))
    first = a._snapshot.network("cpu").state_dict()
    for name, value in b._snapshot.network("cpu").state_dict().items():
        assert torch.equal(value, first[name]), name


# ------------------------------------------------------------------ round trips


def through_joblib(mode):
    def there_and_back(estimator, path):
        joblib.dump(estimator, path / "model.joblib")
        return joblib.load(path / "model.joblib", mmap_mode=mode)

    return there_and_back


def through_skops(estimator, path):
    skops.dump(estimator, path / "model.skops")
    trusted = skops.get_untrusted_types(file=path / "model.skops")
    foreign = [name for name in trusted if not name.startswith("skmind.")]
    assert foreign == ["scipy.sparse._csr.csr_matrix"]  # docs/guide/persistence.md says so
    return skops.load(path / "model.skops", trusted=trusted)


def through_directory(**options):
    def there_and_back(estimator, path):
        digest = estimator.save(path / "model")
        return type(estimator).load(path / "model", manifest_sha256=digest, **options)

    return there_and_back


WAYS = {
    "save": through_directory(),
    "save, mapped": through_directory(mmap=True),
    "pickle": lambda estimator, _: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, _: copy.deepcopy(estimator),
    "joblib": through_joblib(None),
    "joblib, mapped": through_joblib("r"),
    "joblib, copied on write": through_joblib("c"),
    "skops": through_skops,
}


@pytest.mark.parametrize("way", WAYS)
def test_round_trips_keep_the_whole_state(fitted, tmp_path, way):
    again = WAYS[way](fitted, tmp_path)
    assert_same(again, fitted)
    assert_answers_alike(again, fitted)
    (tmp_path / "twice").mkdir()  # joblib would write to the very file that is mapped
    twice = WAYS[way](again, tmp_path / "twice")
    assert_answers_alike(twice, fitted)


@pytest.mark.parametrize("way", WAYS)
def test_round_trips_of_a_model_without_features_times_and_names(tmp_path, way):
    table = LOG[["user_id", "item_id"]].to_numpy(dtype=object)
    rec = MINDRecommender(**SETTINGS | {"time_col": None}).fit(table)
    again = WAYS[way](rec, tmp_path)
    assert not hasattr(again, "feature_names_in_")
    assert_same(again, rec)
    assert_answers_alike(again, rec)


def test_a_clone_of_a_loaded_model_is_an_unfitted_copy_of_its_parameters(fitted, saved):
    loaded = MINDRecommender.load(saved)
    assert loaded.get_params() == fitted.get_params()
    copied = clone(loaded)
    assert not hasattr(copied, "items_")
    assert_same(copied.fit(LOG, users=USERS, items=ITEMS)._model, fitted._model)


def test_a_loaded_model_can_be_fitted_on_and_saved_over_the_files_that_it_maps(fitted, saved):
    loaded = MINDRecommender.load(saved, mmap=True)
    other = copy.deepcopy(loaded).set_params(warm_start=True).fit(LOG, users=USERS, items=ITEMS)
    assert (other.item_embeddings_ != fitted.item_embeddings_).any()
    other.save(saved)
    assert_same(loaded, fitted)
    assert_answers_alike(loaded, fitted)
    assert_same(MINDRecommender.load(saved), other)


IDS = {
    "int8": np.array([-3, 5, 7], dtype=np.int8),
    "uint64": np.array([1, 2**64 - 1, 2**63], dtype=np.uint64),
    "float": np.array([-0.5, 1e300, 3.0]),
    "float32": np.array([0.1, 1.5, 3.0], dtype=np.float32),
    "bool": np.array([True, False, True]),
    "datetimes": pd.to_datetime(["2020-01-01 01:02", "1999-05-05 12:30", "2020-01-02 00:00"]),
    "seconds": np.array(["2020-01-01", "2020-01-02", "2021-01-01"], dtype="M8[s]"),
    "durations": pd.to_timedelta([1, 2, 3], unit="h"),
    "text": ["a", "ß\u2028\x00", "東"],
    "mixed": pd.Series(["1", 1, 2.5], dtype=object),
    "huge": pd.Series([10**30, -(10**30), 5], dtype=object),
    "numpy scalars": pd.Series([np.int64(3), "3", np.float32(0.1)], dtype=object),
}


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_kind(tmp_path, kind):
    ids = IDS[kind]
    log = pd.DataFrame({"user_id": ids, "item_id": [1, 2, 1]})
    both = pd.concat([log, log.assign(item_id=[2, 3, 3])], ignore_index=True)
    both = both.astype({"user_id": log["user_id"].dtype})
    for columns in ({}, {"user_col": "item_id", "item_col": "user_id"}):
        rec = MINDRecommender(**SETTINGS | columns, time_col=None).fit(both)
        rec.save(tmp_path / "model")
        loaded = MINDRecommender.load(tmp_path / "model")
        for name in ("users_", "items_"):
            mine, theirs = getattr(rec, name), getattr(loaded, name)
            assert mine.dtype == theirs.dtype
            assert mine.tolist() == theirs.tolist()
        pd.testing.assert_frame_equal(
            loaded.recommend(rec.users_, k=1, exclude_seen=False),
            rec.recommend(rec.users_, k=1, exclude_seen=False),
        )


def test_values_of_features_that_are_not_stored(tmp_path):
    log = pd.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [1, 2, 2, 1], "timestamp": range(4)})
    items = pd.DataFrame({"item_id": [1, 2], "size": [2, 3], "price": pd.cut([1, 2], 2)})
    rec = MINDRecommender(**SETTINGS).fit(log, items=items)
    message = (
        "the values of feature column 'price' contain Interval.* of type Interval, which can't"
    )
    with pytest.raises(InvalidInputError, match=message):
        rec.save(tmp_path / "model")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            [date(2020, 1, 1), date(2020, 1, 2)],
            r"the users contain datetime.date\(.* of type date, w",
        ),
        (
            [Decimal("1.5"), Decimal(2)],
            "the users contain Decimal.* of type Decimal, which can't",
        ),
        (
            [b"a", b"b"],
            "the users contain b'a' of type bytes.*; convert them to text or numbers and fit",
        ),
    ],
)
def test_ids_that_are_not_stored(tmp_path, ids, message):
    log = pd.DataFrame({"user_id": pd.Series(ids), "item_id": [1, 2]})
    rec = MINDRecommender(**SETTINGS, time_col=None).fit(pd.concat([log, log.iloc[::-1]]))
    with pytest.raises(InvalidInputError, match=message):
        rec.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "alter", [lambda v: v.astype("f8"), lambda v: v[:3], lambda v: v.astype("O")]
)
def test_a_state_that_could_not_be_read_is_not_saved(fitted, tmp_path, alter):
    changed = copy.deepcopy(fitted)
    changed._snapshot.item_embeddings = alter(changed.item_embeddings_)
    with pytest.raises(InvalidInputError, match=r"item_embeddings is an array of .* \(7, 4\); fit"):
        changed.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_ids_that_are_not_valid_text_are_not_saved(fitted, tmp_path):
    changed = copy.deepcopy(fitted)
    changed.users_[0] = "\ud800"
    with pytest.raises(InvalidInputError, match="ud800' has half of a surrogate pair, which no fi"):
        changed.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


INVALID_PARAMETERS = [
    ("n_interests", "x", "must be an int .* Got 'x' instead"),
    ("n_interests", True, "must be an int .* Got True instead"),
    ("n_jobs", 0, "must be an int .* Got 0 instead"),
    ("temperature", float("nan"), "must be a float .* Got nan instead"),
    ("learning_rate", 1e300, "must be a float .* Got 1e.300 instead"),
    ("loss", "soft", "must be a str among .* Got 'soft' instead"),
    ("user_features", 3, "must be an array-like or None. Got 3 instead"),
    ("device", "abacus", "device='abacus' is not supported"),
    ("device", torch.device("cpu"), r"device is device\(type='cpu'\), which can't be saved"),
    ("random_state", np.random.RandomState(0), "random_state is RandomState.* can't be saved"),
]


@pytest.mark.parametrize(("name", "value", "message"), INVALID_PARAMETERS)
def test_parameters_with_which_load_would_fail_are_not_saved(
    fitted, tmp_path, name, value, message
):
    changed = copy.deepcopy(fitted).set_params(**{name: value})
    with pytest.raises(InvalidInputError, match=f"{message}.*; use set_params"):
        changed.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    fitted.save(tmp_path / "model")
    with pytest.raises(InvalidInputError, match="use set_params"):
        changed.save(tmp_path / "model")
    assert_same(MINDRecommender.load(tmp_path / "model"), fitted)


def test_parameters_of_another_machine_and_of_numpy_are_saved(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    changed = copy.deepcopy(fitted).set_params(
        device="cuda:3", n_interests=np.int64(3), temperature=np.float32(0.5), checkpoint_dir=5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changed.save(tmp_path / "model")
    with pytest.warns(DeviceFallbackWarning, match="'cuda:3'"):
        loaded = MINDRecommender.load(tmp_path / "model")
    assert (loaded.n_interests, loaded.temperature) == (3, 0.5)


def test_only_a_fitted_model_is_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        MINDRecommender().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


# ------------------------------------------------------------------ the index


def test_a_stored_index_is_mapped_if_the_hash_of_the_manifest_is_given(tmp_path):
    rec = rich(index="annoy", n_trees=3, search_k=50)
    digest = rec.save(tmp_path / "m", index=True)
    built = MINDRecommender.load(tmp_path / "m")  # without the hash it is built again
    assert "/m/index-" not in Path("/proc/self/maps").read_text()
    mapped = MINDRecommender.load(tmp_path / "m", manifest_sha256=digest)
    assert "/m/index-" in Path("/proc/self/maps").read_text()
    assert mapped.index_ == built.index_ == "annoy"
    pd.testing.assert_frame_equal(mapped.recommend(k=3), built.recommend(k=3))
    without = mapped.save(tmp_path / "m")  # removes the index
    assert not list((tmp_path / "m").glob("index*"))
    MINDRecommender.load(tmp_path / "m", manifest_sha256=without)


def test_an_exact_search_has_no_index_to_save(fitted, tmp_path):
    with pytest.raises(InvalidInputError, match="this model has none; leave index= out"):
        fitted.save(tmp_path / "model", index=True)


# ------------------------------------------------------------------ devices


def test_a_model_fitted_on_cuda_answers_from_the_cpu(fitted, saved, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def on_cuda(manifest, _):
        manifest["parameters"]["device"] = "cuda"

    forge(saved, on_cuda)
    with pytest.warns(DeviceFallbackWarning, match="finds no CUDA device.*runs on the CPU"):
        loaded = MINDRecommender.load(saved)
    assert loaded.device == "cuda"
    pd.testing.assert_frame_equal(loaded.recommend(k=3), fitted.recommend(k=3))
    copied = pickle.loads(pickle.dumps(loaded))
    with pytest.warns(DeviceFallbackWarning, match="'cuda'"):
        pd.testing.assert_frame_equal(copied.recommend(k=3), fitted.recommend(k=3))
    with pytest.raises(InvalidInputError, match="finds no CUDA device; use 'auto'"):
        loaded.fit(LOG)


# ------------------------------------------------------------------ memory


def test_a_mapped_model_has_no_copy_of_its_arrays(saved):
    loaded = MINDRecommender.load(saved, mmap=True)
    arrays = loaded._model.to_arrays() | {"item_embeddings": loaded.item_embeddings_}
    for name, array in arrays.items():
        if "_features." in name or array.dtype == object:
            continue  # scipy copies features as small as these
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert isinstance(array, np.memmap), name
    net = loaded._snapshot.network("cpu")
    index = loaded._snapshot.search_index()
    for name, value in net.state_dict().items():
        assert np.shares_memory(value.numpy(), arrays[f"weights.{name}"]), name
    assert np.shares_memory(index.vectors, loaded.item_embeddings_)
    assert np.shares_memory(loaded._model.items._index.values, loaded.items_)


def test_read_only_weights_are_copied_without_a_warning(fitted, tmp_path):
    again = through_joblib("r")(fitted, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of read-only arrays that it shares
        assert_answers_alike(again, fitted)


# ------------------------------------------------------------------ threads and processes


def test_threads_get_what_one_thread_gets(fitted):
    copied = pickle.loads(pickle.dumps(fitted))  # network and index are not built yet
    users = fitted.users_.tolist()
    expected = [fitted.recommend([user], k=3, output="arrays") for user in users]
    n_equal = []

    def ask(start):
        gate.wait()
        for i in range(start, start + 5):
            ids, scores = copied.recommend([users[i % len(users)]], k=3, output="arrays")
            expected_ids, expected_scores = expected[i % len(users)]
            np.testing.assert_array_equal(ids, expected_ids)
            np.testing.assert_array_equal(scores, expected_scores)
            n_equal.append(1)

    gate = threading.Barrier(16)
    threads = [threading.Thread(target=ask, args=[start]) for start in range(16)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(n_equal) == 16 * 5


def in_child(action, seconds=60):
    """Return the result of `action` in a forked process; None if it hangs."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    stop = time.monotonic() + seconds
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > stop:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.01)
    with open(reader, "rb") as file:
        return json.loads(file.read() or b"null")


def test_a_fork_after_torch_used_threads_is_warned_of_and_does_not_hang(fitted):
    table = torch.ones(600, 600)
    expected = fitted.recommend(k=3).to_json()

    def ask():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            answer = fitted.recommend(k=3).to_json()
            fitted.recommend(k=3)
        names = [(type(w.message).__name__, str(w.message)) for w in caught]
        total = (table @ table).sum() + table.exp().sum()  # hangs if torch waits for its threads
        return [names, answer == expected, torch.get_num_threads(), float(total) > 0]

    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (table @ table).sum() + table.exp().sum()
        names, same, n_left, computed = in_child(ask)
    finally:
        torch.set_num_threads(n_threads)
    ((name, message),) = names
    assert name == ForkedThreadsWarning.__name__
    assert "torch or numpy uses" in message
    assert same
    assert n_left == 1
    assert computed
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert in_child(ask)[0] == []  # with one thread there is nothing to warn of


def test_a_fork_while_another_thread_builds(fitted, monkeypatch):
    copied = pickle.loads(pickle.dumps(fitted))
    expected = fitted.recommend(k=3).to_json()
    builds = threading.Event()
    may_finish = threading.Event()
    parent = os.getpid()
    build = FittedModel.network_for_inference

    def wait_and_build(model):
        if os.getpid() == parent:
            builds.set()
            may_finish.wait(60)
        return build(model)

    monkeypatch.setattr(FittedModel, "network_for_inference", wait_and_build)
    thread = threading.Thread(target=copied.recommend)
    thread.start()
    try:
        assert builds.wait(60)
        assert in_child(lambda: copied.recommend(k=3).to_json()) == expected
    finally:
        may_finish.set()
        thread.join()


# ------------------------------------------------------------------ forgery with valid hashes


def forge(path, change):
    """Let ``change`` alter manifest and files (raw bytes by name), then update all hashes."""
    manifest = json.loads((path / MANIFEST_FILE).read_bytes())
    del manifest["sha256"]
    raw = {
        name: (path / file_name(name, entry["sha256"])).read_bytes()
        for name, entry in manifest["files"].items()
    }
    before = dict(raw)
    change(manifest, raw)
    for name, content in raw.items():
        if type(manifest["files"]) is not dict:
            break
        entry = manifest["files"].setdefault(name, {"dtype": None, "shape": None})
        if name not in before or content != before[name]:
            entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            (path / file_name(name, entry["sha256"])).write_bytes(content)
    body = json.dumps(manifest).encode()[1:]
    digest = hashlib.sha256(body).hexdigest()
    (path / MANIFEST_FILE).write_bytes(f'{{"sha256": "{digest}",'.encode() + body)


def setting(*keys, value):
    def change(manifest, _):
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


def with_array(name, alter, whole=True):
    """Change an array, and if ``whole`` its entry in the manifest."""

    def change(manifest, raw):
        entry = manifest["files"][f"{name}.npy"]
        header = npy_header(entry["dtype"], entry["shape"])
        values = np.frombuffer(raw[f"{name}.npy"][len(header) :], entry["dtype"])
        values = np.ascontiguousarray(alter(values.reshape(entry["shape"]).copy()))
        dtype = values.dtype.str if whole else entry["dtype"]
        shape = list(values.shape) if whole else entry["shape"]
        entry |= {"dtype": dtype, "shape": shape}
        raw[f"{name}.npy"] = npy_header(dtype, shape) + values.tobytes()

    return change


def put(at, value):
    def alter(values):
        values.flat[at] = value
        return values

    return alter


def without(*names):
    def change(manifest, raw):
        for name in names:
            del manifest["files"][name], raw[name]

    return change


def with_text(name, text):
    def change(_, raw):
        raw[name] = text.encode() if isinstance(text, str) else text

    return change


def columns_first(n):
    header = npy_header("<f4", (n, n)).replace(b"False", b"True ")
    return header + bytes(4 * n * n)


def wrapping(offsets):
    """Offsets whose differences, which wrap, are not negative, and that end as they should."""
    wrapped = np.zeros(len(offsets), dtype=np.int64)
    wrapped[1:4] = 2**63 - 1, -(2**63), -1
    wrapped[4:] = offsets[4:]
    assert (np.diff(wrapped) >= 0).all()
    return wrapped


def emptied_features(manifest, raw):
    manifest["sizes"]["n_user_values"] = 0
    for name in ("indices", "data"):
        with_array(f"user_features.{name}", lambda x: x[:0])(manifest, raw)
    with_array("user_features.indptr", lambda _: np.array([0, 9, 9, 9, 9, 0]))(manifest, raw)


def set_all(sizes):
    def change(manifest, _):
        manifest["config"] |= sizes
        for name, array in (("recency", 1), ("logits", 1), ("layers.0.age_bias", 1)):
            manifest["files"][f"weights.{name}.npy"]["shape"][array] = sizes["max_history"]

    return change


def with_hole(name):
    """Change the size of a file to 9 GiB that take no space on the disk."""

    def change(manifest, _):
        entry = manifest["files"].setdefault(name, {"dtype": None, "shape": None})
        entry |= {"bytes": 9 * 2**30, "sha256": "0" * 64}

    return change


large_card = with_hole("README.md")
large_index = with_hole("index.ann")


def without_entry(key):
    def change(manifest, _):
        del manifest["files"]["items.npy"][key]

    return change


def set_widths(width):
    def change(manifest, _):
        for feature in manifest["item_features"]:
            if feature["kind"] != "number":
                feature["width"] = width - width % 2

    return change


def deep(n):
    value = []
    for _ in range(n):
        value = [value]
    return value


TABLE = "weights.item_embedding"
FORGERIES = {
    "format 0": (setting("format", value=0), "has format 0, but skmind .* reads format 1"),
    "format 2": (setting("format", value=2), "has format 2, .*; load it with the version that"),
    "no format": (lambda m, _: m.pop("format"), "has format None"),
    "huge format": (setting("format", value=10**300), "has format 1000"),
    "format as text": (setting("format", value="1"), "has format '1'"),
    "true format": (setting("format", value=True), "has format True"),
    "another class": (setting("class", value="Pipeline"), "'Pipeline'; this class only loads"),
    "a class with a path": (setting("class", value="os.system"), "'os.system'; this"),
    "no class": (lambda m, _: m.pop("class"), "class in manifest.json is None"),
    "an unknown key": (setting("hook", value="x"), r"the unknown keys \['hook'\]; it"),
    "files as a list": (setting("files", value=[]), r"files in manifest.json is \[\], but mu"),
    "an unknown parameter": (setting("parameters", "alpha", value=1), r"no parameters \['alp"),
    "an invalid parameter": (setting("parameters", "n_trees", value=-1), "'n_trees' parameter"),
    "an unknown device": (setting("parameters", "device", value="tpu"), "'tpu' is not supported"),
    "an unknown attribute": (setting("attributes", "predict", value=1), "has the unknown keys"),
    "history as text": (setting("attributes", "history_", value="x"), "history_ in attributes"),
    "no schema": (setting("schema", value=None), "schema in manifest.json is None"),
    "a schema of lists": (setting("schema", "user", value=[]), "user in schema"),
    "sizes as text": (setting("sizes", "n_users", value="5"), "n_users in sizes"),
    "more users": (setting("sizes", "n_users", value=6), r"\(7,\) are expected"),
    "less interactions": (setting("sizes", "n_interactions", value=11), r"\(11,\) are expected"),
    "negative size": (setting("sizes", "n_interactions", value=-1), "must be an integer from 0"),
    "more items": (setting("config", "n_items", value=9), "are expected"),
    "no item": (setting("config", "n_items", value=0), "is 0, but must be an integer from 1"),
    "large table": (
        setting("config", "embedding_dim", value=2**20), r"range \[1, 16384\]. Got 1048576 instead"
    ),
    "huge table": (setting("config", "embedding_dim", value=2**30), "Got 1073741824 instead"),
    "too huge table": (setting("config", "embedding_dim", value=2**60), "is 1152921504606846976"),
    "negative dimension": (setting("config", "embedding_dim", value=-1), "is -1, but must be an i"),
    "many layers": (
        setting("config", "n_encoder_layers", value=10**6), r"in the range \[0, 64\]. Got 1000000"
    ),
    "one more layer": (setting("config", "n_encoder_layers", value=2), r"lacks the files \['wei"),
    "no layer": (setting("config", "n_encoder_layers", value=0), r"unknown ones \['weights.lay"),
    "interests as a float": (setting("config", "n_interests", value=2.0), "n_interests in conf"),
    "negative seed": (setting("seed", value=-1), "seed in manifest.json is -1, but must be"),
    "feature without a name": (
        setting("user_features", 0, "name", value=None), "name in an entry of user_features in man"
    ),
    "feature of a new kind": (
        setting("user_features", 0, "kind", value="code"), "is 'code', but must be one of category"
    ),
    "features as text": (setting("user_features", value="age"), "user_features in manifest"),
    "feature as text": (setting("user_features", value=["age"]), "an entry of user_features in ma"),
    "wide feature": (setting("user_features", 0, "width", value=2**62), "width in an entry of use"),
    "number of three": (
        setting("item_features", 2, "width", value=3), "'price' the width 3, but each number of a"
    ),
    "no weights": (without(f"{TABLE}.npy"), r"lacks the files \['weights.item_embedding.npy'\]"),
    "no users": (without("users.json"), r"lacks the files \['users.json'\]"),
    "no card": (without("README.md"), r"lacks the files \['README.md'\]"),
    "a file more": (with_text("hook.json", "[]"), r"unknown ones \['hook.json'\]"),
    "a file elsewhere": (
        lambda m, _: m["files"].update({"../x.npy": m["files"]["items.npy"]}), "name '../x.npy'"
    ),
    "transposed": (with_array(TABLE, np.transpose), "are expected"),
    "columns first": (
        with_text("weights.bilinear.npy", columns_first(4)), "bilinear.npy is not an array of"
    ),
    "other type": (with_array(TABLE, lambda w: w.astype("f8")), "has type <f8 and shape"),
    "other type of the same size": (with_array(TABLE, lambda w: w.view("i4")), "has type <i4"),
    "wrong shape": (with_array(TABLE, lambda w: w[:, :3]), r"shape \(7, 3\), but <f4 and \(7, 4\)"),
    "short table in secret": (
        with_array(TABLE, lambda w: w[:3], False), "item_embedding.npy 176 bytes, but .* has 240"
    ),
    "nan": (with_array(TABLE, put(5, np.nan)), "weights.item_embedding holds nan, infinity or num"),
    "infinity": (with_array("item_embeddings", put(5, -np.inf)), "holds nan, infinity"),
    "nan in a feature": (with_array("item_features.data", put(1, np.nan)), "holds nan"),
    "no time": (with_array("interactions.times", put(1, np.datetime64("NaT"))), "missing values"),
    "an item twice": (with_array("items", put(1, 1)), "the item id 1 occurs more than once"),
    "an item less": (with_array("items", lambda i: i[:-1]), r"shape \(6,\), but"),
    "a user twice": (
        with_text("users.json", '["a", "b", "c", "d", "a"]'), "the user id 'a' occurs more"
    ),
    "a user missing": (with_text("users.json", '["a", "b"]'), "has 2 values, but .* says 5"),
    "a user of null": (with_text("users.json", '["a", null, "b", "c", "d"]'), "is not a list of"),
    "a user of nan": (with_text("users.json", '["a", NaN, 1, 2, 3]'), "users holds missing value"),
    "half a surrogate pair": (
        with_text("users.json", r'["a", "b", "c", "d", "\ud800"]'), "half of a surrogate pair"
    ),
    "users in a dict": (with_text("users.json", '{"a": 1}'), "users.json is not a list of text"),
    "deep users": (with_text("users.json", "[" * 10_000 + "]" * 10_000), "is not valid JSON"),
    "broken text": (with_text("users.json", b'["\xff"]'), "is not valid JSON"),
    "a pickle": (
        with_text("items.npy", pickle.dumps([1] * 100)), r"items.npy \d+ bytes, but an array of"
    ),
    "an unknown item": (with_array("interactions.items", put(3, 7)), r"codes outside \[0, 7\)"),
    "a negative item": (with_array("interactions.items", put(3, -1)), r"codes outside \[0, 7\)"),
    "late offsets": (with_array("interactions.offsets", put(0, 1)), "must ascend from 0 to 12"),
    "short offsets": (with_array("interactions.offsets", put(-1, 11)), "must ascend from 0"),
    "offsets back": (with_array("interactions.offsets", put(2, 100)), "must ascend from 0"),
    "features elsewhere": (
        with_array("item_features.indices", put(0, 99)),
        r"indices has codes outside \[0, 13\)",
    ),
    "negative features": (
        with_array("item_features.indices", put(0, -1)), r"indices has codes outside \[0, 13\)"
    ),
    "features back": (
        with_array("item_features.indptr", put(1, 10**6)), "indptr must ascend from 0 to 26"
    ),
    "presence": (with_array("item_features.presence", put(0, 7)), r"numbers outside of \[0, 6\]"),
    "a category twice": (
        with_text("item_features.vocabulary.0.json", '["red", "red"]'), "'color', id 'red' occu"
    ),
    "offsets that wrap": (with_array("interactions.offsets", wrapping), "ascend from 0 to 12"),
    "item features that wrap": (
        with_array("item_features.indptr", wrapping), "indptr must ascend from 0 to 26"
    ),
    "user features that wrap": (
        with_array("user_features.indptr", wrapping), "indptr must ascend from 0 to 3"
    ),
    "user features that end with 0": (
        with_array("user_features.indptr", lambda _: np.array([0, 10**9, 10**9, 10**9, 10**9, 0])),
        "indptr must ascend from 0 to 3",
    ),
    "no user features, but rows of them": (emptied_features, "indptr must ascend from 0 to 0"),
    "huge weights": (with_array(TABLE, lambda w: w * np.float32(1e20)), r"outside of \[-1e\+10"),
    "huge item vectors": (
        with_array("item_embeddings", lambda v: v * np.float32(3e38)), "item_embeddings holds nan"
    ),
    "long item vectors": (
        with_array("item_embeddings", lambda v: v * np.float32(1.01)), "that are longer than 1"
    ),
    "huge features": (with_array("item_features.data", put(1, 1e30)), r"outside of \[-1e\+20"),
    "a huge mean": (with_array("item_features.vocabulary.2", put(0, 1e300)), r"outside of \[-1e\+"),
    "no end of routing": (
        setting("config", "n_routing_iter", value=2**31 - 1), r"'n_routing_iter' parameter .* 100\]"
    ),
    "no end of routing in a fit": (
        setting("parameters", "n_routing_iter", value=101), "'n_routing_iter' parameter"
    ),
    "a million trees": (setting("plan", "n_trees", value=10**6), r"'n_trees' parameter .* 1000\]"),
    "a longer history than pairs of it": (
        set_all({"max_history": 10**6, "n_encoder_layers": 2}), "compares all pairs of max_history"
    ),
    "a large card": (large_card, r"README.md has 9663676416 bytes, but .* at most 33554432"),
    "a large index": (large_index, "index.ann has 9663676416 bytes, but in a model like this one"),
    "no dtype": (without_entry("dtype"), "gives items.npy the type None and the shape"),
    "no shape": (without_entry("shape"), "gives items.npy the type <i8 and the shape None"),
    "no bytes": (without_entry("bytes"), "bytes in 'items.npy' in files in manifest.json is None"),
    "negative columns": (
        setting("attributes", "n_features_in_", value=-(10**30)), "must be an integer from 1 to"
    ),
    "a history of numbers": (
        setting("attributes", "history_", value=[1]), "an entry of history_ in attributes"
    ),
    "an infinite loss": (
        setting("attributes", "history_", 0, "loss", value=float("inf")), "loss in an entry of"
    ),
    "names as lists": (
        setting("attributes", "feature_names_in_", value=[[]] * 3), "but must be text"
    ),
    "a name less": (
        setting("attributes", "feature_names_in_", value=["a"]), "has 1 names in feature_names_in_"
    ),
    "a column of lists": (
        setting("schema", "item_features", value=[[1]]), "must be text or a 64-bit integer"
    ),
    "half a surrogate in a column": (setting("schema", "user", value="\ud800"), "but must be text"),
    "a column of results": (setting("schema", "user", value="score"), "is the name of a column of"),
    "a column twice": (setting("schema", "time", value="user_id"), "each must name a different c"),
    "a feature twice": (
        setting("item_features", 1, "name", value="color"), "item_features in .* has a name twice"
    ),
    "wide features": (
        set_widths(2**31 - 1), "the widths in item_features in .* add up to 2147483648 or more"
    ),
    "a checkpoint": (
        setting("parameters", "checkpoint_dir", value="/etc"), "checkpoint_dir, which is nev"
    ),
    "a parameter of objects": (setting("parameters", "item_col", value={}), "parameter item_col i"),
    "a parameter of lists": (
        setting("parameters", "user_features", value=[[[]]]), "parameter user_features in"
    ),
    "no times": (without("interactions.times.npy"), "time column 'timestamp', but lacks the file"),
    "times without a column": (setting("schema", "time", value=None), "column None, but has the"),
    "a deep format": (setting("format", value=deep(900)), r"has format \[\[\[\.\.\.\]"),
    "a deep version": (setting("versions", "torch", value=deep(900)), "'torch' in versions in man"),
    "versions of another format": (lambda m, _: m.update(format=9, versions=deep(900)), "format 9"),
    "titles without a column": (setting("schema", "title", value=None), "item_titles.json"),
    "no titles": (without("item_titles.json"), "lacks the files .*item_titles.json"),
    "too few titles": (with_text("item_titles.json", '["a"]'), "item_titles has 1 values for 7"),
    "titles that are numbers": (
        with_text("item_titles.json", '["a", "b", "c", "d", "e", "f", 1]'), "that are not text"
    ),
    "titles of lists": (with_text("item_titles.json", "[[]]"), "is not a list of text, numbers"),
    "a column of titles that is a list": (setting("schema", "title", value=[]), "title in schema"),
    "no deviation": (
        with_array("item_features.vocabulary.2", put(1, 0)), "needs means and positive standard"
    ),
    "no deviation in a vector": (
        with_array("item_features.vocabulary.4", put(3, 0)), "needs means and positive standard"
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_are_rejected(saved, forgery):
    change, message = FORGERIES[forgery]
    forge(saved, change)
    before = {path: path.read_bytes() for path in saved.parent.rglob("*") if path.is_file()}
    for mmap in (False, True):
        with pytest.raises(ModelFileError, match=message):
            MINDRecommender.load(saved, mmap=mmap)
    after = {path: path.read_bytes() for path in saved.parent.rglob("*") if path.is_file()}
    assert after == before


def test_models_larger_than_the_memory_are_not_read(saved, monkeypatch):
    forge(saved, with_hole("users.json"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "sysconf", lambda _: 2**16)  # pages, and bytes of each: 4.3 GB
        with pytest.raises(
            ModelFileError, match=r"9.7 GB, but this machine has 4.3 GB of memory; l"
        ):
            MINDRecommender.load(saved)

    def read_without_memory(*_):
        raise MemoryError("Unable to allocate 9.00 GiB")

    monkeypatch.setattr(model_module, "read_files", read_without_memory)
    with pytest.raises(
        ModelFileError, match="than this process can have: Unable to .*; load it wi"
    ):
        MINDRecommender.load(saved)


def test_a_path_with_a_nul(fitted):
    with pytest.raises(ModelFileError, match="no readable file .* null byte"):
        MINDRecommender.load("a\0b")
    with pytest.raises(ModelWriteError, match="could not be saved to 'a.x00b': embedded null byte"):
        fitted.save("a\0b")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (3, "path=3 is of type int; pass the name of a directory as str or pathlib.Path, such as"),
        (None, "path=None is of type NoneType; pass "),
        (b"abc", r"path=b'abc' is of type bytes; pass .*, such as os\.fsdecode\(path\)"),
        (["model"], r"path=\['model'\] is of type list; pass "),
    ],
)
def test_what_is_no_path(fitted, path, message):
    for call in (fitted.save, MINDRecommender.load, fitted.export_onnx):
        with pytest.raises(InvalidInputError, match=f"^{message}"):
            call(path)


def test_any_number_of_threads_answers(fitted, saved):
    forge(saved, setting("parameters", "n_jobs", value=20_000))
    loaded = MINDRecommender.load(saved)
    users = np.tile(fitted.users_, 5000)
    expected = fitted.recommend(users, k=1, output="arrays")[0]
    np.testing.assert_array_equal(loaded.recommend(users, k=1, output="arrays")[0], expected)


def test_interests_that_overflow_are_not_in_use(fitted, saved):
    """All weights are valid, but their products exceed float32."""

    def grow(manifest, raw):
        for name in manifest["files"]:
            if name.startswith("weights."):
                with_array(name.removesuffix(".npy"), lambda w: np.full_like(w, 9e9))(manifest, raw)

    forge(saved, grow)
    loaded = MINDRecommender.load(saved)
    assert not loaded.interests(loaded.users_).any()
    for answer in (loaded.recommend(k=3), loaded.recommend_from_history([[1, 5]], k=3)):
        assert np.isfinite(answer["score"]).all()
        assert (answer["interest"] == -1).all()  # the most frequent items


def test_a_model_that_could_not_be_loaded_is_not_saved(fitted, tmp_path):
    changed = copy.deepcopy(fitted)
    changed._model.weights["recency"][0, 0] = 1e11
    with pytest.raises(
        InvalidInputError, match=r"can't be saved, .*: weights.recency holds nan, inf"
    ):
        changed.save(tmp_path / "model")
    changed = copy.deepcopy(fitted)
    changed.history_ = [{"epoch": 1, "loss": np.inf, "seconds": 1.0, "samples_per_second": 1.0}]
    with pytest.raises(InvalidInputError, match="can't be saved, .*: loss in an entry of history_"):
        changed.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_other_weights_are_detected_by_the_hash_that_save_returned(fitted, tmp_path):
    digest = fitted.save(tmp_path / "m")
    forge(tmp_path / "m", with_array("weights.recency", lambda w: w[::-1]))
    MINDRecommender.load(tmp_path / "m")
    with pytest.raises(ModelFileError, match="this is not the expected model"):
        MINDRecommender.load(tmp_path / "m", manifest_sha256=digest)


def test_forging_nothing_changes_nothing(fitted, saved):
    forge(saved, lambda *_: None)
    assert_same(MINDRecommender.load(saved), fitted)


def test_a_forged_index_is_not_read_without_the_hash_of_the_manifest(tmp_path):
    rec = rich(index="annoy", n_trees=3, search_k=50)
    rec.save(tmp_path / "m", index=True)
    before = MINDRecommender.load(tmp_path / "m").recommend(k=3)
    forge(tmp_path / "m", with_text("index.ann", b"\xff" * 1001))
    pd.testing.assert_frame_equal(MINDRecommender.load(tmp_path / "m").recommend(k=3), before)
    digest = hashlib.sha256((tmp_path / "m" / MANIFEST_FILE).read_bytes()).hexdigest()
    with pytest.raises(ModelFileError, match="holds no valid model: .*"):
        MINDRecommender.load(tmp_path / "m", manifest_sha256=digest)


def test_an_index_of_another_model_is_rejected(tmp_path):
    rec = rich(index="annoy", n_trees=3, search_k=50)
    rec.save(tmp_path / "m", index=True)
    index = next((tmp_path / "m").glob("index-*")).read_bytes()
    other = MINDRecommender(**SETTINGS | {"index": "annoy", "search_k": 50}).fit(
        LOG
    )  # of six items
    other.save(tmp_path / "m", index=True)
    forge(tmp_path / "m", with_text("index.ann", index))
    digest = hashlib.sha256((tmp_path / "m" / MANIFEST_FILE).read_bytes()).hexdigest()
    with pytest.raises(ModelFileError, match="has 7 items, not 6; build the index again"):
        MINDRecommender.load(tmp_path / "m", manifest_sha256=digest)


def test_a_subclass_loads_its_own_models_only(fitted, saved, tmp_path):
    class Ours(MINDRecommender):
        pass

    with pytest.raises(ModelFileError, match="is a 'MINDRecommender'; this class only loads Ours"):
        Ours.load(saved)
    ours = Ours(**SETTINGS).fit(LOG, users=USERS, items=ITEMS)
    ours.save(tmp_path / "ours")
    assert type(Ours.load(tmp_path / "ours")) is Ours
    with pytest.raises(ModelFileError, match="is a 'Ours'; this class only loads MINDRecommender"):
        MINDRecommender.load(tmp_path / "ours")


# ------------------------------------------------------------------ models of earlier versions


@pytest.mark.parametrize("version", [1])
def test_models_of_every_format_are_read(version):
    """The files are `rich()` as each version saved it, and its recommendations then."""
    loaded = MINDRecommender.load(STORED / f"model-v{version}")
    expected = pd.read_json(STORED / f"model-v{version}.json", orient="table")
    got = loaded.recommend(loaded.users_[:3], k=3)
    pd.testing.assert_frame_equal(got, expected, check_dtype=False, atol=1e-5)
    assert loaded.users_.tolist() == ["Zoë", "ann", "bob", "new", "東"]
    assert loaded.get_params()["max_history"] == 5
    assert loaded.history_[0]["epoch"] == 1
