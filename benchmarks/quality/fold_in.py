"""How well people are served who were not in fit, on MovieLens 100K.

    python benchmarks/quality/fold_in.py --data DIR [--epochs 1]

DIR holds ``ml-100k/`` in GroupLens's layout. Everybody's last event is to be found among all items,
once by a model that was fitted on the person's earlier events (LeaveLastOut), and once by models
that were fitted on four fifths of the people and get the earlier events of the others as a history
(UserKFold, fold-in). Writes the table benchmarks/results/fold_in.md; with --epochs, which is to see
that it runs, nothing.
"""

from __future__ import annotations

import argparse
import datetime
import platform
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from harness import load
from sklearn.model_selection import cross_validate
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.model_selection import LeaveLastOut, UserKFold
from skmind.scoring import make_ranking_scorer

RESULT = Path(__file__).parents[1] / "results" / "fold_in.md"
SCORER = make_ranking_scorer(["hit_rate", "ndcg"], k=10)
N_FOLDS, SEED = 5, 0


def scores(rec: MINDRecommender, frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over the folds, which have as many people each but for one, of both ways."""
    ways = {
        "seen": LeaveLastOut(),
        "unseen": UserKFold(N_FOLDS, shuffle=True, random_state=SEED),
    }
    found = {
        way: pd.DataFrame(cross_validate(rec, frame, cv=cv, scoring=SCORER, error_score="raise"))
        for way, cv in ways.items()
    }
    return pd.DataFrame({way: table.mean() for way, table in found.items()}).filter(
        like="test_", axis=0
    )


def report(frame: pd.DataFrame, rec: MINDRecommender) -> str:
    """The whole document."""
    table, n = scores(rec, frame), frame["user_id"].nunique()
    rows = [
        f"| {name.removeprefix('test_')} | {row.seen:.4f} | {row.unseen:.4f} | "
        f"{row.unseen / row.seen:.3f} |"
        for name, row in table.iterrows()
    ]
    hits = table.loc["test_hit_rate@10", "seen"]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"""# Unseen users

`python benchmarks/quality/fold_in.py --data DIR`, {datetime.date.today()}, Python \
{platform.python_version()}, {versions}, one thread. MovieLens 100K, the last event of each of \
{n} users, `{rec!r}`. Seen: one fit on everybody's earlier events. Unseen: {N_FOLDS} fits, each on \
all events of four fifths of the users; the others' earlier events are only their history. The \
standard error of hit_rate@10 with so many users is {(hits * (1 - hits) / n) ** 0.5:.3f}.

| metric | seen | unseen | unseen / seen |
|---|---:|---:|---:|
{chr(10).join(rows)}
"""


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--epochs", type=int, help="fewer, to see that it runs; writes nothing")
    arguments = parser.parse_args()
    rec = MINDRecommender(random_state=SEED)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if arguments.epochs:
            rec.set_params(max_epochs=arguments.epochs)
        text = report(load("ml-100k", arguments.data), rec)
    if not arguments.epochs:
        RESULT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
