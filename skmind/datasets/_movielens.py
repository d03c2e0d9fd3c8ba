"""Name of a MovieLens dataset → Bunch of its frames, downloaded on first use."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.utils import Bunch

from .._checks import check_option
from ..exceptions import DatasetUnavailableError, InvalidInputError

_Frames = tuple[pd.DataFrame, pd.DataFrame | None, pd.DataFrame]  # interactions, users, items

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
TIMEOUT_SECONDS = 30.0  # maximum time without data from the server

INTERACTION_COLUMNS = ["user_id", "item_id", "rating", "timestamp"]
USER_COLUMNS = ["user_id", "age", "gender", "occupation", "zip_code"]
COLUMN_TYPES: dict[Any, Any] = {  # a file has some of these columns
    **dict.fromkeys(["user_id", "item_id", "timestamp", "age"], "int64"),
    **dict.fromkeys(["title", "genres", "zip_code"], str),
    "rating": "float64",
}
GENRES_100K = (
    "Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|Fantasy|Film-Noir|"
    "Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
).split("|")
OCCUPATIONS_1M = (
    "other|academic/educator|artist|clerical/admin|college/grad student|customer service|"
    "doctor/health care|executive/managerial|farmer|homemaker|K-12 student|lawyer|programmer|"
    "retired|sales/marketing|scientist|self-employed|technician/engineer|tradesman/craftsman|"
    "unemployed|writer"
).split("|")
# The last year in parentheses: 1968 for "2001: A Space Odyssey (1968) (V)".
YEAR_PATTERN = r".*\((\d{4})(?:[^\d)]\d{0,4})?\)"

LICENCE_TEXT = """\
Collected by GroupLens Research at the University of Minnesota (https://grouplens.org).
Research use is free; the terms are in the README of the archive: among others, acknowledge
the data in publications, imply no endorsement, and ask before any commercial use.

F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
ACM Transactions on Interactive Intelligent Systems 5, 4, Article 19.
https://doi.org/10.1145/2827872
"""


def _read_table(path: Path, separator: str, names: list[str], **options: Any) -> pd.DataFrame:
    """Read a latin-1 table without a header, in which quotation marks are plain text."""
    options |= {"header": None, "encoding": "latin-1", "quoting": csv.QUOTE_NONE}
    return pd.read_csv(
        path, sep=separator, names=names, dtype=COLUMN_TYPES, keep_default_na=False, **options
    )


def _item_frame(item_id: Any, title: Any, genres: list[list[str]]) -> pd.DataFrame:
    items = pd.DataFrame({"item_id": item_id, "title": title}).astype({"item_id": "int64"})
    items["year"] = items["title"].str.extract(YEAR_PATTERN, expand=False).astype("float64")
    items["genres"] = pd.Series(genres, dtype=object)
    return items


def _read_100k(folder: Path) -> _Frames:
    interactions = _read_table(folder / "u.data", "\t", INTERACTION_COLUMNS)
    users = _read_table(folder / "u.user", "|", USER_COLUMNS)
    fields = ["item_id", "title", "release_date", "video_date", "url", "unknown"]
    table = _read_table(folder / "u.item", "|", fields + GENRES_100K)
    has_genre = table[GENRES_100K].to_numpy() == 1  # (n_items, n_genres)
    genres = [
        [name for name, is_set in zip(GENRES_100K, row, strict=True) if is_set] for row in has_genre
    ]
    return interactions, users, _item_frame(table["item_id"], table["title"], genres)


def _read_1m(folder: Path) -> _Frames:
    # "::" as separator needs pandas' slow Python parser. With ":" every second field is empty.
    interactions = _read_table(
        folder / "ratings.dat", ":", INTERACTION_COLUMNS, usecols=[0, 2, 4, 6]
    )
    columns = ["user_id", "gender", "age", "occupation", "zip_code"]
    users = _read_table(folder / "users.dat", ":", columns, usecols=[0, 2, 4, 6, 8])
    users["occupation"] = users["occupation"].map(dict(enumerate(OCCUPATIONS_1M)))
    # Titles contain ":" themselves, so only the first and the last "::" of a line separate fields.
    lines = (folder / "movies.dat").read_text(encoding="latin-1").split("\n")
    item_id, rest = zip(*(line.split("::", 1) for line in lines if line), strict=True)
    title, genres = zip(*(text.rsplit("::", 1) for text in rest), strict=True)
    items = _item_frame(item_id, title, [text.split("|") for text in genres])
    return interactions, users[USER_COLUMNS], items


def _read_latest_small(folder: Path) -> _Frames:
    names = {"userId": "user_id", "movieId": "item_id"}
    types = COLUMN_TYPES | dict.fromkeys(names, "int64")
    columns = [*names, "rating", "timestamp"]
    ratings = pd.read_csv(folder / "ratings.csv", usecols=columns, dtype=types)
    interactions = ratings.rename(columns=names)[INTERACTION_COLUMNS]
    columns = ["movieId", "title", "genres"]
    movies = pd.read_csv(folder / "movies.csv", usecols=columns, dtype=types, keep_default_na=False)
    genres = [[] if text.startswith("(no ") else text.split("|") for text in movies["genres"]]
    return interactions, None, _item_frame(movies["movieId"], movies["title"], genres)


@dataclass(frozen=True)
class _Archive:
    """Description of a zip archive of GroupLens.

    Attributes
    ----------
    folder : str
        Name of the archive without ``.zip``, and of the folder in it.
    members : tuple of str
        Files of the archive that are read.
    md5 : str or None
        Check-sum of the archive; None if GroupLens publishes it beside the archive.
    read : callable
        Function that reads the folder of the unpacked files and returns the frames.
    description : str
    """

    folder: str
    members: tuple[str, ...]
    md5: str | None
    read: Callable[[Path], _Frames]
    description: str

    @property
    def url(self) -> str:
        return f"{BASE_URL}{self.folder}.zip"

    def is_in(self, home: Path) -> bool:
        """Return whether ``home`` has an unpacked copy with every file that is read."""
        return all((home / self.folder / member).is_file() for member in self.members)


ARCHIVES = {
    "100k": _Archive(
        "ml-100k",
        ("u.data", "u.user", "u.item"),
        "0e33842e24a9c977be4e0107933c0723",
        _read_100k,
        "100,000 ratings (1 to 5) of 1,682 movies by 943 users, September 1997 to April 1998.\n"
        "Every user has rated at least 20 movies.",
    ),
    "1m": _Archive(
        "ml-1m",
        ("ratings.dat", "users.dat", "movies.dat"),
        "c4d9eecfca2ab87c1945afe126590906",
        _read_1m,
        "1,000,209 ratings (1 to 5) of 3,706 movies (3,883 are listed) by 6,040 users who joined\n"
        "in 2000. Every user has rated at least 20 movies. Ages are the lower ends of brackets:\n"
        "1 (under 18), 18, 25, 35, 45, 50, 56.",
    ),
    "latest-small": _Archive(
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
    """Load a MovieLens dataset and download it from GroupLens if necessary.

    The download needs pooch, which ``pip install skmind[datasets]`` installs. To read an
    existing copy, pooch is not needed.

    Parameters
    ----------
    name : {"100k", "1m", "latest-small"}, default="100k"
        Name of the dataset. "100k" and "1m" never change; "latest-small" may (see Notes).
    data_home : str or path-like, default=None
        Folder that contains the datasets. By default, the folder that the environment variable
        ``SKMIND_DATA`` names, or ``~/skmind_data`` if the variable is unset or empty. A copy
        unpacked by hand is used if it has the layout of the archive
        (``<data_home>/ml-100k/u.data`` and so on) and all files that are read.
    download_if_missing : bool, default=True
        Whether to download the dataset if ``data_home`` has no complete copy. If False, raise an
        error instead.

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
            title, nan if the title has none), ``genres`` (a list of names per item, empty if
            GroupLens says "unknown" or "no genres listed").
        DESCR : str
            Size, terms of use and the paper to cite.

    Raises
    ------
    InvalidInputError
        If ``name`` or ``data_home`` is invalid.
    DatasetUnavailableError
        If there is no copy and it cannot be downloaded (no network, wrong check-sum, damaged
        archive, folder not writable, ``download_if_missing=False``), or if the copy cannot be
        parsed.
    ImportError
        If the dataset must be downloaded and pooch is not installed.

    Notes
    -----
    The archives of ``"100k"`` and ``"1m"`` must have the md5 sum stored in skmind. GroupLens may
    replace ``"latest-small"``, so its archive must have the sum in the ``.md5`` file that the
    server publishes beside it. This detects a damaged download, but not a changed dataset.

    The files are unpacked into a temporary folder that is then renamed, so an interrupted download
    leaves nothing behind. If the folder of the dataset exists but is incomplete, files of the same
    name in it are replaced.

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
    check_option(name, "name", list(ARCHIVES))
    home = _resolve_data_home(data_home)
    archive = ARCHIVES[name]
    if not archive.is_in(home):
        if not download_if_missing:
            raise _unavailable(archive, home, "download_if_missing=False forbids the download")
        _download(archive, home)
    try:
        interactions, users, items = archive.read(home / archive.folder)
    except ValueError as error:
        raise DatasetUnavailableError(
            f"the copy of MovieLens in {home / archive.folder} cannot be read ({error}); "
            "remove that folder and call fetch_movielens again to download it again"
        ) from error
    descr = f"MovieLens {name}\n\n{archive.description}\n\n{LICENCE_TEXT}"
    return Bunch(interactions=interactions, user_table=users, item_table=items, DESCR=descr)


