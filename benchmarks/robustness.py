"""Fitted model → behaviour under threads, processes, kills, full disks and damage, as a table.

    python benchmarks/robustness.py [--part NAME ...] [--quick] [--output FILE]

Counts, for a small model: results of 16 threads and 4 loky workers that differ from serial results;
models that load after a SIGKILL or a full disk at 20 moments of a save that replaces another model;
fits that are bit-equal after a SIGKILL at 20 random moments; byte mutations that remain undetected;
and forged models that are neither refused nor answer, as `forgeries.py` explains (the part
"manifests" needs ``pip install atheris``). For a larger model it measures the memory of 4 processes
that load it, copied and mapped (PSS: a shared page counts by its share). --part selects parts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import errno
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import forgeries
import joblib
import numpy as np
import pandas as pd
import torch

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import ModelFileError, ModelWriteError, NothingToLearnWarning

N_MOMENTS = 20
N_PROCESSES = 4
SETTINGS = {"embedding_dim": 8, "max_epochs": 1, "random_state": 0, "device": "cpu"}
CHILD = """
import sys, torch
from skmind import MINDRecommender
torch.set_num_threads(1)
rec = MINDRecommender.load(sys.argv[1], mmap=sys.argv[2] == "True")
rec.recommend(rec.users_[:100], k=10)
print("ready", flush=True)
sys.stdin.read()
"""


def fit(n_users: int) -> MINDRecommender:
    """Return a small model; one epoch suffices because accuracy does not matter here."""
    data = make_interactions(n_users, 30, n_topics=5, n_interests=2, random_state=0)
    return MINDRecommender(**SETTINGS).fit(data.interactions)


def untrained(n: int) -> MINDRecommender:
    """Return a large model without training: no user has two events, so no sample exists."""
    events = pd.DataFrame({"user_id": range(n), "item_id": range(n), "timestamp": 0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NothingToLearnWarning)
        return MINDRecommender(**SETTINGS | {"embedding_dim": 128}).fit(events)


def n_different(rec: MINDRecommender, start: int, n_calls: int, expected: list) -> int:
    """Return the number of calls whose result differs from the serial result."""
    n = 0
    for i in range(start, start + n_calls):
        ids, scores = rec.recommend([rec.users_[i % len(rec.users_)]], k=5, output="arrays")
        expected_ids, expected_scores = expected[i % len(expected)]
        n += not ((ids == expected_ids).all() and (scores == expected_scores).all())
    return n


def concurrent(rec: MINDRecommender, n_calls: int) -> Iterator[str]:
    """Compare calls of threads and loky workers with serial calls."""
    expected = [rec.recommend([user], k=5, output="arrays") for user in rec.users_]
    with ThreadPoolExecutor(16) as pool:
        counts = pool.map(lambda start: n_different(rec, start, n_calls, expected), range(16))
        yield f"16 threads × {n_calls} calls | {sum(counts)} differ"
    jobs = [joblib.delayed(n_different)(rec, start, n_calls, expected) for start in range(4)]
    n = sum(joblib.Parallel(n_jobs=4, backend="loky")(jobs))
    yield f"4 loky workers × {n_calls} calls | {n} differ"


def save_interrupted(
    rec: MINDRecommender, path: Path, moment: int, interruption: Callable[[], None]
) -> int:
    """Save, interrupt the file operation with number ``moment``, and return their number."""
    count = 0
    originals = {name: getattr(os, name) for name in ("fsync", "replace", "unlink")}

    def counted(name: str) -> Callable:
        def call(*arguments: object) -> object:
            nonlocal count
            count += 1
            if count == moment:
                interruption()
            return originals[name](*arguments)

        return call

    for name in originals:
        setattr(os, name, counted(name))
    try:
        rec.save(path)
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
    return count


def save_killed(rec: MINDRecommender, path: Path, moment: int) -> None:
    """Save in a child process that is killed."""
    child = os.fork()
    if not child:
        save_interrupted(rec, path, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(0)
    os.waitpid(child, 0)


def raise_no_space() -> None:
    """Raise the error of a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


def save_on_full_disk(rec: MINDRecommender, path: Path, moment: int) -> None:
    """Save on a disk that becomes full."""
    with contextlib.suppress(ModelWriteError):
        save_interrupted(rec, path, moment, raise_no_space)


def saves(old: MINDRecommender, new: MINDRecommender, folder: Path) -> Iterator[str]:
    """Kill saves and fill the disk at moments that are spread over a save."""
    path = folder / "model"
    digests = {rec.save(path) for rec in (old, new)}
    n_operations = save_interrupted(old, path, 0, raise_no_space)
    for name, save in (("SIGKILL", save_killed), ("full disk", save_on_full_disk)):
        n_loaded = 0
        for moment in np.linspace(1, n_operations, N_MOMENTS).astype(int).tolist():
            old.save(path)
            save(new, path, moment)
            for digest in digests:
                with contextlib.suppress(ModelFileError):
                    MINDRecommender.load(path, manifest_sha256=digest)
                    n_loaded += 1
        yield f"{name} at {N_MOMENTS} of {n_operations} operations of a save | {n_loaded} load"


