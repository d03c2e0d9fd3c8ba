"""State of a running fit ↔ a directory with its last two epochs, until the fit is complete."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.prepare import Prepared
from ..data.ties import hash_codes
from ..exceptions import ModelFileError, ModelWriteError
from ..nn.network import MINDNet
from ..nn.optim import get_moments, set_moments
from ..nn.processes import Processes
from ..persistence.manifest import EPOCH
from ..persistence.schema import anything, integer, list_of, mapping_of, record
from ..persistence.store import (
    FILES,
    MANIFEST_FILE,
    check_files,
    lock,
    read_files,
    read_manifest,
    write,
)

logger = logging.getLogger("skmind")

HASHED_USERS = 2**16  # at a time
EPOCH_FOLDERS = ("even", "odd")  # each epoch replaces the second to last
MANIFEST = record(
    {
        "seed": integer(0, 2**128),
        "history": list_of(EPOCH),
        "rng": mapping_of(anything),
        "files": FILES,
    }
)


@dataclass
class State:
    """Everything that the next epoch depends on.

    Attributes
    ----------
    net : MINDNet
    optimizers : list of Optimizer
    rng : numpy.random.Generator
    generator : torch.Generator
    history : list of dict
        One record per completed epoch.
    best : dict of str to ndarray
        With early stopping, the weights of the best of these epochs.
    """

    net: MINDNet
    optimizers: list[torch.optim.Optimizer]
    rng: np.random.Generator
    generator: torch.Generator
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, np.ndarray] = field(default_factory=dict)


class Checkpoint:
    """The folder that keeps the last two epochs of one fit.

    Parameters
    ----------
    path : Path
        An existing folder.
    seed : int
        Seed of the fit, stored with each epoch.

    Attributes
    ----------
    seed : int
        The seed stored with the epochs in the folder; without epochs, the parameter.

    Raises
    ------
    ModelFileError
        If the folder holds epochs but all of them are damaged.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._newest = self._read_newest()
        self.seed: int = self._newest[0]["seed"] if self._newest else seed

    def folder(self, epoch: int) -> Path:
        """Return the folder of an epoch."""
        return self.path / EPOCH_FOLDERS[epoch % 2]

    def write(self, state: State) -> None:
        """Write the state after an epoch; the previous epoch stays.

        Parameters
        ----------
        state : State

        Raises
        ------
        ModelWriteError
            If the folder can't be written to.
        """
        manifest = {
            "seed": self.seed,
            "history": state.history,
            "rng": state.rng.bit_generator.state,
        }
        write(self.folder(len(state.history)), manifest, _state_arrays(state))

    def read(self, state: State) -> None:
        """Set ``state`` to the end of the newest epoch; without epochs it does not change.

        Parameters
        ----------
        state : State
            Changed in place.

        Raises
        ------
        ModelFileError
            If the stored arrays don't fit the network.
        """
        if self._newest is None:
            return
        manifest, arrays = self._newest
        self._newest = None  # free the memory; it is as large as the network
        try:
            _restore_state(state, manifest, arrays)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise self._unusable(error) from error
        logger.info("resumed after epoch %d from %s", len(state.history), self.path)

    def remove(self) -> None:
        """Remove all epochs, and the folder if nothing else is in it."""
        for folder in self._epoch_folders():
            (folder / MANIFEST_FILE).unlink()  # first, so a half-removed folder is not read
            shutil.rmtree(folder)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _epoch_folders(self) -> list[Path]:
        """Return the folders that hold an epoch."""
        folders = [self.path / name for name in EPOCH_FOLDERS]
        return [folder for folder in folders if (folder / MANIFEST_FILE).exists()]

    def _read_newest(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Return manifest and arrays of the newest undamaged epoch; None if there is no epoch."""
        manifests: list[tuple[dict[str, Any], Path]] = []
        error: ModelFileError | None = None
        for folder in self._epoch_folders():
            try:
                manifests.append((self._read_manifest(folder), folder))
            except ModelFileError as damage:
                error = damage
        manifests.sort(key=lambda pair: len(pair[0]["history"]), reverse=True)
        for manifest, folder in manifests:
            try:
                return manifest, read_files(folder, manifest["files"], mmap=False)
            except ModelFileError as damage:
                logger.warning("skipping a damaged checkpoint: %s", damage)
                error = damage
        if error is not None:
            raise self._unusable(error) from error
        return None

    def _read_manifest(self, folder: Path) -> dict[str, Any]:
        manifest = read_manifest(folder)
        MANIFEST(manifest, MANIFEST_FILE)
        check_files(manifest["files"])
        return manifest

    def _unusable(self, error: Exception) -> ModelFileError:
        return ModelFileError(
            f"{str(self.path)!r} holds no usable epoch: {error}; remove it to start the fit again"
        )


@contextmanager
def open_checkpoint(path: str | Path, fingerprint: str, seed: int) -> Iterator[Checkpoint | None]:
    """Open the checkpoint of a fit in a directory that any number of fits may share.

    The checkpoint is removed at the end, unless the block raises an exception.

    Parameters
    ----------
    path : str or Path
        Created if it does not exist; its parent must exist.
    fingerprint : str
        Name of the folder of the fit; see `fingerprint`.
    seed : int
        See `Checkpoint`.

    Yields
    ------
    Checkpoint or None
        None if another fit uses the folder. That fit trains the same weights, for example in a
        search over the steps after the recommender.

    Raises
    ------
    ModelWriteError
        If the directory can't be created.
    ModelFileError
        If the folder holds epochs but all of them are damaged.
    """
    folder = Path(path, fingerprint)
    try:
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ModelWriteError(
            f"checkpoint_dir={str(path)!r} can't be used: {error}; choose a writable directory, "
            "or a new one inside a writable directory"
        ) from error
    with lock(folder, wait=False) as is_ours:
        if is_ours:
            checkpoint = Checkpoint(folder, seed)
            yield checkpoint
            checkpoint.remove()
        else:
            logger.info("no checkpoint is kept: a fit with the same hash uses %s", folder)
            yield None


def fingerprint(
    parameters: Mapping[str, Any],
    prepared: Prepared,
    weights: Iterable[np.ndarray],
    processes: Processes,
) -> str:
    """Return a hash of everything a fit depends on; fits with the same hash train the same weights.

    Parameters
    ----------
    parameters : mapping of str to any object
        The hash uses their text.
    prepared : Prepared
    weights : iterable of ndarray
        Initial weights, if they are not drawn from the seed.
    processes : Processes
        Each hashes its own users; the result does not depend on their number.

    Returns
    -------
    str
        The hash in hexadecimal digits.
    """
    items = prepared.item_features
    arrays = [processes.sum(_hash_users(prepared)), pd.util.hash_array(prepared.items.ids)]
    arrays += [items.matrix.data, items.matrix.indices, items.matrix.indptr, items.presence]
    texts = {name: str(value) for name, value in parameters.items()}
    sha = hashlib.sha256(json.dumps([version("skmind"), texts]).encode())
    for array in (*arrays, *weights):
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).reshape(-1).data)
    return sha.hexdigest()


def share_state(state: State, processes: Processes) -> None:
    """Set the state of all processes to that of the first, if it has resumed a fit."""
    content: tuple[dict[str, Any], dict[str, Any]] | None = None
    if processes.is_first and processes.size > 1 and state.history:
        manifest = {"history": state.history, "rng": state.rng.bit_generator.state}
        content = manifest, _state_arrays(state)
    content = processes.broadcast(content)
    if content is not None and not processes.is_first:
        manifest, arrays = content
        _restore_state(state, manifest, arrays)


def _hash_users(prepared: Prepared) -> np.ndarray:
    """Return two sums of hashes of the users, int64, which don't depend on their order."""
    total = np.zeros(2, dtype=np.int64)
    ids = pd.util.hash_array(prepared.users.ids)
    events = prepared.interactions
    features = prepared.user_features.matrix
    for start in range(0, len(ids), HASHED_USERS):
        part = slice(start, start + HASHED_USERS)
        own = events.slice_rows(start, min(start + HASHED_USERS, len(ids)))
        rows = features[part]
        hashes = hash_codes(ids[part] ^ _hash_rows(own.items, own.offsets, own.weights))
        hashes = hash_codes(hashes ^ _hash_rows(rows.indices, rows.indptr, rows.data))
        total += [hashes.sum().view(np.int64), hash_codes(hashes).sum().view(np.int64)]
    return total


def _hash_rows(codes: np.ndarray, offsets: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """Return a hash of the codes of each row and their values, uint64 of shape (n_rows,)."""
    offsets = offsets.astype(np.int64)
    places = np.arange(len(codes)) - np.repeat(offsets[:-1], np.diff(offsets))
    hashes = hash_codes(hash_codes(codes) + places.astype(np.uint64))
    if values is not None:
        hashes = hash_codes(hashes ^ values.astype(np.float32).view(np.uint32))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(hashes)])
    return sums[offsets[1:]] - sums[offsets[:-1]]