def _resolve_data_home(data_home: Any) -> Path:
    if data_home is not None and not isinstance(data_home, str | os.PathLike):
        raise InvalidInputError(
            f"data_home={data_home!r} must be the path of a folder or None; "
            "None means the environment variable SKMIND_DATA, or else ~/skmind_data"
        )
    return Path(data_home or os.environ.get("SKMIND_DATA") or "~/skmind_data").expanduser()


def _unavailable(archive: _Archive, home: Path, reason: str) -> DatasetUnavailableError:
    return DatasetUnavailableError(
        f"no complete copy of {archive.folder} in data_home={str(home)!r}, and {reason}. "
        f"Download {archive.url} yourself and unpack it so that {home / archive.folder} has "
        f"{', '.join(archive.members)}; or set data_home, or the environment variable SKMIND_DATA, "
        f"to a folder that has {archive.folder}/. make_interactions() needs no network."
    )


def _download(archive: _Archive, home: Path) -> None:
    """Download, check and unpack ``archive`` into ``home``; an error leaves no files there."""
    try:
        import pooch
    except ImportError as error:
        raise ImportError(
            f"downloading {archive.url} needs pooch, which is not installed: run "
            "pip install skmind[datasets], or download and unpack the archive yourself so that "
            f"{home / archive.folder} has {', '.join(archive.members)}"
        ) from error
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    downloader = pooch.HTTPDownloader(progressbar=is_terminal, timeout=TIMEOUT_SECONDS)
    members = [f"{archive.folder}/{member}" for member in archive.members]
    try:
        md5 = archive.md5 or _published_md5(archive, downloader)
        with tempfile.TemporaryDirectory() as scratch:
            path = pooch.retrieve(
                archive.url,
                known_hash=f"md5:{md5}",
                fname=f"{archive.folder}.zip",
                path=scratch,
                downloader=downloader,
            )
            home.mkdir(parents=True, exist_ok=True)
            # A rename is atomic only within one file system, so the files are unpacked in `home`.
            with (
                tempfile.TemporaryDirectory(prefix=f".{archive.folder}-", dir=home) as unpacked,
                zipfile.ZipFile(path) as content,
            ):
                content.extractall(unpacked, members)
                _move_into_place(Path(unpacked) / archive.folder, home / archive.folder)
    # pooch raises ValueError for a wrong check-sum, and zipfile KeyError for a missing member.
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = f"the download failed with {type(error).__name__}: {str(error).rstrip('.')}"
        raise _unavailable(archive, home, reason) from error


def _published_md5(archive: _Archive, downloader: Callable[..., Any]) -> str:
    text = io.BytesIO()
    downloader(f"{archive.url}.md5", text, None)
    match = re.search(rb"\b[0-9a-f]{32}\b", text.getvalue().lower())
    if match is None:
        raise ValueError(f"{archive.url}.md5 has no md5 sum")
    return match.group().decode()


def _move_into_place(unpacked: Path, folder: Path) -> None:
    """Rename ``unpacked`` to ``folder``; if ``folder`` is not empty, move the files one by one."""
    try:
        os.rename(unpacked, folder)
    except OSError:
        for path in unpacked.iterdir():
            os.replace(path, folder / path.name)
