"""Saved model → forged ones with valid hashes, each loaded in a child process with limits.

    python benchmarks/forgeries.py [--cases N] [--first N] [--jobs N]
    python benchmarks/forgeries.py --coverage RUNS   (needs: pip install atheris)

A forgery changes arrays, lists of ids and the manifest, and recomputes every hash, so that it
reaches the checks behind the hashes. It passes if `load` raises a `ModelFileError`, or if the model
answers with finite numbers and can be saved. A child handles many forgeries; if it dies, hangs or
uses too much memory, the parent notes the number of the forgery, which is its seed, and starts
another child. --coverage lets atheris (libFuzzer) choose the changes of the manifest by the code
that they reach. `benchmarks/robustness.py` runs both.
"""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import importlib.util
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

MEMORY_BYTES = 2**30  # that a forgery may use beyond what the process has
CPU_SECONDS = 10
WALL_SECONDS = 300  # for a process that waits; the machine may be busy
REPEAT_CASES = 20  # every such case also loads what it saved
DOCUMENT = "manifest.json"
INTEGERS = [
    0, 1, -1, 2, 3, 5, 7, 39, 100, 255, 256, 1000, 1001, 2**15, 2**16, 10**6, 10**6 + 1, 2**31 - 1,
    2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64, -(2**31), -(2**63), 10**30, -(10**30),
    10**300,
]  # fmt: skip
FLOATS = [
    0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 1e-45, 1e-10, 1e10, 1e20, 3e38, 1e300, -3e38, float("nan"),
    float("inf"), -float("inf"), 2.0**31, 2.0**63,
]  # fmt: skip
TEXTS = [
    "", "a", "user_id", "item_id", "timestamp", "score", "rank", "auto", "exact", "annoy", "faiss",
    "cuda", "cuda:99999999999", "cpu\0", "meta", "mixture", "deprecated", "\0", "../x", "a/b",
    "\ud800", "東", "x" * 10_000, "number", "vector", "category", "multiple", "<f4", "|O", "all",
    "1e5", "nan", "None", "__class__", "0" * 64,
]  # fmt: skip


class Base(NamedTuple):
    """A saved model: its folder, its manifest without the hash, and the raw files by name."""

    path: Path
    document: bytes
    raw: dict[str, bytes]


# ------------------------------------------------------------------ models


def models(folder: Path) -> list[Any]:
    """Return fitted models of all kinds, as small as possible."""
    from skmind import MINDRecommender

    rng = np.random.default_rng(0)
    n = 60
    log = pd.DataFrame(
        {
            "user_id": rng.choice(["ann", "bob", "Zoë", "東", "e"], n),
            "item_id": rng.integers(1, 12, n),
            "timestamp": pd.date_range("2024-01-01", periods=n, freq="D"),
        }
    )
    items = pd.DataFrame(
        {
            "item_id": [1, 2, 3, 20],
            "color": ["red", "blue", None, "red"],
            "tags": [["x"], ["y", "x"], ["z"], None],
            "price": [1.5, None, 4.0, 8.0],
            "look": [[0.5, 1.0], None, [1.5, np.nan], [2.5, 0.0]],
        }
    )
    users = pd.DataFrame({"user_id": ["bob", "ann", "new"], "age": [30, 50, 30], "h": [1.0, 2, 3]})
    tiny = {
        "n_interests": 2, "embedding_dim": 4, "max_history": 5, "max_epochs": 1, "batch_size": 8,
        "random_state": 0, "device": "cpu", "n_negatives": 4,
    }  # fmt: skip
    big = pd.DataFrame({"user_id": rng.integers(0, 20, 400), "item_id": rng.integers(0, 150, 400)})
    big["timestamp"] = np.arange(400) / 7
    mixed = log.assign(user_id=[x if x != "e" else 1.5 for x in log["user_id"]])
    mixed["user_id"] = mixed["user_id"].astype(object)
    ids = log.assign(item_id=log["item_id"] * 2**40 + 2**62)
    made = [
        MINDRecommender(**tiny, n_encoder_layers=1).fit(log, users=users, items=items),
        MINDRecommender(**tiny, n_encoder_layers=2).fit(log[["item_id", "item_id"]].to_numpy()),
        MINDRecommender(**tiny, index="annoy", n_trees=3, search_k=50).fit(big),
        MINDRecommender(**tiny, time_col=None, tie_order="rows", early_stopping=True).fit(mixed),
        MINDRecommender(**tiny, item_features=["color"]).fit(ids.assign(color=["a", "b"] * 30)),
        MINDRecommender(**tiny).fit(log, items=items).partial_fit(log.tail(9)),
    ]
    if importlib.util.find_spec("faiss"):
        made.append(MINDRecommender(**tiny, index="faiss", search_k=2).fit(big))
    if importlib.util.find_spec("pyarrow"):
        big.to_parquet(folder / "log.parquet")
        made.append(MINDRecommender(**tiny, precision="bfloat16").fit(folder / "log.parquet"))
    return made


