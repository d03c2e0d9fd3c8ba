"""Size of a log → time and memory of preparing and training, from a frame and from Parquet files.

    python benchmarks/speed/logs.py --output benchmarks/results/logs.md
    python benchmarks/speed/logs.py --quick

The logs are generated: 50 interactions per user, 100,000 items with Zipf-like frequencies, times in
whole seconds over ten years, rows in random order. Each figure comes from its own process with one
thread. Needs Linux, where a process can read its peak memory.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import os
import platform
import resource
import shlex
import statistics
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))
from processes import in_processes

SIZES = 1_000_000, 10_000_000  # interactions
LARGEST_SIZE = 100_000_000  # from Parquet only
QUICK_SIZES = 30_000, 300_000
EVENTS_PER_USER = 50
N_ITEMS = 100_000
ZIPF_EXPONENT = 1.0
SEED = 0
ROWS_PER_PART = 1_000_000  # rows that are generated together and written to one file
TOUCHED_BYTES_PER_ROW = 48  # more than preparing takes
SAMPLES_PER_EPOCH = 1_000_000  # with the largest log
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
    """Yield a log of ``n_rows`` rows in parts: the rows of a part, and their columns."""
    cumulative_share = np.cumsum((1 + np.arange(N_ITEMS)) ** -ZIPF_EXPONENT)
    cumulative_share /= cumulative_share[-1]
    codes = np.random.default_rng(SEED).permutation(N_ITEMS)
    for start in range(0, n_rows, ROWS_PER_PART):
        rng = np.random.default_rng([SEED, start])
        n = min(ROWS_PER_PART, n_rows - start)
        columns = (
            rng.integers(n_rows // EVENTS_PER_USER, size=n),
            codes[np.searchsorted(cumulative_share, rng.random(n))],
            rng.integers(1_400_000_000, 1_715_360_000, size=n),
        )
        yield slice(start, start + n), dict(zip(COLUMNS, columns, strict=True))


def frame(n_rows: int) -> pd.DataFrame:
    """Return the log as a frame of integers with 24 bytes per row."""
    log = {name: np.empty(n_rows, dtype=np.int64) for name in COLUMNS}
    for rows, columns in parts(n_rows):
        for name, values in columns.items():
            log[name][rows] = values
    return pd.DataFrame(log, copy=False)


def write(n_rows: int, folder: Path) -> Path:
    """Create ``folder``, write the log into it as Parquet files, and return it."""
    folder.mkdir()
    for rows, columns in parts(n_rows):
        name = f"part-{rows.start // ROWS_PER_PART:04d}.parquet"
        pd.DataFrame(columns).to_parquet(folder / name, index=False)
    return folder


def memory(name: str) -> int:
    """Return the bytes of this process: ``VmRSS`` is the current value, ``VmHWM`` the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def open_log(n_rows: int, folder: Path | None) -> Any:
    """Return the ``X`` of `fit`, after a small fit has loaded all that a first fit loads."""
    import torch

    from skmind import MINDRecommender

    torch.set_num_threads(1)
    if folder is not None:
        import pyarrow

        pyarrow.set_cpu_count(1)
        pyarrow.set_io_thread_count(1)
    log = frame(n_rows) if folder is None else folder
    with tempfile.TemporaryDirectory() as scratch:
        small_log = frame(1000) if folder is None else write(1000, Path(scratch, "small"))
        MINDRecommender(**SETTINGS).fit(small_log)
    gc.collect()
    return log


