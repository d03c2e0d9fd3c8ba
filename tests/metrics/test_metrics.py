import decimal
import math

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import pytrec_eval
import torch
from scipy import sparse
from sklearn.metrics import ndcg_score
from sklearn.metrics.pairwise import cosine_distances

from skmind.exceptions import (
    IdTypeError,
    InvalidInputError,
    NothingToScoreWarning,
    UnknownIdError,
)
from skmind.metrics import (
    average_popularity_at_k,
    coverage_at_k,
    evaluate,
    hit_rate_at_k,
    intra_list_diversity_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    novelty_at_k,
    precision_at_k,
    recall_at_k,
    serendipity_at_k,
)

BY_NAME = {
    "recall": recall_at_k,
    "precision": precision_at_k,
    "hit_rate": hit_rate_at_k,
    "ndcg": ndcg_at_k,
    "mrr": mrr_at_k,
    "map": map_at_k,
}
WITHOUT_A_SHARE = ("hit_rate", "mrr", "precision")  # the number of relevant items doesn't matter
ALL_METRICS = pytest.mark.parametrize("name", BY_NAME)


def random_lists(n_users=60, n_items=30, max_relevant=8, max_length=25, seed=0):
    """Relevant items and recommendations, lists of all lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    y_true = [
        list(rng.permutation(n_items)[: rng.integers(max_relevant + 1)]) for _ in range(n_users)
    ]
    y_pred = [
        list(rng.permutation(n_items)[: rng.integers(max_length + 1)]) for _ in range(n_users)
    ]
    return y_true, y_pred


def only(caught):
    """The one warning that nothing can be scored."""
    (warning,) = [w for w in caught if w.category is NothingToScoreWarning]
    return warning


def frames(y_true, y_pred, users=None):
    """The same as long frames; the rows of the recommendations are shuffled."""
    users = range(len(y_true)) if users is None else users
    true = [(u, i) for u, items in zip(users, y_true, strict=True) for i in items]
    pred = [
        (u, i, 0.5, r)
        for u, items in zip(users, y_pred, strict=True)
        for r, i in enumerate(items, 1)
    ]
    true = pd.DataFrame(true, columns=["user_id", "item_id"])
    pred = pd.DataFrame(pred, columns=["user_id", "item_id", "score", "rank"])
    return true, pred.sample(frac=1, random_state=0)


# ------------------------------------------------------------------ definitions


def test_hand_computed_values():
    y_true = [["a", "b", "c"]]
    y_pred = [["x", "a", "y", "b", "c"]]
    log2 = math.log2
    assert recall_at_k(y_true, y_pred, k=4) == pytest.approx(2 / 3)
    assert recall_at_k(y_true, y_pred, k=2) == pytest.approx(1 / 3)
    assert hit_rate_at_k(y_true, y_pred, k=1) == 0.0
    assert hit_rate_at_k(y_true, y_pred, k=2) == 1.0
    assert mrr_at_k(y_true, y_pred, k=1) == 0.0
    assert mrr_at_k(y_true, y_pred, k=4) == 0.5
    assert map_at_k(y_true, y_pred, k=4) == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert map_at_k(y_true, y_pred, k=2) == pytest.approx((1 / 2) / 2)
    ideal = 1 + 1 / log2(3) + 1 / log2(4)
    assert ndcg_at_k(y_true, y_pred, k=4) == pytest.approx((1 / log2(3) + 1 / log2(5)) / ideal)
    assert ndcg_at_k(y_true, y_pred, k=2) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_equal_to_trec_eval(k):
    y_true, y_pred = random_lists()
    qrel = {str(u): {str(i): 1 for i in items} for u, items in enumerate(y_true) if items}
    run = {
        str(u): {str(i): -float(r) for r, i in enumerate(items[:k])}
        for u, items in enumerate(y_pred)
        if items
    }
    measures = {f"{name}.{k}" for name in ("recall", "P", "ndcg_cut", "success", "map_cut")}
    measures |= {"recip_rank"}
    oracle = pytrec_eval.RelevanceEvaluator(qrel, measures).evaluate(run)

    def expected(measure, user):
        if str(user) not in qrel:
            return math.nan
        return oracle[str(user)][measure] if str(user) in oracle else 0.0

    measure_of = {
        "recall": "recall",
        "precision": "P",
        "hit_rate": "success",
        "ndcg": "ndcg_cut",
        "map": "map_cut",
    }
    for name, function in BY_NAME.items():
        measure = f"{measure_of[name]}_{k}" if name in measure_of else "recip_rank"
        theirs = np.array([expected(measure, u) for u in range(len(y_true))])
        if name == "map":
            n_relevant = np.array([len(items) for items in y_true])
            theirs *= n_relevant / np.minimum(k, np.maximum(n_relevant, 1))
        ours = function(y_true, y_pred, k=k, per_user=True)
        np.testing.assert_allclose(ours, theirs, err_msg=name)
        assert function(y_true, y_pred, k=k) == pytest.approx(np.nanmean(theirs))
        assert 0 < np.nanmean(theirs) < 1


def test_ndcg_equal_to_scikit_learn():
    rng = np.random.default_rng(1)
    scores = rng.random((50, 30))
    relevant = rng.random((50, 30)) < 0.2
    relevant[:, 0] = True
    y_true = [np.flatnonzero(row) for row in relevant]
    y_pred = (-scores).argsort(axis=1)
    for k in (1, 5, 30):
        oracle = ndcg_score(relevant, scores, k=k)
        assert ndcg_at_k(y_true, y_pred, k=k) == pytest.approx(oracle)


@pytest.mark.parametrize("k", [1, 10])
def test_random_rankings_score_as_chance_and_no_more(k):
    n_users, n_items = 4000, 100
    rng = np.random.default_rng(2)
    y_true = rng.integers(n_items, size=n_users)
    y_pred = rng.permuted(np.tile(np.arange(n_items), (n_users, 1)), axis=1)
    ranks = np.arange(1, k + 1)
    gains = {
        "recall": np.ones(k),
        "hit_rate": np.ones(k),
        "ndcg": 1 / np.log2(ranks + 1),
        "mrr": 1 / ranks,
        "map": 1 / ranks,
    }
    for name, gain in gains.items():
        mean = gain.sum() / n_items
        deviation = math.sqrt(((gain**2).sum() / n_items - mean**2) / n_users)
        assert abs(BY_NAME[name](y_true, y_pred, k=k) - mean) < 4 * deviation, name
    assert hit_rate_at_k(y_true, y_pred, k=n_items) == 1.0


@ALL_METRICS
def test_perfect_ranking_scores_one_and_wrong_one_zero(name):
    y_true = [[1, 2], [3, 4]]
    best = 2 / 3 if name == "precision" else 1.0
    assert BY_NAME[name](y_true, [[2, 1, 9], [3, 4, 9]], k=3) == best
    assert BY_NAME[name](y_true, [[3, 4, 9], [1, 2, 9]], k=3) == 0.0


@ALL_METRICS
def test_items_that_were_never_recommendable_count_as_relevant(name):
    with_unknown = BY_NAME[name]([[1, 98, 99]], [[5, 1, 6]], k=3)
    alone = BY_NAME[name]([[1]], [[5, 1, 6]], k=3)
    assert with_unknown == alone if name in WITHOUT_A_SHARE else with_unknown < alone


@ALL_METRICS
def test_ideal_counts_k_items_even_if_the_list_is_shorter(name):
    y_true, y_pred = [list(range(10))], [[0, 1]]
    expected = {
        "recall": 0.2,
        "precision": 0.4,
        "hit_rate": 1.0,
        "mrr": 1.0,
        "map": 2 / 5,
        "ndcg": (1 + 1 / math.log2(3)) / sum(1 / math.log2(r + 1) for r in range(1, 6)),
    }
    assert BY_NAME[name](y_true, y_pred, k=5) == pytest.approx(expected[name])
    assert BY_NAME[name](y_true, [[0, 1, None, None, None]], k=5) == pytest.approx(expected[name])


@ALL_METRICS
def test_enormous_k_costs_no_memory(name):
    y_true, y_pred = random_lists()
    function = BY_NAME[name]
    if name != "precision":  # it divides by k
        assert function(y_true, y_pred, k=10**12) == function(y_true, y_pred, k=100)


# ------------------------------------------------------------------ users and repetitions


@ALL_METRICS
def test_repeated_relevant_ids_count_once(name):
    function = BY_NAME[name]
    assert function([[1, 1, 2, 1]], [[1, 5, 6]], k=3) == function([[1, 2]], [[1, 5, 6]], k=3)
    true, pred = frames([[1, 1, 2, 1]], [[1, 5, 6]])
    assert function(true, pred, k=3) == function([[1, 2]], [[1, 5, 6]], k=3)


@ALL_METRICS
@pytest.mark.parametrize("nothing", [[], None, float("nan"), [None], pd.NA])
def test_users_without_relevant_items_are_left_out(name, nothing):
    function = BY_NAME[name]
    y_true, y_pred = [[1], nothing, 2], [[5, 1], [1, 2], [2, 5]]
    values = function(y_true, y_pred, k=2, per_user=True)
    assert np.isnan(values).tolist() == [False, True, False]
    assert function(y_true, y_pred, k=2) == pytest.approx((values[0] + values[2]) / 2)


@ALL_METRICS
@pytest.mark.parametrize("k", [1, 5])
def test_nothing_to_score(name, k):
    function = BY_NAME[name]
    with pytest.warns(NothingToScoreWarning, match="no user of y_true") as caught:
        assert math.isnan(function([[], None], [[1], [2]], k=k))
    assert only(caught).filename == __file__
    with pytest.warns(NothingToScoreWarning, match="no user of y_true"):
        assert math.isnan(function([], [], k=k))
    true, pred = frames([[]], [[]])
    with pytest.warns(NothingToScoreWarning, match="no user of y_true"):
        assert math.isnan(function(true, pred, k=k))
    assert np.isnan(function([[], None], [[1], [2]], k=k, per_user=True)).all()


def test_users_without_recommendations_count_as_zeros_and_others_are_ignored():
    true = pd.DataFrame({"user_id": ["c", "a", "b", "c"], "item_id": [1, 2, 3, 4]})
    pred = pd.DataFrame({"user_id": ["z", "a", "c"], "item_id": [2, 2, 4], "rank": 1})
    values = recall_at_k(true, pred, k=5, per_user=True)
    assert values.index.tolist() == ["c", "a", "b"]
    assert (values.index.name, values.name) == ("user_id", "recall@5")
    assert values.tolist() == [0.5, 1.0, 0.0]
    assert recall_at_k(true, pred, k=5) == 0.5
    only_others = pred[pred["user_id"] == "z"]
    assert recall_at_k(true, only_others) == 0.0
    assert recall_at_k(true, pred.iloc[:0]) == 0.0


# ------------------------------------------------------------------ forms of input


@ALL_METRICS
def test_all_forms_agree(name):
    function = BY_NAME[name]
    y_true, y_pred = random_lists()
    y_true = [items or [29] for items in y_true]
    padded = np.full((len(y_pred), 25), np.nan)
    for row, items in zip(padded, y_pred, strict=True):
        row[: len(items)] = items
    objects = padded.astype(object)
    objects[np.isnan(padded)] = None
    expected = function(y_true, y_pred, k=7, per_user=True)
    assert 0 < expected.mean() < 1

    for form in (padded, objects, objects.tolist(), pd.Series(y_pred), pl.Series(objects.tolist())):
        np.testing.assert_array_equal(function(y_true, form, k=7, per_user=True), expected)
    arrow = pa.array([[int(i) for i in items] for items in y_pred])
    for form in (pd.Series(y_true), [np.array(y) for y in y_true]):
        np.testing.assert_array_equal(function(form, arrow, k=7, per_user=True), expected)

    true, pred = frames(y_true, y_pred)
    for convert in (lambda f: f, pl.from_pandas, pa.Table.from_pandas, pd.DataFrame.convert_dtypes):
        values = function(convert(true), convert(pred), k=7, per_user=True)
        np.testing.assert_array_equal(values, expected)
        assert values.index.tolist() == list(range(len(y_true)))
        assert function(convert(true), convert(pred), k=7) == pytest.approx(expected.mean())


@ALL_METRICS
def test_one_id_per_user_or_a_list_with_it(name):
    y_pred = [["b", "a"], ["c", "b"], ["a", "c"]]
    flat = ["a", "b", "b"]
    expected = BY_NAME[name](flat, y_pred, k=2, per_user=True)
    assert expected[0] == expected[1] > expected[2] == 0
    for form in (
        [[i] for i in flat],
        np.array(flat),
        np.array(flat)[:, None],
        pd.Series(flat),
        pl.Series(flat),
        pa.chunked_array([flat]),
        (i for i in flat),
        ["a", ["b"], ("b",)],
    ):
        np.testing.assert_array_equal(BY_NAME[name](form, y_pred, k=2, per_user=True), expected)


@pytest.mark.parametrize(
    "ids",
    [
        [10, 20, 30],
        [-1, 0, 1],
        [0.0, 1.0, -2.0],
        ["x", "y", "z"],
        [1, "1", 2.5],
        [2**53, 2**53 + 1, 2**53 + 2],
        [True, False, 2],
        list(pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])),
        [decimal.Decimal("1.1"), decimal.Decimal("2"), decimal.Decimal("3")],
    ],
    ids=lambda ids: type(ids[0]).__name__ + str(ids[0]),
)
def test_ids_of_every_kind(ids):
    a, b, c = ids
    y_true, y_pred = [[a], [b], [c, a]], [[a, b], [a, c], [b, c]]
    expected = [1.0, 0.0, 0.5]
    assert recall_at_k(y_true, y_pred, k=2, per_user=True).tolist() == expected
    true, pred = frames(y_true, y_pred, users=ids)
    assert recall_at_k(true, pred, k=2, per_user=True).tolist() == expected


def test_fractions_are_ids_in_a_column_only():
    true, pred = frames([[0.5], [1.5]], [[0.5, 1.0], [-2.5, 0.5]])
    assert recall_at_k(true, pred, per_user=True).tolist() == [1.0, 0.0]


SCORES = [[0.1, 0.9, 0.2]]


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([[0, 1, 0]], SCORES, "y_pred has the value 0.1, which looks like a score; give the ids"),
        (np.array([[0, 1, 0]]), np.array(SCORES, np.float32), "y_pred has the value 0.1, "),
        ([[0, 1]], [[1, 0.25]], "y_pred has the value 0.25, .*best first, in y_pred, such as item"),
        ([["a"]], pd.Series(SCORES), "y_pred has the value 0.1, "),
        ([[0, 0.5, 1.0]], [[2, 1, 0]], "y_true has the value 0.5, .* is an id, give two frames"),
    ],
)
def test_matrices_of_scores_are_refused(y_true, y_pred, message):
    """scikit-learn's metrics take them, as relevance and score of each item."""
    for call in (ndcg_at_k, evaluate):
        with pytest.raises(InvalidInputError, match=message):
            call(y_true, y_pred)
    if message.startswith("y_pred"):
        with pytest.raises(InvalidInputError, match=message):
            coverage_at_k(y_pred, 9)


