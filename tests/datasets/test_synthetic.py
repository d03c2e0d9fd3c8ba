import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from skmind.datasets import _synthetic, make_interactions
from skmind.exceptions import InvalidInputError


def in_topic(data):
    """Whether each event lies in a topic of its user."""
    log = data.interactions
    return data.user_interests[log["user_id"], data.item_interest[log["item_id"]]]


def test_shapes_and_types():
    data = make_interactions(50, 30, n_topics=7, n_interests=3, n_events=8, random_state=0)
    log = data.interactions
    assert log.columns.tolist() == ["user_id", "item_id", "timestamp"]
    assert (log.dtypes == "int64").all()
    assert len(log) == 400
    assert log.index.equals(pd.RangeIndex(400))
    assert (log["user_id"].value_counts() == 8).all()
    assert log["user_id"].nunique() == 50
    assert log["item_id"].between(0, 29).all()
    assert log["timestamp"].is_monotonic_increasing
    assert not log.duplicated(["user_id", "timestamp"]).any()
    years = pd.to_datetime(log["timestamp"], unit="s").dt.year
    assert (years == 2020).all()
    assert data.user_interests.shape == (50, 7)
    assert data.user_interests.dtype == bool
    assert_array_equal(data.user_interests.sum(axis=1), 3)
    assert data.item_interest.shape == (30,)
    assert data.item_interest.dtype == np.int64
    assert_array_equal(np.sort(np.bincount(data.item_interest)), [4, 4, 4, 4, 4, 5, 5])
    assert not np.array_equal(data.item_interest, np.arange(30) % 7)  # an id tells nothing
    assert "50 users, 8 to 8 events each, 30 items" in data.DESCR


def test_item_table_tells_the_topics():
    data = make_interactions(2, 12, n_topics=5, n_interests=1, n_events=2, random_state=3)
    items = data.item_table
    assert items.columns.tolist() == ["item_id", "title", "topic"]
    assert_array_equal(items["item_id"], np.arange(12))
    assert_array_equal(items["topic"], data.item_interest)
    assert items["title"][7] == f"topic {data.item_interest[7]}, item 7"
    assert items["title"].is_unique


def test_events_follow_the_interests():
    data = make_interactions(noise=0.1, random_state=0)
    log = data.interactions
    share = in_topic(data).mean()
    # Noise lands in the user's topics by chance: some 17 of the 377 items that are still unseen.
    expected = 0.9 + 0.1 * 17 / 377
    assert expected - 0.01 < share < expected + 0.01
    assert not log.duplicated(["user_id", "item_id"]).any()
    n_events = log["user_id"].value_counts()
    assert (n_events.min(), n_events.max()) == (20, 30)
    assert 24.5 < n_events.mean() < 25.5


def test_without_noise_every_event_is_in_topic():
    data = make_interactions(300, noise=0, random_state=1)
    assert in_topic(data).all()
    # Four topics with equal chances: some 25 / 4 events in each, none of them left out.
    log = data.interactions.assign(topic=data.item_interest[data.interactions["item_id"]])
    per_topic = log.groupby(["user_id", "topic"]).size()
    assert 6.0 < per_topic.mean() < 6.5
    assert 1.2 < per_topic.std() < 2.2


def test_the_noise_twin_has_no_structure():
    data = make_interactions(noise=1.0, random_state=0)
    log = data.interactions
    chance = 40 / 400  # the items of four topics out of forty
    assert chance - 0.008 < in_topic(data).mean() < chance + 0.008
    assert not log.duplicated(["user_id", "item_id"]).any()
    # A uniform catalogue: the counts of the items vary as those of a fair draw do.
    counts = np.bincount(log["item_id"], minlength=400)
    assert 0.8 < counts.var() / counts.mean() < 1.2
    # Two items of a topic go together no more often than any two.
    seen = np.zeros((1000, 400))
    seen[log["user_id"], log["item_id"]] = 1
    correlation = np.corrcoef(seen.T)
    same = data.item_interest[:, None] == data.item_interest
    np.fill_diagonal(same, False)
    assert -0.01 < correlation[same].mean() < 0.01

    planted = make_interactions(noise=0.1, random_state=0)
    seen = np.zeros((1000, 400))
    seen[planted.interactions["user_id"], planted.interactions["item_id"]] = 1
    assert 0.3 < np.corrcoef(seen.T)[same].mean() < 0.7


