"""Models of which several processes have a part of the users: one saved model, whole or refused."""

import copy
import hashlib
import json
import multiprocessing
import os
import pickle
import re
import shutil
import threading
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from torch import distributed as dist

from skmind import MINDRecommender
from skmind.__main__ import main
from skmind.data.ids import IdEncoder
from skmind.distributed import BatchRecommender
from skmind.exceptions import (
    InvalidInputError,
    ModelFileError,
    ModelWriteError,
    ProcessLostError,
)
from skmind.nn import processes
from skmind.persistence import manifest as manifest_module
from skmind.persistence import store
from skmind.persistence.store import MANIFEST_FILE, file_name
from tests.persistence.divided import (
    divided,
    here,
    in_threads,
    save_parts,
    threads_as_processes,
)
from tests.persistence.test_model import (
    FORGERIES,
    IDS,
    SETTINGS,
    assert_answers_alike,
    assert_same,
    forge,
    rich,
    setting,
    with_array,
    with_text,
    without,
)
from tests.persistence.test_store import snapshot


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # slow, and tested in test_store


@pytest.fixture(scope="module")
def fitted():
    return rich()


@pytest.fixture(autouse=True)
def threads_are_processes():
    with threads_as_processes():
        yield


@pytest.fixture(scope="module")
def saved_once(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "model"
    with threads_as_processes():
        save_parts(fitted, path)
    return path


@pytest.fixture
def saved(saved_once, tmp_path):
    return shutil.copytree(saved_once, tmp_path / "model")


def read(path):
    return json.loads((path / MANIFEST_FILE).read_bytes())


def file_of(path, name):
    return path / file_name(name, read(path)["files"][name]["sha256"])


# ------------------------------------------------------------------ saving and loading


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n", [1, 2, 4, 7])  # there are five users
def test_a_model_that_was_saved_in_parts_is_the_whole_model(fitted, tmp_path, n, mmap):
    digest = save_parts(fitted, tmp_path / "model", n)
    assert digest == hashlib.sha256((tmp_path / "model" / MANIFEST_FILE).read_bytes()).hexdigest()
    loaded = MINDRecommender.load(tmp_path / "model", manifest_sha256=digest, mmap=mmap)
    assert loaded._model.part is None
    assert_same(loaded, fitted)
    assert_answers_alike(loaded, fitted)
    loaded.save(tmp_path / "whole")
    fitted.save(tmp_path / "original")
    assert snapshot(tmp_path / "whole") == snapshot(tmp_path / "original")


@pytest.mark.parametrize("kind", IDS)
def test_ids_of_every_kind(tmp_path, kind):
    log = pd.DataFrame({"user_id": IDS[kind], "item_id": [1, 2, 1]})
    both = pd.concat([log, log.assign(item_id=[2, 3, 3])], ignore_index=True)
    both = both.astype({"user_id": log["user_id"].dtype})
    rec = MINDRecommender(**SETTINGS, time_col=None, tie_order="rows").fit(both)
    save_parts(rec, tmp_path / "model", part_of=[1, 0, 1][: len(rec.users_)])
    loaded = MINDRecommender.load(tmp_path / "model")
    assert loaded.users_.dtype == rec.users_.dtype
    assert set(loaded.users_) == set(rec.users_)
    if kind not in ("mixed", "numpy scalars"):  # others have an order
        assert loaded.users_.tolist() == rec.users_.tolist()
    pd.testing.assert_frame_equal(
        loaded.recommend(rec.users_, k=1, exclude_seen=False),
        rec.recommend(rec.users_, k=1, exclude_seen=False),
    )


def test_a_larger_model_without_features(tmp_path):
    rng = np.random.default_rng(0)
    log = pd.DataFrame(
        {"user_id": rng.integers(0, 300, 2000), "item_id": rng.integers(0, 40, 2000)}
    )
    rec = MINDRecommender(**SETTINGS).fit(log.assign(timestamp=np.arange(2000) / 7))
    save_parts(rec, tmp_path / "model", 4, rng.integers(4, size=len(rec.users_)))
    assert_same(MINDRecommender.load(tmp_path / "model"), rec)


def test_some_parts_have_the_answers_of_the_whole_model(fitted, saved):
    for name in ("users.json", "interactions.items.npy", "user_features.data.npy"):
        file_of(saved, f"part.0.{name}").unlink()
    for users in (1, [1], (np.int64(1),), range(1, 2)):
        for mmap in (False, True):
            loaded = MINDRecommender.load(saved, users=users, mmap=mmap)
            assert loaded.users_.tolist() == fitted.users_[1::2].tolist()
            np.testing.assert_array_equal(loaded.item_counts_, fitted.item_counts_)
            pd.testing.assert_frame_equal(
                loaded.recommend(k=3), fitted.recommend(loaded.users_, k=3)
            )
            pd.testing.assert_frame_equal(
                loaded.recommend_from_history([[3, 1], [6]], k=3),
                fitted.recommend_from_history([[3, 1], [6]], k=3),
            )
            np.testing.assert_array_equal(
                loaded.interests(loaded.users_), fitted.interests(loaded.users_)
            )
    loaded.save(saved.parent / "some")
    again = MINDRecommender.load(saved.parent / "some")
    assert_same(again, loaded)
    with pytest.raises(ModelFileError, match=r"no readable file part.0.(users|inter|user_fe)"):
        MINDRecommender.load(saved)


def test_several_of_the_parts(fitted, tmp_path):
    save_parts(fitted, tmp_path / "model", 4)
    file_of(tmp_path / "model", "part.1.users.json").unlink()
    loaded = MINDRecommender.load(tmp_path / "model", users=[2, 0, 0])
    assert loaded.users_.tolist() == fitted.users_[[0, 2, 4]].tolist()
    pd.testing.assert_frame_equal(loaded.recommend(k=3), fitted.recommend(loaded.users_, k=3))


def test_a_mapped_part_is_not_copied(saved):
    loaded = MINDRecommender.load(saved, users=0, mmap=True)
    arrays = loaded._model.to_arrays()
    for name in ("interactions.items", "interactions.offsets", "interactions.times"):
        array = arrays[name]
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert isinstance(array, np.memmap), name


@pytest.mark.parametrize("users", [2, -1, [], [0, 2], True, [True], 0.0, "0", [None], {0}])
def test_parts_that_do_not_exist(saved, users):
    with pytest.raises(
        InvalidInputError, match=r"users=.* part of the users, from 0 to 1, or a list"
    ):
        MINDRecommender.load(saved, users=users)


def test_a_model_of_one_part_has_no_others(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    assert_same(MINDRecommender.load(tmp_path / "model", users=0), fitted)
    with pytest.raises(InvalidInputError, match="users=1, but the users of this model are not div"):
        MINDRecommender.load(tmp_path / "model", users=1)


def test_the_part_is_a_part_of_the_state(fitted, tmp_path):
    part = divided(fitted, 2)[1]
    assert part._model.part == (1, 2)
    assert pickle.loads(pickle.dumps(part))._model.part == (1, 2)
    assert copy.deepcopy(part)._model.part == (1, 2)
    assert not hasattr(clone(part), "_snapshot")
    assert replace(part._model, weights={}).part == (1, 2)
    assert fitted._model.part is None


def test_the_card_and_info_show_the_parts(fitted, saved, capsys):
    card = file_of(saved, "README.md").read_text()
    assert "| users | 5 |\n| parts of the users | 2 |\n| items | 7 |" in card
    main(["info", str(saved)])
    assert re.search(r"parts of the users +2\n", "".join(capsys.readouterr()))


def test_batches(fitted, saved):
    batch = BatchRecommender(saved, k=2)
    frame = pd.DataFrame({"user_id": fitted.users_})
    pd.testing.assert_frame_equal(
        batch(frame), fitted.recommend(fitted.users_, k=2), check_dtype=False
    )


# ------------------------------------------------------------------ processes


def save_in_process(rec, rank, n, path, n_saves, results):
    dist.init_process_group(
        "gloo", init_method=f"file://{path}.rendezvous", rank=rank, world_size=n
    )
    part = divided(rec, n)[rank]
    digests = {part.save(path) for _ in range(n_saves)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.destroy_process_group()
    results.put(digests)


@pytest.mark.parametrize("n", [2, 4])
def test_processes_save_one_model(fitted, tmp_path, n):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    arguments = (n, tmp_path / "model", 3, results)
    children = [
        context.Process(target=save_in_process, args=[fitted, rank, *arguments])
        for rank in range(n)
    ]
    for child in children:
        child.start()
    digests = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    (digest,) = set.union(*digests)
    assert_same(MINDRecommender.load(tmp_path / "model", manifest_sha256=digest), fitted)


def test_a_part_is_not_saved_alone(fitted, tmp_path):
    for part in divided(fitted, 2):
        with pytest.raises(
            InvalidInputError, match=r"users of process \d of 2 .* call save in all 2 processes"
        ):
            part.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def fails_in(monkeypatch, rank, action, name="_write_content"):
    """Let a function of the store call ``action`` in one process, after the first call."""
    call = getattr(store, name)
    calls = []

    def failing(*arguments):
        process = getattr(here, "process", None)
        if process is not None and process.rank == rank:
            calls.append(arguments)
            if len(calls) == 2:
                action()
        return call(*arguments)

    monkeypatch.setattr(store, name, failing)


def full():
    raise OSError("No space left on device")


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize("is_new", [False, True])
def test_if_the_disk_of_one_process_is_full_all_say_so(fitted, tmp_path, monkeypatch, rank, is_new):
    path = tmp_path / "model"
    if not is_new:
        save_parts(fitted, path)
    before = snapshot(path) if not is_new else None
    fails_in(monkeypatch, rank, full)
    outcomes = in_threads(divided(fitted, 3), lambda part: part.save(path))
    message = f"could not be saved to .*: process {rank} of 3: No space left on device. A previous"
    for outcome in outcomes:
        assert isinstance(outcome, ModelWriteError)
        assert re.search(message, str(outcome))
    if is_new:
        assert not path.exists()
    else:
        assert snapshot(path) == before


def killed():
    raise KeyboardInterrupt


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_ends_while_it_saves_loses_nothing(fitted, tmp_path, monkeypatch, rank):
    path = tmp_path / "model"
    save_parts(fitted, path)
    before = snapshot(path)
    with monkeypatch.context() as patch:
        fails_in(patch, rank, killed)
        outcomes = in_threads(divided(fitted, 2), lambda part: part.save(path))
    assert [type(outcome) for outcome in outcomes] == (
        [KeyboardInterrupt, ProcessLostError]
        if rank == 0
        else [ProcessLostError, KeyboardInterrupt]
    )
    assert_same(MINDRecommender.load(path), fitted)
    save_parts(fitted, path)
    assert snapshot(path) == before


def kill_while_saving(rec, rank, n, path, results):
    if rank == 1:
        write = store._write_content

        def write_and_die(path, name, value):
            if name == "part.1.interactions.items.npy":
                os._exit(9)
            return write(path, name, value)

        store._write_content = write_and_die
    try:
        save_in_process(rec, rank, n, path, 1, results)
    except ProcessLostError as error:
        results.put(str(error))
        results.close()
        results.join_thread()
        os._exit(0)


def test_a_process_that_is_killed_while_it_saves(fitted, saved, monkeypatch):
    before = snapshot(saved)
    monkeypatch.setattr(processes, "MAX_WAIT_SECONDS", 1.0)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [
        context.Process(target=kill_while_saving, args=[fitted, rank, 2, saved, results])
        for rank in range(2)
    ]
    for child in children:
        child.start()
    assert re.match("process 1 of 2 was lost", results.get(timeout=60))
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 9]
    assert snapshot(saved) == before


@pytest.mark.parametrize("rank", [0, 1])
def test_a_part_that_could_not_be_loaded_is_not_saved(fitted, tmp_path, rank):
    parts = divided(fitted, 2)
    parts[rank]._model.interactions.items[0] = 7
    for outcome in in_threads(parts, lambda part: part.save(tmp_path / "model")):
        assert isinstance(outcome, InvalidInputError)
        assert re.match(
            rf"process {rank} of 2: the model can't be saved, .* part.{rank}.interactions.items h",
            str(outcome),
        )
    assert not (tmp_path / "model").exists()


def test_parts_of_different_types_are_not_saved(fitted, tmp_path):
    parts = divided(fitted, 2)
    ids = np.arange(len(parts[1].users_))
    own = parts[1]._model
    own.prepared = replace(own.prepared, users=IdEncoder(ids, "user"))
    for outcome in in_threads(parts, lambda part: part.save(tmp_path / "model")):
        assert isinstance(outcome, InvalidInputError)
        assert "of one type, but have part.0.users a list, part.1.users <i8" in str(outcome)
    assert not (tmp_path / "model").exists()


def test_too_many_parts_are_not_saved(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest_module, "MAX_PARTS", 1)
    for outcome in in_threads(divided(fitted, 2), lambda part: part.save(tmp_path / "model")):
        assert isinstance(outcome, InvalidInputError)
        assert "divides the users into 2 parts, but 1 to 1 are valid" in str(outcome)


def test_a_directory_of_something_else_is_refused_by_all(fitted, tmp_path):
    (tmp_path / "photo.jpg").write_text("mine")
    for outcome in in_threads(divided(fitted, 2), lambda part: part.save(tmp_path)):
        assert isinstance(outcome, ModelWriteError)
        assert "process 0 of 2: it is not the directory of a model, because it h" in str(outcome)
    assert snapshot(tmp_path) == {"photo.jpg": b"mine"}


def test_processes_that_do_not_share_a_file_system(fitted, tmp_path):
    (tmp_path / "1").mkdir()
    outcomes = in_threads(
        divided(fitted, 2), lambda part: part.save(tmp_path / str(part._model.part[0]))
    )
    for outcome in outcomes:
        assert isinstance(outcome, ModelWriteError)
        assert re.search("process 0 does not find .* process 1; all processes need", str(outcome))
    assert not (tmp_path / "0").exists()


@pytest.mark.parametrize("other", ["parts", "whole"])
def test_of_two_saves_at_once_one_waits(fitted, tmp_path, monkeypatch, other):
    path = tmp_path / "model"
    begins = threading.Event()
    waits = threading.Event()
    monkeypatch.setattr(store.logger, "info", lambda *_: waits.set())

    def wait():
        begins.set()
        assert waits.wait(60)

    fails_in(monkeypatch, 1, wait)
    first = threading.Thread(target=save_parts, args=[fitted, path])
    first.start()
    assert begins.wait(60)
    if other == "whole":
        fitted.save(path)
    else:
        save_parts(fitted, path, 4)
    first.join()
    assert waits.is_set()
    manifest = read(path)
    assert len(manifest.get("parts") or [0]) == (1 if other == "whole" else 4)
    names = {file_name(name, entry["sha256"]) for name, entry in manifest["files"].items()}
    assert set(snapshot(path)) == names | {MANIFEST_FILE}
    assert_same(MINDRecommender.load(path), fitted)


# ------------------------------------------------------------------ forgery with valid hashes


def as_part(change):
    """Apply a forgery of an ordinary model to the first part, which has all users."""

    def changed(manifest, raw):
        files = manifest["files"]
        for names in (files, raw):
            for name in list(names):
                if name.startswith("part.0."):
                    names[name.removeprefix("part.0.")] = names.pop(name)
        own = {name.removesuffix(".json").removesuffix(".npy") for name in raw}
        before = json.dumps(manifest["sizes"])
        change(manifest, raw)
        if json.dumps(manifest["sizes"]) != before:
            manifest["parts"][0] = {key: manifest["sizes"][key] for key in manifest["parts"][0]}
        for names in (files, raw):
            for name in list(names):
                stem = name.removesuffix(".json").removesuffix(".npy")
                if f"part.1.{stem}" in own:
                    names[f"part.0.{name}"] = names.pop(name)

    return changed


@pytest.fixture(scope="module")
def all_in_one_once(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "all_in_one"
    with threads_as_processes():
        save_parts(fitted, path, part_of=[0] * 5)
    return path


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgeries_of_a_part_are_rejected(all_in_one_once, tmp_path, forgery):
    saved = shutil.copytree(all_in_one_once, tmp_path / "model")
    change, message = FORGERIES[forgery]
    forge(saved, as_part(change))
    before = snapshot(saved)
    for options in ({"mmap": True}, {"users": 0}):
        with pytest.raises(ModelFileError) as caught:
            MINDRecommender.load(saved, **options)
        assert re.search(message, str(caught.value).replace("part.0.", ""))
    assert snapshot(saved) == before


def test_forging_nothing_changes_nothing(fitted, all_in_one_once, tmp_path):
    saved = shutil.copytree(all_in_one_once, tmp_path / "model")
    forge(saved, as_part(lambda *_: None))
    assert_same(MINDRecommender.load(saved), fitted)


def swapped(name):
    """Exchange a file of the two parts, and what the manifest says of it."""

    def change(manifest, raw):
        for names in (manifest["files"], raw):
            first, second = f"part.0.{name}", f"part.1.{name}"
            names[first], names[second] = names[second], names[first]

    return change


def sized(key, numbers):
    def change(manifest, _):
        for part, number in zip(manifest["parts"], numbers, strict=True):
            part[key] = number

    return change


def with_parts(change_parts):
    def change(manifest, _):
        manifest["parts"] = change_parts(manifest["parts"])

    return change


FORGED_PARTS = {  # the parts have the users Zoë, bob, 東 and ann, new
    "no parts": (with_parts(lambda _: []), "into 0 parts, but 1 to 1024 are valid"),
    "many parts": (with_parts(lambda p: p + [p[0] | dict.fromkeys(p[0], 0)] * 1023), "1025 parts"),
    "one part": (with_parts(lambda p: p[:1]), "n_users of the parts .* add up to 3, not to 5"),
    "null parts": (setting("parts", value=None), r"lacks the files \['interactions"),
    "parts as a number": (setting("parts", value=2), "parts in manifest.json is 2, but must be a"),
    "parts of numbers": (setting("parts", value=[1, 2]), "an entry of parts in manifest.json is 1"),
    "an unknown size": (setting("parts", 0, "n_item_values", value=1), "unknown keys"),
    "a part more": (
        with_parts(lambda p: [*p, dict.fromkeys(p[0], 0)]), r"lacks the files \['part.2.inter"
    ),
    "negative users": (sized("n_users", [-1, 6]), "n_users in an entry of parts .* is -1"),
    "users of the other": (sized("n_users", [2, 3]), r"part.0.interactions.offsets.npy has type"),
    "interactions of the other": (
        sized("n_interactions", [0, 12]), "part.0.interactions.items.npy has type"
    ),
    "no part": (without("part.1.users.json"), r"lacks the files \['part.1.users.json'\]"),
    "an ordinary file": (with_text("users.json", "[]"), r"unknown ones \['users.json'\]"),
    "no counts": (without("item_counts.npy"), r"lacks the files \['item_counts.npy'\]"),
    "other counts": (with_array("item_counts", lambda c: c + 1), "item_counts differs from the n"),
    "small counts": (with_array("item_counts", lambda c: 0 * c), "item_counts differs from the n"),
    "negative counts": (with_array("item_counts", lambda c: c - 9), "item_counts holds nan, inf"),
    "huge counts": (with_array("item_counts", lambda c: c + 2**40), "item_counts holds nan, inf"),
    "a user in both": (
        with_text("part.1.users.json", '["new", "bob"]'),
        "user id 'bob' occurs more than once: in part.0.users and part.1.users",
    ),
    "a user twice in one": (
        with_text("part.1.users.json", '["x", "x"]'),
        "user id 'x' occurs more than once: in part.1.users and part.1.users",
    ),
    "swapped users": (swapped("users.json"), "part.0.users has 2 values, but .* says 3"),
    "swapped offsets": (
        swapped("interactions.offsets.npy"), r"part.0.interactions.offsets.npy has type <i8 and"
    ),
    "an unknown item": (
        with_array("part.1.interactions.items", lambda i: i + 7), "part.1.interactions.items has c"
    ),
    "late offsets": (
        with_array("part.1.interactions.offsets", lambda o: o + 1), "part.1.interactions.offsets m"
    ),
    "features elsewhere": (
        with_array("part.1.user_features.indices", lambda i: i + 99), "part.1.user_features.indices"
    ),
    "no time": (
        with_array("part.1.interactions.times", lambda t: t.astype("i8")),
        "one type, but have part.0.interactions.times <M8.ns., part.1.interactions.times <i8",
    ),
    "no times": (
        without("part.1.interactions.times.npy"), "lacks the file part.1.interactions.times.npy"
    ),
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGED_PARTS)
def test_forged_parts_are_rejected(saved, forgery):
    change, message = FORGED_PARTS[forgery]
    forge(saved, change)
    for mmap in (False, True):
        with pytest.raises(ModelFileError, match=message):
            MINDRecommender.load(saved, mmap=mmap)


def test_counts_below_those_of_one_part_are_rejected(saved):
    forge(saved, with_array("item_counts", lambda counts: 0 * counts))
    with pytest.raises(ModelFileError, match="item_counts differs from the number of interactions"):
        MINDRecommender.load(saved, users=0)


def test_every_damaged_file_is_named(saved):
    for name in read(saved)["files"]:
        file = file_of(saved, name)
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelFileError, match=f"{re.escape(name)} is damaged"):
            MINDRecommender.load(saved)
        if name.startswith("part.0."):
            MINDRecommender.load(saved, users=1)
        file.unlink()
        stem = re.escape(file.stem)
        with pytest.raises(ModelFileError, match=f"no readable file {stem}"):
            MINDRecommender.load(saved)
        file.write_bytes(content)


def test_users_that_do_not_fit_into_the_memory(saved, monkeypatch):
    monkeypatch.setattr(store, "machine_memory", lambda: 1000)
    with pytest.raises(ModelFileError, match=r"of memory; load some parts .* such as users=\[0\]"):
        MINDRecommender.load(saved, mmap=True)
    MINDRecommender.load(saved, mmap=True, users=0)
