"""Interactions, users, items and processes → memory, work and traffic of a fit.

    python benchmarks/speed/scale.py --output benchmarks/results/scale.md
    python benchmarks/speed/scale.py --quick

Measures what docs/guide/scale.md calculates with. Nothing here is wall-clock time, so other work on
the machine hardly matters: memory is the peak of resident memory above that before, time is that of
the processor, and traffic is what a process writes. Each process has one thread. Needs Linux.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ranks
import torch
from catalogue import EVENTS_PER_USER, N_USERS, make_log, make_trainer
from logs import N_ITEMS
from ranks import connected, peak_bytes, resident_bytes, write_files

from skmind import MINDRecommender
from skmind.data.batches import BatchSampler
from skmind.data.negatives import NegativeSampler
from skmind.data.ragged import count
from skmind.data.shard import Shard
from skmind.nn.optim import LARGE_TABLE_ROWS

SIZES = {
    "interactions": (1_000_000, 5_000_000),
    "users": (500_000, 2_000_000),
    "items": (50_000, 200_000),
    "index": (20_000, 80_000),
}
QUICK_SIZES = {
    "interactions": (200_000, 1_000_000),
    "users": (50_000, 200_000),
    "items": (5_000, 20_000),
    "index": (2_000, 8_000),
}
N_PROCESSES = 1, 2, 4
DIMENSIONS = 64
CATALOGUES = 100_000, 1_000_000, 10_000_000
BATCH_SIZES = 1024, 4096, 16_384
SIMULATED_PROCESSES = 1, 8, 64
N_STEPS = 20
N_WARM_STEPS = 3
PAIRED_EVENTS = 250_000, 1_000_000  # of the log of co-occurrence
SAMPLED_SHARE = 100  # an epoch of drawn users has this fraction of the samples
SMALL_TABLE = 10_000  # items; Adam
LARGE_TABLE = 100_000  # items; RowAdam


# ------------------------------------------------------------------ one of the processes


def measure_users(n_users: int) -> dict[str, float]:
    """Number the users of all processes and draw an epoch; return bytes per user of all."""
    from skmind.data.ids import IdEncoder
    from skmind.data.interactions import Interactions

    processes = connected()

    def own_users(n: int) -> tuple[IdEncoder, Interactions]:
        encoder = IdEncoder(np.arange(processes.rank, n, processes.size), "user")
        offsets = np.arange(len(encoder) + 1) * 2  # a sample per user, and so a chunk
        return encoder, Interactions(np.zeros(2 * len(encoder), dtype=np.int32), offsets)

    def epoch(shard: Shard, events: Interactions, n_samples: int | None) -> tuple[Any, int]:
        before = resident_bytes()
        batches = iter(
            BatchSampler(events, 4096, 50, np.random.default_rng(0), n_samples, shard=shard)
        )
        next(batches)
        return batches, peak_bytes() - before

    small, small_events = own_users(1000)
    epoch(Shard.of(processes, small), small_events, None)  # loads libraries
    users, events = own_users(n_users)
    before = resident_bytes()
    shard = Shard.of(processes, users)
    numbering = peak_bytes() - before
    sampled = epoch(shard, events, n_users // SAMPLED_SHARE)[1]
    batches, planning = epoch(shard, events, None)
    held = resident_bytes() - before
    figures = {"numbering": numbering, "sampled": sampled, "epoch": planning, "held": held}
    return {name: value / n_users for name, value in figures.items()}


def measure_items(n_items: int, n_events: int) -> dict[str, float]:
    """Start item vectors from co-occurrence; return peak memory and processor time."""
    from skmind.data.cooccurrence import cooccurrence_vectors
    from skmind.data.interactions import Interactions

    rng = np.random.default_rng(0)
    small = Interactions(rng.integers(100, size=1000, dtype=np.int32), np.arange(21) * 50)
    cooccurrence_vectors(small, 100, DIMENSIONS, rng)
    items = rng.integers(n_items, size=n_events, dtype=np.int32)
    events = Interactions(items, np.arange(n_events // EVENTS_PER_USER + 1) * EVENTS_PER_USER)
    before = resident_bytes()
    start = time.process_time()
    cooccurrence_vectors(events, n_items, DIMENSIONS, rng)
    return {"peak": peak_bytes() - before, "seconds": time.process_time() - start}


def measure_index(n_items: int) -> dict[str, float]:
    """Build an Annoy index with the default number of trees; return the size of its file."""
    from annoy import AnnoyIndex

    index = AnnoyIndex(DIMENSIONS, "dot")
    for code, vector in enumerate(np.random.default_rng(0).normal(size=(n_items, DIMENSIONS))):
        index.add_item(code, vector)
    start = time.process_time()
    index.build(MINDRecommender().n_trees, n_jobs=1)
    seconds = time.process_time() - start
    with tempfile.NamedTemporaryFile() as file:
        index.save(file.name)
        return {"peak": os.path.getsize(file.name), "seconds": seconds}


def written_bytes() -> int:
    """Return how many bytes this process has written, to connections or files."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def measure_steps(n_items: int, batch_size: int) -> dict[str, float]:
    """Train some steps; return processor time and bytes written per step."""
    torch.set_num_threads(1)
    processes = connected()
    own = np.arange(processes.rank, N_USERS, processes.size)
    log = make_log(n_items).take(own)
    trainer = make_trainer(n_items, LARGE_TABLE_ROWS)
    trainer.settings = replace(trainer.settings, batch_size=batch_size)
    trainer.processes = processes
    trainer.shard = Shard(processes, own, N_USERS)
    sampler = trainer.negative_sampler(log)
    batches = list(itertools.islice(trainer.batch_sampler(log), N_WARM_STEPS + N_STEPS))
    trainer.net.train()
    trainer.set_learning_rate(0)
    for batch in batches[:N_WARM_STEPS]:
        trainer.step(batch, sampler)
    processes.gather(None)
    written = written_bytes()
    start = time.process_time()
    for batch in batches[N_WARM_STEPS:]:
        trainer.step(batch, sampler)
    seconds = time.process_time() - start
    written = written_bytes() - written
    n_steps = len(batches) - N_WARM_STEPS
    n_samples = sum(batch.n_samples for batch in batches[N_WARM_STEPS:])
    dense, tables = trainer._parameters
    n_dense = sum(parameter.numel() for parameter in dense) + len(dense)
    return {
        "ms": seconds / n_steps * 1e3,
        "written": written / n_steps,
        "samples": n_samples / n_steps,
        "dense": n_dense + processes.size * len(tables),
    }


