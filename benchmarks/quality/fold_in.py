"""Accuracy for users who are not in fit (fold-in), on MovieLens 100K.

    python benchmarks/quality/fold_in.py --data DIR [--epochs 1]

DIR holds ``ml-100k/`` in GroupLens's layout. Each user's last event is to be found among all
items: once by a model fitted on the earlier events of all users (LeaveLastOut), and once by models
fitted on four fifths of the users that get the earlier events of the other users as a history
(UserKFold). Writes the table benchmarks/results/fold_in.md. --epochs is a quick check that writes
nothing.
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
N_FOLDS = 5
SEED = 0


def scores(rec: MINDRecommender, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the metrics of seen and unseen users, as means over folds of about equal size."""
    splitters = {
        "seen": LeaveLastOut(),
        "unseen": UserKFold(N_FOLDS, shuffle=True, random_state=SEED),
    }
    fold_scores = {
        name: pd.DataFrame(cross_validate(rec, frame, cv=cv, scoring=SCORER, error_score="raise"))
        for name, cv in splitters.items()
    }
    means = pd.DataFrame({name: table.mean() for name, table in fold_scores.items()})
    return means.filter(like="test_", axis=0)


def report(frame: pd.DataFrame, rec: MINDRecommender) -> str:
    """Return the whole document."""
    table = scores(rec, frame)
    n_users = frame["user_id"].nunique()
    rows = [
        f"| {name.removeprefix('test_')} | {row.seen:.4f} | {row.unseen:.4f} | "
        f"{row.unseen / row.seen:.3f} |"
        for name, row in table.iterrows()
    ]
    hit_rate = table.loc["test_hit_rate@10", "seen"]
    error = (hit_rate * (1 - hit_rate) / n_users) ** 0.5
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"""# Unseen users

`python benchmarks/quality/fold_in.py --data DIR`, {datetime.date.today()}, Python \
{platform.python_version()}, {versions}, one thread. MovieLens 100K, the last event of each of \
{n_users} users, `{rec!r}`. Seen: one fit on the earlier events of all users. Unseen: {N_FOLDS} \
fits, each on all events of four fifths of the users; the earlier events of the other users are \
only their history. The standard error of hit_rate@10 with {n_users} users is {error:.3f}.

| metric | seen | unseen | unseen / seen |
|---|---:|---:|---:|
{chr(10).join(rows)}
"""


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--epochs", type=int, help="quick check with few epochs; writes nothing")
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
