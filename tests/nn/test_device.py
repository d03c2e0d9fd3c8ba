import contextlib
import os
import warnings

import numpy as np
import pytest
import torch

from skmind.exceptions import DeviceFallbackWarning, ForkedThreadsWarning, InvalidInputError
from skmind.nn import device
from skmind.nn.device import drop_forked_threads, resolve_device, to_device, torch_defaults


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


def test_arrays_become_tensors_of_their_type():
    for values in (np.arange(6).reshape(2, 3), np.ones(4, dtype=np.float32), np.empty((0, 2))):
        tensor = to_device(values, torch.device("cpu"))
        assert tensor.dtype == torch.from_numpy(values).dtype
        assert tensor.tolist() == values.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_arrays_go_to_the_gpu():
    tensor = to_device(np.arange(6).reshape(2, 3), torch.device("cuda"))
    assert tensor.device.type == "cuda"
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_fitted_model_falls_back_on_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(DeviceFallbackWarning, match="'cuda:1', but .* no CUDA.*from the CPU"):
        assert resolve_device("cuda:1", fall_back=True) == torch.device("cpu")
    with pytest.raises(InvalidInputError, match="'tpu' is not supported"):
        resolve_device("tpu", fall_back=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_device("cuda:1", fall_back=True) == torch.device("cuda", 1)


@pytest.mark.parametrize("call", [drop_forked_threads, lambda: resolve_device("cpu")])
def test_a_forked_process_gives_up_threads_once(monkeypatch, call):
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    call()
    assert used == []
    monkeypatch.setattr(device, "_pid", os.getpid() + 1)  # as if another process had imported it
    with pytest.warns(ForkedThreadsWarning, match="forked from one .* uses 8 threads.*loky"):
        call()
    call()
    assert used == [1]


def test_a_forked_process_with_one_thread_is_left_alone(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(device, "_pid", os.getpid() + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop_forked_threads()
    assert device._pid == os.getpid()


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


def modes():
    return (
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_default_device(),
    )


MODES = {
    "none": contextlib.nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: default_device("meta"),
}


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_torch_are_the_defaults_in_a_block_and_restored_after_it(mode):
    with MODES[mode]():
        before = modes()
        with torch_defaults():
            assert modes() == (False, True, False, torch.device("cpu"))
        assert modes() == before
        with pytest.raises(KeyboardInterrupt), torch_defaults():
            raise KeyboardInterrupt
        assert modes() == before


def test_a_cuda_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InvalidInputError, match="device='cuda:2', but torch finds 2 CUDA devices"):
        resolve_device("cuda:2")
    with pytest.warns(DeviceFallbackWarning, match="finds 2 CUDA devices.*answers from the CPU"):
        assert resolve_device("cuda:2", fall_back=True) == torch.device("cpu")