def test_numbers_match_across_types_without_rounding():
    big = 2**53 - 1  # the largest integer that one float stands for
    assert recall_at_k([big - 1], [[float(big), 5.0]]) == 0.0
    assert recall_at_k([big], [[float(big), 5.0]]) == 1.0
    assert recall_at_k(np.array([2**24 - 1]), np.array([[2**24 - 1]], np.float32)) == 1.0
    assert recall_at_k(np.array([3, 4]), np.array([[3.0, np.nan], [5.0, 4.0]])) == 1.0
    assert recall_at_k(np.array([2**63 + 2], np.uint64), np.array([[2**62]])) == 0.0
    assert recall_at_k(np.array([7], np.uint8), np.array([[7]])) == 1.0
    assert recall_at_k([1e300], [[2e300, 3e300]]) == 0.0
    times = pd.date_range("2020", periods=2)
    assert recall_at_k(times, [[times[0], "a"], [times[0], "b"]]) == 0.5


LARGE = 2**53  # as a float, this may have been 2**53 + 1


@pytest.mark.parametrize(
    ("y_true", "y_pred", "name"),
    [
        ([LARGE], [[float(LARGE)]], "y_pred"),
        ([LARGE + 1], [[LARGE + 2, float(LARGE)]], "y_pred"),  # objects
        ([float(LARGE)], [[LARGE]], "y_true"),
        ([LARGE], np.array([[LARGE, np.nan]]), "y_pred"),  # padding makes integers floats
        ([float(LARGE)], [[float(LARGE)]], "y_true"),
        (np.array([2**24]), np.array([[2**24]], np.float32), "y_pred"),
        (
            pd.DataFrame({"user_id": [LARGE], "item_id": 1}),
            pd.DataFrame({"user_id": [float(LARGE)], "item_id": 1, "rank": 1}),
            "column 'user_id' of y_pred",
        ),
        (
            pd.Series([[1]], index=[LARGE + 1]),
            pd.Series([[1]], index=[float(LARGE)]),
            "the index of y_pred",
        ),
    ],
)
def test_floats_that_stand_for_several_integers_match_nothing(y_true, y_pred, name):
    for call in (recall_at_k, evaluate):
        with pytest.raises(InvalidInputError, match=f"{name} has .*float stands for several inte"):
            call(y_true, y_pred)


