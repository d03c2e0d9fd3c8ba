"""Parameters and a sample of users → the index of a fitted model, calibrated to a recall."""

from __future__ import annotations

from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .._checks import warn
from ..data.ragged import Ragged, isin_pairs
from ..exceptions import ExactSearchWarning
from .annoy import AnnoyIndex
from .approximate import ApproximateIndex
from .base import Index, TopK
from .exact import ExactIndex
from .faiss import FaissIndex

TARGET = 0.95  # share of the exact result that a calibrated index finds
KS = (10, 100)  # items asked for
STEP = 1.5  # of the effort
N_USERS = 128  # that it is calibrated on


class Sample(NamedTuple):
    """Users to try an index on: arguments of `Index.search`."""

    queries: np.ndarray
    mask: np.ndarray
    seen: Ragged


class Plan(NamedTuple):
    """All that an index is built from but the vectors, so that it can be built again.

    Attributes
    ----------
    kind : {"exact", "annoy", "faiss"}
    n_trees, search_k, seed
        See the indexes.
    effort : float or None
        Calibrated; see `ApproximateIndex`.
    """

    kind: str = "exact"
    n_trees: int = 50
    search_k: int | None = None
    seed: int = 0
    effort: float | None = None

    def build(self, vectors: np.ndarray, file: Path | None = None) -> Index:
        """The index over ``vectors``; an Annoy index may come from a file."""
        if self.kind == "exact":
            return ExactIndex(vectors)
        index: ApproximateIndex
        if self.kind == "annoy":
            index = AnnoyIndex(vectors, self.n_trees, self.search_k, self.seed, file)
        else:
            index = FaissIndex(vectors, self.search_k, self.seed)
        index.effort = self.effort or index.effort
        return index

    def calibrated(
        self, index: ApproximateIndex, sample: Sample, n_jobs: int | None
    ) -> tuple[Plan, Index]:
        """The plan and its ``index``, at the least effort that reaches `TARGET`.

        Exact search takes the place of an index that would have to visit so much that it is not
        faster.

        Warns
        -----
        ExactSearchWarning
            If it does.
        """
        if calibrate(index, sample, n_jobs):
            return self._replace(effort=index.effort), index
        warn(
            f"index={self.kind!r} does not find {TARGET:.0%} of the items that exact search finds "
            f"unless it visits so much that it is no faster on {len(index.vectors)} items; exact "
            "search is used. Set search_k to have it all the same, with a lower recall",
            ExactSearchWarning,
        )
        return self._replace(kind="exact"), ExactIndex(index.vectors)


def calibrate(index: ApproximateIndex, sample: Sample, n_jobs: int | None = None) -> bool:
    """Raise the effort of ``index`` until it is a standard error above `TARGET` at all `KS`.

    Returns
    -------
    bool
        False if it would have to visit more than `ApproximateIndex.MOST`.
    """
    queries, mask, seen = sample
    truth = ExactIndex(index.vectors).search(queries, mask, max(KS), seen, None, n_jobs)
    for k in KS:
        best = TopK(*(part[:, :k] for part in truth))
        while index.budget(k) <= index.MOST * index.size:
            found = recalls(index.search_candidates(queries, mask, k, seen, n_jobs), best)
            if found.mean() - found.std() / sqrt(len(found)) >= TARGET:
                break
            index.effort *= STEP
        else:
            return False
    return True


def recalls(found: TopK, truth: TopK) -> np.ndarray:
    """Share of the items of each row of ``truth`` that were found; rows without any count as 1."""
    rows = np.arange(len(truth.codes))[:, None]
    wanted = truth.codes >= 0
    is_found = isin_pairs((rows, truth.codes), (rows, found.codes)) & wanted
    n = wanted.sum(1)
    return np.where(n, is_found.sum(1) / np.maximum(n, 1), 1.0)
