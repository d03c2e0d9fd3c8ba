"""The directory format: written as a whole or not at all, and every byte is checked when read."""

import errno
import fcntl
import hashlib
import json
import os
import resource
import signal
import stat

import numpy as np
import pytest

from skmind.exceptions import ModelFileError, ModelWriteError
from skmind.nn.network import TENSOR_ALIGNMENT
from skmind.persistence import store
from skmind.persistence.store import (
    ALIGNMENT_BYTES,
    MANIFEST_FILE,
    STORABLE_DTYPES,
    check_files,
    file_name,
    manifest_digest,
    npy_header,
    parse,
    read_files,
    read_manifest,
    write,
)

MANIFEST = {"name": "first", "\ud800": [1.5, None, {"a": True}]}
CONTENTS = {
    "table.npy": np.arange(12, dtype=np.float32).reshape(4, 3),
    "days.npy": np.array(["2020-01-01", "2021-05-05"], dtype="M8[ns]"),
    "none.npy": np.empty((0, 2), dtype=np.int64),
    "words.json": b'["a", "b"]',
    "README.md": b"# a model",
}
OTHER = CONTENTS | {"table.npy": CONTENTS["table.npy"] + 1, "index.ann": bytes(100)}


def read(path, sha256=None, mmap=False):
    """Return the manifest and the contents after all checks."""
    manifest = read_manifest(path, sha256)
    check_files(manifest["files"])
    return manifest, read_files(path, manifest["files"], mmap)


def sign(path, manifest):
    """Write a manifest with a valid hash, as a forger would."""
    body = (manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode())[1:]
    digest = hashlib.sha256(body).hexdigest()
    (path / MANIFEST_FILE).write_bytes(f'{{"sha256": "{digest}",'.encode() + body)


def snapshot(path):
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.fixture(autouse=True)
def synced(monkeypatch):
    """Record the order in which files and directories are synced, without the slow fsync."""
    calls = []

    def spy(descriptor):
        calls.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", spy)
    return calls


@pytest.fixture
def model(tmp_path):
    write(tmp_path / "model", MANIFEST, CONTENTS)
    return tmp_path / "model"


# ------------------------------------------------------------------ round trip


@pytest.mark.parametrize("mmap", [False, True])
def test_what_is_written_is_read(model, mmap):
    manifest, contents = read(model, mmap=mmap)
    files = manifest.pop("files")
    assert manifest == MANIFEST
    assert contents.keys() == files.keys() == CONTENTS.keys()
    for name, value in CONTENTS.items():
        if isinstance(value, bytes):
            assert contents[name].tobytes() == value
            continue
        assert contents[name].dtype == value.dtype
        assert contents[name].shape == value.shape
        assert (contents[name] == value).all()
        assert type(contents[name]) is np.ndarray
        assert contents[name].ctypes.data % ALIGNMENT_BYTES == 0
        assert contents[name].flags.writeable  # torch warns of arrays that aren't


def test_mapped_arrays_may_be_changed_without_changing_the_file(model):
    before = snapshot(model)
    contents = read(model, mmap=True)[1]
    contents["table.npy"][:] = 7
    assert snapshot(model) == before
    assert (read(model, mmap=True)[1]["table.npy"] == CONTENTS["table.npy"]).all()


@pytest.mark.parametrize("dtype", sorted(STORABLE_DTYPES))
@pytest.mark.parametrize("shape", [(0,), (3,), (20, 1), (4, 0, 2)])
def test_arrays_are_npy_files(tmp_path, dtype, shape):
    value = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
    write(tmp_path / "m", {}, {"x.npy": value})
    (file,) = (tmp_path / "m").glob("x-*.npy")
    loaded = np.load(file, allow_pickle=False)
    assert loaded.dtype.str == dtype
    np.testing.assert_array_equal(loaded, value)
    assert len(npy_header(dtype, shape)) % ALIGNMENT_BYTES == 0
    assert ALIGNMENT_BYTES == TENSOR_ALIGNMENT  # else a network can't share the memory of a file


