import numpy as np
import pytest

from skmind.data.interactions import Interactions
from skmind.exceptions import InvalidInputError

SEEDS = pytest.mark.parametrize("seed", range(8))
TIMES = pytest.mark.parametrize("times", ["none", "integer", "float"])


def random_rows(seed, times="integer", n_users=7, n_items=9, n_rows=60):
    """Rows with many equal times, user 0 and the last one without any."""
    rng = np.random.default_rng(seed)
    users = rng.integers(1, n_users - 1, n_rows).astype(np.int32)
    items = rng.integers(n_items, size=n_rows).astype(np.int32)
    stamps = {"none": None, "integer": rng.integers(-4, 5, n_rows)}
    stamps["float"] = stamps["integer"] / 4
    return users, items, stamps[times], n_users


def oracle(users, items, times, n_users):
    """List of (time, item) of each user, oldest first; rows of equal time in their order."""
    histories = [[] for _ in range(n_users)]
    for row, (user, item) in enumerate(zip(users.tolist(), items.tolist(), strict=True)):
        histories[user].append((row if times is None else times[row], row, item))
    return [[(time, item) for time, _, item in sorted(history)] for history in histories]


def as_lists(interactions):
    n = interactions.n_users
    return [
        interactions.items[interactions.offsets[u] : interactions.offsets[u + 1]].tolist()
        for u in range(n)
    ]


def items_of(histories):
    return [[item for _, item in history] for history in histories]


# ------------------------------------------------------------------ building


@SEEDS
@TIMES
def test_histories_equal_those_of_a_loop(seed, times):
    rows = random_rows(seed, times)
    interactions = Interactions.from_codes(*rows)
    expected = oracle(*rows)
    assert as_lists(interactions) == items_of(expected)
    assert interactions.n_users == len(expected)
    assert interactions.lengths.tolist() == [len(history) for history in expected]
    assert interactions.items.dtype == np.int32
    assert interactions.offsets.dtype == np.int64
    if times == "none":
        assert interactions.times is None
    else:
        assert interactions.times.tolist() == [t for history in expected for t, _ in history]
        assert interactions.times.dtype == rows[2].dtype


@SEEDS
@TIMES
@pytest.mark.parametrize("block", [1, 2, 17])
def test_sorting_in_blocks_gives_the_same(seed, times, block, monkeypatch):
    monkeypatch.setattr("skmind.data.ragged.BLOCK_ROWS", block)
    test_histories_equal_those_of_a_loop(seed, times)


def test_users_without_rows_do_not_crowd_a_block():
    n_users = 200_000
    users = np.array([199_999, 0, 131_072, 65_536, 0, 199_999], dtype=np.int32)
    times = np.array([2, 2, 1, 1, 1, 1])
    interactions = Interactions.from_codes(users, np.arange(6, dtype=np.int32), times, n_users)
    assert interactions.items.tolist() == [4, 1, 3, 2, 5, 0]
    assert np.flatnonzero(interactions.lengths).tolist() == [0, 65_536, 131_072, 199_999]
    assert interactions.times.tolist() == [1, 2, 1, 1, 1, 2]


def test_rows_of_equal_time_keep_their_order():
    items = np.arange(100, dtype=np.int32)[::-1].copy()
    interactions = Interactions.from_codes(np.zeros(100, int), items, np.zeros(100), 1)
    assert interactions.items.tolist() == items.tolist()


def test_the_order_of_rows_of_different_users_does_not_matter():
    users, items, times, n_users = random_rows(0)
    by_user = np.argsort(users, kind="stable")
    one = Interactions.from_codes(users, items, times, n_users)
    other = Interactions.from_codes(users[by_user], items[by_user], times[by_user], n_users)
    assert as_lists(one) == as_lists(other)


def test_the_given_arrays_are_not_changed():
    users, items, times, n_users = random_rows(0)
    before = users.copy(), items.copy(), times.copy()
    interactions = Interactions.from_codes(users, items, times, n_users)
    interactions.items[:] = 0
    interactions.times[:] = 0
    for array, copy in zip((users, items, times), before, strict=True):
        assert (array == copy).all()


