import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from skmind.nn.capsules import interest_mask, route
from skmind.nn.model import FeatureBag, MINDNet, NetConfig

N_ITEMS, K, D, L = 12, 3, 6, 9


def network(item_width=0, user_width=0, seed=0, **changes):
    """A network whose recency weights are not the initial zeros, and its item features."""
    rng = np.random.default_rng(seed)
    config = NetConfig(N_ITEMS, K, D, L, 3, adaptive_interests=True)
    config = NetConfig(**(vars(config) | changes))
    dense = rng.normal(size=(N_ITEMS, item_width)) * (rng.random((N_ITEMS, item_width)) < 0.5)
    share = rng.random(N_ITEMS).astype(np.float32)
    generator = torch.Generator().manual_seed(seed)
    net = MINDNet(config, sparse.csr_matrix(dense.astype(np.float32)), share, user_width, seed)
    with torch.no_grad():
        net.recency.normal_(std=0.5, generator=generator)
    return net


def histories(lengths, seed=0):
    """Random codes (B, longest), other random codes in the padding, and the lengths."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(N_ITEMS, size=(len(lengths), max(*lengths, 1)))
    return torch.tensor(codes), torch.tensor(lengths)


def run(net, history, lengths, **options):
    with torch.inference_mode():
        return net(history, lengths, net.item_vectors(), **options)


# ------------------------------------------------------------------ features and items


def test_feature_bag_is_the_matrix_product():
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(7, 5)).astype(np.float32) * (rng.random((7, 5)) < 0.4)
    dense[[0, 3, 6]] = 0  # empty rows, the last one too
    bag = FeatureBag(5, D, 1.0, torch.Generator().manual_seed(0))
    got = bag(sparse.csr_matrix(dense))
    np.testing.assert_allclose(got.detach(), dense @ bag.weight.detach().numpy(), atol=1e-6)
    assert not got[[0, 3, 6]].any()
    got.sum().backward()
    used = torch.tensor((dense != 0).any(0))
    assert torch.equal(bag.weight.grad.any(1), used)


@pytest.mark.parametrize("codes", [None, np.array([3, 0, 3, 11])])
def test_item_vectors_are_their_share_plus_the_features(codes):
    net = network(item_width=4)
    own, values = net.item_embedding.detach().numpy(), net.item_values.weight.detach().numpy()
    expected = own * net.item_share.numpy() + net.item_features.toarray() @ values
    expected = expected if codes is None else expected[codes]
    np.testing.assert_allclose(net.item_vectors(codes).detach(), expected, atol=1e-6)


@pytest.mark.parametrize("codes", [None, np.array([3, 0, 3, 11])])
def test_item_vectors_without_features_are_the_embedding(codes):
    net = network()
    assert net.item_values is None
    expected = net.item_embedding if codes is None else net.item_embedding[torch.tensor(codes)]
    assert torch.equal(net.item_vectors(codes), expected)


# ------------------------------------------------------------------ forward


@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("n_iter", [1, 3])
def test_forward_normalises_the_routed_capsules(adaptive, n_iter):
    net = network(adaptive_interests=adaptive, n_routing_iter=n_iter)
    history, lengths = histories([0, 1, 4, 6, 9])
    interests, mask, weights = run(net, history, lengths)
    assert torch.equal(mask, interest_mask(lengths, K, adaptive))
    projected = torch.zeros(5, 9, D)
    for row, n in enumerate(lengths.tolist()):
        for i in range(n):
            projected[row, i] = net.bilinear.detach() @ net.item_embedding[history[row, i]].detach()
    present = (torch.arange(9) < lengths[:, None]).float()
    capsules, expected_weights = route(
        projected, present, mask, net.logits, net.recency.detach().exp(), n_iter
    )
    torch.testing.assert_close(interests, F.normalize(capsules, dim=2), atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-5)
    norms = interests.norm(dim=2)
    torch.testing.assert_close(norms[1:], mask[1:].float())
    assert not norms[0].any()


def test_items_in_the_padding_never_matter():
    net = network()
    history, lengths = histories([0, 1, 4, 6, 9])
    before = run(net, history, lengths)
    changed = torch.where(torch.arange(9) < lengths[:, None], history, N_ITEMS - 1 - history)
    assert not torch.equal(history, changed)
    for a, b in zip(before, run(net, changed, lengths), strict=True):
        assert torch.equal(a, b)


def test_the_same_history_gives_the_same_interests_in_any_batch():
    net = network(user_width=2)
    history, lengths = histories([0, 1, 4, 6, 9])
    profile = torch.randn(5, D, generator=torch.Generator().manual_seed(1))
    interests, mask, weights = run(net, history, lengths, profile=profile)
    for row, n in enumerate(lengths.tolist()):
        width, one = max(n, 1), slice(row, row + 1)
        got = run(net, history[one, :width], lengths[one], profile=profile[one])
        torch.testing.assert_close(got[0], interests[one], atol=1e-6, rtol=0)
        assert torch.equal(got[1], mask[one])
        torch.testing.assert_close(got[2], weights[one, :, :width], atol=1e-6, rtol=0)


def test_recency_and_order_matter():
    net = network()
    history, lengths = histories([9, 9])
    forwards = run(net, history, lengths)[0]
    backwards = run(net, history.flip(1), lengths)[0]
    assert (forwards - backwards).abs().max() > 0.01


def test_gradients_reach_every_parameter_and_are_finite():
    net = network(item_width=4, user_width=2)
    history, lengths = histories([0, 1, 4, 6, 9])
    rows = sparse.csr_matrix(np.eye(5, 2, dtype=np.float32))
    interests, mask, _ = net(history, lengths, net.item_vectors(), net.profiles(rows))
    probe = torch.randn(5, K, D, generator=torch.Generator().manual_seed(0))
    (interests * probe).sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


def test_an_empty_history_has_a_finite_gradient():
    net = network()
    history, lengths = histories([0, 0])
    net(history, lengths, net.item_vectors())[0].sum().backward()
    assert not net.item_embedding.grad.any()
    assert not net.recency.grad.any()


# ------------------------------------------------------------------ profile


def test_profile_is_added_to_every_capsule_in_use():
    net = network(user_width=3)
    rows = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0.5, 2], [0, 0, 0]], dtype=np.float32))
    profile = net.profiles(rows).detach()
    values, matrix = net.user_values.weight.detach(), net.profile.detach()
    torch.testing.assert_close(profile, torch.tensor(rows.toarray()) @ values @ matrix.T)
    history, lengths = histories([0, 5, 9])
    interests, mask, _ = run(net, history, lengths, profile=profile)
    capsules = torch.zeros(3, K, D)
    present = (torch.arange(9) < lengths[:, None]).float()
    projected = net.item_embedding.detach()[history] @ net.bilinear.detach().T
    capsules, _ = route(projected, present, mask, net.logits, net.recency.detach().exp(), 3)
    expected = torch.zeros(3, K, D)
    for row, k in mask.nonzero().tolist():
        expected[row, k] = F.normalize(capsules[row, k] + profile[row], dim=0)
    torch.testing.assert_close(interests, expected, atol=1e-5, rtol=0)
    assert mask.sum(1).tolist() == [1, 2, 3]
    torch.testing.assert_close(interests[0, 0], F.normalize(profile[0], dim=0))
    assert not interests[~mask].any()


def test_there_is_no_profile_without_user_features_or_rows():
    rows = sparse.csr_matrix((2, 3), dtype=np.float32)
    assert network(user_width=0).profiles(rows) is None
    assert network(user_width=3).profiles(None) is None
    assert torch.equal(network(user_width=3).profiles(rows), torch.zeros(2, D))


# ------------------------------------------------------------------ dropped items


def test_dropped_items_are_as_if_absent():
    net = network()
    history, lengths = histories([4, 9])
    dropped = torch.zeros(2, 9, dtype=torch.bool)
    for a, b in zip(
        run(net, history, lengths), run(net, history, lengths, dropped=dropped), strict=True
    ):
        assert torch.equal(a, b)
    dropped[0, 1] = dropped[1, [0, 3, 8]] = True
    interests, mask, weights = run(net, history, lengths, dropped=dropped)
    assert torch.equal(mask, interest_mask(lengths, K, True))  # by the whole history
    present = (torch.arange(9) < lengths[:, None]) & ~dropped
    assert torch.equal((weights > 0).any(1), present)
    projected = net.item_embedding.detach()[history] @ net.bilinear.detach().T
    recency = net.recency.detach().exp()
    capsules, _ = route(projected, present.float(), mask, net.logits, recency, 3)
    torch.testing.assert_close(interests, F.normalize(capsules, dim=2), atol=1e-6, rtol=0)


def test_a_history_never_loses_all_of_its_items():
    net = network()
    history, lengths = histories([0, 1, 2, 9])
    dropped = torch.arange(9) < lengths[:, None]  # all that is there, and nothing of the padding
    for mask in (dropped, torch.ones_like(dropped)):
        interests, _, weights = run(net, history, lengths, dropped=mask)
        newest = torch.zeros(4, 9, dtype=torch.bool)
        newest[1:, 0] = True  # an empty one stays empty
        assert torch.equal((weights > 0).any(1), newest)
        assert (interests[1:, 0].norm(dim=1) - 1).abs().max() < 1e-5
        assert not interests[0].any()


# ------------------------------------------------------------------ randomness


def test_the_generator_alone_decides_the_weights():
    state = torch.get_rng_state()
    nets = [network(item_width=4, user_width=2, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (net.state_dict() for net in nets)
    assert first.keys() == {
        "item_embedding", "bilinear", "recency", "logits", "profile",
        "item_values.weight", "user_values.weight",
    }  # fmt: skip
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert not torch.equal(value, other[name]), name


def test_initial_scales():
    config = NetConfig(4000, 4, 16, 50, 3, adaptive_interests=True)
    net = MINDNet(config, sparse.csr_matrix((4000, 0)), np.ones(4000), 0, seed=0)
    assert net.item_embedding.std().item() == pytest.approx(16**-0.5, rel=0.02)
    assert net.bilinear.std().item() == pytest.approx(16**-0.5, rel=0.15)
    assert net.logits.std().item() == pytest.approx(1, rel=0.15)
    assert not net.recency.any()  # every age counts the same at first
    assert not net.logits.requires_grad
