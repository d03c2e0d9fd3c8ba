"""Named arrays and a manifest ↔ a directory that is replaced whole or not at all.

A data file has a part of its hash in its name, so the files of two versions stand side by side, and
the one atomic replacement of ``manifest.json``, which says which files belong to it, replaces all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Mapping
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import ModelFileError, ModelWriteError

MANIFEST = "manifest.json"
MAX_MANIFEST = 2**24  # bytes
MAX_AXES = 4
ALIGNMENT = 64  # bytes; arrays in memory begin at a multiple of it, as those of torch do
_HEAD = b'{"sha256": "%s",'  # of the manifest: the hash of all that follows
_SIGN = _HEAD[:12]  # what every manifest begins with
_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z]\w*(\.\w+)*\.(npy|json|md|ann)")
_OURS = re.compile(r"[A-Za-z][\w.]*-[0-9a-f]{16}\.(npy|json|md|ann)|\.[0-9a-f]{16}\.tmp")
DTYPES = frozenset(
    "|b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f2 <f4 <f8".split()
    + [f"<{kind}8[{unit}]" for kind in "mM" for unit in ("D", "s", "ms", "us", "ns")]
)
_ENTRY = {"bytes": int, "sha256": str, "dtype": (str, type(None)), "shape": (list, type(None))}
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would block
_O_DIRECTORY = getattr(os, "O_DIRECTORY", None)  # None: directories can't be opened (Windows)


# ------------------------------------------------------------------ names, headers, checks


def file_name(name: str, sha256: str) -> str:
    """Name in the directory of the file that the manifest calls ``name``."""
    stem, extension = name.rsplit(".", 1)
    return f"{stem}-{sha256[:16]}.{extension}"


def npy_header(dtype: str, shape: Iterable[int]) -> bytes:
    """What stands before the values in a ``.npy`` file.

    It is compared as it stands when a file is read, so that no header is ever interpreted.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    text += " " * (-(11 + len(text)) % ALIGNMENT) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def check_keys(value: Any, types: Mapping[str, Any], where: str) -> None:
    """Whether ``value`` is a dict with these keys, whose values are of exactly these types.

    Raises
    ------
    ModelFileError
        If it isn't. A key whose type may be None may be missing.
    """
    if type(value) is not dict or not value.keys() <= types.keys():
        found = sorted(value) if type(value) is dict else type(value).__name__
        raise ModelFileError(f"{where} must have the keys {sorted(types)}, but is {found!s:.200}")
    for key, legal in types.items():
        legal = legal if isinstance(legal, tuple) else (legal,)
        if type(value.get(key)) not in legal:
            names = " or ".join(one.__name__ for one in legal)
            raise ModelFileError(f"{key} in {where} is {value.get(key)!r:.80}, not of type {names}")


def check_files(files: dict[str, Any]) -> None:
    """Whether the names stay in the directory, and the sizes fit the types and shapes.

    Raises
    ------
    ModelFileError
        If not.
    """
    for name, entry in files.items():
        if not _NAME.fullmatch(name):
            raise ModelFileError(f"the manifest names the file {name!r:.80}, which is illegal")
        check_keys(entry, _ENTRY, f"the manifest's entry of {name}")
        dtype, shape, n_bytes = entry["dtype"], entry["shape"], 1
        if name.endswith(".npy"):
            legal = dtype in DTYPES and shape and len(shape) <= MAX_AXES
            if not legal or any(type(n) is not int or n < 0 for n in shape):
                raise ModelFileError(
                    f"the manifest gives {name} type {dtype} and shape {shape!s:.80}"
                )
            n_bytes = len(npy_header(dtype, shape)) + prod(shape) * np.dtype(dtype).itemsize
        if not _HEX.fullmatch(entry["sha256"]) or entry["bytes"] < n_bytes:
            raise ModelFileError(
                f"the manifest gives {name} {entry['bytes']} bytes and the sha256 "
                f"{entry['sha256']!r:.80}; {n_bytes} bytes and 64 digits are needed"
            )


