from dataclasses import replace

import numpy as np
import pytest

from skmind.data.batches import BATCHES_PER_SORT, BatchSampler
from skmind.data.interactions import Interactions
from skmind.data.ties import find_ties

SEEDS = pytest.mark.parametrize("seed", range(5))


def random_interactions(seed, n_users=20, max_events=12):
    """Return users with 0 to ``max_events`` events; all items differ, so each has one place."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(max_events + 1, size=n_users)
    lengths[:3] = [0, 1, 2]
    users = rng.permutation(np.repeat(np.arange(n_users, dtype=np.int32), lengths))
    items = rng.permutation(len(users)).astype(np.int32)
    return Interactions.from_codes(users, items, rng.random(len(users)), n_users)


def histories(interactions):
    return np.split(interactions.items, interactions.offsets[1:-1])


def sampler(interactions, batch_size=7, max_history=4, seed=0, **settings):
    rng = np.random.default_rng(seed)
    return BatchSampler(interactions, batch_size, max_history, rng, **settings)


def chunks(batches):
    """Return (user, history, targets) of every chunk of an epoch, without padding."""
    return [
        (user, history[:n], targets[:n])
        for batch in batches
        for user, n, history, targets in zip(
            *(
                array.tolist()
                for array in (batch.users, batch.lengths, batch.history, batch.targets)
            ),
            strict=True,
        )
    ]


# ------------------------------------------------------------------ samples


@SEEDS
@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_every_event_except_the_first_is_a_target_once_per_epoch(seed, batch_size, max_history):
    interactions = random_interactions(seed)
    batches = sampler(interactions, batch_size, max_history)
    expected = sorted(
        (user, item)
        for user, history in enumerate(histories(interactions))
        for item in history[1:].tolist()
    )
    assert batches.n_samples == len(expected)
    for _ in range(3):
        samples = [(user, item) for user, _, targets in chunks(batches) for item in targets]
        assert sorted(samples) == expected


@SEEDS
@pytest.mark.parametrize("n_samples", [1, 20, 60])
def test_a_sampled_epoch_has_all_samples_of_some_users(seed, n_samples):
    interactions = random_interactions(seed)
    batches = BatchSampler(interactions, 7, 4, np.random.default_rng(seed), n_samples)
    assert batches.n_samples == n_samples
    lists = histories(interactions)
    drawn = []
    for _ in range(150):
        samples = [(user, item) for user, _, targets in chunks(batches) for item in targets]
        users = {user for user, _ in samples}
        assert sorted(samples) == sorted((u, i) for u in users for i in lists[u][1:].tolist())
        assert n_samples <= len(samples) < n_samples + max(map(len, lists))  # of whole users
        drawn.append(users)
    assert len(set(map(frozenset, drawn))) > 10  # epochs differ
    assert set.union(*drawn) == set(np.flatnonzero(interactions.n_samples))


def test_an_epoch_has_no_more_than_all_samples():
    interactions = random_interactions(0)
    batches = BatchSampler(interactions, 7, 4, np.random.default_rng(0), 10**9)
    assert batches.n_samples == interactions.n_samples.sum()
    samples = [(user, item) for user, _, targets in chunks(batches) for item in targets]
    assert len(samples) == len(set(samples)) == batches.n_samples


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_the_history_of_a_sample_goes_back_to_the_start_of_its_chunk(seed, max_history):
    interactions = random_interactions(seed)
    lists = [history.tolist() for history in histories(interactions)]
    n_checked = 0
    for user, history, targets in chunks(sampler(interactions, max_history=max_history)):
        start = lists[user].index(history[-1])
        for q, target in enumerate(targets):
            past = lists[user][start : lists[user].index(target)]
            assert history[q:] == past[::-1]
            n_checked += 1
    assert n_checked == sampler(interactions).n_samples > 0


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_n_before_counts_the_events_before_the_chunk(seed, max_history):
    interactions = random_interactions(seed)
    lists = [history.tolist() for history in histories(interactions)]
    for batch in sampler(interactions, max_history=max_history):
        oldest = batch.history[np.arange(len(batch.lengths)), batch.lengths - 1].tolist()
        places = [lists[user].index(item) for user, item in zip(batch.users, oldest, strict=True)]
        assert batch.n_before.tolist() == places


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
@pytest.mark.parametrize("horizon", [2, 3])
def test_targets_are_drawn_uniformly_from_the_next_events(seed, max_history, horizon):
    interactions = random_interactions(seed)
    lists = [history.tolist() for history in histories(interactions)]
    batches = sampler(interactions, max_history=max_history, horizon=horizon)
    ahead = {}  # distances of targets, by the number of events after the newest item
    for _ in range(60):
        for user, history, targets in chunks(batches):
            for newest, target in zip(history, targets, strict=True):
                place = lists[user].index(newest)
                left = len(lists[user]) - 1 - place
                distance = lists[user].index(target) - place
                ahead.setdefault(min(left, horizon), []).append(distance)
    for left, distances in ahead.items():
        share = np.bincount(distances, minlength=horizon + 1) / len(distances)
        expected = np.zeros(horizon + 1)
        expected[1 : left + 1] = 1 / horizon
        expected[left] += (horizon - left) / horizon  # drawn instead of the missing events
        np.testing.assert_allclose(share, expected, atol=0.07)


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_all_chunks_of_a_user_except_the_first_and_last_are_full(seed, max_history):
    interactions = random_interactions(seed)
    lists = [history.tolist() for history in histories(interactions)]
    lengths_by_start = {}
    for user, history, _ in chunks(sampler(interactions, max_history=max_history)):
        starts = lengths_by_start.setdefault(user, {})
        starts[lists[user].index(history[-1])] = len(history)
    n_cut = 0
    for user, history in enumerate(lists):
        lengths = [n for _, n in sorted(lengths_by_start.get(user, {}).items())]
        assert sum(lengths) == max(len(history) - 1, 0)
        assert all(1 <= n <= max_history for n in lengths)
        assert all(n == max_history for n in lengths[1:-1])
        if len(history) - 1 <= max_history:
            assert len(lengths) == (len(history) > 1)  # not cut
        n_cut += len(lengths) > 2
    assert (n_cut > 0) == (max_history < 5)


def test_long_histories_are_cut_at_new_places_every_epoch():
    """The first chunk has every length up to the maximum equally often."""
    L = 5
    n_users = 40
    n_epochs = 50
    codes = np.arange(n_users * 14, dtype=np.int32)
    interactions = Interactions(codes, np.arange(n_users + 1) * 14)
    batches = sampler(interactions, 100, L)
    first = np.array(
        [
            sorted(
                (u, history[0] % 14) for u, history, _ in chunks(batches) if not history[-1] % 14
            )
            for _ in range(n_epochs)
        ]
    )  # (epochs, users, 2)
    places = first[:, :, 1] + 1  # samples of a user's first chunk
    assert (first[:, :, 0] == np.arange(n_users)).all()
    counts = np.bincount(places.ravel(), minlength=L + 1)
    assert counts[0] == 0
    assert len(counts) == L + 1
    assert counts[1:].min() > 330  # 400 expected, deviation 18
    assert counts[1:].max() < 470
    assert len({tuple(row) for row in places}) == n_epochs
    assert len({tuple(row) for row in places.T}) == n_users


def test_every_event_gets_histories_of_all_lengths():
    """A target with enough past has every length up to the maximum equally often."""
    L = 4
    n_epochs = 600
    interactions = Interactions(np.arange(11, dtype=np.int32), np.array([0, 11]))
    batches = sampler(interactions, 100, L)
    counts = np.zeros((11, L + 1), dtype=int)
    for _ in range(n_epochs):
        for _, history, targets in chunks(batches):
            for q, target in enumerate(targets):
                counts[target, len(history) - q] += 1
    assert (counts.sum(1) == [0] + [n_epochs] * 10).all()
    assert (counts[:, 0] == 0).all()
    for target in range(1, 11):
        n = min(target, L)  # at most the items before it
        assert counts[target, 1 : n + 1].min() > 100, target  # 150 expected, deviation 10.6
        assert not counts[target, n + 1 :].any(), target
    assert counts[L:, 1:].max() < 200


# ------------------------------------------------------------------ arrays of a batch


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_a_batch_is_as_wide_as_its_longest_chunk_and_padded(seed, max_history):
    n_padded = 0
    for batch in sampler(random_interactions(seed), 30, max_history):
        B = len(batch.users)
        L = batch.lengths.max()
        assert batch.history.shape == batch.targets.shape == (B, L)
        padding = np.arange(L) >= batch.lengths[:, None]
        for array in (batch.history, batch.targets):
            assert ((array == -1) == padding).all()
        n_padded += padding.sum()
    assert (n_padded > 0) == (max_history > 1)


def test_dtypes_of_a_batch():
    batch = next(iter(sampler(random_interactions(0))))
    assert [array.dtype for array in batch[:5]] == [np.int32, np.int32, int, int, int]
    assert batch.weights is None


@SEEDS
@pytest.mark.parametrize("batch_size", [10, 23])
def test_batches_have_approximately_batch_size_samples(seed, batch_size):
    """A batch is larger by less than one chunk, and on average hardly larger."""
    batches = sampler(random_interactions(seed, n_users=80), batch_size, 6)
    epoch = list(batches)
    sizes = np.array([batch.lengths.sum() for batch in epoch])
    longest = np.array([batch.lengths.max() for batch in epoch])
    assert (sizes < batch_size + longest).all()
    assert 0.8 * batch_size < sizes.mean() < 1.1 * batch_size


def test_a_chunk_larger_than_a_batch_is_a_batch_alone():
    codes = np.arange(60, dtype=np.int32)
    batches = sampler(Interactions(codes, np.array([0, 20, 40, 60])), 5, 100)
    epoch = list(batches)
    assert [batch.lengths.tolist() for batch in epoch] == [[19]] * 3
    assert sorted(int(batch.users[0]) for batch in epoch) == [0, 1, 2]


@SEEDS
def test_chunks_are_sorted_by_length_within_a_group_of_batches(seed):
    """The lengths of a batch don't overlap with those of other batches of its group."""
    interactions = random_interactions(seed, n_users=300)
    epoch = list(sampler(interactions, batch_size=12, max_history=9, seed=seed))
    assert len(epoch) > 3 * BATCHES_PER_SORT
    for batch in epoch:
        assert (np.diff(batch.lengths) >= 0).all()
    first = epoch[:BATCHES_PER_SORT]  # no group has fewer
    ranges = sorted((batch.lengths.min(), batch.lengths.max()) for batch in first)
    for (_, longest), (shortest, _) in zip(ranges, ranges[1:], strict=False):
        assert longest <= shortest
    # little padding; unsorted batches of the same sizes have much more
    slots = sum(batch.history.size for batch in epoch)
    lengths = np.random.default_rng(0).permutation(np.concatenate([b.lengths for b in epoch]))
    cuts = np.cumsum([len(batch.lengths) for batch in epoch])[:-1]
    unsorted = sum(len(part) * part.max() for part in np.split(lengths, cuts))
    n_samples = lengths.sum()
    assert 1 <= slots / n_samples < 1.2
    assert unsorted / n_samples > 1.3


