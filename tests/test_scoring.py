"""Scorers and comparisons, compared with loops and with the answers of the estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmind import MINDRecommender
from skmind.datasets import make_interactions
from skmind.exceptions import InvalidInputError, NothingToScoreWarning, UnknownIdError
from skmind.metrics import evaluate
from skmind.model_selection import LeaveLastOut, UserKFold
from skmind.scoring import compare, find_ranks, make_ranking_scorer

SMALL = {
    "n_interests": 2,
    "embedding_dim": 8,
    "max_history": 10,
    "max_epochs": 2,
    "batch_size": 64,
    "random_state": 0,
}
COLUMNS = ["user_id", "item_id", "rank", "history_length", "item_count", "weight"]


@pytest.fixture(scope="module")
def X():
    return make_interactions(
        60, 40, n_topics=8, n_interests=2, n_events=(3, 12), random_state=0
    ).interactions


@pytest.fixture(scope="module")
def split(X):
    """Last events of users seen in training, and all events of ten users who are not."""
    new = X["user_id"] >= 50
    train, test = (X[~new].iloc[rows] for rows in next(LeaveLastOut(2).split(X[~new])))
    return train, pd.concat([test, X[new]])


@pytest.fixture(scope="module")
def fitted(split):
    return MINDRecommender(**SMALL).fit(split[0])


# ------------------------------------------------------------------ ranks


def test_ranks_equal_those_of_a_loop():
    rng = np.random.default_rng(0)
    codes = np.array([rng.permutation(12)[:5] for _ in range(20)])
    codes[rng.random(codes.shape) < 0.2] = -1
    rows = rng.integers(20, size=200)
    targets = rng.integers(-1, 14, 200)
    expected = [
        codes[row].tolist().index(item) + 1 if item >= 0 and item in codes[row] else np.nan
        for row, item in zip(rows, targets, strict=True)
    ]
    np.testing.assert_array_equal(find_ranks(codes, rows, targets), expected)
    assert 0 < np.isfinite(expected).sum() < 200
    none = np.zeros(0, dtype=np.int64)
    assert len(find_ranks(np.zeros((0, 5), dtype=np.int64), none, none)) == 0
    assert np.isnan(find_ranks(np.full((1, 3), -1), np.array([0]), np.array([2]))).all()


def test_target_ranks_of_known_users_are_those_of_recommend(split, fitted):
    train, test = split
    ranked = fitted.target_ranks(test, 20, unseen_users="skip")
    assert ranked.columns.tolist() == COLUMNS
    seen = train.groupby("user_id")["item_id"].agg(list)
    for row in ranked.itertuples():
        targets = test.loc[test["user_id"] == row.user_id, "item_id"].tolist()
        excluded = [item for item in seen[row.user_id] if item not in targets]
        top = fitted.recommend([row.user_id], 20, exclude_seen=False, exclude_items=excluded)
        rank = pd.Series(top["rank"].to_numpy(), top["item_id"]).get(row.item_id, np.nan)
        assert row.rank == rank or np.isnan([row.rank, rank]).all()
        assert row.item_id in targets
        assert row.history_length == len(seen[row.user_id])
        assert row.item_count == (train["item_id"] == row.item_id).sum()
        assert row.weight == 1
    events = test[test["user_id"] < 50].drop_duplicates(["user_id", "item_id"])
    assert len(ranked) == len(events)
    assert ranked["rank"].notna().any()
    assert ranked["rank"].isna().any()


def test_seen_items_are_left_out_only_if_asked(split, fitted):
    test = split[1]
    without, among = (
        fitted.target_ranks(test, 40, exclude_seen=exclude_seen) for exclude_seen in (True, False)
    )
    assert (without["rank"] <= among["rank"]).all()
    assert (without["rank"] < among["rank"]).any()


def test_unseen_users(split, fitted):
    test = split[1]
    new = test[test["user_id"] >= 50]
    folded = fitted.target_ranks(test, 40).query("user_id >= 50")
    for user, rows in new.groupby("user_id"):
        history = rows.sort_values("timestamp")["item_id"].tolist()
        (row,) = folded[folded["user_id"] == user].itertuples()
        assert row.item_id == history[-1]
        assert row.history_length == len(history) - 1
        excluded = [item for item in history if item != row.item_id]
        top = fitted.recommend_from_history(
            [history[:-1]], 40, exclude_seen=False, exclude_items=excluded
        )
        assert top["rank"][top["item_id"] == row.item_id].tolist() == [row.rank]
    popular = fitted.target_ranks(test, 40, unseen_users="popular").query("user_id >= 50")
    assert len(popular) == len(new.drop_duplicates(["user_id", "item_id"]))
    assert (popular["history_length"] == 0).all()
    for user, rows in popular.groupby("user_id"):
        top = fitted.recommend([user], 40)
        rank = pd.Series(top["rank"].to_numpy(), top["item_id"])
        assert rank[rows["item_id"]].tolist() == rows["rank"].tolist()
    assert (fitted.target_ranks(test, unseen_users="skip")["user_id"] < 50).all()
    with pytest.raises(UnknownIdError, match="belong to users who were not in fit, the first is 5"):
        fitted.target_ranks(test, unseen_users="error")
    with pytest.raises(InvalidInputError, match="unseen_users='drop' is not one of 'fold_in'"):
        fitted.target_ranks(test, unseen_users="drop")


# ------------------------------------------------------------------ scorers


def oracle(ranks, n, k):
    """All metrics at ``k`` of a user with ``n`` events to find, which have these ranks."""
    ranks = sorted(int(rank) for rank in ranks if rank <= k)
    ideal = sum(1 / np.log2(place + 1) for place in range(1, min(n, k) + 1))
    return {
        f"recall@{k}": len(ranks) / n,
        f"precision@{k}": len(ranks) / k,
        f"hit_rate@{k}": float(bool(ranks)),
        f"ndcg@{k}": sum(1 / np.log2(rank + 1) for rank in ranks) / ideal,
        f"mrr@{k}": 1 / ranks[0] if ranks else 0.0,
        f"map@{k}": sum((i + 1) / rank for i, rank in enumerate(ranks)) / min(n, k),
    }


@pytest.mark.parametrize("unseen_users", ["fold_in", "skip", "popular"])
def test_a_scorer_is_the_mean_over_users_of_a_metric_of_their_ranks(split, fitted, unseen_users):
    ranked = fitted.target_ranks(split[1], 10, unseen_users=unseen_users)
    names = ["recall", "precision", "hit_rate", "ndcg", "mrr", "map"]
    scores = make_ranking_scorer(names, k=[1, 10], unseen_users=unseen_users)(fitted, split[1])
    ranks = ranked.groupby("user_id")["rank"].agg(list)
    users = [oracle(mine, len(mine), 1) | oracle(mine, len(mine), 10) for mine in ranks]
    assert scores == pytest.approx(pd.DataFrame(users).mean().to_dict())
    assert all(0 < value < 1 for value in scores.values())


def test_a_scorer_hands_its_options_on(split, fitted):
    with pytest.raises(UnknownIdError, match="belong to users who were not in fit, the first is 5"):
        make_ranking_scorer("ndcg", k=10, unseen_users="error")(fitted, split[1])
    with pytest.raises(InvalidInputError, match="exclude_seen='False' must be True or False"):
        make_ranking_scorer("ndcg", k=10, exclude_seen="False")
    without, among = (
        make_ranking_scorer("mrr", k=40, exclude_seen=exclude_seen)(fitted, split[1])
        for exclude_seen in (True, False)
    )
    assert 0 < among < without


def test_people_who_were_not_in_training_are_served_nearly_as_well():
    """benchmarks/quality/fold_in.py measures it where there is more to train on."""
    X = make_interactions(
        200, 60, n_topics=6, n_events=(8, 12), n_interests=2, noise=0.1, random_state=0
    ).interactions
    rec = MINDRecommender(**SMALL | {"max_epochs": 4, "learning_rate": 0.03})
    scorer = make_ranking_scorer("hit_rate", k=10)
    train, test = next(LeaveLastOut().split(X))
    seen = scorer(clone(rec).fit(X.iloc[train]), X.iloc[test])
    unseen = cross_validate(rec, X, cv=UserKFold(3), scoring=scorer)["test_score"].mean()
    assert seen > 1.5 * 10 / 60  # by chance
    assert unseen > 0.8 * seen


def test_ndcg_at_ten_is_score(X, split, fitted):
    scorer = make_ranking_scorer("ndcg", k=10)
    weights = np.random.default_rng(0).random(len(split[1]))
    assert scorer(fitted, split[1]) == fitted.score(split[1]) > 0
    assert scorer(fitted, X) == fitted.score(X) > 0  # with what was seen
    assert scorer(fitted, split[1], None, weights) == fitted.score(split[1], None, weights)
    assert fitted.score(split[1]) != fitted.score(split[1], None, weights)
    assert type(scorer(fitted, X)) is float


def test_one_ranking_for_all_metrics(split, fitted, monkeypatch):
    calls = []
    rank = MINDRecommender.target_ranks
    monkeypatch.setattr(
        MINDRecommender, "target_ranks", lambda *a, **kw: calls.append(a[2]) or rank(*a, **kw)
    )
    scores = make_ranking_scorer(["ndcg", "recall"], k=[5, 20, 10])(fitted, split[1])
    assert list(scores) == [f"{name}@{k}" for name in ("ndcg", "recall") for k in (5, 20, 10)]
    assert calls == [20]
    for label, score in scores.items():
        name, k = label.split("@")
        assert make_ranking_scorer(name, k=int(k))(fitted, split[1]) == score
    assert list(make_ranking_scorer(["ndcg"], k=5)(fitted, split[1])) == ["ndcg@5"]
    assert list(make_ranking_scorer("ndcg", k=(5,))(fitted, split[1])) == ["ndcg@5"]


@pytest.mark.parametrize("copied", [clone, lambda scorer: pickle.loads(pickle.dumps(scorer))])
def test_copies_of_a_scorer_score_alike(split, fitted, copied):
    scorer = make_ranking_scorer(["mrr"], k=7, unseen_users="skip", exclude_seen=False)
    with sklearn.config_context(enable_metadata_routing=True):
        twin = copied(scorer.set_score_request(sample_weight=True))
        assert twin.get_metadata_routing().score.requests == {"sample_weight": True}
    assert twin is not scorer
    assert twin(fitted, split[1]) == scorer(fitted, split[1])
    assert "metric=['mrr']" in repr(twin)


def rename(X):
    return X.rename(columns={"who": "user_id"})


def test_a_model_inside_of_others_is_found(split, fitted):
    train, test = split
    scorer = make_ranking_scorer("hit_rate", k=10)
    expected = scorer(fitted, test)
    alone = make_pipeline(MINDRecommender(**SMALL)).fit(train)
    assert scorer(alone, test) == expected
    renamed = [frame.rename(columns={"user_id": "who"}) for frame in (train, test)]
    nested = make_pipeline("passthrough", FunctionTransformer(rename), clone(alone))
    assert scorer(nested.fit(renamed[0]), renamed[1]) == expected
    search = GridSearchCV(nested, {}, cv=UserKFold(2, user_col="who"), scoring=scorer)
    assert scorer(search.fit(renamed[0]), renamed[1]) == expected == search.score(renamed[1])


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(), GridSearchCV(MINDRecommender(), {}), Pipeline([("a", "passthrough")])],
)
def test_what_is_no_recommender_is_an_error(model):
    message = "can't be scored by ranking; give a fitted MINDRecommender, a Pipeline that ends in"
    with pytest.raises(InvalidInputError, match=message):
        make_ranking_scorer("ndcg", k=10)(model, None)


@pytest.mark.parametrize(
    ("metric", "k", "message"),
    [
        ("ndgc", 10, r"unknown name 'ndgc@10' \(did you mean 'ndcg@10'\?\)"),
        (
            ["ndcg", "x"],
            [5, 6],
            "unknown name 'x@5'; unknown name 'x@6'.*Valid names are 'rec",
        ),
        (None, 10, "unknown name 'None@10'"),
        ("ndcg@10", 5, "metric='ndcg@10' has a k of its own; set metric='ndcg' and k=10"),
        (["map", "mrr@2"], 5, "metric='mrr@2' has a k of its own"),
        ([], 10, "no name is given"),
        ("ndcg", 0, "k=0 must be an integer of at least 1"),
        ("ndcg", [10, 0.5], "k=0.5 must be an integer"),
    ],
)
def test_invalid_metrics_are_an_error_before_any_fit(metric, k, message):
    with pytest.raises(InvalidInputError, match=message):
        make_ranking_scorer(metric, k=k)
    with pytest.raises(InvalidInputError, match="unseen_users='drop' is not one of 'fold_in'"):
        make_ranking_scorer("ndcg", k=10, unseen_users="drop")


def test_nothing_to_score_says_how_to_split(X):
    once = X.drop_duplicates("user_id")
    rec = MINDRecommender(**SMALL).fit(X)
    new = once.assign(user_id=once["user_id"] + 1000)
    message = "or has two rows. To score known users, split by time .*; to score new ones, split by"
    with pytest.warns(NothingToScoreWarning, match=message):
        scores = make_ranking_scorer("ndcg", k=[5, 10])(rec, new)
    assert list(scores) == ["ndcg@5", "ndcg@10"]
    assert np.isnan(list(scores.values())).all()
    with pytest.raises(InvalidInputError, match="sample_weight is 0 in every row that can be sc"):
        make_ranking_scorer("ndcg", k=10)(rec, X, None, np.zeros(len(X)))


# ------------------------------------------------------------------ compare


class Planted:
    """A model whose ranks come from a table."""

    def __init__(self, ranks):
        self.ranks = ranks

    def _frozen(self):
        return self

    def target_ranks(self, X, k, **options):
        assert k == 10
        assert options == {"unseen_users": "skip", "exclude_seen": False}
        return self.ranks


def table(ranks, users=None, items=None, lengths=None, counts=None):
    """What `target_ranks` returns; by default all users, items, lengths and counts differ."""
    n = len(ranks)
    columns = {
        "user_id": users or range(n),
        "item_id": items or range(100, 100 + n),
        "rank": ranks,
        "history_length": lengths or range(n),
        "item_count": counts or range(n),
        "weight": np.ones(n),
    }
    return pd.DataFrame(columns)


def compared(a, b, **options):
    options = {"metric": "hit_rate", "random_state": 0, "n_resamples": 999} | options
    return compare(
        Planted(a), Planted(b), None, k=10, unseen_users="skip", exclude_seen=False, **options
    )


def test_a_planted_difference_is_found_and_none_is_not():
    rng = np.random.default_rng(0)
    n = 600
    a, b, c = (np.where(rng.random(n) < share, 1.0, np.nan) for share in (0.3, 0.5, 0.3))
    better, same = (compared(table(a), table(other)).iloc[0] for other in (b, c))
    assert better["segment"] == "all"
    assert better["n_users"] == n
    assert better["metric"] == "hit_rate@10"
    assert better["a"] == np.isfinite(a).mean()
    assert better["b"] == np.isfinite(b).mean()
    assert better["difference"] == pytest.approx(better["b"] - better["a"])
    assert 0.1 < better["low"] < better["difference"] < better["high"] < 0.3
    assert same["low"] < 0 < same["high"]
    # as wide as the normal approximation
    error = (np.isfinite(b) * 1.0 - np.isfinite(a)).std() / np.sqrt(n)
    assert better["high"] - better["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_interval_is_paired():
    ranks = np.where(np.arange(300) % 2, 1.0, np.nan)
    row = compared(table(ranks), table(ranks)).iloc[0]
    assert row[["difference", "low", "high"]].tolist() == [0, 0, 0]


def test_segments():
    lengths = [1, 1, 1, 1, 2, 3, 3, 9, 9]
    counts = [5] * 9
    a = table([1.0] * 9, lengths=lengths, counts=counts)
    b = table([np.nan] * 4 + [1.0] * 5, lengths=lengths, counts=counts)
    result = compared(a, b.sample(frac=1, random_state=0))  # rows are matched by user and item
    keys = ["segment", "from", "to", "n_users", "difference"]
    assert result[keys].iloc[1:].to_numpy().tolist() == [
        ["history_length", 1, 1, 4, -1],
        ["history_length", 2, 3, 3, 0],
        ["history_length", 9, 9, 2, 0],
        ["item_count", 5, 5, 9, pytest.approx(-4 / 9)],
    ]
    assert result[keys].iloc[0, [0, 3]].tolist() == ["all", 9]
    assert result.loc[0, ["from", "to"]].isna().all()
    halves = compared(a, b, n_segments=2)
    assert halves["segment"].tolist() == ["all"] + ["history_length"] * 2 + ["item_count"]


def test_a_segment_of_items_looks_for_its_items_only():
    options = {"users": [0, 0, 1], "items": [7, 8, 7], "counts": [1, 9, 1], "lengths": [4, 4, 4]}
    a = table([1.0, np.nan, 2.0], **options)
    b = table([np.nan, 1.0, 2.0], **options)
    result = compared(a, b, metric="recall", n_segments=2)
    keys = ["segment", "n_users", "a", "b"]
    assert result[keys].to_numpy().tolist() == [
        ["all", 2, 0.75, 0.75],
        ["history_length", 2, 0.75, 0.75],
        ["item_count", 2, 1, 0.5],
        ["item_count", 1, 0, 1],
    ]
    assert result.iloc[-1][["low", "high"]].isna().all()  # a single user


def test_fitted_models(X, split):
    train, test = split
    one, two = (
        MINDRecommender(**{**SMALL, "n_interests": n_interests}).fit(train)
        for n_interests in (1, 2)
    )
    result = compare(one, make_pipeline(two), test, random_state=0, n_resamples=99)
    assert result["a"][0] == pytest.approx(one.score(test))
    assert result["b"][0] == pytest.approx(two.score(test))
    again = compare(one, two, test, random_state=0, n_resamples=99)
    pd.testing.assert_frame_equal(result, again)
    other = MINDRecommender(**SMALL).fit(X)
    with pytest.raises(InvalidInputError, match="both must have the same events, at least one; f"):
        compare(one, other, test)


def test_invalid_comparisons_are_an_error(split, fitted):
    test = split[1]
    for options, message in [
        ({"metric": "ndgc"}, "did you mean 'ndcg@10'"),
        ({"metric": "ndcg@5"}, "metric='ndcg@5' has a k of its own"),
        ({"k": 0}, "k=0 must be"),
        ({"n_segments": 0}, "n_segments=0 must be"),
        ({"n_resamples": 0}, "n_resamples=0 must be"),
        ({"random_state": "x"}, "'x' cannot be used to seed"),
        ({"unseen_users": "x"}, "unseen_users='x' is not one of"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(fitted, fitted, test, **options)
    new = test.drop_duplicates("user_id").assign(user_id=lambda X: X["user_id"] + 1000)
    with (
        pytest.warns(NothingToScoreWarning, match="nothing to score"),
        pytest.raises(InvalidInputError, match="model_a has 0 target events"),
    ):
        compare(fitted, fitted, new)


# ------------------------------------------------------------------ metrics of lists and items

ITEM_METRICS = ["coverage", "novelty", "average_popularity", "intra_list_diversity", "serendipity"]


def lists_of(fitted, test, k):
    """What a scorer looks at: the lists of known users, from whose histories targets are taken."""
    known = test[test["user_id"].isin(fitted.users_)]
    lists = []
    for user, rows in known.groupby("user_id"):
        seen = fitted.explain(user, fitted.items_[0])["history_item_id"]
        excluded = set(seen) - set(rows["item_id"])
        lists.append(
            fitted.recommend([user], k, exclude_seen=False, exclude_items=sorted(excluded))
        )
    return known, pd.concat(lists)


@pytest.mark.parametrize("places", [None, 1])
def test_metrics_of_lists_are_those_of_evaluate(split, fitted, places, monkeypatch):
    if places:  # one user at a time
        monkeypatch.setattr("skmind.scoring.BLOCK_PLACES", places)
    names = [*ITEM_METRICS, "precision", "ndcg", "recall"]
    scores = make_ranking_scorer(names, k=[2, 7], unseen_users="skip")(fitted, split[1])
    assert list(scores) == [f"{name}@{k}" for name in names for k in (2, 7)]
    known, found = lists_of(fitted, split[1], 7)
    expected = evaluate(
        known,
        found,
        list(scores),
        n_items=len(fitted.items_),
        item_counts=fitted.item_counts_,
        item_vectors=fitted.item_embeddings_,
        item_ids=fitted.items_,
    )
    assert scores == pytest.approx(expected, abs=1e-6)
    assert all(value > 0 for value in scores.values())


@pytest.mark.parametrize("name", [*ITEM_METRICS, "precision"])
def test_every_metric_alone_and_among_all_unseen_users(split, fitted, name):
    for unseen_users in ("fold_in", "popular"):
        score = make_ranking_scorer(name, k=5, unseen_users=unseen_users)(fitted, split[1])
        assert type(score) is float
        assert score > 0


def test_metrics_of_lists_in_a_search(X):
    scoring = make_ranking_scorer(["ndcg", "novelty", "coverage"], k=5)
    search = GridSearchCV(
        make_pipeline(MINDRecommender(**SMALL)),
        {"mindrecommender__n_interests": [1, 2]},
        cv=LeaveLastOut(),
        scoring=scoring,
        refit="ndcg@5",
    ).fit(X)
    for name in ("ndcg@5", "novelty@5", "coverage@5"):
        assert (search.cv_results_[f"mean_test_{name}"] > 0).all()


def test_weights_of_users_weigh_lists(split, fitted):
    train, test = split
    scorer = make_ranking_scorer(["novelty", "ndcg"], k=5, unseen_users="skip")
    user = test["user_id"].iloc[0]
    weights = (test["user_id"] == user).to_numpy() * 3.0
    alone = scorer(fitted, test[test["user_id"] == user])
    assert scorer(fitted, test, None, weights) == pytest.approx(alone)
    assert scorer(fitted, test) != pytest.approx(alone)


def test_lists_without_a_pair_have_no_diversity(split, fitted):
    scores = make_ranking_scorer(["intra_list_diversity", "ndcg"], k=1)(fitted, split[1])
    assert np.isnan(scores["intra_list_diversity@1"])
    assert np.isfinite(scores["ndcg@1"])


def test_nothing_to_score_has_no_lists(split, fitted):
    new = split[1].drop_duplicates("user_id").assign(user_id=lambda X: X["user_id"] + 1000)
    with pytest.warns(NothingToScoreWarning, match="nothing to score"):
        scores = make_ranking_scorer(["coverage", "serendipity"], k=5)(fitted, new)
    assert np.isnan(list(scores.values())).all()


@pytest.mark.parametrize("name", ITEM_METRICS)
def test_two_models_are_compared_by_ranks_only(split, fitted, name):
    with pytest.raises(InvalidInputError, match=f"unknown name '{name}@10'.*Valid names are"):
        compare(fitted, fitted, split[1], metric=name)


# ------------------------------------------------------------------ ranks among all items


@pytest.mark.parametrize("unseen_users", ["fold_in", "skip", "popular"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_counted_ranks_equal_searched_ones(
    X, split, fitted, unseen_users, exclude_seen, monkeypatch
):
    options = {"unseen_users": unseen_users, "exclude_seen": exclude_seen}
    for table in (split[1], X):
        for k in (3, 17, 40, 10**9):
            searched = fitted.target_ranks(table, k, **options)
            with monkeypatch.context() as patch:
                patch.setattr("skmind.scoring.MAX_SEARCHED_K", 0)
                patch.setattr("skmind.scoring.retrieve", None)
                counted = fitted.target_ranks(table, k, **options)
            pd.testing.assert_frame_equal(counted, searched)
            assert searched["rank"].notna().any()


@pytest.mark.parametrize("k", [10**9, 2**63 - 1])
def test_a_k_far_beyond_the_catalogue_is_that_of_all_items(split, fitted, k):
    names = ["recall", "hit_rate", "ndcg", "mrr", "map", "coverage", "novelty"]
    all_items = make_ranking_scorer(names, k=40)(fitted, split[1])
    beyond = make_ranking_scorer(names, k=k)(fitted, split[1])
    assert list(beyond.values()) == list(all_items.values())
    assert make_ranking_scorer("mrr", k=k)(fitted, split[1]) == all_items["mrr@40"]
    with pytest.raises(InvalidInputError, match=r"k=10{30} must be below 2\*\*63"):
        make_ranking_scorer("mrr", k=10**30)
