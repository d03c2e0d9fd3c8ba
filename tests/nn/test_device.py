import contextlib
import os
import warnings

import numpy as np
import pytest
import torch

from skmind.exceptions import DeviceFallbackWarning, ForkedThreadsWarning, InvalidInputError
from skmind.nn import device
from skmind.nn.device import drop_forked_threads, resolve_device, to_device, torch_defaults


def test_auto_is_cuda_if_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "meta", "mps"])
def test_other_devices_are_rejected(name):
    with pytest.raises(InvalidInputError, match=f"device='{name}' is not supported; use 'auto'"):
        resolve_device(name)


def test_cuda_is_rejected_without_a_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match="device='cuda', but torch finds no CUDA device"):
        resolve_device("cuda")


def test_arrays_become_tensors_of_the_same_type():
    for values in (np.arange(6).reshape(2, 3), np.ones(4, dtype=np.float32), np.empty((0, 2))):
        tensor = to_device(values, torch.device("cpu"))
        assert tensor.dtype == torch.from_numpy(values).dtype
        assert tensor.tolist() == values.tolist()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_arrays_go_to_the_gpu():
    tensor = to_device(np.arange(6).reshape(2, 3), torch.device("cuda"))
    assert tensor.device.type == "cuda"
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_cpu_replaces_a_missing_cuda_device_on_request(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(DeviceFallbackWarning, match="'cuda:1', but .* no CUDA.*runs on the CPU"):
        assert resolve_device("cuda:1", fall_back=True) == torch.device("cpu")
    with pytest.raises(InvalidInputError, match="'tpu' is not supported"):
        resolve_device("tpu", fall_back=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_device("cuda:1", fall_back=True) == torch.device("cuda", 1)


# ------------------------------------------------------------------ forked processes


@pytest.fixture
def forked(monkeypatch):
    """Let this process look like one that was forked from another."""
    monkeypatch.setattr(device, "_thread_owner", os.getpid() + 1)


@pytest.mark.parametrize("call", [drop_forked_threads, lambda: resolve_device("cpu")])
def test_a_forked_process_drops_its_threads_once(monkeypatch, forked, call):
    limits = []
    monkeypatch.setattr(torch, "set_num_threads", limits.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    with pytest.warns(ForkedThreadsWarning, match="forked from one .* uses 8 threads.*loky"):
        call()
    call()
    assert limits == [1]


@pytest.mark.parametrize("call", [drop_forked_threads, lambda: resolve_device("cpu")])
def test_other_processes_keep_their_threads(monkeypatch, call):
    limits = []
    monkeypatch.setattr(torch, "set_num_threads", limits.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    call()
    assert limits == []


def test_a_forked_process_with_one_thread_is_not_warned(monkeypatch, forked):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
        drop_forked_threads()
        monkeypatch.setattr(torch, "get_num_threads", lambda: 8)  # set in the child
        drop_forked_threads()


def thread_limits_in_a_child():
    """Return torch's number of threads before and after a call in a forked process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            before = torch.get_num_threads()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                drop_forked_threads()
            os.write(writer, bytes([before, torch.get_num_threads()]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as file:
        return [*file.read()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_real_fork_is_noticed():
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert thread_limits_in_a_child() == [3, 1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(n_threads)


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
    with pytest.warns(DeviceFallbackWarning, match="finds 2 CUDA devices.*runs on the CPU"):
        assert resolve_device("cuda:2", fall_back=True) == torch.device("cpu")
