"""Name of a device → torch device; arrays → tensors on it; torch in forked processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import threadpoolctl
import torch
from torch import Tensor
from torch._C import _len_torch_function_stack
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode

from .._checks import warn
from ..exceptions import DeviceFallbackWarning, ForkedThreadsWarning, InvalidInputError

P = ParamSpec("P")
R = TypeVar("R")

# Id of the process that torch's threads belong to. In a forked child, this is the id of the parent.
_thread_owner = os.getpid()


def resolve_device(device: str, *, fall_back: bool = False) -> torch.device:
    """Return the torch device with this name.

    Parameters
    ----------
    device : str
        "cpu", "cuda", or "cuda:" and a number; "auto" is "cuda" if torch finds a CUDA device, else
        "cpu". Under `torchrun`, it is the GPU of this process, by `LOCAL_RANK`.
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
        if not torch.cuda.is_available():
            return torch.device("cpu")
        rank = int(os.environ.get("LOCAL_RANK", "-1"))
        return torch.device("cuda" if rank < 0 else f"cuda:{rank % torch.cuda.device_count()}")
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


def torch_defaults(inference: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function to run in torch's default modes; the caller's modes return after it.

    Gradients are computed, tensors are created on the CPU unless a device is given, and autocast is
    off. The caller's modes return even if an interrupt comes at any time, also where torch itself
    loses them, between the begin of a mode and its block.

    Parameters
    ----------
    inference : bool, default=False
        Run in torch's inference mode instead, which computes no gradients.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            modes = _Modes(inference)
            # One interrupt can't prevent both calls of `restore`.
            try:
                try:
                    modes.set()
                    with _cpu_tensors():
                        return function(*args, **kwargs)
                finally:
                    modes.restore()
            finally:
                modes.restore()

        return call

    return decorate


class _Modes:
    """The modes of this thread; `restore` may be called at any time, and again."""

    def __init__(self, inference: bool) -> None:
        self._inference = inference
        self._guard: Any = None
        self._function_modes = _get_current_function_mode_stack()

    def set(self) -> None:
        # At its end, this guard restores all modes of grad, inference and autocast, even if a block
        # inside of it has not ended.
        self._guard = torch._C._InferenceMode(self._inference)
        for device in ("cpu", "cuda"):
            torch.set_autocast_enabled(device, False)

    def restore(self) -> None:
        if self._guard is not None:
            self._guard.__exit__(None, None, None)
        if _get_current_function_mode_stack() != self._function_modes:
            while _len_torch_function_stack():
                _pop_mode()
            for mode in self._function_modes:
                _push_mode(mode)


def _cpu_tensors() -> AbstractContextManager[Any]:
    """Return a context in which tensors are created on the CPU."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def drop_forked_threads() -> None:
    """Limit torch and numpy to one thread in a process forked from one that used several threads.

    A forked child has no copy of the threads of its parent, but torch would wait for them forever,
    and so would numpy's BLAS if a thread of the parent was using it. With one thread, they wait for
    no other thread.

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
    blas = threadpoolctl.ThreadpoolController().select(user_api="blas")
    n_threads = max([n_threads, *(library["num_threads"] for library in blas.info())])
    blas.limit(limits=1)
    if n_threads > 1:
        warn(
            f"this process was forked from one where torch or numpy uses {n_threads} threads. A "
            "fork does not copy threads, so they use one thread here. Start processes with 'spawn' "
            "or with joblib's loky",
            ForkedThreadsWarning,
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one thread of torch and of numpy; the numbers of threads return after it.

    Where an engine runs a process per processor, more threads than that would only wait for each
    other.
    """
    drop_forked_threads()
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(n_threads)
