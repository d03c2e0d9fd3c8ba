"""Training under way ↔ a directory that holds its last two epochs, until the fit is complete."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..data.prepare import Prepared
from ..exceptions import ModelFileError, ModelWriteError
from ..nn.network import MINDNet
from ..nn.optim import get_moments, set_moments
from ..persistence.store import (
    MANIFEST_FILE,
    check_files,
    check_keys,
    read_files,
    read_manifest,
    write,
)

with suppress(ImportError):  # Windows has none
    import fcntl

logger = logging.getLogger("skmind")

FOLDERS = ("even", "odd")  # by the number of the epoch, which so replaces the last but one
FACTS = {
    "seed": int,
    "history": list,
    "rng": dict,
    "files": dict,
}
RECORD = {
    "epoch": int,
    "loss": float,
    "seconds": float,
    "samples_per_second": float,
    "validation_ndcg": (float, type(None)),
}


@dataclass
class State:
    """All that the next epoch depends on.

    Attributes
    ----------
    net : MINDNet
    optimizers : list of Optimizer
    rng : numpy.random.Generator
    generator : torch.Generator
    history : list of dict
        The records of the epochs that are done.
    best : dict of str to ndarray
        The weights of the best of them, if stopping early.
    """

    net: MINDNet
    optimizers: list[torch.optim.Optimizer]
    rng: np.random.Generator
    generator: torch.Generator
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, np.ndarray] = field(default_factory=dict)


class Checkpoint:
    """The folder of one fit.

    Parameters
    ----------
    path : Path
    seed : int
        Kept with each epoch.

    Attributes
    ----------
    seed : int
        That of the epochs in the folder, if there are any.

    Raises
    ------
    ModelFileError
        If the folder holds epochs but none is whole.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self._newest = self._read_newest()
        self.seed: int = self._newest[0]["seed"] if self._newest else seed

    def folder(self, epoch: int) -> Path:
        """Where an epoch is kept."""
        return self.path / FOLDERS[epoch % 2]

    def write(self, state: State) -> None:
        """Keep the state after an epoch; the one before stays, too.

        Raises
        ------
        ModelWriteError
            If it can't be written.
        """
        facts = {
            "seed": self.seed,
            "history": state.history,
            "rng": state.rng.bit_generator.state,
        }
        write(self.folder(len(state.history)), facts, _arrays(state))

    def read(self, state: State) -> None:
        """Bring the state to where the newest epoch ended, if there is one.

        Raises
        ------
        ModelFileError
            If what is in the directory doesn't fit the network.
        """
        if self._newest is None:
            return
        (facts, arrays), self._newest = self._newest, None  # as large as the network
        try:
            _restore(state, facts, arrays)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise self._unusable(error) from error
        logger.info("resumed after epoch %d from %s", len(state.history), self.path)

    def remove(self) -> None:
        """Forget all epochs, as the fit is complete."""
        for folder in (self.path / name for name in FOLDERS):
            if (folder / MANIFEST_FILE).exists():
                (folder / MANIFEST_FILE).unlink()  # first: what is left without it is no checkpoint
                shutil.rmtree(folder)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _read_newest(self) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Facts and arrays of the newest epoch that is whole."""
        found: list[tuple[dict[str, Any], Path]] = []
        error: ModelFileError | None = None
        for folder in (self.path / name for name in FOLDERS):
            if (folder / MANIFEST_FILE).exists():
                try:
                    found.append((self._read_facts(folder), folder))
                except ModelFileError as damage:
                    error = damage
        for facts, folder in sorted(found, key=lambda part: -len(part[0]["history"])):
            try:
                return facts, read_files(folder, facts["files"], mmap=False)
            except ModelFileError as damage:
                logger.warning("a checkpoint is passed over: %s", damage)
                error = damage
        if error is not None:
            raise self._unusable(error) from error
        return None

    def _read_facts(self, folder: Path) -> dict[str, Any]:
        facts = read_manifest(folder)
        check_keys(facts, FACTS, MANIFEST_FILE)
        for record in facts["history"]:
            check_keys(record, RECORD, f"history in {MANIFEST_FILE}")
        check_files(facts["files"])
        return facts

    def _unusable(self, error: Exception) -> ModelFileError:
        return ModelFileError(
            f"{str(self.path)!r} holds no usable epoch: {error}; remove it to start afresh"
        )


@contextmanager
def claimed(path: str | Path, fingerprint: str, seed: int) -> Iterator[Checkpoint | None]:
    """What a fit keeps in a directory that any number of fits may share, until it is complete.

    Parameters
    ----------
    path : str or Path
        Made if it isn't there; its parent must be.
    fingerprint : str
        Of the fit, which names its folder; see `fingerprint`.
    seed : int

    Yields
    ------
    Checkpoint or None
        Removed at the end, unless something fails. None: a fit that trains the same weights is
        under way, as in a search over the steps after a recommender, and the folder is its own.

    Raises
    ------
    ModelWriteError
        If the directory can't be made.
    ModelFileError
        If the folder holds epochs but none is whole.
    """
    folder = Path(path, fingerprint)
    try:
        for made in (folder.parent, folder):
            made.mkdir(exist_ok=True)
    except OSError as error:
        raise ModelWriteError(
            f"checkpoint_dir={str(path)!r} can't be used: {error}; choose a directory that can "
            "be written to, or a new one in such a directory"
        ) from error
    with _locked(folder) as is_ours:
        if is_ours:
            checkpoint = Checkpoint(folder, seed)
            yield checkpoint
            checkpoint.remove()
        else:
            logger.info("nothing is kept: another fit of the same is under way in %s", folder)
            yield None


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether no other fit has the folder; then none gets it in here.

    The system unlocks what a process had that is killed.
    """
    with ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(handle), os.stat(folder))
        except (BlockingIOError, FileNotFoundError):  # in use, or removed just now
            is_ours = False
        except OSError:  # Windows doesn't open directories, and some file systems have no locks
            is_ours = True
        yield is_ours


