"""Weights of rows, as the caller gives them → one checked number per row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..exceptions import InvalidInputError
from .prepare import Schema, check_roles
from .shard import ALONE, Collectives
from .tables import column_names, is_frame, scalar_array, take_column


def read_weights(
    X: Any, schema: Schema, sample_weight: Any, processes: Collectives = ALONE
) -> np.ndarray | None:
    """Return the weights of the rows of a table of interactions, relative to their mean.

    Parameters
    ----------
    X : frame, or 2-D array
    schema : Schema
        Its ``weight`` names the column of the weights, if there is one.
    sample_weight : array of shape (n_rows,) or None
    processes : Collectives, default=ALONE
        The mean is that of the rows of all of them.

    Returns
    -------
    ndarray of shape (n_rows,), float32, or None
        None: all rows have the same weight.

    Raises
    ------
    InvalidInputError
        If both are given, a weight is not a finite number of at least 0, all weights are 0, or
        ``sample_weight`` has another length or another index than ``X``.
    """
    name = "sample_weight"
    if schema.weight is not None:
        if sample_weight is not None:
            raise InvalidInputError(
                f"sample_weight is given, but weight_col={schema.weight!r} names the column of the "
                "weights; give one of them: set weight_col=None, or leave out sample_weight"
            )
        name = f"column {schema.weight!r}"
        check_roles(X, schema, ("user", "item", "time", "weight"))
        sample_weight = scalar_array(take_column(X, schema.weight, "weight_col"), name, "weight")
    if sample_weight is None:
        return None
    check_aligned(sample_weight, X)
    weights = check_weights(sample_weight, len(X), name)
    extremes = processes.gather((weights.max(initial=0), weights.min(initial=np.inf)))
    largest = max(high for high, _ in extremes)
    if largest == 0 and len(weights):
        raise InvalidInputError(
            f"{name}: the weight is zero in every row of X, so that there is nothing to learn; "
            "give a row a positive weight, or extend histories without training (add_interactions)"
        )
    if min(low for _, low in extremes) >= largest:
        return None
    weights = weights / largest  # the mean of large numbers would overflow
    total, n_rows = processes.sum(np.array([weights.sum(), len(weights)]))
    return (weights / (total / n_rows)).astype(np.float32)


def check_aligned(sample_weight: Any, X: Any) -> None:
    """Raise if the weights are a Series with another index than the frame ``X``."""
    is_series = isinstance(sample_weight, pd.Series) and isinstance(X, pd.DataFrame)
    if is_series and len(sample_weight) == len(X) and not sample_weight.index.equals(X.index):
        raise InvalidInputError(
            "sample_weight is a Series with another index than X; give it in the rows of X: "
            "sample_weight.loc[X.index], or sample_weight.to_numpy() if it is in their order"
        )


def check_weights(sample_weight: Any, n_rows: int, name: str = "sample_weight") -> np.ndarray:
    """Return one float64 weight per row.

    Parameters
    ----------
    sample_weight : array of shape (n_rows,), or None
        None: all weights are 1.
    n_rows : int
    name : str
        What the weights are, for the message.

    Raises
    ------
    InvalidInputError
        If a weight is not a finite number of at least 0, there is not one per row, or
        ``sample_weight`` is a masked array.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    check_readable(sample_weight, name)
    try:
        array = np.asarray(sample_weight)
        if array.dtype.kind not in "biufO" or any(isinstance(v, str) for v in _objects(array)):
            raise TypeError("not numbers")
        weights = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{name} must have one number for each row of X, got {_example(sample_weight)}; "
            "convert it (pandas.to_numeric), and drop rows or fill in weights that are missing"
        ) from error
    must = f"{name} must have one finite number of at least 0 for each of the {n_rows} rows of X"
    if weights.shape != (n_rows,):
        cure = "give the weights of exactly these rows"
        if weights.shape in ((n_rows, 1), (1, n_rows)):
            cure = f"pass numpy.ravel({name})"
            if is_frame(sample_weight) and weights.shape[1] == 1:
                cure = f"pass its column: {name}[{column_names(sample_weight)[0]!r}]"
        raise InvalidInputError(f"{must}, got an array of shape {weights.shape}; {cure}")
    is_valid = np.isfinite(weights) & (weights >= 0)
    if not is_valid.all():
        row = int(is_valid.argmin())
        raise InvalidInputError(
            f"{must}, got {weights[row]:g} in row {row}; drop these rows, or give them a weight, "
            "such as 0 for dislikes"
        )
    return weights


def check_readable(values: Any, name: str) -> None:
    """Raise if `numpy.asarray` would drop a mask of ``values``, or can't read a tensor.

    Parameters
    ----------
    values : array, tensor, or list of them
    name : str
        The parameter that received them.

    Raises
    ------
    InvalidInputError
    """
    is_list = isinstance(values, list | tuple)
    rows = values if is_list else [values]
    if any(isinstance(row, np.ma.MaskedArray) for row in rows):
        array = f"numpy.ma.stack({name})" if is_list else name
        raise InvalidInputError(
            f"{name} has a masked array, whose mask would be lost; pass {array}.filled(0) if "
            f"what is masked counts as 0, or {array}.data if nothing is masked"
        )
    tensors = [row for row in rows if hasattr(row, "detach")]
    try:
        for tensor in tensors:
            np.asarray(tensor)
    except (RuntimeError, TypeError) as error:
        tensor = f"torch.stack({name})" if is_list else name
        raise InvalidInputError(
            f"{name} has a tensor of type {tensors[0].dtype} on the device {tensors[0].device}, "
            f"which numpy can't read: {error}; pass {tensor}.detach().cpu().double().numpy()"
        ) from error


def _example(weights: Any) -> str:
    """Return a short text of what can't be weights."""
    if isinstance(weights, str) or not hasattr(weights, "__len__"):
        return repr(weights)
    values = [value for value in weights if not isinstance(value, int | float)] or [*weights]
    return f"{type(weights).__name__} with {str(values[:1])[1:-1]}"


def _objects(array: np.ndarray) -> np.ndarray:
    """Return the values of an array of objects; none of another array."""
    return array.ravel() if array.dtype == object else array.ravel()[:0]
