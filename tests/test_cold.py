"""Features stand for items without events and users without history.

The planted features are the topics that decide every event; their noise twins say nothing.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from skmind import MINDRecommender
from skmind.data.negatives import STRATEGIES, NegativeSampler
from skmind.datasets import make_interactions
from skmind.metrics import ndcg_at_k
from skmind.model_selection import LeaveLastOut
from skmind.nn.network import MINDNet, NetConfig
from skmind.training import trainer

N_USERS, N_ITEMS, N_TOPICS = 300, 90, 6
COLD_ITEMS, COLD_USERS = np.arange(0, N_ITEMS, 5), np.arange(0, N_USERS, 5)
LEARNING = {
    "n_interests": 2,
    "embedding_dim": 16,
    "max_history": 10,
    "max_epochs": 6,
    "batch_size": 64,
    "learning_rate": 0.04,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def planted():
    """Users of one topic each; a fifth of the items and of the users has no event in ``warm``."""
    made = make_interactions(
        N_USERS,
        N_ITEMS,
        n_topics=N_TOPICS,
        n_interests=1,
        n_events=(8, 12),
        noise=0.1,
        popularity_exponent=0,
        random_state=0,
    )
    X, rng = made.interactions, np.random.default_rng(0)
    made.warm = X[~(X["item_id"].isin(COLD_ITEMS) | X["user_id"].isin(COLD_USERS))]
    made.taste = made.user_interests.argmax(axis=1)
    made.topics = pd.DataFrame({"item_id": range(N_ITEMS), "topic": made.item_interest})
    made.tastes = pd.DataFrame({"user_id": range(N_USERS), "taste": made.taste})
    made.noisy_topics = made.topics.assign(topic=rng.integers(N_TOPICS, size=N_ITEMS))
    made.noisy_tastes = made.tastes.assign(taste=rng.integers(N_TOPICS, size=N_USERS))
    return made


def matches(planted, recommended):
    """Share of the recommended items that are of their user's topic."""
    wanted = planted.taste[recommended["user_id"]]
    return (planted.item_interest[recommended["item_id"]] == wanted).mean()


# ------------------------------------------------------------------ what is learned


def test_item_features_stand_for_new_items(planted):
    rec = MINDRecommender(**LEARNING).fit(planted.warm, items=planted.topics)
    assert (rec.item_counts_[COLD_ITEMS] == 0).all()
    warm = np.setdiff1d(np.arange(N_USERS), COLD_USERS)
    assert 0.85 < matches(planted, rec.recommend(warm, k=2, items=COLD_ITEMS)) <= 1
    # among all items they appear, without driving out the others: they are a fifth
    anywhere = rec.recommend(warm, k=3, exclude_seen=False)
    assert 0.005 < anywhere["item_id"].isin(COLD_ITEMS).mean() < 0.4
    noise = MINDRecommender(**LEARNING).fit(planted.warm, items=planted.noisy_topics)
    found = matches(planted, noise.recommend(warm, k=2, items=COLD_ITEMS))
    assert abs(found - 1 / N_TOPICS) < 0.12


def test_user_features_stand_for_new_users(planted):
    rec = MINDRecommender(**LEARNING).fit(planted.warm, users=planted.tastes)
    best = rec.recommend(COLD_USERS, k=5)
    assert (best["interest"] >= 0).all()
    assert 0.85 < matches(planted, best) <= 1
    noise = MINDRecommender(**LEARNING).fit(planted.warm, users=planted.noisy_tastes)
    assert abs(matches(planted, noise.recommend(COLD_USERS, k=5)) - 1 / N_TOPICS) < 0.12


def test_features_that_say_nothing_cost_little(planted):
    X = planted.interactions.drop_duplicates(["user_id", "item_id"])
    rest, last = (X.iloc[rows] for rows in next(LeaveLastOut().split(X)))
    found = {}
    for label, tables in {
        "none": {},
        "noise": {"items": planted.noisy_topics, "users": planted.noisy_tastes},
        "true": {"items": planted.topics, "users": planted.tastes},
    }.items():
        rec = MINDRecommender(**LEARNING).fit(rest, **tables)
        found[label] = ndcg_at_k(last, rec.recommend(last["user_id"]), k=10)
    # one of the fifteen items of the topic, less those seen, at nine of ten events
    assert 0.15 < found["none"] < 0.6
    assert found["none"] - 0.08 < found["noise"] < found["none"] + 0.06
    assert found["none"] - 0.03 < found["true"] < 0.6


