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
from ..data.ragged import count
from ..data.tables import scalar_array
from ..exceptions import DeviceFallbackWarning, InvalidInputError, ModelFileError
from ..nn.device import resolve_device
from ..nn.network import NetConfig
from ..nn.processes import Processes
from ..retrieval.annoy import AnnoyIndex
from ..retrieval.calibration import Plan
from .arrays import check_arrays, check_counts
from .manifest import (
    CARD_FILE,
    INDEX_FILE,
    SCALAR_TYPES,
    array_files,
    array_specs,
    check_manifest,
    current_parameters,
    join_manifests,
    manifest_of,
    model_card,
    part_sizes,
    schema_of,
)
from .parts import join_parts, name_part
from .schema import shown
from .store import (
    check_memory,
    check_path,
    entry_of,
    file_name,
    parse,
    read_files,
    read_manifest,
    together,
    write,
)

# ------------------------------------------------------------------ saving


def save(estimator: Any, path: Any, index: bool) -> str:
    """Write a fitted estimator; see `FittedRecommender.save`."""
    processes = _processes(estimator._model.part)
    try:
        with processes.reporting():
            return _save(estimator, check_path(path), index, processes)
    finally:
        processes.close()


def _processes(part: tuple[int, int] | None) -> Processes:
    """Return the processes that write a model with this part of the users."""
    if part is None:
        return Processes()
    processes = Processes.running("save")
    rank, size = part
    if (rank, size) != (processes.rank, processes.size):
        processes.close()
        raise InvalidInputError(
            f"the model has the users of process {rank} of {size} of its fit, but this is process "
            f"{processes.rank} of {processes.size}; call save in all {size} processes of the fit, "
            "before the process group is destroyed"
        )
    return processes


def _save(estimator: Any, path: Path, index: bool, processes: Processes) -> str:
    model = estimator._model
    manifests = together(processes, lambda: manifest_of(estimator), InvalidInputError)
    manifest = manifests[0] if model.part is None else join_manifests(manifests)
    contents: dict[str, np.ndarray | bytes] = {}

    def prepare() -> dict[str, Any]:
        _check_loadable(lambda: _check_parameters(estimator, manifest))
        contents.update(_contents(estimator, manifest))
        if index and processes.is_first:
            contents[INDEX_FILE] = _index_bytes(model.plan.build(estimator.item_embeddings_))
        return {name: entry_of(content) for name, content in contents.items()}

    entries = together(processes, prepare, InvalidInputError)
    files = {name: entry for own in entries for name, entry in own.items()}
    _check_loadable(lambda: array_files({**manifest, "files": files}, array_specs(manifest)))
    return write(path, manifest, contents, processes)


def _contents(estimator: Any, manifest: dict[str, Any]) -> dict[str, np.ndarray | bytes]:
    """Return the content of each file of this process, which has all arrays of one part."""
    model = estimator._model
    arrays = model.to_arrays() | {
        "item_counts": model.prepared.counts,
        "item_embeddings": estimator.item_embeddings_,
    }
    own_arrays = arrays
    contents: dict[str, np.ndarray | bytes] = {}
    is_first = model.part is None or model.part[0] == 0
    if is_first:
        contents[CARD_FILE] = model_card(manifest).encode()
    if model.part is not None:
        arrays = name_part(arrays, manifest, model.part[0])
    for name, spec in array_specs(manifest).items():
        if name not in arrays and (spec.is_optional or name.startswith("part.")):
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
        if not (is_first or name.startswith("part.")):
            continue
        if is_objects:
            contents[f"{name}.json"] = _to_json_list(array, _label(name, manifest))
        else:
            contents[f"{name}.npy"] = array
    _check_loadable(lambda: check_arrays(manifest, arrays))
    _check_loadable(lambda: check_counts(own_arrays, has_all_users=False))
    own_counts = count(model.interactions.items, len(model.items))
    if model.part is None and (model.prepared.counts == own_counts).all():
        del contents["item_counts.npy"]
    return contents


def _check_parameters(estimator: Any, manifest: Mapping[str, Any]) -> None:
    """Check what `load` checks of the manifest; parameters may have changed since `fit`."""
    check_manifest({**manifest, "files": {}}, type(estimator))
    _unfitted(type(estimator), manifest["parameters"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeviceFallbackWarning)
        resolve_device(manifest["parameters"]["device"], fall_back=True)


def _check_loadable(check: Callable[[], Any]) -> None:
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


def load(cls: Any, path: Any, manifest_sha256: str | None, mmap: bool, users: Any) -> Any:
    """Read a model that `save` wrote; see `FittedRecommender.load`."""
    path = check_path(path)
    manifest = read_manifest(path, manifest_sha256)
    check_manifest(manifest, cls)
    prefixes = _prefixes(users, manifest)
    unread = tuple(part_sizes(manifest).keys() - set(prefixes))
    files = {
        name: entry for name, entry in manifest["files"].items() if not name.startswith(unread)
    }
    try:
        specs = array_specs(manifest)
        file_of = array_files(manifest, specs)
        if len(prefixes) > 1:
            check_memory(
                path,
                {name: files[name] for name in files if name.startswith(tuple(prefixes))},
                "load some parts of its users, such as users=[0], or load it on a larger machine",
            )
        contents = read_files(path, files, mmap)
        arrays = {}
        for name, file in file_of.items():
            if file in contents:
                content = contents.pop(file)
                arrays[name] = content if file.endswith(".npy") else _from_json_list(content, file)
        check_arrays(manifest, arrays)
        arrays = join_parts(arrays, prefixes)
        check_counts(arrays, manifest.get("parts") is not None and not unread)
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


def _prefixes(users: Any, manifest: Mapping[str, Any]) -> list[str]:
    """Return the prefixes of the parts of the users that ``users`` selects."""
    prefixes = list(part_sizes(manifest))
    if users is None:
        return prefixes
    numbers = users if isinstance(users, list | tuple | range) else [users]
    is_valid = len(numbers) > 0 and all(
        isinstance(number, int | np.integer)
        and not isinstance(number, bool)
        and 0 <= number < len(prefixes)
        for number in numbers
    )
    if is_valid:
        return [prefixes[number] for number in sorted(set(numbers))]
    if len(prefixes) == 1:
        raise InvalidInputError(
            f"users={shown(users)}, but the users of this model are not divided into parts; leave "
            "users= out"
        )
    raise InvalidInputError(
        f"users={shown(users)} must be the number of a part of the users, from 0 to "
        f"{len(prefixes) - 1}, or a list of such numbers; leave users= out to load all"
    )


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