def test_any_order_and_byte_order_is_stored_alike(tmp_path):
    table = CONTENTS["table.npy"]
    for value in (table.astype(">f4"), np.asfortranarray(table), np.repeat(table, 2, 0)[::2]):
        write(tmp_path / "m", {}, {"table.npy": value})
        stored = read(tmp_path / "m")[1]["table.npy"]
        assert stored.dtype == np.float32
        assert (stored == table).all()


def test_the_same_model_is_the_same_bytes(tmp_path, model):
    before = snapshot(model)
    digest = write(tmp_path / "again", MANIFEST, CONTENTS)
    assert snapshot(tmp_path / "again") == before
    assert digest == write(model, MANIFEST, CONTENTS)
    assert snapshot(model) == before
    assert digest == hashlib.sha256(before[MANIFEST_FILE]).hexdigest() == manifest_digest(model)
    assert json.loads(before[MANIFEST_FILE])["name"] == "first"  # a manifest is plain JSON


def test_another_model_replaces_all_files_of_the_previous_one(model):
    (model / "notes.txt").write_text("mine")
    (model / f".{'0' * 16}.tmp").write_text("left by a save that was killed")
    write(model, {"name": "second"}, OTHER)
    manifest, contents = read(model)
    assert manifest["name"] == "second"
    assert (contents["table.npy"] == OTHER["table.npy"]).all()
    names = {file_name(name, entry["sha256"]) for name, entry in manifest["files"].items()}
    assert set(snapshot(model)) == names | {MANIFEST_FILE, "notes.txt"}


def test_files_have_the_permissions_of_the_umask(model):
    mask = os.umask(0)
    os.umask(mask)
    for file in model.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


# ------------------------------------------------------------------ interrupted saving


def test_files_are_on_the_disk_before_the_manifest_names_them(tmp_path, synced, monkeypatch):
    path = tmp_path / "m"
    for name in ("replace", "unlink"):
        call = getattr(os, name)

        def spied(*arguments, call=call):
            synced.append(tuple(map(str, arguments)))
            call(*arguments)

        monkeypatch.setattr(os, name, spied)
    write(path, {}, {"a.json": b"1"})
    write(path, {}, {"a.json": b"2"})
    made, *calls = synced
    assert made == str(tmp_path)
    old, new = (file_name("a.json", hashlib.sha256(raw).hexdigest()) for raw in (b"1", b"2"))
    for name, part in ((old, calls[:6]), (new, calls[6:12])):
        data, manifest = part[0], part[3]
        directory = str(path)
        assert part == [
            data, (data, str(path / name)), directory,
            manifest, (manifest, str(path / MANIFEST_FILE)), directory,
        ]  # fmt: skip
    assert calls[12:] == [(str(path / old),)]


CALLS = ("fsync", "replace", "unlink", "open", "close", "listdir")


def interrupt(patch, n, action):
    """Run an action at the n-th file operation of the writer; return the list of operations."""
    calls = []

    def spy(name):
        call = getattr(os, name)

        def spied(*arguments, **options):
            calls.append(name)
            if len(calls) == n:
                action(name, arguments)
            return call(*arguments, **options)

        return spied

    for name in CALLS:
        patch.setattr(store.os, name, spy(name))
    return calls


