"""Parameters and a sample of users → an index that is calibrated to reach a target recall."""

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

TARGET_RECALL = 0.95  # share of the exact result that a calibrated index finds
CALIBRATION_KS = (10, 100)  # numbers of items per query
EFFORT_FACTOR = 1.5  # ratio of each tried effort to the one before
CALIBRATION_USERS = 128
ESTIMATE_ITEMS = 100_000  # in the index that `Plan.is_hopeless` builds


class Sample(NamedTuple):
    """Users for measuring the recall of an index, as arguments of `Index.search`."""

    queries: np.ndarray
    mask: np.ndarray
    seen: Ragged


class Plan(NamedTuple):
    """Settings of an index; with the vectors, they allow building the same index again.

    Attributes
    ----------
    kind : {"exact", "annoy", "faiss"}
    n_trees, search_k, seed
        See the indexes.
    effort : float or None
        Result of the calibration; see `ApproximateIndex`. None before.
    temperature : float or None
        See `soft_maximum`.
    """

    kind: str = "exact"
    n_trees: int = 50
    search_k: int | None = None
    seed: int = 0
    effort: float | None = None
    temperature: float | None = None

    def build(self, vectors: np.ndarray, file: Path | None = None) -> Index:
        """Build the index over ``vectors``; an Annoy index may be mapped from a file."""
        if self.kind == "exact":
            return ExactIndex(vectors, self.temperature)
        index: ApproximateIndex
        if self.kind == "annoy":
            index = AnnoyIndex(
                vectors, self.n_trees, self.search_k, self.seed, file, self.temperature
            )
        else:
            index = FaissIndex(vectors, self.search_k, self.seed, self.temperature)
        index.effort = self.effort or index.effort
        return index

    def is_hopeless(self, vectors: np.ndarray, sample: Sample, n_jobs: int | None) -> bool:
        """Return whether an index over a part of the items shows that `calibrated` would fail.

        If that is not clear, or there are few items, the result is False.
        """
        n_items = len(vectors)
        if n_items < 2 * ESTIMATE_ITEMS:
            return False
        rng = np.random.default_rng(self.seed)
        items = np.sort(rng.choice(n_items, ESTIMATE_ITEMS, replace=False))
        index = self.build(vectors[items])
        assert isinstance(index, ApproximateIndex)
        codes = np.full(n_items, -1)
        codes[items] = np.arange(ESTIMATE_ITEMS)
        seen = Ragged(codes[sample.seen.values], sample.seen.offsets)
        seen = seen.where(seen.values >= 0)
        # Queries for the same share of the items have to visit about the same share of the index.
        k = max(1, max(CALIBRATION_KS) * ESTIMATE_ITEMS // n_items)
        index.effort = index.MAX_VISITED_SHARE * sqrt(index.size / k)
        exact = ExactIndex(index.vectors, self.temperature)
        truth = exact.search(sample.queries, sample.mask, k, seen, None, n_jobs)
        found = index.search_candidates(sample.queries, sample.mask, k, seen, n_jobs)
        recall = recalls(found, truth)
        return bool(recall.mean() + recall.std() / sqrt(len(recall)) < TARGET_RECALL)

    def calibrated(
        self, index: ApproximateIndex, sample: Sample, n_jobs: int | None
    ) -> tuple[Plan, Index]:
        """Return the plan and its ``index`` with the lowest effort that reaches `TARGET_RECALL`.

        If the index is no faster than exact search at this effort, return exact search instead.

        Warns
        -----
        ExactSearchWarning
            If exact search is used instead.
        """
        if calibrate(index, sample, n_jobs):
            return self._replace(effort=index.effort), index
        return self.exact_instead(index.vectors)

    def exact_instead(self, vectors: np.ndarray) -> tuple[Plan, Index]:
        """Return the plan and the index of exact search, which is as fast, with a warning."""
        warn(
            f"index={self.kind!r} is no faster than exact search on {len(vectors)} items at "
            f"the required {TARGET_RECALL:.0%} recall, so exact search is used. "
            "Set search_k to use the index with a lower recall",
            ExactSearchWarning,
        )
        plan = self._replace(kind="exact")
        return plan, plan.build(vectors)


def calibrate(index: ApproximateIndex, sample: Sample, n_jobs: int | None = None) -> bool:
    """Raise the effort of ``index`` until its recall is a standard error above the target.

    The target is `TARGET_RECALL`, for all `CALIBRATION_KS`.

    Returns
    -------
    bool
        False if the index would have to visit more than `ApproximateIndex.MAX_VISITED_SHARE`.
    """
    queries, mask, seen = sample
    exact = ExactIndex(index.vectors, index.temperature)
    truth = exact.search(queries, mask, max(CALIBRATION_KS), seen, None, n_jobs)
    for k in CALIBRATION_KS:
        best = TopK(*(part[:, :k] for part in truth))
        while index.budget(k) <= index.MAX_VISITED_SHARE * index.size:
            recall = recalls(index.search_candidates(queries, mask, k, seen, n_jobs), best)
            if recall.mean() - recall.std() / sqrt(len(recall)) >= TARGET_RECALL:
                break
            index.effort *= EFFORT_FACTOR
        else:
            return False
    return True


def recalls(found: TopK, truth: TopK) -> np.ndarray:
    """Return the share of each row's true items that were found; 1 for rows without items."""
    rows = np.arange(len(truth.codes))[:, None]
    is_item = truth.codes >= 0
    is_found = isin_pairs((rows, truth.codes), (rows, found.codes)) & is_item
    n_items = is_item.sum(1)
    return np.where(n_items, is_found.sum(1) / np.maximum(n_items, 1), 1.0)
