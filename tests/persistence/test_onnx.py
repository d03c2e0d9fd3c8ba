"""Compare an exported model with the fitted one, and with the example that serves it."""

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skmind import MINDRecommender
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import (
    DatasetUnavailableError,
    ExportError,
    InvalidInputError,
    ModelWriteError,
)
from skmind.persistence import onnx

needed = "the ONNX export is optional: pip install skmind[onnx]"
onnxruntime = pytest.importorskip("onnxruntime", reason=needed)
onnx_ir = pytest.importorskip("onnx_ir", reason=needed)
pytest.importorskip("onnxscript", reason=needed)

VERSION = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
takes_empty_batches = pytest.mark.skipif(
    VERSION < (1, 32), reason="onnxruntime broadcasts empty batches from 1.32 on"
)

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "examples" / "serve_onnx.py"

PLANTED = make_interactions(40, 30, n_topics=5, n_interests=2, random_state=0)
X = PLANTED.interactions
SMALL = {
    "embedding_dim": 8,
    "max_history": 6,
    "n_routing_iter": 1,  # halves the time of an export
    "max_epochs": 1,
    "random_state": 0,
}
JOBS = ["cook", "nurse", None, "pilot"]
LIKES = [["sea"], ["sea", "wood"], []]
USERS = pd.DataFrame(
    {
        "user_id": range(40),
        "age": [np.nan, *np.linspace(20, 60, 39)],
        "job": JOBS * 10,
        "likes": [LIKES[i % 3] for i in range(40)],
        "vip": [True, False] * 20,
        "taste": [None, *np.random.default_rng(0).normal(size=(39, 3)).tolist()],
    }
)