def bases(folder: Path) -> list[Base]:
    """Save the models below ``folder``, whole and with their users in parts, and return them."""
    sys.path.append(str(Path(__file__).parents[1]))
    from tests.persistence.divided import save_parts, threads_as_processes

    made = []
    with warnings.catch_warnings(), threads_as_processes():
        warnings.simplefilter("ignore")
        paths = []
        for i, rec in enumerate(models(folder)):
            paths += [folder / f"base{2 * i}", folder / f"base{2 * i + 1}"]
            rec.save(paths[-2], index=rec.index_ == "annoy")
            save_parts(rec, paths[-1], 2 + i % 2)
        for path in paths:
            manifest = json.loads((path / DOCUMENT).read_bytes())
            del manifest["sha256"]
            entries = manifest["files"].items()
            raw = {
                name: (path / _name(name, entry["sha256"])).read_bytes() for name, entry in entries
            }
            made.append(Base(path, json.dumps(manifest).encode(), raw))
    return made


def _name(name: str, sha256: str) -> str:
    stem, extension = name.rsplit(".", 1)
    return f"{stem}-{sha256[:16]}.{extension}"


def write_forgery(base: Base, manifest: Any, raw: dict[str, bytes]) -> list[Path]:
    """Write what differs from the base, with valid hashes, and return the new files."""
    new = []
    files = manifest.get("files") if isinstance(manifest, dict) else None
    for name, content in raw.items():
        if content is base.raw.get(name) or not isinstance(files, dict):
            continue
        entry = files.get(name)
        if isinstance(entry, dict):
            entry["sha256"] = hashlib.sha256(content).hexdigest()
            entry["bytes"] = len(content)
            path = base.path / _name(name, entry["sha256"])
            if not path.exists():
                path.write_bytes(content)
                new.append(path)
    write_manifest(base.path, json.dumps(manifest).encode())
    return new


def write_manifest(path: Path, document: bytes) -> None:
    """Write a manifest with a valid hash of itself."""
    body = document[1:]
    digest = hashlib.sha256(body).hexdigest()
    (path / DOCUMENT).write_bytes(b'{"sha256": "%s",' % digest.encode() + body)


# ------------------------------------------------------------------ changes


def pick(rng: np.random.Generator, values: Any) -> Any:
    """Return one of a list."""
    return values[int(rng.integers(len(values)))]


def any_value(rng: np.random.Generator, depth: int = 0) -> Any:
    """Return a JSON value of any type."""
    kind = rng.integers(8 if depth < 2 else 5)
    if kind == 0:
        return pick(rng, INTEGERS)
    if kind == 1:
        return pick(rng, FLOATS)
    if kind == 2:
        return pick(rng, TEXTS)
    if kind == 3:
        return pick(rng, [None, True, False])
    if kind == 4:
        deep: Any = []
        for _ in range(int(pick(rng, [1, 3, 200, 900]))):
            deep = [deep] if rng.random() < 0.9 else {"a": deep}
        return deep
    values = [any_value(rng, depth + 1) for _ in range(int(rng.integers(4)))]
    return values if kind < 7 else {str(pick(rng, TEXTS)): value for value in values}


def like(rng: np.random.Generator, value: Any) -> Any:
    """Return a value of the same type, mostly."""
    if rng.random() < 0.2:
        return any_value(rng)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return pick(rng, [*INTEGERS, value + 1, value - 1, -value, value * 2])
    if isinstance(value, float):
        return pick(rng, [*FLOATS, value * 2, -value, 1])
    if isinstance(value, str):
        return pick(rng, [*TEXTS, value + "x", value[:-1], value.upper()])
    return any_value(rng)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the path of every value in a JSON document."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield (*path, key)
        yield from places(value[key], (*path, key))