# ------------------------------------------------------------------ writing


def write(path: Path, facts: dict[str, Any], contents: Mapping[str, np.ndarray | bytes]) -> str:
    """Write a model; what ``path`` held before stays readable until the new one is complete.

    Parameters
    ----------
    path : Path
        A directory, made if it isn't there, with nothing else in it unless it holds a model.
    facts : dict
        The manifest, but for its entry ``files``.
    contents : mapping of str to ndarray or bytes
        By file names: arrays of numbers as ``.npy``.

    Returns
    -------
    str
        The sha256 of the manifest, in hexadecimal.

    Raises
    ------
    ModelWriteError
        If the path can't be written to, or is used for something else.
    """
    try:
        is_new = not path.is_dir()
        before = _claim(path)
        try:
            return _write(path, facts, contents, before)
        finally:
            if is_new and not os.listdir(path):
                path.rmdir()
    except OSError as error:
        raise ModelWriteError(
            f"the model could not be saved to {str(path)!r}: {error}. A model that was there "
            "before is still whole; make room, or choose a directory that can be written to"
        ) from error


def _claim(path: Path) -> set[str]:
    """Make the directory, or make sure that it is used for a model; the names in it."""
    if not path.is_dir():
        path.mkdir()
        _sync(path.parent)
    names = set(os.listdir(path))
    foreign = sorted(name for name in names if not _OURS.fullmatch(name))
    if foreign and not (MANIFEST in names and (path / MANIFEST).read_bytes().startswith(_SIGN)):
        raise OSError(f"it is no model's directory, as it holds {foreign[0]!r}")
    return names


def _write(
    path: Path,
    facts: dict[str, Any],
    contents: Mapping[str, np.ndarray | bytes],
    before: set[str],
) -> str:
    raw, names = b"", before
    try:
        files = {name: _write_content(path, name, value) for name, value in contents.items()}
        body = json.dumps({**facts, "files": files}, indent=1)[1:].encode()
        raw = _HEAD % hashlib.sha256(body).hexdigest().encode() + body
        if len(raw) > MAX_MANIFEST:
            raise OSError(f"its manifest would have {len(raw)} bytes, more than {MAX_MANIFEST}")
        _sync(path)  # the files are there before the manifest names them
        _replace(path, lambda _: MANIFEST, [raw])
        _sync(path)
    finally:
        if raw and _manifest_is(path, raw):  # asked of the disk: an interrupt may come at any time
            names = {file_name(name, entry["sha256"]) for name, entry in files.items()}
        for name in os.listdir(path):
            if _OURS.fullmatch(name) and name not in names:
                os.unlink(path / name)
    return hashlib.sha256(raw).hexdigest()


def _manifest_is(path: Path, raw: bytes) -> bool:
    manifest = path / MANIFEST
    return manifest.exists() and manifest.read_bytes() == raw


def _write_content(path: Path, name: str, value: np.ndarray | bytes) -> dict[str, Any]:
    """Write one file; its entry in the manifest."""
    entry: dict[str, Any] = {"dtype": None, "shape": None}
    parts: list[Any] = [value]
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        entry = {"dtype": value.dtype.str, "shape": list(value.shape)}
        parts = [npy_header(**entry), value.reshape(-1).view(np.uint8)]
    entry["bytes"], entry["sha256"] = _replace(path, lambda sha: file_name(name, sha), parts)
    return entry


def _replace(path: Path, name: Callable[[str], str], parts: list[Any]) -> tuple[int, str]:
    """Write a file beside the one it replaces, then put it there; its size and sha256."""
    temporary = path / f".{secrets.token_hex(8)}.tmp"
    sha, n_bytes = hashlib.sha256(), 0
    with open(temporary, "xb") as file:
        for part in parts:
            file.write(part)
            sha.update(part)
            n_bytes += len(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path / name(sha.hexdigest()))
    return n_bytes, sha.hexdigest()


