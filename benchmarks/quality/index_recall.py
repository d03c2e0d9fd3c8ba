"""Recall of the calibrated indexes, on trained item vectors and on large generated catalogues.

    python benchmarks/quality/index_recall.py --data DIR [--epochs N] [--quick] [--output FILE]

DIR holds ``beauty/sequences.txt``, on which item vectors are trained. The generated catalogues are
the "loose" and "tight" ones of benchmarks/speed/index_crossover.py with 300,000 items. The figures
come from `index_recall`, on 256 users that the calibration did not use. --quick: a quick check with
one epoch and fewer items.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from harness import load
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender

sys.path.append(str(Path(__file__).parents[1] / "speed"))
from recommend import INDEXES, planted, with_index

SEED = 0
RECALL_KS = (10, 100)
N_ITEMS = 300_000
N_USERS = 1_000


def rows(name: str, rec: MINDRecommender) -> Iterator[str]:
    """Yield one row of the table for each approximate index."""
    for index in INDEXES[1:]:  # the first is exact search
        indexed, seconds = with_index(rec, index)
        effort = indexed._model.plan.effort
        recalls = " | ".join(f"{indexed.index_recall(k):.3f}" for k in RECALL_KS)
        cells = f"{indexed.index_} | {'' if effort is None else f'{effort:.3g}'} | {recalls}"
        yield f"| {name} | {len(indexed.items_):,} | {index} | {cells} | {seconds:.1f} |"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of training on Beauty")
    parser.add_argument("--quick", action="store_true", help="quick check with little data")
    parser.add_argument("--output", type=Path, help="file that the table is also written to")
    options = parser.parse_args()
    epochs = 1 if options.quick else options.epochs
    torch.set_num_threads(1)
    with threadpool_limits(1):
        trained = MINDRecommender(index="exact", max_epochs=epochs, random_state=SEED)
        table = list(rows("trained on Beauty", trained.fit(load("beauty", options.data))))
        for clusters in ("loose", "tight"):
            rec = planted(20_000 if options.quick else N_ITEMS, N_USERS, clusters)
            table += rows(f"generated, {clusters} clusters", rec)
    libraries = ("torch", "numpy", "annoy", *(["faiss-cpu"] * ("faiss" in INDEXES)))
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    text = f"""# Recall of the calibrated indexes

`python benchmarks/quality/index_recall.py --data DIR --epochs {epochs}`, \
{datetime.date.today()}, Python {platform.python_version()}, {versions}, {platform.machine()}, \
one thread. Beauty: `{trained!r}`. The target of the calibration is 0.95. "exact" is used where an \
index would have to visit so many items to reach it that it would not be faster. Build: processor \
time, with calibration.

| vectors | items | requested index | used index | effort | recall@10 | recall@100 | build, s |
|---|---:|---|---|---:|---:|---:|---:|
{chr(10).join(table)}
"""
    if options.output and not options.quick:
        options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