def change_manifest(rng: np.random.Generator, manifest: dict[str, Any]) -> None:
    """Change one value of the manifest, in place."""
    sections = [key for key in manifest if key != "files"]
    top = "files" if rng.random() < 0.15 else pick(rng, sections) if sections else None
    paths = [(top,), *places(manifest[top], (top,))] if top in manifest else []
    if not paths:
        manifest[str(pick(rng, TEXTS))] = any_value(rng)
        return
    path = pick(rng, paths)
    parent: Any = manifest
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    action = rng.random()
    if action < 0.65:
        parent[key] = like(rng, parent[key])
    elif action < 0.75:
        del parent[key]
    elif action < 0.82 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(pick(rng, parent)))
    elif action < 0.9 and isinstance(parent, dict):
        parent[pick(rng, [*TEXTS, "checkpoint_dir", "hook"])] = any_value(rng)
    elif isinstance(parent, dict):
        other = pick(rng, list(parent))
        parent[key], parent[other] = parent[other], parent[key]
    else:
        rng.shuffle(parent)


def change_array(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Return a changed copy of an array."""
    values = values.copy()
    flat = values.reshape(-1)
    if not len(flat):
        return np.zeros((1, *values.shape[1:]), values.dtype)
    kind = values.dtype.kind
    if kind == "f":
        special = np.array([*FLOATS, 3e38, 1.001, 1.1], dtype=values.dtype)
    else:
        width = 8 * values.dtype.itemsize
        numbers = [
            *INTEGERS,
            len(flat),
            len(flat) - 1,
            len(flat) + 1,
            int(flat.max().view(f"i{values.dtype.itemsize}")),
        ]
        special = np.array([x % 2**width for x in numbers], dtype=f"u{values.dtype.itemsize}")
        special = special.view(values.dtype)
    n = int(pick(rng, [1, 1, 1, 2, 5, len(flat)]))
    at = rng.integers(len(flat), size=n)
    action = int(rng.integers(12))
    if action < 5:
        flat[at] = special[rng.integers(len(special), size=n)]
    elif action == 5:
        flat[:] = pick(rng, special)
    elif action == 6:
        flat[at] = flat[rng.integers(len(flat), size=n)]
    elif action == 7:
        flat[:] = rng.permutation(flat)
    elif action == 8:
        flat[:] = flat[::-1].copy()
    elif action == 9:
        raw = flat.view(np.uint8)
        raw[rng.integers(len(raw), size=n)] ^= rng.integers(1, 256, size=n).astype(np.uint8)
    elif action == 10 and kind == "f":
        flat *= values.dtype.type(pick(rng, [-1, 0, 2, 1e5, 1e10, 1e19, 3e38, 1e-30]))
    else:
        start = int(rng.integers(len(flat)))
        flat[start:] = special[rng.integers(len(special), size=len(flat) - start)]
    return values


def change_shape(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Return an array of another shape or dtype."""
    action = int(rng.integers(5))
    if action == 0:
        return values[: int(rng.integers(len(values) + 1))]
    if action == 1:
        return np.concatenate([values, values[: int(rng.integers(1, 4))]])
    if action == 2:
        return values.reshape(-1)
    if action == 3:
        return values.astype(pick(rng, "f2 f4 f8 i1 i4 i8 u1 u8 b1".split()), casting="unsafe")
    itemsize = values.dtype.itemsize
    return values.view(
        pick(
            rng,
            [x for x in "f4 i4 u4 f8 i8 u8 M8[ns]".split() if np.dtype(x).itemsize == itemsize]
            or [values.dtype],
        )
    )


def change_list(rng: np.random.Generator, content: bytes) -> bytes:
    """Return a changed list of ids or categories."""
    try:
        values = json.loads(content)
    except (RecursionError, ValueError):
        return content
    if not isinstance(values, list) or not values:
        return b"[]"
    action = int(rng.integers(7))
    place = int(rng.integers(len(values)))
    if action < 3:
        values[place] = like(rng, values[place])
    elif action == 3:
        values[place] = copy.deepcopy(pick(rng, values))
    elif action == 4:
        values = values[:place]
    elif action == 5:
        values = [like(rng, value) for value in values]
    else:
        return pick(rng, [b"", b"{}", b"[" * 10_000, b'["\xff"]', b"nan", bytes(100), b"[1e999]"])
    return json.dumps(values).encode()


def change_file(rng: np.random.Generator, manifest: dict[str, Any], raw: dict[str, bytes]) -> None:
    """Change one file, in place, and mostly what the manifest says of it."""
    from skmind.persistence.store import npy_header

    name = pick(rng, sorted(raw))
    entry = manifest["files"].get(name) if isinstance(manifest.get("files"), dict) else None
    if not name.endswith(".npy"):
        raw[name] = change_list(rng, raw[name]) if name.endswith(".json") else rng.bytes(50)
        return
    try:
        header = npy_header(entry["dtype"], entry["shape"])
        values = np.frombuffer(raw[name][len(header) :], entry["dtype"]).reshape(entry["shape"])
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError):
        raw[name] = rng.bytes(len(raw[name]))
        return
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = (change_array if rng.random() < 0.8 else change_shape)(rng, values)
    changed = np.ascontiguousarray(changed)
    entry |= {"dtype": changed.dtype.str, "shape": list(changed.shape)}
    raw[name] = npy_header(**{key: entry[key] for key in ("dtype", "shape")}) + changed.tobytes()


