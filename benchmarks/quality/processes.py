"""Jobs → their results, each from a process of its own; time and memory of a process."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np


def in_processes(function: Callable[..., Any], jobs: list[tuple], n_at_once: int = 1) -> list[Any]:
    """Call ``function`` with the arguments of each job, each in a fresh interpreter.

    The calling process must stay small: on Linux, `peak_memory` of a child starts from the peak of
    its parent.

    Parameters
    ----------
    function : callable
        A function of a module, so that it can be pickled.
    jobs : list of tuple
        Arguments of each call.
    n_at_once : int, default=1
        Number of processes that run at the same time.

    Returns
    -------
    list
        Results in the order of the jobs.
    """
    context = get_context("spawn")
    with ProcessPoolExecutor(n_at_once, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(function, *zip(*jobs, strict=True)))


def clocks() -> np.ndarray:
    """Return wall-clock seconds and processor seconds; the latter vary less on a busy machine."""
    return np.array([time.perf_counter(), time.process_time()])


def peak_memory() -> float:
    """Return the peak memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
