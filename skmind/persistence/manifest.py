"""Fitted recommender → manifest and model card; manifest → the arrays that a model must have."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np

from ..exceptions import InvalidInputError, ModelFileError
from ..nn.network import MINDNet, NetConfig
from .store import MANIFEST_FILE, STORABLE_DTYPES, check_files, check_keys

MODEL_FORMAT = 1  # docs/persistence.md says when it changes
RECORDED_LIBRARIES = ("skmind", "numpy", "pandas", "scikit-learn", "scipy", "torch")
SIDES = ("user", "item")
INDEX_KINDS = ("exact", "annoy", "faiss")
FEATURE_KINDS = ("category", "multiple", "number", "vector")
UNSAVED_PARAMETERS = ("checkpoint_dir",)  # only useful on the machine that fits
SCALAR_TYPES = (str, int, float, bool)
SIZE_LIMIT = 2**31  # sizes, seeds and numbers of trees must be smaller
INDEX_FILE = "index.ann"
CARD_FILE = "README.md"

# Keys of the manifest and of its sections, with the types of their values. A key may be
# missing if its value may be None. So a later version can add keys and still read the models of
# earlier versions.
MANIFEST_TYPES = {
    "format": int,
    "class": str,
    "versions": dict,
    "parameters": dict,
    "attributes": dict,
    "schema": dict,
    "config": dict,
    "seed": int,
    "plan": dict,
    "sizes": dict,
    "user_features": list,
    "item_features": list,
    "files": dict,
}
ATTRIBUTE_TYPES = {  # attributes of the estimator, stored unchanged
    "history_": list,
    "n_epochs_": int,
    "n_features_in_": int,
    "feature_names_in_": (list, type(None)),
}
SCHEMA_TYPES = {
    "user": (str, int),
    "item": (str, int),
    "time": (str, int, type(None)),
    "user_features": (list, type(None)),
    "item_features": (list, type(None)),
    "tie_order": (str, type(None)),
    "weight": (str, int, type(None)),
    "time_kind": (str, type(None)),
}
CONFIG_TYPES = {f.name: {"int": int, "bool": bool}[str(f.type)] for f in fields(NetConfig)}
PLAN_TYPES = {
    "kind": str,
    "n_trees": int,
    "search_k": (int, type(None)),
    "seed": int,
    "effort": (float, type(None)),
}
SIZE_TYPES = {
    "n_users": int,
    "n_interactions": int,
    "n_user_values": int,
    "n_item_values": int,
}
SECTION_TYPES: dict[str, dict[str, Any]] = {
    "attributes": ATTRIBUTE_TYPES,
    "schema": SCHEMA_TYPES,
    "config": CONFIG_TYPES,
    "plan": PLAN_TYPES,
    "sizes": SIZE_TYPES,
}
FEATURE_TYPES = {"name": (str, int), "kind": str, "width": int}
NONNEGATIVE_NUMBERS = ("adaptive_interests", "n_encoder_layers", "seed")  # others are positive

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


def array_specs(manifest: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """Return the specification of every array of the model that a manifest describes.

    The names are the names in `FittedModel.to_arrays`, and ``item_embeddings``.
    """
    config = NetConfig(**manifest["config"])
    sizes = manifest["sizes"]
    n_users = sizes["n_users"]
    n_items = config.n_items
    n_events = sizes["n_interactions"]
    specs = {
        "users": ArraySpec(STORABLE_DTYPES, (n_users,), may_be_objects=True),
        "items": ArraySpec(STORABLE_DTYPES, (n_items,), may_be_objects=True),
        "interactions.items": ArraySpec(INT32, (n_events,)),
        "interactions.offsets": ArraySpec(INT64, (n_users + 1,)),
        "interactions.times": ArraySpec(TIME_DTYPES, (n_events,), is_optional=True),
        "item_embeddings": ArraySpec(FLOAT32, (n_items, config.embedding_dim)),
    }
    widths = {}
    for side, n_rows in zip(SIDES, (n_users, n_items), strict=True):
        features = manifest[f"{side}_features"]
        widths[side] = sum(feature["width"] for feature in features)
        if features:
            n_values = sizes[f"n_{side}_values"]
            specs |= _feature_specs(f"{side}_features", features, n_rows, n_values)
    shapes = MINDNet.weight_shapes(config, widths["item"], widths["user"])
    specs |= {f"weights.{name}": ArraySpec(FLOAT32, shape) for name, shape in shapes.items()}
    return specs


def _feature_specs(
    prefix: str, features: list[dict[str, Any]], n_rows: int, n_values: int
) -> dict[str, ArraySpec]:
    specs = {
        f"{prefix}.indptr": ArraySpec(INT32 | INT64, (n_rows + 1,)),
        f"{prefix}.indices": ArraySpec(INT32 | INT64, (n_values,)),
        f"{prefix}.data": ArraySpec(FLOAT32, (n_values,)),
        f"{prefix}.presence": ArraySpec(FLOAT32, (n_rows,)),
    }
    for i, feature in enumerate(features):
        is_number = feature["kind"] in ("number", "vector")
        specs[f"{prefix}.vocabulary.{i}"] = ArraySpec(
            FLOAT64 if is_number else STORABLE_DTYPES,
            (feature["width"],),
            may_be_objects=not is_number,
        )
    return specs


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
        "attributes": {name: getattr(estimator, name, None) for name in ATTRIBUTE_TYPES},
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
    kept_epoch: dict[str, Any] = {}
    if history:
        kept_epoch = max(history, key=lambda epoch: epoch.get("validation_ndcg", epoch["epoch"]))
    rows = [
        ("users", sizes["n_users"]),
        ("items", config["n_items"]),
        ("interactions", sizes["n_interactions"]),
    ]
    for side in SIDES:
        names = [str(feature["name"]) for feature in manifest[f"{side}_features"]]
        rows.append((f"{side} features", ", ".join(names) or "none"))
    rows.append(("epochs", manifest["attributes"]["n_epochs_"]))
    rows += [(key, f"{value:.4g}") for key, value in kept_epoch.items() if isinstance(value, float)]
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
Loss and metrics are from the epoch whose weights were kept.

## Parameters

{settings}"""