@pytest.mark.parametrize("n_users", [0, 3])
def test_no_rows(n_users):
    none = np.empty(0, dtype=np.int32)
    for times in (None, np.empty(0)):
        interactions = Interactions.from_codes(none, none, times, n_users)
        assert as_lists(interactions) == [[]] * n_users
        assert interactions.lengths.tolist() == [0] * n_users


# ------------------------------------------------------------------ selecting


@SEEDS
@TIMES
def test_selecting_users_in_any_order_with_repeats(seed, times):
    rows = random_rows(seed, times)
    interactions, expected = Interactions.from_codes(*rows), oracle(*rows)
    users = np.random.default_rng(seed).integers(-1, interactions.n_users, 12)
    chosen = [expected[user] if user >= 0 else [] for user in users]
    selected = interactions.take(users)
    assert as_lists(selected) == items_of(chosen)
    if times == "none":
        assert selected.times is None
    else:
        assert selected.times.tolist() == [t for history in chosen for t, _ in history]


def test_selecting_all_users_copies_nothing_and_any_other_order_does():
    interactions = Interactions.from_codes(*random_rows(0))
    users = np.arange(interactions.n_users)
    assert interactions.take(users) is interactions
    turned = interactions.take(users[::-1])
    assert as_lists(turned) == as_lists(interactions)[::-1]
    assert as_lists(turned) != as_lists(interactions)


def test_selecting_from_nobody():
    none = np.empty(0, dtype=np.int32)
    nobody = Interactions.from_codes(none, none, None, 0)
    assert as_lists(nobody.take(np.array([-1, -1]))) == [[], []]
    assert as_lists(nobody.take(none)) == []
    someone = Interactions.from_codes(*random_rows(0))
    assert as_lists(someone.take(none)) == []
    assert as_lists(someone.take(np.array([-1]))) == [[]]


