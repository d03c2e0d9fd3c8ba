import dataclasses
import errno
import hashlib
import io
import logging
import os
import zipfile
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from skmind import datasets
from skmind.datasets import fetch_movielens, make_interactions
from skmind.exceptions import DatasetUnavailableError, InvalidInputError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
BASE = "https://files.grouplens.org/datasets/movielens/"


def flags(*positions):
    return "|".join(str(int(j in positions)) for j in range(19))


# Small datasets in GroupLens's own layouts, with the oddities of the real ones.
FILES = {
    "ml-100k": {
        "u.data": b"2\t1\t5\t881250949\n1\t3\t1\t881250900\n1\t2\t3\t891717742\n",
        "u.user": b"1|24|M|technician|85711\n2|53|F|other|N/A\n",
        "u.item": (
            f"1|Toy Story (1995)|01-Jan-1995||http://x|{flags(3, 4, 5)}\n"
            f'2|"Am\xe9lie (Two) (2001): One (1968) (V)||||{flags(18)}\n'
            f"3|unknown||||{flags(0)}\n"
        ).encode("latin-1"),
    },
    "ml-1m": {
        "ratings.dat": b"1::1193::5::978300760\n2::3::4::978302109\n1::7::2::978301968\n",
        "users.dat": b"1::F::1::10::01067\n2::M::56::20::06810-1234\n",
        "movies.dat": (
            "3::Star Wars: Episode IV (1977)::Action|Sci-Fi\n"
            "7::Odd::Title (2000)::Drama\n"
            "1193::Ca\xf1on City (1948)::Children's\n"
        ).encode("latin-1"),
    },
    "ml-latest-small": {
        "ratings.csv": b"userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,47,0.5,964983815\n",
        "movies.csv": (
            "movieId,title,genres\n"
            '1,"American President, The (1995)",Comedy|Drama\n'
            "47,Death Note: Desu n\u014dto (2006\u20132007),(no genres listed)\n"
            "50,NA,Drama\n"
        ).encode(),
    },
}
FOLDERS = {"100k": "ml-100k", "1m": "ml-1m", "latest-small": "ml-latest-small"}


def unpack(home, folder, leave_out=()):
    (home / folder).mkdir(parents=True)
    for member, content in FILES[folder].items():
        if member not in leave_out:
            (home / folder / member).write_bytes(content)


def zipped(folder, leave_out=()):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}/README", "not needed")
        archive.writestr(f"../{folder}-escaped", "path traversal")
        for member, text in FILES[folder].items():
            if member not in leave_out:
                archive.writestr(f"{folder}/{member}", text)
    return content.getvalue()


def md5(content):
    return hashlib.md5(content).hexdigest()


class Response(io.BytesIO):
    def __init__(self, content, length=None):
        super().__init__(content)
        self.headers = {} if length is None else {"Content-Length": str(length)}


@pytest.fixture
def server(monkeypatch):
    """URL → bytes, or the exception that opening it raises; records what was asked."""
    pages, asked = {}, []

    def open_url(url, timeout):
        assert timeout > 0
        asked.append(url)
        page = pages.get(url, URLError("Name or service not known"))
        if isinstance(page, BaseException):
            raise page
        return page if isinstance(page, Response) else Response(page, len(page))

    monkeypatch.setattr(datasets, "urlopen", open_url)
    pages["asked"] = asked
    return pages


@pytest.fixture
def serve(server, monkeypatch):
    """Publish an archive for one of the names; its checksum becomes the expected one."""

    def publish(name, content=None):
        folder = FOLDERS[name]
        content = zipped(folder) if content is None else content
        url = f"{BASE}{folder}.zip"
        server[url] = content
        if name == "latest-small":
            server[f"{url}.md5"] = f"MD5 ({folder}.zip) = {md5(content).upper()}\n".encode()
        else:
            source = datasets._MOVIELENS[name]
            pinned = dataclasses.replace(source, md5=md5(content))
            monkeypatch.setitem(datasets._MOVIELENS, name, pinned)
        return server

    return publish