def test_batches_come_in_random_order_of_length():
    """The first batch is the shortest of its group about once in eight epochs."""
    batches = sampler(random_interactions(0, n_users=100), 12, 100)
    n_shortest = 0
    for _ in range(200):
        group = [b.lengths.mean() for b, _ in zip(batches, range(BATCHES_PER_SORT), strict=False)]
        n_shortest += group[0] == min(group)
    assert 10 <= n_shortest <= 45  # 25 expected, deviation 4.7


def test_any_chunk_may_come_first():
    interactions = random_interactions(0, n_users=60)
    batches = sampler(interactions, 1, 100)
    users = np.flatnonzero(interactions.lengths > 1)
    assert len(users) > 3 * BATCHES_PER_SORT
    firsts = {int(next(iter(batches)).users[0]) for _ in range(900)}
    assert firsts == {*users.tolist()}


# ------------------------------------------------------------------ weights


def weighted(seed):
    """Return a log with weights, a third of them 0, and the weight of each item."""
    log = random_interactions(seed)
    rng = np.random.default_rng(seed)
    weights = (rng.random(len(log.items)) * (rng.random(len(log.items)) < 0.7)).astype(np.float32)
    return replace(log, weights=weights), dict(zip(log.items.tolist(), weights, strict=True))


@SEEDS
@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("in_row_order", [True, False])
def test_events_of_weight_0_are_in_histories_but_no_targets(seed, horizon, in_row_order):
    log, weight_of = weighted(seed)
    untimed = replace(log, times=None)
    ties = None if in_row_order else find_ties(untimed)
    batches = list(sampler(log, horizon=horizon, seed=seed, ties=ties))
    targets = np.concatenate([batch.targets.ravel() for batch in batches])
    weights = np.concatenate([batch.weights.ravel() for batch in batches])
    assert weights.dtype == np.float32
    assert ((targets == -1) == (weights == 0)).all()
    is_target = targets >= 0
    given = np.array([weight_of[target] for target in targets[is_target].tolist()])
    assert (given > 0).all()
    n_samples = sum(int(batch.lengths.sum()) for batch in batches)
    total = log.weights[log.is_target].sum()
    np.testing.assert_allclose(weights[is_target], given * n_samples / total, rtol=1e-5)
    seen = {item for batch in batches for item in batch.history.ravel().tolist()}
    assert any(weight_of[item] == 0 for item in seen - {-1})
    if horizon == 1 and in_row_order:
        assert sorted(targets[is_target]) == sorted(log.items[log.is_target])
        assert weights.sum() / n_samples == pytest.approx(1)