@SEEDS
@TIMES
def test_leaving_out_positions(seed, times):
    rows = random_rows(seed, times)
    interactions, expected = Interactions.from_codes(*rows), oracle(*rows)
    n = len(interactions.items)
    dropped = np.random.default_rng(seed).permutation(n)[: n // 3]
    kept, position = [], 0
    for history in expected:
        kept.append([event for i, event in enumerate(history, position) if i not in dropped])
        position += len(history)
    rest = interactions.drop(dropped)
    assert as_lists(rest) == items_of(kept)
    assert rest.n_users == interactions.n_users
    if times != "none":
        assert rest.times.tolist() == [t for history in kept for t, _ in history]


def test_leaving_out_nothing_or_everything():
    interactions = Interactions.from_codes(*random_rows(0))
    same = interactions.drop(np.empty(0, dtype=np.int64))
    assert as_lists(same) == as_lists(interactions)
    empty = interactions.drop(np.arange(len(interactions.items)))
    assert as_lists(empty) == [[]] * interactions.n_users


# ------------------------------------------------------------------ windows


@SEEDS
def test_windows_are_the_items_before_a_position_newest_first(seed):
    """Every window of every history, the empty ones too, each of its own length."""
    rows = random_rows(seed)
    interactions, expected = Interactions.from_codes(*rows), items_of(oracle(*rows))
    windows = [
        (user, place, length)
        for user, n in enumerate(interactions.lengths.tolist())
        for place in range(n + 1)
        for length in range(place + 1)
    ]
    users, places, lengths = np.random.default_rng(seed).permutation(np.array(windows)).T
    codes = interactions.windows(interactions.offsets[users] + places, lengths)
    L = lengths.max()
    assert codes.shape == (len(windows), L)
    assert codes.dtype == np.int32
    for user, place, length, window in zip(users, places, lengths, codes.tolist(), strict=True):
        newest_first = expected[user][place - length : place][::-1]
        assert window == newest_first + [-1] * (L - length)


@SEEDS
@pytest.mark.parametrize("max_history", [1, 2, 100])
def test_last_windows_hold_the_newest_items(seed, max_history):
    rows = random_rows(seed, "none")
    interactions, expected = Interactions.from_codes(*rows), items_of(oracle(*rows))
    users = np.array([3, 0, 2, 2, 6, 1])
    codes, lengths = interactions.last_windows(users, max_history)
    for user, window, length in zip(users, codes.tolist(), lengths.tolist(), strict=True):
        newest = expected[user][::-1][:max_history]
        assert window == newest + [-1] * (codes.shape[1] - length)
        assert length == len(newest)


def test_windows_of_empty_histories_have_one_column():
    none = np.empty(0, dtype=np.int32)
    nothing = Interactions.from_codes(none, none, None, 2)
    someone = Interactions.from_codes(*random_rows(0))
    for interactions in (nothing, someone):
        codes, lengths = interactions.last_windows(np.array([0, 0]), 5)
        assert codes.tolist() == [[-1], [-1]]
        assert codes.dtype == np.int32
        assert lengths.tolist() == [0, 0]
    codes, lengths = someone.last_windows(none, 5)
    assert codes.shape == (0, 1)
    assert lengths.shape == (0,)


# ------------------------------------------------------------------ before a time


@SEEDS
@pytest.mark.parametrize("times", ["integer", "float"])
def test_events_strictly_before_a_time(seed, times):
    rows = random_rows(seed, times)
    interactions, expected = Interactions.from_codes(*rows), oracle(*rows)
    rng = np.random.default_rng(seed)
    users = rng.integers(interactions.n_users, size=50)
    moments = rng.integers(-6, 7, 50) / (1 if times == "integer" else 4)
    ends = interactions.ends_before(users, moments.astype(rows[2].dtype))
    for max_history in (1, 2, 100):
        past = interactions.before(ends, users, max_history)
        wanted = [
            [item for time, item in expected[user] if time < moment][-max_history:]
            for user, moment in zip(users.tolist(), moments.tolist(), strict=True)
        ]
        assert as_lists(past) == wanted
        assert past.items.dtype == np.int32


def test_neighbouring_nanoseconds_are_told_apart():
    times = np.array([2**60, 2**60 + 1, 2**60 + 2])  # one number as floats
    interactions = Interactions.from_codes(np.zeros(3, int), np.arange(3), times, 1)
    assert interactions.ends_before(np.zeros(3, int), times).tolist() == [0, 1, 2]


def test_nobody_before_a_time():
    interactions = Interactions.from_codes(*random_rows(0))
    none = np.empty(0, dtype=np.int64)
    ends = interactions.ends_before(none, none)
    assert ends.tolist() == []
    assert as_lists(interactions.before(ends, none, 5)) == []


def test_without_times_there_is_no_before():
    interactions = Interactions.from_codes(*random_rows(0, "none"))
    with pytest.raises(InvalidInputError, match="have no times; set time_col"):
        interactions.ends_before(np.array([1]), np.array([0]))


def test_since_takes_the_users_of_marked_events_and_what_they_come_after():
    log = Interactions(np.arange(12, dtype=np.int32), np.array([0, 0, 5, 5, 9, 12]))
    marked = np.zeros(12, dtype=bool)
    marked[[3, 4, 9]] = True
    users, recent = log.since(marked, 2)
    assert users.tolist() == [1, 4]
    assert recent.items.tolist() == [1, 2, 3, 4, 9, 10, 11]
    assert recent.offsets.tolist() == [0, 4, 7]
    users, recent = log.since(marked[::-1] & False, 2)
    assert users.tolist() == recent.items.tolist() == []


@pytest.mark.parametrize(("known", "new"), [("int64", "float64"), ("float64", "int64")])
def test_times_beyond_2_to_the_53_are_integers_or_floats_only(known, new):
    codes = np.zeros(2, dtype=np.int32)
    large = np.array([2**60, 2**60 + 512])
    log = Interactions.from_codes(codes, codes, large.astype(known), 1)
    with pytest.raises(
        InvalidInputError, match="the table has the time, as .*, but the times of f"
    ):
        log.extended(codes, codes, large.astype(new), 1)
    with pytest.raises(
        InvalidInputError, match="the table has the time, as .*, but the times of f"
    ):
        log.ends_before(codes, large.astype(new))
    small = Interactions.from_codes(codes, codes, np.array([1, 3]).astype(known), 1)
    merged, _ = small.extended(codes, codes, np.array([2, 4]).astype(new), 1)
    assert merged.times.tolist() == [1, 2, 3, 4]
