import contextlib
import os
import sys
import warnings

import numpy as np
import pytest
import threadpoolctl
import torch

from skmind.exceptions import DeviceFallbackWarning, ForkedThreadsWarning, InvalidInputError
from skmind.nn import device
from skmind.nn.device import (
    drop_forked_threads,
    one_thread,
    resolve_device,
    to_device,
    torch_defaults,
)


def test_auto_is_the_gpu_of_the_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for rank, index in ((0, 0), (1, 1), (2, 0)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert resolve_device("auto") == torch.device("cuda", index)


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
    """Let this process look like one that was forked from another, whose BLAS has one thread."""
    monkeypatch.setattr(device, "_thread_owner", os.getpid() + 1)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


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


def n_blas_threads():
    info = threadpoolctl.threadpool_info()
    return max(library["num_threads"] for library in info if library["user_api"] == "blas")


def threads_in_a_child():
    """Return warnings, and the threads of torch and BLAS after a call, in a forked process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                drop_forked_threads()
            os.write(writer, bytes([len(caught), torch.get_num_threads(), n_blas_threads()]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with open(reader, "rb") as file:
        return [*file.read()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("n_torch", "n_blas", "n_warnings"), [(1, 1, 0), (3, 1, 1), (1, 3, 1), (2, 3, 1)]
)
def test_a_real_fork_is_noticed(n_torch, n_blas, n_warnings):
    n_threads = torch.get_num_threads()
    with threadpoolctl.threadpool_limits(n_blas, user_api="blas"):
        torch.set_num_threads(n_torch)
        try:
            assert threads_in_a_child() == [n_warnings, 1, 1]
            assert (torch.get_num_threads(), n_blas_threads()) == (n_torch, n_blas)
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
def test_modes_of_torch_are_the_defaults_in_a_function_and_restored_after_it(mode):
    def interrupted():
        raise KeyboardInterrupt

    with MODES[mode]():
        before = modes()
        assert torch_defaults()(modes)() == (False, True, False, torch.device("cpu"))
        assert modes() == before
        assert torch_defaults(inference=True)(modes)() == (True, False, False, torch.device("cpu"))
        assert modes() == before
        with pytest.raises(KeyboardInterrupt):
            torch_defaults()(interrupted)()
        assert modes() == before


class Interrupt:
    """A trace function that raises KeyboardInterrupt before a bytecode instruction of a call."""

    def __init__(self, number):
        self.n_left = number

    def __call__(self, frame, event, arg):
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.n_left -= 1
            if not self.n_left:
                raise KeyboardInterrupt
        return self


@torch_defaults()
def several_blocks():
    """Begin and end all modes, in functions of this package and of torch."""
    torch_defaults(inference=True)(torch.ones)(1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), torch.device("meta"):
        pass


@pytest.mark.parametrize("mode", ["none", "no_grad", "inference_mode"])
def test_modes_of_torch_are_restored_after_an_interrupt_at_any_instruction(mode):
    tracer = sys.gettrace()
    number = 0
    is_interrupted = True
    with MODES[mode]():
        before = modes()
        while is_interrupted:
            number += 1
            is_interrupted = False
            try:
                sys.settrace(Interrupt(number))
                several_blocks()
            except KeyboardInterrupt:
                is_interrupted = True
            finally:
                sys.settrace(tracer)
            assert modes() == before, number
    assert number > 500


def test_a_cuda_device_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(InvalidInputError, match="device='cuda:2', but torch finds 2 CUDA devices"):
        resolve_device("cuda:2")
    with pytest.warns(DeviceFallbackWarning, match="finds 2 CUDA devices.*runs on the CPU"):
        assert resolve_device("cuda:2", fall_back=True) == torch.device("cpu")


@pytest.mark.parametrize("fails", [False, True])
def test_one_thread_restores_the_number_of_threads(fails):
    torch.set_num_threads(2)
    try:
        with contextlib.suppress(KeyError), one_thread():
            assert torch.get_num_threads() == 1
            assert {library["num_threads"] for library in threadpoolctl.threadpool_info()} == {1}
            if fails:
                raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
