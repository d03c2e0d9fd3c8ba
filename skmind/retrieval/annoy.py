"""Approximate search by Annoy's forests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from annoy import AnnoyIndex as Forest

from ..exceptions import InvalidInputError
from .approximate import ApproximateIndex


class AnnoyIndex(ApproximateIndex):
    """A forest of random projection trees over the unit item vectors.

    Parameters
    ----------
    vectors, search_k, temperature
        See `ApproximateIndex`; ``search_k`` counts nodes.
    n_trees : int
        At least 1. More trees: better recall, larger index.
    seed : int
    file : Path or None, default=None
        File that `save` wrote for the same vectors. It is mapped, which is faster than building.
        Annoy does not check the file: a damaged file kills the process.

    Raises
    ------
    InvalidInputError
        If the file holds another number of vectors.
    """

    FIRST_EFFORT = 0.1
    MAX_VISITED_SHARE = 0.1  # benchmarks/speed/index_crossover.py

    def __init__(
        self,
        vectors: np.ndarray,
        n_trees: int = 50,
        search_k: int | None = None,
        seed: int = 0,
        file: Path | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__(vectors, search_k, temperature)
        self.n_trees = n_trees
        self._forest = Forest(vectors.shape[1], "angular")
        if file is not None:
            self._forest.load(str(file))
            if self._forest.get_n_items() != len(vectors):
                raise InvalidInputError(
                    f"the Annoy file {file.name} has {self._forest.get_n_items()} items, not "
                    f"{len(vectors)}; build the index again"
                )
            return
        self._forest.set_seed(seed % 2**31)
        for code, vector in enumerate(vectors):
            self._forest.add_item(code, vector.tolist())
        self._forest.build(n_trees, n_jobs=1)  # with more jobs the result depends on the machine

    def save(self, file: Path) -> None:
        """Write the forest to a file; afterwards, Annoy maps the forest from this file."""
        self._forest.save(str(file))

    def nearest(self, queries: np.ndarray, n: int, budget: int) -> np.ndarray:
        """See `ApproximateIndex.nearest`."""
        return np.concatenate(
            [self._forest.get_nns_by_vector(query, n, budget) for query in queries]
        ).astype(np.int64)
