"""Features describe items without events and users without history.

The planted features are the topics that decide every event; noise features carry no information.
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

N_USERS = 300
N_ITEMS = 90
N_TOPICS = 6
COLD_ITEMS = np.arange(0, N_ITEMS, 5)
COLD_USERS = np.arange(0, N_USERS, 5)
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
    """Data with one topic per user; a fifth of items and of users has no event in ``warm``."""
    data = make_interactions(
        N_USERS,
        N_ITEMS,
        n_topics=N_TOPICS,
        n_interests=1,
        n_events=(8, 12),
        noise=0.1,
        popularity_exponent=0,
        random_state=0,
    )
    X = data.interactions
    rng = np.random.default_rng(0)
    data.warm = X[~(X["item_id"].isin(COLD_ITEMS) | X["user_id"].isin(COLD_USERS))]
    data.taste = data.user_interests.argmax(axis=1)
    data.topics = pd.DataFrame({"item_id": range(N_ITEMS), "topic": data.item_interest})
    data.tastes = pd.DataFrame({"user_id": range(N_USERS), "taste": data.taste})
    data.noisy_topics = data.topics.assign(topic=rng.integers(N_TOPICS, size=N_ITEMS))
    data.noisy_tastes = data.tastes.assign(taste=rng.integers(N_TOPICS, size=N_USERS))
    return data


def share_of_topic(planted, recommended):
    """Return the share of recommended items that have the topic of their user."""
    taste = planted.taste[recommended["user_id"]]
    return (planted.item_interest[recommended["item_id"]] == taste).mean()


# ------------------------------------------------------------------ results


def test_item_features_make_new_items_recommendable(planted):
    rec = MINDRecommender(**LEARNING).fit(planted.warm, items=planted.topics)
    assert (rec.item_counts_[COLD_ITEMS] == 0).all()
    warm = np.setdiff1d(np.arange(N_USERS), COLD_USERS)
    assert 0.85 < share_of_topic(planted, rec.recommend(warm, k=2, items=COLD_ITEMS)) <= 1
    # New items, a fifth of all items, appear among the unseen without crowding out the others.
    among_unseen = rec.recommend(warm, k=3)
    assert 0.1 < among_unseen["item_id"].isin(COLD_ITEMS).mean() < 0.5
    shares = []  # of several fits, since there are few new items
    for seed in range(3):
        noise = MINDRecommender(**{**LEARNING, "random_state": seed})
        noise.fit(planted.warm, items=planted.noisy_topics)
        shares.append(share_of_topic(planted, noise.recommend(warm, k=2, items=COLD_ITEMS)))
    assert abs(np.mean(shares) - 1 / N_TOPICS) < 0.12


def test_user_features_give_interests_to_new_users(planted):
    rec = MINDRecommender(**LEARNING).fit(planted.warm, users=planted.tastes)
    best = rec.recommend(COLD_USERS, k=5)
    assert (best["interest"] >= 0).all()
    assert 0.85 < share_of_topic(planted, best) <= 1
    noise = MINDRecommender(**LEARNING).fit(planted.warm, users=planted.noisy_tastes)
    share = share_of_topic(planted, noise.recommend(COLD_USERS, k=5))
    assert abs(share - 1 / N_TOPICS) < 0.12


def test_features_without_information_cost_little_accuracy(planted):
    X = planted.interactions.drop_duplicates(["user_id", "item_id"])
    rest, last = (X.iloc[rows] for rows in next(LeaveLastOut().split(X)))
    ndcg = {}
    for label, tables in {
        "none": {},
        "noise": {"items": planted.noisy_topics, "users": planted.noisy_tastes},
        "true": {"items": planted.topics, "users": planted.tastes},
    }.items():
        rec = MINDRecommender(**LEARNING).fit(rest, **tables)
        ndcg[label] = ndcg_at_k(last, rec.recommend(last["user_id"]), k=10)
    # In nine of ten events, the item to find is one of the unseen of the fifteen of the topic.
    assert 0.15 < ndcg["none"] < 0.6
    assert ndcg["none"] - 0.08 < ndcg["noise"] < ndcg["none"] + 0.06
    assert ndcg["none"] - 0.03 < ndcg["true"] < 0.6


# ------------------------------------------------------------------ mechanisms


def test_training_without_features_leaves_nothing_out(planted, monkeypatch):
    options = LEARNING | {"max_epochs": 1}
    tables = {"items": planted.topics}, {"users": planted.tastes}, {}
    before = [MINDRecommender(**options).fit(planted.warm, **table) for table in tables]
    monkeypatch.setattr(trainer, "FEATURES_ONLY_ITEM_SHARE", 0.9)
    monkeypatch.setattr(
        trainer, "profile_only_probability", lambda batch, _: np.zeros(batch.history.shape)
    )
    after = [MINDRecommender(**options).fit(planted.warm, **table) for table in tables]
    same = [
        np.array_equal(a.item_embeddings_, b.item_embeddings_)
        for a, b in zip(before, after, strict=True)
    ]
    assert same == [False, False, True]


def test_items_without_events_but_with_features_are_never_negatives(planted, monkeypatch):
    draws = []
    draw = NegativeSampler.draw

    def recorded_draw(self, targets):
        draws.append(draw(self, targets))
        return draws[-1]

    monkeypatch.setattr(NegativeSampler, "draw", recorded_draw)
    options = LEARNING | {"max_epochs": 1}
    missing = planted.topics.astype({"topic": object})
    missing.loc[missing["item_id"] == 5, "topic"] = None  # this item has its own vector
    MINDRecommender(**options).fit(planted.warm, items=missing)
    negatives = set(np.concatenate([codes for codes, _ in draws]).tolist())
    assert negatives == (set(range(N_ITEMS)) - set(COLD_ITEMS.tolist())) | {5}


@pytest.mark.parametrize("n_negatives", [3, "all"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_sampler_draws_only_the_given_items(strategy, n_negatives):
    counts = np.array([4, 0, 2, 0, 6, 3])
    items = np.array([0, 2, 3, 4, 5])
    sampler = NegativeSampler(counts, n_negatives, strategy, np.random.default_rng(0), items=items)
    draws = [sampler.draw(np.array([4, 0])) for _ in range(3000)]
    codes = np.concatenate([codes for codes, _ in draws])
    log_expected = np.concatenate([log_expected for _, log_expected in draws])
    assert set(codes.tolist()) <= set(items.tolist())
    if n_negatives == "all" or strategy == "uniform":
        # Weighted by its inverse expected number, each item counts once per draw.
        weights = np.exp(-log_expected) / len(draws)
        np.testing.assert_allclose(np.bincount(codes, weights)[items], 1, atol=0.1)


def network(item_share, features, n_user_values=0):
    config = NetConfig(len(item_share), 3, 8, 6, 3, adaptive_interests=True, n_encoder_layers=1)
    return MINDNet(config, sparse.csr_matrix(features), item_share, n_user_values, seed=0)


def test_items_with_features_only_are_the_mean_of_their_features():
    has_value = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=np.float32)
    has_events = np.array([True, True, True, False])
    n_parts = has_value.sum(1) + has_events
    net = network((has_events / n_parts).astype(np.float32), has_value / n_parts[:, None])
    own = net.item_embedding.detach().numpy()
    values = net.item_values.weight.detach().numpy()

    def vector(item, features_only):
        vectors = [value for value, present in zip(values, has_value[item], strict=True) if present]
        if (has_events[item] and not features_only) or not vectors:
            vectors.append(own[item])
        return np.mean(vectors, axis=0)

    for features_only in ([False] * 4, [True] * 4, [True, False, True, False]):
        for codes in (None, np.array([3, 1, 0, 2])):
            vectors = net.item_vectors(codes, torch.tensor(features_only)).detach().numpy()
            order = range(4) if codes is None else codes
            expected = [vector(*case) for case in zip(order, features_only, strict=True)]
            np.testing.assert_allclose(vectors, expected, atol=1e-6)
    vectors = net.item_vectors(None, torch.tensor([True] * 4))
    vectors[[0, 1, 3]].sum().backward()
    assert not net.item_embedding.grad[[0, 1, 3]].any()
    assert torch.isfinite(net.item_values.weight.grad).all()


def test_unknown_queries_get_the_interests_of_users_without_history():
    net = network(np.ones(5, dtype=np.float32), np.zeros((5, 0)), n_user_values=2)
    history = torch.tensor([[0, 1, 2, 3], [4, 1, 0, 0]])
    lengths = torch.tensor([4, 2])
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        net.layers[0].merge.normal_(generator=rng)
        net.user_values.weight.normal_(generator=rng)
    profile = net.profiles(sparse.csr_matrix(np.eye(2, dtype=np.float32)))
    items = net.item_vectors()
    unknown = torch.zeros(2, 4, dtype=torch.bool)
    usual = net(history, lengths, items, profile, all_queries=True).vectors
    unknown[0, 1] = unknown[1, 0] = True
    interests = net(history, lengths, items, profile, None, unknown, all_queries=True)
    alone = net(history, torch.tensor([0, 0]), items, profile).vectors[:, 0]
    for row, query in ((0, 1), (1, 0)):
        used = interests.vectors[row, query][interests.mask[row, query]]
        assert len(used)
        torch.testing.assert_close(used, alone[row].expand_as(used))
        assert not torch.allclose(usual[row, query, 0], alone[row])
    torch.testing.assert_close(interests.vectors[~unknown], usual[~unknown])


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
    assert share_of_topic(planted, lists[0]) == share_of_topic(planted, lists[1]) > 0.8


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
