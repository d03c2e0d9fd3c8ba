"""Fitted recommender ↔ saved model; loading checks all content before using it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .._model import FittedModel, Snapshot
from ..data.ids import IdEncoder
from ..data.prepare import Schema
from ..data.tables import scalar_array
from ..exceptions import DeviceFallbackWarning, InvalidInputError, ModelFileError
from ..nn.device import resolve_device
from ..nn.network import NetConfig
from ..retrieval.annoy import AnnoyIndex
from ..retrieval.calibration import Plan
from .manifest import (
    CARD_FILE,
    INDEX_FILE,
    SCALAR_TYPES,
    array_files,
    array_specs,
    check_manifest,
    current_parameters,
    manifest_of,
    model_card,
)
from .store import file_name, parse, read_files, read_manifest, write

# ------------------------------------------------------------------ saving


def save(estimator: Any, path: Any, index: bool) -> str:
    """Write a fitted estimator; see `FittedRecommender.save`."""
    manifest = manifest_of(estimator)
    _check_parameters(estimator, manifest["parameters"])
    arrays = estimator._model.to_arrays() | {"item_embeddings": estimator.item_embeddings_}
    contents: dict[str, np.ndarray | bytes] = {CARD_FILE: model_card(manifest).encode()}
    for name, spec in array_specs(manifest).items():
        if spec.is_optional and name not in arrays:
            continue
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<").str
        is_objects = array.dtype == object and spec.may_be_objects
        if array.shape != spec.shape or not (is_objects or dtype in spec.dtypes):
            raise InvalidInputError(
                f"{name} is an array of type {dtype} and shape {array.shape}, but in a fitted "
                f"model it has type {', '.join(sorted(spec.dtypes))} and shape {spec.shape}; fit "
                "again"
            )
        if is_objects:
            contents[f"{name}.json"] = _to_json_list(array, _label(name, manifest))
        else:
            contents[f"{name}.npy"] = array
    if index:
        built_index = estimator._model.plan.build(estimator.item_embeddings_)
        contents[INDEX_FILE] = _index_bytes(built_index)
    return write(Path(path), manifest, contents)


def _check_parameters(estimator: Any, parameters: Mapping[str, Any]) -> None:
    """Check what `load` checks of the parameters, which may have changed since `fit`."""
    try:
        _unfitted(type(estimator), parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeviceFallbackWarning)
            resolve_device(parameters["device"], fall_back=True)
    except ValueError as error:
        raise InvalidInputError(
            f"the model can't be saved, because it could not be loaded: {error}; use set_params() "
            "to set a valid value; this doesn't change what the model has learned"
        ) from error


def _unfitted(cls: Any, parameters: Mapping[str, Any]) -> Any:
    """Return an estimator with the parameters of a saved model, which are checked."""
    estimator = cls(**current_parameters(parameters))
    estimator._validate_params()
    return estimator


def _label(name: str, manifest: Mapping[str, Any]) -> str:
    """Return what an array of objects holds, for messages: its column for a vocabulary."""
    side, _, number = name.partition(".vocabulary.")
    return f"values of feature column {manifest[side][int(number)]['name']!r}" if number else name


def _to_json_list(values: np.ndarray, name: str) -> bytes:
    """Encode an array of text, numbers and booleans as a JSON list."""

    def to_python(value: Any) -> Any:
        if isinstance(value, np.generic) and isinstance(value.item(), SCALAR_TYPES):
            return value.item()
        raise InvalidInputError(
            f"the {name} contain {value!r} of type {type(value).__name__}, which can't be saved; "
            "convert them to text or numbers and fit again, or pickle the model"
        )

    scalar_array(values, name)  # raises for text that is not valid Unicode
    return json.dumps(values.tolist(), ensure_ascii=False, default=to_python).encode()


def _index_bytes(index: Any) -> bytes:
    """Return the content of the file of an Annoy index."""
    if not isinstance(index, AnnoyIndex):
        raise InvalidInputError(
            "index=True saves an Annoy index, but this model has none; leave index= out, or fit "
            "with index='annoy'"
        )
    with TemporaryDirectory() as folder:
        path = Path(folder) / INDEX_FILE
        index.save(path)
        return path.read_bytes()


# ------------------------------------------------------------------ loading


def load(cls: Any, path: Any, manifest_sha256: str | None, mmap: bool) -> Any:
    """Read a model that `save` wrote; see `FittedRecommender.load`."""
    path = Path(path)
    manifest = read_manifest(path, manifest_sha256)
    check_manifest(manifest, cls)
    files = manifest["files"]
    try:
        specs = array_specs(manifest)
        file_of = array_files(files, specs)
        contents = read_files(path, files, mmap)
        arrays = {}
        for name, file in file_of.items():
            content = contents[file]
            arrays[name] = content if file.endswith(".npy") else _from_json_list(content, file)
        for name, array in arrays.items():
            _check_values(array, file_of[name], specs[name].shape)
        estimator = _build_estimator(cls, manifest, arrays)
        if INDEX_FILE in files and manifest_sha256 is not None:
            index_path = path / file_name(INDEX_FILE, files[INDEX_FILE]["sha256"])
            plan = estimator._model.plan
            estimator._snapshot.index = plan.build(estimator.item_embeddings_, index_path)
        estimator._snapshot.network(estimator.device)
        estimator._snapshot.search_index()
    except ModelFileError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(f"{str(path)!r} holds no valid model: {error}") from error
    return estimator


def _from_json_list(raw: np.ndarray, file: str) -> np.ndarray:
    """Decode what `_to_json_list` wrote."""
    values = parse(raw, file)
    if type(values) is not list or not {type(value) for value in values} <= set(SCALAR_TYPES):
        raise ModelFileError(f"{file} is not a list of text, numbers and booleans")
    array = np.empty(len(values), dtype=object)
    array[:] = values
    scalar_array(array, file)  # raises for text that is not valid Unicode
    return array


def _build_estimator(
    cls: Any, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Any:
    """Check what the arrays mean to each other, then rebuild the fitted estimator."""
    estimator = _unfitted(cls, manifest["parameters"])
    for name, value in manifest["attributes"].items():
        if value is not None:
            is_names = name == "feature_names_in_"
            setattr(estimator, name, np.array(value, dtype=object) if is_names else value)
    _check_interactions(arrays)
    _check_features(arrays, "user_features", manifest["user_features"])
    _check_features(arrays, "item_features", manifest["item_features"])
    schema: dict[str, Any] = {
        role: tuple(value) if isinstance(value, list) else value
        for role, value in manifest["schema"].items()
    }
    model = FittedModel.from_arrays(
        arrays,
        Schema(**schema),
        NetConfig(**manifest["config"]),
        manifest["seed"],
        Plan(**manifest["plan"]),
        [(feature["name"], feature["kind"]) for feature in manifest["user_features"]],
        [(feature["name"], feature["kind"]) for feature in manifest["item_features"]],
    )
    estimator._snapshot = Snapshot(model, arrays["item_embeddings"])
    return estimator


def _check_values(array: np.ndarray, file: str, shape: tuple[int, ...]) -> None:
    """Check the number of values, and that no value is missing or infinite."""
    if array.shape != shape:
        raise ModelFileError(f"{file} has {len(array)} values, but the manifest says {shape[0]}")
    if array.dtype.kind == "f":
        # If a value is infinite or nan, the minimum or the maximum is, too. So two values are
        # checked, without a mask of the size of the array.
        is_finite = bool(np.isfinite([array.min(initial=0), array.max(initial=0)]).all())
    else:
        is_finite = array.dtype.kind not in "mMO" or not pd.isna(array).any()
    if not is_finite:
        raise ModelFileError(f"{file} holds nan, infinity or missing values")


def _check_interactions(arrays: Mapping[str, np.ndarray]) -> None:
    """Check that the offsets divide the interactions among the users, and item codes exist."""
    items = arrays["interactions.items"]
    offsets = arrays["interactions.offsets"]
    n_items = len(arrays["items"])
    if offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
        raise ModelFileError(f"interactions.offsets must ascend from 0 to {len(items)}")
    if items.min(initial=0) < 0 or items.max(initial=0) >= n_items:
        raise ModelFileError(f"interactions.items has item codes outside [0, {n_items})")


def _check_features(
    arrays: Mapping[str, np.ndarray], prefix: str, features: list[dict[str, Any]]
) -> None:
    """Check the vocabularies, the sparse matrix and the presence of the features of one side."""
    max_presence = 0
    for i, feature in enumerate(features):
        values = arrays[f"{prefix}.vocabulary.{i}"]
        n_numbers = {"number": 1, "vector": len(values) // 2}.get(feature["kind"], 0)
        max_presence += max(n_numbers, 1)
        if not n_numbers:
            IdEncoder(values, f"value of {feature['name']!r},")  # raises for repeated values
        elif len(values) != 2 * n_numbers or (values[1::2] <= 0).any():
            raise ModelFileError(
                f"the feature {feature['name']!r} needs a mean and a positive standard deviation"
            )
    if not features:
        return
    indptr = arrays[f"{prefix}.indptr"]
    matrix = sparse.csr_matrix(
        (arrays[f"{prefix}.data"], arrays[f"{prefix}.indices"], indptr),
        shape=(len(indptr) - 1, sum(feature["width"] for feature in features)),
    )
    matrix.check_format(full_check=True)
    presence = arrays[f"{prefix}.presence"]
    if presence.min(initial=0) < 0 or presence.max(initial=0) > max_presence:
        raise ModelFileError(f"{prefix}.presence is not from 0 to {max_presence}")
