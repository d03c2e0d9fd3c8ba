from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from skmind.data.interactions import Interactions
from skmind.data.prepare import Schema
from skmind.data.ties import draw_tie_order, find_ties, mix_ties
from skmind.data.weights import check_aligned, check_weights, read_weights
from skmind.exceptions import InvalidInputError

SCHEMA = Schema("user", "item", "time")
BY_COLUMN = SCHEMA._replace(weight="stars")
X = pd.DataFrame({"user": [0, 0, 1, 1], "item": [1, 2, 3, 4], "time": range(4)})
MUST = "must have one finite number of at least 0 for each of the 4 rows of X, got "
NO_NUMBERS = "must have one number for each row of X, got .*; convert it .pandas.to_numeric"

# ------------------------------------------------------------------ reading and checking


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (list, [0, 0.5, 1, 2.5]),
        (np.array, [0, 0.5, 1, 2.5]),
        (lambda w: np.array(w, np.float16), [0, 0.5, 1, 2.5]),
        (lambda w: np.array(w) * 2**1000, [0, 0.5, 1, 2.5]),
        (pd.Series, [0, 0.5, 1, 2.5]),
        (lambda w: pd.Series(w, dtype="Float64"), [0, 0.5, 1, 2.5]),
        (lambda w: pd.Series(w, dtype="float64[pyarrow]"), [0, 0.5, 1, 2.5]),
        (pl.Series, [0, 0.5, 1, 2.5]),
        (pa.array, [0, 0.5, 1, 2.5]),
        (lambda w: [Decimal(v) for v in w], [0, 0.5, 1, 2.5]),
        (lambda w: [v > 0.7 for v in w], [0, 0, 2, 2]),
        (lambda w: (2 * np.array(w)).astype(np.uint8), [0, 0.5, 1, 2.5]),
    ],
)
def test_weights_of_any_library_are_relative_to_their_mean(make, wanted):
    weights = make([0.0, 0.5, 1.0, 2.5])
    found = read_weights(X, SCHEMA, weights)
    assert found.dtype == np.float32
    assert found.tolist() == wanted
    if not isinstance(weights, list | np.ndarray):
        assert read_weights(X.assign(stars=np.asarray(weights)), BY_COLUMN, None).tolist() == wanted


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_column_of_any_frame_has_the_weights(make):
    columns = X.to_dict("list") | {"stars": [0, 1, 2, 5]}
    assert read_weights(make(columns), BY_COLUMN, None).tolist() == [0, 0.5, 1, 2.5]


def test_a_position_of_an_array_has_the_weights():
    array = np.column_stack([X, [0, 1, 2, 5]])
    schema = SCHEMA._replace(weight=3)
    assert read_weights(array, schema, None).tolist() == [0, 0.5, 1, 2.5]


@pytest.mark.parametrize("weights", [None, [1] * 4, [0.3] * 4, [True] * 4, [1e300] * 4])
def test_equal_weights_are_no_weights(weights):
    assert read_weights(X, SCHEMA, weights) is None
    if weights is not None:
        assert read_weights(X.assign(stars=weights), BY_COLUMN, None) is None


