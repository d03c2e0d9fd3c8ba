"""Catalogue size → speed of Annoy and faiss relative to exact search, on one thread.

    python benchmarks/speed/index_crossover.py [--quick]

Writes the table benchmarks/results/index_crossover.md; --quick prints a small one. The generated
item vectors form √n clusters, and the variance of their dimensions decays. With "loose" clusters,
the recall of Annoy at each `search_k` is close to its recall on the vectors that MINDRecommender
learned for the 12,101 items of Amazon Beauty: .92 in both cases with 500 nodes at k = 10, .94 in
both cases with 2,000 nodes at k = 100. "Tight" clusters are easier. Each user has four interests,
each the mean of five items, mostly of one cluster; these twenty items are excluded, as seen items
are. Each index gets the smallest `search_k` of a list of candidates that reaches a recall of .95 on
256 users. Its recall and speed are then measured on 256 other users, and the speed of calls for
single users on 32 of them. faiss is measured if it is installed.
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
D = 64  # dimensions
K = 4  # interests per user
N_TREES = 50
SEED = 0
ITEMS_PER_INTEREST = 5
N_USERS = 256
N_SINGLE_USERS = 32
SIZES = (10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)  # items
QUICK_SIZES = (2_000, 20_000)
SPREADS = {"loose": 1.5, "tight": 0.7}  # standard deviation of items around their cluster centre
CANDIDATE_FACTORS = (1, 1.5, 2, 3, 5, 7)
TARGET_RECALL = 0.95
MAX_BUILD_SECONDS = 300


class IndexKind(NamedTuple):
    """How to build an index, its default ``search_k``, and the values of ``search_k`` to try."""

    build: Callable[[np.ndarray], ApproximateIndex]
    default_search_k: int
    candidates: tuple[int, ...]


KINDS = {
    "Annoy": IndexKind(
        lambda vectors: AnnoyIndex(vectors, N_TREES, None, SEED),
        -1,
        tuple(int(m * 10**e) for e in (2, 3, 4, 5) for m in CANDIDATE_FACTORS),
    )
}
if find_spec("faiss"):
    KINDS["faiss"] = IndexKind(
        lambda vectors: FaissIndex(vectors, None, SEED),
        1,
        tuple(sorted({int(m * 10**e) for e in (0, 1, 2) for m in CANDIDATE_FACTORS})),
    )


class Users(NamedTuple):
    """Queries of users: their interests, which of them are in use, and the items to leave out."""

    queries: np.ndarray
    mask: np.ndarray
    excluded: Ragged

    def part(self, start: int, stop: int) -> Users:
        """Return the users from ``start`` to before ``stop``."""
        return Users(
            self.queries[start:stop], self.mask[start:stop], self.excluded.slice_rows(start, stop)
        )

    def search(self, index: Index, k: int) -> TopK:
        """Search for all users in one call."""
        return index.search(self.queries, self.mask, k, self.excluded)

    def search_each(self, index: Index, k: int) -> None:
        """Search with one call per user."""
        for row in range(len(self.queries)):
            self.part(row, row + 1).search(index, k)


class Row(NamedTuple):
    """A row of the table; ``search_k`` is None if no candidate reaches the recall.

    ``batch_ratio`` and ``single_ratio`` are the speeds relative to exact search of one call for all
    users and of one call per user.
    """

    clusters: str
    n_items: int
    index: str
    k: int
    build_seconds: float
    default_recall: float
    search_k: int | None
    recall: float
    exact_users_per_second: float
    batch_ratio: float
    single_ratio: float

    def __str__(self) -> str:
        search_k = "none reaches it" if self.search_k is None else f"{self.search_k:,}"
        cells = [
            self.clusters,
            f"{self.n_items:,}",
            self.index,
            str(self.k),
            f"{self.build_seconds:.0f}",
            f"{self.default_recall:.2f}",
            search_k,
            f"{self.recall:.3f}",
            f"{self.exact_users_per_second:,.0f}",
            f"{self.exact_users_per_second * self.batch_ratio:,.0f}",
            f"{self.batch_ratio:.2f}",
            f"{self.single_ratio:.2f}",
        ]
        return f"| {' | '.join(cells)} |"


def unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def make_catalogue(n_items: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return unit item vectors and the cluster of each item."""
    rng = np.random.default_rng(SEED)
    spectrum = (np.arange(D) + 1.0) ** -0.5
    n_clusters = int(np.sqrt(n_items))
    centres = rng.standard_normal((n_clusters, D), dtype=np.float32) * spectrum
    clusters = rng.integers(n_clusters, size=n_items)
    noise = rng.standard_normal((n_items, D), dtype=np.float32) * spectrum
    return unit(centres[clusters] + spread * noise), clusters


