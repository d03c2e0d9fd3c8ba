"""The training loop learns planted structure, step by step as its definition says."""

import copy
import logging
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F

from skmind import MINDRecommender
from skmind.data.batches import Batch
from skmind.data.interactions import Interactions
from skmind.datasets import make_interactions
from skmind.exceptions import NothingToScoreWarning, TrainingDivergedError
from skmind.nn import optim
from skmind.nn.inference import encode, unit_items
from skmind.nn.label_attention import label_aware
from skmind.nn.network import MINDNet, NetConfig
from skmind.training import trainer as trainer_module
from skmind.training.checkpoint import Checkpoint
from skmind.training.trainer import (
    FEATURES_ONLY_ITEM_SHARE,
    Trainer,
    TrainingSettings,
    choose_batch_size,
    hold_out,
    make_optimizers,
    needed_rows,
    profile_only_probability,
    validation_ndcg,
)

N_ITEMS, K, D, L = 80, 2, 16, 10

SETTINGS = {
    "max_epochs": 2,
    "batch_size": 64,
    "samples_per_epoch": None,
    "horizon": 1,
    "init": "random",
    "learning_rate": 0.01,
    "weight_decay": 0.0,
    "temperature": 0.1,
    "label_attention": None,
    "item_dropout": 0.2,
    "encoder_dropout": 0.0,
    "n_negatives": "all",
    "negative_sampling": "uniform",
    "early_stopping": False,
    "validation_fraction": 0.5,
    "n_iter_no_change": 3,
    "exclude_seen": True,
    "precision": "float32",
    "verbose": 0,
}


def planted(noise=0.1, n_users=300, n_items=N_ITEMS, seed=0):
    """Histories of users who like two of eight topics each; with noise=1, of random items."""
    table = make_interactions(
        n_users,
        n_items,
        n_topics=8,
        n_interests=2,
        n_events=(8, 12),
        noise=noise,
        popularity_exponent=0,
        random_state=seed,
    ).interactions
    users, items = (table[name].to_numpy(np.int32) for name in ("user_id", "item_id"))
    return Interactions.from_codes(users, items, table["timestamp"].to_numpy(), n_users)


def lists(*histories):
    """Interactions with these histories."""
    offsets = np.cumsum([0, *map(len, histories)])
    return Interactions(np.concatenate(histories).astype(np.int32), offsets)


def network(n_items=N_ITEMS, n_interests=K, item_width=0, user_width=0, layers=1, seed=0):
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_items, item_width)) < 0.5).astype(np.float32)
    config = NetConfig(n_items, n_interests, D, L, 3, True, n_encoder_layers=layers)
    share = np.full(n_items, 0.5 if item_width else 1.0)
    return MINDNet(config, sparse.csr_matrix(dense), share, user_width, seed)


def shaken(net, seed=0):
    """Change the initial encoder and bilinear map, so that each weight has a gradient."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith(("layers.", "state", "bilinear")):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net


def trainer(net=None, user_features=None, seed=0, **changes):
    settings = TrainingSettings(**(SETTINGS | changes))
    rng = np.random.default_rng(seed)
    return Trainer(network() if net is None else net, user_features, settings, rng)


def first_batch(one, data):
    """Return the first batch of an epoch, and the sampler of negatives."""
    return next(iter(one.batch_sampler(data))), one.negative_sampler(data)


def samples(batch):
    """(user, history newest first, target) of every sample of a batch, from its chunks."""
    return [
        (int(batch.users[row]), batch.history[row, q:n].tolist(), int(batch.targets[row, q]))
        for row, n in enumerate(batch.lengths.tolist())
        for q in range(n)
    ]


def watch(monkeypatch, one):
    """Return two lists that fill up with the batch and the learning rates of each step."""
    batches = []
    rates = []
    step = one.step

    def spy(batch, sampler):
        batches.append(batch)
        rates.append([group["lr"] for part in one.optimizers for group in part.param_groups])
        return step(batch, sampler)

    monkeypatch.setattr(one, "step", spy)
    return batches, rates


@pytest.fixture
def nothing_left_out(monkeypatch):
    """Training that leaves out neither items' own embeddings nor users' histories."""
    monkeypatch.setattr(trainer_module, "FEATURES_ONLY_ITEM_SHARE", 0.0)
    monkeypatch.setattr(
        trainer_module, "profile_only_probability", lambda batch, _: np.zeros(batch.history.shape)
    )


def chance_ndcg(n_candidates):
    """Expected NDCG@10 of one target among so many items in random order."""
    return (1 / np.log2(np.arange(2, 12))).sum() / n_candidates


# ------------------------------------------------------------------ learning


def test_learns_planted_interests_and_nothing_from_noise():
    results = {}
    for noise in (0.1, 1.0):
        one = trainer(early_stopping=True, max_epochs=5, n_iter_no_change=9)
        history = one.fit(planted(noise))
        losses = [record["loss"] for record in history]
        assert losses == sorted(losses, reverse=True)  # initial vectors are worse than chance
        results[noise] = losses[-1], max(record["validation_ndcg"] for record in history)
    loss, ndcg = results[0.1]
    # The lower bound is roughly what knowing the topics gives; a lower loss would mean leakage.
    assert 2.9 < loss < math.log(N_ITEMS) - 0.15
    assert 0.16 < ndcg < 0.42
    loss, ndcg = results[1.0]
    assert abs(loss - math.log(N_ITEMS)) < 0.15
    assert abs(ndcg - chance_ndcg(N_ITEMS - 9)) < 0.06


@pytest.mark.parametrize("label_attention", [None, "hard", 5.0])
@pytest.mark.parametrize("negative_sampling", ["uniform", "popularity", "in_batch", "mixed"])
def test_every_loss_learns(negative_sampling, label_attention):
    one = trainer(
        network(layers=0),  # the order of the histories is random
        negative_sampling=negative_sampling,
        label_attention=label_attention,
        n_negatives=40,
        early_stopping=True,
        max_epochs=3,
        learning_rate=0.02,
    )
    data = planted(n_users=250)
    held_out, rest = hold_out(data, 0.5, np.random.default_rng(0))
    before = validation_ndcg(one.net, rest, *held_out, None)
    chance = chance_ndcg(N_ITEMS - 9)
    assert abs(before - chance) < 0.05
    history = one.fit(data)
    assert chance + 0.05 < history[-1]["validation_ndcg"] < 0.42
    assert history[-1]["loss"] < history[0]["loss"] - 0.5


def walks(noise, n_items=40):
    """Histories in which each item is followed by its successor, or with ``noise`` by any item."""
    rng = np.random.default_rng(0)
    successor = rng.permutation(n_items)
    histories = []
    for _ in range(200):
        history = [rng.integers(n_items)]
        for _ in range(11):
            jump = rng.random() < noise
            history.append(rng.integers(n_items) if jump else successor[history[-1]])
        histories.append(history)
    return lists(*histories)


def test_the_encoder_learns_what_follows_and_nothing_from_noise():
    last = {}
    for noise, layers in [(0.2, 0), (0.2, 1), (1.0, 1)]:
        net = network(40, layers=layers)
        one = trainer(net, early_stopping=True, max_epochs=5, learning_rate=0.02, batch_size=32)
        record = one.fit(walks(noise))[-1]
        last[noise, layers] = record["loss"], record["validation_ndcg"]
    # The lowest possible loss: the successor has p = 0.8 + 0.2 / 40, the others share the rest.
    p = 0.805
    least = -p * math.log(p) - (1 - p) * math.log((1 - p) / 39)
    assert least - 0.1 < last[0.2, 1][0] < least + 0.15
    assert last[0.2, 0][0] > least + 0.4  # the routing alone
    assert 0.75 < last[0.2, 1][1] < 0.9
    loss, ndcg = last[1.0, 1]
    assert abs(loss - math.log(40)) < 0.15
    assert abs(ndcg - chance_ndcg(40 - 10)) < 0.07  # about ten items are seen and not ranked


def test_user_features_are_learned_from():
    """Only the feature tells a user's topic: all histories begin with the same items."""
    rng = np.random.default_rng(0)
    topics = rng.integers(4, size=300)
    data = lists(*([0, 1, 4 + 4 * topic + rng.integers(4)] for topic in topics))
    rows = sparse.csr_matrix(np.eye(4, dtype=np.float32)[topics])
    last = {}
    for features in (rows, None):
        net = network(20, user_width=4)
        before = net.user_values.weight.detach().clone()
        one = trainer(net, features, early_stopping=True, max_epochs=8, batch_size=16)
        last[features is None] = one.fit(data)[-1]["validation_ndcg"]
        assert torch.equal(before, net.user_values.weight) == (features is None)
    # One of the four items of the topic: (1 + 1/log2(3) + 1/2 + 1/log2(5)) / 4; without: of 16.
    assert 0.55 < last[False] < 0.75
    assert 0.2 < last[True] < 0.38


