"""Number of processes of a fit → memory for its interactions, samples per second, and traffic.

    python benchmarks/speed/ranks.py --output benchmarks/results/ranks.md
    python benchmarks/speed/ranks.py --quick

The logs are those of `logs.py`, from Parquet files. Each process has one thread; one and two
processes take turns. Needs Linux, where a process can read its peak memory.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from logs import COLUMNS, EVENTS_PER_USER, N_ITEMS, parts

from skmind import MINDRecommender
from skmind.data.parquet import ParquetTable
from skmind.data.prepare import Schema, prepare
from skmind.data.shard import Shard, own_rows
from skmind.nn.processes import Processes

SIZES = {"memory": 10_000_000, "speed": 1_000_000}  # interactions
QUICK_SIZES = {"memory": 1_000_000, "speed": 100_000}
N_PROCESSES = 1, 2
N_TURNS = 2
BATCH_SIZES = 1024, 4096, 16_384
SAMPLES_PER_EPOCH = 200_000


def write_files(folder: Path, n_rows: int, n_items: int) -> None:
    """Write the log as Parquet files, with fewer items if ``n_items`` is smaller."""
    folder.mkdir()
    for number, (_, columns) in enumerate(parts(n_rows)):
        columns["item_id"] = columns["item_id"] % n_items
        pd.DataFrame(columns).to_parquet(folder / f"{number:04}.parquet")


# ------------------------------------------------------------------ one of the processes


def connected() -> Processes:
    """Return the processes that torch connects."""
    if int(os.environ["WORLD_SIZE"]) > 1:
        torch.distributed.init_process_group("gloo")
    return Processes.running("connected")


def peak_bytes() -> int:
    """Return the peak of the resident memory since the last reset."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def resident_bytes() -> int:
    """Return the resident memory, and reset its peak to it."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure_memory(folder: str) -> dict[str, Any]:
    """Prepare a log as `fit` does; return the peak memory and what is held."""
    processes = connected()
    schema = Schema(*COLUMNS)
    small = pd.DataFrame(dict.fromkeys(COLUMNS, np.arange(1000) % 100))
    X = own_rows(small, "user_id", "item_id", processes)[0]
    prepare(X, schema, processes=processes)  # loads libraries
    before = resident_bytes()
    start = time.perf_counter()
    X = own_rows(ParquetTable(folder), "user_id", "item_id", processes)[0]
    prepared = prepare(X, schema, processes=processes)
    Shard.of(processes, prepared.users)
    seconds = time.perf_counter() - start
    events = prepared.interactions
    held = events.items.nbytes + events.times.nbytes + events.offsets.nbytes
    return {"peak": peak_bytes() - before, "held": held, "seconds": seconds}


def measure_speed(folder: str, batch_size: int) -> dict[str, Any]:
    """Fit; return the samples per second of the last of two epochs."""
    torch.set_num_threads(1)
    rec = MINDRecommender(
        max_epochs=2,
        batch_size=batch_size,
        samples_per_epoch=SAMPLES_PER_EPOCH,
        random_state=0,
        init="random",
    ).fit(folder)
    return {"samples_per_second": rec.history_[-1]["samples_per_second"]}


# ------------------------------------------------------------------ all processes


def run(size: int, job: str, *arguments: Any) -> list[dict[str, Any]]:
    """Run a job in ``size`` processes; return the result of each."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--worker", job, *map(str, arguments)]
    started = [
        subprocess.Popen(
            command,
            env=os.environ | common | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{job} failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def report(folder: Path, sizes: dict[str, int]) -> str:
    """Measure everything and return the tables."""
    n_rows = sizes["memory"]
    write_files(folder / "memory", n_rows, N_ITEMS)
    lines = [
        f"Interactions: {n_rows:,} in Parquet files, {n_rows // EVENTS_PER_USER:,} users, "
        f"{N_ITEMS:,} items. Peak: resident memory above that before reading, of the process that "
        "needs most. Held: items, times and offsets of the histories.",
        "",
        "| processes | peak, B/interaction | held, B/interaction | to one process | s |",
        "|---:|---:|---:|---:|---:|",
    ]
    peaks = {}
    for size in N_PROCESSES:
        turns = [run(size, "memory", folder / "memory") for _ in range(N_TURNS)]
        peaks[size] = statistics.median(max(rank["peak"] for rank in turn) for turn in turns)
        held = max(rank["held"] for rank in turns[0])
        seconds = statistics.median(max(rank["seconds"] for rank in turn) for turn in turns)
        lines.append(
            f"| {size} | {peaks[size] / n_rows:.1f} | {held / n_rows:.1f} | "
            f"{peaks[size] / peaks[1]:.2f} | {seconds:.1f} |"
        )
    lines += [
        "",
        f"Speed: {sizes['speed']:,} interactions, {SAMPLES_PER_EPOCH:,} samples per epoch, default "
        "sizes of the network; medians of "
        f"{N_TURNS} turns.",
        "",
        "| items | batch | samples/s, 1 process | samples/s, 2 processes | ratio |",
        "|---:|---:|---:|---:|---:|",
    ]
    for n_items in (N_ITEMS, 10_000):
        data = folder / f"{n_items}"
        write_files(data, sizes["speed"], n_items)
        for batch_size in BATCH_SIZES:
            rates: dict[int, list[float]] = {size: [] for size in N_PROCESSES}
            for _ in range(N_TURNS):
                for size in N_PROCESSES:
                    ranks = run(size, "speed", data, batch_size)
                    rates[size].append(min(rank["samples_per_second"] for rank in ranks))
            one, two = (statistics.median(rates[size]) for size in N_PROCESSES)
            lines.append(
                f"| {n_items:,} | {batch_size:,} | {one:,.0f} | {two:,.0f} | {two / one:.2f} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables, or be one of the processes."""
    if sys.argv[1:2] == ["--worker"]:
        job, folder, *arguments = sys.argv[2:]
        if job == "memory":
            result = measure_memory(folder)
        else:
            result = measure_speed(folder, *map(int, arguments))
        print(json.dumps(result))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small logs")
    parser.add_argument("--output", type=Path, help="file that the result replaces")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = report(Path(folder), QUICK_SIZES if arguments.quick else SIZES)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "torch"))
    words = shlex.join(["python", "benchmarks/speed/ranks.py", *sys.argv[1:]])
    text = (
        f"# Several processes\n\n`{words}`, {datetime.date.today()}: Python "
        f"{platform.python_version()}, {libraries}, {os.cpu_count()} cores, one thread per "
        f"process, gloo.\n\n{tables}"
    )
    print(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