def test_large_floats_are_no_ids_of_vectors_and_counts():
    for call, rows in ((intra_list_diversity_at_k, [[1.0], [2.0]]), (novelty_at_k, [1, 2])):
        with pytest.raises(InvalidInputError, match="y_pred has the float .* the item_ids are int"):
            call([[LARGE + 2, float(LARGE)]], rows, item_ids=[LARGE, 1])
        with pytest.raises(InvalidInputError, match="item_ids has the float"):
            call([[LARGE]], rows, item_ids=[float(LARGE), 1.0])


def test_ranks_order_the_rows_and_gaps_close_up():
    true = pd.DataFrame({"user_id": [1], "item_id": ["b"]})
    pred = pd.DataFrame({"user_id": 1, "item_id": ["c", "b", "a"], "rank": [7, 3, 0]})
    assert mrr_at_k(true, pred) == 0.5
    assert mrr_at_k(true, pred.astype({"rank": "Int8"})) == 0.5
    assert mrr_at_k(true, pred.iloc[::-1], rank_col=None) == 0.5
    assert mrr_at_k(true, pred.drop(columns="rank").iloc[1:], rank_col=None) == 1.0
    assert mrr_at_k([["b"]], [[None, "b"]], k=1) == 1.0


def test_rows_of_equal_rank_keep_their_order():
    true = pd.DataFrame({"user_id": [1], "item_id": [41]})
    pred = pd.DataFrame({"user_id": 1, "item_id": range(100), "rank": np.arange(100) % 2})
    assert mrr_at_k(true, pred, k=100) == 1 / (50 + 20 + 1)


