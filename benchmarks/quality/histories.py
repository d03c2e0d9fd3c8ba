"""Recall of four interests and of one, by length and by diversity of the history.

    python benchmarks/quality/histories.py beauty --data DIR [--targets 5] [--jobs 2]

Both models are fitted with default parameters and one seed, and find the last event of each user in
the test task of harness.py, or the last events of users who have at least as many events before
them. The diversity of a history is 1 minus the mean cosine of its pairs of items, by the item
vectors of the model with one interest. The result is appended to ``--output``.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from harness import (
    DATASETS,
    SESSIONS,
    Metrics,
    Run,
    Task,
    difference,
    excludes_seen,
    load,
    make_task,
    measure,
    publish,
)
from processes import in_processes

from skmind import MINDRecommender
from skmind.metrics import recall_at_k

SEED = 0
TOP_K = 100
METRICS: Metrics = {f"Recall@{k}": (recall_at_k, k) for k in (20, 50, 100)}
COMPARED = "Recall@50"
LENGTHS = (0, 2, 5, 10, 20, 50, np.inf)  # ends of the groups, in different items
N_DIVERSITIES = 3  # groups of equal size


class Found(NamedTuple):
    """Recall of each user, and the item vectors of the model by item id."""

    metrics: pd.DataFrame
    vectors: pd.DataFrame


def held_out_task(dataset: str, data: Path, n_targets: int) -> Task:
    """Return the test task, or that to find several last events of users with twice as many."""
    if n_targets == 1:
        return make_task(dataset, data)
    if dataset in SESSIONS:
        raise ValueError(f"the prefixes of {dataset} have one target each")
    frame = load(dataset, data)
    events = frame.groupby("user_id")["item_id"]
    is_target = (events.cumcount(ascending=False) < n_targets) & (
        events.transform("size") >= 2 * n_targets
    )
    test = frame[is_target]
    known = frame[~is_target]
    return Task(known, known[known["user_id"].isin(test["user_id"])], test)


def find(dataset: str, data: Path, n_targets: int, n_interests: int) -> Found:
    """Fit, recommend and measure."""
    torch.set_num_threads(1)
    task = held_out_task(dataset, data, n_targets)
    rec = MINDRecommender(
        n_interests=n_interests, exclude_seen=excludes_seen(dataset), random_state=SEED
    ).fit(task.known)
    recommended = rec.recommend_from_history(task.history, k=TOP_K)
    vectors = pd.DataFrame(rec.item_embeddings_, index=rec.items_)
    return Found(measure(task.test, recommended, METRICS), vectors)


def diversities(history: pd.DataFrame, vectors: pd.DataFrame) -> pd.Series:
    """Return 1 - mean cosine of the pairs of different items of each user with two or more."""
    items = history[["user_id", "item_id"]].drop_duplicates()
    items = items[items["item_id"].isin(vectors.index)]
    rows = vectors.loc[items["item_id"]].set_axis(items["user_id"].to_numpy(), axis=0)
    users = rows.groupby(level=0)
    n = users.size()
    mean_cosine = ((users.sum() ** 2).sum(axis=1) - n) / (n * (n - 1)).where(n > 1)
    return (1 - mean_cosine).dropna()


def groups(task: Task, vectors: pd.DataFrame) -> dict[str, pd.Index]:
    """Return the users of each row of the table, by name."""
    lengths = task.history.groupby("user_id")["item_id"].nunique()
    named = {"all": lengths.index}
    for low, high in zip(LENGTHS, LENGTHS[1:], strict=False):
        name = f"{low + 1} to {high} items" if high < np.inf else f"more than {low} items"
        named[name] = lengths.index[(lengths > low) & (lengths <= high)]
    diversity = diversities(task.history, vectors)
    parts = pd.qcut(diversity, N_DIVERSITIES)
    for part in parts.cat.categories:
        name = f"diversity {max(part.left, 0):.2f} to {part.right:.2f}"
        named[name] = parts.index[parts == part]
    return named


def report(arguments: argparse.Namespace) -> str:
    """Return the table."""
    a = arguments
    jobs = [(a.dataset, a.data, a.targets, n_interests) for n_interests in (4, 1)]
    four, one = in_processes(find, jobs, a.jobs)
    task = held_out_task(a.dataset, a.data, a.targets)
    command = f"{a.dataset} --data DIR{f' --targets {a.targets}' if a.targets > 1 else ''}"
    columns = " | ".join(f"{name} K=4 | K=1" for name in METRICS)
    lines = [
        f"`python benchmarks/quality/histories.py {command}`, {datetime.date.today()}, "
        f"seed {SEED}.",
        "",
        f"| history | users | {columns} | {COMPARED}, K=4 minus K=1 |",
        f"|---|---:|{'---:|' * (2 * len(METRICS))}---|",
    ]
    for name, users in groups(task, one.vectors).items():
        parts = [found.metrics[found.metrics.index.isin(users)] for found in (four, one)]
        if len(parts[0]) < 2:
            continue
        cells = [f"{part[metric].mean():.4f}".lstrip("0") for metric in METRICS for part in parts]
        runs = [[Run(part, np.zeros(2), 0)] for part in parts]
        cells.append(difference(*runs, COMPARED))
        lines.append(f"| {name} | {len(parts[0])} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--targets", type=int, default=1, help="events to find per user")
    parser.add_argument("--jobs", type=int, default=1, help="fits at the same time")
    parser.add_argument("--output", type=Path, help="file that the result is appended to")
    arguments = parser.parse_args()
    publish(report(arguments), arguments.output)


if __name__ == "__main__":
    main()
