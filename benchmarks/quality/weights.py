"""Ratings as weights on MovieLens 100K: leave last out, k = 10, all items ranked.

    python benchmarks/quality/weights.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. Each row of the table is one way to use the ratings
in ``fit``, with default parameters and seeds 0, 1 and 2. The metrics are those of all users, and
of the users who rate their last item with 4 or 5. Writes benchmarks/results/weights.md; the notes
at its end are kept.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from harness import Task, make_task, split_off_last
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.metrics import hit_rate_at_k, ndcg_at_k

NOTES_TITLE = "## Notes\n"  # the text below it is written by hand and kept
RESULT = Path(__file__).parents[1] / "results" / "weights.md"
TOP_K = 10
SEEDS = 0, 1, 2
LIKED = 4  # the lowest rating of an item that counts as liked
METRICS = {"HR@10": hit_rate_at_k, "NDCG@10": ndcg_at_k}
WEIGHTS = {
    "none": None,
    "rating / 5": lambda ratings: ratings / 5,
    "0 below 3, else 1": lambda ratings: (ratings >= 3) * 1.0,
    "0 below 4, else 1": lambda ratings: (ratings >= LIKED) * 1.0,
    "rows below 3 left out": "drop",
}
TABLE_HEAD = f"""\
| weight | {" | ".join(METRICS)} | {" | ".join(f"{name}, liked" for name in METRICS)} |
|---|{"---:|" * (2 * len(METRICS))}"""


def recommend(task: Task, how: object, seed: int, max_epochs: int) -> pd.DataFrame:
    """Return the recommendations of a model that is fitted with these weights."""
    known = task.known
    rec = MINDRecommender(random_state=seed, max_epochs=max_epochs)
    users = task.test["user_id"]
    if how == "drop":
        rec.fit(known[known["rating"] >= 3])
        rated = known.groupby("user_id")["item_id"].agg(list)
        return rec.recommend(users, TOP_K, exclude_items=rated.to_dict())
    weights = how(known["rating"]) if callable(how) else None
    return rec.fit(known, sample_weight=weights).recommend(users, TOP_K)


def measure(test: pd.DataFrame, recommended: pd.DataFrame) -> list[float]:
    """Return the metrics of all users, then of those who like their last item."""
    liked = test["user_id"][test["rating"] >= LIKED]
    values = [m(test, recommended, k=TOP_K, per_user=True) for m in METRICS.values()]
    return [value.mean() for value in values] + [value[liked].mean() for value in values]


def main() -> None:
    """Fit every row of the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--max-epochs", type=int, default=10)
    parser.add_argument("--validation", action="store_true", help="find the last event but one")
    arguments = parser.parse_args()
    task = make_task("ml-100k", arguments.data)
    if arguments.validation:
        rest, test = split_off_last(task.history)
        task = Task(rest, rest, test)
    lines = [TABLE_HEAD]
    with threadpool_limits(1):
        torch.set_num_threads(1)
        for label, how in WEIGHTS.items():
            runs = [
                measure(task.test, recommend(task, how, seed, arguments.max_epochs))
                for seed in SEEDS
            ]
            cells = [
                f"{mean:.4f} ± {deviation:.4f}".replace("0.", ".")
                for mean, deviation in zip(np.mean(runs, 0), np.std(runs, 0, ddof=1), strict=True)
            ]
            lines.append(f"| {label} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    if arguments.validation:
        return
    n_liked = int((task.test["rating"] >= LIKED).sum())
    head = (
        "# Ratings as weights\n\n`python benchmarks/quality/weights.py --data DIR`"
        f"{'' if arguments.max_epochs == 10 else f' with --max-epochs {arguments.max_epochs}'}, "
        f"{datetime.date.today()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {version('numpy')}, one thread. MovieLens 100K, leave last out, all items ranked, "
        f"{len(task.test)} users, of whom {n_liked} like the item to be found (rating of {LIKED} "
        f"or 5); default parameters, mean ± standard deviation over {len(SEEDS)} seeds.\n\n"
    )
    old = RESULT.read_text(encoding="utf-8") if RESULT.exists() else ""
    notes = NOTES_TITLE + old.partition(NOTES_TITLE)[2] if NOTES_TITLE in old else ""
    text = head + "\n".join(lines) + "\n" + (f"\n{notes}" if notes else "")
    RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
