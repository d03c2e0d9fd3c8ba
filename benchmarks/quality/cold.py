"""What features are worth on MovieLens 100K: for new items, for new users, for everybody.

    python benchmarks/quality/cold.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. The features are the items' genres and decade of
release, and the users' gender, occupation and decade of age. One random order cuts the items with
five events or more into ten parts and the users into five. Each seed hides a part of its own; with
``--validation`` the parts are other ones, and what everybody did last but one is to be found, the
last event left out. Writes benchmarks/results/cold.md, but for the notes at its end.
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
from harness import Run, difference, make_task, without_last
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.metrics import hit_rate_at_k, ndcg_at_k, recall_at_k

NOTES = "## Notes\n"  # what follows is written by hand and stays
RESULT = Path(__file__).parents[1] / "results" / "cold.md"
K, SEEDS, VALIDATION_SEEDS = 10, (0, 1, 2), (3, 4)
ITEM_PARTS, USER_PARTS, LEAST_EVENTS = 10, 5, 5
N_KNOWN, N_NEXT = (0, 1, 2, 5), 5
METRICS = {"Recall@10": recall_at_k, "HR@10": hit_rate_at_k, "NDCG@10": ndcg_at_k}
Found = dict[str, Run]  # by the label of the row


class Data(NamedTuple):
    """Events in the order of time, and features by id."""

    events: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame


def read(folder: Path) -> Data:
    """MovieLens 100K with the features used here."""
    made = fetch_movielens("100k", data_home=folder)
    events, users, items = made.interactions, made.user_table, made.item_table
    decade = (users["age"] // 10 * 10).astype(str)
    users = users[["user_id", "gender", "occupation"]].assign(age=decade)
    years = items["year"] // 10 * 10
    items = items[["item_id", "genres"]].assign(decade=years.map("{:.0f}".format, "ignore"))
    return Data(events.sort_values("timestamp", kind="stable"), users, items)


def part(ids: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """The part of ``ids`` that a seed hides."""
    return np.array_split(np.random.default_rng(0).permutation(np.sort(ids)), n_parts)[seed]


def measured(test: pd.DataFrame, recommended: pd.DataFrame) -> Run:
    """Metrics of each user."""
    values = {name: of(test, recommended, k=K, per_user=True) for name, of in METRICS.items()}
    return Run(pd.DataFrame(values), np.zeros(2), 0.0)


def ranked(users: np.ndarray, items: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """The ``K`` items with the highest scores (n_users, n_items), as `recommend` returns them."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    ranks = np.tile(np.arange(1, K + 1), len(users))
    columns = {"user_id": np.repeat(users, K), "item_id": items[best].ravel(), "rank": ranks}
    return pd.DataFrame(columns)


