"""What `FittedRecommender` adds to the public behaviour that `test_estimator` covers."""

import copy

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import IgnoredDataWarning, InvalidInputError

SMALL = {"embedding_dim": 8, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def X():
    return make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0).interactions


@pytest.fixture(scope="module")
def fitted(X):
    return MINDRecommender(**SMALL).fit(X)


def test_network_and_index_are_rebuilt_from_arrays(X, fitted):
    assert {"_net", "_index"} <= set(vars(fitted))
    copied = copy.deepcopy(fitted)
    assert not {"_net", "_index"} & set(vars(copied))
    np.testing.assert_array_equal(copied.transform(X), fitted.transform(X))
    pd.testing.assert_frame_equal(copied.recommend(k=5), fitted.recommend(k=5))
    assert {"_net", "_index"} <= set(vars(copied))


def test_parameters_changed_after_fit_do_not_change_answers(X, fitted):
    changed = copy.deepcopy(fitted).set_params(n_interests=1, embedding_dim=4, user_col="person")
    np.testing.assert_array_equal(changed.transform(X), fitted.transform(X))


@pytest.mark.parametrize("ask", ["recommend_from_history", "interests_from_history"])
def test_features_of_strangers_need_features_in_fit(fitted, ask):
    table = pd.DataFrame({"user_id": [0], "age": [30.0]})
    with pytest.warns(IgnoredDataWarning, match="users= is ignored: fit was given no user feat"):
        getattr(fitted, ask)([[1, 2]], users=table)


def test_past_refuses_dates_where_fit_saw_numbers(X):
    dated = X.assign(timestamp=pd.to_datetime(X["timestamp"], unit="s"))
    for known, asked in ((X, dated), (dated, X)):
        rec = MINDRecommender(**SMALL, transform_history="past").fit(known)
        rec.transform(known)
        with pytest.raises(InvalidInputError, match="the times are of type .* but fit saw"):
            rec.transform(asked)
