"""Accuracy of MINDRecommender on real data: leave last out, all items ranked, seen ones excluded.

    python benchmarks/quality.py ml-100k --data DIR
    python benchmarks/quality.py beauty --data DIR --seeds 0 1 2 --set n_interests=1

DIR holds ``ml-100k/`` and ``ml-1m/`` in GroupLens's layout, or ``beauty/sequences.txt`` (a line a
user: the user, then the items in time order) and ``ml-1m/train.tsv.gz`` with ``test.tsv``. The test
split finds each user's last event from all before; parameters are chosen on the validation split
only, which leaves the last event out altogether and finds the one before it. ``--strict`` is what
the published tables on beauty and ml-1m do: the event before the last is in the history that
recommending starts from, but was not trained on. Results are appended to ``--output`` as rows of a
Markdown table.
"""

from __future__ import annotations

import argparse
import ast
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.metrics import evaluate
from skmind.model_selection import LeaveLastOut

METRICS = ("hit_rate@10", "ndcg@10", "recall@50")


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


def split(frame: pd.DataFrame, validation: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and the event to find of each user."""
    rows, last = next(LeaveLastOut().split(frame))
    if not validation:
        return frame.iloc[rows], frame.iloc[last]
    return split(frame.iloc[rows], validation=False)


def popularity(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """The same metrics for the most frequent unseen items."""
    codes, items = pd.factorize(train["item_id"])
    users, ids = pd.factorize(train["user_id"])
    counts = np.bincount(codes)
    parts = []
    for start in range(0, len(ids), 1000):
        rows = (users >= start) & (users < start + 1000)
        scores = np.tile(counts, (len(ids[start : start + 1000]), 1))
        scores[users[rows] - start, codes[rows]] = -1
        parts.append(np.argsort(-scores, axis=1, kind="stable")[:, :50])
    order = np.concatenate(parts)
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(ids, 50),
            "item_id": items[order.ravel()],
            "rank": np.tile(np.arange(1, 51), len(ids)),
        }
    )
    return evaluate(test, frame, METRICS)


def run(
    train: pd.DataFrame, test: pd.DataFrame, seed: int, parameters: dict, strict: bool
) -> dict[str, float]:
    """Fit, recommend, measure."""
    known = split(train, validation=False)[0] if strict else train
    start = time.perf_counter()
    rec = MINDRecommender(random_state=seed, **parameters).fit(known)
    seconds = time.perf_counter() - start
    if strict:
        recommended = rec.recommend_from_history(train, k=50)
    else:
        recommended = rec.recommend(test["user_id"].unique(), k=50)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**evaluate(test, recommended, METRICS), "fit_s": seconds, "peak_MiB": peak}


def row(label: str, results: list[dict[str, float]]) -> str:
    """Mean ± standard deviation over the seeds, as a row of a table."""
    table = pd.DataFrame(results)
    cells = []
    for name in table:
        digits = 4 if "@" in name else 0
        mean, deviation = table[name].mean(), table[name].std()
        spread = f" ± {deviation:.{digits}f}" if len(table) > 1 and "@" in name else ""
        cells.append(f"{mean:.{digits}f}{spread}")
    return f"| {label} | " + " | ".join(cells) + " |"


def main() -> None:
    """Run every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=("ml-100k", "ml-1m", "beauty"))
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--validation", action="store_true", help="find the last event but one")
    parser.add_argument(
        "--strict", action="store_true", help="do not train on the last event but one"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="parameters")
    parser.add_argument("--output", type=Path, help="file that the rows are appended to")
    arguments = parser.parse_args()
    parameters = {}
    for assignment in arguments.set:
        name, value = assignment.split("=", 1)
        try:
            parameters[name] = ast.literal_eval(value)
        except ValueError:
            parameters[name] = value
    train, test = split(load(arguments.dataset, arguments.data), arguments.validation)
    part = "validation" if arguments.validation else "test"
    part += ", strict" if arguments.strict else ""
    settings = ", ".join(arguments.set) or "defaults"
    print("| data, model, seeds | HR@10 | NDCG@10 | Recall@50 | fit s | peak MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    base = popularity(train, test)
    cells = " | ".join(f"{value:.4f}" for value in base.values())
    lines = [f"| {arguments.dataset} {part}, popularity | {cells} | | |"]
    print(lines[0], flush=True)
    results = [run(train, test, s, parameters, arguments.strict) for s in arguments.seeds]
    seeds = " ".join(map(str, arguments.seeds))
    lines.append(row(f"{arguments.dataset} {part}, skmind ({settings}), {seeds}", results))
    print(lines[1])
    if arguments.output:
        with arguments.output.open("a") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
