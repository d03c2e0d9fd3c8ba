"""Recall by number of interests, and hits of each interest, on one data set.

    python benchmarks/quality/interests.py ml-100k --data DIR

Leave last out, default parameters, one seed. The result is appended to ``--output``.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import pandas as pd
import torch
from harness import DATASETS, load, publish, split_off_last

from skmind import MINDRecommender
from skmind.inspection import hits_by_interest, interest_curve, interest_diagnostics

SEED = 0


def table(frame: pd.DataFrame) -> str:
    """Return the frame as a Markdown table."""
    cells = frame.map(lambda value: f"{value:.4g}" if isinstance(value, float) else str(value))
    rows = [list(cells.columns), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def report(dataset: str, data: Path) -> str:
    """Return the curve, and diagnostics of the interests of the default model."""
    frame = load(dataset, data)
    curve = interest_curve(MINDRecommender(random_state=SEED), frame, metric="recall@50")
    known, test = split_off_last(frame)
    rec = MINDRecommender(random_state=SEED).fit(known)
    diagnostics = interest_diagnostics(rec)
    hits = hits_by_interest(rec, test, k=50).drop(columns="share_of_recommended")
    by_interest = diagnostics.usage.join(hits).reset_index()
    return "\n".join(
        [
            f"`python benchmarks/quality/interests.py {dataset} --data DIR`, "
            f"{datetime.date.today()}, seed {SEED}, one thread.",
            "",
            table(curve),
            "",
            "Defaults; the last columns count 50 recommendations per user: "
            f"{diagnostics.n_interests:.2f} interests per user, effective number "
            f"{diagnostics.effective_number:.2f}, mean cosine {diagnostics.mean_cosine:.2f}.",
            "",
            table(by_interest),
            "",
        ]
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--data", type=Path, help="folder that holds the data sets")
    parser.add_argument("--output", type=Path, help="file that the result is appended to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    publish(report(arguments.dataset, arguments.data), arguments.output)


if __name__ == "__main__":
    main()
