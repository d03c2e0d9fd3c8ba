"""Fitted model → directory for inference without torch: ONNX graph, item vectors and ids."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._model import FittedModel
from ..data.features import Feature
from ..exceptions import ExportError, InvalidInputError, ModelWriteError
from ..nn.device import torch_defaults
from ..nn.inference import blocks, encode, unit_items
from ..nn.network import MINDNet
from .store import check_path

EXPORT_FORMAT = 1
MAX_DIFFERENCE = 1e-5  # between the interests of the graph and of the network
GRAPH_FILE = "user_tower.onnx"
VECTORS_FILE = "item_vectors.npy"
OPSET = 20
IR_VERSION = 10
OLDEST_RUNTIME = "1.18"  # of onnxruntime, that reads this opset and this version of the format
LOGGERS = "torch.onnx", "onnxscript", "onnx_ir"


class _UserTower(nn.Module):
    """The network to export, with precomputed item vectors, which include the item features.

    The item vectors are stored as unit vectors and lengths. So the network and the search for
    items, which needs unit vectors, share one file. User features are a dense matrix, because
    ONNX has no sparse matrices.
    """

    @torch.no_grad()
    def __init__(self, net: MINDNet) -> None:
        super().__init__()
        self.net = net
        self.item_vectors: Tensor
        self.item_lengths: Tensor
        self.user_values: Tensor | None
        self.register_buffer("item_vectors", torch.from_numpy(unit_items(net)))
        self.register_buffer("item_lengths", net.item_vectors().norm(dim=1, keepdim=True))
        user_values = None
        if net.user_values is not None and net.profile is not None:
            user_values = net.user_values.weight @ net.profile.T
        self.register_buffer("user_values", user_values)

    def forward(
        self, history: Tensor, lengths: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        B, L = history.shape
        profile = None
        if features is not None and self.user_values is not None:
            profile = features @ self.user_values  # (B, D)
        # The network maps every item that it receives, so it receives only the items of the
        # histories instead of all items.
        items = F.embedding(history, self.item_vectors) * F.embedding(history, self.item_lengths)
        positions = torch.arange(B * L).view(B, L)
        D = self.item_vectors.shape[1]  # an inferred size fails for a batch of 0
        interests = self.net(positions, lengths, items.view(B * L, D), profile)
        return interests.vectors, interests.used

    def example_inputs(self) -> dict[str, Tensor]:
        """Return small inputs of the graph by name."""
        L = min(2, self.net.config.max_history)
        inputs = {"history": torch.zeros(2, L, dtype=torch.int64), "lengths": torch.tensor([L, 0])}
        if self.user_values is not None:
            inputs["features"] = torch.zeros(2, len(self.user_values), dtype=torch.float32)
        return inputs


@torch_defaults()
def export(model: FittedModel, path: Any) -> None:
    """Write the directory ``path``; see `FittedRecommender.export_onnx`.

    Parameters
    ----------
    model : FittedModel
    path : str or path-like
        Must not exist; its parent must exist.

    Raises
    ------
    ImportError
        If onnxruntime or onnxscript is not installed.
    InvalidInputError
        If ``path`` exists or is no path, or item ids or values of user features are neither numbers
        nor text.
    ModelWriteError
        If the parent of ``path`` does not exist or can't be written to, or the disk is full.
    ExportError
        If the graph differs from the network by more than `MAX_DIFFERENCE`.
    """
    onnx_ir, onnxruntime = _import_libraries()
    path = check_path(path)
    if path.exists():
        raise InvalidInputError(f"path={str(path)!r} exists; remove it or name a new directory")
    ids = _ids_without_pickle(model.items.ids)
    user_features = model.prepared.user_features.encoder.features
    repeat_weights = model.repeat_weights
    about = {
        "format": EXPORT_FORMAT,
        "opset": OPSET,
        "oldest_onnxruntime": OLDEST_RUNTIME,
        "max_history": model.config.max_history,
        "score_temperature": model.plan.temperature,
        "repeat_weights": None if repeat_weights is None else repeat_weights.tolist(),
        "user_features": [_describe_feature(feature) for feature in user_features],
    }
    net = model.network().eval()
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
            folder = Path(temporary) / "complete"  # moved to path when everything is written
            folder.mkdir()
            (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            np.save(folder / "item_ids.npy", ids)
            np.save(folder / "item_counts.npy", model.prepared.counts)
            _write_graph(_UserTower(net), folder, onnx_ir)
            _check_graph(model, net, onnxruntime.InferenceSession(folder / GRAPH_FILE))
            os.rename(folder, path)
    except OSError as error:
        raise ModelWriteError(
            f"the model could not be exported to {str(path)!r}: {error}. Free some space, or "
            "choose a new directory inside one that exists and can be written to"
        ) from error


def _import_libraries() -> tuple[Any, Any]:
    """Import the optional libraries; return onnx_ir and onnxruntime."""
    try:
        import onnx_ir.passes.common
        import onnxruntime
        import onnxscript  # noqa: F401, needed by torch's exporter
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs onnxruntime and onnxscript ({error}): pip install skmind[onnx]"
        ) from error
    return onnx_ir, onnxruntime


def _ids_without_pickle(ids: np.ndarray) -> np.ndarray:
    """Return the ids as an array that is saved and loaded without pickle."""
    if ids.dtype.kind in "iufb":
        return ids
    text = ids.astype(str)
    changed = text.astype(object) != ids
    if changed.any():
        raise InvalidInputError(
            f"item ids must be numbers or text to be exported, got {ids[changed][0]!r}; "
            "convert them to text (without a zero character at the end) and fit again"
        )
    return text


def _describe_feature(feature: Feature) -> dict[str, Any]:
    """Return a description of a user feature for ``about.json``."""
    values = feature.values.tolist()
    is_plain = all(isinstance(value, str | int | float) for value in values)
    if not is_plain or feature.values.dtype.kind in "mM":  # `tolist` converts dates to integers
        raise InvalidInputError(
            f"user feature {feature.name!r} must hold numbers or text to be exported, got "
            f"{feature.values[0]!r}; convert it to text and fit again"
        )
    return {"name": feature.name, "kind": feature.kind, "values": values}


def _write_graph(tower: _UserTower, folder: Path, onnx_ir: Any) -> None:
    """Write the item vectors, and a graph that refers to their file."""
    np.save(folder / VECTORS_FILE, tower.item_vectors.numpy())
    inputs = tower.example_inputs()
    shapes = {name: {0: "batch"} for name in inputs}
    shapes["history"][1] = "length"
    with _silenced():
        program: Any = torch.onnx.export(
            tower,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["interests", "mask"],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model = onnx_ir.passes.common.ClearMetadataAndDocStringPass()(program.model).model
    model.ir_version = IR_VERSION
    initializer = model.graph.initializers["item_vectors"]
    array = initializer.const_value
    initializer.const_value = onnx_ir.ExternalTensor(
        VECTORS_FILE,
        (folder / VECTORS_FILE).stat().st_size - array.nbytes,  # after the header of the .npy
        array.nbytes,
        array.dtype,
        shape=array.shape,
        name=array.name,
        base_dir=folder,
    )
    onnx_ir.save(model, folder / GRAPH_FILE)


@contextmanager
def _silenced() -> Iterator[None]:
    """Hide what the exporter warns of and logs, because users can't act on it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check_graph(model: FittedModel, net: MINDNet, session: Any) -> None:
    """Raise `ExportError` if graph and network give different results for random histories."""
    rng = np.random.default_rng(0)
    max_history = model.config.max_history
    for B, L in product((1, 2, 257), {1, (1 + max_history) // 2, max_history}):
        history = rng.integers(len(model.items), size=(B, L))
        lengths = np.linspace(L, 0, B).astype(np.int64)  # if B > 1, the last row is all padding
        profile = model.profile_rows(rng.integers(-1, len(model.users), size=B))
        for rows in blocks(B, L):  # block by block, to limit memory
            inputs = {"history": history[rows], "lengths": lengths[rows]}
            block_profile = None if profile is None else profile[rows]
            if block_profile is not None:
                inputs["features"] = block_profile.toarray()
            expected = encode(net, inputs["history"], inputs["lengths"], block_profile)
            interests, mask = session.run(None, inputs)
            difference = np.abs(interests - expected.interests).max()
            is_close = difference <= MAX_DIFFERENCE  # False for nan
            if not is_close or (mask != expected.mask).any():
                raise ExportError(
                    f"the exported graph differs from the model by {difference:.2g} for histories "
                    f"of shape ({B}, {L}), but at most {MAX_DIFFERENCE:g} is allowed; nothing was "
                    "written. Try the versions of torch, onnxscript and onnxruntime in skmind's "
                    "constraints.txt"
                )