def cosines(data: Data, known: pd.DataFrame, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Cosine of the features of the items and the sum of those of what each user did."""
    table = data.items.set_index("item_id")
    parts = table["genres"].str.join("|").str.get_dummies(), pd.get_dummies(table["decade"])
    values = pd.DataFrame(np.hstack([normalize(part) for part in parts]), table.index)
    of_events = values.loc[known["item_id"]].set_axis(known["user_id"].to_numpy())
    tastes = of_events.groupby(level=0).sum().loc[users]
    return normalize(tastes) @ normalize(values.loc[items]).T


def cold_items(data: Data, seed: int) -> Found:
    """Find the events of a tenth of the items, none of which was seen in training."""
    counts = data.events["item_id"].value_counts()
    hidden = part(counts.index[counts >= LEAST_EVENTS].to_numpy(), ITEM_PARTS, seed)
    is_cold = data.events["item_id"].isin(hidden)
    (known, last), test = without_last(data.events[~is_cold]), data.events[is_cold]
    users = last["user_id"].to_numpy()
    rec = MINDRecommender(random_state=seed).fit(known, items=data.items)
    chance = np.random.default_rng(seed).random((len(users), len(hidden)))
    likeness = cosines(data, known, users, hidden)
    among_all = rec.recommend(users, K)
    return {
        "new among new: chance": measured(test, ranked(users, hidden, chance)),
        "new among new: likeness": measured(test, ranked(users, hidden, likeness)),
        "new among new: model": measured(test, rec.recommend(users, K, items=hidden)),
        "new among all: model": measured(test, among_all),
        "old among all: model": measured(last, among_all),
        "old among old: model": measured(last, rec.recommend(users, K, exclude_items=hidden)),
    }


def cold_users(data: Data, seed: int) -> Found:
    """Find the next events of a fifth of the users, who were not in training."""
    hidden = part(data.events["user_id"].unique(), USER_PARTS, seed)
    is_cold = data.events["user_id"].isin(hidden)
    known, rest = data.events[~is_cold], data.events[is_cold]
    place = rest.groupby("user_id").cumcount()
    table = data.users[data.users["user_id"].isin(hidden)]
    found: Found = {}
    for label, features in {"none": None, "features": data.users}.items():
        seen = None if features is None else features[~features["user_id"].isin(hidden)]
        rec = MINDRecommender(random_state=seed).fit(known, users=seen)
        for n in N_KNOWN:
            history = {user: [] for user in hidden.tolist()}
            history |= rest[place < n].groupby("user_id")["item_id"].agg(list).to_dict()
            test = rest[(place >= n) & (place < n + N_NEXT)]
            given = None if features is None else table
            answer = rec.recommend_from_history(history, K, users=given)
            name = "popularity" if not n and features is None else label
            found[f"{name}, n = {n}"] = measured(test, answer)
            if not n:
                found[f"{name}, n = 0, all events"] = measured(rest, answer)
    return found


def everybody(data: Data, folder: Path, seed: int, validation: bool) -> Found:
    """Find everybody's last event."""
    task = make_task("ml-100k", folder, validation)
    choices = {
        "none": {},
        "user features": {"users": data.users},
        "item features": {"items": data.items},
        "both": {"users": data.users, "items": data.items},
    }
    found: Found = {}
    for label, features in choices.items():
        rec = MINDRecommender(random_state=seed).fit(task.known, **features)
        found[label] = measured(task.test, rec.recommend(task.test["user_id"], K))
    return found


def table(every: list[Found], pairs: list[tuple[str, str]]) -> list[str]:
    """Mean ± standard deviation over the seeds, and the differences of pairs of rows."""
    lines = [f"| task, features | {' | '.join(METRICS)} |", f"|---|{'---:|' * len(METRICS)}"]
    for label in every[0]:
        means = pd.DataFrame([found[label].users.mean() for found in every])
        cells = [f"{means[name].mean():.4f} ± {means[name].std():.4f}" for name in METRICS]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines.append("")
    for pair in pairs:
        runs = [[found[label] for found in every] for label in pair]
        parts = [f"{name} {difference(*runs, name)}" for name in METRICS]
        lines.append(f"- {pair[0]} less {pair[1]}: {'; '.join(parts)}.")
    return lines


TABLES = (  # title, what is compared, and the rows whose difference is tested
    (
        "New items",
        "A tenth of the items (of those with five events or more) is hidden, and so is the last "
        "event of everybody with the others. New: all events with hidden items are to be found; "
        "old: these last events. Likeness orders by the cosine of the features of the item and "
        "of the user's history.",
        [
            ("new among new: model", "new among new: chance"),
            ("new among new: model", "new among new: likeness"),
            ("old among all: model", "old among old: model"),
        ],
    ),
    (
        "New users",
        f"A fifth of the users is hidden. Of each the first n events are the history and the "
        f"{N_NEXT} after them, or all events, are to be found among all items.",
        [(f"features, n = 0{which}", f"popularity, n = 0{which}") for which in ("", ", all events")]
        + [(f"features, n = {n}", f"none, n = {n}") for n in N_KNOWN[1:]],
    ),
    (
        "Everybody",
        "The last event of every user is to be found among all items; everything else is known.",
        [(label, "none") for label in ("user features", "item features", "both")],
    ),
)


def report(folder: Path, validation: bool) -> str:
    """The whole document."""
    data, seeds = read(folder), VALIDATION_SEEDS if validation else SEEDS
    every: tuple[list[Found], ...] = ([], [], [])
    for seed in seeds:
        every[0].append(cold_items(data, seed))
        every[1].append(cold_users(data, seed))
        every[2].append(everybody(data, folder, seed, validation))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "pandas"))
    lines = [
        "# Features, for the new and for everybody",
        "",
        f"`python benchmarks/quality/cold.py --data DIR{' --validation' * validation}`, "
        f"{datetime.date.today()}, Python {platform.python_version()}, {versions}, one thread. "
        "MovieLens 100K; default parameters; item features: genres and decade; user features: "
        f"gender, occupation and decade of age. Mean ± standard deviation over the seeds {seeds}, "
        "each of which hides other items and users; differences with their 95 % interval, paired "
        "by user.",
    ]
    for (title, text, pairs), found in zip(TABLES, every, strict=True):
        lines += ["", f"## {title}", "", text, "", *table(found, pairs)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--validation", action="store_true", help="other parts; only print")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        text = report(arguments.data, arguments.validation)
    print(text)
    if arguments.validation:
        return
    notes = RESULT.read_text(encoding="utf-8").partition(NOTES)[2] if RESULT.exists() else ""
    RESULT.write_text(text + (f"\n{NOTES}{notes}" if notes else ""), encoding="utf-8")


if __name__ == "__main__":
    main()
