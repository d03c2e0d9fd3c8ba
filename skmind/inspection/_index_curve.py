"""Fitted recommender → table of the recall and the speed of an approximate index."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .._checks import check_count, check_option
from ..exceptions import InvalidInputError
from ..retrieval.approximate import ApproximateIndex
from ..retrieval.base import Index
from ..retrieval.calibration import recalls
from ..retrieval.exact import ExactIndex

APPROXIMATE = ("annoy", "faiss")
N_POINTS = 6  # of ``search_k``, if the caller names none
N_REPEATS = 3  # of each search; the fastest counts


def index_curve(
    rec: Any,
    *,
    index: str = "annoy",
    search_k: Sequence[int] | None = None,
    k: int = 10,
    n_users: int = 256,
) -> pd.DataFrame:
    """Measure how recall and speed of an approximate index depend on ``search_k``.

    The index is built over the item vectors of the recommender, which does not change. Use the
    result to choose the parameters ``index`` and ``search_k`` of a recommender.

    Parameters
    ----------
    rec : fitted MINDRecommender
    index : {"annoy", "faiss"}, default="annoy"
        Index to measure, with the ``n_trees`` of the recommender.
    search_k : sequence of int or None, default=None
        Values of ``search_k``, each at least 1: nodes of Annoy's trees, or lists of faiss (its
        ``nprobe``). None: six values up to the number of items, or of lists.
    k : int, default=10
        Items per user, at least 1; items of the user's history are left out.
    n_users : int, default=256
        Number of known users to search for, at least 1, as in `MINDRecommender.index_recall`.

    Returns
    -------
    DataFrame of one row for exact search and one per value of ``search_k``
        ``index``, "exact" first; ``search_k``, nan for exact search; ``k``; ``recall``, the share
        of the items of exact search that are found, from 0 to 1; ``users_per_second`` of one call
        for all users, the fastest of three calls.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If ``rec`` is not fitted.
    InvalidInputError
        If an argument is invalid.
    ImportError
        If ``index="faiss"`` and faiss is not installed.

    Notes
    -----
    Speed depends on the machine, on what else it does, and on ``n_jobs`` of the recommender.

    Examples
    --------
    >>> from skmind import MINDRecommender
    >>> from skmind.datasets import make_interactions
    >>> from skmind.inspection import index_curve
    >>> X = make_interactions(n_users=50, n_items=60, n_topics=6, random_state=0).interactions
    >>> rec = MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X)
    >>> index_curve(rec, search_k=[1, 1000])["index"].tolist()
    ['exact', 'annoy', 'annoy']
    """
    check_is_fitted(rec, "items_")
    rec = rec._frozen()
    check_option(index, "index", APPROXIMATE)
    snapshot = rec._fitted()
    k = min(check_count(k, "k"), len(snapshot.item_embeddings))
    sample = snapshot.sample(slice(-check_count(n_users, "n_users"), None), rec.device)
    values = None if search_k is None else _check_values(search_k)
    plan = snapshot.model.plan._replace(kind=index, n_trees=rec.n_trees, search_k=None, effort=None)
    approximate = plan.build(snapshot.item_embeddings)
    assert isinstance(approximate, ApproximateIndex)
    if values is None:
        smallest = k if index == "annoy" else 1
        largest = max(approximate.size, smallest)
        values = np.unique(np.geomspace(smallest, largest, N_POINTS).astype(int)).tolist()
    arguments = (sample.queries, sample.mask, k, sample.seen, None, rec.n_jobs)
    exact = ExactIndex(snapshot.item_embeddings, plan.temperature)
    truth = exact.search(*arguments)

    def row(name: str, searched: Index, value: float) -> dict[str, Any]:
        seconds = []
        for _ in range(N_REPEATS):
            start = time.perf_counter()
            found = searched.search(*arguments)
            seconds.append(time.perf_counter() - start)
        return {
            "index": name,
            "search_k": value,
            "k": k,
            "recall": float(recalls(found, truth).mean()),
            "users_per_second": len(sample.queries) / min(seconds),
        }

    rows = [row("exact", exact, np.nan)]
    for value in values:
        approximate.search_k = value
        rows.append(row(index, approximate, value))
    return pd.DataFrame(rows)


def _check_values(search_k: Any) -> list[int]:
    """Return the values of ``search_k`` as distinct integers, ascending."""
    if isinstance(search_k, str) or not hasattr(search_k, "__iter__") or not len(list(search_k)):
        raise InvalidInputError(f"search_k={search_k!r} must be a list of integers of at least 1")
    return sorted({check_count(value, "search_k") for value in search_k})
