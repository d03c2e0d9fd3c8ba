"""`audience`; `similar_items` and `explain` are covered by `test_estimator`."""

import numpy as np
import pytest

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError, UnknownIdError


@pytest.fixture(scope="module")
def X():
    return make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0).interactions


@pytest.fixture(scope="module")
def fitted(X):
    return MINDRecommender(embedding_dim=8, max_epochs=1, random_state=0).fit(X)


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_audience_is_who_scores_an_item_highest(fitted, exclude_seen):
    """The other way round, `recommend` scores every item for every user."""
    items = [3, 17, 3]
    table = fitted.recommend(k=30, exclude_seen=False)
    if exclude_seen:
        seen = fitted._model.interactions
        owners = fitted.users_[np.repeat(np.arange(len(fitted.users_)), seen.lengths)]
        pairs = set(zip(owners.tolist(), fitted.items_[seen.items].tolist(), strict=True))
        keep = [pair not in pairs for pair in zip(table["user_id"], table["item_id"], strict=True)]
        table = table[keep]
    found = fitted.audience(items, k=6, exclude_seen=exclude_seen)
    assert found.columns.tolist() == ["item_id", "user_id", "score", "rank", "interest"]
    start = 0
    for item in items:
        expected = table[table["item_id"] == item].sort_values("score", ascending=False)[:6]
        mine = found[start : start + len(expected)]
        assert mine["item_id"].tolist() == [item] * len(expected)
        assert mine["rank"].tolist() == list(range(1, len(expected) + 1))
        for column in ("user_id", "interest"):
            assert mine[column].tolist() == expected[column].tolist()
        np.testing.assert_allclose(mine["score"], expected["score"], atol=1e-6)
        start += len(expected)
    assert start == len(found)


def test_no_more_users_than_there_are(fitted):
    found = fitted.audience([5], k=1000, exclude_seen=False)
    assert sorted(found["user_id"]) == fitted.users_.tolist()
    assert len(fitted.audience([], k=3)) == 0


def test_illegal_arguments(fitted):
    with pytest.raises(UnknownIdError, match="the item 99 was not in fit"):
        fitted.audience([3, 99])
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        fitted.audience([3], k=0)
