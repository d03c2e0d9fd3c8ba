"""A fitted model → a directory that serves it without torch: a graph, vectors, ids."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._model import FittedModel
from ..data.features import Feature
from ..exceptions import ExportError, InvalidInputError
from ..nn.inference import blocks, encode, unit_items
from ..nn.network import MINDNet

FORMAT = 1
TOLERANCE = 1e-5
GRAPH, VECTORS = "user_tower.onnx", "item_vectors.npy"


class _Tower(nn.Module):
    """The network with its items, what their features add included.

    Item vectors are the unit ones that are searched, and their lengths, so that both uses share
    one file. User features are a dense matrix, as a graph knows no sparse one.
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
        values = None
        if net.user_values is not None and net.profile is not None:
            values = net.user_values.weight @ net.profile.T
        self.register_buffer("user_values", values)

    def forward(
        self, history: Tensor, lengths: Tensor, features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        B, L = history.shape
        profile = None
        if features is not None and self.user_values is not None:
            profile = features @ self.user_values  # (B, D)
        # the network maps each item that it gets: only those of the histories, not all
        items = F.embedding(history, self.item_vectors) * F.embedding(history, self.item_lengths)
        places = torch.arange(B * L).view(B, L)
        found = self.net(places, lengths, items.view(B * L, -1), profile)
        return found.vectors, found.used

    def example(self) -> dict[str, Tensor]:
        """Inputs of the graph, by name."""
        L = min(2, self.net.config.max_history)
        inputs = {"history": torch.zeros(2, L, dtype=torch.int64), "lengths": torch.tensor([L, 0])}
        if self.user_values is not None:
            inputs["features"] = torch.zeros(2, len(self.user_values))
        return inputs


def export(model: FittedModel, path: Any) -> None:
    """Write the directory ``path``; see `FittedRecommender.export_onnx`.

    Parameters
    ----------
    model : FittedModel
    path : str or path-like
    """
    onnx_ir, onnxruntime = _libraries()
    path = Path(path)
    if path.exists():
        raise InvalidInputError(f"path={str(path)!r} exists; remove it or name a new directory")
    ids = _plain_ids(model.items.ids)
    about = {
        "format": FORMAT,
        "max_history": model.config.max_history,
        "user_features": [_vocabulary(f) for f in model.prepared.user_features.encoder.features],
    }
    net = model.network().eval()
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as temporary:
        folder = Path(temporary) / "whole"  # or not at all
        folder.mkdir()
        (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        np.save(folder / "item_ids.npy", ids)
        np.save(folder / "item_counts.npy", model.prepared.counts)
        _write_graph(_Tower(net), folder, onnx_ir)
        _compare(model, net, onnxruntime.InferenceSession(folder / GRAPH))
        os.rename(folder, path)


def _libraries() -> tuple[Any, Any]:
    try:
        import onnx_ir.passes.common
        import onnxruntime
        import onnxscript  # noqa: F401, which torch's exporter needs
    except ImportError as error:
        raise ImportError(
            f"export_onnx needs onnxruntime and onnxscript ({error}): pip install skmind[onnx]"
        ) from error
    return onnx_ir, onnxruntime


def _plain_ids(ids: np.ndarray) -> np.ndarray:
    """Ids as an array that needs no pickle."""
    if ids.dtype.kind in "iufb":
        return ids
    text = ids.astype(str)
    changed = text.astype(object) != ids
    if changed.any():
        raise InvalidInputError(
            f"item ids must be numbers or text to be exported, not {ids[changed][0]!r}; "
            "convert them to text (without a zero character at the end) and fit again"
        )
    return text


def _vocabulary(feature: Feature) -> dict[str, Any]:
    values = feature.values.tolist()
    plain = all(isinstance(value, str | int | float) for value in values)
    if not plain or feature.values.dtype.kind in "mM":  # dates become bare integers
        raise InvalidInputError(
            f"user feature {feature.name!r} must hold numbers or text to be exported, not "
            f"{feature.values[0]!r}; convert it to text and fit again"
        )
    return {"name": feature.name, "kind": feature.kind, "values": values}


def _write_graph(tower: _Tower, folder: Path, onnx_ir: Any) -> None:
    np.save(folder / VECTORS, tower.item_vectors.numpy())
    inputs = tower.example()
    shapes = {name: {0: "batch"} for name in inputs}
    shapes["history"][1] = "length"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the exporter does is not for users to cure
        program: Any = torch.onnx.export(
            tower,
            kwargs=inputs,
            input_names=list(inputs),
            output_names=["interests", "mask"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    model = onnx_ir.passes.common.ClearMetadataAndDocStringPass()(program.model).model
    table = model.graph.initializers["item_vectors"]
    array = table.const_value
    table.const_value = onnx_ir.ExternalTensor(
        VECTORS,
        (folder / VECTORS).stat().st_size - array.nbytes,  # behind the header of the .npy
        array.nbytes,
        array.dtype,
        shape=array.shape,
        name=array.name,
        base_dir=folder,
    )
    onnx_ir.save(model, folder / GRAPH)


def _compare(model: FittedModel, net: MINDNet, session: Any) -> None:
    """Raise unless the graph gives what the network gives."""
    rng = np.random.default_rng(0)
    longest = model.config.max_history
    for B, L in product((1, 2, 257), {1, (1 + longest) // 2, longest}):
        history = rng.integers(len(model.items), size=(B, L))
        lengths = np.linspace(L, 0, B).astype(np.int64)  # the last of several is all padding
        profile = model.profile_rows(rng.integers(-1, len(model.users), size=B))
        for rows in blocks(B, L):  # as many as fit into memory
            inputs = {"history": history[rows], "lengths": lengths[rows]}
            theirs = None if profile is None else profile[rows]
            if theirs is not None:
                inputs["features"] = theirs.toarray()
            expected = encode(net, inputs["history"], inputs["lengths"], theirs)
            interests, mask = session.run(None, inputs)
            error = np.abs(interests - expected.interests).max()
            if not error <= TOLERANCE or (mask != expected.mask).any():  # nan is not less
                raise ExportError(
                    f"the exported graph differs from the model by {error:.2g} for histories of "
                    f"shape ({B}, {L}), where {TOLERANCE:g} is allowed, and nothing was written; "
                    "try the versions of torch, onnxscript and onnxruntime in skmind's "
                    "constraints.txt"
                )
