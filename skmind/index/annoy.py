"""Approximate search by Annoy's forests."""

from __future__ import annotations

import numpy as np
from annoy import AnnoyIndex as Forest

from .approximate import ApproximateIndex


class AnnoyIndex(ApproximateIndex):
    """A forest over the unit item vectors.

    Parameters
    ----------
    vectors, search_k
        See `ApproximateIndex`; ``search_k`` counts nodes.
    n_trees : int
        More trees: better recall, larger index.
    seed : int
    """

    FIRST_EFFORT = 0.1
    MOST = 0.1  # benchmarks/speed/index_crossover.py

    def __init__(
        self, vectors: np.ndarray, n_trees: int = 50, search_k: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(vectors, search_k)
        self.n_trees = n_trees
        self._forest = Forest(vectors.shape[1], "angular")
        self._forest.set_seed(seed % 2**31)
        for code, vector in enumerate(vectors):
            self._forest.add_item(code, vector.tolist())
        self._forest.build(n_trees, n_jobs=1)  # more jobs: the result depends on the machine

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """See `ApproximateIndex.nearest`."""
        return np.concatenate(
            [self._forest.get_nns_by_vector(query, n, budget) for query in queries]
        ).astype(np.int64)