# ------------------------------------------------------------------ one step


def full_softmax(net, batch, attention, features=None):
    """Mean cross-entropy over the samples of a batch, each encoded as a history of its own."""
    items = net.item_vectors()
    unit = F.normalize(items, dim=1)
    losses = []
    for user, history, target in samples(batch):
        profile = net.profiles(None if features is None else features[[user]])
        interests = net(torch.tensor([history]), torch.tensor([len(history)]), items, profile)
        vectors = interests.vectors
        mask = interests.mask
        if attention is not None:
            vectors = label_aware(vectors, mask, unit[[target]], attention)[:, None]
            mask = mask[:, :1]
        logits = vectors[mask] @ unit.T / 0.1  # (interests in use, items)
        losses.append(logits.logsumexp((0, 1)) - logits[:, target].logsumexp(0))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize(
    ("attention", "n_interests"), [(None, 1), (None, 3), ("hard", 2), (3.0, 2)]
)
def test_a_step_is_adam_on_the_full_softmax(nothing_left_out, attention, n_interests, layers):
    net = shaken(network(n_interests=n_interests, user_width=3, layers=layers))
    reference = copy.deepcopy(net)
    data = planted(n_users=20)
    features = sparse.csr_matrix(np.random.default_rng(0).random((20, 3)).astype(np.float32))
    one = trainer(net, features, label_attention=attention, item_dropout=0.0, weight_decay=0.01)
    one.set_learning_rate(1)  # of two epochs: halfway from 0.01 to 0.001
    batch, sampler = first_batch(one, data)
    assert batch.lengths.min() < batch.lengths.max()
    if attention is None:  # every group of negatives holds all items, so that nothing is estimated
        items = np.tile(np.arange(N_ITEMS), n_interests)
        draw = items, np.full(len(items), math.log(n_interests), dtype=np.float32)
        sampler = SimpleNamespace(draw=lambda _: draw)
    loss = one.step(batch, sampler)

    expected = full_softmax(reference, batch, attention, features)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for name, parameter in net.named_parameters():
        gradient = reference.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad, gradient, atol=2e-6, rtol=1e-4)
        assert gradient.any(), name
        encoder = name.startswith(("layers", "state"))
        rate = 0.0055 * (0.1 if encoder else 1)
        # Adam's first step is the sign of the gradient. Rounding may change a sign, so this takes
        # the gradient of the step, which is close to the expected one (see above).
        before = reference.get_parameter(name).detach()
        gradient = parameter.grad + 0.01 * before
        after = before - rate * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), after, atol=1e-6, rtol=0)
        assert (parameter - before).abs().max() > 0.9 * rate


@pytest.mark.parametrize("layers", [0, 2])
def test_every_parameter_is_in_one_group_of_an_optimizer(layers):
    net = network(item_width=4, user_width=3, layers=layers)
    (adam,) = make_optimizers(net, 0.01, 0.0)
    ids = [id(p) for group in adam.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in net.parameters())
    others, *encoder_groups = adam.param_groups
    assert len(others["params"]) == 6
    assert len(encoder_groups) == bool(layers)  # an empty group would cost time in every step
    encoder = [p for group in encoder_groups for p in group["params"]]
    assert {id(p) for p in encoder} == {id(p) for p in net.dense_parameters()}
    assert len(encoder) == (22 if layers else 0)


@pytest.mark.parametrize("negative_sampling", ["uniform", "mixed"])
def test_a_step_is_the_same_with_all_items_and_with_those_of_the_batch(
    nothing_left_out, monkeypatch, negative_sampling
):
    """The catalogue has more items than the batch has codes."""
    rng = np.random.default_rng(0)
    data = lists(*(rng.integers(3000, size=6) for _ in range(9)))
    rows = sparse.csr_matrix(rng.random((9, 3)).astype(np.float32))
    codes_seen = []

    def spy(*args):
        codes_seen.append(needed_rows(*args)[0])
        return needed_rows(*args)

    def all_rows(table, history, targets, negatives):
        parts = np.maximum(history, 0), targets, negatives
        return None, *(part.astype(np.int64) for part in parts)

    steps = []
    for rows_of_batch in (spy, all_rows):
        monkeypatch.setattr(trainer_module, "needed_rows", rows_of_batch)
        one = trainer(
            shaken(network(3000, item_width=4, user_width=3)),
            rows,
            n_negatives=30,
            batch_size=16,
            negative_sampling=negative_sampling,
            item_dropout=0.0,
        )
        loss = one.step(*first_batch(one, data))
        steps.append((loss, {name: p.grad for name, p in one.net.named_parameters()}))
    assert [len(codes) < 200 for codes in codes_seen] == [True]
    (loss, gradients), (expected_loss, expected_gradients) = steps
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], atol=1e-6, rtol=1e-4)
        assert gradient.any(), name


