"""Name of a device → torch device; arrays → tensors on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..exceptions import InvalidInputError


def resolve_device(device: str) -> torch.device:
    """The torch device that a name stands for."""
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
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise InvalidInputError(f"device={device!r}, but torch finds no CUDA device; use 'auto'")
    return resolved


def to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on the device; to a GPU without waiting for what it is at."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
