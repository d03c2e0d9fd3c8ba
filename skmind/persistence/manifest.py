"""Fitted recommender → what its manifest says, and the table of the arrays that are saved."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from ..exceptions import InvalidInputError, ModelFileError
from ..nn.network import MINDNet, NetConfig
from .store import DTYPES, MANIFEST, check_files, check_keys

FORMAT = 1  # docs/persistence.md says when it changes
LIBRARIES = ("skmind", "numpy", "pandas", "scikit-learn", "scipy", "torch")
SIDES = ("user", "item")
INDEXES = ("exact", "annoy", "faiss")
KINDS = ("category", "multiple", "number")
UNSAVED = ("checkpoint_dir",)  # parameters that only the machine that fits has a use for
SCALARS = (str, int, float, bool)
LARGEST = 2**31  # sizes are less
INDEX, CARD = "index.ann", "README.md"

# What the manifest holds, and of which types. A value that may be None may be missing: so a later
# version can add one and still read what earlier ones wrote.
FACTS = {
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
ATTRIBUTES = {  # of the estimator, stored as they are
    "history_": list,
    "n_epochs_": int,
    "n_features_in_": int,
    "feature_names_in_": (list, type(None)),
}
SCHEMA = {
    "user": (str, int),
    "item": (str, int),
    "time": (str, int, type(None)),
    "user_features": (list, type(None)),
    "item_features": (list, type(None)),
}
CONFIG = {f.name: {"int": int, "bool": bool}[str(f.type)] for f in fields(NetConfig)}
PLAN = {
    "kind": str,
    "n_trees": int,
    "search_k": (int, type(None)),
    "seed": int,
    "effort": (float, type(None)),
}
SIZES = dict.fromkeys(("n_users", "n_interactions", "n_user_values", "n_item_values"), int)
PARTS: dict[str, dict[str, Any]] = {
    "attributes": ATTRIBUTES,
    "schema": SCHEMA,
    "config": CONFIG,
    "plan": PLAN,
    "sizes": SIZES,
}
MAY_BE_ZERO = ("adaptive_interests", "n_encoder_layers", "seed")
FEATURE = {"name": (str, int), "kind": str, "width": int}

F4, I4, I8, F8 = ({dtype} for dtype in ("<f4", "<i4", "<i8", "<f8"))
TIMES = {"<i8", "<f8", "<M8[ns]"}


class Field(NamedTuple):
    """One array of the fitted state.

    Attributes
    ----------
    get : callable
        Takes it from the fitted estimator.
    dtypes : set of str
        Legal types. `DTYPES`: ids or categories, which may also be text or mixed; `TIMES`: there
        may be none.
    shape : tuple of int
    """

    get: Callable[[Any], np.ndarray | None]
    dtypes: frozenset[str] | set[str]
    shape: tuple[int, ...]


# ------------------------------------------------------------------ the tables of a model


def saved_arrays(facts: Mapping[str, Any]) -> dict[str, Field]:
    """Every array of a model with these facts: what is saved, and what alone is accepted."""
    config, sizes = NetConfig(**facts["config"]), facts["sizes"]
    n_users, n, n_items = sizes["n_users"], sizes["n_interactions"], config.n_items
    events = "_model.interactions."
    found = {
        "users": Field(attrgetter("users_"), DTYPES, (n_users,)),
        "items": Field(attrgetter("items_"), DTYPES, (n_items,)),
        "interactions.items": Field(attrgetter(events + "items"), I4, (n,)),
        "interactions.offsets": Field(attrgetter(events + "offsets"), I8, (n_users + 1,)),
        "interactions.times": Field(attrgetter(events + "times"), TIMES, (n,)),
        "item_embeddings": Field(
            attrgetter("item_embeddings_"), F4, (n_items, config.embedding_dim)
        ),
    }
    widths = []
    for side, n_rows in zip(SIDES, (n_users, n_items), strict=True):
        features = facts[f"{side}_features"]
        widths.append(sum(feature["width"] for feature in features))
        if features:
            found |= _feature_arrays(side, features, n_rows, sizes[f"n_{side}_values"])
    user_width, item_width = widths
    for name, shape in MINDNet.weight_shapes(config, item_width, user_width).items():
        found[f"weights.{name}"] = Field(_part("_model.weights", name), F4, shape)
    return found


def _feature_arrays(side: str, features: list, n_rows: int, n_values: int) -> dict[str, Field]:
    name, at = f"{side}_features", f"_model.prepared.{side}_features."
    found = {
        f"{name}.indptr": Field(attrgetter(at + "matrix.indptr"), I4 | I8, (n_rows + 1,)),
        f"{name}.indices": Field(attrgetter(at + "matrix.indices"), I4 | I8, (n_values,)),
        f"{name}.data": Field(attrgetter(at + "matrix.data"), F4, (n_values,)),
        f"{name}.presence": Field(attrgetter(at + "presence"), F4, (n_rows,)),
    }
    for i, feature in enumerate(features):
        dtypes = F8 if feature["kind"] == "number" else DTYPES
        values = _part(at + "encoder.features", i, "values")
        found[f"{name}.vocabulary.{i}"] = Field(values, dtypes, (feature["width"],))
    return found


def _part(path: str, key: Any, attribute: str | None = None) -> Callable[[Any], np.ndarray]:
    """Takes one element of a container, or an attribute of it."""

    def get(rec: Any) -> np.ndarray:
        element = attrgetter(path)(rec)[key]
        return element if attribute is None else getattr(element, attribute)

    return get


def facts_of(rec: Any) -> dict[str, Any]:
    """The manifest but for its files."""
    model = rec._model
    prepared = model.prepared
    facts = {
        "format": FORMAT,
        "class": type(rec).__name__,
        "versions": {"python": platform.python_version()}
        | {library: version(library) for library in LIBRARIES},
        "parameters": {k: v for k, v in rec.get_params(deep=False).items() if k not in UNSAVED},
        "attributes": {name: getattr(rec, name, None) for name in ATTRIBUTES},
        "schema": model.schema._asdict(),
        "config": asdict(model.config),
        "seed": model.seed,
        "plan": model.plan._asdict(),
        "sizes": {
            "n_users": len(model.users),
            "n_interactions": len(model.interactions.items),
            "n_user_values": prepared.user_features.matrix.nnz,
            "n_item_values": prepared.item_features.matrix.nnz,
        },
    }
    for side in SIDES:
        encoder = getattr(prepared, f"{side}_features").encoder
        facts[f"{side}_features"] = [
            {"name": f.name, "kind": f.kind, "width": f.width} for f in encoder.features
        ]
    return {key: _plain(value, key) for key, value in facts.items()}


def _plain(value: Any, name: str) -> Any:
    """``value`` in what JSON can hold."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _plain(part, f"{name} {key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, name) for part in value]
    if value is None or isinstance(value, SCALARS):
        return value
    raise InvalidInputError(
        f"{name} is {value!r}, which can't be saved; set_params() it to numbers, text, lists or "
        "None: what was learned stays as it is"
    )