def below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ------------------------------------------------------------------ fetch_movielens: parsing


def test_100k_is_parsed(tmp_path):
    unpack(tmp_path, "ml-100k")
    data = fetch_movielens("100k", data_home=tmp_path)
    assert data.interactions.to_dict("list") == {
        "user_id": [2, 1, 1],
        "item_id": [1, 3, 2],
        "rating": [5.0, 1.0, 3.0],
        "timestamp": [881250949, 881250900, 891717742],
    }
    assert data.user_table.to_dict("list") == {
        "user_id": [1, 2],
        "age": [24, 53],
        "gender": ["M", "F"],
        "occupation": ["technician", "other"],
        "zip_code": ["85711", "N/A"],
    }
    items = data.item_table
    assert items.columns.tolist() == ["item_id", "title", "year", "genres"]
    assert items["item_id"].tolist() == [1, 2, 3]
    title = '"Am\xe9lie (Two) (2001): One (1968) (V)'
    assert items["title"].tolist() == ["Toy Story (1995)", title, "unknown"]
    assert_array_equal(items["year"], [1995, 1968, np.nan])
    assert items["genres"].tolist() == [["Animation", "Children's", "Comedy"], ["Western"], []]
    assert data.DESCR.startswith("MovieLens 100k\n\n100,000 ratings")
    assert "Harper" in data.DESCR


def test_1m_is_parsed(tmp_path):
    unpack(tmp_path, "ml-1m")
    data = fetch_movielens("1m", data_home=str(tmp_path))
    assert data.interactions.to_dict("list") == {
        "user_id": [1, 2, 1],
        "item_id": [1193, 3, 7],
        "rating": [5.0, 4.0, 2.0],
        "timestamp": [978300760, 978302109, 978301968],
    }
    assert data.user_table.to_dict("list") == {
        "user_id": [1, 2],
        "age": [1, 56],
        "gender": ["F", "M"],
        "occupation": ["K-12 student", "writer"],
        "zip_code": ["01067", "06810-1234"],
    }
    assert data.item_table.to_dict("list") == {
        "item_id": [3, 7, 1193],
        "title": ["Star Wars: Episode IV (1977)", "Odd::Title (2000)", "Ca\xf1on City (1948)"],
        "year": [1977.0, 2000.0, 1948.0],
        "genres": [["Action", "Sci-Fi"], ["Drama"], ["Children's"]],
    }


def test_latest_small_is_parsed(tmp_path):
    unpack(tmp_path, "ml-latest-small")
    data = fetch_movielens("latest-small", data_home=tmp_path)
    assert data.interactions.to_dict("list") == {
        "user_id": [1, 1],
        "item_id": [1, 47],
        "rating": [4.0, 0.5],
        "timestamp": [964982703, 964983815],
    }
    assert data.user_table is None
    items = data.item_table
    japanese = "Death Note: Desu n\u014dto (2006\u20132007)"
    assert items["item_id"].tolist() == [1, 47, 50]
    assert items["title"].tolist() == ["American President, The (1995)", japanese, "NA"]
    assert_array_equal(items["year"], [1995, 2006, np.nan])
    assert items["genres"].tolist() == [["Comedy", "Drama"], [], ["Drama"]]


@pytest.mark.parametrize("name", FOLDERS)
def test_every_set_has_the_same_types(tmp_path, name):
    unpack(tmp_path, FOLDERS[name])
    data = fetch_movielens(name, data_home=tmp_path)
    types = data.interactions.dtypes.astype(str).to_dict()
    assert types == {
        "user_id": "int64",
        "item_id": "int64",
        "rating": "float64",
        "timestamp": "int64",
    }
    assert data.item_table["item_id"].dtype == "int64"
    assert data.item_table["year"].dtype == "float64"
    assert pd.api.types.is_string_dtype(data.item_table["title"])
    if data.user_table is not None:
        assert data.user_table["age"].dtype == "int64"
        assert pd.api.types.is_string_dtype(data.user_table["zip_code"])