@SEEDS
def test_weights_do_not_change_what_is_drawn(seed):
    log = random_interactions(seed)
    rng = np.random.default_rng(seed)
    weights = rng.random(len(log.items)).astype(np.float32)
    for horizon in (1, 3):
        plain = list(sampler(log, horizon=horizon))
        found = list(sampler(replace(log, weights=weights), horizon=horizon))
        assert len(found) == len(plain)
        for mine, theirs in zip(found, plain, strict=True):
            for array, other in zip(mine[:5], theirs[:5], strict=True):
                np.testing.assert_array_equal(array, other)


def test_users_without_a_target_are_left_out():
    log = Interactions(np.arange(6, dtype=np.int32), np.array([0, 3, 6]))
    weights = np.array([5, 0, 0, 0, 2, 2], dtype=np.float32)
    batches = sampler(replace(log, weights=weights), samples_per_epoch=1)
    assert batches.n_samples == 1
    assert {user for _ in range(20) for batch in batches for user in batch.users} == {1}
    nobody = sampler(replace(log, weights=np.zeros(6, dtype=np.float32)))
    assert (nobody.n_samples, list(nobody)) == (0, [])


# ------------------------------------------------------------------ randomness and edges


def test_batches_depend_only_on_the_generator():
    interactions = random_interactions(0)

    def targets(batches):
        return [row for batch in batches for row in batch.targets.tolist()]

    one = sampler(interactions)
    first = targets(one)
    assert first == targets(sampler(interactions))
    assert first != targets(sampler(interactions, seed=1))
    assert first != targets(one)  # another epoch


@pytest.mark.parametrize("users", [[], [0, 1, 2]])
def test_there_is_no_batch_if_no_user_has_two_events(users):
    codes = np.array(users, dtype=np.int32)
    batches = sampler(Interactions.from_codes(codes, codes, None, 4))
    assert (batches.n_samples, list(batches)) == (0, [])


def test_an_epoch_does_not_change_the_interactions():
    interactions = random_interactions(0)
    items = interactions.items.copy()
    offsets = interactions.offsets.copy()
    for batch in sampler(interactions):
        batch.history[:] = 0
        batch.targets[:] = 0
    assert (interactions.items == items).all()
    assert (interactions.offsets == offsets).all()