# ------------------------------------------------------------------ how


def test_without_features_nothing_is_left_out(planted, monkeypatch):
    options = LEARNING | {"max_epochs": 1}
    tables = {"items": planted.topics}, {"users": planted.tastes}, {}
    before = [MINDRecommender(**options).fit(planted.warm, **table) for table in tables]
    monkeypatch.setattr(trainer, "BARE_ITEMS", 0.9)
    monkeypatch.setattr(trainer.Trainer, "_unknown", lambda *_: None)
    after = [MINDRecommender(**options).fit(planted.warm, **table) for table in tables]
    same = [
        np.array_equal(a.item_embeddings_, b.item_embeddings_)
        for a, b in zip(before, after, strict=True)
    ]
    assert same == [False, False, True]


def test_items_without_events_are_no_negatives_if_features_speak_for_them(planted, monkeypatch):
    drawn, draw = [], NegativeSampler.draw

    def spy(self, targets):
        drawn.append(draw(self, targets))
        return drawn[-1]

    monkeypatch.setattr(NegativeSampler, "draw", spy)
    options = LEARNING | {"max_epochs": 1}
    missing = planted.topics.astype({"topic": object})
    missing.loc[missing["item_id"] == 5, "topic"] = None  # then it has a vector of its own
    MINDRecommender(**options).fit(planted.warm, items=missing)
    negatives = set(np.concatenate([codes for codes, _ in drawn]).tolist())
    assert negatives == (set(range(N_ITEMS)) - set(COLD_ITEMS.tolist())) | {5}