def forge(rng: np.random.Generator, base: Base) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the manifest and the files of a forgery."""
    manifest = json.loads(base.document)
    raw = dict(base.raw)
    for _ in range(int(pick(rng, [1, 1, 1, 2, 2, 3, 5]))):
        if rng.random() < 0.55:
            change_file(rng, manifest, raw)
            continue
        before = json.dumps(manifest)
        try:
            change_manifest(rng, manifest)
            json.dumps(manifest)
        except RecursionError:  # too deep to be written
            manifest = json.loads(before)
    return manifest, raw


# ------------------------------------------------------------------ one case


def outcome(path: Path, again: Path, repeat: bool, **options: Any) -> str:
    """Load a model and use it; return "refused" or "answers", or raise."""
    from skmind import MINDRecommender
    from skmind.exceptions import ModelFileError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rec = MINDRecommender.load(path, **options)
        except ModelFileError:
            return "refused"
        answers = [
            rec.recommend(k=3),
            rec.recommend_from_history([rec.items_[:2], rec.items_[:0]], k=3),
            rec.similar_items(rec.items_[:2], k=2),
        ]
        for answer in answers:
            if not np.isfinite(answer["score"].to_numpy(dtype=float)).all():
                raise ArithmeticError("a score is not finite")
        rec.save(again)
        if repeat:
            MINDRecommender.load(again)
    return "answers"


def run_case(number: int, made: list[Base], again: Path) -> str:
    """Run the forgery of one number; return its outcome, or the traceback of what it raised."""
    rng = np.random.default_rng([18, number])
    base = pick(rng, made)
    new: list[Path] = []
    try:
        manifest, raw = forge(rng, base)
        new = write_forgery(base, manifest, raw)
        return outcome(base.path, again, number % REPEAT_CASES == 0, mmap=bool(rng.integers(2)))
    except Exception:
        return traceback.format_exc()
    finally:
        for path in new:
            path.unlink()


# ------------------------------------------------------------------ children


def quicken() -> None:
    """Leave out what takes most of the time of small models and does not depend on the forgery."""
    from skmind.nn.network import MINDNet
    from skmind.persistence import manifest

    os.fsync = lambda _: None  # type: ignore[assignment]
    manifest.version = functools.cache(manifest.version)
    MINDNet.weight_shapes = functools.cache(MINDNet.weight_shapes)


def set_limits() -> None:
    """Limit the memory of this process to what it has and `MEMORY_BYTES`."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def serve(numbers: range, made: list[Base], again: Path, pipe: Any) -> None:
    """Run cases, and tell the parent the number of each before it and its outcome after it."""
    quicken()
    set_limits()
    for number in numbers:
        os.write(pipe, struct.pack("<qi", number, -1))
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # the default action ends the process
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        text = run_case(number, made, again).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(pipe, struct.pack("<qi", number, len(text)) + text)


