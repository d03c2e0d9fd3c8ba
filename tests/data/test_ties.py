import warnings

import numpy as np
import pandas as pd
import pytest

from skmind import MINDRecommender
from skmind.data.interactions import Interactions
from skmind.data.ties import draw_tie_order, find_ties, mix_ties, mixed_order, warn_of_ties
from skmind.exceptions import TiedTimesWarning

TIMES = pytest.mark.parametrize("with_times", [True, False])


def random_log(seed=0, with_times=True, n_users=6, n_rows=80):
    rng = np.random.default_rng(seed)
    users = rng.integers(1, n_users, n_rows)
    items = rng.integers(30, size=n_rows).astype(np.int32)
    times = rng.integers(5, size=n_rows) if with_times else None
    return Interactions.from_codes(users, items, times, n_users)


def groups_of(log, kinds=None):
    """The positions of each group of tied events, by a loop."""
    groups = []
    for user in range(log.n_users):
        group = []
        for place in range(log.offsets[user], log.offsets[user + 1]):
            same_time = log.times is None or (group and log.times[place] == log.times[group[-1]])
            same_kind = kinds is None or (group and kinds[place] == kinds[group[-1]])
            if group and same_time and same_kind:
                group.append(place)
            else:
                groups.append(group)
                group = [place]
        groups.append(group)
    return [group for group in groups if len(group) > 1]


@TIMES
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_kinds", [True, False])
def test_ties_equal_those_of_a_loop(seed, with_times, with_kinds):
    log = random_log(seed, with_times)
    kinds = np.random.default_rng(seed).random(80) < 0.5 if with_kinds else None
    places, groups = find_ties(log, kinds)
    expected = groups_of(log, kinds)
    assert places.tolist() == [place for group in expected for place in group]
    mine = [places[groups == group].tolist() for group in np.unique(groups)]
    assert mine == expected


def test_nobody_and_different_times_have_no_ties():
    none = np.empty(0, dtype=np.int32)
    assert len(find_ties(Interactions.from_codes(none, none, None, 3)).places) == 0
    users = np.array([0, 0, 1, 1])
    log = Interactions.from_codes(users, users.astype(np.int32), np.array([1, 2, 1, 2]), 2)
    assert len(find_ties(log).places) == 0
    assert mix_ties(log) is log


@TIMES
@pytest.mark.parametrize("seed", range(5))
def test_mixed_ties_do_not_depend_on_the_order_of_the_rows(seed, with_times):
    rng = np.random.default_rng(seed)
    users = rng.integers(6, size=80)
    items = rng.integers(30, size=80).astype(np.int32)
    times = rng.integers(5, size=80) if with_times else None
    expected = None
    for order in (np.arange(80), np.argsort(items), np.argsort(-items), rng.permutation(80)):
        part = None if times is None else times[order]
        mixed = mix_ties(Interactions.from_codes(users[order], items[order], part, 6))
        expected = mixed if expected is None else expected
        assert mixed.items.tolist() == expected.items.tolist()
        assert mixed.items.dtype == np.int32


def test_mixed_ties_are_neither_ascending_nor_descending():
    log = Interactions(np.arange(1000, dtype=np.int32), np.array([0, 1000]))
    items = mix_ties(log).items
    assert sorted(items.tolist()) == list(range(1000))
    assert 0.4 < (np.diff(items) > 0).mean() < 0.6
    assert abs(np.corrcoef(items, np.arange(1000))[0, 1]) < 0.1
    assert items[mixed_order(items)].tolist() == items.tolist()