@pytest.mark.parametrize(
    ("name", "member", "content"),
    [
        ("100k", "u.data", b"1\t2\t3\n"),
        ("100k", "u.data", b"user\titem\t3\t4\n"),
        ("100k", "u.item", b"x|Toy Story (1995)\n"),
        ("1m", "movies.dat", b"1::no genres\n"),
        ("1m", "movies.dat", b""),
        ("latest-small", "ratings.csv", b"user,item\n1,2\n"),
        ("latest-small", "movies.csv", b"movieId,title,genres\n1,\xe9,Drama\n"),
    ],
)
def test_a_copy_that_cannot_be_parsed_is_named(tmp_path, name, member, content):
    folder = FOLDERS[name]
    unpack(tmp_path, folder)
    (tmp_path / folder / member).write_bytes(content)
    with pytest.raises(DatasetUnavailableError, match=f"{folder} cannot be read .*remove that"):
        fetch_movielens(name, data_home=tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/data beside the repository")
def test_the_real_100k(server):
    data = fetch_movielens("100k", data_home=SHARED)
    events = data.interactions
    assert events.shape == (100_000, 4)
    assert events["user_id"].nunique() == len(data.user_table) == 943
    assert events["item_id"].nunique() == len(data.item_table) == 1682
    assert sorted(events["rating"].unique()) == [1, 2, 3, 4, 5]
    dates = pd.to_datetime(events["timestamp"], unit="s")
    assert (dates.min().year, dates.max().year) == (1997, 1998)
    assert set(events["user_id"]) == set(data.user_table["user_id"])
    assert set(events["item_id"]) == set(data.item_table["item_id"])
    assert data.item_table["year"].isna().sum() == 1
    assert data.item_table["year"].between(1922, 1998).sum() == 1681
    assert (data.item_table["genres"].map(len) == 0).sum() == 2
    assert server["asked"] == []


# ------------------------------------------------------------------ fetch_movielens: data home


def test_data_home_comes_from_the_argument_then_the_variable_then_home(tmp_path, monkeypatch):
    homes = [tmp_path / name for name in ("argument", "variable", "skmind_data")]
    for n_events, home in enumerate(homes, start=1):
        unpack(home, "ml-100k")
        (home / "ml-100k" / "u.data").write_bytes(b"1\t1\t5\t0\n" * n_events)
    monkeypatch.setenv("SKMIND_DATA", str(homes[1]))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert len(fetch_movielens(data_home=homes[0]).interactions) == 1
    assert len(fetch_movielens().interactions) == 2
    monkeypatch.setenv("SKMIND_DATA", "")
    assert len(fetch_movielens().interactions) == 3
    monkeypatch.delenv("SKMIND_DATA")
    assert len(fetch_movielens().interactions) == 3
    assert len(fetch_movielens(data_home="~/skmind_data").interactions) == 3


@pytest.mark.parametrize("name", ["10m", "", None, 100])
def test_unknown_name(name):
    with pytest.raises(InvalidInputError, match="name=.* '100k', '1m', 'latest-small'"):
        fetch_movielens(name)


def test_illegal_data_home():
    with pytest.raises(InvalidInputError, match="data_home=3 must be the path of a folder"):
        fetch_movielens(data_home=3)


def test_no_download_when_forbidden(tmp_path, serve):
    server = serve("100k")
    with pytest.raises(DatasetUnavailableError, match="download_if_missing=False") as raised:
        fetch_movielens(data_home=tmp_path, download_if_missing=False)
    assert isinstance(raised.value, OSError)
    assert server["asked"] == []


# ------------------------------------------------------------------ fetch_movielens: download


@pytest.mark.parametrize("name", FOLDERS)
def test_download_is_unpacked_once(tmp_path, serve, name, caplog, capsys):
    server, folder, home = serve(name), FOLDERS[name], tmp_path / "new" / "home"
    with caplog.at_level(logging.INFO, logger="skmind"):
        first = fetch_movielens(name, data_home=home)
    assert f"{BASE}{folder}.zip" in caplog.text
    assert capsys.readouterr() == ("", "")  # no bar where nobody watches
    assert below(tmp_path) == sorted(f"new/home/{folder}/{m}" for m in FILES[folder])
    assert [p.name for p in home.iterdir()] == [folder]
    n_asked = len(server["asked"])
    assert n_asked == (2 if name == "latest-small" else 1)

    again = fetch_movielens(name, data_home=home, download_if_missing=False)
    assert len(server["asked"]) == n_asked
    assert_frame_equal(again.interactions, first.interactions)
    unpack(tmp_path / "by hand", folder)
    by_hand = fetch_movielens(name, data_home=tmp_path / "by hand")
    assert_frame_equal(by_hand.item_table, first.item_table)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_the_cache_is_readable_by_others(tmp_path, serve):
    serve("100k")
    fetch_movielens(data_home=tmp_path)
    (tmp_path / "reference").mkdir()
    modes = [(tmp_path / name).stat().st_mode for name in ("ml-100k", "reference")]
    assert modes[0] == modes[1]


def test_download_without_a_stated_length(tmp_path, serve):
    server = serve("100k")
    url = f"{BASE}ml-100k.zip"
    server[url] = Response(server[url])
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


def test_an_incomplete_folder_is_no_copy(tmp_path, serve):
    server = serve("1m")
    unpack(tmp_path, "ml-1m", leave_out=["users.dat"])
    (tmp_path / "ml-1m" / "ratings.dat").write_bytes(b"stale")
    (tmp_path / "ml-1m" / "train.tsv").write_bytes(b"mine")
    data = fetch_movielens("1m", data_home=tmp_path)
    assert len(server["asked"]) == 1
    assert len(data.interactions) == 3
    assert (tmp_path / "ml-1m" / "train.tsv").read_bytes() == b"mine"
    assert below(tmp_path) == [
        f"ml-1m/{m}" for m in ("movies.dat", "ratings.dat", "train.tsv", "users.dat")
    ]


def test_the_pinned_sums_are_the_published_ones():
    sums = {name: source.md5 for name, source in datasets._MOVIELENS.items()}
    assert sums == {
        "100k": "0e33842e24a9c977be4e0107933c0723",
        "1m": "c4d9eecfca2ab87c1945afe126590906",
        "latest-small": None,
    }


def test_another_archive_than_the_pinned_one_is_rejected(tmp_path, server):
    content = zipped("ml-100k")
    server[f"{BASE}ml-100k.zip"] = content
    match = f"is damaged or was replaced.*{md5(content)}.*known to skmind is 0e33842e24"
    with pytest.raises(DatasetUnavailableError, match=match):
        fetch_movielens(data_home=tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_archive_is_rejected(tmp_path, serve):
    server = serve("100k")
    url = f"{BASE}ml-100k.zip"
    server[url] = Response(server[url][:-9], len(server[url]))
    with pytest.raises(DatasetUnavailableError, match="damaged"):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stated", [b"", b"<html>moved</html>", b"MD5 (x) = " + b"0" * 32])
def test_latest_small_must_have_the_published_sum(tmp_path, serve, stated):
    server = serve("latest-small")
    server[f"{BASE}ml-latest-small.zip.md5"] = stated
    with pytest.raises(DatasetUnavailableError, match=r"published in .*zip\.md5 is (None|0{32})"):
        fetch_movielens("latest-small", data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("latest-small", b"no zip archive", "BadZipFile"),
        ("latest-small", zipped("ml-latest-small", ["movies.csv"]), "KeyError.*movies.csv"),
        ("1m", zipped("ml-100k"), "KeyError.*ratings.dat"),
    ],
)
def test_an_archive_of_another_form_is_rejected(tmp_path, serve, name, content, match):
    serve(name, content)
    with pytest.raises(DatasetUnavailableError, match=match):
        fetch_movielens(name, data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [URLError("Name or service not known"), TimeoutError("timed out"), IncompleteRead(b"")],
)
def test_offline_says_what_to_do(tmp_path, server, error):
    server[f"{BASE}ml-1m.zip"] = error
    home = tmp_path / "home"
    with pytest.raises(DatasetUnavailableError, match=type(error).__name__) as raised:
        fetch_movielens("1m", data_home=home)
    message = str(raised.value)
    for part in (f"{BASE}ml-1m.zip", str(home / "ml-1m"), "ratings.dat, users.dat, movies.dat"):
        assert part in message
    for way_out in ("data_home", "SKMIND_DATA", "make_interactions() needs no network"):
        assert way_out in message
    assert raised.value.__cause__ is error
    assert list(tmp_path.iterdir()) == []


class Breaking(Response):
    """A download that breaks off after the first piece."""

    error: BaseException

    def read(self, size=-1):
        if self.tell():
            raise self.error
        return super().read(10)


@pytest.mark.parametrize("error", [ConnectionResetError("reset by peer"), KeyboardInterrupt()])
def test_an_interrupted_download_leaves_nothing_behind(tmp_path, serve, error):
    server = serve("100k")
    url = f"{BASE}ml-100k.zip"
    archive = server[url]
    server[url] = Breaking(archive, len(archive))
    server[url].error = error
    expected = DatasetUnavailableError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"reset by peer|^$"):
        fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []
    server[url] = archive
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_an_interrupted_unpacking_leaves_nothing_behind(tmp_path, serve, monkeypatch, error):
    serve("100k")
    n_copied = []

    def copy(source, target):
        target.write(source.read(5))
        n_copied.append(1)
        if len(n_copied) == 2:
            raise error

    monkeypatch.setattr(datasets.shutil, "copyfileobj", copy)
    expected = DatasetUnavailableError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"disk full|^$"):
        fetch_movielens(data_home=tmp_path)
    assert len(n_copied) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_data_home_that_cannot_be_written(tmp_path, serve):
    serve("100k")
    home = tmp_path / "file"
    home.write_bytes(b"mine")
    with pytest.raises(DatasetUnavailableError, match="installing it failed with FileExistsError"):
        fetch_movielens(data_home=home)
    assert home.read_bytes() == b"mine"


