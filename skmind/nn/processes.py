"""The processes of a fit, as `torchrun` starts them → what all of them know."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from ..exceptions import InvalidInputError, ProcessLostError

T = TypeVar("T")

STORE_PREFIX = "skmind"
MAX_WAIT_SECONDS = 5.0  # for the other processes to say that they live, when one was lost
POLL_SECONDS = 0.1


class Processes:
    """The processes of a fit; if there is one, every method returns its argument.

    All processes must call the same methods in the same order.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    """

    def __init__(self) -> None:
        self.rank = 0
        self.size = 1
        self._group: dist.ProcessGroup | None = None
        self._key = ""

    @classmethod
    def started(cls, device: torch.device) -> Processes:
        """Return the processes of the caller's group, or of `torchrun`'s variables, or this one.

        Parameters
        ----------
        device : torch.device
            Where the network is trained; a GPU needs NCCL.

        Raises
        ------
        InvalidInputError
            If `WORLD_SIZE` is above 1 but the processes can't connect.
        """
        is_alone = int(os.environ.get("WORLD_SIZE", "1")) <= 1
        if dist.is_available() and not dist.is_initialized() and not is_alone:
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            try:
                dist.init_process_group(backend)
            except (RuntimeError, ValueError) as error:
                raise InvalidInputError(
                    f"WORLD_SIZE={os.environ['WORLD_SIZE']}, but the processes can't connect: "
                    f"{error}; start them with torchrun, or unset WORLD_SIZE to fit in one process"
                ) from error
        return cls.running()

    @classmethod
    def running(cls) -> Processes:
        """Return the processes of the group that exists; this one alone if there is no group."""
        processes = cls()
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            processes.rank = dist.get_rank()
            processes.size = dist.get_world_size()
            processes._group = dist.new_group(backend="gloo")
            number = processes.broadcast(time.time_ns() if processes.rank == 0 else 0)
            processes._key = f"{STORE_PREFIX}/{number}"
        return processes

    @staticmethod
    def check_alone(method: str) -> None:
        """Raise `InvalidInputError` if there are several processes."""
        if os.environ.get("WORLD_SIZE", "1") != "1" or (
            dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        ):
            raise InvalidInputError(
                f"{method} works in one process, but there are several (torchrun); save the model "
                f"that they have fitted, load it in one process without WORLD_SIZE, and call "
                f"{method} there"
            )

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    # ------------------------------------------------------------------ collectives

    def gather(self, value: T) -> list[T]:
        """Return the value of each process, in the order of their ranks; any object."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        self._call(lambda: dist.all_gather_object(values, value, group=self._group))
        return values

    def broadcast(self, value: T) -> T:
        """Return the value of the first process."""
        if self.size == 1:
            return value
        values = [value]
        self._call(lambda: dist.broadcast_object_list(values, 0, group=self._group))
        return values[0]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the processes of a numeric array of equal shape in each."""
        if self.size == 1:
            return values
        total = torch.from_numpy(np.array(values))
        self._call(lambda: dist.all_reduce(total, group=self._group))
        return total.numpy()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process."""
        return bool(self.sum(np.array([flag], dtype=np.int32))[0])

    def sum_gradients(self, parameters: Iterable[nn.Parameter], tables: Iterable[nn.Parameter]):
        """Replace each gradient by its sum over the processes.

        Parameters
        ----------
        parameters : iterable of Parameter
            Their gradients are dense; one that no process has stays None.
        tables : iterable of Parameter
            Their gradients are sparse: only the rows in use are exchanged.
        """
        if self.size == 1:
            return
        self._sum_dense(list(parameters))
        for table in tables:
            self._sum_sparse(table)

    def _sum_dense(self, parameters: list[nn.Parameter]) -> None:
        device = parameters[0].device
        sizes = [parameter.numel() for parameter in parameters]
        flat = torch.zeros(sum(sizes) + len(sizes), device=device)  # the last tell who has one
        for i, (part, parameter) in enumerate(
            zip(flat.split([*sizes, len(sizes)]), parameters, strict=False)
        ):
            if parameter.grad is not None:
                part.copy_(parameter.grad.reshape(-1))
                flat[sum(sizes) + i] = 1
        group = None if device.type == "cuda" else self._group
        self._call(lambda: dist.all_reduce(flat, group=group))
        *parts, counts = flat.split([*sizes, len(sizes)])
        for parameter, part, count in zip(parameters, parts, counts.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if count else None

    def _sum_sparse(self, table: nn.Parameter) -> None:
        if table.grad is None:
            rows = torch.empty(0, dtype=torch.int64)
            values = torch.empty(0, table.shape[1])
        else:
            gradient = table.grad.coalesce()
            rows = gradient.indices()[0].cpu()
            values = gradient.values().cpu()
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        own = torch.tensor([len(rows)])
        self._call(lambda: dist.all_gather(counts, own, group=self._group))
        n_rows = [int(count) for count in counts]
        width = max(n_rows)
        if not width:
            table.grad = None
            return
        all_rows = self._gather_padded(rows, n_rows, width)
        all_values = self._gather_padded(values, n_rows, width)
        table.grad = (
            torch.sparse_coo_tensor(all_rows[None], all_values, table.shape)
            .coalesce()
            .to(table.device)
        )

    def _gather_padded(self, values: Tensor, n_rows: list[int], width: int) -> Tensor:
        """Return the rows of all processes, which have different numbers of them."""
        padded = torch.zeros(width, *values.shape[1:], dtype=values.dtype)
        padded[: len(values)] = values
        received = [torch.empty_like(padded) for _ in n_rows]
        self._call(lambda: dist.all_gather(received, padded, group=self._group))
        return torch.cat([part[:n] for part, n in zip(received, n_rows, strict=True)])

    # ------------------------------------------------------------------ lost processes

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Tell the others why this process fails, and don't let them wait for it."""
        try:
            yield
        except ProcessLostError:
            self._leave()
            raise
        except BaseException as error:
            if self.size > 1:
                self._store().set(self._failed(self.rank), f"{type(error).__name__}: {error}")
                self._leave()
            raise

    def close(self) -> None:
        """Release the connections; no other method may be called after this one."""
        self._leave()

    def _leave(self) -> None:
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    def _call(self, collective: Callable[[], Any]) -> None:
        try:
            collective()
        except (RuntimeError, ValueError) as error:
            raise ProcessLostError(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        """Return which processes failed or were lost: those that don't say that they live."""
        advice = (
            "start all processes again; with checkpoint_dir=, they continue after the last epoch"
        )
        try:
            store = self._store()
            store.set(self._alive(self.rank), "")
            deadline = time.monotonic() + MAX_WAIT_SECONDS
            others = [rank for rank in range(self.size) if rank != self.rank]
            while time.monotonic() < deadline:
                failed = [rank for rank in others if store.check([self._failed(rank)])]
                if failed:
                    message = store.get(self._failed(failed[0])).decode()
                    return f"process {failed[0]} of {self.size} failed: {message}; {advice}"
                if all(store.check([self._alive(rank)]) for rank in others):
                    return f"the {self.size} processes lost their connection: {error}; {advice}"
                time.sleep(POLL_SECONDS)
            lost = [str(rank) for rank in others if not store.check([self._alive(rank)])]
            return f"process {', '.join(lost)} of {self.size} was lost ({error}); {advice}"
        except RuntimeError:  # of the store, which the first process may have held
            return f"process 0 of {self.size} was lost ({error}); {advice}"

    def _store(self) -> Any:
        store = _get_default_store()
        store.set_timeout(timedelta(seconds=MAX_WAIT_SECONDS))
        return store

    def _failed(self, rank: int) -> str:
        return f"{self._key}/failed/{rank}"

    def _alive(self, rank: int) -> str:
        return f"{self._key}/alive/{rank}"