@ALL_METRICS
def test_column_names_can_be_chosen(name):
    true, pred = frames(*random_lists())
    expected = BY_NAME[name](true, pred)
    renamed = {"user_id": "u", "item_id": "i", "rank": "place"}
    true, pred = true.rename(columns=renamed), pred.rename(columns=renamed)
    columns = {"user_col": "u", "item_col": "i", "rank_col": "place"}
    assert BY_NAME[name](true, pred, **columns) == expected
    assert evaluate(true, pred, f"{name}@10", **columns) == {f"{name}@10": expected}
    assert BY_NAME[name](true, pred, per_user=True, **columns).index.name == "u"


def test_inputs_stay_as_they_were():
    true, pred = frames(*random_lists())
    copies = true.copy(), pred.copy()
    evaluate(true, pred)
    pd.testing.assert_frame_equal(true, copies[0])
    pd.testing.assert_frame_equal(pred, copies[1])


# ------------------------------------------------------------------ evaluate


def test_evaluate_equals_the_single_metrics():
    y_true, y_pred = random_lists()
    names = [f"{name}@{k}" for name in BY_NAME for k in (20, 1, 5)]
    expected = {n: BY_NAME[n.split("@")[0]](y_true, y_pred, k=int(n.split("@")[1])) for n in names}
    values = evaluate(y_true, y_pred, names)
    assert values == expected
    assert list(values) == names
    assert all(type(value) is float for value in values.values())
    assert list(evaluate(y_true, y_pred)) == ["ndcg@10", "hit_rate@10"]
    assert evaluate(*frames(y_true, y_pred), names) == pytest.approx(expected)


def test_evaluate_warns_once():
    with pytest.warns(NothingToScoreWarning, match="no user of y_true") as caught:
        values = evaluate([[]], [[1]])
    assert only(caught).filename == __file__
    assert all(math.isnan(value) for value in values.values())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ngcd@20"], r"unknown name 'ngcd@20' \(did you mean 'ndcg@20'\?\)"),
        (["NDCG@5"], r"did you mean 'ndcg@5'"),
        ("recalls", r"unknown name 'recalls' \(did you mean 'recall@10'"),
        (["ndcg@0"], r"unknown name 'ndcg@0' \(did you mean 'ndcg@10'"),
        (
            ["ndcg@ten", "xyzzy@3"],
            r"'ndcg@ten' .*; unknown name 'xyzzy@3'\. Valid names are 'recall@<k>'",
        ),
        (["ndcg@10", 10], "unknown name 10"),
        ([], "no name is given"),
    ],
)
def test_bad_metric_names(names, message):
    with pytest.raises(InvalidInputError, match=message):
        evaluate([[1]], [[1]], names)


# ------------------------------------------------------------------ errors


FRAMES = frames([[1], [2]], [[1, 2], [2, 1]])


@ALL_METRICS
@pytest.mark.parametrize("k", [0, -1, 2.0, "10", True, None])
def test_bad_k(name, k):
    with pytest.raises(InvalidInputError, match=r"k=.* must be an integer of at least 1"):
        BY_NAME[name]([[1]], [[1]], k=k)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "error", "message"),
    [
        (FRAMES[0], [[1], [2]], InvalidInputError, "y_true is a DataFrame and y_pred a list"),
        ([[1], [2]], FRAMES[1], InvalidInputError, "y_true is a list and y_pred a DataFrame"),
        ([[1], [2]], [[1]], InvalidInputError, "y_true has 2 users and y_pred 1"),
        ([1, 2], [1, 2], InvalidInputError, "list of ids per user, best first, but row 0 is 1"),
        ([1, 2], [[1], "ab"], InvalidInputError, "but row 1 is 'ab'"),
        ([1, 2], np.array([1, 2]), InvalidInputError, "y_pred must have a list of ids per user"),
        (5, [[1]], InvalidInputError, "y_true is a int; give a frame or a list"),
        ("ab", [["a"], ["b"]], InvalidInputError, "y_true is a str"),
        ([1], {"u": [1]}, InvalidInputError, r"y_pred is a dict;.* pandas.Series\(y_pred\) if"),
        ({1}, [[1]], InvalidInputError, "y_true is a set"),
        (frozenset({1}), [[1]], InvalidInputError, "y_true is a frozenset"),
        ([1, 2], [[1], {1}], InvalidInputError, "list 1 of y_pred is a set.*; pass a list, best f"),
        ([1], pd.Series([frozenset({1})]), InvalidInputError, "y_pred is a frozenset, but sets ha"),
        ([1], [{1: 0.5}], InvalidInputError, "0 of y_pred is a dict, .* list of its keys, best f"),
        ([{1: 0}], [[1]], InvalidInputError, "list 0 of y_true is a dict, .* list of its keys$"),
        ([1], np.zeros((1, 2, 3)), InvalidInputError, "y_pred is a ndarray"),
        ([1], [[1.0, np.inf]], InvalidInputError, "y_pred has 1 missing or infinite ids"),
        ([[1], [(1, 2)]], [[1], [2]], IdTypeError, r"y_true has the id \(1, 2\) of type tuple"),
        ([1], [[2, 1, 2]], InvalidInputError, "the item 2 more than once to the user in row 0"),
        ([1, 2], [["1"], ["2"]], IdTypeError, "item ids of y_true .* 'number' .* 'text'"),
    ],
)
def test_bad_inputs(y_true, y_pred, error, message):
    with pytest.raises(error, match=message):
        hit_rate_at_k(y_true, y_pred)
    with pytest.raises(error, match=message):
        evaluate(y_true, y_pred)