def test_a_file_in_place_of_the_folder(tmp_path, serve):
    serve("100k")
    (tmp_path / "ml-100k").write_bytes(b"mine")
    with pytest.raises(DatasetUnavailableError, match="installing it failed with"):
        fetch_movielens(data_home=tmp_path)
    assert below(tmp_path) == ["ml-100k"]
    assert (tmp_path / "ml-100k").read_bytes() == b"mine"


# ------------------------------------------------------------------ make_interactions


def in_topic(data):
    """Whether each event lies in a topic of its user."""
    log = data.interactions
    return data.user_interests[log["user_id"], data.item_interest[log["item_id"]]]


def test_shapes_and_types():
    data = make_interactions(50, 30, n_topics=7, n_interests=3, n_events=8, random_state=0)
    log = data.interactions
    assert log.columns.tolist() == ["user_id", "item_id", "timestamp"]
    assert (log.dtypes == "int64").all()
    assert len(log) == 400
    assert log.index.equals(pd.RangeIndex(400))
    assert (log["user_id"].value_counts() == 8).all()
    assert log["user_id"].nunique() == 50
    assert log["item_id"].between(0, 29).all()
    assert log["timestamp"].is_monotonic_increasing
    assert not log.duplicated(["user_id", "timestamp"]).any()
    years = pd.to_datetime(log["timestamp"], unit="s").dt.year
    assert (years == 2020).all()
    assert data.user_interests.shape == (50, 7)
    assert data.user_interests.dtype == bool
    assert_array_equal(data.user_interests.sum(axis=1), 3)
    assert data.item_interest.shape == (30,)
    assert data.item_interest.dtype == np.int64
    assert_array_equal(np.sort(np.bincount(data.item_interest)), [4, 4, 4, 4, 4, 5, 5])
    assert not np.array_equal(data.item_interest, np.arange(30) % 7)  # an id tells nothing
    assert "50 users, 8 to 8 events of each, 30 items" in data.DESCR


