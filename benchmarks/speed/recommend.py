"""Users per second of `recommend`, compared with plain matrix products and top-k.

    python benchmarks/speed/recommend.py [--quick] [--output FILE]

Prints a table and writes it to FILE; --quick prints a small table that is not written. A model gets
the "loose" and "tight" item vectors of index_crossover.py instead of trained ones; every user's
history has twenty items, mostly of four clusters. The plain search is what a matrix library does in
a few lines for blocks of users: the product of interests and items, the maximum over the interests,
and top-k, without leaving out seen items. It is the fastest of numpy and torch and of several block
sizes. All searches take turns in one run on one thread; times are medians of processor time. Recall
comes from `index_recall`.
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
from index_crossover import (
    ITEMS_PER_INTEREST,
    SEED,
    SPREADS,
    D,
    K,
    draw_histories,
    make_catalogue,
)
from threadpoolctl import threadpool_limits

from skmind import MINDRecommender
from skmind.exceptions import ExactSearchWarning

CASES = ((3_000, 10_000), (100_000, 10_000), (300_000, 1_000), (1_000_000, 1_000))  # items, users
QUICK_CASES = ((3_000, 500), (20_000, 200))
TOP_K = 100
N_TURNS = 3
BLOCK_USERS = (4, 16, 64, 256)  # block sizes of the plain search
INDEXES = ("exact", "annoy", *(["faiss"] * bool(find_spec("faiss"))))


class Row(NamedTuple):
    """A row of the table; speeds are in users per second."""

    clusters: str
    n_items: int
    requested_index: str
    used_index: str
    build_seconds: float
    recalls: tuple[float, float]
    speed: float
    plain_speed: float
    exact_speed: float

    def __str__(self) -> str:
        index = self.requested_index
        if self.used_index != index:
            index += f" → {self.used_index}"
        cells = [
            self.clusters,
            f"{self.n_items:,}",
            index,
            f"{self.build_seconds:.1f}",
            *(f"{recall:.3f}" for recall in self.recalls),
            f"{self.speed:,.0f}",
            f"{self.speed / self.plain_speed:.2f}",
            f"{self.speed / self.exact_speed:.2f}",
        ]
        return f"| {' | '.join(cells)} |"


TABLE_HEAD = (
    "| vectors | items | index | build and calibrate, s | recall@10 | recall@100 | users/s "
    f"| ÷ plain | ÷ exact |\n|---|---:|---|{'---:|' * 6}"
)


def planted(n_items: int, n_users: int, clusters: str) -> MINDRecommender:
    """Return a model with generated item vectors, whose interests are means of history items."""
    vectors, item_clusters = make_catalogue(n_items, SPREADS[clusters])
    histories = draw_histories(item_clusters, n_users)
    n_history = K * ITEMS_PER_INTEREST
    X = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), n_history),
            "item_id": histories.ravel(),
            "timestamp": np.tile(np.arange(n_history), n_users),
        }
    )
    rec = MINDRecommender(
        n_interests=K, embedding_dim=D, n_encoder_layers=0, index="exact", random_state=SEED,
        max_epochs=1, batch_size=len(X), n_negatives=1,
    )  # fmt: skip
    rec.fit(X, items=pd.DataFrame({"item_id": np.arange(n_items)}))
    weights = rec._model.weights
    weights["item_embedding"] = vectors
    weights["bilinear"] = np.eye(D, dtype=np.float32)
    rec._snapshot.item_embeddings = vectors
    return copy.deepcopy(rec)  # builds network and index from these weights


def with_index(rec: MINDRecommender, index: str) -> tuple[MINDRecommender, float]:
    """Return the same model with another index, and the seconds to build and calibrate it."""
    rec = copy.deepcopy(rec).set_params(index=index)
    snapshot = rec._snapshot
    snapshot.network("cpu")
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExactSearchWarning)  # the row shows it
        temperature = snapshot.model.plan.temperature
        snapshot.model.plan, snapshot.index = rec._plan_index(snapshot, temperature)
    return rec, time.process_time() - start


def plain_numpy(queries: np.ndarray, items: np.ndarray, n_users: int) -> None:
    for start in range(0, len(queries), n_users):
        block = queries[start : start + n_users]
        scores = (block.reshape(-1, D) @ items.T).reshape(len(block), K, -1).max(1)
        best = np.argpartition(scores, -TOP_K, axis=1)[:, -TOP_K:]
        values = np.take_along_axis(scores, best, axis=1)
        np.take_along_axis(best, np.argsort(-values, axis=1), axis=1)


def plain_torch(queries: np.ndarray, items: np.ndarray, n_users: int) -> None:
    vectors = torch.from_numpy(items)
    for block in torch.from_numpy(queries).split(n_users):
        (block.reshape(-1, D) @ vectors.T).reshape(len(block), K, -1).amax(1).topk(TOP_K)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def fastest_plain_search(queries: np.ndarray, items: np.ndarray) -> Callable[[], None]:
    sample = queries[: max(BLOCK_USERS)]
    searches = [
        partial(search, items=items, n_users=n_users)
        for search in (plain_numpy, plain_torch)
        for n_users in BLOCK_USERS
    ]
    fastest = min(
        searches, key=lambda search: min(seconds(partial(search, sample)) for _ in range(2))
    )
    name = fastest.func.__name__
    print(f"plain: {name} in blocks of {fastest.keywords['n_users']} users", flush=True)
    return partial(fastest, queries)


def measure(clusters: str, n_items: int, n_users: int) -> Iterator[Row]:
    """Yield the rows of one catalogue."""
    rec = planted(n_items, n_users, clusters)
    indexed = {index: with_index(rec, index) for index in INDEXES}
    searches = {"plain": fastest_plain_search(rec.interests(rec.users_), rec.item_embeddings_)}
    searches |= {
        index: partial(index_rec.recommend, k=TOP_K) for index, (index_rec, _) in indexed.items()
    }
    turns = [{name: seconds(search) for name, search in searches.items()} for _ in range(N_TURNS)]
    speed = {name: n_users / statistics.median(turn[name] for turn in turns) for name in searches}
    for index, (index_rec, build_seconds) in indexed.items():
        recalls = index_rec.index_recall(10), index_rec.index_recall(TOP_K)
        yield Row(
            clusters, n_items, index, index_rec.index_, build_seconds, recalls, speed[index],
            speed["plain"], speed["exact"],
        )  # fmt: skip


def report(rows: list[str], command: str) -> str:
    libraries = ["numpy", "torch", "annoy", *(["faiss-cpu"] * ("faiss" in INDEXES))]
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    lines = [
        "# Speed of recommend",
        "",
        f"`{command}`, {datetime.date.today()}: Python {platform.python_version()}, {versions}, "
        f"{platform.machine()}, one thread. D = {D}, {K} interests and "
        f"{K * ITEMS_PER_INTEREST} seen items per user, k = {TOP_K}; medians of {N_TURNS} turns, "
        "processor time.",
        "",
        "÷ plain: speed of `recommend` divided by the speed of plain matrix products and top-k. "
        "÷ exact: divided by the speed of `recommend` with exact search. An arrow: `fit` replaced "
        "the requested index by exact search, because the index would not be faster.",
        "",
        TABLE_HEAD,
        *rows,
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="print a table of small sizes")
    parser.add_argument("--output", type=Path, help="file that the table is also written to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with threadpool_limits(1):
        for n_items, n_users in QUICK_CASES if options.quick else CASES:
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
