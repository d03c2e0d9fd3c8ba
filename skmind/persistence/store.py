"""Named arrays and a manifest ↔ a directory that is replaced as a whole or not at all.

The name of a data file contains a part of its hash, so files of two versions can exist side by
side. ``manifest.json`` lists the files of the current version. Replacing it is atomic and switches
from one version to the next.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import reprlib
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .._checks import machine_memory
from ..exceptions import InvalidInputError, ModelFileError, ModelWriteError
from ..nn.processes import Processes
from .schema import integer, list_of, mapping_of, option, optional, record, shown, text

with suppress(ImportError):  # Windows has no fcntl
    import fcntl

logger = logging.getLogger("skmind")

T = TypeVar("T")

MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 2**24
MAX_FILE_BYTES = 2**60
MAX_DIMENSIONS = 4
ALIGNMENT_BYTES = 64  # arrays in memory start at a multiple of this, as torch's own tensors do
STORABLE_DTYPES = frozenset(
    "|b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f2 <f4 <f8".split()
    + [f"<{kind}8[{unit}]" for kind in "mM" for unit in ("D", "s", "ms", "us", "ns")]
)
_HASH_LINE = b'{"sha256": "%s",'  # first line of the manifest: the hash of everything after it
_HASH_LINE_PREFIX = _HASH_LINE[:12]  # every manifest starts with these bytes
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
_NAME_PATTERN = re.compile(r"[A-Za-z]\w*(\.\w+)*\.(npy|json|md|ann)")
_OWN_FILE_PATTERN = re.compile(
    r"[A-Za-z][\w.]*-[0-9a-f]{16}\.(npy|json|md|ann)|\.[0-9a-f]{16}\.tmp"
)
FILES = mapping_of(
    record(
        {
            "bytes": integer(1, MAX_FILE_BYTES),
            "sha256": text,
            "dtype": optional(option(*sorted(STORABLE_DTYPES))),
            "shape": optional(list_of(integer(0, MAX_FILE_BYTES))),
        }
    )
)  # the entry ``files`` of a manifest
_NO_LINK_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a pipe would block
_O_DIRECTORY = getattr(os, "O_DIRECTORY", None)  # None on Windows, which can't open directories


# ------------------------------------------------------------------ names, headers, checks


def check_path(path: Any) -> Path:
    """Return ``path`` as Path.

    Raises
    ------
    InvalidInputError
        If it is neither text nor path-like.
    """
    try:
        return Path(path)
    except TypeError as error:
        cure = "os.fsdecode(path)" if isinstance(path, bytes) else "'model'"
        raise InvalidInputError(
            f"path={reprlib.repr(path)} is of type {type(path).__name__}; pass the name of a "
            f"directory as str or pathlib.Path, such as {cure}"
        ) from error


def file_name(name: str, sha256: str) -> str:
    """Return the name on the disk of a file that the manifest calls ``name``."""
    stem, extension = name.rsplit(".", 1)
    return f"{stem}-{sha256[:16]}.{extension}"


def npy_header(dtype: str, shape: Iterable[int]) -> bytes:
    """Return the bytes before the values in a ``.npy`` file.

    `_read` compares the header of a file with these bytes, so it never parses a header.
    """
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    # 10 bytes come before the text and a newline after it; spaces fill up to the alignment.
    text += " " * (-(11 + len(text)) % ALIGNMENT_BYTES) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def entry_of(value: np.ndarray | bytes) -> dict[str, Any]:
    """Return the entry of a file in the manifest, without the sha256."""
    if not isinstance(value, np.ndarray):
        return {"dtype": None, "shape": None, "bytes": len(value)}
    dtype = value.dtype.newbyteorder("<").str
    n_bytes = len(npy_header(dtype, value.shape)) + value.nbytes
    return {"dtype": dtype, "shape": list(value.shape), "bytes": n_bytes}


def check_files(files: dict[str, Any]) -> None:
    """Check that the file names can't leave the directory and that sizes fit dtypes and shapes.

    Parameters
    ----------
    files : dict
        The entry ``files`` of a manifest.

    Raises
    ------
    ModelFileError
        If a name or an entry is invalid.
    """
    FILES(files, f"files in {MANIFEST_FILE}")
    for name, entry in files.items():
        if not _NAME_PATTERN.fullmatch(name):
            raise ModelFileError(
                f"the manifest lists a file with the invalid name {shown(name)}; names have "
                "letters, digits and the ending .npy, .json, .md or .ann"
            )
        if not _SHA256_PATTERN.fullmatch(entry["sha256"]):
            raise ModelFileError(
                f"the manifest gives {name} the sha256 {shown(entry['sha256'])}, which does not "
                "have 64 digits"
            )
        if name.endswith(".npy"):
            _check_array_entry(name, entry)


def _check_array_entry(name: str, entry: dict[str, Any]) -> None:
    """Check that the size of the file of an array fits its type and shape."""
    dtype = entry.get("dtype")
    shape = entry.get("shape")
    if dtype is None or not shape or len(shape) > MAX_DIMENSIONS:
        raise ModelFileError(
            f"the manifest gives {name} the type {dtype} and the shape {shown(shape)}; an array "
            f"has a type and 1 to {MAX_DIMENSIONS} dimensions"
        )
    n_bytes = len(npy_header(dtype, shape)) + prod(shape) * np.dtype(dtype).itemsize
    if entry["bytes"] != n_bytes:
        raise ModelFileError(
            f"the manifest gives {name} {entry['bytes']} bytes, but an array of type {dtype} and "
            f"shape {tuple(shape)} has {n_bytes}"
        )


# ------------------------------------------------------------------ writing


def write(
    path: Path,
    manifest: dict[str, Any],
    contents: Mapping[str, np.ndarray | bytes],
    processes: Processes | None = None,
) -> str:
    """Write a model; a previous model in ``path`` stays readable until the new one is complete.

    Another call with the same path waits for the end of this one, see `lock`.

    Parameters
    ----------
    path : Path
        A directory, created if it doesn't exist. It must be empty or hold a model.
    manifest : dict
        The manifest without its entry ``files``. That of the first process is written.
    contents : mapping of str to ndarray or bytes
        By file name. Arrays have a dtype of `STORABLE_DTYPES`, in any byte order, and are written
        as ``.npy``.
    processes : Processes or None, default=None
        Processes that all call this function with the same path, and each with files of its own,
        to write one model. None: this one alone.

    Returns
    -------
    str
        The sha256 of the manifest, in hexadecimal.

    Raises
    ------
    ModelWriteError
        If the path can't be written to, or the directory holds other files but no model; in all
        processes.
    """
    processes = processes or Processes()
    update = _Update(path)
    try:
        with ExitStack() as stack:

            def begin() -> None:
                if processes.is_first:
                    stack.enter_context(update.locked())

            def finish() -> str:
                if not processes.is_first:
                    return ""
                digest = update.write_manifest(manifest, entries)
                stack.close()
                return digest

            together(processes, begin)
            entries = together(processes, lambda: _write_contents(path, contents))
            return together(processes, finish)[0]
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        raise ModelWriteError(
            f"the model could not be saved to {str(path)!r}: {error}. A previous model "
            "there is unchanged; free some space, or choose a directory that can be written to"
        ) from error


@contextmanager
def lock(folder: Path, *, wait: bool) -> Iterator[bool]:
    """Lock an existing folder, and yield whether this succeeded.

    The operating system unlocks it if the process is killed. Windows can't lock folders, nor can
    some network file systems; there, the result is always True.

    Parameters
    ----------
    folder : Path
    wait : bool
        Whether to wait while the folder is locked. If so, the result is False only if it was
        removed before it could be locked.
    """
    with ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                logger.info("waiting for another process or thread that writes to %s", folder)
                fcntl.flock(handle, fcntl.LOCK_EX)
            # Explicitly, because a child that was forked meanwhile has a copy of the handle.
            stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)
            # Its owner may have removed the folder, and somebody else created it again.
            is_ours = os.path.samestat(os.fstat(handle), os.stat(folder))
        except (BlockingIOError, FileNotFoundError):  # in use, or just removed
            is_ours = False
        except OSError:
            is_ours = True
        yield is_ours


def together(
    processes: Processes, action: Callable[[], T], error_class: type[Exception] = OSError
) -> list[T]:
    """Run an action in all processes; return their results, or raise in all if one fails.

    Parameters
    ----------
    processes : Processes
        All must call this function.
    action : callable
        Returns a small object.
    error_class : type of Exception, default=OSError
        Raised for an `OSError` or a `ValueError` in one of several processes, which it names.
    """
    if processes.size == 1:
        return [action()]
    result: Any = None
    own_error = None
    try:
        result = action()
    except (OSError, ValueError) as error:
        own_error = error
    outcomes = processes.gather((result, own_error and str(own_error)))
    for rank, (_, message) in enumerate(outcomes):
        if message is not None:
            raise error_class(f"process {rank} of {processes.size}: {message}") from own_error
    return [result for result, _ in outcomes]


def _create(path: Path) -> bool:
    """Create the directory; return whether it did not exist."""
    is_new = not path.is_dir()
    path.mkdir(exist_ok=True)
    if is_new:
        _sync(path.parent)
    return is_new


def _claim(path: Path) -> set[str]:
    """Check that the directory is empty or holds a model; return the names of its files."""
    names = set(os.listdir(path))
    foreign_names = sorted(name for name in names if not _OWN_FILE_PATTERN.fullmatch(name))
    holds_model = MANIFEST_FILE in names and (
        (path / MANIFEST_FILE).read_bytes().startswith(_HASH_LINE_PREFIX)
    )
    if foreign_names and not holds_model:
        raise OSError(f"it is not the directory of a model, because it holds {foreign_names[0]!r}")
    return names


class _Update:
    """The replacement of the model in a directory.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept_names: set[str] = set()
        self._new_names: set[str] = set()
        self._raw = b""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create, lock and check the directory; at the end, remove all files but of one model."""
        is_ours = False
        while not is_ours:
            is_new = _create(self.path)
            with lock(self.path, wait=True) as is_ours:
                if is_ours:
                    self._kept_names = _claim(self.path)
                    try:
                        yield
                    finally:
                        self._sweep()
                        if is_new and not os.listdir(self.path):
                            with suppress(OSError):  # another process may have begun a file
                                self.path.rmdir()

    def write_manifest(self, manifest: dict[str, Any], entries: list[dict[str, Any]]) -> str:
        """Switch to the new model, whose files each process has written; return the sha256."""
        files = {name: entry for own in entries for name, entry in own.items()}
        body = json.dumps({**manifest, "files": files}, indent=1)[1:].encode()
        raw = _HASH_LINE % hashlib.sha256(body).hexdigest().encode() + body
        if len(raw) > MAX_MANIFEST_BYTES:
            raise OSError(
                f"its manifest would have {len(raw)} bytes, more than {MAX_MANIFEST_BYTES}"
            )
        self._new_names = {file_name(name, entry["sha256"]) for name, entry in files.items()}
        for rank, own in enumerate(entries[1:], 1):
            for name, entry in own.items():
                self._check_shared(file_name(name, entry["sha256"]), rank)
        self._raw = raw
        _replace(self.path, lambda _: MANIFEST_FILE, [raw])
        _sync(self.path)
        return hashlib.sha256(raw).hexdigest()

    def _check_shared(self, name: str, rank: int) -> None:
        if not (self.path / name).exists():
            raise OSError(
                f"process 0 does not find the file {name} of process {rank}; all processes need a "
                "directory on the same file system"
            )

    def _sweep(self) -> None:
        # An interrupt can come at any time, so read from the disk which version is current.
        if self._raw and _manifest_is(self.path, self._raw):
            self._kept_names = self._new_names
        for name in os.listdir(self.path):
            if _OWN_FILE_PATTERN.fullmatch(name) and name not in self._kept_names:
                with suppress(FileNotFoundError):  # another process may have renamed or removed it
                    os.unlink(self.path / name)


def _manifest_is(path: Path, raw: bytes) -> bool:
    manifest = path / MANIFEST_FILE
    return manifest.exists() and manifest.read_bytes() == raw


def _write_contents(
    path: Path, contents: Mapping[str, np.ndarray | bytes]
) -> dict[str, dict[str, Any]]:
    """Write the data files of this process and return their entries in the manifest."""
    files = {name: _write_content(path, name, value) for name, value in contents.items()}
    _sync(path)  # the data files must be on the disk before the manifest refers to them
    return files


def _write_content(path: Path, name: str, value: np.ndarray | bytes) -> dict[str, Any]:
    """Write one file and return its entry in the manifest."""
    entry = entry_of(value)
    parts: list[Any] = [value]
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value, dtype=entry["dtype"])
        header = npy_header(entry["dtype"], entry["shape"])
        parts = [header, value.reshape(-1).view(np.uint8)]
    entry["bytes"], entry["sha256"] = _replace(path, lambda sha: file_name(name, sha), parts)
    return entry


def _replace(path: Path, name_of: Callable[[str], str], parts: list[Any]) -> tuple[int, str]:
    """Write a temporary file, then rename it atomically; return its size and sha256.

    ``name_of`` returns the final name for a sha256.
    """
    temporary = path / f".{secrets.token_hex(8)}.tmp"
    sha = hashlib.sha256()
    n_bytes = 0
    with open(temporary, "xb") as file:
        for part in parts:
            file.write(part)
            sha.update(part)
            n_bytes += len(part)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path / name_of(sha.hexdigest()))
    return n_bytes, sha.hexdigest()


def _sync(path: Path) -> None:
    """Flush the entries of a directory to the disk."""
    if _O_DIRECTORY is None:
        return
    directory = os.open(path, _O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


# ------------------------------------------------------------------ reading


def read_manifest(path: Path, sha256: str | None = None) -> dict[str, Any]:
    """Read the manifest of a model and check its size and hash, but not its content.

    Parameters
    ----------
    path : Path
        The directory of the model.
    sha256 : str or None, default=None
        Expected sha256 of the manifest, in hexadecimal. None accepts any.

    Raises
    ------
    ModelFileError
        If the manifest is missing or too large, or differs from its own hash or from ``sha256``.
    """
    raw = _manifest_bytes(path)
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise ModelFileError(
            f"the sha256 of {MANIFEST_FILE} is {hashlib.sha256(raw).hexdigest()}, not "
            f"manifest_sha256={sha256!r}: this is not the expected model"
        )
    hash_line_bytes = len(_HASH_LINE % bytes(64))
    body = raw[hash_line_bytes:]
    if raw[:hash_line_bytes] != _HASH_LINE % hashlib.sha256(body).hexdigest().encode():
        raise ModelFileError(
            f"{MANIFEST_FILE} is damaged: its content differs from the hash in its first line"
        )
    return parse(b"{" + body, MANIFEST_FILE)


def manifest_digest(path: Path) -> str:
    """Return the sha256 of the manifest, which differs if any file of the model does.

    Raises
    ------
    ModelFileError
        If the manifest is missing or too large.
    """
    return hashlib.sha256(_manifest_bytes(path)).hexdigest()


def _manifest_bytes(path: Path) -> bytes:
    with _open(path, MANIFEST_FILE) as file:
        raw = file.read(MAX_MANIFEST_BYTES + 1)
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ModelFileError(
            f"{MANIFEST_FILE} has more than {MAX_MANIFEST_BYTES} bytes, the largest valid size"
        )
    return raw


def parse(raw: Any, name: str) -> Any:
    """Decode JSON.

    Parameters
    ----------
    raw : bytes-like
    name : str
        Name of the file for error messages.

    Raises
    ------
    ModelFileError
        If ``raw`` is not valid JSON, or is nested too deeply.
    """
    try:
        return json.loads(str(raw, "utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is not valid JSON: {error}") from error


def read_files(path: Path, files: dict[str, Any], mmap: bool) -> dict[str, np.ndarray]:
    """Read the files of a manifest and compare each with its size, hash and header.

    Parameters
    ----------
    path : Path
        The directory of the model.
    files : dict
        The entry ``files`` of its manifest, checked by `check_files`.
    mmap : bool
        Map the files copy-on-write instead of reading them into memory.

    Returns
    -------
    dict of str to ndarray
        By the names in ``files``: the array of a ``.npy`` file; the bytes (uint8) of other files.

    Raises
    ------
    ModelFileError
        If a file is missing, is a link, or differs from its entry in the manifest; or if the files
        are larger than the memory of the machine and are not mapped.
    """
    if not mmap:
        check_memory(path, files, "load it with mmap=True or on a larger machine")
    for name, entry in files.items():  # check all sizes first, because hashing takes time
        _open(path, file_name(name, entry["sha256"]), entry["bytes"]).close()
    return {name: _read(path, name, entry, mmap) for name, entry in files.items()}


def check_memory(path: Path, files: dict[str, Any], cure: str) -> None:
    """Raise a `ModelFileError`, which says the cure, if the files don't fit into the memory."""
    n_bytes = sum(entry["bytes"] for entry in files.values())
    memory = machine_memory()
    if memory is not None and n_bytes > memory:
        raise ModelFileError(
            f"the files of {str(path)!r} have {n_bytes / 1e9:,.1f} GB, but this machine has "
            f"{memory / 1e9:,.1f} GB of memory; {cure}"
        )