def test_item_table_tells_the_topics():
    data = make_interactions(2, 12, n_topics=5, n_interests=1, n_events=2, random_state=3)
    items = data.item_table
    assert items.columns.tolist() == ["item_id", "title", "topic"]
    assert_array_equal(items["item_id"], np.arange(12))
    assert_array_equal(items["topic"], data.item_interest)
    assert items["title"][7] == f"topic {data.item_interest[7]}, item 7"
    assert items["title"].is_unique


def test_events_follow_the_interests():
    data = make_interactions(noise=0.1, random_state=0)
    log, share = data.interactions, in_topic(data).mean()
    # Noise lands in the user's topics by chance: some 17 of the 377 items that are still unseen.
    expected = 0.9 + 0.1 * 17 / 377
    assert expected - 0.01 < share < expected + 0.01
    assert not log.duplicated(["user_id", "item_id"]).any()
    n_events = log["user_id"].value_counts()
    assert (n_events.min(), n_events.max()) == (20, 30)
    assert 24.5 < n_events.mean() < 25.5


def test_without_noise_every_event_is_in_topic():
    data = make_interactions(300, noise=0, random_state=1)
    assert in_topic(data).all()
    # Four topics with equal chances: some 25 / 4 events in each, none of them left out.
    log = data.interactions.assign(topic=data.item_interest[data.interactions["item_id"]])
    per_topic = log.groupby(["user_id", "topic"]).size()
    assert 6.0 < per_topic.mean() < 6.5
    assert 1.2 < per_topic.std() < 2.2