@pytest.fixture
def all_large(monkeypatch):
    """Treat every table as too large to move all its rows in a step."""
    monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", 0)


@pytest.mark.parametrize("n_negatives", [30, "all"])
def test_large_tables_have_the_same_gradient_of_the_rows_in_use(monkeypatch, n_negatives):
    rng = np.random.default_rng(0)
    data = lists(*(rng.integers(3000, size=6) for _ in range(9)))
    rows = sparse.csr_matrix(rng.random((9, 40)).astype(np.float32))
    results = []
    for largest in (10**9, 39):  # with 39, the tables of 3000 items and 40 values are large
        monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", largest)
        net = network(3000, item_width=4, user_width=40)
        one = trainer(net, rows, n_negatives=n_negatives, batch_size=16)
        before = copy.deepcopy(net)
        loss = one.step(*first_batch(one, data))
        results.append((loss, net, before, one.optimizers))
    (expected_loss, dense, _, adam), (loss, net, before, optimizers) = results
    assert len(adam) == 1
    assert [type(part).__name__ for part in optimizers] == ["Adam", "RowAdam"]
    large = [*optimizers[1].param_groups[0]["params"]]
    assert [id(table) for table in large] == [id(net.item_embedding), id(net.user_values.weight)]
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    for name, parameter in net.named_parameters():
        gradient = parameter.grad
        assert gradient.is_sparse == any(parameter is table for table in large)
        expected = dense.get_parameter(name).grad
        torch.testing.assert_close(gradient.to_dense(), expected, atol=1e-6, rtol=1e-4)
        if gradient.is_sparse:
            moved = (parameter != before.get_parameter(name)).any(1)
            assert torch.equal(moved, expected.any(1))


def test_large_tables_learn_as_much(all_large):
    """Within the bounds that Adam meets in the first test of this module."""
    for noise, low, high in [(0.1, 0.16, 0.42), (1.0, 0.0, 0.125)]:
        one = trainer(early_stopping=True, max_epochs=5, n_iter_no_change=9)
        assert len(one.optimizers) == 2
        history = one.fit(planted(noise))
        assert low < max(record["validation_ndcg"] for record in history) < high


def test_the_learning_rate_of_large_tables_falls_too(monkeypatch, all_large):
    one = trainer()
    _, rates = watch(monkeypatch, one)
    one.fit(planted(n_users=40))
    others, encoder, tables = np.array(rates).T
    assert others[0] == 0.01
    assert others[-1] < 0.003
    np.testing.assert_array_equal(tables, others)
    np.testing.assert_allclose(encoder, 0.1 * others)


# ------------------------------------------------------------------ precision


@pytest.mark.parametrize("attention", [None, "hard", 5.0])
def test_a_step_in_bfloat16_is_close(attention):
    results = []
    for precision in ("float32", "bfloat16"):
        net = shaken(network(user_width=3, item_width=4))
        data = planted(n_users=40)
        rows = sparse.csr_matrix(np.random.default_rng(0).random((40, 3)).astype(np.float32))
        one = trainer(net, rows, precision=precision, label_attention=attention)
        loss = one.step(*first_batch(one, data))
        assert loss.dtype == torch.float32
        gradients = [parameter.grad for parameter in net.parameters()]
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        results.append((loss.item(), torch.cat([g.flatten() for g in gradients])))
    (loss, gradient), (low_loss, low_gradient) = results
    assert 0 < abs(low_loss - loss) < 0.02  # 0 would mean that the precision is the same
    assert 0 < (low_gradient - gradient).norm() / gradient.norm() < 0.15


def test_learns_as_much_in_bfloat16():
    one = trainer(early_stopping=True, max_epochs=5, n_iter_no_change=9, precision="bfloat16")
    history = one.fit(planted())
    assert 0.16 < max(record["validation_ndcg"] for record in history) < 0.42
    assert all(p.dtype == torch.float32 for p in one.net.parameters())


# ------------------------------------------------------------------ what a batch looks up


@pytest.mark.parametrize(
    ("n_items", "large", "all_items"), [(80, False, True), (5000, False, False), (80, True, False)]
)
def test_needed_rows_point_to_the_same_items(monkeypatch, n_items, large, all_items):
    if large:
        monkeypatch.setattr(optim, "LARGE_TABLE_ROWS", 79)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, L + 1, size=20)
    is_event = np.arange(L) < lengths[:, None]
    history = np.where(is_event, rng.integers(80, size=(20, L)), -1).astype(np.int32)
    targets = rng.integers(80, size=lengths.sum(), dtype=np.int32)
    negatives = np.array([5, 5, 79, 0])
    codes, *rows = needed_rows(torch.empty(n_items, 1), history, targets, negatives)
    assert (codes is None) == all_items
    if codes is None:
        codes = np.arange(n_items)
    else:
        expected = {*history[is_event], *targets, *negatives, 0}  # 0 stands for the padding
        assert codes.tolist() == sorted(expected)
    history_rows, target_rows, negative_rows = rows
    assert history_rows.shape == history.shape
    np.testing.assert_array_equal(codes[history_rows][is_event], history[is_event])
    np.testing.assert_array_equal(codes[target_rows], targets)
    np.testing.assert_array_equal(codes[negative_rows], negatives)
    assert all(part.dtype == np.int64 for part in rows)


# ------------------------------------------------------------------ what a step leaves out