# ------------------------------------------------------------------ state ↔ arrays


def _state_arrays(state: State) -> dict[str, np.ndarray | bytes]:
    """Return the arrays of the state by file name."""
    arrays = {"generator": state.generator.get_state().numpy()}
    arrays |= {f"best.{name}": array for name, array in state.best.items()}
    arrays |= {f"weights.{name}": array for name, array in state.net.get_weights().items()}
    for name, moments in get_moments(state.net, state.optimizers).items():
        for key, value in moments.items():
            arrays[f"moments.{name}.{key}"] = np.atleast_1d(value)
    return {f"{name}.npy": array for name, array in arrays.items()}


def _restore_state(state: State, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Set ``state`` to the state that `Checkpoint.write` stored, in place."""
    best: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    moments: dict[str, dict[str, Any]] = {}
    for file_name, array in arrays.items():
        kind, _, name = file_name.removesuffix(".npy").partition(".")
        if kind == "best":
            best[name] = array
        elif kind == "weights":
            weights[name] = array
        elif kind == "moments":
            parameter, _, key = name.rpartition(".")
            moments.setdefault(parameter, {})[key] = array
    if best:
        state.net.set_weights(best)  # raises now, instead of after training, if they don't fit
    state.net.set_weights(weights)
    set_moments(state.net, state.optimizers, moments)
    state.rng.bit_generator.state = manifest["rng"]
    state.generator.set_state(torch.tensor(arrays["generator.npy"]))
    state.history = manifest["history"]
    state.best = best
