"""Large logs: time and memory of preparing and training, from a frame and from Parquet files.

    python benchmarks/speed/logs.py --output benchmarks/results/logs.md
    python benchmarks/speed/logs.py --quick

The logs are generated: 50 interactions a user, 100,000 items with Zipf-like frequencies, times that
are whole seconds of ten years, rows in random order. Every figure comes from a process of its own,
with one thread. Needs Linux, which tells a process the peak of its memory.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import multiprocessing
import os
import platform
import resource
import shlex
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIZES = 1_000_000, 10_000_000
LARGE = 100_000_000  # from Parquet only
QUICK = 30_000, 300_000
PER_USER, N_ITEMS, ZIPF, SEED = 50, 100_000, 1.0, 0
PART = 1_000_000  # rows of a file; of the logs, rows that are generated together
TOUCHED = 48  # bytes a row, more than preparing takes
SAMPLED = 1_000_000  # samples of an epoch over the largest log
SETTINGS = {
    "embedding_dim": 16,
    "max_history": 20,
    "n_negatives": 64,
    "n_encoder_layers": 0,
    "max_epochs": 1,
    "random_state": 0,
}
COLUMNS = "user_id", "item_id", "timestamp"


def parts(n_rows: int) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """The log of ``n_rows``, a part at a time."""
    share = np.cumsum((1 + np.arange(N_ITEMS)) ** -ZIPF)
    share /= share[-1]
    codes = np.random.default_rng(SEED).permutation(N_ITEMS)
    for start in range(0, n_rows, PART):
        rng = np.random.default_rng([SEED, start])
        n = min(PART, n_rows - start)
        columns = (
            rng.integers(n_rows // PER_USER, size=n),
            codes[np.searchsorted(share, rng.random(n))],
            rng.integers(1_400_000_000, 1_715_360_000, size=n),
        )
        yield slice(start, start + n), dict(zip(COLUMNS, columns, strict=True))


def frame(n_rows: int) -> pd.DataFrame:
    """The log as a frame of integers, of 24 bytes a row."""
    whole = {name: np.empty(n_rows, dtype=np.int64) for name in COLUMNS}
    for rows, columns in parts(n_rows):
        for name, values in columns.items():
            whole[name][rows] = values
    return pd.DataFrame(whole, copy=False)


def write(n_rows: int, folder: Path) -> Path:
    """The log as Parquet files in ``folder``, which is made."""
    folder.mkdir()
    for rows, columns in parts(n_rows):
        name = f"part-{rows.start // PART:04d}.parquet"
        pd.DataFrame(columns).to_parquet(folder / name, index=False)
    return folder


def memory(name: str) -> int:
    """Bytes of this process: ``VmRSS``, now, or ``VmHWM``, at the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def in_process(stage: Callable, *arguments: Any) -> dict[str, float]:
    """The result of ``stage``, from a fresh interpreter."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(stage, arguments)


def open_log(n_rows: int, folder: Path | None) -> Any:
    """What `fit` is given, once everything that it loads and keeps the first time is there."""
    import torch

    from skmind import MINDRecommender

    torch.set_num_threads(1)
    if folder is not None:
        import pyarrow

        pyarrow.set_cpu_count(1)
        pyarrow.set_io_thread_count(1)
    log = frame(n_rows) if folder is None else folder
    with tempfile.TemporaryDirectory() as scratch:
        few = frame(1000) if folder is None else write(1000, Path(scratch, "few"))
        MINDRecommender(**SETTINGS).fit(few)
    gc.collect()
    return log


def prepared(n_rows: int, folder: Path | None) -> dict[str, float]:
    """Seconds and bytes a row of all that `fit` does before training."""
    from skmind._recommender import FittedRecommender
    from skmind.data.prepare import Schema, prepare

    X = open_log(n_rows, folder)
    # A virtual machine asks its host for memory that is touched for the first time. So as much as
    # preparing takes is touched and given back, in blocks that malloc never keeps.
    touched = [np.ones(2**23) for _ in range(-(-n_rows * TOUCHED // 2**26))]
    del touched
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts afresh
    before, wall = memory("VmRSS"), time.perf_counter()

    def seconds() -> tuple[float, float]:
        """Of the processor, and of these of the system."""
        start = resource.getrusage(resource.RUSAGE_SELF)
        result = prepare(FittedRecommender()._check_table(X, reset=True), Schema(*COLUMNS))
        stop = resource.getrusage(resource.RUSAGE_SELF)
        assert len(result.interactions.items) == n_rows
        system = stop.ru_stime - start.ru_stime
        return system + stop.ru_utime - start.ru_utime, system

    cpu, system = seconds()
    wall, peak = time.perf_counter() - wall, (memory("VmHWM") - before) / n_rows
    return {"wall": wall, "cpu": cpu, "system": system, "again": seconds()[0], "peak": peak}


def held(n_rows: int, folder: Path | None) -> dict[str, float]:
    """Bytes a row that numpy and Python still hold after `fit`."""
    from skmind import MINDRecommender

    X = open_log(n_rows, folder)
    tracemalloc.start()
    rec = MINDRecommender(samples_per_epoch=1000, **SETTINGS).fit(X)
    gc.collect()
    total = tracemalloc.get_traced_memory()[0] / n_rows
    log = rec._model.interactions
    assert log.times is not None
    return {"held": total, "log": (log.items.nbytes + log.times.nbytes) / n_rows}


def epoch(n_rows: int, folder: Path | None, n_samples: int | None) -> dict[str, float]:
    """Seconds and samples of one epoch, and the peak of the whole process."""
    from skmind import MINDRecommender

    X = open_log(n_rows, folder)
    rec = MINDRecommender(samples_per_epoch=n_samples, **SETTINGS).fit(X)
    (record,) = rec.history_
    return {
        "seconds": record["seconds"],
        "samples": record["seconds"] * record["samples_per_second"],
        "peak": memory("VmHWM"),
    }


def measure(n_rows: int, folder: Path | None, n_samples: int | None, repeats: int) -> dict:
    """The three stages of a log; of preparing, the medians of several."""
    runs = [in_process(prepared, n_rows, folder) for _ in range(repeats)]
    found = {"n_rows": n_rows, "source": "frame" if folder is None else "Parquet"}
    found |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    found |= in_process(held, n_rows, folder)
    found["epoch"] = in_process(epoch, n_rows, folder, n_samples)
    print(found, flush=True)
    return found


def row(found: dict) -> str:
    e = found["epoch"]
    cells = [
        f"{found['n_rows']:,}",
        found["source"],
        f"{found['wall']:.2f}",
        f"{found['cpu']:.2f}",
        f"{found['system']:.2f}",
        f"{found['again']:.2f}",
        f"{found['peak']:.1f}",
        f"{found['log']:.1f}",
        f"{found['held']:.1f}",
        f"{e['samples']:,.0f}",
        f"{e['seconds']:.1f}",
        f"{e['samples'] / e['seconds']:,.0f}",
        f"{e['peak'] / 2**30:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def growth(small: dict, large: dict) -> str:
    """How times grew, over how the log did."""
    n_times = large["n_rows"] / small["n_rows"]
    first, again = (large[name] / small[name] / n_times for name in ("cpu", "again"))
    epochs = large["epoch"]["seconds"] / small["epoch"]["seconds"] / n_times
    return (
        f"{small['source']}, from {small['n_rows']:,} to {large['n_rows']:,} interactions: prepare "
        f"{first:.2f} × linear, again in the same process {again:.2f} ×, epoch {epochs:.2f} ×."
    )


def report(rows: list[dict], command: str) -> str:
    names = ("numpy", "pandas", "pyarrow", "scipy", "torch")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    pairs = [(a, b) for a in rows for b in rows if a["source"] == b["source"]]
    lines = [
        "# Large logs",
        "",
        f"`{command}`, {datetime.date.today()}: Python {platform.python_version()}, {libraries}, "
        f"{platform.machine()}, one thread. {PER_USER} interactions a user, {N_ITEMS:,} items; "
        f"integers for ids and times; rows in random order; files of {PART:,} rows.",
        "",
        "Prepare: all that `fit` does before training; part of the processor's time is the "
        "system's, which hands out memory, touched before by the process and given back, so that "
        "a virtual machine need not ask its host; medians of several processes. Again: the "
        "processor's time when the same process prepares the log once more. The peak is that of "
        "the resident memory (`VmHWM`, set back before), less what was there: the frame, where "
        "there is one. "
        "Log: item codes and times, what grows with interactions. Held: what tracemalloc finds "
        "after `fit`, per interaction, all of the model included. Epoch: "
        + ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items())
        + f"; of the largest log, `samples_per_epoch={SAMPLED}`. Peak: of the whole process, "
        "libraries and frame included.",
        "",
        "| interactions | from | prepare, s | of the processor | of the system | again, s "
        "| peak, B/interaction | log, B | held, B | samples an epoch | epoch, s | samples/s "
        "| peak, GiB |",
        "|---:|---|" + "---:|" * 11,
        *map(row, rows),
        "",
        *(growth(a, b) for a, b in pairs if b["n_rows"] == 10 * a["n_rows"] < LARGE),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, help="file that the table is written to")
    parser.add_argument("--quick", action="store_true", help="small logs")
    parser.add_argument("--repeats", type=int, default=5, help="of preparing, but for the largest")
    parser.add_argument("--scratch", type=Path, help="folder for the files, 2 GB at the most")
    a = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the processes to come
    sizes = QUICK if a.quick else SIZES
    rows = [measure(n, None, None, a.repeats) for n in sizes]
    for n_rows in sizes if a.quick else (*sizes, LARGE):
        with tempfile.TemporaryDirectory(dir=a.scratch) as folder:
            log = write(n_rows, Path(folder, "log"))
            n_samples = SAMPLED if n_rows == LARGE else None
            repeats = 1 if n_rows == LARGE else a.repeats
            rows.append(measure(n_rows, log, n_samples, repeats))
    text = report(rows, shlex.join(["python", *sys.argv]))
    if a.output:
        a.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
