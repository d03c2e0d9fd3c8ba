"""Share of exact search's items that the calibrated indexes find, of trained and large catalogues.

    python benchmarks/quality/index_recall.py --data DIR [--epochs N] [--quick] [--output FILE]

DIR holds ``beauty/sequences.txt``, whose vectors are trained; beside them there are 300,000
generated items, the "loose" and "tight" ones of benchmarks/speed/index_crossover.py. The figures
are those of `index_recall`, on 256 users that the index was not calibrated on. --quick: one epoch
and fewer items, to see that it runs.
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

SEED, KS, N_ITEMS, N_USERS = 0, (10, 100), 300_000, 1_000


def rows(name: str, rec: MINDRecommender) -> Iterator[str]:
    """A row of the table for each index."""
    for asked in INDEXES[1:]:  # the first is exact search
        one, seconds = with_index(rec, asked)
        effort = one._model.plan.effort
        found = " | ".join(f"{one.index_recall(k):.3f}" for k in KS)
        cells = f"{one.index_} | {'' if effort is None else f'{effort:.3g}'} | {found}"
        yield f"| {name} | {len(one.items_):,} | {asked} | {cells} | {seconds:.1f} |"


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--epochs", type=int, default=3, help="of training on Beauty")
    parser.add_argument("--quick", action="store_true", help="little data, to see that it runs")
    parser.add_argument("--output", type=Path, help="write the table there, too")
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
one thread. Beauty: `{trained!r}`. The target of the calibration is 0.95; "exact" is used where an \
index would reach it only by visiting so much that it is no faster. Build: \
calibration included, processor time.

| vectors | items | index asked for | used | effort | recall@10 | recall@100 | build, s |
|---|---:|---|---|---:|---:|---:|---:|
{chr(10).join(table)}
"""
    if options.output and not options.quick:
        options.output.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