@pytest.mark.parametrize(
    ("true", "pred", "error", "message"),
    [
        ({"user_id": "user"}, {}, InvalidInputError, "no column 'user_id'.* set user_col="),
        ({}, {"item_id": "item"}, InvalidInputError, "no column 'item_id'.* set item_col="),
        ({}, {"rank": "place"}, InvalidInputError, "no column 'rank'.* set rank_col=None if"),
    ],
)
def test_missing_columns(true, pred, error, message):
    with pytest.raises(error, match=message):
        ndcg_at_k(FRAMES[0].rename(columns=true), FRAMES[1].rename(columns=pred))


def test_bad_columns():
    true, pred = frames([[1], [2]], [[1, 2], [2, 1]])
    with pytest.raises(IdTypeError, match="user ids of y_true .* 'number' .* 'text'"):
        ndcg_at_k(true, pred.astype({"user_id": str}))
    with pytest.raises(InvalidInputError, match="column 'item_id' of y_true has 1 missing"):
        ndcg_at_k(true.assign(item_id=[1, None]), pred)
    with pytest.raises(InvalidInputError, match="column 'user_id' of y_pred has 1 missing"):
        ndcg_at_k(true, pred.assign(user_id=[0, 0, 1, None]))
    for ranks, row in (([1, 2, None, 1], 2), (["a", "b", "c", "d"], 0)):
        with pytest.raises(InvalidInputError, match=f"'rank' of y_pred has no number in row {row}"):
            ndcg_at_k(true, pred.assign(rank=ranks))
    with pytest.raises(InvalidInputError, match="the item 1 more than once to the user 1;"):
        ndcg_at_k(true, pred.assign(item_id=1).query("user_id == 1"))


def test_ranks_and_not_scores():
    true, pred = frames([[1], [2]], [[1, 2], [3, 2]])
    expected = ndcg_at_k(true, pred)
    scored = pred.assign(score=1.25 - pred["rank"])
    with pytest.raises(InvalidInputError, match="column 'score' of y_pred has the value 0.25 in"):
        ndcg_at_k(true, scored, rank_col="score")
    best_first = scored.sort_values("score", ascending=False)
    assert ndcg_at_k(true, best_first, rank_col=None) == expected
    assert ndcg_at_k(true, pred.assign(rank=pred["rank"] + 0.5)) == expected  # a mean rank of ties


# ------------------------------------------------------------------ coverage and diversity


def test_coverage():
    y_pred = [["a", "b", "c"], ["b", "a", None], ["b", None, None]]
    assert coverage_at_k(y_pred, 4, k=1) == 0.5
    assert coverage_at_k(y_pred, 4, k=3) == 0.75
    assert coverage_at_k(y_pred, 3) == 1.0
    assert coverage_at_k([[], []], 3) == 0.0
    assert coverage_at_k(np.array([[1.0, np.nan], [2.0, 1.0]]), 4) == 0.5
    _, pred = frames(y_pred[:1], y_pred[:1], users=["u"])
    assert coverage_at_k(pred, 4, k=2) == 0.5
    renamed = pred.rename(columns={"user_id": "u", "item_id": "i"}).sort_values("rank")
    assert coverage_at_k(renamed, 4, k=2, user_col="u", item_col="i", rank_col=None) == 0.5


def test_coverage_errors():
    with pytest.raises(InvalidInputError, match="n_items=1 is less than the 2 items"):
        coverage_at_k([[1, 2]], 1)
    with pytest.raises(InvalidInputError, match="n_items=0 must be an integer of at least 1"):
        coverage_at_k([[1, 2]], 0)
    with pytest.raises(InvalidInputError, match="k=0 must be an integer of at least 1"):
        coverage_at_k([[1, 2]], 2, k=0)


@pytest.mark.parametrize("k", [2, 5, 30])
def test_diversity_equals_the_mean_over_pairs(k):
    _, y_pred = random_lists()
    vectors = np.random.default_rng(3).normal(size=(30, 4)).astype(np.float32)
    values = []
    for items in y_pred:
        n = len(items[:k])
        if n >= 2:
            distances = cosine_distances(vectors[items[:k]].astype(float))
            values.append(distances[np.triu_indices(n, 1)].mean())
    expected = pytest.approx(np.mean(values))
    assert intra_list_diversity_at_k(y_pred, vectors, k=k, item_ids=range(30)) == expected
    names = np.array([f"i{code}" for code in range(30)])
    order = np.random.default_rng(4).permutation(30)
    named = [[names[i] for i in items] for items in y_pred]
    ids = {"item_ids": names[order]}
    assert intra_list_diversity_at_k(named, vectors[order], k=k, **ids) == expected
    _, pred = frames(named, named)
    assert intra_list_diversity_at_k(pred, vectors[order], k=k, **ids) == expected