def watch_forward(monkeypatch, net):
    """Return a list that fills up with the masks (dropped, profile only) of each forward pass."""
    masks = []
    forward = net.forward

    def spy(history, lengths, items, profile, dropped, profile_only, **options):
        masks.append((dropped, profile_only))
        return forward(history, lengths, items, profile, dropped, profile_only, **options)

    monkeypatch.setattr(net, "forward", spy)
    return masks


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.6])
def test_each_sample_leaves_out_this_share_of_its_history(monkeypatch, dropout):
    one = trainer(item_dropout=dropout, max_epochs=1)
    masks = watch_forward(monkeypatch, one.net)
    batches, _ = watch(monkeypatch, one)
    one.fit(planted())
    assert all(profile_only is None for _, profile_only in masks)  # there are no features
    masks = [dropped for dropped, _ in masks]
    if not dropout:
        assert set(masks) == {None}
        return
    for batch, mask in zip(batches, masks, strict=True):
        B, length = batch.history.shape
        assert mask.shape == (B, length, length)
    share = torch.cat([mask.ravel() for mask in masks]).float().mean().item()
    assert share == pytest.approx(dropout, abs=0.01)
    for axis in (0, 1, 2):  # neighbouring chunks, samples and items are independent
        both = []
        for mask in masks:
            n = mask.shape[axis] - 1
            both.append((mask.narrow(axis, 1, n) & mask.narrow(axis, 0, n)).ravel())
        assert torch.cat(both).float().mean().item() == pytest.approx(dropout**2, abs=0.01)


def test_the_earlier_an_event_the_more_often_features_alone_foretell_it():
    nothing = np.empty((3, 3), dtype=np.int32)
    lengths = np.array([3, 1, 3])
    n_before = np.array([0, 4, 0])
    batch = Batch(nothing, nothing, lengths, np.arange(3), n_before, np.arange(3), 3, 7)
    features = sparse.csr_matrix([[1.0], [1.0], [0.0]])
    probability = profile_only_probability(batch, features)
    np.testing.assert_allclose(probability[0], [1 / 4, 1 / 3, 1 / 2])  # newest first
    assert probability[1, 0] == pytest.approx(1 / 6)
    assert not probability[2].any()  # without features


def test_steps_draw_which_samples_are_foretold_from_features_alone(monkeypatch):
    n_users = 500
    one = trainer(network(user_width=1), sparse.csr_matrix(np.ones((n_users, 1))), max_epochs=20)
    masks = watch_forward(monkeypatch, one.net)
    monkeypatch.setattr(trainer_module, "sampled_softmax", lambda interests, *_: interests.sum())
    rng = np.random.default_rng(0)
    one.fit(lists(*(rng.integers(N_ITEMS, size=4) for _ in range(n_users))))
    drawn = torch.cat([profile_only for _, profile_only in masks]).float().mean(0)
    np.testing.assert_allclose(drawn, [1 / 4, 1 / 3, 1 / 2], atol=0.02)


def test_steps_draw_which_items_are_known_by_features_alone(monkeypatch):
    shares = {}
    for width in (0, 3):
        one = trainer(network(item_width=width), max_epochs=20)
        masks = []
        item_vectors = one.net.item_vectors

        def spy(codes=None, features_only=None, masks=masks, item_vectors=item_vectors):
            masks.append(features_only)
            return item_vectors(codes, features_only)

        monkeypatch.setattr(one.net, "item_vectors", spy)
        one.fit(planted(n_users=40))
        assert len(masks) > 40
        shares[width] = None if masks[0] is None else torch.stack(masks).float().mean().item()
    assert shares[0] is None
    assert shares[3] == pytest.approx(FEATURES_ONLY_ITEM_SHARE, abs=0.01)


def test_weight_decay_shrinks_what_is_not_trained():
    data = lists(*([i, i + 1, i + 2] for i in range(20)))  # of 5,000 items
    norms = {}
    for decay in (0.0, 0.1):
        net = network(5000)
        before = net.item_embedding.detach().clone()
        trainer(net, weight_decay=decay, n_negatives=10, negative_sampling="in_batch").fit(data)
        norms[decay] = (net.item_embedding[100:].norm() / before[100:].norm()).item()
    assert norms[0.0] == 1
    assert norms[0.1] < 0.99


# ------------------------------------------------------------------ negatives


@pytest.mark.parametrize("negative_sampling", ["in_batch", "mixed"])
def test_the_correction_counts_targets_only(negative_sampling):
    """Over an epoch, each item that is a target counts as often as any other: once per batch."""
    rng = np.random.default_rng(0)
    # Item 0 comes first in every history, and rarely later: it is rarely a target.
    data = lists(*([0, *rng.integers(5, size=5)] for _ in range(100)))
    one = trainer(
        network(6, n_interests=1),
        negative_sampling=negative_sampling,
        n_negatives=1,
        batch_size=50,
    )
    sampler = one.negative_sampler(data)
    batches = one.batch_sampler(data)
    mass = np.zeros(6)
    n_draws = 0
    for _ in range(1 if negative_sampling == "in_batch" else 40):
        for batch in batches:
            targets = batch.targets[batch.targets >= 0]
            codes, log_expected = sampler.draw(targets)
            # Batches differ in size: a larger one counts for more.
            np.add.at(mass, codes, len(targets) * np.exp(-log_expected.astype(np.float64)))
            n_draws += len(targets)
    tolerance = 1e-5 if negative_sampling == "in_batch" else 0.03
    assert mass[:5] / n_draws == pytest.approx(1, abs=tolerance)
    if negative_sampling == "mixed":  # the item that is no target is drawn uniformly only
        assert mass[5] / n_draws == pytest.approx(1, abs=0.5)


def test_negatives_are_as_frequent_as_targets_with_a_weight():
    data = lists([0, 1, 2], [3, 1, 2, 4])
    data = replace(data, weights=np.array([1, 0, 2, 0, 2, 0, 1], dtype=np.float32))
    one = trainer(network(6), negative_sampling="popularity", n_negatives=2)
    sampler = one.negative_sampler(data)
    assert (sampler._share * 3).round(6).tolist() == [0, 1, 1, 0, 1, 0]


@pytest.mark.parametrize(("attention", "groups"), [(None, K), ("hard", 1), (2.0, 1)])
def test_negatives_are_dealt_to_the_interests_of_a_mixture(attention, groups):
    one = trainer(label_attention=attention, n_negatives=31)
    codes, _ = one.negative_sampler(planted()).draw(np.arange(64))
    assert len(codes) == 31 + 31 % groups


# ------------------------------------------------------------------ epochs


def test_history_records():
    one = trainer(max_epochs=3)
    data = planted()
    history = one.fit(data)
    assert [list(record) for record in history] == [
        ["epoch", "loss", "seconds", "samples_per_second"]
    ] * 3
    assert [record["epoch"] for record in history] == [1, 2, 3]
    n_samples = len(data.items) - data.n_users
    for record in history:
        assert all(type(record[name]) is float for name in list(record)[1:])
        assert record["seconds"] > 0
        assert record["seconds"] * record["samples_per_second"] == pytest.approx(n_samples)
    stopped = trainer(early_stopping=True).fit(data)
    assert all(0 <= record["validation_ndcg"] <= 1 for record in stopped)
    assert all(type(record["validation_ndcg"]) is float for record in stopped)


