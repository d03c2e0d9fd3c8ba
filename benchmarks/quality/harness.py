"""Data sets, evaluation protocols and metrics shared by all benchmarks of accuracy.

The data folder holds ``ml-100k/`` and ``ml-1m/`` in GroupLens's layout, or ``ml-1m/train.tsv.gz``
with ``before_last.tsv`` and ``test.tsv``; ``beauty/sequences.txt`` and ``toys/sequences.txt`` (one
line per user: the user, then the items in time order); ``tmall/train.txt.gz`` (one session per
line) and ``tmall/test.txt.gz`` (one prefix of a session per line, which ends in its target).

On all sets but Tmall, the task is to find each user's last event among all items outside the user's
history. Settings are chosen on the validation task, which lacks the last event altogether. The
event before the one to find is in the history at recommendation time. As in published tables, it is
not trained on in ml-1m, beauty and toys. In ml-100k it is trained on.

On Tmall, the sessions of the training file are fitted, and each prefix of the test file is the
history of a new user. Items may be recommended again, because 45 % of the targets are in the
prefix. The validation task uses the prefixes of a random part of the training sessions, which are
not fitted.

"planted" needs no file: 2,000 users who each follow four of 200 topics of ten items.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from processes import clocks, peak_memory
from scipy import stats

from skmind.datasets import fetch_movielens, make_interactions
from skmind.metrics import hit_rate_at_k, mrr_at_k, ndcg_at_k, recall_at_k
from skmind.model_selection import LeaveLastOut

DATASETS = ("ml-100k", "ml-1m", "beauty", "toys", "tmall", "planted")
STRICT_DATASETS = ("ml-1m", "beauty", "toys")
SEQUENCES = ("beauty", "toys")
SESSIONS = ("tmall",)
Metrics = dict[str, tuple[Callable[..., Any], int]]
METRICS: Metrics = {
    "HR@10": (hit_rate_at_k, 10),
    "NDCG@10": (ndcg_at_k, 10),
    "Recall@50": (recall_at_k, 50),
}
SESSION_METRICS: Metrics = {  # those of the literature on sessions, where HR@20 is called P@20
    "HR@20": (hit_rate_at_k, 20),
    "MRR@20": (mrr_at_k, 20),
    "Recall@50": (recall_at_k, 50),
}
TOP_K = 50  # recommendations per user
VALIDATION_SESSION_SHARE = 0.05  # of the training sessions


def metrics_of(dataset: str) -> Metrics:
    """Return the metrics of a data set by name: the function and k."""
    return SESSION_METRICS if dataset in SESSIONS else METRICS


def ranking_metric(dataset: str) -> str:
    """Return the name of the metric that weighs ranks."""
    return "MRR@20" if dataset in SESSIONS else "NDCG@10"


def excludes_seen(dataset: str) -> bool:
    """Return whether items of the history are not recommended again."""
    return dataset not in SESSIONS


def table_head(dataset: str) -> str:
    """Return the head of the table of `table_row`."""
    columns = ("data, model", *metrics_of(dataset), "fit s", "of the processor", "peak MiB")
    return f"| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}"


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
    if name == "planted":
        return make_interactions(2000, 2000, n_topics=200, random_state=0).interactions
    if name in SEQUENCES:
        lines = [line.split() for line in (data / name / "sequences.txt").open()]
        return _ordered_frame([line[1:] for line in lines], [int(line[0]) for line in lines])
    if name in SESSIONS:
        return _ordered_frame(_read_lines(data / name / "train.txt.gz"))
    if name == "ml-1m" and (data / name / "train.tsv.gz").exists():
        names = ("train.tsv.gz", "before_last.tsv", "test.tsv")
        parts = [pd.read_csv(data / name / file, sep="\t") for file in names]
        first = parts[0]["timestamp"].max() + 1
        later = [part.assign(timestamp=first + i) for i, part in enumerate(parts[1:])]
        return pd.concat([parts[0], *later])
    return fetch_movielens(name.removeprefix("ml-"), data_home=data).interactions


def _read_lines(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [line.split() for line in file]


def _ordered_frame(sequences: list[list[str]], users: Any = None) -> pd.DataFrame:
    """Return the events of sequences of items, in time order; without users, 0, 1 and so on."""
    users = np.arange(len(sequences)) if users is None else np.asarray(users)
    items = np.array([item for sequence in sequences for item in sequence], dtype=np.int64)
    return pd.DataFrame(
        {
            "user_id": np.repeat(users, [len(sequence) for sequence in sequences]),
            "item_id": items,
            "timestamp": np.arange(len(items)),
        }
    )


def item_attributes(name: str, data: Path) -> pd.DataFrame:
    """Return the item features of beauty or toys: a list of attributes per item."""
    if name not in SEQUENCES:
        raise ValueError(f"there are no attributes for {name}, only for {' and '.join(SEQUENCES)}")
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
    frame = sample_users(load(name, data), n_users)
    if name in SESSIONS:
        return _session_task(frame, data / name / "test.txt.gz", validation)
    history, test = split_off_last(frame)
    if validation:
        history, test = split_off_last(history)
    known = split_off_last(history)[0] if name in STRICT_DATASETS else history
    return Task(known, history, test)


def _session_task(known: pd.DataFrame, test_path: Path, validation: bool) -> Task:
    """Return the sessions to fit, prefixes of other sessions, and the item after each prefix."""
    if validation:
        sessions = known["user_id"].unique()
        size = round(VALIDATION_SESSION_SHARE * len(sessions))
        drawn = np.random.default_rng(0).choice(sessions, size, replace=False)
        is_drawn = known["user_id"].isin(drawn)
        held_out = known[is_drawn].groupby("user_id")["item_id"].agg(list)
        known = known[~is_drawn]
        prefixes = [items[:end] for items in held_out for end in range(2, len(items) + 1)]
    else:
        prefixes = _read_lines(test_path)
    history, test = split_off_last(_ordered_frame(prefixes))
    return Task(known, history, test)


def profiles(name: str, data: Path, task: Task) -> pd.DataFrame:
    """Return one row per user, with the user features of the data set if it has any."""
    if name == "ml-100k":
        return fetch_movielens("100k", data_home=data).user_table
    return task.history[["user_id"]].drop_duplicates()


def measure(
    test: pd.DataFrame, recommended: pd.DataFrame, metrics: Metrics = METRICS
) -> pd.DataFrame:
    """Return the metrics of each user of ``test``."""
    return pd.DataFrame(
        {
            name: metric(test, recommended, k=k, per_user=True)
            for name, (metric, k) in metrics.items()
        }
    )


def popularity(task: Task, dataset: str) -> Run:
    """Recommend the most frequent items of the training events; see `excludes_seen`."""
    start = clocks()
    counts = task.known["item_id"].value_counts()
    users, ids = pd.factorize(task.history["user_id"])
    codes = counts.index.get_indexer(task.history["item_id"])
    # No user has seen more than the longest history, so this many popular items suffice for all.
    width = min(len(counts), TOP_K + int(np.bincount(users).max()))
    seen = np.zeros((len(ids), width), dtype=bool)
    is_popular = (codes >= 0) & (codes < width)
    if excludes_seen(dataset):
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
    return Run(measure(task.test, recommended, metrics_of(dataset)), seconds, peak_memory())


def own_items(task: Task, dataset: str) -> Run:
    """Recommend the items of the history, newest first."""
    start = clocks()
    newest = task.history.iloc[::-1].drop_duplicates(["user_id", "item_id"])
    rank = newest.groupby("user_id").cumcount() + 1
    recommended = newest.assign(rank=rank)[rank <= TOP_K]
    seconds = clocks() - start
    return Run(measure(task.test, recommended, metrics_of(dataset)), seconds, peak_memory())


def table_row(label: str, runs: list[Run]) -> str:
    """Return mean ± standard deviation over the runs, as a row of the table of `table_head`."""
    means = pd.DataFrame([run.user_metrics.mean() for run in runs])
    cells = []
    for name in means:
        deviation = f" ± {means[name].std():.4f}" if len(means) > 1 else ""
        cells.append(f"{means[name].mean():.4f}{deviation}".replace("0.", "."))
    cells += [f"{seconds:.0f}" for seconds in np.mean([run.seconds for run in runs], axis=0)]
    cells.append(f"{np.max([run.peak for run in runs]):.0f}")
    return f"| {label} | {' | '.join(cells)} |"


def difference(runs: list[Run], others: list[Run], metric: str) -> str:
    """Return the mean difference of a metric with its 95 % interval and p-value, paired by user.

    Each user's value is the mean over the seeds. The interval describes the variation between
    users, not between seeds; the table shows the latter. "none": every user has the same value.
    """
    values, other_values = (
        pd.concat([run.user_metrics[metric] for run in part], axis=1).mean(axis=1)
        for part in (runs, others)
    )
    other_values = other_values.reindex(values.index)
    if values.equals(other_values):
        return "none"
    test = stats.ttest_rel(values, other_values)
    low, high = test.confidence_interval()
    return f"{(low + high) / 2:+.4f} ({low:+.4f} to {high:+.4f}, p = {test.pvalue:.2g})"


def publish(text: str, path: Path | None) -> None:
    """Print a section of a result, and append it to a file if there is one."""
    print(text)
    if path:
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" + text)