def test_topics_of_a_user_are_independent():
    held = make_interactions(5000, 40, n_events=1, random_state=0).user_interests
    assert held.sum(axis=0).min() > 400  # 500 expected each
    assert held.sum(axis=0).max() < 600
    together = (held.astype(float).T @ held)[np.triu_indices(40, 1)]
    expected = 5000 * (4 * 3) / (40 * 39)
    assert 0.7 < together.var() / expected < 1.3


def test_topics_have_equal_chances_whatever_their_size():
    options = {"n_topics": 2, "n_interests": 2, "n_events": 1, "noise": 0, "random_state": 0}
    data = make_interactions(20_000, 3, **options)
    topic = data.item_interest[data.interactions["item_id"]]
    assert sorted(np.bincount(data.item_interest)) == [1, 2]
    assert 0.49 < topic.mean() < 0.51


def test_times_of_a_user_are_distinct():
    log = make_interactions(3, 1000, n_events=1000, random_state=0).interactions
    assert not log.duplicated(["user_id", "timestamp"]).any()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_items_of_a_topic_follow_the_popularity_law(exponent):
    data = make_interactions(
        20_000,
        10,
        n_topics=2,
        n_interests=1,
        n_events=1,
        noise=0,
        popularity_exponent=exponent,
        random_state=0,
    )
    counts = np.bincount(data.interactions["item_id"], minlength=10)
    expected = np.arange(1, 6) ** -exponent
    for topic in range(2):
        counts_of_topic = np.sort(counts[data.item_interest == topic])[::-1]
        shares = counts_of_topic / counts_of_topic.sum()
        np.testing.assert_allclose(shares, expected / expected.sum(), atol=0.02)


def test_successive_draws_match_a_loop():
    """Pairs drawn without replacement come as often as from numpy's own one-by-one draws."""
    options = {"n_topics": 1, "n_interests": 1, "n_events": 2, "noise": 0}
    data = make_interactions(20_000, 3, popularity_exponent=1.0, random_state=0, **options)
    pairs = data.interactions.groupby("user_id")["item_id"].agg(frozenset)
    missing = pairs.map(lambda pair: ({0, 1, 2} - pair).pop())
    shares = np.sort(np.bincount(missing)) / 20_000
    p = np.array([6, 3, 2]) / 11
    pair = {(i, j): p[i] * p[j] / (1 - p[i]) for i in range(3) for j in range(3) if i != j}
    expected = sorted(pair[i, j] + pair[j, i] for i, j in [(0, 1), (0, 2), (1, 2)])
    np.testing.assert_allclose(shares, expected, atol=0.012)


def test_order_within_a_user_is_random():
    data = make_interactions(4000, n_events=20, popularity_exponent=1.0, random_state=0)
    log = data.interactions.sort_values(["user_id", "timestamp"], kind="stable")
    popularity = np.bincount(log["item_id"])
    by_position = popularity[log["item_id"].to_numpy()].reshape(4000, 20).mean(axis=0)
    assert np.abs(by_position / by_position.mean() - 1).max() < 0.05
    liked = in_topic(make_interactions(4000, n_events=20, random_state=0))
    assert 0.88 < liked[:4000].mean() < 0.92
    assert 0.88 < liked[-4000:].mean() < 0.92


def test_items_come_again_only_when_none_is_unseen():
    options = {"n_topics": 2, "n_interests": 1, "random_state": 0}
    data = make_interactions(20, 10, n_events=13, noise=0, **options)
    counts = data.interactions.groupby(["user_id", "item_id"]).size()
    assert counts.groupby("user_id").size().eq(5).all()  # all items of the topic
    assert set(counts) == {2, 3}
    assert in_topic(data).all()

    data = make_interactions(20, 10, n_events=23, noise=1.0, **options)
    counts = data.interactions.groupby(["user_id", "item_id"]).size()
    assert len(counts) == 200
    assert set(counts) == {2, 3}

    for sizes in ({"n_topics": 2, "n_events": 5}, {"n_topics": 1, "n_events": 10}):
        data = make_interactions(200, 10, noise=0.5, **(options | sizes))
        assert not data.interactions.duplicated(["user_id", "item_id"]).any()