def test_the_loss_is_the_mean_over_samples(monkeypatch):
    one = trainer(batch_size=100, max_epochs=1)
    sizes = []

    def numbered(batch, _):
        sizes.append(len(samples(batch)))
        return float(len(sizes))

    monkeypatch.setattr(one, "step", numbered)
    (record,) = one.fit(planted())
    assert len(set(sizes)) > 2
    expected = np.average(np.arange(1, len(sizes) + 1), weights=sizes)
    assert record["loss"] == pytest.approx(expected, rel=1e-12)


def test_every_event_with_a_past_is_trained_on_once_an_epoch(monkeypatch):
    one = trainer(max_epochs=1)
    data = planted()
    batches, _ = watch(monkeypatch, one)
    one.fit(data)
    trained = sorted((user, target) for b in batches for user, _, target in samples(b))
    expected = [
        (user, item)
        for user in range(data.n_users)
        for item in data.items[data.offsets[user] + 1 : data.offsets[user + 1]]
    ]
    assert trained == sorted(expected)


def test_histories_are_cut_to_the_window(monkeypatch):
    one = trainer(max_epochs=1)
    batches, _ = watch(monkeypatch, one)
    rng = np.random.default_rng(0)
    one.fit(lists(*(rng.integers(N_ITEMS, size=30) for _ in range(5))))
    lengths = {len(history) for batch in batches for _, history, _ in samples(batch)}
    assert lengths == {*range(1, L + 1)}
    assert max(batch.history.shape[1] for batch in batches) == L


def test_steps_are_in_training_mode_after_validation_too(monkeypatch):
    one = trainer(early_stopping=True)
    modes = []
    step = one.step
    monkeypatch.setattr(one, "step", lambda *args: modes.append(one.net.training) or step(*args))
    one.net.eval()
    one.fit(planted(n_users=40))
    assert len(modes) > 2
    assert all(modes)
    assert not one.net.training  # validation comes last


def test_learning_rate_falls_linearly_with_the_samples_to_a_tenth(monkeypatch):
    one = trainer(max_epochs=4, learning_rate=0.02, batch_size=100)
    batches, rates = watch(monkeypatch, one)
    data = planted(n_users=40)
    one.fit(data)
    sizes = np.array([len(samples(batch)) for batch in batches])
    n = 4 * (len(data.items) - data.n_users)
    assert sizes.sum() == n
    assert len(sizes) >= 12
    assert sizes.max() > sizes.min() + 1
    done = (np.cumsum(sizes) - sizes) / n  # before each step
    expected = 0.02 * (1 - 0.9 * done)
    np.testing.assert_allclose(rates, np.stack([expected, 0.1 * expected], 1), rtol=1e-9)
    assert 0.002 < rates[-1][0] < 0.004


def test_a_sampled_epoch_has_about_so_many_samples(monkeypatch):
    one = trainer(max_epochs=2, learning_rate=0.02, batch_size=8, samples_per_epoch=50)
    batches, rates = watch(monkeypatch, one)
    history = one.fit(planted(n_users=40))
    sizes = np.array([len(samples(batch)) for batch in batches])
    assert [record["epoch"] for record in history] == [1, 2]
    assert 100 <= sizes.sum() < 2 * (50 + 12)
    # A user with more samples than planned does not lower the rate below its final value.
    one = trainer(max_epochs=1, learning_rate=0.02, batch_size=8, samples_per_epoch=1)
    batches, rates = watch(monkeypatch, one)
    one.fit(lists(range(60)))
    assert len(batches) > 5
    assert rates[0][0] == 0.02
    np.testing.assert_allclose([rate for rate, _ in rates[1:]], 0.002)


def test_a_batch_larger_than_the_data_is_one_step_an_epoch(monkeypatch):
    one = trainer(batch_size=10**6, max_epochs=3)
    batches, _ = watch(monkeypatch, one)
    history = one.fit(planted(n_users=40))
    assert len(batches) == 3
    assert all(np.isfinite(record["loss"]) for record in history)


@pytest.mark.parametrize(
    ("n_samples", "size"), [(1, 32), (3299, 32), (3300, 33), (10_000, 100), (200_000, 1024)]
)
def test_the_automatic_batch_is_a_hundredth_within_bounds(n_samples, size):
    assert choose_batch_size("auto", n_samples) == size
    assert choose_batch_size(7, n_samples) == 7
    zeros = np.zeros(n_samples + 2, dtype=np.int32)
    data = Interactions(zeros, np.array([0, 0, 1, n_samples + 2]))  # users of 0, 1 and n + 1 events
    batches = trainer(batch_size="auto").batch_sampler(data)
    assert batches.n_samples == n_samples
    assert batches.batch_size == size
    sampled = trainer(batch_size="auto", samples_per_epoch=5000).batch_sampler(data)
    assert sampled.n_samples == min(n_samples, 5000)
    assert sampled.batch_size == min(size, 50)


def test_one_sample_is_enough():
    (record,) = trainer(max_epochs=1).fit(lists([3, 4]))
    assert np.isfinite(record["loss"])


# ------------------------------------------------------------------ early stopping


def plant_scores(monkeypatch, scores):
    """Let validation return ``scores``; return a list that fills up with the weights at each."""
    weights = []
    scores = iter(scores)

    def validate(net, *_):
        weights.append(copy.deepcopy(net.state_dict()))
        return next(scores)

    monkeypatch.setattr(trainer_module, "validation_ndcg", validate)
    return weights


