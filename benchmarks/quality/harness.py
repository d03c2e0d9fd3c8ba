"""Data sets, protocols and metrics that all benchmarks of quality share.

The data folder holds ``ml-100k/`` and ``ml-1m/`` in GroupLens's layout, or
``beauty/sequences.txt`` (a line a user: the user, then the items in time order) and
``ml-1m/train.tsv.gz`` with ``test.tsv``. Each user's last event is to be found among all items,
those of the user's history left out. Choices are made on the validation task, which lacks the last
event altogether. The event before the one to be found:

- beauty: in the history that recommending starts from, not trained on, as in the published tables.
- ml-1m: the published tables do the same, but the file lacks this event for 5,528 of the 6,040
  users; so it is neither trained on nor in the history, which makes the task harder, and the
  validation task leaves it out likewise. The other 512 users can't be told apart: the event before
  their last is trained on. ``ml-1m-strict`` leaves one event more of everybody out of training,
  which is right for GroupLens's complete file.
- ml-100k: trained on.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from skmind.datasets import fetch_movielens
from skmind.metrics import hit_rate_at_k, ndcg_at_k, recall_at_k
from skmind.model_selection import LeaveLastOut

DATASETS = ("ml-100k", "ml-1m", "ml-1m-strict", "beauty")
STRICT = ("ml-1m-strict", "beauty")
METRICS = {"HR@10": (hit_rate_at_k, 10), "NDCG@10": (ndcg_at_k, 10), "Recall@50": (recall_at_k, 50)}
K = 50  # recommendations a user
COLUMNS = ("data, model", *METRICS, "fit s", "of the processor", "peak MiB")
HEAD = f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}"


class Task(NamedTuple):
    """Events to train on, to recommend from, and to find."""

    known: pd.DataFrame
    history: pd.DataFrame
    test: pd.DataFrame


class Run(NamedTuple):
    """One fit: each user's metrics, the fit's `clocks`, and the peak of the process in MiB."""

    users: pd.DataFrame
    seconds: np.ndarray
    peak: float


def load(name: str, data: Path) -> pd.DataFrame:
    """Interactions with the columns user_id, item_id, timestamp."""
    if name == "beauty":
        lines = [line.split() for line in (data / "beauty" / "sequences.txt").open()]
        users = np.repeat([int(line[0]) for line in lines], [len(line) - 1 for line in lines])
        items = np.concatenate([np.array(line[1:], dtype=np.int64) for line in lines])
        return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": range(len(items))})
    if name == "ml-1m" and (data / "ml-1m" / "train.tsv.gz").exists():
        train = pd.read_csv(data / "ml-1m" / "train.tsv.gz", sep="\t")
        test = pd.read_csv(data / "ml-1m" / "test.tsv", sep="\t")
        return pd.concat([train, test.assign(timestamp=train["timestamp"].max() + 1)])
    return fetch_movielens(name.removeprefix("ml-"), data_home=data).interactions


def attributes(name: str, data: Path) -> pd.DataFrame:
    """Feature table of the items of beauty: a list of attributes each."""
    if name != "beauty":
        raise ValueError(f"there are no attributes for {name}, only for beauty")
    found = json.loads((data / name / "item_attributes.json").read_text(encoding="utf-8"))
    values = [[str(value) for value in values] for values in found.values()]
    return pd.DataFrame({"item_id": [int(item) for item in found], "attributes": values})


def some_users(frame: pd.DataFrame, n: int | None) -> pd.DataFrame:
    """The events of ``n`` users drawn with a fixed seed; None: all."""
    if n is None:
        return frame
    users = frame["user_id"].unique()
    chosen = np.random.default_rng(0).choice(users, min(n, len(users)), replace=False)
    return frame[frame["user_id"].isin(chosen)]


def without_last(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Everything but each user's last event, and these."""
    rest, last = next(LeaveLastOut().split(frame))
    return frame.iloc[rest], frame.iloc[last]


def make_task(name: str, data: Path, validation: bool = False, n_users: int | None = None) -> Task:
    """The task of a data set, or of ``n_users`` of its users."""
    frame = load(name.removesuffix("-strict"), data)
    history, test = without_last(some_users(frame, n_users))
    if validation:
        history, test = without_last(history)
        if name.startswith("ml-1m"):
            history, _ = without_last(history)
    return Task(without_last(history)[0] if name in STRICT else history, history, test)


def profiles(name: str, data: Path, task: Task) -> pd.DataFrame:
    """A row a user, with the features that the data set has."""
    if name == "ml-100k":
        return fetch_movielens("100k", data_home=data).user_table
    return task.history[["user_id"]].drop_duplicates()


def measure(test: pd.DataFrame, recommended: pd.DataFrame) -> pd.DataFrame:
    """Metrics of each user of ``test``."""
    return pd.DataFrame(
        {name: of(test, recommended, k=k, per_user=True) for name, (of, k) in METRICS.items()}
    )


def popularity(task: Task) -> Run:
    """The most frequent unseen items of what is trained on."""
    start = clocks()
    counts = task.known["item_id"].value_counts()
    users, ids = pd.factorize(task.history["user_id"])
    codes = counts.index.get_indexer(task.history["item_id"])
    width = min(len(counts), K + int(np.bincount(users).max()))
    banned = np.zeros((len(ids), width), dtype=bool)
    near = (codes >= 0) & (codes < width)
    banned[users[near], codes[near]] = True
    places = np.argsort(banned, axis=1, kind="stable")[:, :K]
    seconds = clocks() - start
    recommended = pd.DataFrame(
        {
            "user_id": np.repeat(ids, K),
            "item_id": counts.index.to_numpy()[places].ravel(),
            "rank": np.tile(np.arange(1, K + 1), len(ids)),
        }
    )
    return Run(measure(task.test, recommended), seconds, peak())


def clocks() -> np.ndarray:
    """Seconds by the wall and of the processor; the latter tell more where others are at work."""
    return np.array([time.perf_counter(), time.process_time()])


def peak() -> float:
    """Peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_processes(function: Callable[..., Any], jobs: list[tuple], n_at_once: int) -> list[Any]:
    """Results of the jobs, each in a process of its own so that its peak is its own.

    The calling process must stay small: on Linux a child's peak begins with its parent's.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(n_at_once, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(function, *zip(*jobs, strict=True)))


def row(label: str, runs: list[Run]) -> str:
    """Mean ± standard deviation over the runs, as a row of the table under `HEAD`."""
    table = pd.DataFrame([run.users.mean() for run in runs])
    cells = []
    for name in METRICS:
        spread = f" ± {table[name].std():.4f}" if len(table) > 1 else ""
        cells.append(f"{table[name].mean():.4f}{spread}".replace("0.", "."))
    cells += [f"{seconds:.0f}" for seconds in np.mean([run.seconds for run in runs], axis=0)]
    cells.append(f"{np.max([run.peak for run in runs]):.0f}")
    return f"| {label} | {' | '.join(cells)} |"


def difference(runs: list[Run], others: list[Run], metric: str) -> str:
    """Mean difference of a metric with its 95 % interval and p-value, paired by user.

    Each user counts with the mean over the seeds; the interval tells of other users, not of other
    seeds, whose spread is in the table.
    """
    mine, theirs = (
        pd.concat([run.users[metric] for run in part], axis=1).mean(axis=1)
        for part in (runs, others)
    )
    test = stats.ttest_rel(mine, theirs.reindex(mine.index))
    low, high = test.confidence_interval()
    return f"{(low + high) / 2:+.4f} ({low:+.4f} to {high:+.4f}, p = {test.pvalue:.2g})"
