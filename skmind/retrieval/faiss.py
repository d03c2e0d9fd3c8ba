"""Approximate search by an inverted file of faiss; needs ``pip install skmind[faiss]``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import numpy as np

from .approximate import ApproximateIndex

MIN_POINTS_PER_LIST = 39  # on average; with fewer, faiss warns that centroids are unreliable
TRAINING_POINTS_PER_LIST = 64  # vectors per list that the centroids are computed from
CLUSTERING_ITERATIONS = 10


class FaissIndex(ApproximateIndex):
    """Inverted file: each list has the items nearest to a centroid; a query scans some lists.

    Parameters
    ----------
    vectors, search_k, temperature
        See `ApproximateIndex`; ``search_k`` counts lists, faiss's ``nprobe``.
    seed : int

    Raises
    ------
    ImportError
        If faiss is not installed.
    """

    FIRST_EFFORT = 0.01
    MAX_VISITED_SHARE = 0.25  # benchmarks/speed/index_crossover.py

    def __init__(
        self,
        vectors: np.ndarray,
        search_k: int | None = None,
        seed: int = 0,
        temperature: float | None = None,
    ) -> None:
        super().__init__(vectors, search_k, temperature)
        self._faiss = load_faiss()
        n, D = vectors.shape
        self.size = max(1, min(int(4 * sqrt(n)), n // MIN_POINTS_PER_LIST))
        inner_product = self._faiss.METRIC_INNER_PRODUCT
        self._lists = self._faiss.index_factory(D, f"IVF{self.size},Flat", inner_product)
        clustering = self._lists.cp
        clustering.seed = seed % 2**31
        clustering.niter = CLUSTERING_ITERATIONS
        clustering.max_points_per_centroid = TRAINING_POINTS_PER_LIST
        clustering.min_points_per_centroid = 1  # otherwise faiss writes a warning to stderr
        with _one_thread(self._faiss):
            self._lists.train(vectors)
            self._lists.add(vectors)

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """See `ApproximateIndex.nearest`."""
        parameters = self._faiss.SearchParametersIVF(nprobe=min(budget, self.size))
        with _one_thread(self._faiss):
            return self._lists.search(queries, n, params=parameters)[1].ravel()


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    """Use one thread in faiss, because `run_in_threads` starts threads; results are repeatable."""
    n_threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(n_threads)


def load_faiss() -> Any:
    """Import faiss and return it.

    Raises
    ------
    ImportError
        If faiss is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            'index="faiss" needs faiss, which is not installed: run pip install skmind[faiss], or '
            'set index="annoy" or "exact"'
        ) from error
    return faiss
