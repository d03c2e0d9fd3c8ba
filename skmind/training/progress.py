"""Samples, losses and metrics of a fit → a progress bar, or one line per epoch, on stderr."""

from __future__ import annotations

import sys
import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # In a notebook without ipywidgets tqdm.auto falls back to its text bar, with a warning.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

NOTEBOOK_MODULES = ("ipykernel.zmqshell", "IPython.utils._process_emscripten")  # see tqdm.auto


class Progress:
    """Show samples per second, the loss and the validation metric of a fit.

    Terminals and notebooks get one bar over the samples of all epochs. Other streams, such as a log
    file, cannot redraw a line; they get one line per epoch.

    Parameters
    ----------
    n_samples : int
        Number of samples per epoch.
    n_epochs : int
        Number of epochs of the whole fit.
    n_epochs_done : int
        Number of epochs that an interrupted fit has completed.
    verbose : int
        0 shows nothing.
    """

    def __init__(self, n_samples: int, n_epochs: int, n_epochs_done: int, verbose: int) -> None:
        disable: bool | None = None  # tqdm: disable if stderr is not a terminal
        if not verbose:
            disable = True
        elif any(name in sys.modules for name in NOTEBOOK_MODULES):
            disable = False  # a notebook can redraw lines, although it is no terminal
        self._bar = tqdm(
            initial=n_epochs_done * n_samples,
            total=n_epochs * n_samples,
            unit=" samples",
            unit_scale=True,
            disable=disable,
        )
        self._writes_lines = bool(verbose) and self._bar.disable
        self._n_epochs = n_epochs
        self._title = ""
        self._values: dict[str, str] = {}

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def start_epoch(self, epoch: int) -> None:
        """Name the epoch, counted from 1, in front of the bar."""
        self._title = f"epoch {epoch}/{self._n_epochs}"
        self._bar.set_description(self._title, refresh=False)

    def advance(self, n_samples: int) -> bool:
        """Add samples; return whether the bar was redrawn, which happens ten times per second."""
        return bool(self._bar.update(n_samples))

    def show(self, values: dict[str, float]) -> None:
        """Show each value with its name until a new value replaces it."""
        self._values |= {name: f"{value:.4f}" for name, value in values.items()}
        self._bar.set_postfix(self._values, refresh=False)

    def end_epoch(self, samples_per_second: float) -> None:
        """Write the line of the epoch if there is no bar."""
        if self._writes_lines:
            values = "".join(f", {name}={value}" for name, value in self._values.items())
            line = f"{self._title}: {samples_per_second:,.0f} samples/s{values}"
            tqdm.write(line, file=sys.stderr)
