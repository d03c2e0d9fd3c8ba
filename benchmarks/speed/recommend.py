"""Users a second of `recommend`, against bare products and top-k of the same vectors.

    python benchmarks/speed/recommend.py [--quick] [--output FILE]

Prints a table and writes it to FILE; with --quick a small one, which is not written. Item vectors
are the "loose" and "tight" ones of index_crossover.py, set in a model in place of trained ones;
every user's history is twenty items, mostly of four clusters. "Bare" is what a matrix library gives
in a few lines, for blocks of users: the product of interests and items, the maximum over the
interests, top-k; the fastest of numpy and torch and of several sizes of the block, without leaving
out what was seen. All are measured in turn, in one run on one thread, by medians of processor time.
Recall is what `index_recall` tells.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from index_crossover import N_HISTORY, SEED, SPREADS, D, K, catalogue, neighbours
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.exceptions import ExactSearchWarning

CASES = ((3_000, 10_000), (100_000, 10_000), (300_000, 1_000), (1_000_000, 1_000))  # items, users
QUICK = ((3_000, 500), (20_000, 200))
TOP, TURNS = 100, 3
ROWS = (4, 16, 64, 256)  # users a block of the bare search
INDEXES = ("exact", "annoy", *(["faiss"] * bool(find_spec("faiss"))))


class Row(NamedTuple):
    """A row of the table."""

    clusters: str
    n_items: int
    asked: str
    used: str
    build: float
    recalls: tuple[float, float]
    users: float
    bare: float
    exact: float

    def __str__(self) -> str:
        cells = [
            self.clusters,
            f"{self.n_items:,}",
            self.asked + ("" if self.asked == self.used else f" → {self.used}"),
            f"{self.build:.1f}",
            *(f"{recall:.3f}" for recall in self.recalls),
            f"{self.users:,.0f}",
            f"{self.users / self.bare:.2f}",
            f"{self.users / self.exact:.2f}",
        ]
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| vectors | items | index | build and calibrate, s | recall@10 | recall@100 | users/s "
    f"| ÷ bare | ÷ exact |\n|---|---:|---|{'---:|' * 6}"
)


def planted(n_items: int, n_users: int, clusters: str) -> MINDRecommender:
    """A fitted model with generated item vectors, whose interests are means of history items."""
    vectors, cluster = catalogue(n_items, SPREADS[clusters])
    histories = neighbours(cluster, n_users)
    X = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), K * N_HISTORY),
            "item_id": histories.ravel(),
            "timestamp": np.tile(np.arange(K * N_HISTORY), n_users),
        }
    )
    rec = MINDRecommender(
        n_interests=K, embedding_dim=D, n_encoder_layers=0, index="exact", random_state=SEED,
        max_epochs=1, batch_size=len(X), n_negatives=1,
    )  # fmt: skip
    rec.fit(X, items=pd.DataFrame({"item_id": np.arange(n_items)}))
    weights = rec._model.weights
    weights["item_embedding"], weights["bilinear"] = vectors, np.eye(D, dtype=np.float32)
    rec.item_embeddings_ = vectors
    return copy.deepcopy(rec)  # builds the network and the index anew


def with_index(rec: MINDRecommender, index: str) -> tuple[MINDRecommender, float]:
    """The same model with another index, and the seconds that building and calibrating took."""
    rec = copy.deepcopy(rec).set_params(index=index)
    rec._ready()
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExactSearchWarning)  # the row says it
        rec._plan_index()
    return rec, time.process_time() - start


def bare_numpy(queries: np.ndarray, items: np.ndarray, rows: int) -> None:
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        scores = (block.reshape(-1, D) @ items.T).reshape(len(block), K, -1).max(1)
        best = np.argpartition(scores, -TOP, axis=1)[:, -TOP:]
        values = np.take_along_axis(scores, best, axis=1)
        np.take_along_axis(best, np.argsort(-values, axis=1), axis=1)


def bare_torch(queries: np.ndarray, items: np.ndarray, rows: int) -> None:
    q, v = torch.from_numpy(queries), torch.from_numpy(items)
    for block in q.split(rows):
        (block.reshape(-1, D) @ v.T).reshape(len(block), K, -1).amax(1).topk(TOP)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def fastest_bare(queries: np.ndarray, items: np.ndarray) -> Callable[[], None]:
    some = queries[: max(ROWS)]
    ways = [
        partial(way, items=items, rows=rows) for way in (bare_numpy, bare_torch) for rows in ROWS
    ]
    best = min(ways, key=lambda way: min(seconds(partial(way, some)) for _ in range(2)))
    print(f"bare: {best.func.__name__} by {best.keywords['rows']} users", flush=True)
    return partial(best, queries)


def measure(clusters: str, n_items: int, n_users: int) -> Iterator[Row]:
    """Rows of one catalogue."""
    rec = planted(n_items, n_users, clusters)
    built = {index: with_index(rec, index) for index in INDEXES}
    bare = fastest_bare(rec.interests(rec.users_), rec.item_embeddings_)
    ways = {index: partial(one.recommend, k=TOP) for index, (one, _) in built.items()}
    turns = [
        {name: seconds(way) for name, way in {"bare": bare, **ways}.items()} for _ in range(TURNS)
    ]
    speed = {name: n_users / statistics.median(turn[name] for turn in turns) for name in turns[0]}
    for index, (one, build) in built.items():
        recalls = one.index_recall(10), one.index_recall(TOP)
        yield Row(
            clusters, n_items, index, one.index_, build, recalls, speed[index], speed["bare"],
            speed["exact"],
        )  # fmt: skip


def report(rows: list[str], command: str) -> str:
    libraries = ["numpy", "torch", "annoy", *(["faiss-cpu"] * ("faiss" in INDEXES))]
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    lines = [
        "# Recommending",
        "",
        f"`{command}`, {datetime.date.today()}: Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}, one thread. D = {D}, {K} interests and {K * N_HISTORY} seen items "
        f"a user, k = {TOP}; medians of {TURNS} turns, processor time.",
        "",
        "÷ bare: speed of `recommend` over that of bare products and top-k; ÷ exact: over that of "
        "`recommend` with exact search. An arrow: the index was asked for, but exact search took "
        "over as it would not be faster.",
        "",
        HEAD,
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to the screen")
    parser.add_argument("--output", type=Path, help="write the table there, too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for n_items, n_users in QUICK if options.quick else CASES:
            for clusters in SPREADS:
                for row in measure(clusters, n_items, n_users):
                    rows.append(str(row))
                    print(row, flush=True)
    text = report(rows, "python benchmarks/speed/recommend.py" + " --quick" * options.quick)
    print("\n" + text)
    if options.output and not options.quick:
        options.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