def test_extreme_popularity_keeps_every_item_reachable():
    options = {"n_topics": 1, "n_interests": 1, "random_state": 0}
    data = make_interactions(
        5, 20_000, n_events=20_000, noise=0, popularity_exponent=100, **options
    )
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()


def test_blocks_of_users_are_alike(monkeypatch):
    monkeypatch.setattr(_synthetic, "BLOCK_SCORES", 400 * 7)
    data = make_interactions(100, noise=0, random_state=0)
    assert in_topic(data).all()
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()
    assert data.interactions["user_id"].nunique() == 100
    monkeypatch.setattr(_synthetic, "BLOCK_SCORES", 1)
    assert in_topic(make_interactions(10, noise=0, random_state=0)).all()


# ------------------------------------------------------------------ randomness


@pytest.mark.parametrize("make", [int, np.int64, np.random.RandomState, np.random.default_rng])
def test_the_same_seed_gives_the_same_data(make):
    first, second, other = (
        make_interactions(30, n_events=(2, 6), random_state=make(seed)) for seed in (5, 5, 6)
    )
    assert_frame_equal(first.interactions, second.interactions)
    assert_frame_equal(first.item_table, second.item_table)
    assert_array_equal(first.user_interests, second.user_interests)
    assert not first.interactions.equals(other.interactions)


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_a_generator_is_advanced(kind):
    generator = kind(0)
    first = make_interactions(30, random_state=generator)
    second = make_interactions(30, random_state=generator)
    assert not first.interactions.equals(second.interactions)


def test_without_a_seed_the_data_differ_and_the_global_generator_rests():
    before = np.random.get_state()  # noqa: NPY002
    first = make_interactions(30).interactions
    assert not first.equals(make_interactions(30).interactions)
    make_interactions(30, random_state=0)
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("name", ["n_users", "n_items", "n_topics", "n_interests"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_invalid_counts(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}={value!r} must be an integer of at least"):
        make_interactions(**{name: value})


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_interests": 5, "n_topics": 4, "n_items": 400},
        {"n_interests": 4, "n_topics": 40, "n_items": 39},
    ],
)
def test_sizes_that_do_not_fit_together(sizes):
    stated = ".*".join(f"{name}={value}" for name, value in sizes.items())
    with pytest.raises(InvalidInputError, match=f"{stated} must not decrease"):
        make_interactions(**sizes)


@pytest.mark.parametrize(
    "value", [0, -3, 2.5, "8", None, True, (0, 3), (5, 4), (1, 2, 3), (3,), (), (1, 2.0), [1, None]]
)
def test_invalid_n_events(value):
    with pytest.raises(InvalidInputError, match="n_events=.* must be an integer of at least 1, or"):
        make_interactions(n_events=value)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("noise", -0.1, "from 0 to 1"),
        ("noise", 1.1, "from 0 to 1"),
        ("noise", np.nan, "from 0 to 1"),
        ("noise", "0.1", "from 0 to 1"),
        ("popularity_exponent", -0.5, "from 0 to 100"),
        ("popularity_exponent", np.inf, "from 0 to 100"),
        ("popularity_exponent", None, "from 0 to 100"),
    ],
)
def test_invalid_numbers(name, value, valid):
    with pytest.raises(InvalidInputError, match=f"{name}={value!r} must be a number {valid}"):
        make_interactions(**{name: value})


@pytest.mark.parametrize("value", [-1, 1.5, "0", True, np.random])
def test_invalid_random_state(value):
    with pytest.raises(InvalidInputError, match="random_state=.* must be None, an integer"):
        make_interactions(random_state=value)