@pytest.mark.parametrize("n_negatives", [3, "all"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_sampler_of_some_items(strategy, n_negatives):
    counts, some = np.array([4, 0, 2, 0, 6, 3]), np.array([0, 2, 3, 4, 5])
    sampler = NegativeSampler(counts, n_negatives, strategy, np.random.default_rng(0), items=some)
    codes, log_expected = zip(*(sampler.draw(np.array([4, 0])) for _ in range(3000)), strict=True)
    codes, weights = np.concatenate(codes), np.exp(-np.concatenate(log_expected)) / 3000
    assert set(codes.tolist()) <= set(some.tolist())
    if n_negatives == "all" or strategy == "uniform":  # the weighted ones count each item once
        np.testing.assert_allclose(np.bincount(codes, weights)[some], 1, atol=0.1)


def network(item_share, features, n_user_values=0):
    config = NetConfig(len(item_share), 3, 8, 6, 3, adaptive_interests=True, n_encoder_layers=1)
    return MINDNet(config, sparse.csr_matrix(features), item_share, n_user_values, seed=0)


def test_bare_items_are_the_mean_of_their_features():
    has = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=np.float32)
    with_events = np.array([True, True, True, False])
    parts = has.sum(1) + with_events
    net = network((with_events / parts).astype(np.float32), has / parts[:, None])
    own, values = net.item_embedding.detach().numpy(), net.item_values.weight.detach().numpy()

    def vector(item, bare):
        vectors = [value for value, present in zip(values, has[item], strict=True) if present]
        if (with_events[item] and not bare) or not vectors:
            vectors.append(own[item])
        return np.mean(vectors, axis=0)

    for bare in ([False] * 4, [True] * 4, [True, False, True, False]):
        for codes in (None, np.array([3, 1, 0, 2])):
            found = net.item_vectors(codes, torch.tensor(bare)).detach().numpy()
            order = range(4) if codes is None else codes
            expected = [vector(item, b) for item, b in zip(order, bare, strict=True)]
            np.testing.assert_allclose(found, expected, atol=1e-6)
    bare = net.item_vectors(None, torch.tensor([True] * 4))
    bare[[0, 1, 3]].sum().backward()
    assert not net.item_embedding.grad[[0, 1, 3]].any()
    assert torch.isfinite(net.item_values.weight.grad).all()


def test_unknown_queries_are_answered_as_users_without_history():
    net = network(np.ones(5, dtype=np.float32), np.zeros((5, 0)), n_user_values=2)
    history, lengths = torch.tensor([[0, 1, 2, 3], [4, 1, 0, 0]]), torch.tensor([4, 2])
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        net.layers[0].merge.normal_(generator=rng)
        net.user_values.weight.normal_(generator=rng)
    profile = net.profiles(sparse.csr_matrix(np.eye(2, dtype=np.float32)))
    items, unknown = net.item_vectors(), torch.zeros(2, 4, dtype=torch.bool)
    usual = net(history, lengths, items, profile, every=True).vectors
    unknown[0, 1] = unknown[1, 0] = True
    found = net(history, lengths, items, profile, None, unknown, every=True)
    alone = net(history, torch.tensor([0, 0]), items, profile).vectors[:, 0]
    for row, query in ((0, 1), (1, 0)):
        used = found.vectors[row, query][found.mask[row, query]]
        assert len(used)
        torch.testing.assert_close(used, alone[row].expand_as(used))
        assert not torch.allclose(usual[row, query, 0], alone[row])
    torch.testing.assert_close(found.vectors[~unknown], usual[~unknown])


# ------------------------------------------------------------------ types of feature columns


def test_vectors_in_cells_make_new_items_found_as_float_columns_do(planted):
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(N_TOPICS, 8))
    vectors = centers[planted.item_interest] + 0.2 * rng.normal(size=(N_ITEMS, 8))
    cells = planted.topics[["item_id"]].assign(look=list(vectors))
    columns = pd.DataFrame(vectors).add_prefix("look")
    wide = pd.concat([planted.topics[["item_id"]], columns], axis=1)
    recs = [MINDRecommender(**LEARNING).fit(planted.warm, items=table) for table in (cells, wide)]
    np.testing.assert_allclose(recs[0].item_embeddings_, recs[1].item_embeddings_, atol=1e-5)
    lists = [rec.recommend(recs[0].users_, k=3, items=COLD_ITEMS) for rec in recs]
    assert matches(planted, lists[0]) == matches(planted, lists[1]) > 0.8


FLAGS = {
    "bool": lambda flags: flags,
    "integer": lambda flags: flags.astype(int),
    "boolean": lambda flags: flags.astype("boolean"),
    "object": lambda flags: flags.astype(object),
}


@pytest.mark.parametrize("later", [*FLAGS, "float"])
@pytest.mark.parametrize("first", FLAGS)
def test_flags_of_any_type_are_the_same_feature(planted, tmp_path, first, later):
    made = {**FLAGS, "float": lambda flags: flags.astype(float)}
    users = pd.DataFrame({"user_id": range(N_USERS), "vip": planted.taste > 2})
    items = pd.DataFrame({"item_id": range(N_ITEMS), "new": planted.item_interest > 2})
    tables = [
        {
            "users": users.assign(vip=as_type(users.vip)),
            "items": items.assign(new=as_type(items.new)),
        }
        for as_type in (made[first], made[later])
    ]
    settings = LEARNING | {"embedding_dim": 8, "max_epochs": 1}
    X = planted.warm[:300]
    rec = MINDRecommender(**settings).fit(X, **tables[0])
    histories = {0: [1, 2], 7: []}
    expected = rec.recommend_from_history(histories, users=tables[0]["users"], k=3)
    rec.save(tmp_path / "model")
    for model in (rec, MINDRecommender.load(tmp_path / "model")):
        found = model.recommend_from_history(histories, users=tables[1]["users"], k=3)
        pd.testing.assert_frame_equal(found, expected)
    grown = [
        MINDRecommender.load(tmp_path / "model").partial_fit(X[:20], **table).item_embeddings_
        for table in tables
    ]
    np.testing.assert_array_equal(*grown)