@pytest.mark.parametrize(
    ("scores", "patience", "n_best", "start", "n_epochs"),
    [
        ([0.1, 0.5, 0.4, 0.5, 0.3, 0.0, 0.0, 0.0, 0.0], 3, 2, 5, 8),  # equal is not better
        ([0.1, 0.5, 0.4, 0.6, 0.3, 0.2, 0.9, 0.0, 0.0], 2, 4, 6, 8),
        ([0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 1, 1, 2, 3),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 4, 1, 5, 9),
    ],
)
def test_early_stopping_cools_down_from_the_best_weights(
    monkeypatch, scores, patience, n_best, start, n_epochs
):
    one = trainer(early_stopping=True, max_epochs=10, n_iter_no_change=patience)
    weights = plant_scores(monkeypatch, scores)
    starts, rates = [], []
    run_epoch, run_batch = one._run_epoch, one._run_batch

    def watched_epoch(*arguments):
        starts.append(copy.deepcopy(one.net.state_dict()))
        rates.append([])
        return run_epoch(*arguments)

    def watched_batch(*arguments):
        loss = run_batch(*arguments)
        rates[-1].append(one.optimizers[0].param_groups[0]["lr"])
        return loss

    monkeypatch.setattr(one, "_run_epoch", watched_epoch)
    monkeypatch.setattr(one, "_run_batch", watched_batch)
    history = one.fit(planted(n_users=40))
    assert [record["validation_ndcg"] for record in history] == scores[:n_epochs]
    for epoch, before in enumerate(starts[1:], 1):
        expected = weights[(n_best if epoch == start else epoch) - 1]
        assert all(torch.equal(value, expected[name]) for name, value in before.items())
    for name, value in one.net.state_dict().items():
        assert torch.equal(value, weights[-1][name])
    firsts = np.array([epoch[0] for epoch in rates])
    at_best = 1 - 0.9 * n_best / 10
    expected = np.linspace(at_best, 0.1, n_epochs - start + 1)[:-1]
    np.testing.assert_allclose(firsts[start:], 0.01 * expected)
    np.testing.assert_allclose(firsts[:start], 0.01 * (1 - 0.09 * np.arange(start)))


@pytest.mark.parametrize("scores", [[0.1, 0.2, 0.3, 0.4], [0.1, 0.4, 0.3, 0.2]])
def test_the_last_epoch_is_the_bound_of_early_stopping(monkeypatch, scores):
    one = trainer(early_stopping=True, max_epochs=4, n_iter_no_change=2)
    weights = plant_scores(monkeypatch, scores)
    assert len(one.fit(planted(n_users=40))) == 4
    for name, value in one.net.state_dict().items():
        assert torch.equal(value, weights[-1][name])


def test_without_early_stopping_the_last_weights_stay(monkeypatch):
    no_scores = plant_scores(monkeypatch, [])
    one = trainer(max_epochs=3)
    batches, _ = watch(monkeypatch, one)
    data = planted(n_users=40)
    assert len(one.fit(data)) == 3
    assert no_scores == []
    assert sum(len(samples(batch)) for batch in batches) == 3 * (len(data.items) - data.n_users)


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.99])
def test_held_out_events_are_never_trained_on(monkeypatch, fraction):
    # The history of user u ends with the item 100 + u, which no other history has. Those of the
    # users 0 to 4 are too short to hold an event out.
    rng = np.random.default_rng(0)
    short = [[0], [1, 100 + 1], [2, 100 + 2], [], [3]]
    data = lists(*short, *([*rng.integers(50, size=4), 100 + u] for u in range(5, 65)))
    one = trainer(network(200), early_stopping=True, validation_fraction=fraction, max_epochs=1)
    batches, _ = watch(monkeypatch, one)
    held_out = []

    def validate(net, interactions, users, targets, *_):
        held_out.append((users, targets))
        return 0.5

    monkeypatch.setattr(trainer_module, "validation_ndcg", validate)
    one.fit(data)
    users, targets = held_out[0]
    assert len(users) == max(1, round(60 * fraction))
    assert users.min() >= 5
    assert (targets == 100 + users).all()
    trained = np.concatenate([batch.targets.ravel() for batch in batches])
    histories = np.concatenate([batch.history.ravel() for batch in batches])
    assert not np.isin(targets, trained).any()
    assert not np.isin(targets, histories).any()
    others = np.setdiff1d(np.arange(5, 65), users)
    assert np.isin(100 + others, trained).all()
    assert np.isin([101, 102], trained).all()


def test_events_of_weight_0_are_not_held_out():
    data = lists(*([user, 50, 60 + user] for user in range(20)))
    weights = np.ones(60, dtype=np.float32)
    weights[2::6] = 0  # the last events of every other user
    weighted = replace(data, weights=weights)
    (users, targets), rest = hold_out(weighted, 0.999, np.random.default_rng(0))
    assert users.tolist() == list(range(1, 20, 2))
    assert targets.tolist() == list(range(61, 80, 2))
    assert len(rest.weights) == len(rest.items) == 50
    nobody = replace(data, weights=np.zeros(60, dtype=np.float32))
    with pytest.warns(NothingToScoreWarning, match="early_stopping=True holds out"):
        assert hold_out(nobody, 0.5, np.random.default_rng(0))[0] is None


def test_the_loss_is_weighted_by_the_mean_of_all_samples():
    """One batch of two users: a target of weight 3, one of weight 1, and one of weight 0."""
    data = lists([0, 1], [2, 3, 4])
    data = replace(data, weights=np.array([9, 3, 9, 1, 0], dtype=np.float32))
    one = trainer(network(6), item_dropout=0.0, batch_size=9)
    sampler = one.negative_sampler(data)
    (batch,) = one.batch_sampler(data)
    negatives = sampler.draw(batch.targets[batch.targets >= 0])
    losses = []
    for user, position in ((0, 0), (1, 1)):
        row = int(np.flatnonzero(batch.users == user)[0])
        targets = np.full_like(batch.targets, -1)
        targets[row, position] = batch.targets[row, position]
        weights = np.full_like(batch.weights, 3)  # of 3 samples, so that the mean is the loss
        single = batch._replace(targets=targets, weights=weights)
        losses.append(one._loss(single, *negatives, seed=0).item())
    expected = (3 * losses[0] + 1 * losses[1]) / 4
    assert one._loss(batch, *negatives, seed=0).item() == pytest.approx(expected, rel=1e-5)