BAD = {
    "negative": ([1, 1, -2, 1], MUST + "-2 in row 2; drop these rows, or give them a weight"),
    "nan": ([1, np.nan, 1, 1], MUST + "nan in row 1; drop"),
    "infinite": ([1, 1, 1, np.inf], MUST + "inf in row 3; drop"),
    "minus infinity": ([-np.inf, 1, 1, 1], MUST + "-inf in row 0; drop"),
    "None": ([1, None, 1, 1], MUST + "nan in row 1|" + NO_NUMBERS),
    "text": (["a", "b", "c", "d"], NO_NUMBERS),
    "digits": (["1", "2", "3", "4"], NO_NUMBERS),
    "one text": ([1, "2", 3, 4], NO_NUMBERS),
    "dates": (np.arange(4).astype("M8[s]"), NO_NUMBERS),
    "complex": ([1j] * 4, NO_NUMBERS),
    "all 0": ([0] * 4, "the weight is zero in every row of X, .*; give a row a positive weight"),
}
BAD_SHAPES = {
    "too few": ([1, 2], MUST + r"an array of shape \(2,\); give the weights of exactly these rows"),
    "too many": ([1] * 5, MUST + r"an array of shape \(5,\)"),
    "none": ([], MUST + r"an array of shape \(0,\)"),
    "a number": (2.0, MUST + r"an array of shape \(\)"),
    "two columns": (np.ones((4, 2)), MUST + r"an array of shape \(4, 2\)"),
    "a column": (np.ones((4, 1)), MUST + r".*\(4, 1\); pass numpy.ravel\(sample_weight\)$"),
    "a row": ([[1, 2, 3, 4]], MUST + r"an array of shape \(1, 4\); pass numpy.ravel"),
    "a frame": (pd.DataFrame({"w": [1] * 4}), MUST + r".*pass its column: sample_weight\['w'\]$"),
    "a table": (pa.table({"w": [1.0] * 4}), MUST + r".*pass its column: sample_weight\['w'\]$"),
    "unequal rows": ([[1], [1, 2], [1], [1]], NO_NUMBERS),
    "a dict": ({0: 1}, NO_NUMBERS),
    "a name": ("balanced", NO_NUMBERS),
}


@pytest.mark.parametrize("case", [*BAD, *BAD_SHAPES])
def test_bad_weights_are_named(case):
    weights, match = (BAD | BAD_SHAPES)[case]
    with pytest.raises(InvalidInputError, match=f"^sample_weight:? ({match})"):
        read_weights(X, SCHEMA, weights)
    if not case.startswith("all"):
        with pytest.raises(InvalidInputError, match=f"^sample_weight ({match})"):
            check_weights(weights, 4)


@pytest.mark.parametrize("case", BAD)
def test_bad_weights_of_a_column_are_named(case):
    weights, match = BAD[case]
    with pytest.raises(InvalidInputError, match=f"^column 'stars':? ({match})"):
        read_weights(X.assign(stars=weights), BY_COLUMN, None)


def test_a_missing_column_is_named():
    with pytest.raises(InvalidInputError, match=r"no column 'stars'; it has .*set weight_col= to"):
        read_weights(X, BY_COLUMN, None)
    with pytest.raises(InvalidInputError, match=r"'item', no column 'stars'.*item_col= and weight"):
        read_weights(X.drop(columns="item"), BY_COLUMN, None)