def measure_preparing(n_rows: int, folder: Path | None) -> dict[str, float]:
    """Return the seconds and bytes per row of all that `fit` does before training."""
    from skmind._recommender import FittedRecommender
    from skmind.data.prepare import Schema, prepare

    X = open_log(n_rows, folder)
    # A virtual machine requests memory from its host when it touches it for the first time. To
    # exclude that time, touch more than preparing takes and free it, in blocks of a size that
    # malloc returns to the system.
    touched = [np.ones(2**23) for _ in range(-(-n_rows * TOUCHED_BYTES_PER_ROW // 2**26))]
    del touched
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    bytes_before = memory("VmRSS")
    start = time.perf_counter()

    def processor_seconds() -> tuple[float, float]:
        """Prepare the log; return the processor time, and the part spent in the system."""
        start = resource.getrusage(resource.RUSAGE_SELF)
        result = prepare(FittedRecommender()._check_table(X, reset=True), Schema(*COLUMNS))
        stop = resource.getrusage(resource.RUSAGE_SELF)
        assert len(result.interactions.items) == n_rows
        system = stop.ru_stime - start.ru_stime
        return system + stop.ru_utime - start.ru_utime, system

    cpu, system = processor_seconds()
    wall = time.perf_counter() - start
    peak = (memory("VmHWM") - bytes_before) / n_rows
    again, _ = processor_seconds()
    return {"wall": wall, "cpu": cpu, "system": system, "again": again, "peak": peak}


def measure_memory(n_rows: int, folder: Path | None) -> dict[str, float]:
    """Return the bytes per row that numpy and Python still hold after `fit`."""
    from skmind import MINDRecommender

    X = open_log(n_rows, folder)
    tracemalloc.start()
    rec = MINDRecommender(samples_per_epoch=1000, **SETTINGS).fit(X)
    gc.collect()
    total = tracemalloc.get_traced_memory()[0] / n_rows
    log = rec._model.interactions
    assert log.times is not None
    return {"held": total, "log": (log.items.nbytes + log.times.nbytes) / n_rows}


def measure_epoch(n_rows: int, folder: Path | None, n_samples: int | None) -> dict[str, float]:
    """Return the seconds and samples of one epoch, and the peak of the whole process."""
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
    """Return the figures of one log; those of preparing are medians of several processes."""
    runs = in_processes(measure_preparing, [(n_rows, folder)] * repeats)
    figures = {"n_rows": n_rows, "source": "frame" if folder is None else "Parquet"}
    figures |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    (held,) = in_processes(measure_memory, [(n_rows, folder)])
    (epoch,) = in_processes(measure_epoch, [(n_rows, folder, n_samples)])
    figures |= {**held, "epoch": epoch}
    print(figures, flush=True)
    return figures


def table_row(figures: dict) -> str:
    epoch = figures["epoch"]
    cells = [
        f"{figures['n_rows']:,}",
        figures["source"],
        f"{figures['wall']:.2f}",
        f"{figures['cpu']:.2f}",
        f"{figures['system']:.2f}",
        f"{figures['again']:.2f}",
        f"{figures['peak']:.1f}",
        f"{figures['log']:.1f}",
        f"{figures['held']:.1f}",
        f"{epoch['samples']:,.0f}",
        f"{epoch['seconds']:.1f}",
        f"{epoch['samples'] / epoch['seconds']:,.0f}",
        f"{epoch['peak'] / 2**30:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def growth(small: dict, large: dict) -> str:
    """Return the growth of the times relative to the growth of the log."""
    size_ratio = large["n_rows"] / small["n_rows"]
    prepare = large["cpu"] / small["cpu"] / size_ratio
    again = large["again"] / small["again"] / size_ratio
    epoch = large["epoch"]["seconds"] / small["epoch"]["seconds"] / size_ratio
    return (
        f"{small['source']}, from {small['n_rows']:,} to {large['n_rows']:,} interactions: prepare "
        f"{prepare:.2f} × linear, again in the same process {again:.2f} ×, epoch {epoch:.2f} ×."
    )


def report(rows: list[dict], command: str) -> str:
    names = ("numpy", "pandas", "pyarrow", "scipy", "torch")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    pairs = [(a, b) for a in rows for b in rows if a["source"] == b["source"]]
    lines = [
        "# Large logs",
        "",
        f"`{command}`, {datetime.date.today()}: Python {platform.python_version()}, {libraries}, "
        f"{platform.machine()}, one thread. {EVENTS_PER_USER} interactions per user, {N_ITEMS:,} "
        f"items; integers for ids and times; rows in random order; files of {ROWS_PER_PART:,} "
        "rows.",
        "",
        "Prepare: all that `fit` does before training, as medians of several processes: wall-clock "
        "time, processor time, and the part of the processor time that the system takes to provide "
        "memory. The process touches and frees this memory before, so that a virtual machine does "
        "not have to request it from its host. Again: processor time when the same process "
        "prepares the log a second time. Peak, B/interaction: resident memory (`VmHWM`, reset "
        "before) minus the memory in use before, which includes the frame. Log: item codes and "
        "times, the arrays that grow with the interactions. Held: memory of the whole model that "
        "tracemalloc counts after `fit`, per interaction. Epoch: "
        + ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items())
        + f"; with the largest log also `samples_per_epoch={SAMPLES_PER_EPOCH}`. Peak, GiB: of the "
        "whole process, with libraries and frame.",
        "",
        "| interactions | from | prepare, s | processor, s | system, s | again, s "
        "| peak, B/interaction | log, B | held, B | samples per epoch | epoch, s | samples/s "
        "| peak, GiB |",
        "|---:|---|" + "---:|" * 11,
        *map(table_row, rows),
        "",
        *(growth(a, b) for a, b in pairs if b["n_rows"] == 10 * a["n_rows"] < LARGEST_SIZE),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--output", type=Path, help="file that the table is written to")
    parser.add_argument("--quick", action="store_true", help="quick check with small logs")
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs of preparing, except with the largest log"
    )
    parser.add_argument("--scratch", type=Path, help="folder for temporary files of up to 2 GB")
    a = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # for the child processes
    sizes = QUICK_SIZES if a.quick else SIZES
    rows = [measure(n_rows, None, None, a.repeats) for n_rows in sizes]
    for n_rows in sizes if a.quick else (*sizes, LARGEST_SIZE):
        with tempfile.TemporaryDirectory(dir=a.scratch) as folder:
            log = write(n_rows, Path(folder, "log"))
            is_largest = n_rows == LARGEST_SIZE
            n_samples = SAMPLES_PER_EPOCH if is_largest else None
            repeats = 1 if is_largest else a.repeats
            rows.append(measure(n_rows, log, n_samples, repeats))
    text = report(rows, shlex.join(["python", *sys.argv]))
    if a.output:
        a.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
