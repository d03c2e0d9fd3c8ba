"""Accuracy and time of partial_fit compared with a new fit, on MovieLens 100K.

    python benchmarks/quality/growth.py --data DIR [--quick] [--output FILE]

DIR holds ``ml-100k/`` in GroupLens's layout. One model is fitted on the first 80 % of the events in
time order, and learns the next four slices of 5 % by partial_fit, one after the other. For
comparison, another model is fitted on all events up to the end of each slice. After each slice,
both models predict every event of the next 5 % among all items, from the user's earlier events;
events without earlier events or with an unknown item are left out. No events follow the last slice,
so it is timed but not scored. Figures are means over three seeds; the ratio of the scores also has
its minimum and maximum. --quick: a quick check with one epoch on the first 10,000 events.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import load
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.metrics import ndcg_at_k

SEEDS = range(3)
FIRST_SHARE = 0.8
SLICE_SHARE = 0.05
N_SLICES = 4


def make_queries(
    known: pd.DataFrame, later: pd.DataFrame, items: np.ndarray
) -> tuple[dict, pd.DataFrame]:
    """Return the history before each event of ``later`` and its item, both by event number."""
    events = pd.concat([known, later])
    event_items = events["item_id"].to_numpy()
    numbers = pd.Series(np.arange(len(events)))
    histories = {}
    targets = []
    for _, user_numbers in numbers.groupby(events["user_id"].to_numpy()):
        user_items = event_items[user_numbers.to_numpy()]
        for i, number in enumerate(user_numbers.tolist()):
            if i > 0 and number >= len(known):
                histories[number] = user_items[:i].tolist()
                targets.append((number, user_items[i]))
    test = pd.DataFrame(targets, columns=["user_id", "item_id"])
    test = test[test["item_id"].isin(items)]
    return {number: histories[number] for number in test["user_id"].tolist()}, test


def ndcg(rec: MINDRecommender, histories: dict, test: pd.DataFrame) -> float:
    """Return the mean NDCG@10 over the events."""
    return float(ndcg_at_k(test, rec.recommend_from_history(histories, k=10), k=10))


def seconds_of(function: Callable[..., Any], *arguments: Any) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measure_slices(frame: pd.DataFrame, rec: MINDRecommender, n_epochs: int) -> np.ndarray:
    """Return one row per slice: events, NDCG of partial_fit and fit, seconds of both."""
    ends = [int(len(frame) * (FIRST_SHARE + SLICE_SHARE * i)) for i in range(N_SLICES + 1)]
    grown = MINDRecommender(**rec.get_params()).fit(frame.iloc[: ends[0]])
    rows = []
    for start, end in pairwise(ends):
        partial_fit = partial(grown.partial_fit, n_epochs=n_epochs)
        partial_fit_seconds = seconds_of(partial_fit, frame.iloc[start:end])
        refitted = MINDRecommender(**rec.get_params())
        fit_seconds = seconds_of(refitted.fit, frame.iloc[:end])
        later = frame.iloc[end : end + ends[1] - ends[0]]
        scores = [0, np.nan, np.nan]
        if len(later) > 1:  # rounding may leave one event
            histories, test = make_queries(frame.iloc[:end], later, refitted.items_)
            scores = [len(test), ndcg(grown, histories, test), ndcg(refitted, histories, test)]
        rows.append([*scores, partial_fit_seconds, fit_seconds])
    return np.array(rows)


def table_rows(frame: pd.DataFrame, rec: MINDRecommender, n_epochs: int) -> list[str]:
    """Return one row of the table for each slice."""
    frame = frame.sort_values("timestamp", kind="stable")
    runs = np.stack(
        [measure_slices(frame, rec.set_params(random_state=seed), n_epochs) for seed in SEEDS]
    )
    lines = []
    for i, (n_events, grown, refitted, partial_fit_seconds, fit_seconds) in enumerate(runs.mean(0)):
        scores = "| | | | "
        if n_events:
            ratios = runs[:, i, 1] / runs[:, i, 2]
            ratio = f"{grown / refitted:.3f} ({ratios.min():.3f} to {ratios.max():.3f})"
            scores = f"| {n_events:.0f} | {grown:.4f} | {refitted:.4f} | {ratio} "
        seconds_ratio = f"{partial_fit_seconds / fit_seconds:.3f}"
        times = f"| {partial_fit_seconds:.1f} | {fit_seconds:.1f} | {seconds_ratio} |"
        lines.append(f"| {FIRST_SHARE + SLICE_SHARE * (i + 1):.0%} {scores}{times}")
    return lines


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds the data set")
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each partial_fit")
    parser.add_argument("--quick", action="store_true", help="quick check with little data")
    parser.add_argument("--output", type=Path, help="file that the table is also written to")
    arguments = parser.parse_args()
    frame = load("ml-100k", arguments.data)
    rec = MINDRecommender()
    if arguments.quick:
        frame = frame.sort_values("timestamp", kind="stable").head(10_000)
        rec.set_params(max_epochs=1)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        table = table_rows(frame, rec, arguments.epochs)
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    text = f"""# Growing data

`python benchmarks/quality/growth.py --data DIR --epochs {arguments.epochs}`, \
{datetime.date.today()}, Python {platform.python_version()}, {versions}, one thread. \
MovieLens 100K by time, `MINDRecommender()`, means over {len(SEEDS)} seeds. The model is fitted on \
the first 80 % and then learns slices of 5 % by `partial_fit(n_epochs={arguments.epochs})`, one \
after the other; for comparison, another model is fitted on all events so far. NDCG@10 of each \
event of the next slice, predicted from the user's earlier events.

| known | events | partial_fit | fit | ratio | partial_fit, s | fit, s | ratio |
|---|---:|---:|---:|---:|---:|---:|---:|
{chr(10).join(table)}
"""
    if arguments.output and not arguments.quick:
        arguments.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