def test_diversity_of_planted_vectors():
    vectors = dict(enumerate([[1, 0], [2, 0], [-1, 0], [0, 5], [0, 0]]))
    assert intra_list_diversity_at_k([[0, 1]], vectors) == 0.0
    assert intra_list_diversity_at_k([[0, 2]], vectors) == 2.0
    assert intra_list_diversity_at_k([[0, 4]], vectors) == 1.0
    assert intra_list_diversity_at_k([[0, 3, 1], [3], []], vectors) == pytest.approx(2 / 3)


def test_sets_and_views_of_relevant_items():
    items = {"a": 1, "b": 2}
    for relevant in ({"a", "b"}, frozenset("ab"), items.keys(), ("a", "b"), np.array(["a", "b"])):
        assert recall_at_k([relevant], [items.keys()]) == 1.0
    assert mrr_at_k(["b"], [items.keys()]) == 0.5
    assert mrr_at_k([2], [items.values()]) == 0.5


@pytest.mark.parametrize("scale", [1e200, 1e-200, 5e-324, 1.7e308])
def test_diversity_of_vectors_of_extreme_lengths(scale):
    vectors = np.array([[1.0, 0.0], [scale, 0.0], [0.0, scale], [-scale, 0.0], [scale, scale]])
    y_pred = [[0, 1], [0, 2], [0, 3], [1, 4]]
    for pair, distance in zip(y_pred, [0.0, 1.0, 2.0, 1 - 0.5**0.5], strict=True):
        found = intra_list_diversity_at_k([pair], vectors, item_ids=range(5))
        assert found == pytest.approx(distance)


def test_diversity_of_keyed_vectors():
    vectors = {"b": [0.0, 1.0], "a": [1.0, 0.0]}
    frame = pd.DataFrame.from_dict(vectors, orient="index")
    for item_vectors in (vectors, pd.Series(vectors), frame):
        assert intra_list_diversity_at_k([["a", "b"]], item_vectors) == 1.0
        with pytest.raises(UnknownIdError, match="item 'c', which has no row .*; add its vector"):
            intra_list_diversity_at_k([["a", "c"]], item_vectors)
    # the keys of a dict are ids, also where item_ids= names the rows of other arguments
    swapped = {1: [0.0, 1.0], 0: [1.0, 0.0], 2: [1.0, 0.0]}
    assert intra_list_diversity_at_k([[0, 2]], swapped, item_ids=[0, 1, 2]) == 0.0


def test_diversity_needs_two_items():
    with pytest.warns(NothingToScoreWarning, match="two recommendations within k=1") as caught:
        assert math.isnan(intra_list_diversity_at_k([[0, 1]], np.eye(2), k=1, item_ids=[0, 1]))
    assert only(caught).filename == __file__


@pytest.mark.parametrize(
    ("y_pred", "kwargs", "error", "message"),
    [
        (
            [[0, 7]],
            {"item_ids": [0, 1]},
            UnknownIdError,
            r"item 7, which has no row .* \(1 such items\); add its vector",
        ),
        ([["a", "z"]], {"item_ids": ["a", "b"]}, UnknownIdError, "item 'z', .*; add its vector"),
        (
            [["a"]],
            {"item_ids": [0, 1]},
            IdTypeError,
            "the item_ids are of the kind 'number' .* 'text'",
        ),
        ([[0, 1]], {}, InvalidInputError, "item_vectors is a ndarray without ids; set item_ids="),
        *(
            ([[0, 1]], {"item_vectors": vectors}, InvalidInputError, message)
            for vectors, message in [
                ([[1.0], [2.0]], "item_vectors is a list without ids; set item_ids= .*, or give a"),
                (pl.DataFrame({"x": [1.0]}), "item_vectors is a DataFrame without ids"),
                (
                    np.ma.array(np.eye(2)),
                    r"item_vectors is a MaskedArray .*; pass item_vectors\.data",
                ),
                ([np.ma.array([1.0])], r"masked array.*numpy.ma.stack\(item_vectors\).filled\(0\)"),
                (torch.eye(2, requires_grad=True), r"pass item_vectors\.detach\(\)\.cpu\(\)"),
            ]
        ),
        ([["a"]], {"item_ids": ["a", "a"]}, InvalidInputError, "has 2 ids, 1 of them distinct"),
        ([["a"]], {"item_ids": ["a"]}, InvalidInputError, "item_vectors has 2 rows"),
        ([[0]], {"k": 0}, InvalidInputError, "k=0 must be an integer"),
        *(
            ([["a"]], {"item_vectors": vectors}, InvalidInputError, f"of finite .* but {message}")
            for vectors, message in [
                ([[1.0], [np.nan]], r"vector 1 is \[nan\], where vector 0 is \[1.0\]"),
                ([1.0, 2.0], "vector 0 is 1.0$"),
                ({"a": [1.0], "b": [1.0, 2.0]}, r"vector 1 is \[1.0, 2.0\], where vector 0"),
                ({"a": [1.0], "b": None}, "vector 1 is None"),
                ({"a": "x", "b": "y"}, "vector 0 is 'x'$"),
                (pd.Series({"a": [[1.0]], "b": [[1.0]]}), r"vector 0 is \[\[1.0\]\]$"),
                (pl.DataFrame({"x": ["y"]}), "it is "),
                (None, "it is None"),
                ([], r"it is \[\]"),
            ]
        ),
        (
            [[0]],
            {"item_vectors": pd.DataFrame({"item_id": [0, 1], "x": [1.0, 2.0]})},
            InvalidInputError,
            r"has the column 'item_id', .*: item_vectors.set_index\('item_id'\)",
        ),
        ([[0]], {"item_vectors": sparse.eye(2)}, InvalidInputError, r"pass item_vectors.toarray\("),
    ],
)
def test_diversity_errors(y_pred, kwargs, error, message):
    kwargs = {"item_vectors": np.eye(2), **kwargs}
    with pytest.raises(error, match=message):
        intra_list_diversity_at_k(y_pred, **kwargs)