def example():
    spec = importlib.util.spec_from_file_location("serve_onnx", SERVER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exported(rec, data, folder):
    """Export a fitted model; return it, its export, and the item ids per user, oldest first."""
    rec.export_onnx(folder)
    return exported_already(rec, data, folder)


def exported_already(rec, data, folder):
    ordered = data.sort_values("timestamp", kind="stable")
    return SimpleNamespace(
        rec=rec,
        folder=folder,
        tower=onnxruntime.InferenceSession(folder / "user_tower.onnx"),
        server=example().Server(folder),
        histories=ordered.groupby("user_id")["item_id"].agg(list).loc[rec.users_].tolist(),
    )


@pytest.fixture(scope="module")
def with_features(tmp_path_factory):
    """Export a model with text ids, features of both sides, an encoder and fixed interests."""
    table = X.astype({"item_id": str})
    topics = PLANTED.item_table[["item_id", "topic"]].astype({"item_id": str})
    settings = {"n_interests": 3, "adaptive_interests": False, "n_encoder_layers": 1}
    rec = MINDRecommender(**SMALL, **settings).fit(table, users=USERS, items=topics)
    return exported(rec, table, tmp_path_factory.mktemp("onnx") / "features")


@pytest.fixture(scope="module")
def movielens(tmp_path_factory):
    home = os.environ.get("SKMIND_DATA") or ROOT.parent / "shared" / "data"
    try:
        data = fetch_movielens("100k", data_home=home, download_if_missing=False).interactions
    except DatasetUnavailableError:
        pytest.skip("MovieLens 100K is neither in $SKMIND_DATA nor in shared/data by the project")
    rec = MINDRecommender(tie_order="rows", max_epochs=1, random_state=0).fit(data)
    return exported(rec, data, tmp_path_factory.mktemp("onnx") / "movielens")


def inputs(made):
    """Return the inputs of the graph for all users, built from the ids alone."""
    codes = {item: code for code, item in enumerate(made.rec.items_.tolist())}
    L = made.rec.max_history
    history = np.full((len(made.histories), L), 7)  # any code may stand in the padding
    for row, items in zip(history, made.histories, strict=True):
        newest = [codes[item] for item in items[::-1][:L]]
        row[: len(newest)] = newest
    lengths = np.array([min(len(items), L) for items in made.histories])
    matrix = made.rec._model.prepared.user_features.matrix.toarray()
    given = {"history": history, "lengths": lengths, "features": matrix}
    return {node.name: given[node.name] for node in made.tower.get_inputs()}


@pytest.mark.parametrize("name", ["with_features", "movielens"])
def test_the_graph_gives_the_interests_of_every_user(request, name):
    made = request.getfixturevalue(name)
    interests, mask = made.tower.run(None, inputs(made))
    expected = made.rec.interests(made.rec.users_)
    assert interests.dtype == np.float32
    assert interests.shape == expected.shape
    np.testing.assert_allclose(interests, expected, atol=1e-5)
    np.testing.assert_array_equal(mask, (expected != 0).any(2))
    assert mask[:, 0].all()
    assert np.abs(expected[:, 0] - expected[:1, 0]).max() > 0.1  # users differ


def test_the_example_recommends_the_same_to_every_user_of_movielens(movielens):
    rec = movielens.rec
    ids, scores = rec.recommend(k=10, output="arrays")
    answers = movielens.server.recommend(movielens.histories, k=10)
    assert [[item for item, _ in row] for row in answers] == ids.tolist()
    np.testing.assert_allclose([[score for _, score in row] for row in answers], scores, atol=1e-5)
    items = rec.items_[:2].tolist()
    answers = checked_answers(movielens, [items, [-1, *items, 10**30], []], k=5)
    assert answers[0] == answers[1]  # unknown items, negative ones too, are ignored


@takes_empty_batches
@pytest.mark.parametrize("name", ["with_features", "movielens"])
@pytest.mark.parametrize("length", [1, 3, 6])
def test_an_empty_batch_has_no_interests(request, name, length):
    made = request.getfixturevalue(name)
    empty = {key: value[:0] for key, value in inputs(made).items()}
    empty["history"] = empty["history"][:, :length]
    interests, mask = made.tower.run(None, empty)
    assert interests.shape == (0, made.rec.n_interests, made.rec.embedding_dim)
    assert mask.shape == (0, made.rec.n_interests)


@takes_empty_batches
def test_an_empty_batch_of_several_layers_has_no_interests(tmp_path):
    rec = MINDRecommender(**SMALL, n_encoder_layers=2, adaptive_interests=False).fit(X)
    made = exported(rec, X, tmp_path / "model")
    empty = {"history": np.zeros((0, 4), np.int64), "lengths": np.zeros(0, np.int64)}
    assert made.tower.run(None, empty)[0].shape == (0, 4, 8)


def test_the_example_has_no_answers_for_no_histories(with_features):
    assert with_features.server.recommend([]) == []


def test_the_oldest_runtime_is_stated(with_features):
    about = json.loads((with_features.folder / "about.json").read_text())
    graph = onnx_ir.load(with_features.folder / "user_tower.onnx")
    assert about["opset"] == graph.opset_imports[""] == 20
    assert graph.ir_version == 10
    assert about["oldest_onnxruntime"] == "1.18"  # the first to read version 10 of the format


def test_an_export_is_silent_and_independent_of_the_modes_of_torch(tmp_path, capfd):
    settings = {"n_encoder_layers": 2, "adaptive_interests": False}
    rec = MINDRecommender(**SMALL, **settings).fit(X)
    heard = logging.Handler()
    heard.records = []
    heard.emit = heard.records.append
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    logger.addHandler(heard)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            rec.export_onnx(tmp_path / "model")
        assert heard.records == []
        logger.warning("after an export, torch may warn again")
        assert len(heard.records) == 1
    finally:
        torch.set_default_dtype(torch.float32)
        logger.removeHandler(heard)
    made = exported_already(rec, X, tmp_path / "model")
    assert "torchvision" not in capfd.readouterr().err
    interests, _ = made.tower.run(None, inputs(made))
    np.testing.assert_allclose(interests, rec.interests(rec.users_), atol=1e-5)


def test_item_vectors_are_stored_once(movielens):
    vectors = np.load(movielens.folder / "item_vectors.npy")
    np.testing.assert_array_equal(vectors, movielens.rec.item_embeddings_)
    sizes = {path.name: path.stat().st_size for path in movielens.folder.iterdir()}
    names = ["about.json", *(f"item_{x}.npy" for x in ("counts", "ids", "vectors"))]
    assert sorted(sizes) == [*names, "user_tower.onnx"]
    assert sizes["user_tower.onnx"] < 0.6 * vectors.nbytes  # the encoder and the routing, no item
    assert sizes["item_vectors.npy"] < vectors.nbytes + 1000


def checked_answers(made, asked, k, users=None):
    """Return the answers of the example after comparing them with `recommend_from_history`."""
    table = None if users is None else pd.DataFrame(users).assign(user_id=range(len(users)))
    expected = made.rec.recommend_from_history(asked, k=k, users=table)
    answers = made.server.recommend(asked, k, users)
    for person, row in enumerate(answers):
        rows = expected[expected["user_id"] == person]
        assert [item for item, _ in row] == rows["item_id"].tolist()
        np.testing.assert_allclose([score for _, score in row], rows["score"], atol=1e-5)
    return answers


def test_the_example_serves_odd_histories(with_features):
    everything = [str(item) for item in range(30)]
    asked = [["3", "1"], ["1", "3"], ["3"], everything, everything[:-4], ["5"] * 3]
    asked += [["99", "3", "-1", ""], []]
    answers = checked_answers(with_features, asked, k=6)
    assert [len(row) for row in answers] == [6, 6, 6, 0, 4, 6, 6, 6]
    assert answers[6] == answers[2]  # unknown items, negative ones too, are ignored
    assert answers[7] == checked_answers(with_features, [["-1"]], k=6)[0]
    by_count = X["item_id"].value_counts()
    assert answers[7][0][1] == pytest.approx(by_count.max() / len(X))


def test_the_example_serves_user_features(with_features):
    people = [
        {"age": 33.5, "job": "nurse", "likes": ["wood", "sea", "sky"], "vip": 1},
        {"age": None, "job": "never heard of", "likes": []},
        {"age": 58.0, "job": None, "likes": ["sea"], "vip": True, "taste": [0.5, 1, None]},
        {"age": 40.0, "job": "pilot", "likes": None, "vip": 0.0, "taste": [0.5, 1, -2]},
    ]
    people = [{"vip": None, "taste": None} | person for person in people]
    asked = [["3", "1"], ["3", "1"], ["2"], []]
    answers = checked_answers(with_features, asked, k=5, users=people)
    without_features = checked_answers(with_features, asked, k=5)
    assert answers[1] == without_features[1]  # has no known value
    assert answers[0] != without_features[0]
    assert answers[3] != without_features[3]
    known = USERS.drop(columns="user_id").replace({np.nan: None}).to_dict("records")
    again = with_features.server.recommend(with_features.histories, 5, known)
    ids, _ = with_features.rec.recommend(k=5, output="arrays")
    assert [[item for item, _ in row] for row in again] == ids.tolist()


def test_the_example_needs_neither_torch_nor_skmind(with_features):
    missing = ("torch", "skmind", "pandas", "sklearn", "scipy")
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({missing}));"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    )
    asked = [["3", "1"], []]
    command = [sys.executable, "-c", code, SERVER, with_features.folder, json.dumps(asked)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answer = [[tuple(pair) for pair in json.loads(line)] for line in output.splitlines()]
    assert answer == with_features.server.recommend(asked)


def test_a_history_longer_than_max_history_is_rejected(with_features):
    long = {name: value[:1] for name, value in inputs(with_features).items()}
    long |= {"history": np.zeros((1, 7), dtype=np.int64), "lengths": np.array([7])}
    with pytest.raises(Exception, match="out of data bounds, idx=6"):
        with_features.tower.run(None, long)


@pytest.mark.parametrize(("factor", "error"), [(-1, r"[012]\.\d+"), (np.nan, "nan")])
def test_a_graph_that_disagrees_is_not_written(monkeypatch, with_features, tmp_path, factor, error):
    def write(tower, folder, _):
        shutil.copy(with_features.folder / "user_tower.onnx", folder)
        np.save(folder / "item_vectors.npy", np.float32(factor) * tower.item_vectors.numpy())

    monkeypatch.setattr(onnx, "_write_graph", write)
    with pytest.raises(ExportError, match=rf"by {error} for histories of shape \(1, 1\), but at"):
        with_features.rec.export_onnx(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


WRONG_ANSWERS = {
    "of the longest histories": lambda history, lengths: lengths == 6,
    "of short histories": lambda history, lengths: lengths == 3,
    "without a history": lambda history, lengths: lengths == 0,
    "of large batches": lambda history, lengths: np.full(len(history), len(history) > 2),
    "of single histories": lambda history, lengths: np.full(len(history), len(history) == 1),
}


@pytest.mark.parametrize("rows", WRONG_ANSWERS)
@pytest.mark.parametrize("output", [0, 1])
def test_a_graph_that_is_wrong_for_a_few_histories_is_not_written(
    monkeypatch, with_features, tmp_path, rows, output
):
    class WrongSession:
        def __init__(self, path):
            pass

        def run(self, names, inputs):
            outputs = with_features.tower.run(names, inputs)
            is_wrong = WRONG_ANSWERS[rows](inputs["history"], inputs["lengths"])
            outputs[output] = outputs[output].copy()
            outputs[output][is_wrong] = 1 - outputs[output][is_wrong]
            return outputs

    def write(tower, folder, _):
        shutil.copy(with_features.folder / "user_tower.onnx", folder)

    monkeypatch.setattr(onnx, "_write_graph", write)
    monkeypatch.setattr(onnxruntime, "InferenceSession", WrongSession)
    # the compared histories don't fit into memory together
    monkeypatch.setattr(onnx, "blocks", lambda n, L: np.array_split(np.arange(n), -(-n // 100)))
    with pytest.raises(ExportError, match="differs from the model by .*nothing was written"):
        with_features.rec.export_onnx(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(with_features):
    with pytest.raises(InvalidInputError, match="path='.*features' exists; remove it or name a"):
        with_features.rec.export_onnx(str(with_features.folder))


def test_a_directory_that_can_not_be_written_is_named(with_features, tmp_path):
    with pytest.raises(ModelWriteError, match="not be exported to '.*models/new': .*choose a new"):
        with_features.rec.export_onnx(tmp_path / "models" / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "odd", [("b", 1), ("b", "a\0"), (b"b", b"a"), pd.date_range("2020", periods=2)]
)
def test_ids_that_need_pickle_are_rejected(tmp_path, odd):
    table = pd.DataFrame({"user_id": [1, 1], "item_id": odd, "timestamp": [1, 2]})
    rec = MINDRecommender(**SMALL).fit(table)
    with pytest.raises(InvalidInputError, match="item ids must be numbers or text to be exported"):
        rec.export_onnx(tmp_path / "model")


@pytest.mark.parametrize("odd", [pd.date_range("2020", periods=40), [b"x", b"y"] * 20])
def test_features_that_json_cannot_hold_are_rejected(tmp_path, odd):
    rec = MINDRecommender(**SMALL).fit(X, users=USERS[["user_id"]].assign(since=odd))
    with pytest.raises(InvalidInputError, match="user feature 'since' must hold numbers or text"):
        rec.export_onnx(tmp_path / "model")


def test_a_missing_library_is_named(monkeypatch, tmp_path, with_features):
    with pytest.raises(NotFittedError):
        MINDRecommender().export_onnx(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"needs onnxruntime and .*pip install skmind\[onnx\]"):
        with_features.rec.export_onnx(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
