"""Fitted recommender → manifest and model card; manifest → the arrays that a model must have."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import (
    InvalidParameterError,
    validate_parameter_constraints,
)

from ..data.prepare import KINDS_OF_TIMES, Schema, check_distinct_roles
from ..data.ties import TIE_ORDERS
from ..exceptions import InvalidInputError, ModelFileError
from ..nn.network import MINDNet, NetConfig, check_sizes
from .schema import (
    anything,
    boolean,
    column,
    integer,
    list_of,
    mapping_of,
    number,
    option,
    optional,
    record,
    scalar,
    shown,
    text,
)
from .store import (
    FILES,
    MANIFEST_FILE,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    STORABLE_DTYPES,
    check_files,
)

MODEL_FORMAT = 1  # docs/guide/persistence.md says when it changes
RECORDED_LIBRARIES = ("skmind", "numpy", "pandas", "scikit-learn", "scipy", "torch")
SIDES = ("user", "item")
LATER_WEIGHTS = ("state_others",)  # earlier models lack them; see `FittedModel.from_arrays`
UNSAVED_PARAMETERS = ("checkpoint_dir",)  # only useful on the machine that fits
SCALAR_TYPES = (str, int, float, bool)
SIZE_LIMIT = 2**31  # sizes and seeds must be smaller
MIN_EFFORT = 1e-6  # far outside of what the calibration of an index finds
MAX_EFFORT = 1e6
MIN_TEMPERATURE = 1e-10  # as of the estimator's parameter
MAX_TEMPERATURE = 1e10
MAX_CARD_BYTES = 2 * MAX_MANIFEST_BYTES  # it repeats parts of the manifest
INDEX_FILE = "index.ann"
CARD_FILE = "README.md"
MAX_PARTS = 1024  # processes of a fit that divided the users
PART_TYPES = {"users": "n_users", "interactions.times": "n_interactions"}  # equal in all parts

# The kinds of all values of the manifest. `check_manifest` also compares sizes with the legal
# values of the estimator's parameters.
COUNT = integer(1, SIZE_LIMIT - 1)
EPOCH = record(
    {
        "epoch": COUNT,
        "loss": number(),
        "seconds": number(0),
        "samples_per_second": number(0),
        "validation_ndcg": optional(number()),
    }
)
ATTRIBUTES = {  # attributes of the estimator, stored unchanged
    "history_": list_of(EPOCH),
    "n_epochs_": integer(0, SIZE_LIMIT - 1),
    "n_features_in_": COUNT,
    "feature_names_in_": optional(list_of(text)),
}
USER_SIZES = {
    "n_users": integer(0, SIZE_LIMIT - 1),
    "n_interactions": integer(0, MAX_FILE_BYTES),
    "n_user_values": integer(0, MAX_FILE_BYTES),
}
FEATURES = list_of(
    record(
        {
            "name": column,
            "kind": option("category", "multiple", "number", "vector"),
            "width": COUNT,
        }
    )
)
MANIFEST = record(
    {
        "format": integer(MODEL_FORMAT, MODEL_FORMAT),
        "class": text,
        "versions": mapping_of(text),
        "parameters": mapping_of(anything),
        "attributes": record(ATTRIBUTES),
        "schema": record(
            {
                "user": column,
                "item": column,
                "time": optional(column),
                "user_features": optional(list_of(column)),
                "item_features": optional(list_of(column)),
                "tie_order": optional(option(*TIE_ORDERS)),
                "weight": optional(column),
                "time_kind": optional(option("none", *KINDS_OF_TIMES)),
                "title": optional(column),
            }
        ),
        "config": record(
            {
                f.name: {"int": integer(0, SIZE_LIMIT - 1), "bool": boolean}[str(f.type)]
                for f in fields(NetConfig)
            }
            | {"n_items": COUNT, "repeats": optional(boolean)}
        ),
        "seed": integer(0, SIZE_LIMIT - 1),
        "plan": record(
            {
                "kind": option("exact", "annoy", "faiss"),
                "n_trees": COUNT,
                "search_k": optional(COUNT),
                "seed": integer(0, SIZE_LIMIT - 1),
                "effort": optional(number(MIN_EFFORT, MAX_EFFORT)),
                "temperature": optional(number(MIN_TEMPERATURE, MAX_TEMPERATURE)),
            }
        ),
        "sizes": record(USER_SIZES | {"n_item_values": integer(0, MAX_FILE_BYTES)}),
        "parts": optional(list_of(record(USER_SIZES))),
        "user_features": FEATURES,
        "item_features": FEATURES,
        "files": FILES,
    }
)
FLOAT32 = frozenset({"<f4"})
FLOAT64 = frozenset({"<f8"})
INT32 = frozenset({"<i4"})
INT64 = frozenset({"<i8"})
TIME_DTYPES = frozenset({"<i8", "<f8", "<M8[ns]"})


class ArraySpec(NamedTuple):
    """Valid dtypes and shape of an array of a model.

    Attributes
    ----------
    dtypes : frozenset of str
        Valid dtypes.
    shape : tuple of int
    may_be_objects : bool
        Whether it may instead be an array of objects (text or mixed scalars), stored as a JSON
        list.
    is_optional : bool
    """

    dtypes: frozenset[str]
    shape: tuple[int, ...]
    may_be_objects: bool = False
    is_optional: bool = False


# ------------------------------------------------------------------ the arrays of a model


def part_sizes(manifest: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return the sizes of each part of the users, by the prefix of the names of its arrays.

    The users of most models are one part, without a prefix.
    """
    parts = manifest.get("parts")
    if parts is None:
        return {"": manifest["sizes"]}
    return {f"part.{i}.": sizes for i, sizes in enumerate(parts)}


