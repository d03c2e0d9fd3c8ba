"""Compare orders of rows in tables without exact times.

    python benchmarks/quality/ties.py --data DIR

DIR holds ``ml-100k/`` in GroupLens's layout. Five random events per user are held out. The rest is
fitted with its true times, with the day only, and without times, each in rows that are sorted by
item and in shuffled rows. The metric is the share of the held-out events among ten recommendations
per user. With ``tie_order="rows"`` the order of the rows is the order in time, as it was before
``tie_order`` existed. Writes benchmarks/results/ties.md; the notes at its end are kept.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens
from skmind.exceptions import TiedTimesWarning

NOTES_TITLE = "## Notes\n"  # the text below it is written by hand and kept
RESULT = Path(__file__).parents[1] / "results" / "ties.md"
SEEDS = 0, 1, 2
N_HELD_OUT = 5  # events per user
TOP_K = 10
TIMES = ("true", "day", "none")
ORDERS = ("sorted by item", "shuffled")


def make_table(train: pd.DataFrame, times: str, order: str, seed: int) -> pd.DataFrame:
    """Return the training events with these times, their rows in this order."""
    if times == "day":
        days = pd.to_datetime(train["timestamp"], unit="s").dt.floor("D")
        train = train.assign(timestamp=days)
    if order == "shuffled":
        return train.sample(frac=1, random_state=seed)
    return train.sort_values("item_id", kind="stable")


def share_found(recommended: pd.DataFrame, held_out: pd.DataFrame) -> float:
    """Return the share of the held-out events that are recommended to their user."""
    return len(held_out.merge(recommended, on=["user_id", "item_id"])) / len(held_out)


def main() -> None:
    """Fit every table with every seed, and write the table of results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data", help="folder that holds ml-100k/")
    parser.add_argument("--max-epochs", type=int, default=10, help="epochs of each fit")
    options = parser.parse_args()
    warnings.simplefilter("ignore", TiedTimesWarning)
    log = fetch_movielens("100k", data_home=options.data).interactions
    log = log[["user_id", "item_id", "timestamp"]]
    held_out = log.groupby("user_id").sample(N_HELD_OUT, random_state=0)
    train = log.drop(held_out.index)
    users = held_out["user_id"].unique()
    popular = train["item_id"].value_counts()
    lines = [
        "# Equal times and the order of rows",
        "",
        f"`python benchmarks/quality/ties.py`: MovieLens 100K, {N_HELD_OUT} random events per user "
        f"held out, share found in {TOP_K} recommendations; mean and standard deviation of the "
        f"seeds {', '.join(map(str, SEEDS))}; {options.max_epochs} epochs.",
        "",
        '| times | rows | `tie_order="auto"` | `tie_order="rows"` |',
        "|---|---|---:|---:|",
    ]
    for times in TIMES:
        for order in ORDERS:
            cells = []
            for tie_order in ("auto", "rows"):
                shares = []
                for seed in SEEDS:
                    rec = MINDRecommender(
                        time_col=None if times == "none" else "timestamp",
                        tie_order=tie_order,
                        max_epochs=options.max_epochs,
                        random_state=seed,
                    ).fit(make_table(train, times, order, seed))
                    shares.append(share_found(rec.recommend(users, TOP_K), held_out))
                cells.append(f"{np.mean(shares):.4f} ± {np.std(shares, ddof=1):.4f}")
            lines.append(f"| {times} | {order} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    seen = train.groupby("user_id")["item_id"].agg(set)
    pairs = [
        (user, item)
        for user in users
        for item in [item for item in popular.index if item not in seen[user]][:TOP_K]
    ]
    share = share_found(pd.DataFrame(pairs, columns=["user_id", "item_id"]), held_out)
    lines += ["", f"Most frequent items that the user has not seen: {share:.4f}."]
    print(lines[-1])
    old = RESULT.read_text(encoding="utf-8") if RESULT.exists() else ""
    notes = f"\n{NOTES_TITLE}{old.partition(NOTES_TITLE)[2]}" if NOTES_TITLE in old else ""
    RESULT.write_text("\n".join(lines) + "\n" + notes, encoding="utf-8")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