def test_too_short_histories_can_not_stop_early():
    one = trainer(early_stopping=True, max_epochs=5, n_iter_no_change=1)
    data = lists([1, 2], [3], [], [4, 5])
    with pytest.warns(NothingToScoreWarning, match="holds out .* at least three"):
        history = one.fit(data)
    assert len(history) == 5
    assert "validation_ndcg" not in history[0]


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("with_features", [False, True])
def test_validation_is_the_ndcg_of_a_full_ranking(monkeypatch, with_features, exclude_seen):
    rng = np.random.default_rng(3)
    n_users = 61
    data = lists(*(rng.integers(30, size=rng.integers(1, 14)) for _ in range(n_users)))
    rows = sparse.csr_matrix(rng.random((n_users, 4)).astype(np.float32)) if with_features else None
    net = network(30, user_width=4 if with_features else 0)
    users = np.arange(0, n_users, 2)
    targets = rng.integers(30, size=len(users))
    targets[0] = data.items[data.offsets[users[0]]]  # a target may be an item of the history
    expected = []
    vectors = unit_items(net)
    for user, target in zip(users, targets, strict=True):
        history = data.items[data.offsets[user] : data.offsets[user + 1]]
        window = history[::-1][:L]
        row = rows[[user]] if with_features else None
        encoded = encode(net, window[None], np.array([len(window)]), row)
        scores = (encoded.interests[0][encoded.mask[0]] @ vectors.T).max(0)
        if exclude_seen:
            scores[np.setdiff1d(history, [target])] = -np.inf
        rank = int((scores > scores[target]).sum())
        expected.append(1 / math.log2(rank + 2) if rank < 10 else 0.0)
    assert len({*expected}) > 3  # several ranks, and targets beyond the tenth
    assert 0 in expected
    result = validation_ndcg(net, data, users, targets, rows, exclude_seen)
    assert result == pytest.approx(np.mean(expected), abs=1e-9)
    monkeypatch.setattr("skmind.nn.inference.MAX_HISTORIES_PER_PASS", 5)  # several blocks of users
    result = validation_ndcg(net, data, users, targets, rows, exclude_seen)
    assert result == pytest.approx(np.mean(expected), abs=1e-9)


def test_validation_ranks_as_the_recommender_does():
    """Repeats of the history included."""
    rng = np.random.default_rng(0)
    favourites = rng.integers(30, size=(40, 3))
    users, times = map(np.ravel, np.indices((40, 8)))
    items = favourites[users, rng.integers(3, size=320)]
    X = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": times})
    settings = {"embedding_dim": 8, "max_history": 5, "max_epochs": 3, "random_state": 0}
    last = X.groupby("user_id").tail(1)
    before = X.drop(last.index)
    rec = MINDRecommender(**settings, exclude_seen=False, early_stopping=True)
    rec.fit(X)
    snapshot = rec._snapshot
    assert snapshot.model.config.repeats
    data = snapshot.model.interactions
    users = np.arange(40)
    places = data.offsets[users + 1] - 1
    targets = data.items[places]
    net = snapshot.network("cpu")
    got = validation_ndcg(
        net, data.drop(places), users, targets, None, False, None, rec.score_temperature_
    )
    found = rec.recommend_from_history(before.groupby("user_id")["item_id"].agg(list), k=10)
    merged = last.merge(found, on=["user_id", "item_id"], how="left")
    expected = (1 / np.log2(merged["rank"] + 1)).fillna(0).mean()
    assert got == pytest.approx(expected, abs=1e-9)
    assert got > 0.4


# ------------------------------------------------------------------ start