def fingerprint(facts: Mapping[str, Any], prepared: Prepared, weights: Iterable[np.ndarray]) -> str:
    """A hash of all that a fit depends on: two with the same one train the same weights.

    Parameters
    ----------
    facts : mapping of str to anything
        Parameters, as text.
    prepared : Prepared
    weights : iterable of ndarray
        What it starts from, if that is not drawn.

    Returns
    -------
    str
        In hexadecimal.
    """
    events = prepared.interactions
    arrays = [events.items, events.offsets]
    arrays += [pd.util.hash_array(side.ids) for side in (prepared.users, prepared.items)]
    for side in (prepared.user_features, prepared.item_features):
        arrays += [side.matrix.data, side.matrix.indices, side.matrix.indptr, side.presence]
    texts = {name: str(value) for name, value in facts.items()}
    sha = hashlib.sha256(json.dumps([version("skmind"), texts]).encode())
    for array in (*arrays, *weights):
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).reshape(-1).data)
    return sha.hexdigest()


# ------------------------------------------------------------------ state ↔ arrays


def _arrays(state: State) -> dict[str, np.ndarray | bytes]:
    """By file names."""
    found = {"generator": state.generator.get_state().numpy()}
    found |= {f"best.{name}": array for name, array in state.best.items()}
    found |= {f"weights.{name}": array for name, array in state.net.get_weights().items()}
    for name, known in get_moments(state.net, state.optimizers).items():
        found |= {f"moments.{name}.{key}": np.atleast_1d(value) for key, value in known.items()}
    return {f"{name}.npy": array for name, array in found.items()}


def _restore(state: State, facts: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """What `_arrays` and `Checkpoint.write` kept, into the same network and optimisers."""
    arrays = {name.removesuffix(".npy"): array for name, array in arrays.items()}
    parts: dict[str, dict[str, np.ndarray]] = {"best": {}, "weights": {}}
    moments: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part in parts:
            parts[part][rest] = array
        elif part == "moments":
            owner, _, key = rest.rpartition(".")
            moments.setdefault(owner, {})[key] = array
    if parts["best"]:
        state.net.set_weights(parts["best"])  # whether they fit it, before any work
    state.net.set_weights(parts["weights"])
    set_moments(state.net, state.optimizers, moments)
    state.rng.bit_generator.state = facts["rng"]
    state.generator.set_state(torch.tensor(arrays["generator"]))
    state.history, state.best = facts["history"], parts["best"]
