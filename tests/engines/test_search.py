"""A search on joblib's engines, as the page on them starts it, gives the numbers of one process."""

import os
import re
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut
from skmind.scoring import make_ranking_scorer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "distributed.md"
N_FITS = 8  # 4 points of the grid, 2 splits
N_METRICS = 4


class Search(GridSearchCV):
    """A search that notes the processes to which joblib sends work."""

    def fit(self, X):
        self.processes_ = joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(8))
        return super().fit(X)


def scores(search):
    results = search.cv_results_
    found = np.array([results[name] for name in sorted(results) if name.startswith("split")])
    assert found.size == N_FITS * N_METRICS
    return found


@pytest.mark.parametrize("backend", ["loky", "dask", "ray"])
def test_scores_are_those_of_one_process(backend, monkeypatch):
    if backend != "loky":
        module = {"dask": "distributed", "ray": "ray"}[backend]
        pytest.importorskip(module, reason=f"needs pip install skmind[{backend}]")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    X = make_interactions(80, 60, n_topics=6, n_events=12, random_state=0).interactions
    search = Search(
        MINDRecommender(embedding_dim=8, max_epochs=2, random_state=0),
        {"n_interests": [1, 2], "temperature": [0.1, 0.2]},
        cv=LeaveLastOut(n_splits=2),
        scoring=make_ranking_scorer(["ndcg", "recall"], k=[5, 10]),
        refit="ndcg@10",
        error_score="raise",
    )
    snippets = re.findall(r"```py\n(import.*?)```", PAGE.read_text(), re.DOTALL)
    (snippet,) = [text for text in snippets if f'parallel_config("{backend}"' in text]
    exec(snippet, {"X": X, "search": search})
    found = scores(search)
    assert os.getpid() not in search.processes_
    np.testing.assert_array_equal(found, scores(search.fit(X)))
    assert {*search.processes_} == {os.getpid()}