def draw_histories(clusters: np.ndarray, n_users: int) -> np.ndarray:
    """Draw the items of each interest, mostly of one cluster.

    Returns
    -------
    ndarray of shape (n_users, K, ITEMS_PER_INTEREST)
    """
    rng = np.random.default_rng(SEED + 1)
    # Items in the order of their clusters: successive items are mostly of one cluster.
    order = np.argsort(clusters, kind="stable")
    first = rng.integers(len(order) - ITEMS_PER_INTEREST, size=(n_users, K))
    return order[first[..., None] + np.arange(ITEMS_PER_INTEREST)]


def make_users(vectors: np.ndarray, clusters: np.ndarray, n_users: int) -> Users:
    items = draw_histories(clusters, n_users)
    excluded = Ragged(items.ravel(), np.arange(n_users + 1) * K * ITEMS_PER_INTEREST)
    return Users(unit(vectors[items].mean(2)), np.ones((n_users, K), dtype=bool), excluded)


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def recall(top: TopK, exact_top: TopK) -> float:
    pairs = zip(top.codes, exact_top.codes, strict=True)
    return float(np.mean([np.isin(exact_codes, codes).mean() for codes, exact_codes in pairs]))


def calibrate(
    index: ApproximateIndex, candidates: tuple[int, ...], users: Users, k: int, exact_top: TopK
) -> int | None:
    """Set ``index.search_k`` to the first candidate that reaches the recall, and return it."""
    for search_k in candidates:
        index.search_k = search_k
        if recall(users.search(index, k), exact_top) >= TARGET_RECALL:
            return search_k
    return None


def speed_ratio(
    exact: ExactIndex, other: Index, search: Callable[[Index], object], repeats: int = 3
) -> tuple[float, float]:
    """Return the seconds of exact search and its ratio to the other index, as medians of turns."""
    turns = [
        (seconds(lambda: search(exact)), seconds(lambda: search(other))) for _ in range(repeats)
    ]
    exact_median = statistics.median(exact_seconds for exact_seconds, _ in turns)
    ratio_median = statistics.median(
        exact_seconds / other_seconds for exact_seconds, other_seconds in turns
    )
    return exact_median, ratio_median


def measure(spread: str, n_items: int, ks: tuple[int, ...], n_users: int) -> Iterator[Row]:
    """Yield the rows of one catalogue."""
    vectors, clusters = make_catalogue(n_items, SPREADS[spread])
    users = make_users(vectors, clusters, 2 * n_users)
    calibration_users = users.part(0, n_users)
    test_users = users.part(n_users, 2 * n_users)
    single_users = test_users.part(0, N_SINGLE_USERS)
    exact = ExactIndex(vectors)
    for name, kind in KINDS.items():
        start = time.process_time()
        index = kind.build(vectors)
        build_seconds = time.process_time() - start
        for k in ks:
            exact_top = test_users.search(exact, k)
            index.search_k = kind.default_search_k
            default_recall = recall(test_users.search(index, k), exact_top)
            search_k = calibrate(
                index, kind.candidates, calibration_users, k, calibration_users.search(exact, k)
            )
            calibrated_recall = recall(test_users.search(index, k), exact_top)
            exact_seconds, batch_ratio = speed_ratio(exact, index, partial(test_users.search, k=k))
            _, single_ratio = speed_ratio(exact, index, partial(single_users.search_each, k=k))
            yield Row(
                spread, n_items, name, k, build_seconds, default_recall, search_k,
                calibrated_recall, n_users / exact_seconds, batch_ratio, single_ratio,
            )  # fmt: skip


