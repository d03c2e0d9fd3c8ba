"""A search on joblib's engines gives the numbers of a search in this process."""

import contextlib

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut
from skmind.scoring import make_ranking_scorer

GRID = {"n_interests": [1, 2], "temperature": [0.1, 0.2]}
N_FITS = 8  # 4 points of the grid, 2 splits


def scores(**arguments):
    X = make_interactions(80, 60, n_topics=6, n_events=12, random_state=0).interactions
    search = GridSearchCV(
        MINDRecommender(embedding_dim=8, max_epochs=2, random_state=0),
        GRID,
        cv=LeaveLastOut(n_splits=2),
        scoring=make_ranking_scorer(["ndcg", "recall"], k=[5, 10]),
        refit="ndcg@10",
        error_score="raise",
        **arguments,
    ).fit(X)
    results = search.cv_results_
    found = [results[name] for name in sorted(results) if name.startswith("split")]
    assert np.size(found) == N_FITS * 4  # metrics
    return np.array(found)


@contextlib.contextmanager
def dask_backend():
    distributed = pytest.importorskip("distributed", reason="needs pip install skmind[dask]")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.Client(**options), joblib.parallel_config("dask"):
        yield


@contextlib.contextmanager
def ray_backend(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray", reason="needs pip install skmind[ray]")
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    try:
        with joblib.parallel_config("ray"):
            yield
    finally:
        ray.shutdown()


@pytest.mark.parametrize("backend", ["loky", "dask", "ray"])
def test_scores_are_those_of_one_process(backend, monkeypatch):
    contexts = {
        "loky": lambda: joblib.parallel_config("loky", n_jobs=2),
        "dask": dask_backend,
        "ray": lambda: ray_backend(monkeypatch),
    }
    with contexts[backend]():
        found = scores()
    np.testing.assert_array_equal(found, scores(n_jobs=1))
