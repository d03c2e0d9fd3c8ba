import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from skmind.nn.encode import encode, explain, unit_items
from skmind.nn.model import MINDNet, NetConfig

N_ITEMS, K, D, L = 15, 3, 6, 10


def network(item_width=0, user_width=0, seed=0):
    """A network whose recency weights are not the initial zeros."""
    rng = np.random.default_rng(seed)
    config = NetConfig(N_ITEMS, K, D, L, 3, adaptive_interests=True)
    dense = (rng.random((N_ITEMS, item_width)) < 0.4).astype(np.float32)
    share = np.full(N_ITEMS, 0.5 if item_width else 1.0)
    generator = torch.Generator().manual_seed(seed)
    net = MINDNet(config, sparse.csr_matrix(dense), share, user_width, seed)
    with torch.no_grad():
        net.recency.normal_(std=0.5, generator=generator)
    return net


def histories(lengths, seed=0):
    """Codes (B, longest) padded with -1, int32 as batches have them, and the lengths."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    codes = rng.integers(N_ITEMS, size=(len(lengths), max(lengths.max(), 1)))
    codes[np.arange(codes.shape[1]) >= lengths[:, None]] = -1
    return codes.astype(np.int32), lengths


def profiles(B, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.random((B, width)).astype(np.float32))


# ------------------------------------------------------------------ encode


@pytest.mark.parametrize("user_width", [0, 4])
def test_encode_is_the_forward_pass_on_all_items(user_width):
    net = network(item_width=5, user_width=user_width)
    history, lengths = histories([0, 1, 3, 8, 10])
    rows = profiles(5) if user_width else None
    got = encode(net, history, lengths, rows)
    with torch.no_grad():
        interests, mask, weights = net(
            torch.tensor(np.where(history < 0, 7, history)).long(),  # the padding does not matter
            torch.tensor(lengths),
            net.item_vectors(),
            net.profiles(rows),
        )
    np.testing.assert_allclose(got.interests, interests, atol=1e-6)
    np.testing.assert_allclose(got.weights, weights, atol=1e-6)
    used = mask.numpy().copy()
    used[0] = [bool(user_width), False, False]  # with neither history nor profile there is none
    assert got.mask.tolist() == used.tolist()
    assert [a.dtype for a in got] == [np.float32, bool, np.float32]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_batch_size_gives_the_same(size):
    net = network(item_width=5, user_width=4)
    history, lengths = histories([10, 0, 4, 1, 7, 2, 10])
    rows = profiles(7)
    whole = encode(net, history, lengths, rows)
    for start in range(0, 7, size):
        part = slice(start, start + size)
        width = max(lengths[part].max(), 1)
        got = encode(net, history[part, :width], lengths[part], rows[part])
        np.testing.assert_allclose(got.interests, whole.interests[part], atol=1e-6)
        np.testing.assert_allclose(got.weights, whole.weights[part, :, :width], atol=1e-6)
        assert (got.mask == whole.mask[part]).all()


def test_a_batch_of_empty_histories_has_no_interests():
    net = network()
    got = encode(net, *histories([0, 0]))
    assert not got.mask.any()
    assert not got.interests.any()
    assert not got.weights.any()
    assert got.interests.shape == (2, K, D)


def test_a_profile_alone_makes_one_interest():
    net = network(user_width=4)
    rows = sparse.vstack([profiles(1), sparse.csr_matrix((1, 4), dtype=np.float32)]).tocsr()
    got = encode(net, *histories([0, 0]), rows)
    assert got.mask.tolist() == [[True, False, False], [False] * 3]
    expected = F.normalize(net.profiles(rows)[0], dim=0).detach()
    np.testing.assert_allclose(got.interests[0, 0], expected, atol=1e-6)


def test_encode_leaves_training_mode_and_keeps_no_graph():
    net = network().train()
    got = encode(net, *histories([4]))
    assert not net.training
    assert all(isinstance(a, np.ndarray) for a in got)


def test_unit_items_are_the_normalised_vectors():
    net = network(item_width=5)
    vectors = net.item_vectors().detach().numpy()
    got = unit_items(net)
    np.testing.assert_allclose(got, vectors / np.linalg.norm(vectors, axis=1)[:, None], atol=1e-6)
    assert got.dtype == np.float32


# ------------------------------------------------------------------ explain


def best_interest(net, history, item, rows=None):
    """Number and cosine of the interest in use that is nearest the item."""
    encoded = encode(net, history[None], np.array([len(history)]), rows)
    cosines = encoded.interests[0] @ unit_items(net)[item]
    cosines[~encoded.mask[0]] = -np.inf
    return int(cosines.argmax()), float(cosines.max()), encoded


@pytest.mark.parametrize("length", [1, 2, 5, 10])
def test_contributions_add_up_to_the_cosine(length):
    net = network(item_width=5)
    history = histories([length], seed=length)[0][0]
    for item in range(N_ITEMS):
        best, cosine, encoded = best_interest(net, history, item)
        got = explain(net, history, item)
        assert got.interest == best
        assert got.contributions.shape == got.weights.shape == (length,)
        assert got.contributions.sum() == pytest.approx(cosine, abs=1e-5)
        assert got.weights.sum() == pytest.approx(1, abs=1e-6)
        raw = encoded.weights[0, best]
        np.testing.assert_allclose(got.weights, raw / raw.sum(), atol=1e-6)


def test_each_contribution_is_the_part_of_its_item():
    net = network()
    history = histories([6])[0][0]
    got = explain(net, history, 3)
    vectors = net.item_vectors().detach().numpy()
    projected = vectors[history] @ net.bilinear.detach().numpy().T
    weights = encode(net, history[None], np.array([6])).weights[0, got.interest]
    weighted = weights[:, None] * projected
    cosines = weighted @ unit_items(net)[3]
    expected = cosines / np.linalg.norm(weighted.sum(0))
    np.testing.assert_allclose(got.contributions, expected, atol=1e-5)


@pytest.mark.parametrize("length", [1, 5, 10])
def test_what_contributions_leave_over_is_the_part_of_the_profile(length):
    net, rows = network(item_width=5, user_width=4), profiles(1)
    history = histories([length], seed=length)[0][0]
    profile = net.profiles(rows)[0].detach().numpy()
    projected = net.item_vectors(history.astype(np.int64)) @ net.bilinear.T
    shares = []
    for item in range(N_ITEMS):
        best, cosine, encoded = best_interest(net, history, item, rows)
        got = explain(net, history, item, rows)
        assert got.interest == best
        assert got.weights.sum() == pytest.approx(1, abs=1e-6)
        z = encoded.weights[0, best] @ projected.detach().numpy()
        capsule = z * np.linalg.norm(z) / (1 + z @ z) + profile
        part = profile @ unit_items(net)[item] / np.linalg.norm(capsule)
        assert got.contributions.sum() + part == pytest.approx(cosine, abs=1e-5)
        shares.append(abs(part))
    assert max(shares) > 0.1  # else the profile's part would not be seen


def test_explaining_an_empty_history():
    got = explain(network(), np.empty(0, dtype=np.int32), 2)
    assert got.interest == -1
    assert got.weights.shape == got.contributions.shape == (0,)
    # with a profile there is an interest, to which no item contributes
    got = explain(network(user_width=4), np.empty(0, dtype=np.int32), 2, profiles(1))
    assert got.interest == 0
    assert got.weights.shape == got.contributions.shape == (0,)