def _sync(path: Path) -> None:
    """Bring the names in a directory to the disk."""
    if _O_DIRECTORY is None:
        return
    directory = os.open(path, _O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# ------------------------------------------------------------------ reading


def read_manifest(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """The manifest of a model, of which only size and hash are checked.

    Raises
    ------
    ModelFileError
        If there is none, it is too large, or differs from its hash or from ``sha256``.
    """
    with _open(path, MANIFEST) as file:
        raw = file.read(MAX_MANIFEST + 1)
    if len(raw) > MAX_MANIFEST:
        raise ModelFileError(f"{MANIFEST} has more than the {MAX_MANIFEST} bytes that are legal")
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise ModelFileError(
            f"the sha256 of {MANIFEST} is {hashlib.sha256(raw).hexdigest()}, not "
            f"manifest_sha256={sha256!r}: it is not the model that was expected"
        )
    size = len(_HEAD % bytes(64))
    body = raw[size:]
    if raw[:size] != _HEAD % hashlib.sha256(body).hexdigest().encode():
        raise ModelFileError(f"{MANIFEST} is damaged: it differs from the hash in its first line")
    return parse(b"{" + body, MANIFEST)


def parse(raw: Any, name: str) -> Any:
    """JSON → Python.

    Raises
    ------
    ModelFileError
        If it is none, or nested too deeply.
    """
    try:
        return json.loads(str(raw, "utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is no legal JSON: {error}") from error


def read_files(path: Path, files: dict[str, Any], mmap: bool) -> dict[str, np.ndarray]:
    """The files of a manifest, each compared with its size, its hash and its header.

    Parameters
    ----------
    path : Path
    files : dict
        Of the manifest, checked by `check_files`.
    mmap : bool
        Map the files, copy-on-write, rather than read them into memory.

    Returns
    -------
    dict of str to ndarray
        By the names of ``files``: arrays; the bytes of other files.

    Raises
    ------
    ModelFileError
        If a file is missing, is a link, or is not what the manifest says.
    """
    for name, entry in files.items():  # all sizes before the first hash, which takes time
        _open(path, file_name(name, entry["sha256"]), entry["bytes"]).close()
    return {name: _read(path, name, entry, mmap) for name, entry in files.items()}


def _read(path: Path, name: str, entry: dict[str, Any], mmap: bool) -> np.ndarray:
    n = entry["bytes"]
    with _open(path, file_name(name, entry["sha256"]), n) as file:
        if mmap or name.endswith(".ann"):
            raw = np.asarray(np.memmap(file, dtype=np.uint8, mode="c"))
        else:
            space = np.empty(n + ALIGNMENT, dtype=np.uint8)
            start = -space.ctypes.data % ALIGNMENT
            raw = space[start : start + n]
            raw = raw[: file.readinto(raw.data)]
    if hashlib.sha256(raw.data).hexdigest() != entry["sha256"]:
        raise ModelFileError(f"{name} is damaged: its sha256 is not that of the manifest")
    if not name.endswith(".npy"):
        return raw
    header = npy_header(entry["dtype"], entry["shape"])
    if raw[: len(header)].tobytes() != header:
        raise ModelFileError(
            f"{name} is no array of type {entry['dtype']} and shape {entry['shape']}"
        )
    return raw[len(header) :].view(entry["dtype"]).reshape(entry["shape"])


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINKS)


def _open(path: Path, name: str, n_bytes: int | None = None) -> BufferedReader:
    """A file of this size in the directory itself; never a link, a pipe or a device."""
    try:
        file = open(path / name, "rb", opener=_open_no_link)  # noqa: SIM115
    except OSError as error:
        raise ModelFileError(
            f"{str(path)!r} has no readable file {name} ({error.strerror}): it is no model, is "
            "damaged, or was replaced while it was read, in which case load it again"
        ) from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or n_bytes not in (None, found.st_size):
        file.close()
        raise ModelFileError(
            f"{name} must be a file of {n_bytes or 'some'} bytes, but has {found.st_size}, or is "
            "something else than a file: it is damaged"
        )
    return file