# ------------------------------------------------------------------ Series keyed by users


@ALL_METRICS
def test_two_series_are_matched_by_their_index(name):
    y_true, y_pred = random_lists()
    users = [f"u{number}" for number in range(len(y_true))]
    true, pred = pd.Series(y_true, index=users), pd.Series(y_pred, index=users)
    expected = BY_NAME[name](y_true, y_pred, k=5, per_user=True)
    shuffled = pred.sample(frac=1, random_state=0)
    for in_order in (pred, shuffled):
        values = BY_NAME[name](true, in_order, k=5, per_user=True)
        np.testing.assert_array_equal(values, expected)
    mean = evaluate(true, shuffled, f"{name}@5")[f"{name}@5"]
    assert mean == pytest.approx(np.nanmean(expected))
    numbered = pred.reset_index(drop=True).sample(frac=1, random_state=0)
    by_number = BY_NAME[name](pd.Series(y_true), numbered, k=5, per_user=True)
    np.testing.assert_array_equal(by_number, expected)


KEYED = pd.Series({"ann": ["tea"], "bob": ["rum"]})


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (KEYED, KEYED.rename({"ann": "eve"}), "1 users in the index of y_true are not in .* 'ann'"),
        (KEYED[:1], KEYED, "1 users in the index of y_pred are not in that of y_true, .* 'bob'"),
        (KEYED, KEYED[:1], "1 users in the index of y_true are not in that of y_pred, .* 'bob'"),
        (KEYED, KEYED.reset_index(drop=True), "2 users in the index of y_true are not in"),
        (KEYED, KEYED.set_axis(["ann", "ann"]), "index of y_pred names the user 'ann' more than"),
        (KEYED.set_axis([1, 1]), KEYED, "index of y_true names the user 1 more than once"),
        (KEYED.set_axis([1, 1]), KEYED.set_axis([1, 1]), "index of y_true names the user 1 more"),
        (KEYED, KEYED.to_list(), "y_true is a Series whose index names .* 'ann'.* y_pred has no"),
        (KEYED.to_list(), KEYED, "y_pred is a Series whose index names .* 'ann'.* y_true has no"),
        (KEYED.set_axis([1, 0]), np.array([["a"], ["b"]]), "index names the users .* y_pred has"),
    ],
)
def test_series_of_other_users_are_an_error(y_true, y_pred, message):
    cure = r".*\.to_list\(\) on both to match them by position"
    for call in (recall_at_k, evaluate):
        with pytest.raises(InvalidInputError, match=message + cure):
            call(y_true, y_pred)


# ------------------------------------------------------------------ k far beyond the lists


@ALL_METRICS
@pytest.mark.parametrize("k", [10**9, 2**63 - 1])
def test_a_large_k_costs_nothing(name, k):
    y_true, y_pred = random_lists()
    expected = BY_NAME[name](y_true, y_pred, k=30, per_user=True)
    if name == "precision":
        expected *= 30 / k
    np.testing.assert_allclose(BY_NAME[name](y_true, y_pred, k=k, per_user=True), expected)
    with pytest.raises(InvalidInputError, match=r"k=10{30} must be below 2\*\*63"):
        BY_NAME[name](y_true, y_pred, k=10**30)
    with pytest.raises(InvalidInputError, match=r"k=10{30} must be below 2\*\*63"):
        evaluate(y_true, y_pred, f"{name}@{10**30}")


# ------------------------------------------------------------------ popularity


COUNTS = np.random.default_rng(5).integers(8, size=30) * np.arange(30)  # some 0, some equal


@pytest.mark.parametrize("k", [1, 4, 30, 10**9])
def test_novelty_and_popularity_equal_a_loop_over_the_lists(k):
    _, y_pred = random_lists()
    novelties, popularities = [], []
    for items in y_pred:
        if items[:k]:
            shares = [max(COUNTS[item], 1) / COUNTS.sum() for item in items[:k]]
            novelties.append(np.mean([-math.log2(share) for share in shares]))
            popularities.append(np.mean([COUNTS[item] for item in items[:k]]))
    novelty, popularity = pytest.approx(np.mean(novelties)), pytest.approx(np.mean(popularities))
    assert 0 < len(novelties) < len(y_pred)
    _, frame = frames(y_pred, y_pred)
    order = np.random.default_rng(6).permutation(30)
    for lists in (y_pred, frame):
        for arguments in (
            {"item_counts": COUNTS, "item_ids": range(30)},
            {"item_counts": COUNTS[order].tolist(), "item_ids": order},
            {"item_counts": pd.Series(COUNTS)[order]},
            {"item_counts": pd.Series(COUNTS[order]), "item_ids": order},
            {"item_counts": dict(enumerate(COUNTS))},
        ):
            assert novelty_at_k(lists, k=k, **arguments) == novelty
            assert average_popularity_at_k(lists, k=k, **arguments) == popularity


@pytest.mark.parametrize("k", [1, 4, 30])
def test_serendipity_equals_a_loop_over_the_lists(k):
    y_true, y_pred = random_lists()
    frequent_first = sorted(set(COUNTS.tolist()) - {0}, reverse=True)
    expected = []
    for relevant, items in zip(y_true, y_pred, strict=True):
        gain = 0.0
        for rank, item in enumerate(items[:k], 1):
            by_popularity = 0.0
            if COUNTS[item]:
                by_popularity = (30 + 1 - (1 + frequent_first.index(COUNTS[item]))) / 30
            gain += (item in relevant) * max((30 + 1 - rank) / 30 - by_popularity, 0)
        expected.append(gain / k if relevant else math.nan)
    counts = pd.Series(COUNTS)
    values = serendipity_at_k(y_true, y_pred, counts, k=k, per_user=True)
    np.testing.assert_allclose(values, expected)
    assert np.nanmax(values) > 0
    mean = pytest.approx(np.nanmean(expected))
    assert serendipity_at_k(y_true, y_pred, counts, k=k) == mean
    true, pred = frames(y_true, y_pred)
    assert serendipity_at_k(true, pred, COUNTS, item_ids=range(30), k=k) == mean