def array_specs(manifest: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """Return the specification of every array of the model that a manifest describes.

    The names are the names in `FittedModel.to_arrays`, with the prefix of the part for the arrays
    that have a row per user, and ``item_embeddings``.
    """
    config = NetConfig(**manifest["config"])
    n_items = config.n_items
    specs = {
        f"{prefix}{name}": spec
        for prefix, sizes in part_sizes(manifest).items()
        for name, spec in user_specs(manifest, sizes).items()
    }
    specs |= {
        "items": ArraySpec(STORABLE_DTYPES, (n_items,), may_be_objects=True),
        "item_counts": ArraySpec(INT64, (n_items,), is_optional=manifest.get("parts") is None),
        "item_embeddings": ArraySpec(FLOAT32, (n_items, config.embedding_dim)),
    }
    if manifest["schema"].get("title") is not None:
        specs["item_titles"] = ArraySpec(frozenset(), (n_items,), may_be_objects=True)
    widths = {}
    for side in SIDES:
        features = manifest[f"{side}_features"]
        widths[side] = sum(feature["width"] for feature in features)
        for i, feature in enumerate(features):
            is_number = feature["kind"] in ("number", "vector")
            specs[f"{side}_features.vocabulary.{i}"] = ArraySpec(
                FLOAT64 if is_number else STORABLE_DTYPES,
                (feature["width"],),
                may_be_objects=not is_number,
            )
    if manifest["item_features"]:
        n_values = manifest["sizes"]["n_item_values"]
        specs |= _feature_specs("item_features", n_items, n_values)
    shapes = MINDNet.weight_shapes(config, widths["item"], widths["user"])
    for name, shape in shapes.items():
        is_optional = name in LATER_WEIGHTS
        specs[f"weights.{name}"] = ArraySpec(FLOAT32, shape, is_optional=is_optional)
    return specs


def user_specs(manifest: Mapping[str, Any], sizes: Mapping[str, int]) -> dict[str, ArraySpec]:
    """Return the specification of the arrays that have a row per user, for users of these sizes."""
    n_users = sizes["n_users"]
    n_events = sizes["n_interactions"]
    specs = {
        "users": ArraySpec(STORABLE_DTYPES, (n_users,), may_be_objects=True),
        "interactions.items": ArraySpec(INT32, (n_events,)),
        "interactions.offsets": ArraySpec(INT64, (n_users + 1,)),
        "interactions.times": ArraySpec(TIME_DTYPES, (n_events,), is_optional=True),
    }
    if manifest["user_features"]:
        specs |= _feature_specs("user_features", n_users, sizes["n_user_values"])
    return specs


def _feature_specs(prefix: str, n_rows: int, n_values: int) -> dict[str, ArraySpec]:
    return {
        f"{prefix}.indptr": ArraySpec(INT32 | INT64, (n_rows + 1,)),
        f"{prefix}.indices": ArraySpec(INT32 | INT64, (n_values,)),
        f"{prefix}.data": ArraySpec(FLOAT32, (n_values,)),
        f"{prefix}.presence": ArraySpec(FLOAT32, (n_rows,)),
    }


# ------------------------------------------------------------------ manifest and model card


def manifest_of(estimator: Any) -> dict[str, Any]:
    """Return the manifest of a fitted estimator without its entry ``files``.

    Raises
    ------
    InvalidInputError
        If a parameter has a value that JSON can't hold.
    """
    model = estimator._model
    parameters = estimator.get_params(deep=False)
    manifest = {
        "format": MODEL_FORMAT,
        "class": type(estimator).__name__,
        "versions": {"python": platform.python_version()}
        | {library: version(library) for library in RECORDED_LIBRARIES},
        "parameters": {
            name: value for name, value in parameters.items() if name not in UNSAVED_PARAMETERS
        },
        "attributes": {name: getattr(estimator, name, None) for name in ATTRIBUTES},
        "schema": model.schema._asdict(),
        "config": asdict(model.config),
        "seed": model.seed,
        "plan": model.plan._asdict(),
        "sizes": {
            "n_users": len(model.users),
            "n_interactions": len(model.interactions.items),
            "n_user_values": model.prepared.user_features.matrix.nnz,
            "n_item_values": model.prepared.item_features.matrix.nnz,
        },
    }
    for side in SIDES:
        encoder = getattr(model.prepared, f"{side}_features").encoder
        manifest[f"{side}_features"] = [
            {"name": feature.name, "kind": feature.kind, "width": feature.width}
            for feature in encoder.features
        ]
    return {key: _to_json_value(value, key) for key, value in manifest.items()}


def join_manifests(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of a model from those of its parts, which differ in their users."""
    parts = [{key: manifest["sizes"][key] for key in USER_SIZES} for manifest in manifests]
    totals = {key: sum(sizes[key] for sizes in parts) for key in USER_SIZES}
    return manifests[0] | {"sizes": manifests[0]["sizes"] | totals, "parts": parts}


def _to_json_value(value: Any, name: str) -> Any:
    """Convert ``value`` to types that JSON can hold; ``name`` is for the error message."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _to_json_value(part, f"{name} {key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_value(part, name) for part in value]
    if value is None or isinstance(value, SCALAR_TYPES):
        return value
    raise InvalidInputError(
        f"{name} is {value!r}, which can't be saved; use set_params() to replace it by numbers, "
        "text, lists or None; this doesn't change what the model has learned"
    )


def model_card(manifest: Mapping[str, Any]) -> str:
    """Return a README in Markdown: what the model is, its data, its parameters and its scores."""
    config = manifest["config"]
    sizes = manifest["sizes"]
    history = manifest["attributes"]["history_"]
    last = history[-1] if history else {}
    rows: list[tuple[str, Any]] = [
        ("users", sizes["n_users"]),
        ("items", config["n_items"]),
        ("interactions", sizes["n_interactions"]),
    ]
    if manifest.get("parts") is not None:
        rows.insert(1, ("parts of the users", len(manifest["parts"])))
    for side in SIDES:
        names = [str(feature["name"]) for feature in manifest[f"{side}_features"]]
        rows.append((f"{side} features", ", ".join(names) or "none"))
    rows.append(("epochs", manifest["attributes"]["n_epochs_"]))
    rows += [(key, f"{value:.4g}") for key, value in last.items() if isinstance(value, float)]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows)
    parameters = manifest["parameters"]
    settings = "".join(f"- `{name}={value!r}`\n" for name, value in parameters.items())
    return CARD_TEMPLATE.format(
        cls=manifest["class"],
        version=manifest["versions"]["skmind"],
        table=table,
        settings=settings,
    )


CARD_TEMPLATE = """# {cls}

A multi-interest recommender (MIND, Li et al., CIKM 2019), fitted and saved by skmind {version}.
It computes several interest vectors per user and recommends the items that are nearest to one of
them.

    from skmind import {cls}
    rec = {cls}.load("this directory")
    rec.recommend(k=10)

The model contains the ids and histories of the users that it was fitted on. Protect it as you
protect these data.

## Data and training

| | |
| --- | --- |
{table}
Loss and metrics are from the last epoch.

## Parameters

{settings}"""


# ------------------------------------------------------------------ checks before loading


def check_manifest(manifest: dict[str, Any], cls: Any) -> None:
    """Check everything in the manifest that does not need the arrays.

    Parameters
    ----------
    manifest : dict
    cls : class
        The estimator; its table of legal parameter values also bounds the sizes of the network and
        of the index.

    Raises
    ------
    ModelFileError
        If the format or the class differs, a key is unknown or missing, or a value is invalid.
    """
    if type(manifest.get("format")) is not int or manifest["format"] != MODEL_FORMAT:
        raise ModelFileError(
            f"the model has format {shown(manifest.get('format'))}, but skmind "
            f"{version('skmind')} reads format {MODEL_FORMAT}; load it with the version that saved "
            f"it: {shown(manifest.get('versions'))}"
        )
    MANIFEST(manifest, MANIFEST_FILE)
    if manifest["class"] != cls.__name__:
        raise ModelFileError(
            f"the model is a {shown(manifest['class'])}; this class only loads {cls.__name__}"
        )
    try:
        _check_parameters(manifest["parameters"], cls)
        _check_network_and_index(manifest, cls)
        check_distinct_roles(schema_of(manifest))
    except (InvalidInputError, InvalidParameterError) as error:
        raise ModelFileError(f"{MANIFEST_FILE} is invalid: {error}") from error
    for side in SIDES:
        _check_features(manifest[f"{side}_features"], side)
    if manifest.get("parts") is not None:
        _check_parts(manifest["parts"], manifest["sizes"])
    names = manifest["attributes"].get("feature_names_in_")
    if names is not None and len(names) != manifest["attributes"]["n_features_in_"]:
        raise ModelFileError(
            f"{MANIFEST_FILE} has {len(names)} names in feature_names_in_, but n_features_in_ is "
            f"{manifest['attributes']['n_features_in_']}"
        )
    check_files(manifest["files"])


def _check_parameters(parameters: Mapping[str, Any], cls: Any) -> None:
    """Check the names of the parameters, and that the values are of types that are saved."""
    unsaved = sorted(parameters.keys() & set(UNSAVED_PARAMETERS))
    if unsaved:
        raise ModelFileError(
            f"{MANIFEST_FILE} has the parameter {', '.join(unsaved)}, which is never saved"
        )
    unknown = sorted(parameters.keys() - set(cls._get_param_names()))
    if unknown:
        raise ModelFileError(f"{cls.__name__} has no parameters {shown(unknown)}")
    for name, value in parameters.items():
        kind = list_of(column) if type(value) is list else scalar
        kind(value, f"the parameter {name} in {MANIFEST_FILE}")


def _check_network_and_index(manifest: Mapping[str, Any], cls: Any) -> None:
    """Check the sizes of the network and the plan of the index as parameters of the estimator."""
    constraints = cls._parameter_constraints
    config = manifest["config"]
    plan = manifest["plan"]
    values = config | {"n_trees": plan["n_trees"], "search_k": plan.get("search_k")}
    names = values.keys() & constraints.keys()
    validate_parameter_constraints(
        {name: constraints[name] for name in names},
        {name: values[name] for name in names},
        cls.__name__,
    )
    check_sizes(NetConfig(**config))


def _check_features(features: list[dict[str, Any]], side: str) -> None:
    """Check that the features of one side have different names and possible widths."""
    where = f"{side}_features in {MANIFEST_FILE}"
    names = [feature["name"] for feature in features]
    if len(set(names)) < len(names):
        raise ModelFileError(f"{where} has a name twice: {shown(names)}")
    for feature in features:
        width = feature["width"]
        is_possible = {"number": width == 2, "vector": width % 2 == 0}.get(feature["kind"], True)
        if not is_possible:
            raise ModelFileError(
                f"{where} gives {shown(feature['name'])} the width {width}, but each number of a "
                f"{feature['kind']} needs a mean and a standard deviation"
            )
    if sum(feature["width"] for feature in features) >= SIZE_LIMIT:
        raise ModelFileError(f"the widths in {where} add up to {SIZE_LIMIT} or more")


def _check_parts(parts: list[dict[str, int]], sizes: Mapping[str, int]) -> None:
    """Check that there are not too many parts, and that their sizes add up to those of all."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise ModelFileError(
            f"{MANIFEST_FILE} divides the users into {len(parts)} parts, but 1 to {MAX_PARTS} are "
            "valid"
        )
    for key in USER_SIZES:
        total = sum(part[key] for part in parts)
        if total != sizes[key]:
            raise ModelFileError(
                f"{key} of the parts in {MANIFEST_FILE} add up to {total}, not to {sizes[key]}"
            )


def schema_of(manifest: Mapping[str, Any]) -> Schema:
    """Return the schema that `manifest_of` stored."""
    schema: dict[str, Any] = {role: manifest["schema"].get(role) for role in Schema._fields}
    for role in ("user_features", "item_features"):
        if schema[role] is not None:
            schema[role] = tuple(schema[role])
    return Schema(**schema)


def current_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a saved model under their current names."""
    current = dict(parameters)
    if "dropout" in current and "item_dropout" not in current:
        current["item_dropout"] = current.pop("dropout")
    if "loss" not in current and current.get("label_attention") == "mixture":
        current["label_attention"] = None
    return current


def array_files(manifest: Mapping[str, Any], specs: Mapping[str, ArraySpec]) -> dict[str, str]:
    """Return the file name of each array after comparing the files with the specifications.

    Parameters
    ----------
    manifest : mapping
        Checked by `check_manifest`.
    specs : mapping of str to ArraySpec

    Raises
    ------
    ModelFileError
        If a file is missing or unknown, or a type or shape differs from its specification.
    """
    names = {}
    files = manifest["files"]
    for name, spec in specs.items():
        file = f"{name}.npy"
        if file in files and spec.dtypes:
            dtype = files[file]["dtype"]
            shape = tuple(files[file]["shape"])
            if dtype not in spec.dtypes or shape != spec.shape:
                raise ModelFileError(
                    f"{file} has type {dtype} and shape {shape}, but "
                    f"{', '.join(sorted(spec.dtypes))} and {spec.shape} are expected"
                )
        elif spec.may_be_objects:
            file = f"{name}.json"
        elif spec.is_optional:
            continue
        names[name] = file
    required = {*names.values(), CARD_FILE}
    optional = {INDEX_FILE}
    if not required <= files.keys() <= required | optional:
        raise ModelFileError(
            f"{MANIFEST_FILE} lacks the files {sorted(required - files.keys())} and has the "
            f"unknown ones {sorted(files.keys() - required - optional)}"
        )
    _check_times(manifest, names)
    _check_part_types(manifest, names)
    for name, max_bytes in {
        CARD_FILE: MAX_CARD_BYTES,
        INDEX_FILE: _max_index_bytes(manifest),
    }.items():
        if name in files and files[name]["bytes"] > max_bytes:
            raise ModelFileError(
                f"{name} has {files[name]['bytes']} bytes, but in a model like this one it has at "
                f"most {max_bytes}"
            )
    return names


def _check_times(manifest: Mapping[str, Any], file_of: Mapping[str, str]) -> None:
    """Check that the interactions of all parts have times if they must, and none otherwise."""
    for prefix in part_sizes(manifest):
        has_times = f"{prefix}interactions.times" in file_of
        if has_times != _needs_times(manifest):
            raise ModelFileError(
                f"{MANIFEST_FILE} has the time column {shown(manifest['schema'].get('time'))}, but "
                f"{'has' if has_times else 'lacks'} the file {prefix}interactions.times.npy"
            )


def _check_part_types(manifest: Mapping[str, Any], file_of: Mapping[str, str]) -> None:
    """Check that all parts, but for those without rows, have ids and times of one type."""
    for name, size in PART_TYPES.items():
        types = {
            manifest["files"][file_of[f"{prefix}{name}"]]["dtype"] or "a list": prefix
            for prefix, sizes in part_sizes(manifest).items()
            if sizes[size] and f"{prefix}{name}" in file_of
        }
        if len(types) > 1:
            shown_types = ", ".join(f"{prefix}{name} {type_}" for type_, prefix in types.items())
            raise ModelFileError(
                f"the parts of the users must have values of one type, but have {shown_types}"
            )


def _needs_times(manifest: Mapping[str, Any]) -> bool:
    """Return whether the interactions have times: not in an array of two columns."""
    time = manifest["schema"].get("time")
    attributes = manifest["attributes"]
    is_unnamed = attributes.get("feature_names_in_") is None
    has_two_columns = is_unnamed and attributes["n_features_in_"] == 2
    return time is not None and not (has_two_columns and isinstance(time, str))


def _max_index_bytes(manifest: Mapping[str, Any]) -> int:
    """Return an upper bound of the size of an Annoy index."""
    config = manifest["config"]
    n_nodes = config["n_items"] + manifest["plan"]["n_trees"] * (2 * config["n_items"] + 2)
    return n_nodes * (4 * config["embedding_dim"] + 64)
