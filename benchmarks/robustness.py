"""Fitted model → behaviour under threads, processes, kills, full disks and damage, as a table.

    python benchmarks/robustness.py [--part NAME ...] [--quick] [--output FILE]

Counts, for a small model: results of 16 threads and 4 loky workers that differ from serial results;
answers of 64 threads, during changes of the model, that are of none of its states while the thread
waited; forked children that end although threads of their parent are searching; models that load
after a SIGKILL or a full disk at 20 moments of a save that replaces another model, and after two
saves at once that may be killed; fits that are bit-equal after a SIGKILL at 20 random moments; what
remains of fits that a KeyboardInterrupt stops at a random moment; byte mutations that remain
undetected; and forged models that are neither refused nor answer, as `forgeries.py` explains (the
part "manifests" needs ``pip install atheris``). For a larger model it measures the memory of 4
processes that load it, copied and mapped (PSS: a shared page counts by its share). --part selects
parts.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import errno
import hashlib
import os
import pickle
import platform
import signal
import subprocess
import sys
import tempfile
import threading
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
import threadpoolctl
import torch

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import ModelFileError, ModelWriteError, NothingToLearnWarning

N_MOMENTS = 20
N_PROCESSES = 4
N_ASKING = 64
MAX_PAUSE_SECONDS = 1.0  # of an asking thread; without pauses, changes hardly advance
MAX_CHILD_SECONDS = 30
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


QUESTIONS: list[Callable[[MINDRecommender], object]] = [
    lambda rec: rec.recommend(k=3),
    lambda rec: rec.recommend([0, 1, 99], k=40, output="arrays"),
    lambda rec: rec.recommend_from_history([[0, 1, 2], [], [5]], k=4),
    lambda rec: rec.transform(np.arange(12).reshape(4, 3)),
    lambda rec: rec.predict(pd.DataFrame({"user_id": [0, 1, 99]}), k=3),
    lambda rec: rec.similar_items([0, 1], k=4),
    lambda rec: rec.audience([0, 1], k=4),
    lambda rec: pickle.loads(pickle.dumps(rec)).recommend([0, 1, 2], k=3),
]


def digest_of(answer: object) -> str:
    return hashlib.sha256(pickle.dumps(answer)).hexdigest()


def ask_during(
    rec: MINDRecommender, change: Callable[[int], None], n_changes: int
) -> tuple[int, int, int]:
    """Ask in threads while the model changes; return the answers, the wrong ones and the errors."""
    states = [copy.deepcopy(rec)]
    is_over = threading.Event()
    answers: list[tuple[int, str | None, int, int]] = []

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not is_over.wait(MAX_PAUSE_SECONDS * rng.random()):
            number = int(rng.integers(len(QUESTIONS)))
            first = len(states) - 1
            try:
                digest = digest_of(QUESTIONS[number](rec))
            except Exception as error:
                print(repr(error), file=sys.stderr)
                digest = None
            answers.append((number, digest, first, len(states)))

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(N_ASKING)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    for thread in threads:
        thread.start()
    try:
        for number in range(n_changes):
            change(number)
            states.append(copy.deepcopy(rec))
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
    expected = [[digest_of(question(state)) for question in QUESTIONS] for state in states]
    # A change may be complete before its state is in the list.
    n_wrong = sum(
        digest is not None and digest not in {row[number] for row in expected[first : last + 1]}
        for number, digest, first, last in answers
    )
    return len(answers), n_wrong, sum(digest is None for _, digest, _, _ in answers)


def changes(n: int) -> Iterator[str]:
    """Ask in 64 threads while one thread fits, learns more, or extends the histories."""
    tables = [
        make_interactions(20, 30, n_topics=5, n_interests=2, random_state=seed).interactions
        for seed in range(8)
    ]
    # Other numbers of users and items, and other items for the same ids.
    tables = [X[X["item_id"] < 20 + seed] for seed, X in enumerate(tables)]
    rec = MINDRecommender(**SETTINGS).fit(tables[0])

    def refit(number: int) -> None:
        rec.set_params(random_state=number).fit(tables[number % 8])

    def learn(number: int) -> None:
        new = {"user_id": [number % 30] * 3, "item_id": [number % 40, 1, 2], "timestamp": 2e9}
        rec.partial_fit(pd.DataFrame(new))

    def extend(number: int) -> None:
        new = {"user_id": [number % 30], "item_id": [number % 15], "timestamp": 2e9}
        rec.add_interactions(pd.DataFrame(new))

    for name, change, n_changes in (
        ("fit", refit, n),
        ("partial_fit", learn, n),
        ("add_interactions", extend, 5 * n),
    ):
        rec.set_params(random_state=0).fit(tables[0])
        n_answers, n_wrong, n_errors = ask_during(rec, change, n_changes)
        yield (
            f"{N_ASKING} threads during {n_changes} × `{name}`, {n_answers} answers | "
            f"{n_wrong} of no state, {n_errors} errors"
        )


def ends_in_time(child: int) -> bool:
    """Return whether a child process ends; kill it if not."""
    stop = time.monotonic() + MAX_CHILD_SECONDS
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > stop:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.01)
    return True


def forks(n: int) -> Iterator[str]:
    """Fork while threads search; ask in the child."""
    X = make_interactions(300, 3000, n_topics=5, n_interests=2, random_state=0).interactions
    rec = MINDRecommender(**SETTINGS, n_jobs=2).fit(X)
    is_over = threading.Event()

    def search() -> None:
        while not is_over.is_set():
            rec.recommend(k=5)

    threads = [threading.Thread(target=search) for _ in range(4)]
    n_ended = 0
    # With several threads in BLAS, `os.fork` itself may hang in OpenBLAS.
    with threadpoolctl.threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        for thread in threads:
            thread.start()
        for _ in range(n):
            time.sleep(0.01)
            child = os.fork()
            if not child:
                rec.recommend(k=5)
                os._exit(0)
            n_ended += ends_in_time(child)
        is_over.set()
        for thread in threads:
            thread.join()
    yield f"{n} forks beside 4 threads that search | {n_ended} children end"


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


def overlapping(old: MINDRecommender, new: MINDRecommender, folder: Path, n: int) -> Iterator[str]:
    """Save two models to one directory at once, and kill none, one or both of the saves."""
    path = folder / "shared"
    digests = [rec.save(path) for rec in (old, new)]
    start = time.perf_counter()
    new.save(path)
    seconds = time.perf_counter() - start
    rng = np.random.default_rng(0)
    counts = {"old": 0, "new": 0, "none": 0}
    n_killed = n_read = n_refused = 0
    for _ in range(n):
        children = []
        for rec in (old, new):
            children.append(os.fork())
            if not children[-1]:
                rec.save(path)
                os._exit(0)
        kills = {child: 3 * seconds * rng.random() for child in children if rng.random() < 0.4}
        start = time.perf_counter()
        while children:
            try:
                MINDRecommender.load(path)
                n_read += 1
            except ModelFileError:  # files of the manifest were replaced
                n_refused += 1
            for child in list(children):
                if kills.get(child, np.inf) < time.perf_counter() - start:
                    os.kill(child, signal.SIGKILL)
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    children.remove(child)
                    n_killed += os.WIFSIGNALED(status)
        result = "none"
        for name, digest in zip(("old", "new"), digests, strict=True):
            with contextlib.suppress(ModelFileError):
                MINDRecommender.load(path, manifest_sha256=digest)
                result = name
        counts[result] += 1
    yield (
        f"{n} rounds of two saves at once, {n_killed} killed | {n - counts['none']} load: "
        f"{counts['old']} as the one, {counts['new']} as the other"
    )
    yield f"{n_read + n_refused} loads meanwhile | {n_read} load, {n_refused} `ModelFileError`"


def interrupts(n: int) -> Iterator[str]:
    """Interrupt fits at random moments, in each mode of torch."""
    X = make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0).interactions
    rec = MINDRecommender(**SETTINGS).fit(X)
    start = time.perf_counter()
    expected = rec.fit(X)._model.weights
    seconds = time.perf_counter() - start
    modes = [contextlib.nullcontext, torch.no_grad, torch.inference_mode]
    rng = np.random.default_rng(0)
    n_interrupted = n_changed = n_modes = 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def torch_modes() -> tuple:
        return (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_device(),
        )

    handler = signal.signal(signal.SIGALRM, interrupt)
    for number in range(n):
        before = dict(vars(rec))
        with modes[number % len(modes)]():
            modes_before = torch_modes()
            try:
                signal.setitimer(signal.ITIMER_REAL, max(1e-6, seconds * rng.random()))
                rec.fit(X)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                n_interrupted += 1
                n_changed += vars(rec) != before
            n_modes += torch_modes() != modes_before
    signal.signal(signal.SIGALRM, handler)
    weights = rec.fit(X)._model.weights
    is_equal = all((weights[name] == array).all() for name, array in expected.items())
    yield (
        f"{n_interrupted} fits with a KeyboardInterrupt | {n_changed} change the estimator, "
        f"{n_modes} the modes of torch; the next fit is {'' if is_equal else 'not '}bit-equal"
    )


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
    "changes": lambda _, __, quick: changes(10 if quick else 200),
    "forks": lambda _, __, quick: forks(10 if quick else 200),
    "overlapping": lambda rec, folder, quick: overlapping(
        rec, fit(50), folder, 20 if quick else 500
    ),
    "interrupts": lambda _, __, quick: interrupts(50 if quick else 3000),
    "saves": lambda rec, folder, _: saves(rec, fit(50), folder),
    "fits": lambda _, folder, quick: resumed(folder, 100 if quick else 1000),
    "mutations": lambda rec, folder, quick: mutations(rec, folder, 200 if quick else 10_000),
    "forgeries": lambda _, __, quick: forged(200 if quick else 100_000),
    "manifests": lambda _, __, quick: guided(200 if quick else 100_000),
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
