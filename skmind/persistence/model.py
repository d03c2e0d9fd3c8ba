"""Fitted recommender ↔ saved model; loading checks all content before using it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .._model import FittedModel, Snapshot
from ..data.tables import scalar_array
from ..exceptions import DeviceFallbackWarning, InvalidInputError, ModelFileError
from ..nn.device import resolve_device
from ..nn.network import NetConfig
from ..retrieval.annoy import AnnoyIndex
from ..retrieval.calibration import Plan
from .arrays import check_arrays
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
    schema_of,
)
from .store import check_path, file_name, parse, read_files, read_manifest, write

# ------------------------------------------------------------------ saving


def save(estimator: Any, path: Any, index: bool) -> str:
    """Write a fitted estimator; see `FittedRecommender.save`."""
    path = check_path(path)
    manifest = manifest_of(estimator)
    _check_loadable(lambda: _check_parameters(estimator, manifest))
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
    _check_loadable(lambda: check_arrays(manifest, arrays))
    if index:
        built_index = estimator._model.plan.build(estimator.item_embeddings_)
        contents[INDEX_FILE] = _index_bytes(built_index)
    return write(path, manifest, contents)


def _check_parameters(estimator: Any, manifest: Mapping[str, Any]) -> None:
    """Check what `load` checks of the manifest; parameters may have changed since `fit`."""
    check_manifest({**manifest, "files": {}}, type(estimator))
    _unfitted(type(estimator), manifest["parameters"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceFallbackWarning)
        resolve_device(manifest["parameters"]["device"], fall_back=True)


def _check_loadable(check: Callable[[], None]) -> None:
    """Raise if a check of `load` would fail."""
    try:
        check()
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
    path = check_path(path)
    manifest = read_manifest(path, manifest_sha256)
    check_manifest(manifest, cls)
    files = manifest["files"]
    try:
        specs = array_specs(manifest)
        file_of = array_files(manifest, specs)
        contents = read_files(path, files, mmap)
        arrays = {}
        for name, file in file_of.items():
            content = contents[file]
            arrays[name] = content if file.endswith(".npy") else _from_json_list(content, file)
        check_arrays(manifest, arrays)
        estimator = _build_estimator(cls, manifest, arrays)
        if INDEX_FILE in files and manifest_sha256 is not None:
            index_path = path / file_name(INDEX_FILE, files[INDEX_FILE]["sha256"])
            plan = estimator._model.plan
            estimator._snapshot.index = plan.build(estimator.item_embeddings_, index_path)
        estimator._snapshot.network(estimator.device)
        estimator._snapshot.search_index()
    except ModelFileError:
        raise
    except MemoryError as error:
        raise ModelFileError(
            f"the model in {str(path)!r} needs more memory than this process can have: {error}; "
            "load it with mmap=True or on a larger machine"
        ) from error
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
    """Rebuild the fitted estimator from a manifest and arrays that were checked."""
    estimator = _unfitted(cls, manifest["parameters"])
    for name, value in manifest["attributes"].items():
        if value is not None:
            is_names = name == "feature_names_in_"
            setattr(estimator, name, np.array(value, dtype=object) if is_names else value)
    model = FittedModel.from_arrays(
        arrays,
        schema_of(manifest),
        NetConfig(**manifest["config"]),
        manifest["seed"],
        Plan(**manifest["plan"]),
        [(feature["name"], feature["kind"]) for feature in manifest["user_features"]],
        [(feature["name"], feature["kind"]) for feature in manifest["item_features"]],
    )
    estimator._snapshot = Snapshot(model, arrays["item_embeddings"])
    return estimator
