"""A small model fitted on generated interactions, for all tests of inspection."""

import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.model_selection import LeaveLastOut


@pytest.fixture(scope="session")
def small_parameters():
    return {"embedding_dim": 8, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="session")
def fitted(small_parameters):
    """All interactions, a recommender fitted without each user's last event, and these events."""
    X = make_interactions(
        60, 80, n_topics=8, n_interests=2, n_events=(6, 12), random_state=0
    ).interactions
    X = X.assign(user_id="u" + X["user_id"].astype(str), item_id="i" + X["item_id"].astype(str))
    train, test = next(LeaveLastOut().split(X))
    rec = MINDRecommender(n_interests=3, **small_parameters).fit(X.iloc[train])
    return X, rec, X.iloc[test]