def test_the_noise_twin_has_no_structure():
    data = make_interactions(noise=1.0, random_state=0)
    log = data.interactions
    chance = 40 / 400  # the items of four topics out of forty
    assert chance - 0.008 < in_topic(data).mean() < chance + 0.008
    assert not log.duplicated(["user_id", "item_id"]).any()
    # A uniform catalogue: the counts of the items vary as those of a fair draw do.
    counts = np.bincount(log["item_id"], minlength=400)
    assert 0.8 < counts.var() / counts.mean() < 1.2
    # Two items of a topic go together no more often than any two.
    seen = np.zeros((1000, 400))
    seen[log["user_id"], log["item_id"]] = 1
    correlation = np.corrcoef(seen.T)
    same = data.item_interest[:, None] == data.item_interest
    np.fill_diagonal(same, False)
    assert -0.01 < correlation[same].mean() < 0.01

    planted = make_interactions(noise=0.1, random_state=0)
    seen = np.zeros((1000, 400))
    seen[planted.interactions["user_id"], planted.interactions["item_id"]] = 1
    assert 0.3 < np.corrcoef(seen.T)[same].mean() < 0.7


def test_topics_of_a_user_are_independent():
    held = make_interactions(5000, 40, n_events=1, random_state=0).user_interests
    assert held.sum(axis=0).min() > 400  # 500 expected each
    assert held.sum(axis=0).max() < 600
    together = (held.astype(float).T @ held)[np.triu_indices(40, 1)]
    expected = 5000 * (4 * 3) / (40 * 39)
    assert 0.7 < together.var() / expected < 1.3