def resumed(folder: Path, n_users: int) -> Iterator[str]:
    """Kill fits at random moments, then resume them."""
    X = make_interactions(n_users, 200, n_topics=5, n_interests=2, random_state=0).interactions
    settings = SETTINGS | {"max_epochs": 5, "early_stopping": True}
    start = time.perf_counter()
    weights = MINDRecommender(**settings).fit(X)._model.weights
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(0)
    n_equal = n_resumed = 0
    for moment in range(N_MOMENTS):
        path = folder / f"checkpoint{moment}"
        rec = MINDRecommender(**settings, checkpoint_dir=path)
        child = os.fork()
        if not child:
            rec.fit(X)
            os._exit(0)
        time.sleep(seconds * rng.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        n_resumed += any(path.glob("*/*/manifest.json"))
        resumed_weights = rec.fit(X)._model.weights
        n_equal += all((resumed_weights[name] == array).all() for name, array in weights.items())
    yield (
        f"SIGKILL at {N_MOMENTS} moments of a fit, {n_resumed} after an epoch | {n_equal} bit-equal"
    )


def mutations(rec: MINDRecommender, folder: Path, n: int) -> Iterator[str]:
    """Change one byte of a random file at a time."""
    path = folder / "mutated"
    rng = np.random.default_rng(0)
    rec.save(path)
    files = {file: file.read_bytes() for file in path.iterdir()}
    sizes = np.array([len(raw) for raw in files.values()])
    n_loaded = 0
    for _ in range(n):
        file, raw = list(files.items())[rng.choice(len(files), p=sizes / sizes.sum())]
        place = int(rng.integers(len(raw)))
        with open(file, "r+b") as opened:
            opened.seek(place)
            opened.write(bytes([raw[place] ^ int(rng.integers(1, 256))]))
        with contextlib.suppress(ModelFileError):
            MINDRecommender.load(path)
            n_loaded += 1
        with open(file, "r+b") as opened:
            opened.seek(place)
            opened.write(raw[place : place + 1])
    yield f"{n} mutations of {sizes.sum()} bytes | {n_loaded} load"


def forged(n: int) -> Iterator[str]:
    """Load forgeries of arrays, ids and the manifest."""
    counts = forgeries.run(n, os.cpu_count() or 1)
    outcomes = f"{counts['refused']} are refused, {counts['answers']} answer"
    yield f"{n} forgeries with valid hashes | {outcomes}, {counts['failed']} fail"


def guided(n: int) -> Iterator[str]:
    """Load manifests that atheris changes, guided by the code that they reach."""
    yield f"{n} forged manifests, guided by coverage | {forgeries.coverage_run(n)}"


def pss(pid: int) -> float:
    """Return the memory of a process in MiB; a shared page counts by its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("smaps_rollup has no line Pss")


def memory(rec: MINDRecommender, folder: Path) -> Iterator[str]:
    """Measure the memory of processes that load one model, copied and mapped."""
    path = folder / "large"
    rec.save(path)
    size = sum(file.stat().st_size for file in path.iterdir()) / 2**20
    for mmap in (False, True):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", CHILD, str(path), str(mmap)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(N_PROCESSES)
        ]
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        total = sum(pss(child.pid) for child in children)
        for child in children:
            child.communicate()
        how = "mapped" if mmap else "copied"
        yield f"PSS of {N_PROCESSES} processes, {size:.0f} MiB of files {how} | {total:.0f} MiB"


PARTS: dict[str, Callable[[MINDRecommender, Path, bool], Iterator[str]]] = {
    "concurrent": lambda rec, _, quick: concurrent(rec, 20 if quick else 1000),
    "saves": lambda rec, folder, _: saves(rec, fit(50), folder),
    "fits": lambda _, folder, quick: resumed(folder, 100 if quick else 1000),
    "mutations": lambda rec, folder, quick: mutations(rec, folder, 200 if quick else 10_000),
    "forgeries": lambda _, __, quick: forged(200 if quick else 100_000),
    "manifests": lambda _, __, quick: guided(200 if quick else 25_000),
    "memory": lambda _, folder, quick: memory(untrained(20_000 if quick else 200_000), folder),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--part", action="append", choices=PARTS, help="run only this part; may be repeated"
    )
    parser.add_argument(
        "--quick", action="store_true", help="quick check with little of everything"
    )
    parser.add_argument("--output", type=Path, help="file that the table is also written to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for part in options.part or PARTS:
            for row in PARTS[part](fit(40), Path(folder), options.quick):
                rows.append(f"| {row} |")
                print(rows[-1], flush=True)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    chosen = "".join(f" --part {part}" for part in options.part or ())
    text = f"""# Robustness

`python benchmarks/robustness.py{chosen}`, {datetime.date.today()}, Python \
{platform.python_version()}, {versions}, {platform.machine()}, one thread.

| test | result |
| --- | --- |
{chr(10).join(rows)}
"""
    if options.output and not options.quick:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
