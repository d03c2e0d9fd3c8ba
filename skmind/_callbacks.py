"""scikit-learn's callbacks → a call of ``fit`` and its epochs as their tasks.

scikit-learn has callbacks since version 1.9. With older versions nothing is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing."""

    def with_callbacks(method: Any) -> Any:
        """Return ``method``."""
        return method


__all__ = ["CallbackSupportMixin", "FitTasks", "with_callbacks"]


class FitTasks:
    """One call of ``fit`` and its epochs, as tasks of the callbacks of an estimator.

    Parameters
    ----------
    estimator : estimator
        The method that creates the tasks must be decorated by `with_callbacks`.
    name : str
        Name of the task that has the epochs as subtasks.
    n_epochs : int
        Maximum number of epochs.
    X, y : object
        What ``fit`` received; callbacks that ask for them receive them.
    """

    def __init__(self, estimator: Any, name: str, n_epochs: int, X: Any, y: Any) -> None:
        self._context: Any = None
        self._arguments = {"estimator": estimator, "X": X, "y": y}
        if hasattr(estimator, "_init_callback_context"):
            self._context = estimator._init_callback_context(name, max_subtasks=n_epochs)

    def begin(self) -> None:
        """Tell the callbacks that the call begins."""
        if self._context is not None:
            self._context.call_on_fit_task_begin(**self._arguments)

    def end(self) -> None:
        """Tell the callbacks that the estimator is fitted."""
        if self._context is not None:
            self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes={})

    def begin_epoch(
        self, epoch: int, attributes: Callable[[Any], dict[str, Any]]
    ) -> Callable[[Any], bool]:
        """Tell the callbacks that an epoch begins.

        Parameters
        ----------
        epoch : int
            From 1.
        attributes : callable
            Returns the attributes of the estimator as if ``fit`` ended with this epoch, for the
            argument of the function that is returned. It is only called if a callback asks.

        Returns
        -------
        callable
            To be called at the end of the epoch; returns whether a callback asks to stop.
        """
        if self._context is None:
            return lambda state: False
        task = self._context.subcontext(task_name=f"epoch {epoch}")
        task.call_on_fit_task_begin(**self._arguments)

        def end(state: Any) -> bool:
            return task.call_on_fit_task_end(
                **self._arguments, reconstruction_attributes=lambda: attributes(state)
            )

        return end
