"""Fitted recommender ↔ the facts and arrays that are saved, checked so that no file is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .._model import FittedModel, Snapshot
from ..data.features import Feature, FeatureEncoder, Features
from ..data.ids import IdEncoder
from ..data.interactions import Interactions
from ..data.prepare import Prepared, Schema
from ..data.ragged import count
from ..data.tables import scalar_array
from ..exceptions import InvalidInputError, ModelFileError
from ..nn.network import NetConfig
from ..retrieval.annoy import AnnoyIndex
from ..retrieval.calibration import Plan
from .manifest import (
    CARD,
    INDEX,
    SCALARS,
    card,
    check_facts,
    check_names,
    current_parameters,
    facts_of,
    saved_arrays,
)
from .store import DTYPES, file_name, parse, read_files, read_manifest, write

# ------------------------------------------------------------------ saving


def save(estimator: Any, path: Any, index: bool) -> str:
    """Write a fitted estimator; see `FittedRecommender.save`."""
    facts = facts_of(estimator)
    contents: dict[str, np.ndarray | bytes] = {CARD: card(facts).encode()}
    for name, field in saved_arrays(facts).items():
        array = field.get(estimator)
        if array is None:
            continue
        dtype = array.dtype.newbyteorder("<").str
        is_text = array.dtype == object and field.dtypes is DTYPES
        if array.shape != field.shape or not (is_text or dtype in field.dtypes):
            raise InvalidInputError(
                f"{name} is an array of type {dtype} and shape {array.shape}, but that of a fitted "
                f"model is of type {', '.join(sorted(field.dtypes))} and shape {field.shape}; fit "
                "again"
            )
        if is_text:
            contents[f"{name}.json"] = _text_of(array, name)
        else:
            contents[f"{name}.npy"] = array
    if index:
        contents[INDEX] = _index_bytes(estimator._model.plan.build(estimator.item_embeddings_))
    return write(Path(path), facts, contents)


def _text_of(values: np.ndarray, name: str) -> bytes:
    """Objects as a JSON list of text, numbers and truth values."""

    def scalar(value: Any) -> Any:
        if isinstance(value, np.generic) and isinstance(value.item(), SCALARS):
            return value.item()
        raise InvalidInputError(
            f"the {name} hold {value!r} of type {type(value).__name__}, which is not saved; make "
            "them text or numbers and fit again, or pickle the model"
        )

    scalar_array(values, name)  # says what is wrong with a text
    return json.dumps(values.tolist(), ensure_ascii=False, default=scalar).encode()


def _index_bytes(index: Any) -> bytes:
    """A freshly built index as the file that its library maps."""
    if not isinstance(index, AnnoyIndex):
        raise InvalidInputError(
            "index=True saves an Annoy index, but this model searches exactly and has none; leave "
            "it out, or fit with index='annoy'"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / INDEX
        index.save(path)
        return path.read_bytes()


# ------------------------------------------------------------------ loading


def load(cls: Any, path: Any, manifest_sha256: str | None, mmap: bool) -> Any:
    """Read what `save` wrote; see `FittedRecommender.load`."""
    path = Path(path)
    facts = read_manifest(path, manifest_sha256)
    check_facts(facts, cls)
    files = facts["files"]
    try:
        expected = saved_arrays(facts)
        names = check_names(files, expected)
        contents = read_files(path, files, mmap)
        arrays = {
            name: contents[file] if file.endswith(".npy") else _objects(contents[file], file)
            for name, file in names.items()
        }
        for name, array in arrays.items():
            _check_values(array, names[name], expected[name].shape)
        rec = _build(cls, facts, arrays)
        if INDEX in files and manifest_sha256 is not None:
            file = path / file_name(INDEX, files[INDEX]["sha256"])
            rec._snapshot.index = rec._model.plan.build(rec.item_embeddings_, file)
        rec._snapshot.network(rec.device)
        rec._snapshot.search_index()
    except ModelFileError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} holds no legal model: {error}") from error
    return rec


def _objects(raw: np.ndarray, file: str) -> np.ndarray:
    """What `_text_of` wrote."""
    values = parse(raw, file)
    if type(values) is not list or not {type(value) for value in values} <= set(SCALARS):
        raise ModelFileError(f"{file} is no list of text, numbers and truth values")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    scalar_array(array, file)
    return array


def _check_values(array: np.ndarray, file: str, shape: tuple[int, ...]) -> None:
    """Whether there are as many values as expected, and none is missing or infinite."""
    if array.shape != shape:
        raise ModelFileError(f"{file} has {len(array)} values, not {shape[0]}")
    if array.dtype.kind == "f":  # nan is the least and the greatest; no mask of all is needed
        finite = bool(np.isfinite([array.min(initial=0), array.max(initial=0)]).all())
    else:
        finite = array.dtype.kind not in "mMO" or not pd.isna(array).any()
    if not finite:
        raise ModelFileError(f"{file} holds nan, infinity or missing values")


def _build(cls: Any, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The estimator; whatever is illegal in itself raises."""
    rec = cls(**current_parameters(facts["parameters"]))
    rec._validate_params()
    for name, value in facts["attributes"].items():
        if value is not None:
            is_names = name == "feature_names_in_"
            setattr(rec, name, np.array(value, dtype=object) if is_names else value)
    config = NetConfig(**facts["config"])
    users, items = IdEncoder(arrays["users"], "user"), IdEncoder(arrays["items"], "item")
    interactions = _interactions(arrays, len(items))
    prepared = Prepared(
        users,
        items,
        interactions,
        count(interactions.items, len(items)),
        _features("user", len(users), facts, arrays),
        _features("item", len(items), facts, arrays),
    )
    schema = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in facts["schema"].items()
    }
    model = FittedModel.start(prepared, Schema(**schema), config, facts["seed"])
    model.weights = {
        name.removeprefix("weights."): array
        for name, array in arrays.items()
        if name.startswith("weights.")
    }
    model.plan = Plan(**facts["plan"])
    rec._snapshot = Snapshot(model, arrays["item_embeddings"])
    return rec