def test_items_of_a_topic_start_near_each_other():
    one = trainer(network(layers=0), init="cooccurrence", max_epochs=1, learning_rate=1e-10)
    noise = one.net.item_embedding.detach().clone()
    rng = np.random.default_rng(0)
    one.fit(lists(*(rng.choice(N_ITEMS // 8, 8) * 8 + rng.integers(8) for _ in range(300))))
    table = one.net.item_embedding.detach()
    vectors = table - trainer_module.NOISE_SHARE * noise
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(N_ITEMS), atol=1e-4, rtol=0)
    own = F.normalize(table, dim=1)
    cosines = own @ own.T
    topic = torch.arange(N_ITEMS) % 8
    is_same = (topic[:, None] == topic) & ~torch.eye(N_ITEMS, dtype=torch.bool)
    assert cosines[is_same].mean() > cosines[topic[:, None] != topic].mean() + 0.2


def test_items_without_a_neighbour_keep_their_random_vector():
    one = trainer(network(5, layers=0), init="cooccurrence", max_epochs=1, learning_rate=1e-10)
    before = one.net.item_embedding.detach().clone()
    one.fit(lists([0, 1], [1, 0], [2], [3]))
    moved = (one.net.item_embedding.detach() - before).abs().amax(1) > 1e-3
    assert moved.tolist() == [True, True, False, False, False]


def test_features_start_near_the_items_that_have_them():
    topics = np.arange(N_ITEMS) % 8
    features = sparse.csr_matrix(np.eye(8)[topics] / 2)
    net = MINDNet(network(layers=0).config, features, np.full(N_ITEMS, 0.5), 0, 0)
    rng = np.random.default_rng(0)
    one = trainer(net, init="cooccurrence", max_epochs=1, learning_rate=1e-10)
    one.fit(lists(*(rng.choice(N_ITEMS // 8, 8) * 8 + rng.integers(8) for _ in range(300))))
    own = F.normalize(net.item_embedding.detach(), dim=1)
    values = F.normalize(net.item_values.weight.detach(), dim=1)
    cosines = (own @ values.T).numpy()
    assert (cosines.argmax(1) == topics).all()


@pytest.fixture
def counted(monkeypatch):
    """Return a list that fills up with the items whose co-occurrence is counted."""
    counted = []

    def count(interactions, n_items, n_dims, rng, shard):
        counted.append(interactions.items)
        return np.zeros((n_items, n_dims), dtype=np.float32)

    monkeypatch.setattr(trainer_module, "cooccurrence_vectors", count)
    return counted


def test_held_out_events_do_not_count_as_neighbours(counted):
    data = planted(n_users=40)
    trainer(init="cooccurrence", early_stopping=True, validation_fraction=0.5, max_epochs=1).fit(
        data
    )
    trainer(init="random", max_epochs=1).fit(data)
    assert [len(items) for items in counted] == [len(data.items) - 20]


def test_the_order_of_rows_without_times_does_not_count(counted):
    data = lists(range(N_ITEMS), range(N_ITEMS))
    for has_row_order in (True, False):
        settings = {"init": "cooccurrence", "max_epochs": 1, "has_row_order": has_row_order}
        trainer(**settings).fit(data)
    assert np.array_equal(counted[0], data.items)
    assert np.array_equal(np.sort(counted[1]), np.sort(data.items))
    assert np.mean(np.diff(counted[1]) == 1) < 0.2


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_encoder_drops_this_share_of_entries_in_training(monkeypatch, share):
    one = trainer(shaken(network(layers=1)), encoder_dropout=share, item_dropout=0.0)
    dropouts = []
    forward = one.net.forward

    def spy(*args, encoder_dropout, **options):
        dropouts.append(encoder_dropout)
        return forward(*args, encoder_dropout=encoder_dropout, **options)

    monkeypatch.setattr(one.net, "forward", spy)
    batch, sampler = first_batch(one, planted(n_users=20))
    one.step(batch, sampler)
    (dropout,) = dropouts
    assert (dropout is None) == (share == 0)
    if dropout is not None:
        x = torch.full((batch.n_chunks, 40, 16), 3.0)
        dropped = dropout(x)
        assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.01)
        torch.testing.assert_close(dropped[dropped != 0].unique(), torch.tensor([3 / (1 - share)]))


# ------------------------------------------------------------------ randomness


@pytest.mark.parametrize("n_items", [N_ITEMS, 3000])
def test_two_fits_are_bit_equal_and_leave_global_generators_alone(n_items):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    fits = []
    for seed in (0, 0, 1):
        net = network(n_items)
        one = trainer(
            net, seed=seed, n_negatives=30, negative_sampling="mixed", early_stopping=True
        )
        history = one.fit(planted(n_users=60))
        fits.append((net.state_dict(), [(r["loss"], r["validation_ndcg"]) for r in history]))
    (weights, history), (again, same_history), (other, other_history) = fits
    assert history == same_history
    assert history != other_history
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name
        if name != "logits":
            assert not torch.equal(value, other[name]), name
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


# ------------------------------------------------------------------ what is shown


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_terminal_shows_one_bar_of_all_epochs(use_terminal, capsys, early_stopping):
    terminal = use_terminal()
    one = trainer(verbose=1, early_stopping=early_stopping)
    history = one.fit(planted(n_users=40))
    assert capsys.readouterr().out == ""
    assert terminal.getvalue().count("\n") == 1
    last = terminal.getvalue().split("\r")[-1]
    assert last.startswith("epoch 2/2: 100%")
    assert "samples/s" in last
    assert f"loss={history[-1]['loss']:.4f}" in last
    assert ("NDCG@10=" in last) == early_stopping
    if early_stopping:
        assert f"NDCG@10={history[-1]['validation_ndcg']:.4f}" in last


def test_the_bar_of_a_fit_that_stops_early_ends_there(use_terminal, monkeypatch):
    terminal = use_terminal()
    plant_scores(monkeypatch, [0.25, 0.125, 0.5])
    one = trainer(verbose=1, early_stopping=True, max_epochs=9, n_iter_no_change=1)
    one.fit(planted(n_users=40))
    last = terminal.getvalue().split("\r")[-1]
    assert "epoch 3/9:  33%" in last
    assert "NDCG@10=0.5000" in last


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_file_gets_one_line_per_epoch(capsys, early_stopping):
    history = trainer(verbose=1, early_stopping=early_stopping).fit(planted(n_users=40))
    expected = []
    for record in history:
        line = (
            f"epoch {record['epoch']}/2: {record['samples_per_second']:,.0f} samples/s, "
            f"loss={record['loss']:.4f}"
        )
        if early_stopping:
            line += f", NDCG@10={record['validation_ndcg']:.4f}"
        expected.append(line)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == expected


def test_nothing_is_shown_by_default(capsys, caplog):
    with caplog.at_level(logging.INFO, logger="skmind"):
        trainer(early_stopping=True).fit(planted(n_users=40))
    assert capsys.readouterr() == ("", "")
    assert [r.getMessage().split(" NDCG@10")[0] for r in caplog.records] == [
        "epoch 1: validation",
        "epoch 2: validation",
    ]


def test_the_bar_is_closed_after_an_error(monkeypatch, use_terminal):
    terminal = use_terminal()
    one = trainer(verbose=1)
    monkeypatch.setattr(one, "step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as error_info:
        one.fit(planted(n_users=40))
    assert error_info.tb is not None  # it still holds the bar, so that only `fit` can close it
    assert terminal.getvalue().endswith("\n")


# ------------------------------------------------------------------ divergence


def diverging(monkeypatch, one, number, spoil):
    """Spoil the loss of the step of this number; return a list that fills up with all losses."""
    losses = []
    step = one.step

    def spy(*batch):
        losses.append(step(*batch))
        return spoil(losses[-1]) if len(losses) == number else losses[-1]

    monkeypatch.setattr(one, "step", spy)
    return losses


def test_a_learning_rate_that_is_too_high_is_an_error():
    match = (
        r"diverged in epoch 1: the loss is (nan|inf) with learning_rate=1e\+30 and "
        r"temperature=0\.1; lower learning_rate or raise temperature\. .* set checkpoint_dir"
    )
    with pytest.raises(TrainingDivergedError, match=match):
        trainer(learning_rate=1e30).fit(planted(n_users=20))


@pytest.mark.parametrize("is_redrawn", [False, True])
def test_a_loss_that_is_not_finite_is_an_error_when_it_is_read(monkeypatch, is_redrawn):
    """It is read each time that the bar is redrawn, and at the end of the epoch."""
    monkeypatch.setattr("skmind.training.progress.tqdm.update", lambda *_: is_redrawn)
    one = trainer(batch_size=32)
    data = planted(n_users=20)
    n_steps = sum(1 for _ in one.batch_sampler(data))
    losses = diverging(monkeypatch, one, 2, lambda loss: loss * math.inf)
    with pytest.raises(TrainingDivergedError, match="in epoch 1: the loss is inf"):
        one.fit(data)
    assert n_steps > 2
    assert len(losses) == (2 if is_redrawn else n_steps)


def test_weights_that_the_last_step_spoils_are_seen(monkeypatch):
    one = trainer(batch_size=10**6, max_epochs=1)

    def spoil(loss):
        with torch.no_grad():
            one.net.item_embedding[3, 1] = math.inf
        return loss

    steps = diverging(monkeypatch, one, 1, spoil)
    with pytest.raises(TrainingDivergedError, match="in epoch 1: the loss is nan"):
        one.fit(planted(n_users=20))
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("epoch", "advice"),
    [(1, "No epoch was completed before"), (2, "The weights of epoch 1 are in .*odd'")],
)
def test_the_last_good_epoch_is_named(monkeypatch, tmp_path, epoch, advice):
    one = trainer(batch_size=10**6)
    one.checkpoint = Checkpoint(tmp_path, 0)
    diverging(monkeypatch, one, epoch, lambda loss: loss * math.nan)
    with pytest.raises(TrainingDivergedError, match=rf"in epoch {epoch}: .*\. {advice}"):
        one.fit(planted(n_users=20))
    assert (one.checkpoint.path / "odd").exists() == (epoch == 2)
    assert not (one.checkpoint.path / "even").exists()
