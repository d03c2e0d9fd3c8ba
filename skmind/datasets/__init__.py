"""Name of a dataset, or sizes of a planted one → Bunch of interaction, user and item frames."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from numbers import Integral
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from tqdm import tqdm

from .._checks import check_count, check_option, check_real
from ..exceptions import DatasetUnavailableError, InvalidInputError

__all__ = ["fetch_movielens", "make_interactions"]

_Frames = tuple[pd.DataFrame, pd.DataFrame | None, pd.DataFrame]  # events, users, items
_log = logging.getLogger("skmind")

_BASE_URL = "https://files.grouplens.org/datasets/movielens/"
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 16
_BLOCK = 1 << 21  # (user, item) weights held at a time, 16 MiB a matrix

_FIRST_TIME = 1_577_836_800  # 2020-01-01 UTC
_LAST_START = 30 * 86_400
_LONGEST_GAP = 86_400

_EVENT_COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
_USER_COLUMNS = ["user_id", "age", "gender", "occupation", "zip_code"]
_TYPES: dict[Any, Any] = {  # of whichever of these columns a file has
    **dict.fromkeys(["user_id", "item_id", "timestamp", "age"], "int64"),
    **dict.fromkeys(["title", "genres", "zip_code"], str),
    "rating": "float64",
}
_GENRES_100K = (
    "Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|"
    "Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split("|")
_OCCUPATIONS_1M = (
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|"
    "doctor/health care|executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|"
    "retired|sales/marketing|scientist|self-employed|technician/engineer|tradesman/craftsman|"
    "unemployed|writer"
).split("|")
_YEAR = r".*\((\d{4})(?:[^\d)]\d{0,4})?\)"  # the last one: "2001: A Space Odyssey (1968) (V)"

_LICENCE = """\
Collected by GroupLens Research at the University of Minnesota (https://grouplens.org).
Research use is free; the terms are in the README of the archive: among others, acknowledge
the data in publications, imply no endorsement, and ask before any commercial use.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19.
https://doi.org/10.1145/2827872
"""


def _read_table(path: Path, separator: str, names: list[str], **options: Any) -> pd.DataFrame:
    """Headerless table in latin-1, where quotation marks are plain text."""
    options |= {"header": None, "encoding": "latin-1", "quoting": csv.QUOTE_NONE}
    return pd.read_csv(
        path, sep=separator, names=names, dtype=_TYPES, keep_default_na=False, **options
    )


def _item_frame(item_id: Any, title: Any, genres: list[list[str]]) -> pd.DataFrame:
    items = pd.DataFrame({"item_id": item_id, "title": title}).astype({"item_id": "int64"})
    items["year"] = items["title"].str.extract(_YEAR, expand=False).astype("float64")
    items["genres"] = pd.Series(genres, dtype=object)
    return items


def _read_100k(folder: Path) -> _Frames:
    events = _read_table(folder / "u.data", "\t", _EVENT_COLUMNS)
    users = _read_table(folder / "u.user", "|", _USER_COLUMNS)
    fields = ["item_id", "title", "release_date", "video_date", "url", "unknown"]
    table = _read_table(folder / "u.item", "|", fields + _GENRES_100K)
    flags = table[_GENRES_100K].to_numpy() == 1
    genres = [[_GENRES_100K[j] for j in np.flatnonzero(row)] for row in flags]
    return events, users, _item_frame(table["item_id"], table["title"], genres)


def _read_1m(folder: Path) -> _Frames:
    # "::" as separator would need the slow Python engine; ":" leaves every second field empty.
    events = _read_table(folder / "ratings.dat", ":", _EVENT_COLUMNS, usecols=[0, 2, 4, 6])
    columns = ["user_id", "gender", "age", "occupation", "zip_code"]
    users = _read_table(folder / "users.dat", ":", columns, usecols=[0, 2, 4, 6, 8])
    users["occupation"] = users["occupation"].map(dict(enumerate(_OCCUPATIONS_1M)))
    # Titles hold ":" themselves, so only the outermost separators of a line count.
    lines = (folder / "movies.dat").read_text(encoding="latin-1").split("\n")
    item_id, rest = zip(*(line.split("::", 1) for line in lines if line), strict=True)
    title, genres = zip(*(text.rsplit("::", 1) for text in rest), strict=True)
    items = _item_frame(item_id, title, [text.split("|") for text in genres])
    return events, users[_USER_COLUMNS], items


def _read_latest_small(folder: Path) -> _Frames:
    names = {"userId": "user_id", "movieId": "item_id"}
    types = _TYPES | dict.fromkeys(names, "int64")
    columns = [*names, "rating", "timestamp"]
    events = pd.read_csv(folder / "ratings.csv", usecols=columns, dtype=types)
    columns = ["movieId", "title", "genres"]
    movies = pd.read_csv(folder / "movies.csv", usecols=columns, dtype=types, keep_default_na=False)
    genres = [[] if text.startswith("(no ") else text.split("|") for text in movies["genres"]]
    events = events.rename(columns=names)[_EVENT_COLUMNS]
    return events, None, _item_frame(movies["movieId"], movies["title"], genres)


@dataclass(frozen=True)
class _MovieLens:
    """One of GroupLens's archives: its folder, the files needed, and how to read them."""

    folder: str
    members: tuple[str, ...]
    md5: str | None
    read: Callable[[Path], _Frames]
    about: str

    @property
    def url(self) -> str:
        return f"{_BASE_URL}{self.folder}.zip"

    def is_in(self, home: Path) -> bool:
        """Whether ``home`` holds an unpacked copy with every file needed."""
        return all((home / self.folder / member).is_file() for member in self.members)


_MOVIELENS = {
    "100k": _MovieLens(
        "ml-100k",
        ("u.data", "u.user", "u.item"),
        "0e33842e24a9c977be4e0107933c0723",
        _read_100k,
        "100,000 ratings (1 to 5) of 1,682 movies by 943 users, September 1997 to April 1998.\n"
        "Every user has rated at least 20 movies.",
    ),
    "1m": _MovieLens(
        "ml-1m",
        ("ratings.dat", "users.dat", "movies.dat"),
        "c4d9eecfca2ab87c1945afe126590906",
        _read_1m,
        "1,000,209 ratings (1 to 5) of 3,706 movies (3,883 are listed) by 6,040 users who joined\n"
        "in 2000. Every user has rated at least 20 movies. Ages are the lower ends of brackets:\n"
        "1 (under 18), 18, 25, 35, 45, 50, 56.",
    ),
    "latest-small": _MovieLens(
        "ml-latest-small",
        ("ratings.csv", "movies.csv"),
        None,
        _read_latest_small,
        "About 100,000 ratings (0.5 to 5) of about 9,700 movies by 610 users, without\n"
        "demographics. GroupLens may change it at any time: use a stable set for reported results.",
    ),
}


def fetch_movielens(
    name: str = "100k",
    *,
    data_home: str | os.PathLike[str] | None = None,
    download_if_missing: bool = True,
) -> Bunch:
    """Load a MovieLens dataset, downloading it from GroupLens the first time.

    Parameters
    ----------
    name : {"100k", "1m", "latest-small"}, default="100k"
        Which dataset. The first two never change; the third may (see Notes).
    data_home : str or path-like, default=None
        Folder of the cache. By default the environment variable ``SKMIND_DATA``, or
        ``~/skmind_data`` where that is unset or empty. A copy unpacked by hand is read where it
        lies: ``<data_home>/ml-100k/u.data`` and so on, in GroupLens's own layout. A folder that
        lacks one of the files needed is no copy.
    download_if_missing : bool, default=True
        Whether to download what the cache does not hold; if False, that is an error.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        interactions : DataFrame
            ``user_id`` (int64), ``item_id`` (int64), ``rating`` (float64), ``timestamp`` (int64,
            seconds since 1970 UTC); rows in the order of the file.
        user_table : DataFrame or None
            ``user_id``, ``age`` (int64), ``gender`` ("F" or "M"), ``occupation``, ``zip_code``
            (text). None for ``"latest-small"``, which has no demographics.
        item_table : DataFrame
            ``item_id``, ``title`` (as published, with the year), ``year`` (float64, from the
            title, nan where it has none), ``genres`` (a list of names in each cell, empty where
            GroupLens says "unknown" or "no genres listed").
        DESCR : str
            Size, terms of use and the paper to cite.

    Raises
    ------
    InvalidInputError
        If ``name`` or ``data_home`` is illegal.
    DatasetUnavailableError
        If there is no copy and it cannot be downloaded (no network, damaged archive, folder not
        writable, ``download_if_missing=False``), or if the copy cannot be parsed.

    Notes
    -----
    The archives of ``"100k"`` and ``"1m"`` must have the md5 sum known to skmind. GroupLens may
    replace ``"latest-small"``, so its archive must have the sum that the server states in the
    ``.md5`` file beside it: that detects a damaged download, but not a changed dataset.

    The archive is held in memory and only the files needed are unpacked, into a temporary folder
    that is then renamed, so an interrupted download leaves nothing behind. If the dataset's
    folder exists but is incomplete, files of the same name in it are replaced.

    References
    ----------
    F. M. Harper and J. A. Konstan. The MovieLens Datasets: History and Context. ACM TiiS 5(4),
    2015. https://doi.org/10.1145/2827872

    Examples
    --------
    >>> from skmind.datasets import fetch_movielens
    >>> data = fetch_movielens("100k")  # doctest: +SKIP
    >>> data.interactions.shape  # doctest: +SKIP
    (100000, 4)
    """
    check_option(name, "name", list(_MOVIELENS))
    home = _data_home(data_home)
    source = _MOVIELENS[name]
    if not source.is_in(home):
        if not download_if_missing:
            raise _unavailable(source, home, "download_if_missing=False forbids the download")
        _install(source, home)
    try:
        interactions, users, items = source.read(home / source.folder)
    except ValueError as error:
        raise DatasetUnavailableError(
            f"the copy of MovieLens in {home / source.folder} cannot be read ({error}); "
            "remove that folder and call fetch_movielens again to download it afresh"
        ) from error
    descr = f"MovieLens {name}\n\n{source.about}\n\n{_LICENCE}"
    return Bunch(interactions=interactions, user_table=users, item_table=items, DESCR=descr)


def _data_home(data_home: Any) -> Path:
    if data_home is not None and not isinstance(data_home, str | os.PathLike):
        raise InvalidInputError(
            f"data_home={data_home!r} must be the path of a folder or None; "
            "None means the environment variable SKMIND_DATA, or else ~/skmind_data"
        )
    return Path(data_home or os.environ.get("SKMIND_DATA") or "~/skmind_data").expanduser()


def _unavailable(source: _MovieLens, home: Path, why: object) -> DatasetUnavailableError:
    return DatasetUnavailableError(
        f"no complete copy of {source.folder} in data_home={str(home)!r}, and {why}. "
        f"Download {source.url} yourself and unpack it so that {home / source.folder} holds "
        f"{', '.join(source.members)}; or set data_home, or the environment variable SKMIND_DATA, "
        f"to a folder that has {source.folder}/. make_interactions() needs no network."
    )


def _install(source: _MovieLens, home: Path) -> None:
    """Download, check and unpack ``source`` into ``home``: all of it or nothing."""
    _log.info("downloading %s to %s", source.url, home)
    try:
        archive = _download(source.url)
        _check_md5(archive, source)
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{source.folder}-", dir=home) as scratch:
            # A folder inside the scratch one, which only its owner could read after the rename.
            unpacked = Path(scratch) / source.folder
            unpacked.mkdir()
            _unpack(archive, source, unpacked)
            _move_into_place(unpacked, home / source.folder)
    except DatasetUnavailableError:
        raise
    except (OSError, HTTPException, zipfile.BadZipFile, zlib.error, KeyError) as error:
        why = f"installing it failed with {type(error).__name__}: {error}"
        raise _unavailable(source, home, why) from error


def _download(url: str) -> bytes:
    with urlopen(url, timeout=_TIMEOUT) as response:
        size = int(response.headers.get("Content-Length") or 0) or None
        name = url.rsplit("/", 1)[1]
        content = io.BytesIO()
        with tqdm(total=size, unit="B", unit_scale=True, desc=name, disable=None) as bar:
            while chunk := response.read(_CHUNK):
                content.write(chunk)
                bar.update(len(chunk))
    return content.getvalue()


def _check_md5(archive: bytes, source: _MovieLens) -> None:
    expected, origin = source.md5, "known to skmind"
    if expected is None:
        origin = f"published in {source.url}.md5"
        stated = _download(f"{source.url}.md5").decode("ascii", errors="replace").lower()
        match = re.search(r"\b[0-9a-f]{32}\b", stated)
        expected = match.group() if match else None
    found = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DatasetUnavailableError(
            f"the archive downloaded from {source.url} is damaged or was replaced: its md5 sum is "
            f"{found} ({len(archive):,} bytes), but the one {origin} is {expected}. Nothing was "
            "written; try again, and if it recurs report it to the maintainers of skmind"
        )


def _unpack(archive: bytes, source: _MovieLens, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        for member in source.members:
            with (
                content.open(f"{source.folder}/{member}") as packed,
                open(folder / member, "wb") as unpacked,
            ):
                shutil.copyfileobj(packed, unpacked)


def _move_into_place(unpacked: Path, folder: Path) -> None:
    """Rename ``unpacked`` to ``folder``, or its files if ``folder`` holds others already."""
    try:
        os.rename(unpacked, folder)
    except OSError:
        for path in unpacked.iterdir():
            os.replace(path, folder / path.name)


def make_interactions(
    n_users: int = 1000,
    n_items: int = 400,
    *,
    n_topics: int = 40,
    n_interests: int = 4,
    n_events: int | tuple[int, int] = (20, 30),
    noise: float = 0.1,
    popularity_exponent: float = 0.5,
    random_state: int | np.random.RandomState | np.random.Generator | None = None,
) -> Bunch:
    """Make interactions of users who each have a few planted interests.

    Items belong to topics of (nearly) equal size. Every user holds ``n_interests`` of the topics,
    drawn at random, so which topics go together says nothing. Every event takes one of the user's
    topics with equal chance and an item of it by popularity; with probability ``noise`` it takes
    any item of the catalogue with equal chance instead.

    Parameters
    ----------
    n_users : int, default=1000
        Number of users, at least 1.
    n_items : int, default=400
        Number of items, at least ``n_topics``. Time and the size of the temporary blocks grow
        with ``n_users * n_items``.
    n_topics : int, default=40
        Number of topics, at least 1. Raising it makes each topic smaller and rarer, and leaves a
        user vector that has fewer dimensions than there are topics less able to hold several.
    n_interests : int, default=4
        Topics of a user, 1 to ``n_topics``. Raising it gives a model with several interests more
        of an advantage over one with a single vector for each user.
    n_events : int or (int, int), default=(20, 30)
        Events of a user, at least 1: a number, or the ends (inclusive) of the range it is drawn
        from uniformly.
    noise : float, default=0.1
        Share of events that ignore the user's interests, 0 to 1. With 1 nothing can be learnt:
        every user's items are a uniform draw from the catalogue (the noise twin, against which a
        metric must stay at chance).
    popularity_exponent : float, default=0.5
        The r-th most popular item of a topic is taken with a weight of ``r**-popularity_exponent``,
        0 to 100. 0 makes all items of a topic equal, 1 is Zipf's law; raising it makes popular
        items a stronger baseline.
    random_state : int, RandomState, Generator or None, default=None
        Seed (0 or more) or generator; the same seed gives the same data. None draws fresh
        entropy. numpy's global generator is neither read nor changed.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        interactions : DataFrame
            ``user_id``, ``item_id`` and ``timestamp`` (int64, seconds since 1970 UTC, distinct
            within a user), sorted by time.
        item_table : DataFrame
            ``item_id`` (0 to ``n_items - 1``), ``title`` ("topic 3, item 17"), ``topic``.
        item_interest : ndarray of shape (n_items,), int64
            Topic of each item.
        user_interests : ndarray of shape (n_users, n_topics), bool
            Topics of each user, ``n_interests`` true in each row.
        DESCR : str
            What was made.

    Raises
    ------
    InvalidInputError
        If a parameter is outside the range stated above.

    Notes
    -----
    A user takes an item once. Only when the topics of a user (or, for noise, the catalogue) hold
    no unseen item does one come again. The order of a user's events is random, so it carries no
    information beyond the set of items.

    Weighted sampling without replacement takes the items with the largest log weight + Gumbel
    noise (Efraimidis and Spirakis, Information Processing Letters 97(5), 2006, in its log form).
    So the chance of a topic falls as its items are used up.

    Examples
    --------
    >>> from skmind.datasets import make_interactions
    >>> data = make_interactions(n_users=5, n_events=8, random_state=0)
    >>> data.interactions.shape
    (40, 3)
    >>> data.user_interests.sum(axis=1)
    array([4, 4, 4, 4, 4])
    """
    _check_sizes(n_users=n_users, n_items=n_items, n_topics=n_topics, n_interests=n_interests)
    low, high = _event_range(n_events)
    check_real(noise, "noise", 0, 1)
    check_real(popularity_exponent, "popularity_exponent", 0, 100)
    rng = _generator(random_state)

    topic, log_weight = _plant_topics(rng, n_items, n_topics, popularity_exponent)
    held = rng.random((n_users, n_topics)).argsort(axis=1)[:, :n_interests]
    user_interests = np.zeros((n_users, n_topics), dtype=bool)
    np.put_along_axis(user_interests, held, True, axis=1)
    n_drawn = rng.integers(low, high + 1, size=n_users)
    drawn = np.empty((n_users, high), dtype=np.int64)
    step = max(1, _BLOCK // n_items)
    for block in (slice(start, start + step) for start in range(0, n_users, step)):
        scores = np.where(user_interests[block][:, topic], log_weight, -np.inf)  # (B, n_items)
        drawn[block] = _draw_items(rng, scores, n_drawn[block], noise, high)

    title = [f"topic {t}, item {i}" for i, t in enumerate(topic)]
    return Bunch(
        interactions=_with_times(rng, drawn, n_drawn),
        item_table=pd.DataFrame({"item_id": np.arange(n_items), "title": title, "topic": topic}),
        item_interest=topic,
        user_interests=user_interests,
        DESCR=f"Planted interests\n\n{n_users} users, {low} to {high} events of each, {n_items} "
        f"items.\nEach user holds {n_interests} of {n_topics} topics; noise {noise:g}.",
    )


def _check_sizes(**sizes: Any) -> None:
    _, n_items, n_topics, n_interests = (check_count(n, name) for name, n in sizes.items())
    if not n_interests <= n_topics <= n_items:
        raise InvalidInputError(
            f"n_interests={n_interests}, n_topics={n_topics} and n_items={n_items} must not "
            "decrease in this order: a user holds distinct topics, and each topic needs an item; "
            "raise the later one or lower the earlier one"
        )


def _event_range(n_events: Any) -> tuple[int, int]:
    ends = tuple(n_events) if isinstance(n_events, tuple | list) else (n_events, n_events)
    counts = all(isinstance(end, Integral) and not isinstance(end, bool) for end in ends)
    if len(ends) != 2 or not counts or not 1 <= ends[0] <= ends[1]:
        raise InvalidInputError(
            f"n_events={n_events!r} must be an integer of at least 1, or a pair (low, high) of "
            "such integers with low <= high"
        )
    return int(ends[0]), int(ends[1])


def _generator(random_state: Any) -> np.random.Generator:
    """A Generator of its own, unless the caller hands one over to be advanced."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, np.random.RandomState):
        return np.random.default_rng(random_state.randint(0, 2**32, size=4, dtype=np.uint32))
    if random_state is not None:
        legal = isinstance(random_state, Integral) and not isinstance(random_state, bool)
        if not legal or random_state < 0:
            raise InvalidInputError(
                f"random_state={random_state!r} must be None, an integer of at least 0, or a "
                "numpy Generator or RandomState; pass e.g. random_state=0"
            )
    return np.random.default_rng(random_state)


def _plant_topics(
    rng: np.random.Generator, n_items: int, n_topics: int, exponent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Topic of each item, and the log of its chance within its topic, both (n_items,)."""
    place = rng.permutation(n_items)
    topic, rank = place % n_topics, place // n_topics
    weight = (1.0 + rank) ** -exponent
    total = np.bincount(topic, weights=weight)
    # From the logs, because a large exponent underflows to a weight of zero.
    return topic, -exponent * np.log1p(rank) - np.log(total)[topic]


def _draw_items(
    rng: np.random.Generator, scores: np.ndarray, n_drawn: np.ndarray, noise: float, width: int
) -> np.ndarray:
    """Items of a block of users in no particular order of time, (B, width).

    ``scores`` (B, n_items) holds log weights, -inf outside the user's topics. Of a row only the
    first ``n_drawn`` columns count: the draws from the user's topics, then the noise.
    """
    B, N = scores.shape
    row, column = np.arange(B)[:, None], np.arange(width)
    n_liked = (n_drawn - rng.binomial(n_drawn, noise))[:, None]
    is_liked = column < n_liked  # (B, width)

    pool = np.isfinite(scores).sum(axis=1, keepdims=True)
    liked = _largest(scores + rng.gumbel(size=(B, N)), width)[row, column % pool]
    taken = np.zeros((B, N), dtype=bool)
    taken[np.nonzero(is_liked)[0], liked[is_liked]] = True
    unseen_first = _largest(rng.random((B, N)) - taken, width)
    return np.where(is_liked, liked, unseen_first[row, np.maximum(column - n_liked, 0) % N])


def _largest(keys: np.ndarray, width: int) -> np.ndarray:
    """Columns of the ``width`` largest keys of each row (or of all keys), largest first."""
    width = min(width, keys.shape[1])
    top = np.argpartition(-keys, width - 1, axis=1)[:, :width]
    order = np.take_along_axis(-keys, top, axis=1).argsort(axis=1)
    return np.take_along_axis(top, order, axis=1)


def _with_times(rng: np.random.Generator, drawn: np.ndarray, n_drawn: np.ndarray) -> pd.DataFrame:
    """Log of the drawn items (n_users, width), each user's in random order, sorted by time."""
    B, W = drawn.shape
    is_event = np.arange(W) < n_drawn[:, None]
    order = np.where(is_event, rng.random((B, W)), np.inf).argsort(axis=1)
    items = np.take_along_axis(drawn, order, axis=1)  # (B, W), those that count still first
    gaps = rng.integers(1, _LONGEST_GAP + 1, size=(B, W))
    times = _FIRST_TIME + rng.integers(0, _LAST_START, size=(B, 1)) + gaps.cumsum(axis=1)
    log = pd.DataFrame({"user_id": np.nonzero(is_event)[0], "item_id": items[is_event]})
    log["timestamp"] = times[is_event]
    return log.sort_values("timestamp", kind="stable", ignore_index=True)
