"""Gain from side features on MovieLens 100K: for new items, for new users and for all users.

    python benchmarks/quality/cold.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. The features are the genres and decade of
release of the items, and the gender, occupation and decade of age of the users. A random
permutation divides the items with at least five events into ten parts and the users into five
parts. Each seed hides another part. ``--validation`` uses parts that the test does not use, removes
each user's last event, and the last but one is to be found. Writes benchmarks/results/cold.md; the
notes at its end are kept.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from harness import Run, difference, make_task, split_off_last
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.metrics import hit_rate_at_k, ndcg_at_k, recall_at_k

NOTES_TITLE = "## Notes\n"  # the text below it is written by hand and kept
RESULT = Path(__file__).parents[1] / "results" / "cold.md"
TOP_K = 10
TEST_SEEDS = (0, 1, 2)
VALIDATION_SEEDS = (3, 4)
N_ITEM_PARTS = 10
N_USER_PARTS = 5
MIN_ITEM_EVENTS = 5
HISTORY_LENGTHS = (0, 1, 2, 5)
N_NEXT = 5  # events to find after the history
METRICS = {"Recall@10": recall_at_k, "HR@10": hit_rate_at_k, "NDCG@10": ndcg_at_k}
RunsByLabel = dict[str, Run]  # label of the row → run


class Data(NamedTuple):
    """Events in time order, and feature tables of users and items."""

    events: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame


def read(folder: Path) -> Data:
    """Return MovieLens 100K with the features used here."""
    dataset = fetch_movielens("100k", data_home=folder)
    events = dataset.interactions.sort_values("timestamp", kind="stable")
    age = (dataset.user_table["age"] // 10 * 10).astype(str)
    users = dataset.user_table[["user_id", "gender", "occupation"]].assign(age=age)
    decade = (dataset.item_table["year"] // 10 * 10).map("{:.0f}".format, "ignore")
    items = dataset.item_table[["item_id", "genres"]].assign(decade=decade)
    return Data(events, users, items)


def part(ids: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """Return the part of ``ids`` that a seed hides."""
    return np.array_split(np.random.default_rng(0).permutation(np.sort(ids)), n_parts)[seed]


def measure(test: pd.DataFrame, recommended: pd.DataFrame) -> Run:
    """Return the metrics of each user as a run without time and memory."""
    values = {
        name: metric(test, recommended, k=TOP_K, per_user=True) for name, metric in METRICS.items()
    }
    return Run(pd.DataFrame(values), np.zeros(2), 0.0)


def recommend_by_score(users: np.ndarray, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Return the items with the highest scores (n_users, n_items), as `recommend` does."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP_K]
    columns = {
        "user_id": np.repeat(users, TOP_K),
        "item_id": items[best].ravel(),
        "rank": np.tile(np.arange(1, TOP_K + 1), len(users)),
    }
    return pd.DataFrame(columns)


def feature_cosines(
    data: Data, known: pd.DataFrame, users: np.ndarray, items: np.ndarray
) -> np.ndarray:
    """Return the cosines of the features of each user's history and of ``items``."""
    table = data.items.set_index("item_id")
    genres = normalize(table["genres"].str.join("|").str.get_dummies())
    decades = normalize(pd.get_dummies(table["decade"]))
    features = pd.DataFrame(np.hstack([genres, decades]), table.index)
    event_features = features.loc[known["item_id"]].set_axis(known["user_id"].to_numpy())
    user_features = event_features.groupby(level=0).sum().loc[users]
    return normalize(user_features) @ normalize(features.loc[items]).T


def cold_items(data: Data, seed: int) -> RunsByLabel:
    """Find the events of a tenth of the items, none of which is seen in training."""
    counts = data.events["item_id"].value_counts()
    hidden = part(counts.index[counts >= MIN_ITEM_EVENTS].to_numpy(), N_ITEM_PARTS, seed)
    is_cold = data.events["item_id"].isin(hidden)
    known, last = split_off_last(data.events[~is_cold])
    test = data.events[is_cold]
    users = last["user_id"].to_numpy()
    rec = MINDRecommender(random_state=seed).fit(known, items=data.items)
    random_scores = np.random.default_rng(seed).random((len(users), len(hidden)))
    cosines = feature_cosines(data, known, users, hidden)
    among_all = rec.recommend(users, TOP_K)
    among_new = rec.recommend(users, TOP_K, items=hidden)
    among_old = rec.recommend(users, TOP_K, exclude_items=hidden)
    return {
        "new among new: chance": measure(test, recommend_by_score(users, hidden, random_scores)),
        "new among new: similarity": measure(test, recommend_by_score(users, hidden, cosines)),
        "new among new: model": measure(test, among_new),
        "new among all: model": measure(test, among_all),
        "old among all: model": measure(last, among_all),
        "old among old: model": measure(last, among_old),
    }


