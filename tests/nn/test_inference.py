import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from skmind.nn.inference import (
    MAX_HISTORIES_PER_PASS,
    MAX_ITEM_PAIRS_PER_PASS,
    blocks,
    encode,
    explain,
    profile_vectors,
    raw_items,
    unit_items,
)
from skmind.nn.network import MINDNet, NetConfig

N_ITEMS, K, D, L = 15, 3, 6, 10
LAYERS = pytest.mark.parametrize("layers", [0, 1, 2])


def network(layers=0, item_width=0, user_width=0, seed=0):
    """Return a network whose bilinear map, recency and encoder differ from their initial values."""
    rng = np.random.default_rng(seed)
    config = NetConfig(N_ITEMS, K, D, L, 3, adaptive_interests=True, n_encoder_layers=layers)
    dense = (rng.random((N_ITEMS, item_width)) < 0.4).astype(np.float32)
    share = np.full(N_ITEMS, 0.5 if item_width else 1.0)
    generator = torch.Generator().manual_seed(seed)
    net = MINDNet(config, sparse.csr_matrix(dense), share, user_width, seed)
    with torch.no_grad():
        net.bilinear.normal_(std=D**-0.5, generator=generator)
        net.recency.normal_(std=0.5, generator=generator)
        for parameter in net.layers.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.4)
        for name, parameter in net.named_parameters():
            if name.startswith("state"):
                parameter.normal_(std=1 / D, generator=generator)
    return net