def kill(name, arguments):
    if name == "fsync":  # while the file is incomplete
        size = os.fstat(arguments[0]).st_size
        if stat.S_ISREG(os.fstat(arguments[0]).st_mode):
            os.ftruncate(arguments[0], size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def n_operations(path, contents):
    with pytest.MonkeyPatch.context() as patch:
        calls = interrupt(patch, -1, None)
        write(path, {}, contents)
        return len(calls)


def test_a_save_that_is_killed_leaves_the_old_model_or_the_new_one(tmp_path, model):
    old = read(model)[0]
    n = n_operations(tmp_path / "counted", OTHER)
    outcomes = []
    for i in range(1, n + 2):
        child = os.fork()
        if not child:
            with pytest.MonkeyPatch.context() as patch:
                interrupt(patch, i, kill)
                write(model, {"name": "second"}, OTHER)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        manifest, contents = read(model)
        outcomes.append((manifest["name"], os.WIFSIGNALED(status)))
        expected = {"first": CONTENTS, "second": OTHER}[manifest["name"]]
        assert (contents["table.npy"] == expected["table.npy"]).all()
        write(model, MANIFEST, CONTENTS)  # saving works, and removes the rest
        assert set(snapshot(model)) == {
            MANIFEST_FILE, *(file_name(name, e["sha256"]) for name, e in old["files"].items())
        }  # fmt: skip
    assert n >= 20
    names = [name for name, _ in outcomes]
    assert names == sorted(names)  # the old model, then from some operation on the new one
    assert {("first", True), ("second", True), ("second", False)} == set(outcomes)


def save_in_child(path, moment):
    """Start a save in a forked process, which stops at an operation; return id and pipe.

    It goes on when something is written to the pipe.
    """
    resume, go_on = os.pipe()
    stopped, reached = os.pipe()

    def stop(*_):
        os.write(reached, b"x")
        os.read(resume, 1)

    child = os.fork()
    if not child:
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, moment, stop)
            write(path, {"name": "other"}, OTHER)
        os._exit(0)
    os.read(stopped, 1)
    for end in (stopped, reached, resume):
        os.close(end)
    return child, go_on


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("moment", [2, 8, 14, 20])  # 1: it does not have the lock yet
def test_of_two_saves_at_once_one_waits_and_wins(model, monkeypatch, moment, is_killed):
    child, go_on = save_in_child(model, moment)
    waits = []

    def end_the_other(*message):
        waits.append(message[0] % message[1:])
        if is_killed:
            kill()
        else:
            os.write(go_on, b"x")

    def kill():
        os.kill(child, signal.SIGKILL)

    monkeypatch.setattr(store.logger, "info", end_the_other)
    write(model, {"name": "second"}, CONTENTS)
    os.waitpid(child, 0)
    os.close(go_on)
    assert waits == [f"waiting for another process or thread that writes to {model}"]
    manifest, _ = read(model)
    assert manifest["name"] == "second"
    assert set(snapshot(model)) == {
        MANIFEST_FILE, *(file_name(name, e["sha256"]) for name, e in manifest["files"].items())
    }  # fmt: skip


def test_a_directory_that_goes_while_a_save_waits_is_created_again(tmp_path, monkeypatch):
    """A save that fails removes the directory that it created."""
    folder = tmp_path / "new"
    folder.mkdir()
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    def fail(*_):
        folder.rmdir()
        os.close(handle)

    monkeypatch.setattr(store.logger, "info", fail)
    write(folder, MANIFEST, CONTENTS)
    assert read(folder)[0]["name"] == "first"


def test_a_child_that_was_forked_during_a_save_does_not_keep_the_lock(model, monkeypatch):
    reader, writer = os.pipe()
    children = []

    def fork(*_):
        children.append(os.fork())
        if not children[0]:
            os.close(writer)
            os.read(reader, 1)  # until the parent closes its end
            os._exit(0)

    with monkeypatch.context() as patch:
        interrupt(patch, 5, fork)
        write(model, {"name": "second"}, OTHER)
    monkeypatch.setattr(store.logger, "info", None)  # it is called before waiting
    write(model, {"name": "third"}, OTHER)
    os.close(writer)
    os.close(reader)
    os.waitpid(children[0], 0)
    assert read(model)[0]["name"] == "third"


