"""Edge cases of the estimator's contract that came up with scikit-learn's tools or real tables."""

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import get_tags

from skmind import MINDRecommender
from skmind.exceptions import IgnoredDataWarning, NothingToLearnWarning
from skmind.model_selection import LeaveLastOut, TemporalSplit, UserKFold
from skmind.scoring import make_ranking_scorer

SMALL = {"n_interests": 2, "embedding_dim": 8, "max_epochs": 1, "batch_size": 32, "random_state": 0}
rng = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "user_id": np.repeat(np.arange(12), 6),
        "item_id": rng.integers(15, size=72),
        "timestamp": rng.permutation(72),
    }
)
FITTED = MINDRecommender(**SMALL).fit(X)


def new(**params):
    return MINDRecommender(**SMALL | params)


def test_ids_of_different_types_stay_distinct():
    users = X["user_id"].astype(object).replace({1: "0"})
    rec = new().fit(X.assign(user_id=users))
    assert 0 in rec.users_.tolist()
    assert "0" in rec.users_.tolist()
    assert len(rec.users_) == 12


def test_float_and_negative_ids_are_valid():
    rec = new().fit(X.assign(user_id=X["user_id"] - 5.5, item_id=-X["item_id"]))
    assert rec.users_.min() == -5.5
    assert rec.items_.max() == 0
    np.testing.assert_array_equal(
        rec.recommend([-5.5], k=3)["item_id"].isin(-X["item_id"]), [True] * 3
    )


def test_one_row_per_user_leaves_nothing_to_learn():
    with pytest.warns(NothingToLearnWarning, match="nothing to learn: no user has two inter"):
        rec = new().fit(X.drop_duplicates("user_id"))
    assert rec.n_epochs_ == 0
    assert np.isfinite(rec.item_embeddings_).all()


def test_transform_of_a_row_does_not_depend_on_other_rows():
    interests = FITTED.transform(X)
    shuffled = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(FITTED.transform(X.iloc[shuffled]), interests[shuffled])
    one_by_one = [FITTED.transform(X.iloc[[row]])[0] for row in (0, 9, 40)]
    np.testing.assert_allclose(one_by_one, interests[[0, 9, 40]], atol=1e-6)


def test_transform_stores_nothing():
    before = copy.copy(vars(FITTED))
    FITTED.transform(X)
    assert vars(FITTED) == before


def test_transform_returns_float32_for_any_input():
    assert get_tags(FITTED).transformer_tags.preserves_dtype == []
    assert FITTED.transform(X.astype(float)).dtype == np.float32


def test_score_is_a_python_float_for_all_signatures():
    for score in (FITTED.score(X), FITTED.score(X, None), FITTED.score(X, sample_weight=X.index)):
        assert type(score) is float


def test_the_same_history_always_has_the_same_interests():
    first, second = (FITTED.interests_from_history([[3, 4, 5]]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    twice = FITTED.interests_from_history([[3, 4, 5], [1], [3, 4, 5]])
    np.testing.assert_array_equal(twice[0], twice[2])


def test_times_must_not_be_text():
    with pytest.raises(ValueError, match="must be numeric or datetime; convert it first"):
        new().fit(X.assign(timestamp="2024-01-01"))


def test_extra_columns_of_an_array_are_ignored_with_a_warning():
    with pytest.warns(IgnoredDataWarning, match=r"0, 1 and 2 are used as user, item and time"):
        rec = new().fit(X.assign(rating=1).to_numpy())
    np.testing.assert_array_equal(rec.item_embeddings_, FITTED.item_embeddings_)


def test_the_error_of_a_missing_column_lists_the_columns():
    message = r"no column 'user_id'; it has \['who', .*set user_col="
    with pytest.raises(ValueError, match=message):
        new().fit(X.rename(columns={"user_id": "who"}))


def test_ids_of_another_kind_are_not_taken_as_unknown():
    with pytest.raises(TypeError, match="of kind text .*but fit saw ids of kind number"):
        FITTED.recommend(["1"])


def test_ids_must_be_scalars():
    with pytest.raises(TypeError, match="of type tuple, but the argument must be a string, numb"):
        new().fit(X.assign(item_id=[(item, 0) for item in X["item_id"]]))


def test_columns_must_have_one_level():
    with pytest.raises(ValueError, match="are a MultiIndex; flatten them to one level"):
        new().fit(X.set_axis(pd.MultiIndex.from_product([["x"], X.columns]), axis=1))


def test_the_past_excludes_the_row_itself():
    rec = new(transform_history="past").fit(X)
    first = X.groupby("user_id")["timestamp"].idxmin()
    interests = rec.transform(X)
    assert (interests[first] == 0).all()
    assert (interests[X.index.difference(first)] != 0).any(axis=1).all()
    assert (FITTED.transform(X)[first] != 0).any(axis=1).all()


def test_splitters_need_no_groups():
    for splitter in (LeaveLastOut(), TemporalSplit(2), UserKFold(3)):
        for table in (X, X.to_numpy()):
            for train, test in splitter.split(table):
                assert not set(train) & set(test)
                assert len(train)
                assert len(test)


def test_unknown_users_of_a_fold_are_scored():
    train, test = next(UserKFold(3).split(X))
    rec = new().fit(X.iloc[train])
    assert not set(rec.users_) & set(X["user_id"].iloc[test])
    for score in (rec.score(X.iloc[test]), make_ranking_scorer("mrr", k=15)(rec, X.iloc[test])):
        assert 0 < score < 1
