"""One training step and one batch of recommendations → their share of the machine's peak rate.

    python benchmarks/speed/roofline.py --data DIR [--output benchmarks/results/roofline.md]
    python benchmarks/speed/roofline.py --quick

The work that a step needs is counted, not measured. It consists of the matrix products that its
batch requires in the forward and backward pass (without padding, items that a query does not see,
and interests that are not in use), and of the bytes of weights, gradients and moments that must be
read and written. The rates of matrix products and copies of the machine are measured in the same
run, in turns with the steps. So is the floor: the time of the necessary torch operations of loss
and routing, each run alone on warm arrays with the shapes of the step. All times are processor time
of one thread.
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
SQUARE_SIZE = 1024  # rows and columns of the matrices that measure the peak rate
N_STEPS = 30
N_TURNS = 5
N_USERS = 1000
TOP_K = 10
BYTES_PER_FLOAT = 4
OTHER_PART = "other: dispatch, autograd, numpy"
PARTS = {  # part of the profile: words in the names of its operations; the first match counts
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
    """Necessary work: floating-point operations by part, and bytes to read and write."""

    flops: dict[str, float]
    bytes: float


class Row(NamedTuple):
    """A row of the table."""

    name: str
    work: Work
    seconds: float
    note: str


def fitting(rec: MINDRecommender, frame: pd.DataFrame) -> tuple[Trainer, Interactions]:
    """Return the trainer that ``rec.fit`` creates, and its interactions; ``rec`` is not trained."""
    arguments: list = []
    with mock.patch.object(Trainer, "fit", lambda *args: arguments.extend(args) or []):
        rec.fit(frame)
    trainer, interactions = arguments
    return trainer, interactions


def in_use(n_items: np.ndarray, config) -> np.ndarray:
    """Return the number of interests in use for histories of these lengths."""
    counts = np.log2(np.maximum(n_items, 1)).astype(int)
    return np.clip(counts, 1, config.n_interests)


def needed_by_step(trainer: Trainer, batch: Batch, n_negatives: int) -> Work:
    """Return the work of a training step.

    A multiplication with an addition counts as two operations. A product whose two factors have a
    gradient counts three times.
    """
    net = trainer.net
    D = net.config.embedding_dim
    n_iter = net.config.n_routing_iter
    n_samples = int(batch.lengths.sum())
    seen = np.concatenate([np.arange(1, length + 1) for length in batch.lengths])  # per sample
    n_interests = in_use(seen, net.config)
    history = np.unique(batch.history[batch.history >= 0])
    flops = {
        "loss": 2 * D * 3 * (n_samples * n_negatives + n_interests.sum()),
        # Iterations without a gradient have two products. The last has one, and its two gradients.
        "routing": 2 * D * (seen * n_interests).sum() * (2 * (n_iter - 1) + 3),
        "bilinear map": 2 * D**2 * 3 * len(history),
        "encoder": 0.0,
    }
    if net.layers:
        layers = len(net.layers) * (6 * D**2 * n_samples + 2 * D * seen.sum())
        flops["encoder"] = 2.0 * 3 * (layers + D**2 * n_samples)
    n_weights = sum(parameter.numel() for parameter in net.parameters())
    # Weights and both moments are read and written, the gradient is read.
    return Work(flops, BYTES_PER_FLOAT * 7 * n_weights)


def needed_by_recommending(rec: MINDRecommender, lengths: np.ndarray) -> Work:
    """Return the work to compute the interests of users and their products with all items."""
    config = rec._model.config
    net = rec._snapshot.network("cpu")
    D = config.embedding_dim
    n_items = len(rec.items_)
    n_users = len(lengths)
    n_events = lengths.sum()
    n_interests = in_use(lengths, config)
    flops = {
        "search": 2.0 * D * n_interests.sum() * n_items,
        "routing": 2.0 * D * (lengths * n_interests).sum() * (2 * config.n_routing_iter - 1),
        "bilinear map": 2.0 * D**2 * min(n_items, n_events),
        "encoder": 0.0,
    }
    if net.layers:
        # The last layer needs the keys and values of all items, and the rest only of the newest.
        n_pairs = (lengths * (lengths + 1) / 2).sum()
        layers = (len(net.layers) - 1) * (6 * D**2 * n_events + 2 * D * n_pairs)
        last_layer = (2 * D**2 + 2 * D) * n_events + 4 * D**2 * n_users
        flops["encoder"] = 2.0 * (layers + last_layer + D**2 * n_users)
    return Work(flops, BYTES_PER_FLOAT * D * (2 * n_items + n_events))


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def machine_rates(n_samples: int = 1024, D: int = 64, K: int = 4, N: int = 1024) -> dict:
    """Return operations per second of square products and of the loss, and bytes copied per second.

    Parameters
    ----------
    n_samples, D, K, N : int
        Samples, dimensions, interests and negatives of the loss.
    """
    square = torch.randn(SQUARE_SIZE, SQUARE_SIZE)
    queries = torch.randn(K, n_samples, D)
    keys = torch.randn(K, N // K, D)
    logits = queries @ keys.transpose(1, 2)
    source = torch.randn(2**24)
    target = torch.ones_like(source)  # its memory pages exist already
    works = {
        "square": (lambda: square @ square, 2.0 * SQUARE_SIZE**3),
        "loss": (
            lambda: (queries @ keys.transpose(1, 2), logits @ keys, logits.mT @ queries),
            6.0 * n_samples * N * D,
        ),
        "copy": (lambda: target.copy_(source), 2.0 * BYTES_PER_FLOAT * len(source)),
    }
    return {name: amount / seconds(work) for name, (work, amount) in works.items()}


def floor(trainer: Trainer, batches: list[Batch], n_negatives: int) -> dict[str, float]:
    """Return the seconds per step of the necessary operations, by kind."""
    K = trainer.net.config.n_interests
    D = trainer.net.config.embedding_dim
    n_iter = trainer.net.config.n_routing_iter
    seconds_by_kind: Counter = Counter()
    for batch in batches:
        n = int(batch.lengths.sum())
        B, L = batch.history.shape
        queries = torch.randn(K, n, D)
        keys = torch.randn(K, n_negatives // K, D)
        logits, scores = (queries @ keys.mT for _ in range(2))
        query_gradients = torch.empty_like(queries)
        key_gradients = torch.empty_like(keys)
        works = {
            "products of the loss and its gradients": [
                lambda q=queries, k=keys, z=scores: torch.bmm(q, k.mT, out=z),
                lambda k=keys, z=scores, q=query_gradients: torch.bmm(z, k, out=q),
                lambda q=queries, z=scores, k=key_gradients: torch.bmm(z.mT, q, out=k),
            ],
            "exponentials of the loss": [
                lambda z=logits: z.sub_(z.amax(2, keepdim=True)).exp2_().sum(2)
            ],
            "products of the routing and its gradients": [],
            "softmax of the routing": [],
            "weights of the routing": [],
        }
        # The network routes the queries in two halves, of which the older needs half of the items.
        for Q, width in (((L + 1) // 2, L), (L // 2, L // 2)):
            items = torch.randn(B, width, D)
            item_gradients = torch.empty_like(items)
            sums = torch.randn(B, K * Q, D)
            routing_logits, weights, scale = (torch.rand(B, K, Q, width) for _ in range(3))
            flat = routing_logits.view(B, K * Q, width)
            works["products of the routing and its gradients"] += [
                *[lambda w=flat, p=items, u=sums: torch.bmm(w, p, out=u)] * n_iter,
                *[lambda w=flat, p=items, u=sums: torch.bmm(u, p.mT, out=w)] * n_iter,
                lambda w=flat, p=item_gradients, u=sums: torch.bmm(w.mT, u, out=p),
            ]
            works["softmax of the routing"] += [
                lambda w=routing_logits, s=weights: torch.softmax(w, 1, out=s)
            ] * n_iter
            # Weights are scaled by recency and visibility; the gradient is scaled likewise.
            works["weights of the routing"] += [
                lambda w=weights, s=scale: torch.mul(w, s, out=w)
            ] * (n_iter + 1)
        for kind, kind_works in works.items():
            for work in kind_works:
                work()
                seconds_by_kind[kind] += seconds(work)
    return {kind: total / len(batches) for kind, total in seconds_by_kind.items()}


def shares(trainer: Trainer, batches: list[Batch], sampler) -> Counter:
    """Return the share of the time of a step by the kind of its operations."""
    with profile(activities=[ProfilerActivity.CPU]) as run:
        for batch in batches:
            trainer.step(batch, sampler)
    times: Counter = Counter()
    for event in run.key_averages():
        matching_parts = (
            part for part, words in PARTS.items() if any(word in event.key for word in words)
        )
        times[next(matching_parts, OTHER_PART)] += event.self_cpu_time_total
    total = times.total()
    return Counter({part: part_time / total for part, part_time in times.items()})


def measure(
    name: str, frame: pd.DataFrame, rates: list[dict]
) -> tuple[list[Row], Counter, dict[str, float]]:
    """Measure a training step, its parts and its floor, and a batch of recommendations.

    Appends the rates of the machine in each turn to ``rates``.
    """
    rec = MINDRecommender(random_state=0)
    trainer, interactions = fitting(rec, frame)
    sampler = trainer.negative_sampler(interactions)
    batches = list(islice(trainer.batch_sampler(interactions), N_STEPS))
    trainer.net.train()
    trainer.set_learning_rate(0)
    works = [needed_by_step(trainer, batch, sampler.n_negatives) for batch in batches]
    users = rec.users_[:N_USERS]
    lengths = np.minimum(interactions.lengths[:N_USERS], trainer.net.config.max_history)
    step_seconds = []
    recommend_seconds = []
    floors = []
    for turn in range(N_TURNS + 1):
        turn_steps = [seconds(lambda b=batch: trainer.step(b, sampler)) for batch in batches]
        turn_recommend = seconds(lambda: rec.recommend(users, k=TOP_K, output="arrays"))
        if turn > 0:  # the first one warms up
            step_seconds += turn_steps
            recommend_seconds.append(turn_recommend)
            rates.append(machine_rates())
            floors.append(floor(trainer, batches, sampler.n_negatives))
    mean_work = Work(
        {part: float(np.mean([work.flops[part] for work in works])) for part in works[0].flops},
        works[0].bytes,
    )
    n_samples = np.mean([batch.lengths.sum() for batch in batches])
    step = statistics.median(step_seconds)
    recommend = statistics.median(recommend_seconds)
    label = f"{name}, {trainer.net.config.n_items:,} items"
    rows = [
        Row(f"{label}: step", mean_work, step, f"{n_samples / step:,.0f} samples/s"),
        Row(f"{label}: recommend", needed_by_recommending(rec, lengths), recommend,
            f"{len(users) / recommend:,.0f} users/s"),
    ]  # fmt: skip
    median_floor = {kind: statistics.median(f[kind] for f in floors) for kind in floors[0]}
    return rows, shares(trainer, batches, sampler), median_floor


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
        f"multiplies {SQUARE_SIZE} × {SQUARE_SIZE} matrices at {rate['square'] / 1e9:.0f} GFLOP/s "
        "and the matrices of the loss (4 × 1024 × 64 by 4 × 64 × 256, and the gradients) at "
        f"{rate['loss'] / 1e9:.0f} GFLOP/s, and copies {rate['copy'] / 1e9:.1f} GB/s (read and "
        "written).",
        "",
        "| | needed, MFLOP | loss, routing, map, encoder | needed, MB | ms | rate "
        "| share of the square rate | share of the loss rate | ms at the copy rate |",
        "|---|" + "---:|" * 8,
    ]
    for row in rows:
        total = sum(row.work.flops.values())
        parts = ", ".join(f"{value / 1e6:.0f}" for value in row.work.flops.values())
        row_rate = total / row.seconds
        lines.append(
            f"| {row.name} | {total / 1e6:.0f} | {parts} | {row.work.bytes / 1e6:.1f} "
            f"| {row.seconds * 1e3:.1f} | {row.note} | {row_rate / rate['square']:.0%} "
            f"| {row_rate / rate['loss']:.0%} | {row.work.bytes / rate['copy'] * 1e3:.1f} |"
        )
    lines += ["", f"| time of a step | {' | '.join(profiles)} |", "|---|" + "---:|" * len(profiles)]
    for kind in [*PARTS, OTHER_PART]:
        lines.append(f"| {kind} | {' | '.join(f'{p[kind]:.0%}' for p in profiles.values())} |")
    lines += [
        "",
        f"| floor of a step, ms | {' | '.join(floors)} |",
        "|---|" + "---:|" * len(floors),
    ]
    for kind in next(iter(floors.values())):
        cells = (f"{kinds[kind] * 1e3:.2f}" for kinds in floors.values())
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    totals = [sum(kinds.values()) for kinds in floors.values()]
    steps = [row for row in rows if row.name.endswith("step")]
    shares_of_step = []
    shares_of_rate = []
    for total, row in zip(totals, steps, strict=True):
        flops = sum(row.work.flops.values())
        shares_of_step.append(f"{total / row.seconds:.0%}")
        shares_of_rate.append(f"{flops / total / rate['square']:.0%}")
    lines += [
        f"| all | {' | '.join(f'{total * 1e3:.2f}' for total in totals)} |",
        f"| share of the step | {' | '.join(shares_of_step)} |",
        f"| share of the square rate without other operations | {' | '.join(shares_of_rate)} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets, see quality/harness.py")
    parser.add_argument("--quick", action="store_true", help="quick check with generated data")
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
        dataset_rows, profiles[name], floors[name] = measure(name, frame, rates)
        rows += dataset_rows
    options = " --quick" if a.quick else " --data DIR"
    text = report(rows, profiles, floors, rates, f"python benchmarks/speed/roofline.py{options}")
    print(text)
    if a.output:
        a.output.write_text(f"# Roofline\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
