import pytest
import torch

from skmind.exceptions import InvalidInputError
from skmind.nn.device import resolve_device


def test_auto_takes_cuda_when_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "mps"])
def test_other_devices_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"device='{name}' is not supported; use 'auto'"):
        resolve_device(name)


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match="device='cuda', but torch finds no CUDA device"):
        resolve_device("cuda")