@TIMES
def test_a_drawn_order_moves_events_within_their_ties_only(with_times):
    log = random_log(3, with_times)
    ties = find_ties(log)
    before = log.items.copy()
    rngs = [np.random.default_rng(seed) for seed in range(200)]
    drawn = [draw_tie_order(log, ties, rng, np.arange(log.n_users)) for rng in rngs]
    assert rngs[0].random() == np.random.default_rng(0).random()
    assert (log.items == before).all()
    for one in drawn[:5]:
        for group in groups_of(log):
            assert sorted(one.items[group]) == sorted(before[group])
        rest = np.setdiff1d(np.arange(80), ties.places)
        assert (one.items[rest] == before[rest]).all()
    group = max(groups_of(log), key=len)
    firsts = [one.items[group[0]] for one in drawn]
    assert set(firsts) == set(before[group].tolist())  # everybody comes first at times


def sorted_log(n_users=50, n_events=20, with_times=True, order=1):
    rng = np.random.default_rng(0)
    items = np.sort(rng.integers(500, size=(n_users, n_events)), axis=1)[:, ::order]
    users = np.repeat(np.arange(n_users), n_events)
    times = np.zeros(len(users), dtype=np.int64) if with_times else None
    return Interactions.from_codes(users, items.ravel().astype(np.int32), times, n_users)


@pytest.mark.parametrize("order", [1, -1])
def test_sorted_ties_are_warned_of(order):
    share = "100%" if order == 1 else "0%"
    message = (
        f"100% of the events have the same time .* increase in {share} of .* tie_order='rows'.*"
        "tie_order='random'"
    )
    with pytest.warns(TiedTimesWarning, match=message) as record:
        warn_of_ties(sorted_log(order=order))
    assert record[0].filename == __file__


def test_missing_times_are_warned_of():
    with pytest.warns(TiedTimesWarning, match="there are no times, so .* increase in 100% of"):
        warn_of_ties(sorted_log(with_times=False))
    with pytest.warns(TiedTimesWarning, match="there are no times, so the .* is not used. If it"):
        warn_of_ties(random_log(with_times=False))


def test_ties_in_random_order_and_rare_ties_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_ties(random_log())
        users = np.zeros(100, dtype=np.int64)
        times = np.arange(100)
        times[:3] = 0
        warn_of_ties(Interactions.from_codes(users, np.arange(100, dtype=np.int32), times, 1))


# ------------------------------------------------------------------ times that are rounded


def rounded_log(dtype, scale):
    """Return events of 10 users, one second apart, whose times are floats from 2023 on."""
    times = (1.7e9 + np.arange(40)) * scale
    return pd.DataFrame(
        {"user_id": np.arange(40) % 10, "item_id": np.arange(40) % 7, "timestamp": times}
    ).astype({"timestamp": dtype})


@pytest.mark.parametrize(
    ("dtype", "scale", "distance"),
    [("float32", 1, 128), ("float64", 10, None), ("float64", 1, None), ("int64", 1, None)],
)
@pytest.mark.parametrize("tie_order", ["auto", "random", "rows"])
def test_times_that_rounding_made_equal_are_warned_of(dtype, scale, distance, tie_order):
    rec = MINDRecommender(embedding_dim=4, max_epochs=1, tie_order=tie_order, random_state=0)
    log = rounded_log(dtype, scale)
    message = (
        f"column 'timestamp' has times of type {dtype}, which are {distance} apart at this size, "
        "and 100% of the events have the same time .* Read the column as int64 or datetimes"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", TiedTimesWarning)
        if distance is None:
            rec.fit(log)
            return
        with pytest.raises(TiedTimesWarning, match=message):
            rec.fit(log)
        spread = log.assign(timestamp=(np.arange(40) * 1e9).astype(dtype))
        rec.fit(spread)  # large, but no event of a user has the time of another


def test_nanoseconds_as_floats_are_warned_of():
    rec = MINDRecommender(embedding_dim=4, max_epochs=1, tie_order="random", random_state=0)
    log = rounded_log("float64", 1e9)
    log["timestamp"] = 1.7e18 + np.arange(40)
    with pytest.warns(TiedTimesWarning, match="type float64, which are 256 apart at this size"):
        rec.fit(log)
    with pytest.warns(TiedTimesWarning, match="column 2 has times of type float64, which are 256"):
        rec.fit(log.to_numpy())
