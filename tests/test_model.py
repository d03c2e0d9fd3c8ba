"""The fitted state: item vectors, arrays, network, weights of a warm start, and encoding."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from skmind._model import FittedModel
from skmind.data.interactions import Interactions
from skmind.data.prepare import Schema, prepare
from skmind.exceptions import IdTypeError, InvalidInputError
from skmind.nn.inference import encode
from skmind.nn.network import NetConfig
from skmind.retrieval.calibration import Plan

SCHEMA = Schema("user_id", "item_id", None)

LOG = pd.DataFrame(
    {
        "user_id": ["ann", "ann", "ann", "bob", "bob", "cid"],
        "item_id": ["a", "b", "c", "b", "d", "a"],
    }
)
ITEMS = pd.DataFrame(
    {
        "item_id": ["d", "a", "cold", "bare", "b"],  # c has no row; bare and cold have no events
        "color": ["red", "blue", "red", None, None],
        "tags": [["x"], ["x", "y"], ["y", "z"], None, None],
        "price": [1.0, None, 3.0, None, 8.0],
    }
)
USERS = pd.DataFrame({"user_id": ["bob", "ann", "new"], "age": ["old", "young", "old"]})


def untrained(log=LOG, items=ITEMS, users=USERS, seed=1, schema=SCHEMA, **sizes):
    """Return a model before training on these tables."""
    prepared = prepare(log, schema, items=items, users=users)
    config = {
        "n_items": len(prepared.items),
        "n_interests": 2,
        "embedding_dim": 5,
        "max_history": 4,
        "n_routing_iter": 3,
        "adaptive_interests": True,
        "n_encoder_layers": 1,
    }
    return FittedModel.untrained(prepared, schema, NetConfig(**(config | sizes)), seed)


def trained(seed=9, **options):
    """Return a model whose weights differ from any initial ones."""
    model = untrained(seed=seed, **options)
    net = model.network()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            generator = torch.Generator().manual_seed(100 + number)
            parameter.normal_(generator=generator)
    model.store_weights(net)
    return model


def rows_of(model, name):
    """Return the rows of an embedding table by their item, or by their feature and value."""
    if name == "item_embedding":
        keys = list(model.items.ids)
    else:
        side = model.prepared.item_features if name == "item_values.weight" else None
        side = model.prepared.user_features if side is None else side
        keys = [
            (f.name, part if f.kind == "number" else value)
            for f in side.encoder.features
            for part, value in enumerate(f.values.tolist())
        ]
    return dict(zip(keys, model.weights[name], strict=True))


# ------------------------------------------------------------------ item vectors


def test_item_vectors_are_the_mean_of_the_item_and_its_features():
    model = untrained()
    net = model.network()
    model.store_weights(net)
    value, own = rows_of(model, "item_values.weight"), rows_of(model, "item_embedding")
    prices = np.array([1.0, 3.0, 8.0])
    price = {
        p: (p - prices.mean()) / prices.std() * value["price", 0] + value["price", 1]
        for p in prices.tolist()
    }
    red, blue = value["color", "red"], value["color", "blue"]
    x, y, z = (value["tags", tag] for tag in "xyz")
    expected = {
        "a": (own["a"] + blue + (x + y) / 2) / 3,
        "b": (own["b"] + price[8.0]) / 2,
        "c": own["c"],
        "d": (own["d"] + red + x + price[1.0]) / 4,
        "cold": (red + (y + z) / 2 + price[3.0]) / 3,  # has no events, so only its features count
        "bare": own["bare"],  # has no features
    }
    vectors = net.item_vectors().detach().numpy()
    for item, vector in zip(model.items.ids, vectors, strict=True):
        np.testing.assert_allclose(vector, expected[item], atol=1e-6)


def test_item_vectors_without_features_are_the_embeddings():
    model = untrained(items=None)
    assert model.item_matrix.shape == (4, 0)
    assert model.item_share.tolist() == [1, 1, 1, 1]
    net = model.network()
    assert torch.equal(net.item_vectors(), net.item_embedding)


def test_the_state_gives_access_to_ids_and_histories():
    model = untrained()
    assert model.users.ids.tolist() == ["ann", "bob", "cid", "new"]
    assert model.items.ids.tolist() == ["a", "b", "bare", "c", "cold", "d"]
    assert model.interactions.lengths.tolist() == [3, 2, 1, 0]
    assert model.items.ids[model.interactions.items[:3]].tolist() == ["a", "b", "c"]
    assert model.weights == {}


# ------------------------------------------------------------------ network and weights


def test_the_seed_decides_the_initial_weights():
    state = torch.get_rng_state()
    model = untrained(seed=3)
    first, again, other = model.network(), model.network(), untrained(seed=4).network()
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        # otherwise all zeros or ones, or the identity
        drawn = name != "bilinear" and value.numel() > 1 and value.std() > 0
        assert torch.equal(value, other.state_dict()[name]) != drawn, name
        if name in ("item_embedding", "logits", "layers.0.inner"):
            assert drawn


def test_network_round_trip_is_bit_equal():
    model = trained()
    net = model.network()
    again = untrained(seed=5)
    again.store_weights(net)
    assert again.weights.keys() == model.weights.keys()
    for name, value in model.weights.items():
        assert again.weights[name].dtype == np.float32
        assert (again.weights[name] == value).all()
    assert not torch.equal(net.logits, untrained(seed=5).network().logits)
    window = np.array([[0, 1, 3]]), np.array([3])
    for a, b in zip(encode(net, *window), encode(again.network(), *window), strict=True):
        assert (a == b).all()


def test_stored_weights_are_copies():
    model = untrained()
    net = model.network()
    model.store_weights(net)
    stored = model.weights["bilinear"].copy()
    with torch.no_grad():
        net.bilinear.zero_()
        model.network().bilinear.zero_()
    assert (model.weights["bilinear"] == stored).all()


def test_weights_may_be_read_only():
    model = trained()
    for value in model.weights.values():
        value.flags.writeable = False  # as in workers of joblib, which map them from a file
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = model.network()
    assert (net.bilinear.detach().numpy() == model.weights["bilinear"]).all()


def test_a_network_for_inference_gives_the_same_interests():
    model = trained()
    window = np.array([[0, 1, 3]]), np.array([3])
    expected = encode(model.network(), *window)
    for a, b in zip(encode(model.network_for_inference(), *window), expected, strict=True):
        assert (a == b).all()


# ------------------------------------------------------------------ arrays

TIMED = Schema("user_id", "item_id", "time")
TIMED_LOG = LOG.assign(time=np.arange(len(LOG))[::-1])


def rebuilt(model):
    """Return the model that `from_arrays` makes of the arrays of ``model``."""
    features = [
        [(feature.name, feature.kind) for feature in side.encoder.features]
        for side in (model.prepared.user_features, model.prepared.item_features)
    ]
    arrays = model.to_arrays()
    return FittedModel.from_arrays(
        arrays, model.schema, model.config, model.seed, model.plan, *features
    )


@pytest.mark.parametrize("features", [{}, {"items": None}, {"items": None, "users": None}])
@pytest.mark.parametrize("schema", [SCHEMA, TIMED])
def test_a_model_is_rebuilt_from_its_arrays(features, schema):
    model = trained(log=TIMED_LOG, schema=schema, **features)
    model.plan = Plan("annoy", n_trees=3)
    again = rebuilt(model)
    assert (again.schema, again.config, again.seed) == (model.schema, model.config, model.seed)
    assert again.plan == model.plan
    arrays = again.to_arrays()
    assert ("interactions.times" in arrays) == (schema is TIMED)
    assert arrays.keys() == model.to_arrays().keys()
    for name, array in model.to_arrays().items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)
    assert again.prepared.counts.tolist() == model.prepared.counts.tolist()
    assert (again.item_share == model.item_share).all()
    assert (again.item_matrix != model.item_matrix).nnz == 0
    profile = model.profile_rows(np.array([0, 3, -1, 1]))
    again_profile = again.profile_rows(np.array([0, 3, -1, 1]))
    histories = model.interactions
    expected = model.encode(model.network(), histories, profile)
    for a, b in zip(again.encode(again.network(), histories, again_profile), expected, strict=True):
        assert (a == b).all()


def test_arrays_are_not_copied():
    model = trained()
    arrays = model.to_arrays()
    assert arrays["users"] is model.users.ids
    assert arrays["interactions.items"] is model.interactions.items
    assert arrays["weights.bilinear"] is model.weights["bilinear"]
    again = rebuilt(model).to_arrays()
    for name, array in arrays.items():
        if array.dtype != object:
            assert np.shares_memory(again[name], array), name


def test_a_repeated_id_is_an_error():
    model = trained()
    model.items.ids[0] = "b"
    with pytest.raises(InvalidInputError, match="item id 'b'"):
        rebuilt(model)


# ------------------------------------------------------------------ warm start

ENCODER = [name for name in trained().weights if name.startswith(("layers", "state"))]
SHARED = ("bilinear", "recency", "logits", "profile", *ENCODER)


@pytest.mark.parametrize(
    "log",
    [
        pd.concat([LOG, pd.DataFrame({"user_id": ["ann", "eve"], "item_id": ["0new", "zz"]})]),
        LOG[LOG["item_id"] != "b"],
        LOG.assign(item_id=LOG["item_id"].replace({"a": "e", "c": "0c"})),
    ],
    ids=["grown", "shrunk", "reordered"],
)
def test_inherit_weights_moves_the_rows_of_items_that_both_know(log):
    old, new = trained(), untrained(log, ITEMS[ITEMS["item_id"] != "b"])
    assert old.items.ids.tolist() != new.items.ids.tolist()
    initial = {name: w.numpy().copy() for name, w in new.network().state_dict().items()}
    before = {name: w.copy() for name, w in old.weights.items()}
    new.inherit_weights(old)
    theirs, mine = rows_of(old, "item_embedding"), rows_of(new, "item_embedding")
    n_new = 0
    for item, vector in mine.items():
        if item in theirs:
            assert (vector == theirs[item]).all()
        else:
            n_new += 1
            assert (vector == initial["item_embedding"][list(mine).index(item)]).all()
    assert n_new == len(set(mine) - set(theirs))
    for name in SHARED:
        assert (new.weights[name] == old.weights[name]).all()
    for name, value in before.items():
        assert (old.weights[name] == value).all()
    new.network()  # raises unless the shapes fit the new tables


def test_inherit_weights_the_same_tables_keeps_every_weight():
    old, new = trained(seed=9), untrained(seed=2)
    new.inherit_weights(old)
    assert new.weights.keys() == old.weights.keys()
    for name, value in old.weights.items():
        assert (new.weights[name] == value).all()


def test_inherit_weights_moves_the_rows_of_feature_values_that_both_know():
    old = trained()
    items = ITEMS.assign(
        color=["green", "blue", "amber", None, "green"],
        tags=[["z"], ["a", "x"], None, None, None],
        size=["s", "l", None, None, None],
    )
    users = USERS.assign(age=["ancient", "young", None])
    new = untrained(items=items[["item_id", "size", "price", "color", "tags"]], users=users)
    initial = {name: w.numpy().copy() for name, w in new.network().state_dict().items()}
    new.inherit_weights(old)
    kept = {
        "item_values.weight": {
            ("color", "blue"), ("tags", "x"), ("tags", "z"), ("price", 0), ("price", 1)
        },
        "user_values.weight": {("age", "young")},
    }  # fmt: skip
    for name, same in kept.items():
        theirs, mine = rows_of(old, name), rows_of(new, name)
        assert set(mine) & set(theirs) == same
        assert len(mine) > len(same)
        for position, (key, vector) in enumerate(mine.items()):
            expected = theirs[key] if key in same else initial[name][position]
            assert (vector == expected).all(), key


def test_inherit_weights_without_the_features_and_back():
    plain = trained(items=None, users=None)
    new = untrained(seed=3)
    initial = {name: w.numpy().copy() for name, w in new.network().state_dict().items()}
    new.inherit_weights(plain)
    for name in ("item_values.weight", "user_values.weight", "profile"):
        assert (new.weights[name] == initial[name]).all()
    assert (new.weights["bilinear"] == plain.weights["bilinear"]).all()
    rich, plain = trained(), untrained(items=None, users=None)
    plain.inherit_weights(rich)
    gone = {"item_values.weight", "user_values.weight", "profile"}
    assert plain.weights.keys() == rich.weights.keys() - gone
    for name in plain.weights.keys() - {"item_embedding"}:
        assert (plain.weights[name] == rich.weights[name]).all()
    theirs = rows_of(rich, "item_embedding")
    for item, vector in rows_of(plain, "item_embedding").items():
        assert (vector == theirs[item]).all()


@pytest.mark.parametrize(
    ("name", "value", "before"),
    [
        ("n_interests", 3, 2),
        ("embedding_dim", 6, 5),
        ("max_history", 9, 4),
        ("n_encoder_layers", 0, 1),
        ("n_encoder_layers", 2, 1),
    ],
)
def test_inherit_weights_another_size_is_an_error(name, value, before):
    new = untrained(**{name: value})
    message = (
        f"continues a fit with {name}={before}, but {name}={value} now; set it back to {before}"
    )
    with pytest.raises(InvalidInputError, match=message):
        new.inherit_weights(trained())
    assert new.weights == {}


def test_inherit_weights_other_routing_is_allowed():
    new = untrained(n_routing_iter=1, adaptive_interests=False)
    new.inherit_weights(trained())
    assert new.network().config.n_routing_iter == 1


def test_inherit_weights_ids_of_another_kind_is_an_error():
    log = LOG.assign(item_id=[1, 2, 3, 2, 4, 1])
    with pytest.raises(IdTypeError, match="item ids are of kind"):
        untrained(log, None).inherit_weights(trained())


# ------------------------------------------------------------------ profiles and encoding


def test_profile_rows():
    model = untrained()
    (feature,) = model.prepared.user_features.encoder.features
    old = feature.values.tolist().index("old")
    got = model.profile_rows(np.array([1, -1, 0, 2, 1])).toarray()  # bob, nobody, ann, cid, bob
    expected = np.zeros((5, 2))
    expected[[0, 4], old] = expected[2, 1 - old] = 1
    assert got.tolist() == expected.tolist()
    assert untrained(users=None).profile_rows(np.array([0, -1])) is None


@pytest.mark.parametrize("users", [None, USERS])
def test_encode_gives_each_history_its_interests(users):
    model = trained(users=users)
    net = model.network()
    distinct = [[0, 1, 2, 3, 4, 5, 0], [], [2], [5, 4, 3, 2], [1, 1], [3, 0, 0, 4]]
    people = np.arange(1999) % 6  # more than fit into one block
    lists = [distinct[row] for row in people]
    offsets = np.cumsum([0, *map(len, lists)])
    histories = Interactions(np.concatenate(lists).astype(np.int32), offsets)
    profile = model.profile_rows(np.array([0, 1, 2, 3, -1, 0])[people])
    interests, mask = model.encode(net, histories, profile)
    assert interests.shape == (1999, 2, 5)
    assert interests.dtype == np.float32
    for row, items in enumerate(distinct):
        newest = np.array([items[::-1][:4]], dtype=np.int32)  # max_history is 4
        one = None if profile is None else profile[[row]]
        expected = encode(net, newest, np.array([newest.shape[1]]), one)
        same = np.broadcast_to(expected.interests[0], interests[row::6].shape)
        np.testing.assert_allclose(interests[row::6], same, atol=1e-6)
        assert (mask[row::6] == expected.mask[0]).all()
    assert mask[1].tolist() == [users is not None, False]


def test_encode_nobody():
    model = trained()
    nobody = Interactions(np.empty(0, dtype=np.int32), np.zeros(1, dtype=np.int64))
    interests, mask = model.encode(model.network(), nobody, None)
    assert interests.shape == (0, 2, 5)
    assert mask.shape == (0, 2)
