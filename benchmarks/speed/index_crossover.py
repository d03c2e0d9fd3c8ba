"""Catalogue size → speed of Annoy and faiss in relation to exact search, all on one thread.

    python benchmarks/speed/index_crossover.py [--quick]

Writes the table benchmarks/results/index_crossover.md; with --quick, a small one to the screen. The
item vectors are generated: √n clusters, all in the directions of a decaying spectrum. With "loose"
clusters, Annoy's recall at each `search_k` is close to that on the vectors of the 12,101 items of
Amazon Beauty that MINDRecommender learned: .92 against .92 with 500 nodes at k = 10, .94 against
.94 with 2,000 nodes at k = 100. "Tight" clusters are easier. Every user has four interests, each
the mean of five items, mostly of one cluster; these twenty items are excluded, as seen items are.
Each index gets the smallest `search_k` of a ladder that reaches a recall of .95 on 256 users; its
recall and speed are then measured on 256 others, the speed of single calls on 32 of them. faiss is
measured if it is installed.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from skmind.data.ragged import Ragged
from skmind.retrieval.annoy import AnnoyIndex
from skmind.retrieval.approximate import ApproximateIndex
from skmind.retrieval.base import Index, TopK
from skmind.retrieval.exact import ExactIndex
from skmind.retrieval.faiss import FaissIndex

RESULT = Path(__file__).parents[1] / "results" / "index_crossover.md"
D, K, N_TREES, SEED = 64, 4, 50, 0
N_HISTORY = 5  # items that make an interest
N_USERS = 256
N_ALONE = 32
SIZES = (10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
SPREADS = {"loose": 1.5, "tight": 0.7}  # of items around their centre; of the centres: 1
STEPS = (1, 1.5, 2, 3, 5, 7)
RECALL = 0.95
MAX_BUILD = 300  # seconds


class Kind(NamedTuple):
    """An index: how it is built, what it visits of its own accord, and what is tried."""

    build: Callable[[np.ndarray], ApproximateIndex]
    own_search_k: int
    ladder: tuple[int, ...]


KINDS = {
    "Annoy": Kind(
        lambda vectors: AnnoyIndex(vectors, N_TREES, None, SEED),
        -1,
        tuple(int(m * 10**e) for e in (2, 3, 4, 5) for m in STEPS),
    )
}
if find_spec("faiss"):
    KINDS["faiss"] = Kind(
        lambda vectors: FaissIndex(vectors, None, SEED),
        1,
        tuple(sorted({int(m * 10**e) for e in (0, 1, 2) for m in STEPS})),
    )


class Users(NamedTuple):
    """What is asked of an index."""

    queries: np.ndarray
    mask: np.ndarray
    excluded: Ragged

    def part(self, start: int, stop: int) -> Users:
        """Users ``start`` to ``stop``."""
        return Users(
            self.queries[start:stop], self.mask[start:stop], self.excluded.rows(start, stop)
        )

    def search(self, index: Index, k: int) -> TopK:
        """All at once."""
        return index.search(self.queries, self.mask, k, self.excluded)

    def search_each(self, index: Index, k: int) -> None:
        """One call a user."""
        for row in range(len(self.queries)):
            self.part(row, row + 1).search(index, k)


class Row(NamedTuple):
    """A row of the table."""

    clusters: str
    n_items: int
    index: str
    k: int
    build_seconds: float
    default_recall: float
    search_k: int | None
    recall: float
    exact_users: float
    together: float
    alone: float

    def __str__(self) -> str:
        nodes = "none reaches it" if self.search_k is None else f"{self.search_k:,}"
        cells = [
            self.clusters,
            f"{self.n_items:,}",
            self.index,
            str(self.k),
            f"{self.build_seconds:.0f}",
            f"{self.default_recall:.2f}",
            nodes,
            f"{self.recall:.3f}",
            f"{self.exact_users:,.0f}",
            f"{self.exact_users * self.together:,.0f}",
            f"{self.together:.2f}",
            f"{self.alone:.2f}",
        ]
        return f"| {' | '.join(cells)} |"


def unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / length, dtype=np.float32)


def catalogue(n_items: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors and the cluster of each."""
    rng = np.random.default_rng(SEED)
    spectrum = (np.arange(D) + 1.0) ** -0.5
    n_clusters = int(np.sqrt(n_items))
    centres = rng.standard_normal((n_clusters, D), dtype=np.float32) * spectrum
    cluster = rng.integers(n_clusters, size=n_items)
    noise = rng.standard_normal((n_items, D), dtype=np.float32) * spectrum
    return unit(centres[cluster] + spread * noise), cluster


def neighbours(cluster: np.ndarray, n_users: int) -> np.ndarray:
    """Items of each interest of each user, (n_users, K, N_HISTORY), mostly of one cluster."""
    rng = np.random.default_rng(SEED + 1)
    order = np.argsort(cluster, kind="stable")
    first = rng.integers(len(order) - N_HISTORY, size=(n_users, K))
    return order[first[..., None] + np.arange(N_HISTORY)]


def audience(vectors: np.ndarray, cluster: np.ndarray, n_users: int) -> Users:
    items = neighbours(cluster, n_users)
    excluded = Ragged(items.ravel(), np.arange(n_users + 1) * K * N_HISTORY)
    return Users(unit(vectors[items].mean(2)), np.ones((n_users, K), dtype=bool), excluded)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def recall(hits: TopK, truth: TopK) -> float:
    pairs = zip(hits.codes, truth.codes, strict=True)
    return float(np.mean([np.isin(theirs, mine).mean() for mine, theirs in pairs]))


