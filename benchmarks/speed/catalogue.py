"""Catalogue size → time of a training step and bytes an item, with Adam and with its rows only.

    python benchmarks/speed/catalogue.py [--quick] [--output benchmarks/results/catalogue.md]
    python benchmarks/speed/catalogue.py --quality DIR

The log is generated and the same for every size but for its items: a Zipf law, scattered over the
catalogue. Steps of all sizes and both optimisers are taken in turns in one process, on one thread.
Memory is that of a process of its own for each size: what its peak has above that of the smallest
catalogue, by item, at three moments of a fit. With ``--quality``: accuracy on Amazon Beauty (see
quality/harness.py) with both optimisers, whose threshold is moved for it.
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
from harness import in_processes, make_task, measure, peak

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
QUICK = (1_000, 20_000)
LARGEST_DENSE = 1_000_000
N_USERS, N_EVENTS, N_STEPS, N_TURNS = 20_000, 50, 20, 7
BY_ROWS, DENSE = 0, 10**9  # `optim.LARGE`
NAMES = {DENSE: "Adam", BY_ROWS: "rows in use"}


def log(n_items: int) -> Interactions:
    """Histories of equal length."""
    rng = np.random.default_rng(0)
    shape = N_USERS * N_EVENTS
    ranks = (n_items ** rng.random(shape)).astype(np.int64) - 1  # p(rank) ~ 1 / rank
    items = (ranks * 2_654_435_761 % n_items).astype(np.int32)  # popular ones are anywhere
    return Interactions(items, np.arange(N_USERS + 1) * N_EVENTS)


def trainer(n_items: int, largest: int) -> Trainer:
    """As `fit` makes it at the defaults."""
    optim.LARGE = largest
    rec = MINDRecommender()
    config = NetConfig(n_items, rec.n_interests, rec.embedding_dim, rec.max_history,
                       rec.n_routing_iter, rec.adaptive_interests, 0)  # fmt: skip
    share = np.ones(n_items, dtype=np.float32)
    net = MINDNet(config, sparse.csr_matrix((n_items, 0)), share, 0, 0)
    settings = {name: getattr(rec, name) for name in TrainingSettings.__annotations__}
    return Trainer(net, None, TrainingSettings(**settings), np.random.default_rng(0))


class Steps:
    """Steps of one size and optimiser, as many as are asked for."""

    def __init__(self, n_items: int, largest: int) -> None:
        self.largest, self.trainer = largest, trainer(n_items, largest)
        interactions = log(n_items)
        self.sampler = self.trainer.negative_sampler(interactions)
        self.batches = list(islice(self.trainer.batch_sampler(interactions), N_STEPS))
        self.trainer.net.train()
        self.trainer.set_learning_rate(0)

    def milliseconds(self) -> float:
        """Mean processor time of a step."""
        optim.LARGE = self.largest
        start = time.process_time()
        for batch in self.batches:
            self.trainer.step(batch, self.sampler)
        return (time.process_time() - start) / len(self.batches) * 1e3


def times(sizes: tuple[int, ...]) -> list[str]:
    """Rows of the first table."""
    cases = [(largest, n) for largest in NAMES for n in sizes
             if largest == BY_ROWS or n <= LARGEST_DENSE]  # fmt: skip
    steps = {case: Steps(case[1], case[0]) for case in cases}
    turns = [{case: steps[case].milliseconds() for case in cases} for _ in range(N_TURNS)][1:]
    base = (BY_ROWS, sizes[min(1, len(sizes) - 1)])
    rows = []
    for case in cases:
        spent = statistics.median(turn[case] for turn in turns)
        ratio = statistics.median(turn[case] / turn[base] for turn in turns)
        rows.append(f"| {NAMES[case[0]]} | {case[1]:,} | {spent:.1f} | {ratio:.2f} |")
    return rows


def peaks(n_items: int, largest: int) -> list[float]:
    """Peak of this process in MiB when the first step begins, after some steps, after `fit`."""
    torch.set_num_threads(1)
    steps = Steps(n_items, largest)
    found = [peak()]
    steps.milliseconds()
    found.append(peak())
    kept = steps.trainer.net.get_weights(), unit_items(steps.trainer.net)
    del kept
    return [*found, peak()]


def memory(sizes: tuple[int, ...]) -> list[str]:
    """Rows of the second table."""
    smallest, *others = sizes
    rows = []
    for largest, name in NAMES.items():
        asked = [n for n in others if largest == BY_ROWS or n <= LARGEST_DENSE]
        base, *found = in_processes(peaks, [(n, largest) for n in (smallest, *asked)], 1)
        for n, at in zip(asked, found, strict=True):
            a, b, c = ((x - y) * 2**20 / (n - smallest) for x, y in zip(at, base, strict=True))
            rows.append(f"| {name} | {n:,} | {a:.0f} | {b:.0f} | {c:.0f} | {at[2]:.0f} |")
    return rows


def quality(data: Path, largest: int, seed: int, options: dict) -> list[float]:
    """Mean metrics on Beauty."""
    torch.set_num_threads(1)
    optim.LARGE = largest
    task = make_task("beauty", data)
    rec = MINDRecommender(random_state=seed, **options).fit(task.known)
    return measure(task.test, rec.recommend_from_history(task.history, k=50)).mean().tolist()


def qualities(data: Path, quick: bool) -> list[str]:
    """Rows of the third table: the defaults, and steps that use 2 % of the items."""
    cases = {
        "defaults": {},
        "max_epochs=6 batch_size=128 n_negatives=128": {
            "max_epochs": 6, "batch_size": 128, "n_negatives": 128,
        },
    }  # fmt: skip
    rows = []
    for label, options in cases.items():
        options = options | ({"max_epochs": 1} if quick else {})
        for largest, name in NAMES.items():
            jobs = [(data, largest, seed, options) for seed in (0,) * quick or (0, 1, 2)]
            found = np.array(in_processes(quality, jobs, 1))
            cells = [f"{mean:.4f} ± {spread:.4f}".replace("0.", ".") for mean, spread in
                     zip(found.mean(0), found.std(0), strict=True)]  # fmt: skip
            rows.append(f"| {label} | {name} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to show that it runs")
    parser.add_argument("--quality", type=Path, help="folder of the data sets: accuracy instead")
    parser.add_argument("--output", type=Path, help="file that the tables are appended to")
    a = parser.parse_args()
    torch.set_num_threads(1)
    options = " --quality DIR" * bool(a.quality) + " --quick" * a.quick
    lines = [f"`python benchmarks/speed/catalogue.py{options}`, torch {torch.__version__}:", ""]
    if a.quality:
        lines += [
            "| Amazon Beauty, mean ± deviation of the seeds | optimiser | HR@10 | NDCG@10 "
            "| Recall@50 |",
            "|---|---|---:|---:|---:|",
            *qualities(a.quality, a.quick),
        ]
    else:
        sizes = QUICK if a.quick else SIZES
        held = memory(sizes)  # first, while this process is small
        lines += [
            f"| optimiser | items | ms a step | in relation to {sizes[1]:,} by rows |",
            "|---|---:|---:|---:|",
            *times(sizes),
            "",
            "| optimiser | items | bytes an item, ready to train | in training | at the end of fit "
            "| peak MiB |",
            "|---|---:|---:|---:|---:|---:|",
            *held,
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if a.output:
        with a.output.open("a", encoding="utf-8") as file:
            file.write("\n" + text)


if __name__ == "__main__":
    main()