def _interactions(arrays: Mapping[str, np.ndarray], n_items: int) -> Interactions:
    """The histories: offsets that divide all of them, and items that are known."""
    items, offsets = arrays["interactions.items"], arrays["interactions.offsets"]
    if offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
        raise ModelFileError(f"interactions.offsets don't divide {len(items)} interactions")
    if items.min(initial=0) < 0 or items.max(initial=0) >= n_items:
        raise ModelFileError(f"interactions.items has codes that none of the {n_items} items has")
    return Interactions(items, offsets, arrays.get("interactions.times"))


def _features(
    side: str, n_rows: int, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Features:
    """The features of the users or items: values that differ, and a matrix of their width."""
    name, features = f"{side}_features", []
    for i, fact in enumerate(facts[name]):
        values = arrays[f"{name}.vocabulary.{i}"]
        if fact["kind"] != "number":
            IdEncoder(values, f"value of {fact['name']!r},")
        elif len(values) != 2 or values[1] <= 0:
            raise ModelFileError(f"the feature {fact['name']!r} has no mean and deviation")
        features.append(Feature(fact["name"], fact["kind"], values))
    encoder = FeatureEncoder(features)
    if not features:
        return encoder.transform({}, n_rows)
    parts = [arrays[f"{name}.{part}"] for part in ("data", "indices", "indptr")]
    matrix = sparse.csr_matrix(tuple(parts), shape=(n_rows, encoder.width))
    matrix.check_format(full_check=True)
    presence = arrays[f"{name}.presence"]
    if presence.min(initial=0) < 0 or presence.max(initial=0) > len(features):
        raise ModelFileError(f"{name}.presence is not from 0 to {len(features)}")
    return Features(encoder, matrix, presence)