def run_worker(numbers: range, originals: list[Base], jobs: Any) -> None:
    """Fork children until all numbers are done, and report every outcome."""
    with tempfile.TemporaryDirectory(dir=shared_memory()) as folder:
        made = [
            base._replace(path=shutil.copytree(base.path, Path(folder) / base.path.name))
            for base in originals
        ]
        while numbers:
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                try:
                    serve(numbers, made, Path(folder) / "again", writer)
                finally:
                    os._exit(0)
            os.close(writer)
            started = numbers[0]
            with open(reader, "rb") as file:
                while header := file.read(12):
                    number, length = struct.unpack("<qi", header)
                    started = number
                    if length >= 0:
                        jobs.put((number, file.read(length).decode()))
                        started = number + numbers.step
            status = os.waitpid(child, 0)[1]
            numbers = range(started, numbers.stop, numbers.step)
            if numbers:
                jobs.put((started, f"the process died: {os.waitstatus_to_exitcode(status)}"))
                numbers = numbers[1:]
                shutil.rmtree(Path(folder) / "again", ignore_errors=True)
    jobs.put(None)


def shared_memory() -> str | None:
    """Return a folder in memory, if the system has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def run(n_cases: int, n_jobs: int, first: int = 0) -> Counter:
    """Run forgeries, print what failed, and return how often each outcome occurred."""
    import torch

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    counts: Counter = Counter()
    with tempfile.TemporaryDirectory(dir=shared_memory()) as folder:
        made = bases(Path(folder))
        for i in range(n_jobs):
            numbers = range(first + i, first + n_cases, n_jobs)
            context.Process(target=run_worker, args=[numbers, made, queue]).start()
        n_running = n_jobs
        while n_running:
            message = queue.get()
            if message is None:
                n_running -= 1
                continue
            number, text = message
            is_valid = text in ("refused", "answers")
            counts[text if is_valid else "failed"] += 1
            if not is_valid:
                print(f"case {number}: {text}", file=sys.stderr, flush=True)
            if counts.total() % 1000 == 0:
                print(time.strftime("%H:%M:%S"), dict(counts), file=sys.stderr, flush=True)
    return counts


# ------------------------------------------------------------------ guided by coverage


def coverage_run(n_runs: int) -> str:
    """Let atheris change manifests in a child process, which ends at the first failure.

    Returns
    -------
    str
        How many ran, and how many edges of the code they reached.
    """
    command = [sys.executable, __file__, "--coverage", str(n_runs)]
    done = subprocess.run(command, capture_output=True, text=True)
    last = re.search(r"#(\d+)\s+DONE\s+cov: (\d+)", done.stderr)
    if done.returncode or last is None:
        raise RuntimeError(done.stderr[-5000:])
    return f"{last[1]} pass, {last[2]} edges"


def fuzz_coverage(n_runs: int) -> None:
    """Run atheris; it ends the process."""
    import atheris

    # Torch and others are imported before, so that only the code that reads models is counted.
    import torch

    import skmind.retrieval.search

    torch.set_num_threads(1)
    for name in [name for name in sys.modules if name.startswith("skmind")]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["skmind"]):
        import skmind  # noqa: F401

    quicken()
    folder = Path(tempfile.mkdtemp(dir=shared_memory()))
    made = bases(folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for i, base in enumerate(made):
        (corpus / f"base{i}").write_bytes(b"[%d, %s]" % (i, base.document))

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        try:
            i, manifest = json.loads(data)
            for _ in range(int(rng.integers(1, 4))):
                change_manifest(rng, manifest)
            changed = json.dumps([i, manifest]).encode()
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            return atheris.Mutate(data, max_size)
        return (
            changed
            if len(changed) <= max_size and rng.random() < 0.9
            else atheris.Mutate(data, max_size)
        )

    def test(data: bytes) -> None:
        number, _, document = data.removeprefix(b"[").partition(b", ")
        base = made[int(number)] if number.isdigit() and int(number) < len(made) else made[0]
        write_manifest(base.path, document.removesuffix(b"]"))
        outcome(base.path, folder / "again", False)

    set_limits()
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-runs={n_runs}",
        "-max_len=65536",
        "-timeout=60",
        "-rss_limit_mb=4096",
    ]
    atheris.Setup(arguments, test, custom_mutator=mutate)
    try:
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--coverage", type=int, metavar="RUNS")
    options = parser.parse_args()
    if options.coverage:
        fuzz_coverage(options.coverage)
    print(dict(run(options.cases, options.jobs, options.first)))


if __name__ == "__main__":
    main()
