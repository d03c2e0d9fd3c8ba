"""One training step and one batch of recommendations → the share of the machine that they use.

    python benchmarks/speed/roofline.py --data DIR [--output benchmarks/results/roofline.md]
    python benchmarks/speed/roofline.py --quick

What a step needs is counted, not measured: the products of matrices that its batch cannot do
without (no padding, no item that a query does not see, no interest that is not in use), forwards
and backwards, and the bytes of weights, gradients and moments that it cannot help reading and
writing. The rate of products and copies of the machine is measured in the same run, in turns with
the steps. So is the floor: the operations of loss and routing that no change of our code avoids
while they are single operations of torch, each by itself, on arrays of the step's shapes that are
there and warm. All in processor time of one thread.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.profiler import ProfilerActivity, profile

from skmind import MINDRecommender
from skmind.data.batches import Batch
from skmind.data.interactions import Interactions
from skmind.datasets import make_interactions
from skmind.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "quality"))
from harness import make_task

DATASETS = ("ml-100k", "beauty", "ml-1m")
SQUARE = 1024
N_STEPS, N_TURNS, N_USERS, K_ITEMS = 30, 5, 1000, 10
FLOAT = 4
PARTS = {  # of the profile; the first that fits
    "products of matrices": ("bmm", "aten::mm", "addmm"),
    "softmax and exponentials": ("softmax", "exp2", "aten::exp_", "logsumexp"),
    "optimiser": ("Adam", "adam"),
    "lookups and their gradients": ("index", "embedding", "gather", "scatter"),
    "copies, zeros, memory": ("copy", "fill", "zero", "empty", "clone", "_to_", "cat"),
    "sums and elementwise": (
        "mul", "div", "add", "sub", "sum", "pow", "sqrt", "neg", "max", "norm", "where", "mask",
        "gelu", "log", "clamp",
    ),
}  # fmt: skip


class Work(NamedTuple):
    """What cannot be done without: operations by part, and bytes."""

    flops: dict[str, float]
    bytes: float


class Row(NamedTuple):
    """A row of the table."""

    name: str
    work: Work
    seconds: float
    note: str


def fitting(rec: MINDRecommender, frame: pd.DataFrame) -> tuple[Trainer, Interactions]:
    """The trainer that ``fit`` makes, and what it is given; the recommender keeps first weights."""
    caught: list = []
    with mock.patch.object(Trainer, "fit", lambda *given: caught.extend(given) or []):
        rec.fit(frame)
    trainer, interactions = caught
    return trainer, interactions


def in_use(n_items: np.ndarray, config) -> np.ndarray:
    """Interests of histories of so many items."""
    counts = np.log2(np.maximum(n_items, 1)).astype(int)
    return np.clip(counts, 1, config.n_interests)


def needed_by_step(trainer: Trainer, batch: Batch, n_negatives: int) -> Work:
    """Two operations for each multiplication with an addition; three times for the gradients."""
    config, net = trainer.net.config, trainer.net
    D, r = config.embedding_dim, config.n_routing_iter
    n = int(batch.lengths.sum())
    seen = np.concatenate([np.arange(1, length + 1) for length in batch.lengths])  # of each sample
    used = in_use(seen, config)
    history = np.unique(batch.history[batch.history >= 0])
    flops = {
        "loss": 2 * D * 3 * (n * n_negatives + used.sum()),
        # two products in the iterations without a gradient, one in the last and its two gradients
        "routing": 2 * D * (seen * used).sum() * (2 * (r - 1) + 3),
        "bilinear map": 2 * D**2 * 3 * len(history),
        "encoder": 0.0,
    }
    if net.layers:
        layers = len(net.layers) * (6 * D**2 * n + 2 * D * seen.sum())
        flops["encoder"] = 2.0 * 3 * (layers + D**2 * n)
    n_weights = sum(parameter.numel() for parameter in net.parameters())
    # weights and both moments are read and written, the gradient is read
    return Work(flops, FLOAT * 7 * n_weights)


def needed_by_recommending(rec: MINDRecommender, lengths: np.ndarray) -> Work:
    """Interests of the users, and their products with all items."""
    config, net = rec._model.config, rec._net
    D, r, n = config.embedding_dim, config.n_routing_iter, len(rec.items_)
    used = in_use(lengths, config)
    flops = {
        "search": 2.0 * D * used.sum() * n,
        "routing": 2.0 * D * (lengths * used).sum() * (2 * r - 1),
        "bilinear map": 2.0 * D**2 * min(n, lengths.sum()),
        "encoder": 0.0,
    }
    if net.layers:  # of the last layer: keys and values of all items, the rest of the newest one
        pairs, whole = (lengths * (lengths + 1) / 2).sum(), len(net.layers) - 1
        layers = whole * (6 * D**2 * lengths.sum() + 2 * D * pairs)
        last = (2 * D**2 + 2 * D) * lengths.sum() + 4 * D**2 * len(lengths)
        flops["encoder"] = 2.0 * (layers + last + D**2 * len(lengths))
    return Work(flops, FLOAT * D * (2 * n + lengths.sum()))


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def machine_rates(n_samples: int = 1024, D: int = 64, K: int = 4, N: int = 1024) -> dict:
    """Operations a second of products, of large squares and of the loss's, and bytes copied."""
    square = torch.randn(SQUARE, SQUARE)
    queries, keys = torch.randn(K, n_samples, D), torch.randn(K, N // K, D)
    logits = queries @ keys.transpose(1, 2)
    source = torch.randn(2**24)
    target = torch.ones_like(source)  # its pages are there
    turns = {
        "square": (lambda: square @ square, 2.0 * SQUARE**3),
        "loss": (
            lambda: (queries @ keys.transpose(1, 2), logits @ keys, logits.mT @ queries),
            6.0 * n_samples * N * D,
        ),
        "copy": (lambda: target.copy_(source), 2.0 * FLOAT * len(source)),
    }
    return {name: amount / seconds(work) for name, (work, amount) in turns.items()}


def floor(trainer: Trainer, batches: list[Batch], n_negatives: int) -> dict[str, float]:
    """Seconds a step of the operations that it cannot do without, by kind."""
    config = trainer.net.config
    K, D, r = config.n_interests, config.embedding_dim, config.n_routing_iter
    spent: Counter = Counter()
    for batch in batches:
        n, (B, L) = int(batch.lengths.sum()), batch.history.shape
        queries, keys = torch.randn(K, n, D), torch.randn(K, n_negatives // K, D)
        logits, scores = (queries @ keys.mT for _ in range(2))
        of_queries, of_keys = torch.empty_like(queries), torch.empty_like(keys)
        works = {
            "products of the loss and its gradients": [
                lambda q=queries, k=keys, z=scores: torch.bmm(q, k.mT, out=z),
                lambda k=keys, z=scores, q=of_queries: torch.bmm(z, k, out=q),
                lambda q=queries, z=scores, k=of_keys: torch.bmm(z.mT, q, out=k),
            ],
            "exponentials of the loss": [
                lambda z=logits: z.sub_(z.amax(2, keepdim=True)).exp2_().sum(2)
            ],
            "products of the routing and its gradients": [],
            "softmax of the routing": [],
            "weights of the routing": [],
        }
        for Q, width in (((L + 1) // 2, L), (L // 2, L // 2)):  # in halves, as the network
            items, sums = torch.randn(B, width, D), torch.randn(B, K * Q, D)
            pairs, mine, scale = (torch.rand(B, K, Q, width) for _ in range(3))
            flat, theirs = pairs.view(B, K * Q, width), torch.empty_like(items)
            works["products of the routing and its gradients"] += [
                *[lambda w=flat, p=items, u=sums: torch.bmm(w, p, out=u)] * r,
                *[lambda w=flat, p=items, u=sums: torch.bmm(u, p.mT, out=w)] * r,
                lambda w=flat, p=theirs, u=sums: torch.bmm(w.mT, u, out=p),
            ]
            works["softmax of the routing"] += [
                lambda w=pairs, s=mine: torch.softmax(w, 1, out=s)
            ] * r
            works["weights of the routing"] += [  # by recency and what is seen; and its gradient
                lambda w=mine, s=scale: torch.mul(w, s, out=w)
            ] * (r + 1)
        for kind, parts in works.items():
            for part in parts:
                part()
                spent[kind] += seconds(part)
    return {kind: total / len(batches) for kind, total in spent.items()}


def shares(trainer: Trainer, batches: list[Batch], sampler) -> Counter:
    """Part of the time of a step by the kind of its operations."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        for batch in batches:
            trainer.step(batch, sampler)
    found: Counter = Counter()
    for event in run.key_averages():
        fits = (part for part, words in PARTS.items() if any(w in event.key for w in words))
        found[next(fits, "other: dispatch, autograd, numpy")] += event.self_cpu_time_total
    total = found.total()
    return Counter({part: spent / total for part, spent in found.items()})


def measure(
    name: str, frame: pd.DataFrame, rates: list[dict]
) -> tuple[list[Row], Counter, dict[str, float]]:
    """A step of training, its parts and its floor, and a batch of recommendations."""
    rec = MINDRecommender(random_state=0)
    trainer, interactions = fitting(rec, frame)
    sampler, source = trainer.negative_sampler(interactions), trainer.batch_sampler(interactions)
    batches = list(islice(source, N_STEPS))
    trainer.net.train()
    trainer.set_learning_rate(0)
    works = [needed_by_step(trainer, batch, sampler.n_negatives) for batch in batches]
    users = rec.users_[:N_USERS]
    lengths = np.minimum(interactions.lengths[:N_USERS], trainer.net.config.max_history)
    steps, asked, floors = [], [], []
    for turn in range(N_TURNS + 1):
        spent = [seconds(lambda b=batch: trainer.step(b, sampler)) for batch in batches]
        rec_spent = seconds(lambda: rec.recommend(users, k=K_ITEMS, output="arrays"))
        if turn:  # the first one warms up
            steps += spent
            asked.append(rec_spent)
            rates.append(machine_rates())
            floors.append(floor(trainer, batches, sampler.n_negatives))
    mean = Work(
        {part: float(np.mean([w.flops[part] for w in works])) for part in works[0].flops},
        works[0].bytes,
    )
    n = np.mean([batch.lengths.sum() for batch in batches])
    step, recommend = statistics.median(steps), statistics.median(asked)
    config = trainer.net.config
    label = f"{name}, {config.n_items:,} items"
    rows = [
        Row(f"{label}: step", mean, step, f"{n / step:,.0f} samples/s"),
        Row(f"{label}: recommend", needed_by_recommending(rec, lengths), recommend,
            f"{len(users) / recommend:,.0f} users/s"),
    ]  # fmt: skip
    least = {kind: statistics.median(f[kind] for f in floors) for kind in floors[0]}
    return rows, shares(trainer, batches, sampler), least


def report(
    rows: list[Row],
    profiles: dict[str, Counter],
    floors: dict[str, dict[str, float]],
    rates: list[dict],
    command: str,
) -> str:
    rate = {name: statistics.median(turn[name] for turn in rates) for name in rates[0]}
    lines = [
        f"`{command}`: torch {torch.__version__}, one thread, processor time. This machine "
        f"multiplies {SQUARE} × {SQUARE} matrices at {rate['square'] / 1e9:.0f} GFLOP/s, those of "
        f"the loss (4 × 1024 × 64 by 4 × 64 × 256 and its gradients) at {rate['loss'] / 1e9:.0f} "
        f"GFLOP/s, and copies {rate['copy'] / 1e9:.1f} GB/s (read and written).",
        "",
        "| | needed, MFLOP | of these loss, routing, map, encoder | needed, MB | ms | rate "
        "| share of squares | share of the loss's products | at the rate of copies, ms |",
        "|---|" + "---:|" * 8,
    ]
    for row in rows:
        total = sum(row.work.flops.values())
        parts = ", ".join(f"{value / 1e6:.0f}" for value in row.work.flops.values())
        reached = total / row.seconds
        lines.append(
            f"| {row.name} | {total / 1e6:.0f} | {parts} | {row.work.bytes / 1e6:.1f} "
            f"| {row.seconds * 1e3:.1f} | {row.note} | {reached / rate['square']:.0%} "
            f"| {reached / rate['loss']:.0%} | {row.work.bytes / rate['copy'] * 1e3:.1f} |"
        )
    kinds = [*PARTS, "other: dispatch, autograd, numpy"]
    lines += ["", f"| time of a step | {' | '.join(profiles)} |", "|---|" + "---:|" * len(profiles)]
    for kind in kinds:
        lines.append(f"| {kind} | {' | '.join(f'{p[kind]:.0%}' for p in profiles.values())} |")
    lines += [
        "",
        f"| floor of a step, ms | {' | '.join(floors)} |",
        "|---|" + "---:|" * len(floors),
    ]
    for kind in next(iter(floors.values())):
        cells = (f"{least[kind] * 1e3:.2f}" for least in floors.values())
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    sums = [sum(least.values()) for least in floors.values()]
    steps = [row for row in rows if row.name.endswith("step")]
    of_step = (f"{least / row.seconds:.0%}" for least, row in zip(sums, steps, strict=True))
    needed = (sum(row.work.flops.values()) for row in steps)
    reach = (f"{n / s / rate['square']:.0%}" for n, s in zip(needed, sums, strict=True))
    lines += [
        f"| all | {' | '.join(f'{least * 1e3:.2f}' for least in sums)} |",
        f"| of the step | {' | '.join(of_step)} |",
        f"| share of squares if there were nothing else | {' | '.join(reach)} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets, see quality/harness.py")
    parser.add_argument("--quick", action="store_true", help="generated data, to show that it runs")
    parser.add_argument("--output", type=Path, help="file that the tables are written to")
    a = parser.parse_args()
    torch.set_num_threads(1)
    if a.quick:
        frames = {"generated": make_interactions(n_users=400, random_state=0).interactions}
    else:
        frames = {name: make_task(name, a.data).known for name in DATASETS}
    rows: list[Row] = []
    profiles: dict[str, Counter] = {}
    floors: dict[str, dict[str, float]] = {}
    rates: list[dict] = []
    for name, frame in frames.items():
        found, profiles[name], floors[name] = measure(name, frame, rates)
        rows += found
    options = " --quick" if a.quick else " --data DIR"
    text = report(rows, profiles, floors, rates, f"python benchmarks/speed/roofline.py{options}")
    print(text)
    if a.output:
        a.output.write_text(f"# Roofline\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
