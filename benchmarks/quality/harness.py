"""Data sets, evaluation protocols and metrics shared by all benchmarks of accuracy.

The data folder holds ``ml-100k/`` and ``ml-1m/`` in GroupLens's layout, or
``beauty/sequences.txt`` (one line per user: the user, then the items in time order) and
``ml-1m/train.tsv.gz`` with ``test.tsv``. The task is to find each user's last event among all items
outside the user's history. Settings are chosen on the validation task, which lacks the last event
altogether. The event before the one to find is used as follows:

- beauty: it is part of the history at recommendation time, but not trained on, as in published
  tables.
- ml-1m: published tables do the same, but the file lacks this event for 5,528 of the 6,040 users.
  For them it is neither trained on nor in the history, which makes the task harder; the validation
  task leaves it out in the same way. The other 512 users cannot be identified, so the event before
  their last one is trained on. ``ml-1m-strict`` removes one more event per user from training,
  which is right for GroupLens's complete file.
- ml-100k: it is trained on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from processes import clocks, peak_memory
from scipy import stats

from skmind.datasets import fetch_movielens
from skmind.metrics import hit_rate_at_k, ndcg_at_k, recall_at_k
from skmind.model_selection import LeaveLastOut

DATASETS = ("ml-100k", "ml-1m", "ml-1m-strict", "beauty")
STRICT_DATASETS = ("ml-1m-strict", "beauty")
METRICS = {"HR@10": (hit_rate_at_k, 10), "NDCG@10": (ndcg_at_k, 10), "Recall@50": (recall_at_k, 50)}
TOP_K = 50  # recommendations per user
COLUMNS = ("data, model", *METRICS, "fit s", "of the processor", "peak MiB")
TABLE_HEAD = f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}"


class Task(NamedTuple):
    """Events to train on, events to recommend from, and events to find."""

    known: pd.DataFrame
    history: pd.DataFrame
    test: pd.DataFrame


class Run(NamedTuple):
    """Result of one fit.

    Attributes
    ----------
    user_metrics : DataFrame
        One row per user, one column per metric.
    seconds : ndarray of shape (2,)
        Time of the fit by `clocks`.
    peak : float
        Peak memory of the process in MiB.
    """

    user_metrics: pd.DataFrame
    seconds: np.ndarray
    peak: float


def load(name: str, data: Path) -> pd.DataFrame:
    """Return interactions with the columns user_id, item_id and timestamp."""
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


def item_attributes(name: str, data: Path) -> pd.DataFrame:
    """Return the feature table of the items of beauty, with a list of attributes per item."""
    if name != "beauty":
        raise ValueError(f"there are no attributes for {name}, only for beauty")
    attributes = json.loads((data / name / "item_attributes.json").read_text(encoding="utf-8"))
    values = [[str(value) for value in values] for values in attributes.values()]
    return pd.DataFrame({"item_id": [int(item) for item in attributes], "attributes": values})


def sample_users(frame: pd.DataFrame, n_users: int | None) -> pd.DataFrame:
    """Return the events of ``n_users`` users drawn with a fixed seed; None: all events."""
    if n_users is None:
        return frame
    users = frame["user_id"].unique()
    chosen = np.random.default_rng(0).choice(users, min(n_users, len(users)), replace=False)
    return frame[frame["user_id"].isin(chosen)]


def split_off_last(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return all events except each user's last event, and these last events."""
    rest, last = next(LeaveLastOut().split(frame))
    return frame.iloc[rest], frame.iloc[last]


def make_task(name: str, data: Path, validation: bool = False, n_users: int | None = None) -> Task:
    """Return the task of a data set; ``n_users`` restricts it to a sample of the users."""
    frame = load(name.removesuffix("-strict"), data)
    history, test = split_off_last(sample_users(frame, n_users))
    if validation:
        history, test = split_off_last(history)
        if name.startswith("ml-1m"):
            history, _ = split_off_last(history)
    known = split_off_last(history)[0] if name in STRICT_DATASETS else history
    return Task(known, history, test)


def profiles(name: str, data: Path, task: Task) -> pd.DataFrame:
    """Return one row per user, with the user features of the data set if it has any."""
    if name == "ml-100k":
        return fetch_movielens("100k", data_home=data).user_table
    return task.history[["user_id"]].drop_duplicates()


def measure(test: pd.DataFrame, recommended: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of each user of ``test``."""
    return pd.DataFrame(
        {
            name: metric(test, recommended, k=k, per_user=True)
            for name, (metric, k) in METRICS.items()
        }
    )


def popularity(task: Task) -> Run:
    """Recommend the most frequent items of the training events that the user has not seen."""
    start = clocks()
    counts = task.known["item_id"].value_counts()
    users, ids = pd.factorize(task.history["user_id"])
    codes = counts.index.get_indexer(task.history["item_id"])
    # No user has seen more than the longest history, so this many popular items suffice for all.
    width = min(len(counts), TOP_K + int(np.bincount(users).max()))
    seen = np.zeros((len(ids), width), dtype=bool)
    is_popular = (codes >= 0) & (codes < width)
    seen[users[is_popular], codes[is_popular]] = True
    # A stable sort of a mask moves the unseen items to the front, in order of popularity.
    places = np.argsort(seen, axis=1, kind="stable")[:, :TOP_K]
    seconds = clocks() - start
    recommended = pd.DataFrame(
        {
            "user_id": np.repeat(ids, TOP_K),
            "item_id": counts.index.to_numpy()[places].ravel(),
            "rank": np.tile(np.arange(1, TOP_K + 1), len(ids)),
        }
    )
    return Run(measure(task.test, recommended), seconds, peak_memory())


def table_row(label: str, runs: list[Run]) -> str:
    """Return mean ± standard deviation over the runs, as a row of the table under `TABLE_HEAD`."""
    means = pd.DataFrame([run.user_metrics.mean() for run in runs])
    cells = []
    for name in METRICS:
        deviation = f" ± {means[name].std():.4f}" if len(means) > 1 else ""
        cells.append(f"{means[name].mean():.4f}{deviation}".replace("0.", "."))
    cells += [f"{seconds:.0f}" for seconds in np.mean([run.seconds for run in runs], axis=0)]
    cells.append(f"{np.max([run.peak for run in runs]):.0f}")
    return f"| {label} | {' | '.join(cells)} |"


def difference(runs: list[Run], others: list[Run], metric: str) -> str:
    """Return the mean difference of a metric with its 95 % interval and p-value, paired by user.

    Each user's value is the mean over the seeds. The interval describes the variation between
    users, not between seeds; the table shows the latter.
    """
    values, other_values = (
        pd.concat([run.user_metrics[metric] for run in part], axis=1).mean(axis=1)
        for part in (runs, others)
    )
    test = stats.ttest_rel(values, other_values.reindex(values.index))
    low, high = test.confidence_interval()
    return f"{(low + high) / 2:+.4f} ({low:+.4f} to {high:+.4f}, p = {test.pvalue:.2g})"