def test_items_to_be_found_need_no_count():
    assert serendipity_at_k([["tea", "new"]], [["tea"]], {"tea": 1, "rum": 2}, k=1) == 0.5


ALL_OF_ITEMS = {
    "n_items": 30,
    "item_counts": COUNTS,
    "item_vectors": np.random.default_rng(7).normal(size=(30, 4)),
    "item_ids": range(30),
}


def test_evaluate_has_the_metrics_of_items():
    y_true, y_pred = random_lists()
    of_counts = {"item_counts": COUNTS, "item_ids": range(30)}
    vectors = ALL_OF_ITEMS["item_vectors"]
    expected = {
        "coverage@3": coverage_at_k(y_pred, 30, k=3),
        "ndcg@2": ndcg_at_k(y_true, y_pred, k=2),
        "novelty@5": novelty_at_k(y_pred, k=5, **of_counts),
        "average_popularity@5": average_popularity_at_k(y_pred, k=5, **of_counts),
        "intra_list_diversity@4": intra_list_diversity_at_k(
            y_pred, vectors, k=4, item_ids=range(30)
        ),
        "serendipity@6": serendipity_at_k(y_true, y_pred, k=6, **of_counts),
    }
    found = evaluate(y_true, y_pred, list(expected), **ALL_OF_ITEMS)
    assert found == expected
    assert list(found) == list(expected)
    assert evaluate(None, y_pred, "coverage@3", n_items=30) == {"coverage@3": found["coverage@3"]}
    renamed = {"user_id": "u", "item_id": "i", "rank": "place"}
    columns = {"user_col": "u", "item_col": "i", "rank_col": "place"}
    true, pred = (frame.rename(columns=renamed) for frame in frames(y_true, y_pred))
    by_frame = evaluate(true, pred, list(expected), **ALL_OF_ITEMS, **columns)
    assert by_frame == pytest.approx(expected)


def test_vectors_with_ids_in_their_index():
    _, y_pred = random_lists()
    vectors = pd.DataFrame(ALL_OF_ITEMS["item_vectors"])
    expected = intra_list_diversity_at_k(y_pred, vectors.to_numpy(), k=4, item_ids=range(30))
    shuffled = vectors.sample(frac=1, random_state=0)
    assert intra_list_diversity_at_k(y_pred, vectors, k=4) == pytest.approx(expected)
    assert intra_list_diversity_at_k(y_pred, shuffled, k=4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("coverage", "n_items"),
        ("novelty", "item_counts"),
        ("average_popularity", "item_counts"),
        ("serendipity", "item_counts"),
        ("intra_list_diversity", "item_vectors"),
    ],
)
def test_evaluate_says_what_a_metric_needs(name, needed):
    arguments = ALL_OF_ITEMS | {needed: None}
    with pytest.raises(InvalidInputError, match=f"'{name}@5' needs {needed}=; for a fitted model"):
        evaluate([[1]], [[1]], ["ndcg@2", f"{name}@5"], **arguments)


@pytest.mark.parametrize(
    ("counts", "item_ids", "error", "message"),
    [
        ([1, 2], None, InvalidInputError, "item_counts is a list without ids; set item_ids="),
        (np.array([1, 2]), None, InvalidInputError, "item_counts is a ndarray without ids"),
        (np.ma.array([1, 2]), ["a", "b"], InvalidInputError, "item_counts has a masked array"),
        ({"a": 1, "b": -1}, None, InvalidInputError, "one finite number of at least 0 per item"),
        ({"a": 1, "b": np.nan}, None, InvalidInputError, "one finite number of at least 0 per"),
        ({"a": "x"}, None, InvalidInputError, "item_counts must have the number of interactions"),
        ({"a": 0, "b": 0}, None, InvalidInputError, "not all 0"),
        ([[1, 2]], ["a"], InvalidInputError, "item_counts must have the number of interactions"),
        ([1, 2], ["a"], InvalidInputError, "item_ids has 1 ids, 1 of them distinct, but item_coun"),
        ({"a": 1}, None, UnknownIdError, "'b', which has no row in item_counts .* may be 0"),
        ({1: 1}, None, IdTypeError, "item_ids are of the kind 'number' .* 'text'"),
        (pd.Series([7], name="item_id"), None, InvalidInputError, r"is the column .*value_counts"),
    ],
)
def test_bad_counts(counts, item_ids, error, message):
    for function in (novelty_at_k, average_popularity_at_k):
        with pytest.raises(error, match=message):
            function([["a", "b"]], counts, item_ids=item_ids)
    with pytest.raises(error, match=message):
        serendipity_at_k([["a"]], [["a", "b"]], counts, item_ids=item_ids)


def test_shares_of_items_are_no_counts():
    rows = pd.DataFrame({"item_id": ["a", "b", "b", "b"]})
    shares = rows["item_id"].value_counts(normalize=True)
    with pytest.raises(InvalidInputError, match="item_counts has the value 0.75, which looks like"):
        novelty_at_k([["a"]], shares)
    assert average_popularity_at_k([["a"]], shares) == 0.25
    assert novelty_at_k([["a"]], rows.groupby("item_id")["item_id"].count()) == 2.0


@pytest.mark.parametrize(
    ("function", "name"), [(novelty_at_k, "novelty"), (average_popularity_at_k, "popularity")]
)
def test_popularity_of_no_recommendations(function, name):
    with pytest.warns(NothingToScoreWarning, match=f"no recommendations; the {name} is nan"):
        assert math.isnan(function([[], [None]], {"a": 1}))
    with pytest.raises(InvalidInputError, match="k=0 must be an integer"):
        function([["a"]], {"a": 1}, k=0)
