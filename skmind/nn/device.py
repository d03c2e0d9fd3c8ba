"""Name of a device → torch device; arrays → tensors on it; torch in forked processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor

from .._checks import warn
from ..exceptions import DeviceFallbackWarning, ForkedThreadsWarning, InvalidInputError

# Id of the process that torch's threads belong to. In a forked child, this is the id of the parent.
_thread_owner = os.getpid()


def resolve_device(device: str, *, fall_back: bool = False) -> torch.device:
    """Return the torch device with this name.

    Parameters
    ----------
    device : str
        "cpu", "cuda", or "cuda:" and a number; "auto" is "cuda" if torch finds a CUDA device, else
        "cpu".
    fall_back : bool, default=False
        Whether to return the CPU if ``device`` is a CUDA device but torch finds none.

    Returns
    -------
    torch.device

    Raises
    ------
    InvalidInputError
        If the name is invalid, or if torch finds no CUDA device and ``fall_back`` is False.

    Warns
    -----
    DeviceFallbackWarning
        If the CPU is returned instead of a CUDA device.
    """
    drop_forked_threads()
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        resolved = None
    if resolved is None or resolved.type not in ("cpu", "cuda"):
        raise InvalidInputError(
            f"device={device!r} is not supported; use 'auto', 'cpu', 'cuda' or 'cuda:1'"
        )
    if resolved.type == "cuda":
        is_available = torch.cuda.is_available()
        n_devices = torch.cuda.device_count()
        if is_available and not 0 < n_devices <= (resolved.index or 0):
            return resolved
        n_found = f"{n_devices} CUDA devices" if is_available else "no CUDA device"
        message = f"device={device!r}, but torch finds {n_found}; use 'auto'"
        if not fall_back:
            raise InvalidInputError(message)
        warn(f"{message}. The fitted model runs on the CPU", DeviceFallbackWarning)
        return torch.device("cpu")
    return resolved


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Return the array as a tensor on the device; the copy to a GPU is asynchronous."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Use torch's default modes in a block, and restore the caller's modes after it.

    Gradients are computed, tensors are created on the CPU unless a device is given, and autocast is
    off.
    """
    with ExitStack() as modes:
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.enable_grad())
        modes.enter_context(torch.autocast("cpu", enabled=False))
        if torch.cuda.is_available():
            modes.enter_context(torch.autocast("cuda", enabled=False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        yield


def drop_forked_threads() -> None:
    """Limit torch to one thread in a process that was forked after torch used several threads.

    A forked child has no copy of the threads of its parent, but torch would wait for them forever.
    With one thread, torch waits for no other thread.

    Warns
    -----
    ForkedThreadsWarning
        On the first call in such a process.
    """
    global _thread_owner
    if os.getpid() == _thread_owner:
        return
    _thread_owner = os.getpid()
    n_threads = torch.get_num_threads()
    if n_threads > 1:
        torch.set_num_threads(1)
        warn(
            f"this process was forked from one where torch uses {n_threads} threads. A fork does "
            "not copy threads, so torch uses one thread here. Start processes with 'spawn' or with "
            "joblib's loky",
            ForkedThreadsWarning,
        )