def card(facts: Mapping[str, Any]) -> str:
    """The model card: what it is, what it was made from and how well it learned."""
    config, sizes, history = facts["config"], facts["sizes"], facts["attributes"]["history_"]
    kept: dict[str, Any] = {}
    if history:
        kept = max(history, key=lambda epoch: epoch.get("validation_ndcg", epoch["epoch"]))
    columns = {side: [f["name"] for f in facts[f"{side}_features"]] for side in SIDES}
    rows = [
        ("users", sizes["n_users"]),
        ("items", config["n_items"]),
        ("interactions", sizes["n_interactions"]),
        *((f"{side} features", ", ".join(map(str, columns[side])) or "none") for side in SIDES),
        ("epochs", facts["attributes"]["n_epochs_"]),
        *((key, f"{value:.4g}") for key, value in kept.items() if isinstance(value, float)),
    ]
    table = "".join(f"| {name} | {value} |\n" for name, value in rows)
    settings = "".join(f"- `{name}={value!r}`\n" for name, value in facts["parameters"].items())
    return CARD_TEXT.format(
        cls=facts["class"], version=facts["versions"]["skmind"], table=table, settings=settings
    )


CARD_TEXT = """# {cls}

A multi-interest recommender (MIND, Li et al., CIKM 2019), fitted and saved by skmind {version}:
it has several interest vectors for each user and recommends the items that are nearest to one.

    from skmind import {cls}
    rec = {cls}.load("this directory")
    rec.recommend(k=10)

It holds the ids and histories of the users that it was fitted on: handle it as you handle those.

## Data and training

| | |
| --- | --- |
{table}
Loss and measures are those of the epoch whose weights were kept.

## Parameters

{settings}"""


