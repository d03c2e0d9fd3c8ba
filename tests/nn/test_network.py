import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from skmind.nn.network import FeatureBag, MINDNet, NetConfig
from skmind.nn.routing import interest_mask, route, squash

N_ITEMS, K, D, L = 12, 3, 6, 9
LAYERS = pytest.mark.parametrize("layers", [0, 1, 2])


def network(layers=0, item_width=0, user_width=0, seed=0, **changes):
    """Return a network whose bilinear map, recency and encoder differ from their initial values."""
    rng = np.random.default_rng(seed)
    config = NetConfig(N_ITEMS, K, D, L, 3, adaptive_interests=True, n_encoder_layers=layers)
    config = NetConfig(**(vars(config) | changes))
    dense = rng.normal(size=(N_ITEMS, item_width)) * (rng.random((N_ITEMS, item_width)) < 0.5)
    share = rng.random(N_ITEMS).astype(np.float32)
    generator = torch.Generator().manual_seed(seed)
    net = MINDNet(config, sparse.csr_matrix(dense.astype(np.float32)), share, user_width, seed)
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
    """Return random codes (B, longest), random in the padding too, and the lengths."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(N_ITEMS, size=(len(lengths), max(*lengths, 1)))
    return torch.tensor(codes), torch.tensor(lengths)


def items_seen(net, history, lengths, dropout_mask):
    """Return which items (B, Q, L) have a weight, running each query as a history of its own."""
    seen = torch.zeros_like(dropout_mask)
    for q in range(history.shape[1]):
        alone = run(net, history[:, q:], lengths - q, dropout_mask=dropout_mask[:, q:, q:])
        seen[:, q, q:] = (alone.weights > 0).any(1)
    return seen


def run(net, history, lengths, **options):
    with torch.inference_mode():
        return net(history, lengths, net.item_vectors(), **options)


def parts(result):
    """Return the tensors of an `Interests`."""
    return result.vectors, result.mask, result.weights, result.norms


def routed(net, history, lengths, seen=None):
    """Return capsules and weights of the newest query, projecting the items one by one."""
    L = history.shape[1]
    projected = torch.zeros(*history.shape, D)
    for row, n in enumerate(lengths.tolist()):
        for i in range(n):
            projected[row, i] = net.bilinear.detach() @ net.item_embedding[history[row, i]].detach()
    if seen is None:
        seen = torch.arange(L) < lengths[:, None]
    config = net.config
    mask = interest_mask(lengths, config.n_interests, config.adaptive_interests)
    sums, weights = route(
        projected,
        seen.float()[:, None],
        mask[:, None],
        net.logits[None, :, :L],
        net.recency.detach().exp()[None, :, :L],
        config.n_routing_iter,
    )
    return squash(sums[:, 0]), weights[:, 0]


def states(net, history, lengths, dropout_mask=None):
    """Return what the encoder adds (B, K, D) for the newest query, running each history alone."""
    D = net.config.embedding_dim
    maps = torch.cat([net.state, net.state_others]).view(-1, D, D).detach()  # (K, D, D)
    added = torch.zeros(len(lengths), len(maps), D)
    for row, n in enumerate(lengths.tolist()):
        if not n:
            continue
        columns = torch.arange(n)
        age = columns - columns[:, None]
        unseen = age < 0
        if dropout_mask is not None:
            unseen = unseen | dropout_mask[row, :n, :n]
        x = net.item_embedding.detach()[history[row : row + 1, :n]]
        x = x * net.config.embedding_dim**0.5
        for layer in net.layers:
            x = layer(x, unseen[None], age.clamp(min=0))
        x = (x - x.mean(2, keepdim=True)) / (x.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        x = x * net.layers_norm.weight + net.layers_norm.bias
        added[row] = torch.stack([matrix @ x[0, 0].detach() for matrix in maps])
    return added


def unit(capsules, mask):
    """Return the capsules with unit length where in use, zero elsewhere."""
    vectors = torch.zeros_like(capsules)
    for place in zip(*mask.nonzero(as_tuple=True), strict=True):
        if capsules[place].any():
            vectors[place] = capsules[place] / capsules[place].norm()
    return vectors


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


@LAYERS
@pytest.mark.parametrize("adaptive", [True, False])
@pytest.mark.parametrize("n_iter", [1, 3])
def test_forward_normalises_the_routed_capsules(adaptive, n_iter, layers):
    net = network(layers, adaptive_interests=adaptive, n_routing_iter=n_iter)
    history, lengths = histories([0, 1, 4, 6, 9])
    result = run(net, history, lengths)
    assert torch.equal(result.mask, interest_mask(lengths, K, adaptive))
    capsules, weights = routed(net, history, lengths)
    if layers:
        capsules += states(net, history, lengths)
    expected = unit(capsules, result.mask)
    torch.testing.assert_close(result.vectors, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.weights, weights, atol=1e-6, rtol=1e-5)
    expected_norms = (capsules * result.mask[..., None]).norm(dim=2)
    torch.testing.assert_close(result.norms, expected_norms, atol=1e-5, rtol=0)
    norms = result.vectors.norm(dim=2)
    torch.testing.assert_close(norms[1:], result.mask[1:].float())
    assert not norms[0].any()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("interest", range(K))
def test_each_interest_has_a_map_of_the_state(layers, interest):
    net = network(layers, adaptive_interests=False)
    history, lengths = histories([1, 4, 9])
    with_states = run(net, history, lengths, all_queries=True)
    others = [k for k in range(K) if k != interest]
    with torch.no_grad():
        maps = torch.cat([net.state, net.state_others])
        maps[interest * D : (interest + 1) * D] = 0
        net.state.copy_(maps[:D])
        net.state_others.copy_(maps[D:])
    without = run(net, history, lengths, all_queries=True)
    assert torch.equal(with_states.weights, without.weights)
    assert torch.equal(with_states.vectors[:, :, others], without.vectors[:, :, others])
    assert torch.equal(with_states.norms[:, :, others], without.norms[:, :, others])
    in_history = torch.arange(9) < lengths[:, None]
    difference = (with_states.vectors - without.vectors)[:, :, interest].norm(dim=2)
    assert difference[in_history].min() > 0.01
    assert not difference[~in_history].any()


def test_one_interest_has_one_map_of_the_state():
    assert "state_others" not in network(1, n_interests=1).state_dict()
    assert network(1).state_others.shape == ((K - 1) * D, D)


@LAYERS
def test_every_query_equals_a_history_of_its_own(layers):
    """With ``all_queries``, query q gives what the history from column q on gives alone."""
    net = network(layers, user_width=2)
    history, lengths = histories([0, 1, 4, 6, 9])
    profile = torch.randn(5, D, generator=torch.Generator().manual_seed(1))
    whole = run(net, history, lengths, profile=profile, all_queries=True)
    shapes = [tuple(part.shape) for part in parts(whole)]
    assert shapes == [(5, 9, K, D), (5, 9, K), (5, K, 9), (5, 9, K)]
    for row, n in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        for q in range(n):
            for end in (n, 9):  # padded or not
                alone = run(net, history[one, q:end], lengths[one] - q, profile=profile[one])
                assert torch.equal(whole.mask[one, q], alone.mask)
                close = {"atol": 1e-5, "rtol": 1e-5}
                torch.testing.assert_close(whole.vectors[one, q], alone.vectors, **close)
                torch.testing.assert_close(whole.norms[one, q], alone.norms, **close)


@LAYERS
def test_a_single_query_is_the_first_of_all_queries(layers):
    net = network(layers)
    history, lengths = histories([0, 1, 4, 6, 9])
    single = run(net, history, lengths)
    several = run(net, history, lengths, all_queries=True)
    first = several.vectors[:, 0], several.mask[:, 0], several.weights, several.norms[:, 0]
    for mine, theirs in zip(parts(single), first, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


@LAYERS
def test_a_query_never_sees_newer_items(layers):
    net = network(layers)
    history, lengths = histories([9, 9, 6])
    before = run(net, history, lengths, all_queries=True)
    for i in range(9):
        changed = history.clone()
        changed[:, i] = (changed[:, i] + 5) % N_ITEMS
        after = run(net, changed, lengths, all_queries=True)
        for name in ("vectors", "mask"):
            old, new = (getattr(result, name)[:, i + 1 :] for result in (before, after))
            assert torch.equal(old, new)
        moved = (after.vectors - before.vectors).abs().amax((2, 3)) > 1e-5  # (B, Q)
        assert moved[:2, : i + 1].all()
        assert moved[2].tolist() == [q <= i < 6 for q in range(9)]


@LAYERS
@pytest.mark.parametrize("all_queries", [False, True])
def test_items_in_the_padding_never_matter(layers, all_queries):
    net = network(layers)
    history, lengths = histories([0, 1, 4, 6, 9])
    before = run(net, history, lengths, all_queries=all_queries)
    changed = torch.where(torch.arange(9) < lengths[:, None], history, N_ITEMS - 1 - history)
    assert not torch.equal(history, changed)
    after = run(net, changed, lengths, all_queries=all_queries)
    for a, b in zip(parts(before), parts(after), strict=True):
        assert torch.equal(a, b)


@LAYERS
def test_a_query_in_the_padding_has_no_interest(layers):
    net = network(layers)
    history, lengths = histories([0, 3, 9])
    result = run(net, history, lengths, all_queries=True)
    in_history = torch.arange(9) < lengths[:, None]
    assert torch.equal(result.vectors.any(3).any(2), in_history)
    assert not result.weights[~in_history[:, 0]].any()
    assert torch.equal(result.norms.any(2), in_history)


@LAYERS
@pytest.mark.parametrize("all_queries", [False, True])
def test_the_same_history_gives_the_same_interests_in_any_batch(layers, all_queries):
    net = network(layers, user_width=2)
    history, lengths = histories([0, 1, 4, 6, 9])
    profile = torch.randn(5, D, generator=torch.Generator().manual_seed(1))
    whole = run(net, history, lengths, profile=profile, all_queries=all_queries)
    for row, n in enumerate(lengths.tolist()):
        width, one = max(n, 1), slice(row, row + 1)
        got = run(
            net, history[one, :width], lengths[one], profile=profile[one], all_queries=all_queries
        )
        torch.testing.assert_close(got.weights, whole.weights[one, :, :width], atol=1e-6, rtol=1e-6)
        for name in ("vectors", "mask", "norms"):
            mine, theirs = getattr(got, name), getattr(whole, name)[one]
            theirs = theirs[:, :width] if all_queries else theirs
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


@LAYERS
def test_recency_and_order_matter(layers):
    net = network(layers)
    history, lengths = histories([9, 9])
    forwards = run(net, history, lengths).vectors
    backwards = run(net, history.flip(1), lengths).vectors
    assert (forwards - backwards).abs().max() > 0.01


@LAYERS
@pytest.mark.parametrize("all_queries", [False, True])
def test_gradients_reach_every_parameter_and_are_finite(layers, all_queries):
    net = network(layers, item_width=4, user_width=2)
    history, lengths = histories([0, 1, 4, 6, 9])
    rows = sparse.csr_matrix(np.eye(5, 2, dtype=np.float32))
    result = net(history, lengths, net.item_vectors(), net.profiles(rows), all_queries=all_queries)
    probe = torch.randn(result.vectors.shape, generator=torch.Generator().manual_seed(0))
    (result.vectors * probe).sum().backward()
    for name, parameter in net.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name


@LAYERS
@pytest.mark.parametrize("all_queries", [False, True])
def test_an_empty_history_has_a_finite_gradient(layers, all_queries):
    net = network(layers)
    history, lengths = histories([0, 0])
    net(history, lengths, net.item_vectors(), all_queries=all_queries).vectors.sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or not parameter.grad.any(), name  # nan would be true
    assert net.item_embedding.grad is not None


@LAYERS
def test_gradients_of_every_query_equal_those_of_a_history_of_its_own(layers):
    net = network(layers).double()  # in float32 the order of additions matters
    history, lengths = histories([1, 4, 6, 9])
    dropout_mask = torch.rand(4, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.3
    probe = torch.randn(4, 9, K, D, generator=torch.Generator().manual_seed(1)).double()

    def gradients(loss):
        return torch.autograd.grad(loss, list(net.parameters()))

    whole = net(
        history, lengths, net.item_vectors(), dropout_mask=dropout_mask, all_queries=True
    ).vectors
    alone = []
    for row, n in enumerate(lengths.tolist()):
        for q in range(n):
            one = slice(row, row + 1), slice(q, n)
            mask = dropout_mask[row : row + 1, q:n, q:n]
            result = net(history[one], lengths[one[0]] - q, net.item_vectors(), dropout_mask=mask)
            alone.append((result.vectors * probe[row, q]).sum())
    pairs = zip(gradients((whole * probe).sum()), gradients(sum(alone)), strict=True)
    for together, one_by_one in pairs:
        scale = one_by_one.abs().max()
        torch.testing.assert_close(together / scale, one_by_one / scale, atol=1e-12, rtol=0)


@LAYERS
def test_dense_parameters_are_the_parameters_of_the_encoder(layers):
    net = network(layers, item_width=4, user_width=2)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    dense = [names[id(parameter)] for parameter in net.dense_parameters()]
    assert len(set(dense)) == len(dense)
    rest = {"item_embedding", "bilinear", "recency", "profile"}
    rest |= {"item_values.weight", "user_values.weight"}
    assert set(dense) == set(names.values()) - rest
    assert len(dense) == (9 * layers + 4 if layers else 0)


# ------------------------------------------------------------------ profile


@LAYERS
def test_profile_is_added_to_every_capsule_in_use(layers):
    net = network(layers, user_width=3)
    rows = sparse.csr_matrix(np.array([[1, 0, 0], [0, 0.5, 2], [0, 0, 0]], dtype=np.float32))
    profile = net.profiles(rows).detach()
    values, matrix = net.user_values.weight.detach(), net.profile.detach()
    torch.testing.assert_close(profile, torch.tensor(rows.toarray()) @ values @ matrix.T)
    history, lengths = histories([0, 5, 9])
    result = run(net, history, lengths, profile=profile)
    capsules, _ = routed(net, history, lengths)
    if layers:
        capsules += states(net, history, lengths)
    expected = unit(capsules + profile[:, None], result.mask)
    torch.testing.assert_close(result.vectors, expected, atol=1e-5, rtol=0)
    lengths_before = (capsules + profile[:, None]).norm(dim=2)
    torch.testing.assert_close(result.norms[result.mask], lengths_before[result.mask])
    assert result.mask.sum(1).tolist() == [1, 2, 3]
    torch.testing.assert_close(result.vectors[0, 0], F.normalize(profile[0], dim=0))
    assert not result.vectors[~result.mask].any()


def test_there_is_no_profile_without_user_features_or_rows():
    rows = sparse.csr_matrix((2, 3), dtype=np.float32)
    assert network(user_width=0).profiles(rows) is None
    assert network(user_width=3).profiles(None) is None
    assert torch.equal(network(user_width=3).profiles(rows), torch.zeros(2, D))


# ------------------------------------------------------------------ dropped items


@LAYERS
def test_dropped_items_are_treated_as_absent(layers):
    net = network(layers)
    history, lengths = histories([4, 9])
    dropout_mask = torch.zeros(2, 9, 9, dtype=torch.bool)
    before, after = (
        run(net, history, lengths),
        run(net, history, lengths, dropout_mask=dropout_mask),
    )
    for a, b in zip(parts(before), parts(after), strict=True):
        assert torch.equal(a, b)
    dropout_mask[0, 0, 1] = dropout_mask[1, 0, [0, 3, 8]] = True
    generator = torch.Generator().manual_seed(0)
    dropout_mask[:, 1:] = torch.rand(2, 8, 9, generator=generator) < 0.3  # of the other queries
    result = run(net, history, lengths, dropout_mask=dropout_mask)
    assert torch.equal(result.mask, interest_mask(lengths, K, True))  # by the whole history
    seen = (torch.arange(9) < lengths[:, None]) & ~dropout_mask[:, 0]
    assert torch.equal((result.weights > 0).any(1), seen)
    capsules, _ = routed(net, history, lengths, seen)
    if layers:
        capsules += states(net, history, lengths, dropout_mask)
    expected = unit(capsules, result.mask)
    torch.testing.assert_close(result.vectors, expected, atol=1e-5, rtol=0)


@LAYERS
def test_each_query_leaves_out_items_of_its_own(layers):
    """Query q equals the first query of the history from q on, with the mask cut alike."""
    net = network(layers)
    history, lengths = histories([4, 9, 7])
    chance = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))
    dropout_mask = chance < 0.5
    result = run(net, history, lengths, dropout_mask=dropout_mask, all_queries=True)
    n_dropped = 0
    for row, n in enumerate(lengths.tolist()):
        one = slice(row, row + 1)
        for q in range(n):
            mask = dropout_mask[one, q:, q:]
            alone = run(net, history[one, q:], lengths[one] - q, dropout_mask=mask)
            torch.testing.assert_close(result.vectors[one, q], alone.vectors, atol=1e-5, rtol=0)
            seen = (alone.weights[0] > 0).any(0)
            wanted = (torch.arange(9) >= q) & (torch.arange(9) < n) & ~dropout_mask[row, q]
            if not wanted.any():
                wanted[q] = True
            assert torch.equal(seen, wanted[q:])
            n_dropped += n - q - int(wanted.sum())
    assert n_dropped > 20


@pytest.mark.parametrize("layers", [0, 1])
def test_an_item_never_matters_to_queries_that_leave_it_out(layers):
    net = network(layers)
    history, lengths = histories([9, 9])
    dropout_mask = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(3)) < 0.4
    if layers:  # the encoder always knows the newest item
        dropout_mask &= ~torch.eye(9, dtype=torch.bool)
    before = run(net, history, lengths, dropout_mask=dropout_mask, all_queries=True)
    seen = items_seen(net, history, lengths, dropout_mask)
    assert (seen.sum(2) >= 1).all()
    for i in range(9):
        changed = history.clone()
        changed[:, i] = (changed[:, i] + 5) % N_ITEMS
        after = run(net, changed, lengths, dropout_mask=dropout_mask, all_queries=True)
        moved = (after.vectors - before.vectors).abs().amax((2, 3)) > 1e-5  # (B, Q)
        assert torch.equal(moved, seen[:, :, i])


def test_an_item_that_every_query_leaves_out_is_absent_from_all_layers():
    net = network(2)
    history, lengths = histories([9])
    dropout_mask = torch.zeros(1, 9, 9, dtype=torch.bool)
    dropout_mask[:, :, 4] = True
    before = run(net, history, lengths, dropout_mask=dropout_mask, all_queries=True)
    changed = history.clone()
    changed[:, 4] = (changed[:, 4] + 5) % N_ITEMS
    after = run(net, changed, lengths, dropout_mask=dropout_mask, all_queries=True)
    moved = (after.vectors - before.vectors).abs().amax((0, 2, 3)) > 1e-5
    assert moved.tolist() == [q == 4 for q in range(9)]  # the encoder of query 4 always knows it


@LAYERS
def test_a_query_never_loses_all_of_its_items(layers):
    net = network(layers)
    history, lengths = histories([0, 1, 2, 9])
    in_history = torch.arange(9) < lengths[:, None]
    only_items = in_history[:, None].expand(-1, 9, -1)  # without the padding
    for mask in (only_items, torch.ones_like(only_items)):
        result = run(net, history, lengths, dropout_mask=mask, all_queries=True)
        newest = torch.eye(9, dtype=torch.bool) & in_history[:, None]  # empty histories stay empty
        assert torch.equal(items_seen(net, history, lengths, mask), newest)
        norms = result.vectors[:, :, 0].norm(dim=2)
        torch.testing.assert_close(norms, in_history.float())
        single = run(net, history, lengths, dropout_mask=mask)
        torch.testing.assert_close(single.vectors, result.vectors[:, 0], atol=1e-6, rtol=0)


# ------------------------------------------------------------------ randomness


@LAYERS
def test_the_seed_alone_decides_the_weights(layers):
    state = torch.get_rng_state()
    config = NetConfig(N_ITEMS, K, D, L, 3, adaptive_interests=True, n_encoder_layers=layers)
    features = sparse.csr_matrix(np.eye(N_ITEMS, 4, dtype=np.float32))
    nets = [MINDNet(config, features, np.ones(N_ITEMS), 2, seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = (net.state_dict() for net in nets)
    drawn = {
        "item_embedding", "logits", "profile", "item_values.weight", "user_values.weight"
    }  # fmt: skip
    fixed = {"bilinear", "recency"}
    if layers:
        fixed |= {"state", "state_others", "layers_norm.weight", "layers_norm.bias"}
    for i in range(layers):
        drawn |= {f"layers.{i}.queries_keys_values", f"layers.{i}.inner"}
        norms = {f"norms.{j}.{part}" for j in range(2) for part in ("weight", "bias")}
        fixed |= {f"layers.{i}.{name}" for name in {"merge", "outer", "age_bias"} | norms}
    assert first.keys() == drawn | fixed
    for name, value in first.items():
        assert torch.equal(value, again[name]), name
        assert torch.equal(value, other[name]) == (name in fixed), name


def test_the_encoder_leaves_the_other_weights_as_they_are():
    without, one, two = (network(n, seed=4).state_dict() for n in (0, 1, 2))
    for name in ("item_embedding", "logits"):
        assert torch.equal(without[name], one[name])
    first = [name for name in one if name.startswith("layers.0.queries")]
    assert len(first) == 1
    assert not torch.equal(two["layers.0.queries_keys_values"], two["layers.1.queries_keys_values"])


def test_initial_scales():
    config = NetConfig(4000, 4, 16, 50, 3, adaptive_interests=True, n_encoder_layers=1)
    net = MINDNet(config, sparse.csr_matrix((4000, 0)), np.ones(4000), 0, seed=0)
    assert net.item_embedding.std().item() == pytest.approx(16**-0.5, rel=0.02)
    assert torch.equal(net.bilinear, torch.eye(16))  # items in the history count as themselves
    assert not net.recency.any()  # at first all ages have the same weight
    assert not net.logits.requires_grad
    assert not net.state.any()  # at first the encoder adds nothing
    assert not net.state_others.any()


@LAYERS
def test_dropout_of_the_encoder_reaches_its_input_and_branches_only(layers):
    net = network(layers)
    history, lengths = histories([9, 4])
    shapes = []

    def record(x):
        shapes.append(tuple(x.shape))
        return x

    plain = run(net, history, lengths)
    kept = run(net, history, lengths, encoder_dropout=record)
    for part, expected in zip(parts(kept), parts(plain), strict=True):
        assert torch.equal(part, expected)
    all_rows = [(2, 9, D)] * (1 + 2 * max(layers - 1, 0))  # the input, and all layers but the last
    assert shapes == (all_rows + [(2, 1, D)] * 2 if layers else [])
    dropped = run(net, history, lengths, encoder_dropout=torch.zeros_like)
    assert torch.equal(dropped.weights, plain.weights)
    assert torch.equal(dropped.vectors, plain.vectors) == (layers == 0)


# ------------------------------------------------------------------ weights from elsewhere


@LAYERS
@pytest.mark.parametrize(("item_width", "user_width"), [(0, 0), (4, 2)])
def test_weight_shapes_equal_the_shapes_of_a_network(layers, item_width, user_width):
    net = network(layers, item_width, user_width)
    shapes = MINDNet.weight_shapes(net.config, item_width, user_width)
    assert shapes == {name: value.shape for name, value in net.get_weights().items()}


def test_weight_shapes_need_no_memory():
    config = NetConfig(10**10, K, 10**4, L, 3, adaptive_interests=True, n_encoder_layers=1)
    assert MINDNet.weight_shapes(config, 0, 0)["item_embedding"] == (10**10, 10**4)


def aligned(value):
    """Return a copy that is aligned like a tensor."""
    return torch.tensor(value).numpy()


@LAYERS
@pytest.mark.parametrize(("item_width", "user_width"), [(0, 0), (4, 2)])
def test_a_network_of_weights_shares_them_and_gives_the_same(layers, item_width, user_width):
    net = network(layers, item_width, user_width)
    weights = {name: aligned(value) for name, value in net.get_weights().items()}
    share = net.item_share[:, 0].numpy()
    shared = MINDNet.of_weights(weights, net.config, net.item_features, share, user_width)
    history, lengths = histories([9, 1, 4, 0])
    results = (parts(run(one, history, lengths)) for one in (shared, net))
    for mine, theirs in zip(*results, strict=True):
        assert torch.equal(mine, theirs)
    for name, value in shared.state_dict().items():
        assert np.shares_memory(value.numpy(), weights[name])
        assert torch.equal(value, net.state_dict()[name])


def test_a_network_of_weights_copies_what_it_cannot_share():
    net = network()
    weights = net.get_weights()
    weights["recency"] = aligned(weights["recency"])
    weights["recency"].flags.writeable = False
    space = np.empty(D * D * 4 + 64 + 4, dtype=np.uint8)
    start = -space.ctypes.data % 64 + 4
    odd = space[start : start + D * D * 4].view(np.float32).reshape(D, D)
    odd[:] = weights["bilinear"]
    weights["bilinear"] = odd
    share = net.item_share[:, 0].numpy()
    shared = MINDNet.of_weights(weights, net.config, net.item_features, share, 0)
    for name in ("recency", "bilinear"):
        value = shared.state_dict()[name]
        assert not np.shares_memory(value.numpy(), weights[name])
        assert torch.equal(value, net.state_dict()[name])