def test_weights_are_given_once():
    match = "^sample_weight is given, but weight_col='stars' names .*; give one of them: set weight"
    with pytest.raises(InvalidInputError, match=match):
        read_weights(X.assign(stars=[1, 2, 3, 4]), BY_COLUMN, [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("weights", "cure"),
    [
        (np.ma.array([1, 2, 3, 4], mask=[0, 1, 0, 0]), r"mask would be lost; .*\.filled\(0\) if"),
        (np.ma.array([1, 2, 3, 4]), r"sample_weight\.data if nothing is masked$"),
        (torch.ones(4, requires_grad=True), r"float32 on the device cpu, .*sample_weight\.detach"),
        (torch.ones(4, dtype=torch.bfloat16), r"bfloat16 on .*\.detach\(\)\.cpu\(\)\.double\("),
        ([torch.ones(1, requires_grad=True)] * 4, r"pass torch\.stack\(sample_weight\)\.detach"),
    ],
)
def test_what_numpy_would_misread_is_refused(weights, cure):
    for call in (lambda: read_weights(X, SCHEMA, weights), lambda: check_weights(weights, 4)):
        with pytest.raises(InvalidInputError, match=f"^sample_weight has a .*{cure}"):
            call()


def test_a_series_in_another_order_is_refused():
    weights = pd.Series([1.0, 2, 3, 4], X.index)
    check_aligned(weights, X)
    check_aligned(weights.to_numpy(), X.iloc[::-1])
    check_aligned(weights, X.to_numpy()[::-1])
    for other in (weights[::-1], weights.set_axis(["a", "b", "c", "d"])):
        with pytest.raises(
            InvalidInputError, match=r"another index .*sample_weight.loc\[X.index\]"
        ):
            check_aligned(other, X)


# ------------------------------------------------------------------ moving with the events

N = 200


def random_rows(seed, with_times):
    """Rows whose weight is a function of the row, so that a swap is seen."""
    rng = np.random.default_rng(seed)
    users = rng.integers(1, 8, N).astype(np.int32)
    items = rng.permutation(N).astype(np.int32)  # all differ: the item tells the row
    times = rng.integers(6, size=N) if with_times else None
    weights = rng.random(N).astype(np.float32) * (rng.random(N) < 0.7)
    log = Interactions.from_codes(users, items, times, 9, weights)
    weight_of = dict(zip(items.tolist(), weights.tolist(), strict=True))
    return log, weight_of, Interactions.from_codes(users, items, times, 9)


def check(log, weight_of):
    assert log.weights.tolist() == [weight_of[item] for item in log.items.tolist()]


@pytest.mark.parametrize("with_times", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_weights_move_with_their_events(seed, with_times):
    log, weight_of, plain = random_rows(seed, with_times)
    rng = np.random.default_rng(seed)
    ties = find_ties(log)
    assert len(ties.places) > N / 4
    for change in (
        lambda log: log,
        mix_ties,
        lambda log: draw_tie_order(log, ties, np.random.default_rng(1), np.arange(log.n_users)),
        lambda log: log.take(np.array([3, 1, -1, 5])),
        lambda log: log.slice_rows(2, 6),
        lambda log: log.drop(np.arange(0, N, 7)),
        lambda log: log.where(np.arange(N) % 3 > 0),
        lambda log: log.since(np.arange(N) % 50 == 0, 3)[1],
    ):
        changed, expected = change(log), change(plain)
        check(changed, weight_of)
        assert changed.items.tolist() == expected.items.tolist()
        assert changed.offsets.tolist() == expected.offsets.tolist()
    users = rng.integers(1, 12, 30).astype(np.int32)
    items = np.arange(N, N + 30, dtype=np.int32)
    times = rng.integers(6, size=30) if with_times else None
    new_weights = rng.random(30).astype(np.float32)
    extended, is_new = plain.extended(users, items, times, 12, new_weights)
    new = dict(zip(items.tolist(), new_weights.tolist(), strict=True))
    check(extended, dict.fromkeys(range(N), 1.0) | new)
    assert is_new.tolist() == (extended.items >= N).tolist()


def test_an_item_twice_at_one_time_has_the_same_order_for_any_rows():
    users = np.zeros(6, dtype=np.int32)
    items = np.array([4, 4, 4, 1, 1, 2], dtype=np.int32)
    weights = np.array([1, 3, 2, 5, 4, 6], dtype=np.float32)
    found = [
        mix_ties(Interactions.from_codes(users, items[order], None, 1, weights[order]))
        for order in (np.arange(6), np.arange(6)[::-1])
    ]
    assert found[0].items.tolist() == found[1].items.tolist()
    assert found[0].weights.tolist() == found[1].weights.tolist()


def test_samples_and_targets_by_a_loop():
    log, _, _ = random_rows(0, True)
    expected = []
    for user in range(log.n_users):
        events = log.weights[log.offsets[user] : log.offsets[user + 1]].tolist()
        targets = [weight > 0 for weight in events]
        targets[:1] = [False] * len(targets[:1])
        expected += targets
        n_samples = len(events) - 1 if any(targets) else 0
        assert log.n_samples[user] == n_samples
    assert log.is_target.tolist() == expected