def full(name, arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(name, arguments):
    # a background process ignores the signal by default
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("interruption", [full, interrupted])
def test_a_save_that_fails_leaves_the_old_model_or_the_new_one(tmp_path, model, interruption):
    before = snapshot(model)
    kinds = set()
    n = n_operations(tmp_path / "counted", OTHER)
    n_fails = 0
    for i in range(1, n + 1):
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, i, interruption)
            try:
                write(model, {"name": "second"}, OTHER)
            except (ModelWriteError, KeyboardInterrupt) as error:
                kinds.add(type(error))
                n_fails += 1
        if read(model)[0]["name"] == "first":
            assert {name: snapshot(model)[name] for name in before} == before
        write(model, MANIFEST, CONTENTS)
        assert snapshot(model) == before
    assert n_fails >= 20
    assert len(kinds) == 1


def test_a_full_disk(tmp_path, model):
    before = snapshot(model)
    large = OTHER | {"table.npy": np.ones((1000, 10), dtype=np.float32)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in range(0, 40_000, 2_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(ModelWriteError, match="could not be saved .* too large.*free some"):
                write(model, {"name": "second"}, large)
            with pytest.raises(ModelWriteError, match="could not be saved .* too large.*free some"):
                write(tmp_path / "new", {}, large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert snapshot(model) == before
        assert not (tmp_path / "new").exists()


def test_a_directory_that_can_not_be_written_to(tmp_path, model, monkeypatch):
    before = snapshot(model)
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    for target in (model, tmp_path):
        target.chmod(0o555)
    user = os.geteuid()
    if user == 0:  # permissions don't apply to root
        os.seteuid(65534)
    try:
        for name in ("model", "new"):
            with pytest.raises(ModelWriteError, match=f"saved to '{name}': .*denied.*can be writ"):
                write(type(model)(name), {}, OTHER)
    finally:
        os.seteuid(user)
        for target in (model, tmp_path):
            target.chmod(0o755)
    assert snapshot(model) == before
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["photo.jpg", MANIFEST_FILE])
def test_a_directory_of_something_else_is_rejected(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(
        ModelWriteError, match=f"it is not the directory of a model, because it holds '{name}'"
    ):
        write(tmp_path, MANIFEST, CONTENTS)
    assert snapshot(tmp_path) == {name: b"{}"}


def test_a_file_and_a_missing_parent_are_rejected(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ModelWriteError, match="File exists"):
        write(tmp_path / "file", MANIFEST, CONTENTS)
    with pytest.raises(ModelWriteError, match="No such file or directory"):
        write(tmp_path / "not" / "there", MANIFEST, CONTENTS)
    assert snapshot(tmp_path) == {"file": b"mine"}


def test_a_manifest_too_large_to_be_read_is_not_written(model, monkeypatch):
    before = snapshot(model)
    monkeypatch.setattr(store, "MAX_MANIFEST_BYTES", 3000)
    with pytest.raises(ModelWriteError, match=r"manifest would have \d+ bytes, more than 3000"):
        write(model, {"text": "a" * 3000}, CONTENTS)
    assert snapshot(model) == before


def test_writing_where_directories_can_not_be_opened(model, monkeypatch):
    def denied(*_):
        raise PermissionError

    monkeypatch.setattr(store, "_O_DIRECTORY", None)
    monkeypatch.setattr(store.os, "open", denied)
    write(model, {"name": "second"}, OTHER)
    monkeypatch.undo()
    assert read(model)[0]["name"] == "second"


# ------------------------------------------------------------------ damage


def test_every_mutation_of_a_byte_is_rejected(model):
    rng = np.random.default_rng(0)
    original = snapshot(model)
    places = [(name, place) for name, raw in original.items() for place in range(len(raw))]
    files = {name: os.open(model / name, os.O_RDWR) for name in original}
    for i in rng.integers(len(places), size=10_000).tolist():
        name, place = places[i]
        byte = original[name][place]
        os.pwrite(files[name], bytes([byte ^ int(rng.integers(1, 256))]), place)
        with pytest.raises(ModelFileError):
            read(model)
        os.pwrite(files[name], bytes([byte]), place)
    for descriptor in files.values():
        os.close(descriptor)
    read(model)


@pytest.mark.parametrize("mmap", [False, True])
def test_every_truncation_is_rejected(model, mmap):
    for name, content in snapshot(model).items():
        for size in {len(content) * i // 16 for i in range(16)} | {len(content) - 1}:
            (model / name).write_bytes(content[:size])
            with pytest.raises(ModelFileError, match="damaged"):
                read(model, mmap=mmap)
        (model / name).write_bytes(content + b"\0")
        with pytest.raises(ModelFileError, match="damaged"):
            read(model, mmap=mmap)
        (model / name).unlink()
        with pytest.raises(ModelFileError, match=r"no readable file .* \(No such file"):
            read(model, mmap=mmap)
        (model / name).write_bytes(content)
    read(model, mmap=mmap)


def test_an_unexpected_manifest_is_rejected(tmp_path, model):
    digest = write(model, MANIFEST, CONTENTS)
    read(model, digest)
    write(model, MANIFEST, OTHER)
    read(model)
    with pytest.raises(
        ModelFileError, match=f"manifest_sha256='{digest}': this is not the expected model"
    ):
        read(model, digest)


def test_a_file_that_vanishes_while_it_is_read(model, monkeypatch):
    manifest = read_manifest(model)
    (model / file_name("table.npy", manifest["files"]["table.npy"]["sha256"])).unlink()
    with pytest.raises(ModelFileError, match="was replaced while it was read; .* load it again"):
        read_files(model, manifest["files"], mmap=True)


def test_a_path_without_a_model(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(
            ModelFileError, match=f"no readable file {MANIFEST_FILE} .*: it is not a model"
        ):
            read(path)


# ------------------------------------------------------------------ forgery with valid hashes


def entry_of(raw, dtype=None, shape=None):
    digest = hashlib.sha256(raw).hexdigest()
    return {"bytes": len(raw), "sha256": digest, "dtype": dtype, "shape": shape}


@pytest.mark.parametrize(
    "name",
    ["../table.npy", "/etc/passwd", "/tmp/x.npy", "a/b.npy", "..npy", ".npy", "x.pkl", "x.npy\n",
     "a\0.npy", "C:x.npy", "a\\b.npy", ""],
)  # fmt: skip
def test_names_outside_the_directory_are_rejected(model, name):
    outside = model.parent / file_name("table.npy", hashlib.sha256(b"x").hexdigest())
    outside.write_bytes(b"x")
    sign(model, {"files": {name: entry_of(b"x")}})
    with pytest.raises(ModelFileError, match="the manifest lists a file with the invalid name"):
        read(model)


@pytest.mark.parametrize("mmap", [False, True])
def test_links_pipes_and_directories_are_rejected(tmp_path, model, mmap):
    names = [MANIFEST_FILE, next(model.glob("table-*")).name]
    for name in names:
        content = (model / name).read_bytes()
        (tmp_path / "outside").write_bytes(content)
        for make, message in (
            (lambda file: file.symlink_to(tmp_path / "outside"), "no readable file .*symbolic"),
            (lambda file: os.mkfifo(file), "must be a regular file"),
            (lambda file: file.mkdir(), "no readable file .*directory"),
        ):
            (model / name).unlink()
            make(model / name)
            with pytest.raises(ModelFileError, match=message):
                read(model, mmap=mmap)
            (model / name).rmdir() if (model / name).is_dir() else (model / name).unlink()
            (model / name).write_bytes(content)
    read(model)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "head",
    [
        b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",  # a pickle
        np.lib.format.magic(1, 0) + b"\x76\x00{'descr': '|O', 'fortran_order': False}",
        npy_header("<f4", (2**58,)),
        npy_header("<f4", (3, 4)),
        npy_header("<i4", (4, 3)),
        npy_header("<f4", (4, 3)).replace(b"False", b"True "),
        npy_header("<f4", (4, 3)).replace(b"NUMPY\x01", b"NUMPY\x02"),
        b"",
    ],
)
def test_unexpected_headers_are_rejected(model, head, mmap):
    size = len(npy_header("<f4", (4, 3))) + 48
    raw = head.ljust(size, b" ")
    entry = entry_of(raw, "<f4", [4, 3])
    (model / file_name("table.npy", entry["sha256"])).write_bytes(raw)
    sign(model, {"files": {"table.npy": entry}})
    with pytest.raises(
        ModelFileError, match=r"table.npy is not an array of type <f4 and shape \[4, 3"
    ):
        read(model, mmap=mmap)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bytes": 2**30 + 128, "shape": [2**28]}, "must be a regular file of .* bytes, but is"),
        ({"shape": [2**58]}, r"gives table.npy 176 bytes, but an array of type <f4 and shape"),
        ({"shape": [2**70, 0]}, "an entry of shape .* is 1180591620717411303424, but must"),
        ({"shape": [-4, 3]}, "an entry of shape in 'table.npy' in files in manifest.json is -4"),
        ({"shape": [4, 3.0]}, "an entry of shape .* is 3.0, but must be an integer from 0"),
        ({"shape": [True, 3]}, "an entry of shape .* is True, but must be an integer"),
        ({"shape": []}, "gives table.npy the type <f4 and the shape"),
        ({"shape": None}, "gives table.npy the type <f4 and the shape"),
        ({"shape": [1] * 5}, "gives table.npy the type <f4 and the shape"),
        ({"shape": [1] * 10**5}, "gives table.npy the type <f4 and the shape"),
        (
            {"shape": "43"},
            "shape in 'table.npy' in files in manifest.json is '43', but must be a list",
        ),
        ({"dtype": "|O"}, r"dtype in 'table.npy' .* is '\|O', but must be one of"),
        ({"dtype": ">f4"}, "is '>f4', but must be one of"),
        ({"dtype": None}, "gives table.npy the type None"),
        ({"dtype": "<f8,<f8"}, "is '<f8,<f8', but must be one of"),
        ({"bytes": True}, "bytes in 'table.npy' .* is True, but must be an integer from 1"),
        ({"bytes": 1e3}, "is 1000.0, but must be an integer from 1"),
        ({"bytes": 0}, "is 0, but must be an integer from 1"),
        ({"sha256": "0" * 64}, "no readable file"),
        ({"sha256": "../" * 30}, "which does not have 64 digits"),
        ({"sha256": None}, "sha256 in 'table.npy' .* is None, but must be text"),
        ({"more": 1}, "has the unknown keys .'more'.; it must have the keys bytes, dtype, sha"),
    ],
)
def test_invalid_entries_are_rejected(model, change, message):
    manifest = read_manifest(model)
    manifest["files"]["table.npy"] |= change
    sign(model, manifest)
    with pytest.raises(ModelFileError, match=message):
        read(model)


@pytest.mark.parametrize(
    "raw",
    [
        b"[1]",
        b'{"a": 1',
        b'{"a": 1} 1',
        b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"a": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b'{"a": "\xff"}',
    ],
)
def test_manifests_that_are_not_json_are_rejected(model, raw):
    sign(model, raw)
    with pytest.raises(ModelFileError, match=f"{MANIFEST_FILE} is not valid JSON"):
        read(model)


def test_a_manifest_of_100_mb_is_not_read(model):
    with open(model / MANIFEST_FILE, "ab") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(ModelFileError, match="has more than 16777216 bytes"):
        read(model)


def test_parse():
    assert parse(np.frombuffer(b'["\xc3\xa4", 1]', dtype=np.uint8), "x") == ["ä", 1]
    with pytest.raises(ModelFileError, match="words.json is not valid JSON"):
        parse(b"[", "words.json")
