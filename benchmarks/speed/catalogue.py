"""Catalogue size → time of a training step and bytes per item, with Adam and with RowAdam.

    python benchmarks/speed/catalogue.py [--quick] [--output benchmarks/results/catalogue.md]
    python benchmarks/speed/catalogue.py --quality DIR

Adam updates all rows of a table, RowAdam only the rows that a step uses. The generated log differs
between sizes only in its items, which follow a Zipf law and are scattered over the catalogue. Steps
of all sizes and both optimisers take turns in one process, on one thread. Memory is measured in one
process per size: its peak minus the peak with the smallest catalogue, per item, at three moments of
a fit. ``--quality`` measures the accuracy on Amazon Beauty (see quality/harness.py) with both
optimisers, by changing the threshold between them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy import sparse

from skmind import MINDRecommender
from skmind.data.interactions import Interactions
from skmind.nn import optim
from skmind.nn.inference import unit_items
from skmind.nn.network import MINDNet, NetConfig
from skmind.training.trainer import Trainer, TrainingSettings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))
from harness import make_task, measure, publish
from processes import in_processes, peak_memory

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)  # items
QUICK_SIZES = (1_000, 20_000)
MAX_ADAM_SIZE = 1_000_000
N_USERS = 20_000
EVENTS_PER_USER = 50
N_STEPS = 20
N_TURNS = 7
# Values of `optim.LARGE_TABLE_ROWS` that choose an optimiser for tables of any size.
ROW_ADAM = 0
ADAM = 10**9
NAMES = {ADAM: "Adam", ROW_ADAM: "rows in use"}


def make_log(n_items: int) -> Interactions:
    """Return histories of equal length."""
    rng = np.random.default_rng(0)
    n_events = N_USERS * EVENTS_PER_USER
    ranks = (n_items ** rng.random(n_events)).astype(np.int64) - 1  # p(rank) ~ 1 / rank
    items = (ranks * 2_654_435_761 % n_items).astype(np.int32)  # scatters the popular items
    return Interactions(items, np.arange(N_USERS + 1) * EVENTS_PER_USER)


def make_trainer(n_items: int, largest: int) -> Trainer:
    """Return the trainer that `fit` creates with the defaults."""
    optim.LARGE_TABLE_ROWS = largest
    rec = MINDRecommender()
    config = NetConfig(n_items, rec.n_interests, rec.embedding_dim, rec.max_history,
                       rec.n_routing_iter, rec.adaptive_interests, 0)  # fmt: skip
    share = np.ones(n_items, dtype=np.float32)
    net = MINDNet(config, sparse.csr_matrix((n_items, 0)), share, 0, 0)
    names = set(TrainingSettings.__annotations__) - {"has_row_order"}
    settings = {name: getattr(rec, name) for name in names}
    return Trainer(net, None, TrainingSettings(**settings), np.random.default_rng(0))


class Steps:
    """Training steps with one size and one optimiser."""

    def __init__(self, n_items: int, largest: int) -> None:
        self.largest = largest
        self.trainer = make_trainer(n_items, largest)
        interactions = make_log(n_items)
        self.sampler = self.trainer.negative_sampler(interactions)
        self.batches = list(islice(self.trainer.batch_sampler(interactions), N_STEPS))
        self.trainer.net.train()
        self.trainer.set_learning_rate(0)

    def milliseconds(self) -> float:
        """Run the steps and return the mean processor time of one."""
        optim.LARGE_TABLE_ROWS = self.largest
        start = time.process_time()
        for batch in self.batches:
            self.trainer.step(batch, self.sampler)
        return (time.process_time() - start) / len(self.batches) * 1e3


def time_rows(sizes: tuple[int, ...]) -> list[str]:
    """Return the rows of the table of times."""
    cases = [(largest, n_items) for largest in NAMES for n_items in sizes
             if largest == ROW_ADAM or n_items <= MAX_ADAM_SIZE]  # fmt: skip
    steps = {(largest, n_items): Steps(n_items, largest) for largest, n_items in cases}
    turns = [{case: steps[case].milliseconds() for case in cases} for _ in range(N_TURNS)]
    turns = turns[1:]  # the first one warms up
    base = (ROW_ADAM, sizes[1])
    rows = []
    for case in cases:
        largest, n_items = case
        milliseconds = statistics.median(turn[case] for turn in turns)
        ratio = statistics.median(turn[case] / turn[base] for turn in turns)
        rows.append(f"| {NAMES[largest]} | {n_items:,} | {milliseconds:.1f} | {ratio:.2f} |")
    return rows


def peaks(n_items: int, largest: int) -> list[float]:
    """Return the peak of this process in MiB before the first step, after some, and after `fit`."""
    torch.set_num_threads(1)
    steps = Steps(n_items, largest)
    before = peak_memory()
    steps.milliseconds()
    training = peak_memory()
    weights = steps.trainer.net.get_weights()
    vectors = unit_items(steps.trainer.net)
    del weights, vectors
    return [before, training, peak_memory()]


def memory_rows(sizes: tuple[int, ...]) -> list[str]:
    """Return the rows of the table of memory."""
    smallest, *others = sizes
    rows = []
    for largest, name in NAMES.items():
        measured = [n for n in others if largest == ROW_ADAM or n <= MAX_ADAM_SIZE]
        base, *peaks_by_size = in_processes(peaks, [(n, largest) for n in (smallest, *measured)])
        for n, size_peaks in zip(measured, peaks_by_size, strict=True):
            bytes_per_item = (np.array(size_peaks) - base) * 2**20 / (n - smallest)
            cells = " | ".join(f"{value:.0f}" for value in bytes_per_item)
            rows.append(f"| {name} | {n:,} | {cells} | {size_peaks[-1]:.0f} |")
    return rows


def accuracy(data: Path, largest: int, seed: int, options: dict) -> list[float]:
    """Return the mean metrics on Beauty."""
    torch.set_num_threads(1)
    optim.LARGE_TABLE_ROWS = largest
    task = make_task("beauty", data)
    rec = MINDRecommender(random_state=seed, **options).fit(task.known)
    return measure(task.test, rec.recommend_from_history(task.history, k=50)).mean().tolist()


def accuracy_rows(data: Path, quick: bool) -> list[str]:
    """Return the rows of the table of accuracy.

    One case has the defaults, in the other a step uses 2 % of the items.
    """
    cases = {
        "defaults": {},
        "max_epochs=6 batch_size=128 n_negatives=128": {
            "max_epochs": 6, "batch_size": 128, "n_negatives": 128,
        },
    }  # fmt: skip
    rows = []
    seeds = (0,) if quick else (0, 1, 2)
    for label, options in cases.items():
        options = options | ({"max_epochs": 1} if quick else {})
        for largest, name in NAMES.items():
            jobs = [(data, largest, seed, options) for seed in seeds]
            metrics = np.array(in_processes(accuracy, jobs))
            cells = [f"{mean:.4f} ± {deviation:.4f}".replace("0.", ".") for mean, deviation in
                     zip(metrics.mean(0), metrics.std(0), strict=True)]  # fmt: skip
            rows.append(f"| {label} | {name} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="quick check with small sizes")
    parser.add_argument("--quality", type=Path, help="measure accuracy; folder of the data sets")
    parser.add_argument("--output", type=Path, help="file that the tables are appended to")
    a = parser.parse_args()
    torch.set_num_threads(1)
    options = " --quality DIR" * bool(a.quality) + " --quick" * a.quick
    lines = [f"`python benchmarks/speed/catalogue.py{options}`, torch {torch.__version__}:", ""]
    if a.quality:
        lines += [
            "| Amazon Beauty, mean ± standard deviation over seeds | optimiser | HR@10 | NDCG@10 "
            "| Recall@50 |",
            "|---|---|---:|---:|---:|",
            *accuracy_rows(a.quality, a.quick),
        ]
    else:
        sizes = QUICK_SIZES if a.quick else SIZES
        memory = memory_rows(sizes)  # first, while this process is small
        lines += [
            f"| optimiser | items | ms per step | ratio to {sizes[1]:,} items, rows in use |",
            "|---|---:|---:|---:|",
            *time_rows(sizes),
            "",
            "| optimiser | items | bytes per item, before training | in training "
            "| at the end of fit | peak, MiB |",
            "|---|---:|---:|---:|---:|---:|",
            *memory,
        ]
    publish("\n".join(lines) + "\n", a.output)


if __name__ == "__main__":
    main()