# ------------------------------------------------------------------ checks before loading


def check_manifest(manifest: dict[str, Any], cls: Any) -> None:
    """Check that the manifest has this format and class, and valid content.

    Raises
    ------
    ModelFileError
        If the format or the class differs, a key is unknown or missing, or a value is invalid.
    """
    if type(manifest.get("format")) is not int or manifest["format"] != MODEL_FORMAT:
        raise ModelFileError(
            f"the model has format {manifest.get('format')!r:.80}, but skmind {version('skmind')} "
            f"reads format {MODEL_FORMAT}; load it with the version that saved it: "
            f"{manifest.get('versions')!r:.200}"
        )
    check_keys(manifest, MANIFEST_TYPES, MANIFEST_FILE)
    if manifest["class"] != cls.__name__:
        raise ModelFileError(
            f"the model is a {manifest['class']!r:.80}; this class only loads {cls.__name__}"
        )
    for name, types in SECTION_TYPES.items():
        check_keys(manifest[name], types, f"{name} in {MANIFEST_FILE}")
    for feature in manifest["user_features"] + manifest["item_features"]:
        check_keys(feature, FEATURE_TYPES, f"a feature in {MANIFEST_FILE}")
        if feature["kind"] not in FEATURE_KINDS or not 0 < feature["width"] < SIZE_LIMIT:
            raise ModelFileError(f"the feature {feature!s:.200} in {MANIFEST_FILE} is invalid")
    check_files(manifest["files"])
    _check_plan(manifest["plan"])
    for name, number in (manifest["config"] | {"seed": manifest["seed"]}).items():
        minimum = 0 if name in NONNEGATIVE_NUMBERS else 1
        if not minimum <= number < SIZE_LIMIT:
            raise ModelFileError(
                f"{name}={number} in {MANIFEST_FILE} is not in [{minimum}, {SIZE_LIMIT})"
            )
    if manifest["config"]["n_encoder_layers"] > len(manifest["files"]):
        raise ModelFileError(f"{MANIFEST_FILE} has more layers than files")
    unknown = sorted(manifest["parameters"].keys() - set(cls._get_param_names()))
    if unknown:
        raise ModelFileError(f"{cls.__name__} has no parameters {', '.join(unknown):.200}")


def current_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a saved model under their current names."""
    current = dict(parameters)
    if "dropout" in current and "item_dropout" not in current:
        current["item_dropout"] = current.pop("dropout")
    if "loss" not in current and current.get("label_attention") == "mixture":
        current["label_attention"] = None
    return current


def _check_plan(plan: dict[str, Any]) -> None:
    """Check that an index can be built from the plan."""
    search_k = plan.get("search_k") or 1
    effort = plan.get("effort") or 1
    is_valid = (
        plan["kind"] in INDEX_KINDS
        and 0 < plan["n_trees"] < SIZE_LIMIT
        and 0 < search_k < SIZE_LIMIT
        and 0 <= plan["seed"] < SIZE_LIMIT - 1
        and 0 < effort < SIZE_LIMIT
    )
    if not is_valid:
        raise ModelFileError(f"the plan {plan!s:.200} in {MANIFEST_FILE} is invalid")


def array_files(files: Mapping[str, Any], specs: Mapping[str, ArraySpec]) -> dict[str, str]:
    """Return the file name of each array after comparing the files with the specifications.

    Parameters
    ----------
    files : mapping
        The entry ``files`` of a manifest, checked by `check_files`.
    specs : mapping of str to ArraySpec

    Raises
    ------
    ModelFileError
        If a file is missing or unknown, or a type or shape differs from its specification.
    """
    names = {}
    for name, spec in specs.items():
        file = f"{name}.npy"
        if file in files:
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
    return names
