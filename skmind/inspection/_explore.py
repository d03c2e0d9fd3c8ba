"""Recommender → a web page in which a person explores its interests and recommendations.

The page holds what it needs to compute interests and recommendations itself: item vectors in 16
bits, histories, and the weights of the network. Its program is built from ``explorer/`` of the
repository; see the README there.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._model import FittedModel
from .._recommender import known_codes, titles_by_code
from ..data.interactions import Interactions
from ..exceptions import InvalidInputError, UnknownIdError
from ..nn.inference import profile_vectors, raw_items

TEMPLATE = "_explorer.html"
DATA_START = '<script type="application/json" id="data">'
MAX_ITEMS = 20_000  # that are recommended; as many others may be in histories
MAX_USERS = 2_000
MAX_EVENTS = 500_000  # of all histories
MAX_INT16 = 2**15 - 1
# Weights of the network that the page does not need: it has the vectors that they lead to.
TABLES = ("item_embedding", "item_values.weight", "user_values.weight", "profile")
FRAME_HEIGHT = 900  # pixels, in a notebook


@dataclass(frozen=True)
class ExplorerPage:
    """A page that shows interests and recommendations; `MINDRecommender.explore` creates it.

    Notebooks show the page.

    Attributes
    ----------
    html : str
        The page. It loads nothing and sends nothing.
    notes : tuple of str
        What the page holds, as it says at its top.
    """

    html: str
    notes: tuple[str, ...]

    def save(self, path: str | PathLike[str]) -> None:
        """Write the page to a file; an existing file is replaced.

        Raises
        ------
        InvalidInputError
            If ``path`` is a directory, is in none, or is no path.
        OSError
            If the file can't be written.
        """
        check_page_path(path).write_text(self.html, encoding="utf-8", newline="\n")

    def __repr__(self) -> str:
        return f"<ExplorerPage of {len(self.html):,} bytes: {' '.join(self.notes)}>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" title="Explorer" srcdoc="{html.escape(self.html)}" '
            f'style="width: 100%; height: {FRAME_HEIGHT}px; border: 0"></iframe>'
        )


def check_page_path(path: Any) -> Path:
    """Return the path of a file that can be written.

    Raises
    ------
    InvalidInputError
        If it is a directory, is in none, or is no path.
    """
    if not isinstance(path, str | PathLike):
        raise InvalidInputError(f"path={path!r} must be the path of a file such as 'page.html'")
    path = Path(path)
    if path.is_dir():
        raise InvalidInputError(f"path={str(path)!r} is a directory; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InvalidInputError(
            f"path={str(path)!r}: its directory does not exist; create it first"
        )
    return path


def explore(
    rec: Any,
    path: str | PathLike[str] | None = None,
    *,
    user_ids: Any = None,
    items: Any = None,
    titles: Any = None,
) -> ExplorerPage:
    """Create the page; see `MINDRecommender.explore`."""
    check_is_fitted(rec, "items_")
    if path is not None:
        check_page_path(path)
    rec = rec._frozen()
    snapshot = rec._fitted()
    model = snapshot.model
    texts = titles_by_code(model, titles)
    allowed = _allowed_items(model, items)
    users = _chosen_users(model, user_ids, allowed)
    histories = model.interactions.take(users)
    windows = _in_windows(histories, model.config.max_history)
    in_page = np.union1d(np.flatnonzero(allowed), histories.items[windows])
    net = snapshot.network(rec.device)
    notes = _notes(model, allowed, users, is_sample=user_ids is None)
    payload = {
        "title": "Interests and recommendations",
        "notes": notes,
        "config": _config(model),
        "exclude_seen": bool(rec.exclude_seen),
        "temperature": model.plan.temperature,
        "n_events": int(max(model.prepared.counts.sum(), 1)),
        "items": {
            "ids": _texts(model.items.ids[in_page]),
            "titles": None if texts is None else texts[in_page].tolist(),
            "counts": _packed(model.prepared.counts[in_page], np.uint32),
            "allowed": None if allowed[in_page].all() else _packed(allowed[in_page], np.uint8),
            "vectors": _quantised(raw_items(net, in_page)),
        },
        "users": _user_arrays(model, users, histories, in_page)
        | {"profiles": _profiles(net, model, users)},
        "weights": {
            name: _packed(array, np.float32)
            for name, array in model.weights.items()
            if name not in TABLES
        },
    }
    page = ExplorerPage(_fill(payload), notes)
    if path is not None:
        page.save(path)
    return page


def _config(model: FittedModel) -> dict[str, Any]:
    """Return the sizes of the network by the names that the page uses."""
    config = model.config
    n_heads = 1
    if config.n_encoder_layers:
        n_heads = len(model.weights["layers.0.age_bias"])
    return {
        "D": config.embedding_dim,
        "K": config.n_interests,
        "maxHistory": config.max_history,
        "nRoutingIter": config.n_routing_iter,
        "adaptive": config.adaptive_interests,
        "nLayers": config.n_encoder_layers,
        "nHeads": n_heads,
    }


# ------------------------------------------------------------------ which items and users


def _allowed_items(model: FittedModel, items: Any) -> np.ndarray:
    """Return which items the page recommends: a mask of shape (n_items,)."""
    n_items = len(model.items)
    allowed = np.zeros(n_items, dtype=bool)
    if items is not None:
        codes = model.items.encode(items)
        allowed[codes[codes >= 0]] = True
        if not allowed.any():
            raise UnknownIdError(
                f"items= has {len(codes)} ids, none of which was in fit; items_ has the known ids"
            )
        if allowed.sum() > MAX_ITEMS:
            raise InvalidInputError(
                f"items= has {allowed.sum():,} known ids, but a page recommends {MAX_ITEMS:,} "
                "items at most; name fewer, or None for the most frequent ones"
            )
        return allowed
    most_frequent = np.argsort(-model.prepared.counts, kind="stable")[:MAX_ITEMS]
    allowed[most_frequent] = True
    return allowed


def _chosen_users(model: FittedModel, user_ids: Any, allowed: np.ndarray) -> np.ndarray:
    """Return the codes of the users whose histories are in the page.

    Raises
    ------
    UnknownIdError
        If ``fit`` has not seen a user.
    InvalidInputError
        If the users don't fit into a page.
    """
    if user_ids is None:
        codes = np.random.default_rng(model.seed).permutation(len(model.users))[:MAX_USERS]
        n_fitting = _count_fitting(model, codes, allowed)
        return np.sort(codes[:n_fitting])
    codes = np.array(list(dict.fromkeys(known_codes(model.users, user_ids).tolist())), np.int64)
    n_fitting = _count_fitting(model, codes, allowed)
    if len(codes) > min(n_fitting, MAX_USERS):
        raise InvalidInputError(
            f"user_ids has {len(codes):,} users, but a page holds at most {MAX_USERS:,} users with "
            f"{MAX_EVENTS:,} interactions and {MAX_ITEMS:,} items that are not recommended; the "
            f"first {min(n_fitting, MAX_USERS):,} fit, name fewer"
        )
    return codes


def _count_fitting(model: FittedModel, codes: np.ndarray, allowed: np.ndarray) -> int:
    """Return how many of the first users have histories that fit into a page together."""
    histories = model.interactions.take(codes)
    windows = _in_windows(histories, model.config.max_history)
    is_new = np.zeros(len(histories.items), dtype=bool)
    others = np.flatnonzero(windows & ~allowed[histories.items])
    is_new[others[np.unique(histories.items[others], return_index=True)[1]]] = True
    n_new = np.append(0, np.cumsum(is_new))[histories.offsets[1:]]
    fits = (histories.offsets[1:] <= MAX_EVENTS) & (n_new <= MAX_ITEMS)
    return int(np.count_nonzero(fits))  # both only grow


def _in_windows(histories: Interactions, max_history: int) -> np.ndarray:
    """Return which interactions are among the newest ``max_history`` of their history."""
    ends = np.repeat(histories.offsets[1:], histories.lengths)
    return ends - np.arange(len(ends)) <= max_history


def _notes(
    model: FittedModel, allowed: np.ndarray, users: np.ndarray, is_sample: bool
) -> tuple[str, ...]:
    """Return what the page holds, in sentences."""
    n_users = len(model.users)
    n_items = len(model.items)
    n_allowed = int(allowed.sum())
    notes = [
        f"This page has {_share(len(users), n_users)} users and recommends from "
        f"{_share(n_allowed, n_items)} items, with up to {model.config.n_interests} interests."
    ]
    if is_sample and len(users) < n_users:
        notes.append("The users were drawn at random.")
    if n_allowed < n_items and n_allowed == MAX_ITEMS:
        notes.append("The items are the most frequent ones.")
    return tuple(notes)


def _share(n: int, total: int) -> str:
    return f"all {n:,}" if n == total else f"{n:,} of {total:,}"


# ------------------------------------------------------------------ arrays → JSON


def _user_arrays(
    model: FittedModel, users: np.ndarray, histories: Interactions, in_page: np.ndarray
) -> dict[str, Any]:
    """Return ids and histories; items that the page does not have are left out of histories."""
    place = np.full(len(model.items), -1, dtype=np.int64)
    place[in_page] = np.arange(len(in_page))
    places = place[histories.items]
    is_kept = places >= 0
    offsets = np.append(0, np.cumsum(is_kept))[histories.offsets]
    return {
        "ids": _texts(model.users.ids[users]),
        "offsets": _packed(offsets, np.uint32),
        "items": _packed(places[is_kept], np.uint16),
    }


def _profiles(net: Any, model: FittedModel, users: np.ndarray) -> dict[str, str] | None:
    profiles = profile_vectors(net, model.profile_rows(users))
    return None if profiles is None else _quantised(profiles)


def _texts(ids: np.ndarray) -> list[str]:
    return [str(id_) for id_ in ids.tolist()]


def _quantised(rows: np.ndarray) -> dict[str, str]:
    """Return rows of numbers in 16 bits, with a scale per row."""
    scale = (np.abs(rows).max(axis=1, initial=0) / MAX_INT16).astype(np.float32)  # (n,)
    divisor = np.where(scale > 0, scale, 1)
    values = np.clip(np.rint(rows / divisor[:, None]), -MAX_INT16, MAX_INT16)
    return {"scale": _packed(scale, np.float32), "values": _packed(values, np.int16)}


def _packed(array: Iterable[Any], dtype: type) -> str:
    """Return an array in little-endian bytes, in base64."""
    values = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(values.tobytes()).decode("ascii")


def _fill(payload: dict[str, Any]) -> str:
    """Return the page with its data, in which no text can end the script or start a tag."""
    data = json.dumps(payload, separators=(",", ":"), allow_nan=False)  # in ASCII
    for character in "<>&":
        data = data.replace(character, f"\\u{ord(character):04x}")
    template = files(__package__).joinpath(TEMPLATE).read_bytes().decode()
    before, start, after = template.partition(DATA_START)
    return before + start + data + after