def cold_users(data: Data, seed: int) -> RunsByLabel:
    """Find the next events of a fifth of the users, who are not in training."""
    hidden = part(data.events["user_id"].unique(), N_USER_PARTS, seed)
    is_cold = data.events["user_id"].isin(hidden)
    known = data.events[~is_cold]
    cold_events = data.events[is_cold]
    place = cold_events.groupby("user_id").cumcount()
    is_hidden = data.users["user_id"].isin(hidden)
    tables = {
        "none": (None, None),
        "features": (data.users[~is_hidden], data.users[is_hidden]),
    }
    runs: RunsByLabel = {}
    for label, (known_users, hidden_users) in tables.items():
        rec = MINDRecommender(random_state=seed).fit(known, users=known_users)
        for n in HISTORY_LENGTHS:
            history = {user: [] for user in hidden.tolist()}
            history |= cold_events[place < n].groupby("user_id")["item_id"].agg(list).to_dict()
            test = cold_events[(place >= n) & (place < n + N_NEXT)]
            recommended = rec.recommend_from_history(history, TOP_K, users=hidden_users)
            name = "popularity" if n == 0 and label == "none" else label
            runs[f"{name}, n = {n}"] = measure(test, recommended)
            if n == 0:
                runs[f"{name}, n = 0, all events"] = measure(cold_events, recommended)
    return runs


def all_users(data: Data, folder: Path, seed: int, validation: bool) -> RunsByLabel:
    """Find the last event of every user."""
    task = make_task("ml-100k", folder, validation)
    choices = {
        "none": {},
        "user features": {"users": data.users},
        "item features": {"items": data.items},
        "both": {"users": data.users, "items": data.items},
    }
    runs: RunsByLabel = {}
    for label, features in choices.items():
        rec = MINDRecommender(random_state=seed).fit(task.known, **features)
        runs[label] = measure(task.test, rec.recommend(task.test["user_id"], TOP_K))
    return runs


def table(seed_runs: list[RunsByLabel], pairs: list[tuple[str, str]]) -> list[str]:
    """Return mean ± standard deviation over the seeds, and the differences of pairs of rows."""
    lines = [f"| task, features | {' | '.join(METRICS)} |", f"|---|{'---:|' * len(METRICS)}"]
    for label in seed_runs[0]:
        means = pd.DataFrame([runs[label].user_metrics.mean() for runs in seed_runs])
        cells = [f"{means[name].mean():.4f} ± {means[name].std():.4f}" for name in METRICS]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines.append("")
    for label, other in pairs:
        label_runs = [runs[label] for runs in seed_runs]
        other_runs = [runs[other] for runs in seed_runs]
        parts = [f"{name} {difference(label_runs, other_runs, name)}" for name in METRICS]
        lines.append(f"- {label} minus {other}: {'; '.join(parts)}.")
    return lines


TABLES = (  # title, description, pairs of rows whose difference is tested
    (
        "New items",
        "A tenth of the items with at least five events is hidden, and each user's last event with "
        "one of the other items. New: all events with hidden items are to be found. Old: these "
        "last events are to be found. Similarity orders items by the cosine of the features of "
        "the item and of the user's history.",
        [
            ("new among new: model", "new among new: chance"),
            ("new among new: model", "new among new: similarity"),
            ("old among all: model", "old among old: model"),
        ],
    ),
    (
        "New users",
        "A fifth of the users is hidden. The first n events of a hidden user are the history. The "
        f"next {N_NEXT} events, or all events, are to be found among all items.",
        [(f"features, n = 0{which}", f"popularity, n = 0{which}") for which in ("", ", all events")]
        + [(f"features, n = {n}", f"none, n = {n}") for n in HISTORY_LENGTHS[1:]],
    ),
    (
        "All users",
        "The last event of every user is to be found among all items; all other events are known.",
        [(label, "none") for label in ("user features", "item features", "both")],
    ),
)


def report(folder: Path, validation: bool) -> str:
    """Return the whole document."""
    data = read(folder)
    seeds = VALIDATION_SEEDS if validation else TEST_SEEDS
    runs_by_table = (
        [cold_items(data, seed) for seed in seeds],
        [cold_users(data, seed) for seed in seeds],
        [all_users(data, folder, seed, validation) for seed in seeds],
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pandas"))
    lines = [
        "# Features for new and for all users and items",
        "",
        f"`python benchmarks/quality/cold.py --data DIR{' --validation' * validation}`, "
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}, one thread. "
        "MovieLens 100K; default parameters; item features: genres and decade; user features: "
        f"gender, occupation and decade of age. Mean ± standard deviation over the seeds {seeds}, "
        "each of which hides other items and users. Differences have a 95 % interval and are "
        "paired by user.",
    ]
    for (title, text, pairs), runs in zip(TABLES, runs_by_table, strict=True):
        lines += ["", f"## {title}", "", text, "", *table(runs, pairs)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--validation", action="store_true", help="use other parts, and only print")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        text = report(arguments.data, arguments.validation)
    print(text)
    if arguments.validation:
        return
    old_text = RESULT.read_text(encoding="utf-8") if RESULT.exists() else ""
    _, _, notes = old_text.partition(NOTES_TITLE)
    RESULT.write_text(text + (f"\n{NOTES_TITLE}{notes}" if notes else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