def histories(lengths, seed=0):
    """Return codes (B, longest) padded with -1, int32 like batches, and the lengths."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    codes = rng.integers(N_ITEMS, size=(len(lengths), max(lengths.max(), 1)))
    codes[np.arange(codes.shape[1]) >= lengths[:, None]] = -1
    return codes.astype(np.int32), lengths


def profiles(B, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix(rng.random((B, width)).astype(np.float32))


# ------------------------------------------------------------------ encode


@LAYERS
@pytest.mark.parametrize("user_width", [0, 4])
def test_encode_is_the_forward_pass_on_all_items(user_width, layers):
    net = network(layers, item_width=5, user_width=user_width)
    history, lengths = histories([0, 1, 3, 8, 10])
    rows = profiles(5) if user_width else None
    got = encode(net, history, lengths, rows)
    with torch.no_grad():
        expected = net(
            torch.tensor(np.where(history < 0, 7, history)).long(),  # any code in the padding
            torch.tensor(lengths),
            net.item_vectors(),
            net.profiles(rows),
        )
    np.testing.assert_allclose(got.interests, expected.vectors, atol=1e-6)
    np.testing.assert_allclose(got.weights, expected.weights, atol=1e-6)
    np.testing.assert_allclose(got.norms, expected.norms, atol=1e-6, rtol=1e-6)
    used = expected.mask.numpy().copy()
    used[0] = [bool(user_width), False, False]  # none without history and profile
    assert got.mask.tolist() == used.tolist()
    assert [a.dtype for a in got] == [np.float32, bool, np.float32, np.float32]


@LAYERS
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_batch_size_gives_the_same(size, layers):
    net = network(layers, item_width=5, user_width=4)
    history, lengths = histories([10, 0, 4, 1, 7, 2, 10])
    rows = profiles(7)
    whole = encode(net, history, lengths, rows)
    for start in range(0, 7, size):
        part = slice(start, start + size)
        width = max(lengths[part].max(), 1)
        got = encode(net, history[part, :width], lengths[part], rows[part])
        np.testing.assert_allclose(got.interests, whole.interests[part], atol=1e-6)
        np.testing.assert_allclose(got.weights, whole.weights[part, :, :width], atol=1e-6)
        np.testing.assert_allclose(got.norms, whole.norms[part], atol=1e-6, rtol=1e-6)
        assert (got.mask == whole.mask[part]).all()


@LAYERS
def test_a_batch_of_empty_histories_has_no_interests(layers):
    net = network(layers)
    got = encode(net, *histories([0, 0]))
    assert not got.mask.any()
    assert not got.interests.any()
    assert not got.weights.any()
    assert not got.norms.any()
    assert got.interests.shape == (2, K, D)


@LAYERS
@pytest.mark.parametrize("user_width", [0, 4])
def test_histories_without_columns_are_empty(layers, user_width):
    net = network(layers, user_width=user_width)
    rows = profiles(2) if user_width else None
    none = np.empty((2, 0), dtype=np.int32), np.zeros(2, dtype=int)
    for got, expected in zip(
        encode(net, *none, rows), encode(net, *histories([0, 0]), rows), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@LAYERS
def test_a_profile_alone_makes_one_interest(layers):
    net = network(layers, user_width=4)
    rows = sparse.vstack([profiles(1), sparse.csr_matrix((1, 4), dtype=np.float32)]).tocsr()
    got = encode(net, *histories([0, 0]), rows)
    assert got.mask.tolist() == [[True, False, False], [False] * 3]
    expected = F.normalize(net.profiles(rows)[0], dim=0).detach()
    np.testing.assert_allclose(got.interests[0, 0], expected, atol=1e-6)


def test_encode_switches_to_evaluation_mode_and_returns_arrays():
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
    """Return the interest in use nearest to the item, its cosine and what `encode` returns."""
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


def test_a_contribution_is_the_weighted_cosine_of_its_item():
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


def state_after(net, history):
    """Return what the encoder adds to each interest (K, D), layer by layer."""
    n = len(history)
    age = torch.arange(n) - torch.arange(n)[:, None]
    x = net.item_vectors(history.astype(np.int64))[None] * D**0.5
    for layer in net.layers:
        x = layer(x, (age < 0)[None], age.clamp(min=0))
    state = net.layers_norm(x)[0, 0]
    return torch.cat([net.state @ state, net.state_others @ state]).view(K, D).detach().numpy()


@LAYERS
@pytest.mark.parametrize("user_width", [0, 4])
@pytest.mark.parametrize("length", [1, 5, 10])
def test_contributions_exclude_the_parts_of_encoder_and_profile(length, user_width, layers):
    """An interest is the squashed sum, plus its part of the state, plus the profile."""
    net = network(layers, item_width=5, user_width=user_width)
    rows = profiles(1) if user_width else None
    history = histories([length], seed=length)[0][0]
    profile = net.profiles(rows)[0].detach().numpy() if user_width else np.zeros(D)
    states = state_after(net, history) if layers else np.zeros((K, D))
    projected = (net.item_vectors(history.astype(np.int64)) @ net.bilinear.T).detach().numpy()
    rests = []
    for item in range(N_ITEMS):
        best, cosine, encoded = best_interest(net, history, item, rows)
        got = explain(net, history, item, rows)
        assert got.interest == best
        assert got.weights.sum() == pytest.approx(1, abs=1e-6)
        weighted = encoded.weights[0, best][:, None] * projected
        z = weighted.sum(0)
        shortening = np.linalg.norm(z) / (1 + z @ z)
        extra = profile + states[best]
        norm = np.linalg.norm(shortening * z + extra)
        target = unit_items(net)[item]
        np.testing.assert_allclose(
            got.contributions, shortening * weighted @ target / norm, atol=1e-5
        )
        rest = extra @ target / norm
        assert got.contributions.sum() + rest == pytest.approx(cosine, abs=1e-5)
        rests.append(abs(rest))
    # the parts are large enough for the comparison to notice a missing one
    assert (max(rests) > 0.02) == bool(user_width or layers)


@LAYERS
def test_explaining_an_empty_history(layers):
    got = explain(network(layers), np.empty(0, dtype=np.int32), 2)
    assert got.interest == -1
    assert got.weights.shape == got.contributions.shape == (0,)
    # a profile alone makes an interest without contributions
    got = explain(network(layers, user_width=4), np.empty(0, dtype=np.int32), 2, profiles(1))
    assert got.interest == 0
    assert got.weights.shape == got.contributions.shape == (0,)


# ------------------------------------------------------------------ blocks


@pytest.mark.parametrize("max_history", [1, 50, 200, 10_000])
def test_blocks_hold_every_row_once_and_not_too_many_pairs(max_history):
    parts = list(blocks(5000, max_history))
    assert np.concatenate(parts).tolist() == list(range(5000))
    for rows in parts:
        assert len(rows) <= MAX_HISTORIES_PER_PASS
        assert len(rows) == 1 or len(rows) * max_history**2 <= MAX_ITEM_PAIRS_PER_PASS
    assert len(parts) == {1: 10, 50: 10, 200: 24, 10_000: 5000}[max_history]
    assert list(blocks(0, max_history)) == []


def test_raw_items_have_the_directions_of_unit_items():
    net = network(item_width=5)
    codes = np.array([3, 0, 14])
    raw = raw_items(net, codes)
    lengths = np.linalg.norm(raw, axis=1, keepdims=True)
    assert raw.dtype == np.float32
    assert np.ptp(lengths) > 0.01
    np.testing.assert_allclose(raw / lengths, unit_items(net)[codes], rtol=1e-5)


def test_profile_vectors_are_sums_of_mapped_values():
    net = network(user_width=4)
    features = sparse.csr_matrix(np.array([[1, 0, 0.5, 0], [0, 0, 0, 0]], dtype=np.float32))
    values = net.user_values.weight.detach().numpy()
    expected = features.toarray() @ values @ net.profile.detach().numpy().T
    np.testing.assert_allclose(profile_vectors(net, features), expected, rtol=1e-5)
    assert profile_vectors(net, None) is None
    assert profile_vectors(network(), features) is None
