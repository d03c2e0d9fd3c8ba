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


def _used_rows(table: nn.Parameter) -> tuple[Tensor, Tensor]:
    """Return the rows of the sparse gradient of a table, int64, and their values, on the CPU."""
    if table.grad is None:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, table.shape[1], dtype=table.dtype)
    gradient = table.grad.coalesce()
    return gradient.indices()[0].cpu(), gradient.values().cpu()


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
    @contextmanager
    def fitting(cls, device: str) -> Iterator[Processes]:
        """Yield the processes of the caller's group, or of `torchrun`'s variables, or this one.

        If one of them raises in the block, or is lost, all of them raise.

        Parameters
        ----------
        device : str
            Where the network is trained; a GPU needs NCCL.

        Raises
        ------
        InvalidInputError
            If `WORLD_SIZE` is above 1 but the processes can't connect, or one does something else.
        ProcessLostError
            If another process raises or is lost.
        """
        is_alone = int(os.environ.get("WORLD_SIZE", "1")) <= 1
        if dist.is_available() and not dist.is_initialized() and not is_alone:
            has_gpu = device != "cpu" and torch.cuda.is_available()
            try:
                dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo")
            except (RuntimeError, ValueError) as error:
                raise InvalidInputError(
                    f"WORLD_SIZE={os.environ['WORLD_SIZE']}, but the processes can't connect: "
                    f"{error}; start them with torchrun, or unset WORLD_SIZE to fit in one process"
                ) from error
        processes = cls.running("fit")
        try:
            with processes.reporting():
                yield processes
                processes.any(False)  # none has raised
        finally:
            processes.close()

    @classmethod
    def running(cls, method: str) -> Processes:
        """Return the processes of the group that exists; this one alone if there is no group.

        Raises
        ------
        InvalidInputError
            If another process has called this for another ``method``.
        """
        processes = cls()
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            processes.rank = dist.get_rank()
            processes.size = dist.get_world_size()
            processes._group = dist.new_group(backend="gloo")
            numbers, methods = zip(*processes.gather((time.time_ns(), method)), strict=True)
            processes._key = f"{STORE_PREFIX}/{numbers[0]}"
            if len(set(methods)) > 1:
                processes.close()
                calls = ", ".join(f"{name} in process {rank}" for rank, name in enumerate(methods))
                raise InvalidInputError(
                    f"the processes call different methods: {calls}; all must call the same"
                )
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

    def sum_gradients(
        self, parameters: Iterable[nn.Parameter], tables: Iterable[nn.Parameter]
    ) -> None:
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
        tables = list(tables)
        rows = [_used_rows(table) for table in tables]
        n_rows = self._sum_dense(list(parameters), [len(part) for part, _ in rows])
        for table, part, counts in zip(tables, rows, n_rows, strict=True):
            self._sum_sparse(table, *part, counts)

    def _sum_dense(self, parameters: list[nn.Parameter], n_rows: list[int]) -> list[list[int]]:
        """Sum dense gradients, and return the number of rows in use of each table per process."""
        device = parameters[0].device
        sizes = [parameter.numel() for parameter in parameters]
        # Behind the gradients: which of them exist, and the numbers of rows of each process. All
        # are sent at once, because a step is short and each call waits for all processes.
        n = sum(sizes) + len(sizes) + self.size * len(n_rows)
        flat = torch.zeros(n, dtype=torch.float32, device=device)
        *parts, has_gradient, counts = flat.split([*sizes, len(sizes), self.size * len(n_rows)])
        counts = counts.view(len(n_rows), self.size)
        for i, parameter in enumerate(parameters):
            if parameter.grad is not None:
                parts[i].copy_(parameter.grad.reshape(-1))
                has_gradient[i] = 1
        counts[:, self.rank] = torch.tensor(n_rows)
        group = None if device.type == "cuda" else self._group
        self._call(lambda: dist.all_reduce(flat, group=group))
        for parameter, part, count in zip(parameters, parts, has_gradient.tolist(), strict=True):
            parameter.grad = part.view_as(parameter) if count else None
        return [[int(count) for count in row] for row in counts.tolist()]

    def _sum_sparse(
        self, table: nn.Parameter, rows: Tensor, values: Tensor, n_rows: list[int]
    ) -> None:
        """Sum a sparse gradient; all processes add the rows in the order of the ranks."""
        if not max(n_rows):
            table.grad = None
            return
        # Each message has the numbers of its rows in front of their values.
        width = max(n_rows)
        D = values.shape[1]
        sent = torch.zeros(width, D + 2, dtype=torch.float32)
        sent[: len(rows), :2] = rows.view(torch.float32).view(-1, 2)
        sent[: len(rows), 2:] = values
        received = [torch.empty_like(sent) for _ in n_rows]
        self._call(lambda: dist.all_gather(received, sent, group=self._group))
        joined = torch.cat([part[:n] for part, n in zip(received, n_rows, strict=True)])
        all_rows = joined[:, :2].contiguous().view(torch.int64).view(1, -1)
        gradient = torch.sparse_coo_tensor(
            all_rows, joined[:, 2:], table.shape, check_invariants=False
        )
        table.grad = gradient.coalesce().to(table.device)

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