def largest_slower(rows: list[Row], column: str) -> int:
    """Return the largest size at which the index is slower with some clusters and k."""
    return max((row.n_items for row in rows if getattr(row, column) <= 1), default=0)


def conclusion(rows: list[Row]) -> str:
    """Return what the ratios of Annoy mean for `AUTO_EXACT_ITEMS`."""
    rows = [row for row in rows if row.index == "Annoy"]
    batch_size = largest_slower(rows, "batch_ratio")
    single_size = largest_slower(rows, "single_ratio")
    is_largest = batch_size == max(row.n_items for row in rows)
    note = ", the largest measured size" if is_largest else ""
    ratios = [row.batch_ratio for row in rows if row.n_items == batch_size] or [float("nan")]
    worst = min(row.default_recall for row in rows)
    return (
        f"One call for all users: at a recall of {TARGET_RECALL}, the largest catalogue in which "
        f"Annoy is slower than exact search with some clusters and k has {batch_size:,} "
        f"items{note}; the ratios there are {min(ratios):.2f} to {max(ratios):.2f}. One call per "
        f"user: this catalogue has {single_size:,} items. With the default `search_k` of Annoy, "
        f"trees × k, its recall falls to {worst:.2f}.\n\n"
        "So `AUTO_EXACT_ITEMS` in `skmind/_recommender.py`, the size of the largest catalogue that "
        f'`index="auto"` searches exactly, should be {batch_size:,}. Up to this size Annoy is not '
        "reliably faster, and exact search misses no item and needs no build. With calls for "
        'single users or tight clusters, `index="annoy"` with a calibrated `search_k` can be '
        "faster from much smaller sizes; the table shows where."
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
        f"{blas}, {platform.machine()}, one thread. D = {D}, {K} interests per user, {N_TREES} "
        f"trees, {K * ITEMS_PER_INTEREST} excluded items per user, {n_users} users.",
        "",
        "Ratios are users per second of the index divided by users per second of exact search, as "
        "medians of three turns, in processor time; above 1, the index is faster. `search_k` "
        "counts nodes of the trees of Annoy, and lists of faiss. Compare the ratios, which come "
        "from one run; the absolute speeds come from a shared machine.",
        "",
        "| clusters | items | index | k | build, s | recall at the default `search_k` "
        "| calibrated `search_k` | its recall | exact, users/s | index, users/s "
        "| ratio, one call for all users | ratio, one call per user |",
        "|---|---:|---|" + "---:|" * 9,
        *map(str, rows),
        "",
        *(f"{line}\n" for line in skipped),
        conclusion(rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="print a table of small sizes")
    quick = parser.parse_args().quick
    sizes = QUICK_SIZES if quick else SIZES
    n_users = 64 if quick else N_USERS
    rows: list[Row] = []
    skipped: list[str] = []
    with threadpool_limits(1):
        for spread in SPREADS:
            last_row = None
            for n_items in sizes:
                expected = last_row.build_seconds * n_items / last_row.n_items if last_row else 0
                if expected > MAX_BUILD_SECONDS:
                    skipped.append(
                        f"Skipped: {spread} clusters, {n_items:,} items; the build would take "
                        f"about {expected:.0f} s."
                    )
                    continue
                for last_row in measure(spread, n_items, (10, 100), n_users):
                    rows.append(last_row)
                    print(last_row, flush=True)
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