def calibrate(
    index: ApproximateIndex, ladder: tuple[int, ...], users: Users, k: int, truth: TopK
) -> int | None:
    """The smallest `search_k` of the ladder that is good enough, set in ``index``."""
    for search_k in ladder:
        index.search_k = search_k
        if recall(users.search(index, k), truth) >= RECALL:
            return search_k
    return None


def speed_ratio(
    exact: ExactIndex, other: Index, search: Callable[[Index], object], repeats: int = 3
) -> tuple[float, float]:
    """Seconds of exact search and how many times faster the other is, medians of turns."""
    turns = [
        (seconds(lambda: search(exact)), seconds(lambda: search(other))) for _ in range(repeats)
    ]
    return statistics.median(e for e, _ in turns), statistics.median(e / a for e, a in turns)


def measure(clusters: str, n_items: int, ks: tuple[int, ...], n_users: int) -> Iterator[Row]:
    """Rows of one catalogue."""
    vectors, cluster = catalogue(n_items, SPREADS[clusters])
    users = audience(vectors, cluster, 2 * n_users)
    known, others = users.part(0, n_users), users.part(n_users, 2 * n_users)
    exact = ExactIndex(vectors)
    for name, kind in KINDS.items():
        start = time.process_time()
        index = kind.build(vectors)
        build_seconds = time.process_time() - start
        for k in ks:
            truth = others.search(exact, k)
            index.search_k = kind.own_search_k
            default = recall(others.search(index, k), truth)
            search_k = calibrate(index, kind.ladder, known, k, known.search(exact, k))
            reached = recall(others.search(index, k), truth)
            spent, together = speed_ratio(exact, index, partial(others.search, k=k))
            _, alone = speed_ratio(exact, index, partial(others.part(0, N_ALONE).search_each, k=k))
            yield Row(
                clusters, n_items, name, k, build_seconds, default, search_k, reached,
                n_users / spent, together, alone,
            )  # fmt: skip


def largest_slower(rows: list[Row], column: str) -> int:
    """The largest size at which Annoy is slower with some clusters and k."""
    return max((row.n_items for row in rows if getattr(row, column) <= 1), default=0)


def conclusion(rows: list[Row]) -> str:
    """What the ratios of Annoy say about `AUTO_EXACT_ITEMS`."""
    rows = [row for row in rows if row.index == "Annoy"]
    together, alone = (largest_slower(rows, column) for column in ("together", "alone"))
    largest = max(row.n_items for row in rows)
    more = ", the largest size measured" if together == largest else ""
    ratios = [row.together for row in rows if row.n_items == together] or [float("nan")]
    worst = min(row.default_recall for row in rows)
    return (
        f"Users together: the largest catalogue in which Annoy, at a recall of {RECALL}, is slower "
        f"with some clusters and k has {together:,} items{more}; the ratios there are "
        f"{min(ratios):.2f} to {max(ratios):.2f}. One by one, it has {alone:,} items. With "
        f"Annoy's own `search_k`, trees × k, its recall falls to {worst:.2f}.\n\n"
        "So `AUTO_EXACT_ITEMS` in `skmind/_recommender.py`, the largest catalogue that "
        f'`index="auto"` searches exactly, should be {together:,}: up to there Annoy is not '
        "faster for sure, and exact search misses nothing and builds nothing. Where users are "
        f'asked for one by one, or clusters are tight, `index="annoy"` with a calibrated '
        f"`search_k` can pay from much smaller sizes on; the table shows where."
    )


def report(rows: list[Row], skipped: list[str], command: str, n_users: int) -> str:
    blas = ", ".join(
        f"{info['internal_api']} {info['version']} for {info['architecture']}"
        for info in threadpool_info()
        if info["user_api"] == "blas" and "numpy" in info["filepath"]
    )
    faiss = ["faiss-cpu"] * ("faiss" in KINDS)
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "annoy", *faiss))
    lines = [
        "# Exact search, Annoy and faiss",
        "",
        f"`{command}`, {datetime.date.today()}: Python {platform.python_version()}, {libraries}, "
        f"{blas}, {platform.machine()}, one thread. D = {D}, {K} interests a user, {N_TREES} "
        f"trees, {K * N_HISTORY} items excluded a user, {n_users} users.",
        "",
        "Ratios are users a second of the index over users a second of exact search, medians of "
        "three turns each, in processor time; above 1, the index is faster. `search_k` counts "
        "nodes of Annoy's trees, lists of faiss. They were measured in one run "
        "and are what can be compared; the absolute speeds are of a shared machine.",
        "",
        "| clusters | items | index | k | build, s | recall at its own `search_k` "
        "| calibrated `search_k` | its recall | exact, users/s | index, users/s "
        "| ratio, users together | ratio, one by one |",
        "|---|---:|---|" + "---:|" * 9,
        *map(str, rows),
        "",
        *(f"{line}\n" for line in skipped),
        conclusion(rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to the screen")
    quick = parser.parse_args().quick
    sizes, n_users = ((2_000, 20_000), 64) if quick else (SIZES, N_USERS)
    rows: list[Row] = []
    skipped: list[str] = []
    with threadpool_limits(1):
        for clusters in SPREADS:
            last = None
            for n_items in sizes:
                expected = last.build_seconds * n_items / last.n_items if last else 0
                if expected > MAX_BUILD:
                    skipped.append(
                        f"Skipped: {clusters} clusters, {n_items:,} items; the build would take "
                        f"about {expected:.0f} s."
                    )
                    continue
                for last in measure(clusters, n_items, (10, 100), n_users):
                    rows.append(last)
                    print(last, flush=True)
    text = report(
        rows, skipped, f"python benchmarks/speed/index_crossover.py{' --quick' * quick}", n_users
    )
    if quick:
        print("\n" + text)
    else:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