def test_topics_have_equal_chances_whatever_their_size():
    options = {"n_topics": 2, "n_interests": 2, "n_events": 1, "noise": 0, "random_state": 0}
    data = make_interactions(20_000, 3, **options)
    topic = data.item_interest[data.interactions["item_id"]]
    assert sorted(np.bincount(data.item_interest)) == [1, 2]
    assert 0.49 < topic.mean() < 0.51


def test_times_of_a_user_are_distinct():
    log = make_interactions(3, 1000, n_events=1000, random_state=0).interactions
    assert not log.duplicated(["user_id", "timestamp"]).any()


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_items_of_a_topic_follow_the_popularity_law(exponent):
    data = make_interactions(
        20_000,
        10,
        n_topics=2,
        n_interests=1,
        n_events=1,
        noise=0,
        popularity_exponent=exponent,
        random_state=0,
    )
    counts = np.bincount(data.interactions["item_id"], minlength=10)
    expected = np.arange(1, 6) ** -exponent
    for topic in range(2):
        found = np.sort(counts[data.item_interest == topic])[::-1]
        np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), atol=0.02)


def test_successive_draws_match_a_loop():
    """Pairs drawn without replacement come as often as from numpy's own one-by-one draws."""
    options = {"n_topics": 1, "n_interests": 1, "n_events": 2, "noise": 0}
    data = make_interactions(20_000, 3, popularity_exponent=1.0, random_state=0, **options)
    pairs = data.interactions.groupby("user_id")["item_id"].agg(frozenset)
    missing = pairs.map(lambda pair: ({0, 1, 2} - pair).pop())
    found = np.sort(np.bincount(missing)) / 20_000
    p = np.array([6, 3, 2]) / 11
    pair = {(i, j): p[i] * p[j] / (1 - p[i]) for i in range(3) for j in range(3) if i != j}
    expected = sorted(pair[i, j] + pair[j, i] for i, j in [(0, 1), (0, 2), (1, 2)])
    np.testing.assert_allclose(found, expected, atol=0.012)


def test_order_within_a_user_is_random():
    data = make_interactions(4000, n_events=20, popularity_exponent=1.0, random_state=0)
    log = data.interactions.sort_values(["user_id", "timestamp"], kind="stable")
    popularity = np.bincount(log["item_id"])
    by_position = popularity[log["item_id"].to_numpy()].reshape(4000, 20).mean(axis=0)
    assert np.abs(by_position / by_position.mean() - 1).max() < 0.05
    liked = in_topic(make_interactions(4000, n_events=20, random_state=0))
    assert 0.88 < liked[:4000].mean() < 0.92
    assert 0.88 < liked[-4000:].mean() < 0.92


def test_items_come_again_only_when_none_is_unseen():
    options = {"n_topics": 2, "n_interests": 1, "random_state": 0}
    data = make_interactions(20, 10, n_events=13, noise=0, **options)
    counts = data.interactions.groupby(["user_id", "item_id"]).size()
    assert counts.groupby("user_id").size().eq(5).all()  # all items of the topic
    assert set(counts) == {2, 3}
    assert in_topic(data).all()

    data = make_interactions(20, 10, n_events=23, noise=1.0, **options)
    counts = data.interactions.groupby(["user_id", "item_id"]).size()
    assert len(counts) == 200
    assert set(counts) == {2, 3}

    for sizes in ({"n_topics": 2, "n_events": 5}, {"n_topics": 1, "n_events": 10}):
        data = make_interactions(200, 10, noise=0.5, **(options | sizes))
        assert not data.interactions.duplicated(["user_id", "item_id"]).any()


def test_extreme_popularity_keeps_every_item_reachable():
    options = {"n_topics": 1, "n_interests": 1, "random_state": 0}
    data = make_interactions(
        5, 20_000, n_events=20_000, noise=0, popularity_exponent=100, **options
    )
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()