def _read(path: Path, name: str, entry: dict[str, Any], mmap: bool) -> np.ndarray:
    n_bytes = entry["bytes"]
    with _open(path, file_name(name, entry["sha256"]), n_bytes) as file:
        if mmap or name.endswith(".ann"):
            raw = np.asarray(np.memmap(file, dtype=np.uint8, mode="c"))
        else:
            # Numpy doesn't align to 64 bytes, so take an aligned slice of a larger buffer.
            buffer = np.empty(n_bytes + ALIGNMENT_BYTES, dtype=np.uint8)
            start = -buffer.ctypes.data % ALIGNMENT_BYTES
            raw = buffer[start : start + n_bytes]
            raw = raw[: file.readinto(raw.data)]
    if hashlib.sha256(raw.data).hexdigest() != entry["sha256"]:
        raise ModelFileError(f"{name} is damaged: its sha256 differs from the manifest")
    if not name.endswith(".npy"):
        return raw
    header = npy_header(entry["dtype"], entry["shape"])
    if raw[: len(header)].tobytes() != header:
        raise ModelFileError(
            f"{name} is not an array of type {entry['dtype']} and shape {entry['shape']}"
        )
    return raw[len(header) :].view(entry["dtype"]).reshape(entry["shape"])


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINK_FLAGS)


def _open(path: Path, name: str, n_bytes: int | None = None) -> BufferedReader:
    """Open a regular file of ``n_bytes``; raise for a link, a pipe or a device."""
    try:
        file = open(path / name, "rb", opener=_open_no_link)  # noqa: SIM115
    except (OSError, ValueError) as error:  # ValueError: the path holds a NUL
        reason = getattr(error, "strerror", error)
        raise ModelFileError(
            f"{str(path)!r} has no readable file {name} ({reason}): it is not a model, is "
            "damaged, or was replaced while it was read; in the last case load it again"
        ) from error
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or n_bytes not in (None, status.st_size):
        file.close()
        expected = "a regular file" if n_bytes is None else f"a regular file of {n_bytes} bytes"
        raise ModelFileError(
            f"{name} must be {expected}, but is not a regular file or has {status.st_size} bytes: "
            "it is damaged"
        )
    return file
