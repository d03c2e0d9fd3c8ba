import numpy as np
import pytest

from skmind.data.batches import CHUNK, BatchSampler
from skmind.data.interactions import Interactions

SEEDS = pytest.mark.parametrize("seed", range(5))


def random_interactions(seed, n_users=20, max_events=12):
    """Users with 0 to ``max_events`` events; no item twice, so each tells its position."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(max_events + 1, size=n_users)
    lengths[:3] = [0, 1, 2]
    users = rng.permutation(np.repeat(np.arange(n_users, dtype=np.int32), lengths))
    items = rng.permutation(len(users)).astype(np.int32)
    return Interactions.from_codes(users, items, rng.random(len(users)), n_users)


def histories(interactions):
    return np.split(interactions.items, interactions.offsets[1:-1])


def sampler(interactions, batch_size=7, max_history=4, seed=0):
    return BatchSampler(interactions, batch_size, max_history, np.random.default_rng(seed))


@SEEDS
@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_every_event_after_a_users_first_is_a_target_once_an_epoch(seed, batch_size):
    interactions = random_interactions(seed)
    batches = sampler(interactions, batch_size)
    wanted = sorted(
        (user, item)
        for user, history in enumerate(histories(interactions))
        for item in history[1:].tolist()
    )
    assert batches.n_samples == len(wanted)
    for _ in range(2):
        epoch = list(batches)
        assert len(epoch) == batches.n_batches
        found = [
            pair
            for batch in epoch
            for pair in zip(batch.users.tolist(), batch.targets.tolist(), strict=True)
        ]
        assert sorted(found) == wanted


@SEEDS
@pytest.mark.parametrize("max_history", [1, 4, 100])
def test_windows_hold_what_came_before_newest_first(seed, max_history):
    interactions = random_interactions(seed)
    lists = histories(interactions)
    n_checked = 0
    for batch in sampler(interactions, max_history=max_history):
        assert batch.history.shape == (len(batch.users), batch.lengths.max())
        for row, (user, target) in enumerate(zip(batch.users, batch.targets, strict=True)):
            past = lists[user].tolist()
            past = past[: past.index(target)][::-1][:max_history]
            assert batch.lengths[row] == len(past)
            n_padding = batch.history.shape[1] - len(past)
            assert batch.history[row].tolist() == past + [-1] * n_padding
            n_checked += 1
    assert n_checked == sampler(interactions).n_samples > 0


def test_the_types_of_a_batch():
    batch = next(iter(sampler(random_interactions(0))))
    types = {name: array.dtype for name, array in batch._asdict().items()}
    assert types == {"history": np.int32, "lengths": int, "users": int, "targets": int}


@SEEDS
def test_batches_are_sorted_by_length_within_a_chunk(seed):
    """So the windows of a batch are alike: its lengths overlap no other batch of the chunk."""
    batch_size, max_history = 5, 9
    interactions = random_interactions(seed, n_users=60)
    batches = list(sampler(interactions, batch_size, max_history, seed))
    assert len(batches) > 2 * CHUNK
    for start in range(0, len(batches), CHUNK):
        chunk = batches[start : start + CHUNK]
        ranges = sorted((batch.lengths.min(), batch.lengths.max()) for batch in chunk)
        for (_, longest), (shortest, _) in zip(ranges, ranges[1:], strict=False):
            assert longest <= shortest
        assert all((np.diff(batch.lengths) >= 0).all() for batch in chunk)


@SEEDS
def test_all_batches_but_one_are_full(seed):
    batches = sampler(random_interactions(seed, n_users=60), 5)
    sizes = sorted(len(batch.targets) for batch in batches)
    assert sizes[1:] == [5] * (batches.n_batches - 1)
    assert 1 <= sizes[0] <= 5


def test_batches_come_in_random_order_of_length():
    """A first batch is the shortest of its chunk one time in eight, not always and not never."""
    interactions = random_interactions(0, n_users=60)
    batches = sampler(interactions, 5, 100)
    n_shortest = 0
    for _ in range(200):
        chunk = [batch.lengths.mean() for batch, _ in zip(batches, range(CHUNK), strict=False)]
        n_shortest += chunk[0] == min(chunk)
    assert 10 <= n_shortest <= 45  # 25 expected, deviation 4.7


def test_any_sample_may_come_first():
    interactions = random_interactions(0, n_users=14)
    batches = sampler(interactions, 1, 3)
    assert 3 * CHUNK < batches.n_samples < 80
    firsts = {int(next(iter(batches)).targets[0]) for _ in range(600)}
    assert len(firsts) == batches.n_samples


def test_the_generator_decides_alone():
    interactions = random_interactions(0)

    def targets(batches):
        return np.concatenate([batch.targets for batch in batches]).tolist()

    one = sampler(interactions)
    first = targets(one)
    assert first == targets(sampler(interactions))
    assert first != targets(sampler(interactions, seed=1))
    assert first != targets(one)  # another epoch


@pytest.mark.parametrize("users", [[], [0, 1, 2]])
def test_nobody_with_two_events_gives_no_batch(users):
    codes = np.array(users, dtype=np.int32)
    batches = sampler(Interactions.from_codes(codes, codes, None, 4))
    assert (batches.n_samples, batches.n_batches, list(batches)) == (0, 0, [])


def test_an_epoch_leaves_the_interactions_as_they_were():
    interactions = random_interactions(0)
    before = interactions.items.copy(), interactions.offsets.copy()
    for batch in sampler(interactions):
        batch.history[:] = 0
        batch.targets[:] = 0
    assert (interactions.items == before[0]).all()
    assert (interactions.offsets == before[1]).all()