def test_blocks_of_users_are_alike(monkeypatch):
    monkeypatch.setattr(datasets, "_BLOCK", 400 * 7)
    data = make_interactions(100, noise=0, random_state=0)
    assert in_topic(data).all()
    assert not data.interactions.duplicated(["user_id", "item_id"]).any()
    assert data.interactions["user_id"].nunique() == 100
    monkeypatch.setattr(datasets, "_BLOCK", 1)
    assert in_topic(make_interactions(10, noise=0, random_state=0)).all()


# ------------------------------------------------------------------ make_interactions: randomness


@pytest.mark.parametrize("make", [int, np.int64, np.random.RandomState, np.random.default_rng])
def test_the_same_seed_gives_the_same_data(make):
    first, second, other = (
        make_interactions(30, n_events=(2, 6), random_state=make(seed)) for seed in (5, 5, 6)
    )
    assert_frame_equal(first.interactions, second.interactions)
    assert_frame_equal(first.item_table, second.item_table)
    assert_array_equal(first.user_interests, second.user_interests)
    assert not first.interactions.equals(other.interactions)


@pytest.mark.parametrize("kind", [np.random.RandomState, np.random.default_rng])
def test_a_generator_is_advanced(kind):
    generator = kind(0)
    first = make_interactions(30, random_state=generator)
    second = make_interactions(30, random_state=generator)
    assert not first.interactions.equals(second.interactions)


def test_without_a_seed_the_data_differ_and_the_global_generator_rests():
    before = np.random.get_state()  # noqa: NPY002
    first = make_interactions(30).interactions
    assert not first.equals(make_interactions(30).interactions)
    make_interactions(30, random_state=0)
    after = np.random.get_state()  # noqa: NPY002
    assert_array_equal(before[1], after[1])
    assert before[2:] == after[2:]


# ------------------------------------------------------------------ make_interactions: errors


@pytest.mark.parametrize("name", ["n_users", "n_items", "n_topics", "n_interests"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_illegal_counts(name, value):
    with pytest.raises(InvalidInputError, match=f"{name}={value!r} must be an integer of at least"):
        make_interactions(**{name: value})


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_interests": 5, "n_topics": 4, "n_items": 400},
        {"n_interests": 4, "n_topics": 40, "n_items": 39},
    ],
)
def test_sizes_that_do_not_fit_together(sizes):
    stated = ".*".join(f"{name}={value}" for name, value in sizes.items())
    with pytest.raises(InvalidInputError, match=f"{stated} must not decrease"):
        make_interactions(**sizes)


@pytest.mark.parametrize(
    "value", [0, -3, 2.5, "8", None, True, (0, 3), (5, 4), (1, 2, 3), (3,), (), (1, 2.0), [1, None]]
)
def test_illegal_n_events(value):
    with pytest.raises(InvalidInputError, match="n_events=.* must be an integer of at least 1, or"):
        make_interactions(n_events=value)


@pytest.mark.parametrize(
    ("name", "value", "legal"),
    [
        ("noise", -0.1, "from 0 to 1"),
        ("noise", 1.1, "from 0 to 1"),
        ("noise", np.nan, "from 0 to 1"),
        ("noise", "0.1", "from 0 to 1"),
        ("popularity_exponent", -0.5, "from 0 to 100"),
        ("popularity_exponent", np.inf, "from 0 to 100"),
        ("popularity_exponent", None, "from 0 to 100"),
    ],
)
def test_illegal_numbers(name, value, legal):
    with pytest.raises(InvalidInputError, match=f"{name}={value!r} must be a number {legal}"):
        make_interactions(**{name: value})


@pytest.mark.parametrize("value", [-1, 1.5, "0", True, np.random])
def test_illegal_random_state(value):
    with pytest.raises(InvalidInputError, match="random_state=.* must be None, an integer"):
        make_interactions(random_state=value)
