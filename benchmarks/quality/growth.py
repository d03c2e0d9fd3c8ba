"""What partial_fit reaches beside fitting again, and in what time, on MovieLens 100K.

    python benchmarks/quality/growth.py --data DIR [--quick] [--output FILE]

DIR holds ``ml-100k/`` in GroupLens's layout. The first 80 % of the events, by time, are fitted; the
four slices of 5 % that follow are learned by partial_fit, one after the other, and beside it by a
fit of everything so far. After each slice every event of the next 5 % is to be found among all
items, from what its user did before it, by both models; events without a past or with an item that
is not known yet are left out. After the last slice no events are left: it is timed, not scored.
Figures are means over three seeds, and the least and greatest of what partial_fit reaches.
--quick: one epoch, of the first 10,000 events, to see that it runs.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import load
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.metrics import ndcg_at_k

SEEDS, FIRST, SLICE, N_SLICES = range(3), 0.8, 0.05, 4


def tasks(known: pd.DataFrame, later: pd.DataFrame, items: np.ndarray) -> tuple[dict, pd.DataFrame]:
    """Histories by number of the event that is to be found, and these events."""
    both = pd.concat([known, later])
    number = np.arange(len(both))
    histories, targets = {}, []
    for _, rows in pd.Series(number).groupby(both["user_id"].to_numpy()):
        places, events = rows.to_numpy(), both["item_id"].to_numpy()[rows]
        for i in np.flatnonzero(places >= len(known)):
            if i:
                histories[int(places[i])] = events[:i].tolist()
                targets.append((int(places[i]), events[i]))
    test = pd.DataFrame(targets, columns=["user_id", "item_id"])
    test = test[test["item_id"].isin(items)]
    return {key: histories[key] for key in test["user_id"].tolist()}, test


def ndcg(rec: MINDRecommender, histories: dict, test: pd.DataFrame) -> float:
    """Mean over the events."""
    return float(ndcg_at_k(test, rec.recommend_from_history(histories, k=10), k=10))


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def chain(frame: pd.DataFrame, rec: MINDRecommender, n_epochs: int) -> np.ndarray:
    """A row for each slice: events, NDCG and seconds of partial_fit, and of a fit."""
    ends = [int(len(frame) * (FIRST + SLICE * i)) for i in range(N_SLICES + 1)]
    grown = MINDRecommender(**rec.get_params()).fit(frame.iloc[: ends[0]])
    found = []
    for before, end in zip(ends, ends[1:], strict=False):
        seconds = timed(partial(grown.partial_fit, n_epochs=n_epochs), frame.iloc[before:end])
        again = MINDRecommender(**rec.get_params())
        refit = timed(again.fit, frame.iloc[:end])
        later = frame.iloc[end : end + ends[1] - ends[0]]
        scores = [0, np.nan, np.nan]
        if len(later) > 1:  # rounding may leave one
            asked = tasks(frame.iloc[:end], later, again.items_)
            scores = [len(asked[1]), ndcg(grown, *asked), ndcg(again, *asked)]
        found.append([*scores, seconds, refit])
    return np.array(found)


def rows(frame: pd.DataFrame, rec: MINDRecommender, n_epochs: int) -> list[str]:
    """A row of the table for each slice."""
    frame, lines = frame.sort_values("timestamp", kind="stable"), []
    runs = np.stack([chain(frame, rec.set_params(random_state=s), n_epochs) for s in SEEDS])
    for i, (n, mine, theirs, seconds, refit) in enumerate(runs.mean(0)):
        cells = "| | | | "
        if n:
            each = runs[:, i, 1] / runs[:, i, 2]
            share = f"{mine / theirs:.3f} ({each.min():.3f} to {each.max():.3f})"
            cells = f"| {n:.0f} | {mine:.4f} | {theirs:.4f} | {share} "
        times = f"| {seconds:.1f} | {refit:.1f} | {seconds / refit:.3f} |"
        lines.append(f"| {FIRST + SLICE * (i + 1):.0%} {cells}{times}")
    return lines


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--epochs", type=int, default=1, help="of partial_fit")
    parser.add_argument("--quick", action="store_true", help="little data, to see that it runs")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    arguments = parser.parse_args()
    frame, rec = load("ml-100k", arguments.data), MINDRecommender()
    if arguments.quick:
        frame = frame.sort_values("timestamp", kind="stable").head(10_000)
        rec.set_params(max_epochs=1)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        table = rows(frame, rec, arguments.epochs)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    text = f"""# Growing data

`python benchmarks/quality/growth.py --data DIR --epochs {arguments.epochs}`, \
{datetime.date.today()}, Python {platform.python_version()}, {versions}, one thread. \
MovieLens 100K by time, `MINDRecommender()`, means over {len(SEEDS)} seeds: the first 80 % \
fitted, then slices of 5 % learned by `partial_fit(n_epochs={arguments.epochs})`, one after the \
other, beside a fit of everything so far. NDCG@10 of each event of the next slice, from \
what its user did before it.

| known | events | partial_fit | fit | of it | partial_fit s | fit s | of it |
|---|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(table)}
"""
    if arguments.output and not arguments.quick:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