JOBS = {
    "users": measure_users,
    "items": measure_items,
    "index": measure_index,
    "steps": measure_steps,
}


# ------------------------------------------------------------------ all processes


def run(size: int, job: str, *arguments: int) -> list[dict[str, float]]:
    """Run a job in ``size`` processes; return the result of each."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    with tempfile.TemporaryDirectory() as folder:
        command = [__file__, "--worker", folder, job, *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*torchrun, f"--nproc-per-node={size}", *command], check=True, env=environment
        )
        return [json.loads(Path(folder, str(rank)).read_text()) for rank in range(size)]


def slope(sizes: tuple[int, int], values: tuple[float, float]) -> float:
    """Return the growth per unit of size of values that are given per unit."""
    small, large = sizes
    return (values[1] * large - values[0] * small) / (large - small)


def used_rows(n_items: int, batch_size: int, sizes: tuple[int, ...]) -> list[float]:
    """Return how many items a process uses in a step, for each number of processes."""
    defaults = MINDRecommender()
    log = make_log(n_items)
    rng = np.random.default_rng(0)
    sampler = NegativeSampler(
        count(log.items, n_items),
        defaults.n_negatives,
        defaults.negative_sampling,
        rng,
        defaults.n_interests,
    )
    rows: dict[int, list[int]] = {size: [] for size in sizes}
    for batch in itertools.islice(
        BatchSampler(log, batch_size, defaults.max_history, rng), N_STEPS
    ):
        negatives = sampler.draw(batch.targets[batch.targets >= 0])[0]
        for size in sizes:
            n_rows = []
            for rank in range(size):
                is_own = batch.users % size == rank
                own = np.concatenate([batch.history[is_own].ravel(), batch.targets[is_own].ravel()])
                if len(own):
                    n_rows.append(len(np.unique(np.concatenate([own[own >= 0], negatives]))))
            rows[size].append(max(n_rows))
    return [float(np.mean(rows[size])) for size in sizes]


def ring_bytes(size: int, n_bytes: float) -> float:
    """Return what each process sends when a ring of processes sums ``n_bytes``."""
    return 2 * (size - 1) / size * n_bytes


def report_memory(sizes: dict[str, tuple[int, int]]) -> list[str]:
    """Return the tables of memory."""
    names = ("numbering", "sampled", "epoch", "held")
    lines = [
        "## Memory",
        "",
        "Bytes per process, from the growth between two sizes, of the process that needs most. "
        "Interactions: as in ranks.py, 50 per user, from Parquet; per interaction of all "
        "processes. Users: ids are integers, a sample per user; per user of all processes. "
        "Numbering: all processes learn the ids of all users once, at the start. Epoch: the peak "
        "of the plan of an epoch, beyond what was held before; sampled: with a hundredth of the "
        "samples (`samples_per_epoch`). Held: in an epoch of all samples, after its plan.",
        "",
        "| processes | interactions, peak | interactions, held | users, numbering "
        "| users, epoch, sampled | users, epoch | users, held |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for n_rows in sizes["interactions"]:
            write_files(Path(folder, str(n_rows)), n_rows, N_ITEMS)
        for size in N_PROCESSES:
            logs = []
            for n_rows in sizes["interactions"]:
                results = ranks.run(size, "memory", Path(folder, str(n_rows)))
                logs.append([max(r[name] for r in results) / n_rows for name in ("peak", "held")])
            cells = [slope(sizes["interactions"], pair) for pair in zip(*logs, strict=True)]
            users = []
            for n_users in sizes["users"]:
                results = run(size, "users", n_users)
                users.append([max(r[name] for r in results) for name in names])
            cells += [slope(sizes["users"], pair) for pair in zip(*users, strict=True)]
            lines.append(f"| {size} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
            print(lines[-1], flush=True)
    return lines


def report_items(sizes: dict[str, tuple[int, int]]) -> list[str]:
    """Return the table of the work per item at the start and at the end of a fit."""
    small, large = sizes["items"]
    few, many = (n * large // SIZES["items"][1] for n in PAIRED_EVENTS)
    runs = [run(1, "items", *pair)[0] for pair in ((small, few), (large, few), (large, many))]
    indexes = [run(1, "index", n)[0] for n in sizes["index"]]
    n_indexed = sizes["index"][1] - sizes["index"][0]
    rows = {
        f"co-occurrence, item ({small:,} to {large:,})": (runs[:2], large - small),
        f"co-occurrence, interaction ({few:,} to {many:,})": (runs[1:], many - few),
        f"Annoy, item ({sizes['index'][0]:,} to {sizes['index'][1]:,})": (indexes, n_indexed),
    }
    lines = [
        "",
        "## Items",
        "",
        f"{DIMENSIONS} dimensions; the growth between two sizes. Co-occurrence: `init`, which "
        "counts at most 5,000,000 interactions; peak memory of the process. Annoy: the file of an "
        "index of 50 trees.",
        "",
        "| per | bytes | µs of the processor |",
        "|---|---:|---:|",
    ]
    for name, (pair, n) in rows.items():
        peak, seconds = (pair[1][key] - pair[0][key] for key in ("peak", "seconds"))
        lines.append(f"| {name} | {peak / n:,.0f} | {seconds / n * 1e6:.1f} |")
        print(lines[-1], flush=True)
    return lines


def report_rows(catalogues: tuple[int, ...]) -> list[str]:
    """Return the table of the item rows of a step."""
    lines = [
        "",
        "## Rows of a step",
        "",
        f"Items of a step with 1,024 negatives: means of {N_STEPS} steps. Histories have "
        f"{EVENTS_PER_USER} items, whose frequencies follow a Zipf law. Users are divided by the "
        "remainder of their number. U: rows of the process that has most. KB: what each process "
        f"receives at {DIMENSIONS} dimensions, (W - 1) × U × (D + 2) × 4 bytes.",
        "",
        "| items | samples per step | processes W | U | U / U of one process | KB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for n_items, batch_size in itertools.product(catalogues, BATCH_SIZES):
        all_rows = used_rows(n_items, batch_size, SIMULATED_PROCESSES)
        alone = all_rows[0]
        for size, largest in zip(SIMULATED_PROCESSES, all_rows, strict=True):
            kilobytes = (size - 1) * largest * (DIMENSIONS + 2) * 4 / 1000
            lines.append(
                f"| {n_items:,} | {batch_size:,} | {size} | {largest:,.0f} | "
                f"{largest / alone:.2f} | {kilobytes:,.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def report_steps() -> list[str]:
    """Return the table of work and traffic of steps in several processes."""
    lines = [
        "",
        "## Steps in several processes",
        "",
        f"Means of {N_STEPS} steps at the defaults without an encoder. Processor time: sum over "
        "the processes; it does not include waiting. Written: what the process that writes most "
        f"sends. {SMALL_TABLE:,} items have a dense gradient, {LARGE_TABLE:,} a sparse one. "
        "Formula: with a ring, 2 (W - 1) / W times the dense numbers, and with a sparse table "
        "(W - 1) × U × (D + 2) numbers, of 4 bytes; U was measured in another simulation of the "
        "same log.",
        "",
        "| items | samples per step | processes W | processor ms per step | ratio | KB written "
        "| KB by the formula |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for n_items, batch_size in itertools.product((SMALL_TABLE, LARGE_TABLE), BATCH_SIZES[:2]):
        alone = 0.0
        for size in N_PROCESSES:
            results = run(size, "steps", n_items, batch_size)
            ms = sum(result["ms"] for result in results)
            alone = alone or ms
            written = max(result["written"] for result in results)
            formula = ring_bytes(size, 4 * results[0]["dense"])
            if n_items == LARGE_TABLE:
                (rows,) = used_rows(n_items, batch_size, (size,))
                formula += (size - 1) * rows * (DIMENSIONS + 2) * 4
            lines.append(
                f"| {n_items:,} | {batch_size:,} | {size} | {ms:.1f} | {ms / alone:.2f} | "
                f"{written / 1000:,.0f} | {formula / 1000:,.0f} |"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the tables, or be one of the processes."""
    if sys.argv[1:2] == ["--worker"]:
        folder, job, *sizes = sys.argv[2:]
        result = JOBS[job](*map(int, sizes))
        Path(folder, os.environ["RANK"]).write_text(json.dumps(result))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="quick check with small sizes")
    parser.add_argument("--output", type=Path, help="file that the result replaces")
    arguments = parser.parse_args()
    sizes = QUICK_SIZES if arguments.quick else SIZES
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "pandas", "torch"))
    words = shlex.join(["python", "benchmarks/speed/scale.py", *sys.argv[1:]])
    lines = [
        "# How far it goes",
        "",
        f"`{words}`, {datetime.date.today()}: Python {platform.python_version()}, {libraries}, "
        f"{platform.machine()}, {os.cpu_count()} cores that other work shares, one thread per "
        "process, gloo.",
        "",
        *report_memory(sizes),
        *report_items(sizes),
        *report_rows(CATALOGUES[:1] if arguments.quick else CATALOGUES),
        *report_steps(),
    ]
    text = "\n".join(lines) + "\n"
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