# ------------------------------------------------------------------ checks of what was read


def check_facts(facts: dict[str, Any], cls: Any) -> None:
    """Whether the manifest is of this format and class, and holds what it must."""
    if type(facts.get("format")) is not int or facts["format"] != FORMAT:
        raise ModelFileError(
            f"the model is of format {facts.get('format')!r:.80}, but skmind {version('skmind')} "
            f"reads format {FORMAT}; load it with what saved it: {facts.get('versions')!r:.200}"
        )
    check_keys(facts, FACTS, MANIFEST)
    if facts["class"] != cls.__name__:
        raise ModelFileError(
            f"the model is a {facts['class']!r:.80}; only {cls.__name__} is loaded by this class"
        )
    for name, types in PARTS.items():
        check_keys(facts[name], types, f"{name} in {MANIFEST}")
    for feature in facts["user_features"] + facts["item_features"]:
        check_keys(feature, FEATURE, f"a feature in {MANIFEST}")
        if feature["kind"] not in KINDS or not 0 < feature["width"] < LARGEST:
            raise ModelFileError(f"the feature {feature!s:.200} of {MANIFEST} is illegal")
    check_files(facts["files"])
    _check_plan(facts["plan"])
    for name, size in (facts["config"] | {"seed": facts["seed"]}).items():
        least = int(name not in MAY_BE_ZERO)
        if not least <= size < LARGEST:
            raise ModelFileError(f"{name}={size} in {MANIFEST} is not in [{least}, {LARGEST})")
    if facts["config"]["n_encoder_layers"] > len(facts["files"]):
        raise ModelFileError(f"{MANIFEST} has more layers than files")
    unknown = sorted(facts["parameters"].keys() - set(cls._get_param_names()))
    if unknown:
        raise ModelFileError(f"{cls.__name__} has no parameters {', '.join(unknown):.200}")


def current_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of a saved model under the names that they have today."""
    found = dict(parameters)
    if "dropout" in found and "item_dropout" not in found:
        found["item_dropout"] = found.pop("dropout")
    if "loss" not in found and found.get("label_attention") == "mixture":
        found["label_attention"] = None
    return found


def _check_plan(plan: dict[str, Any]) -> None:
    """Whether an index can be built by it."""
    sizes = (plan["n_trees"], plan.get("search_k") or 1, plan["seed"] + 1)
    legal = plan["kind"] in INDEXES and all(0 < size < LARGEST for size in sizes)
    if not legal or not 0 < (plan.get("effort") or 1) < LARGEST:
        raise ModelFileError(f"the plan {plan!s:.200} of {MANIFEST} is illegal")


def check_names(files: Mapping[str, Any], expected: Mapping[str, Field]) -> dict[str, str]:
    """The file of each array: none is missing or unknown, types and shapes are as expected."""
    names = {}
    for name, field in expected.items():
        file = f"{name}.npy"
        if file in files:
            dtype, shape = files[file]["dtype"], tuple(files[file]["shape"])
            if dtype not in field.dtypes or shape != field.shape:
                raise ModelFileError(
                    f"{file} is of type {dtype} and shape {shape}, but {', '.join(field.dtypes)} "
                    f"and {field.shape} are expected"
                )
        elif field.dtypes is DTYPES:
            file = f"{name}.json"
        elif field.dtypes is TIMES:
            continue
        names[name] = file
    wanted, optional = {*names.values(), CARD}, {INDEX}
    if not wanted <= files.keys() <= wanted | optional:
        raise ModelFileError(
            f"{MANIFEST} lacks the files {sorted(wanted - files.keys())} and has the unknown ones "
            f"{sorted(files.keys() - wanted - optional)}"
        )
    return names
