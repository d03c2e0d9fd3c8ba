import dataclasses
import errno
import hashlib
import io
import os
import shutil
import sys
import tempfile
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pooch
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from skmind.datasets import _movielens, fetch_movielens
from skmind.exceptions import DatasetUnavailableError, InvalidInputError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


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


@dataclasses.dataclass
class Page:
    """What the server answers: the content, the length it states, and how long it waits before."""

    content: bytes
    length: int | None
    seconds: float = 0.0


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.requested.append(name)
        page = self.server.pages.get(name)
        if page is None:
            self.send_error(404)
            return
        time.sleep(page.seconds)
        self.send_response(200)
        if page.length is not None:
            self.send_header("Content-Length", str(page.length))
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *args):
        """Ignore that a client has hung up."""


@pytest.fixture
def server(monkeypatch, tmp_path_factory):
    """A server in the place of GroupLens's; records what was requested."""
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as server:
        server.pages = {}
        server.requested = []
        server.url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(_movielens, "BASE_URL", server.url)
        Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server
        server.shutdown()
    assert list(scratch.iterdir()) == []


@pytest.fixture
def publish(server, monkeypatch):
    """Put an archive on the server; its check-sum becomes the expected one."""

    def put(name, content=None):
        folder = FOLDERS[name]
        content = zipped(folder) if content is None else content
        server.pages[f"{folder}.zip"] = Page(content, len(content))
        if name == "latest-small":
            stated = f"MD5 ({folder}.zip) = {md5(content).upper()}\n".encode()
            server.pages[f"{folder}.zip.md5"] = Page(stated, len(stated))
        else:
            pinned = dataclasses.replace(_movielens.ARCHIVES[name], md5=md5(content))
            monkeypatch.setitem(_movielens.ARCHIVES, name, pinned)

    return put


def below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# ------------------------------------------------------------------ parsing


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
    assert server.requested == []


# ------------------------------------------------------------------ data home


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


def test_invalid_data_home():
    with pytest.raises(InvalidInputError, match="data_home=3 must be the path of a folder"):
        fetch_movielens(data_home=3)


def test_no_download_when_forbidden(tmp_path, server, publish):
    publish("100k")
    with pytest.raises(DatasetUnavailableError, match="download_if_missing=False") as raised:
        fetch_movielens(data_home=tmp_path, download_if_missing=False)
    assert isinstance(raised.value, OSError)
    assert server.requested == []


# ------------------------------------------------------------------ download


@pytest.mark.parametrize("name", FOLDERS)
def test_download_is_unpacked_once(tmp_path, server, publish, name):
    publish(name)
    folder = FOLDERS[name]
    home = tmp_path / "new" / "home"
    first = fetch_movielens(name, data_home=home)
    assert below(tmp_path) == sorted(f"new/home/{folder}/{m}" for m in FILES[folder])
    assert [p.name for p in home.iterdir()] == [folder]
    expected = (
        [f"{folder}.zip.md5", f"{folder}.zip"] if name == "latest-small" else [f"{folder}.zip"]
    )
    assert server.requested == expected

    again = fetch_movielens(name, data_home=home, download_if_missing=False)
    assert server.requested == expected
    assert_frame_equal(again.interactions, first.interactions)
    unpack(tmp_path / "by hand", folder)
    by_hand = fetch_movielens(name, data_home=tmp_path / "by hand")
    assert_frame_equal(by_hand.item_table, first.item_table)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_terminal_shows_a_progress_bar(tmp_path, publish, capsys, monkeypatch, is_terminal):
    publish("100k")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    fetch_movielens(data_home=tmp_path)
    assert ("100%" in capsys.readouterr().err) == is_terminal


def test_without_pooch_a_copy_is_read_and_a_download_says_what_to_install(
    tmp_path, publish, monkeypatch
):
    publish("100k")
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(
        ImportError, match=r"needs pooch.* pip install skmind\[datasets\]"
    ) as raised:
        fetch_movielens(data_home=tmp_path)
    assert str(tmp_path / "ml-100k") in str(raised.value)
    with pytest.raises(DatasetUnavailableError, match="download_if_missing=False"):
        fetch_movielens(data_home=tmp_path, download_if_missing=False)
    unpack(tmp_path, "ml-100k")
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_the_cache_is_readable_by_others(tmp_path, publish):
    publish("100k")
    fetch_movielens(data_home=tmp_path)
    (tmp_path / "reference").mkdir()
    modes = [(tmp_path / name).stat().st_mode for name in ("ml-100k", "reference")]
    assert modes[0] == modes[1]


def test_download_without_a_stated_length(tmp_path, server, publish):
    publish("100k")
    server.pages["ml-100k.zip"].length = None
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


def test_an_incomplete_folder_is_no_copy(tmp_path, server, publish):
    publish("1m")
    unpack(tmp_path, "ml-1m", leave_out=["users.dat"])
    (tmp_path / "ml-1m" / "ratings.dat").write_bytes(b"stale")
    (tmp_path / "ml-1m" / "train.tsv").write_bytes(b"mine")
    data = fetch_movielens("1m", data_home=tmp_path)
    assert len(server.requested) == 1
    assert len(data.interactions) == 3
    assert (tmp_path / "ml-1m" / "train.tsv").read_bytes() == b"mine"
    assert below(tmp_path) == [
        f"ml-1m/{m}" for m in ("movies.dat", "ratings.dat", "train.tsv", "users.dat")
    ]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("100k", "0e33842e24a9c977be4e0107933c0723"),
        ("1m", "c4d9eecfca2ab87c1945afe126590906"),
    ],
)
def test_an_archive_without_the_published_sum_is_rejected(tmp_path, server, name, published):
    content = zipped(FOLDERS[name])
    server.pages[f"{FOLDERS[name]}.zip"] = Page(content, len(content))
    with pytest.raises(DatasetUnavailableError, match=f"md5:{published} but got {md5(content)}"):
        fetch_movielens(name, data_home=tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stated", "match"),
    [
        (b"", r"zip\.md5 has no md5 sum"),
        (b"<html>moved</html>", r"zip\.md5 has no md5 sum"),
        (b"MD5 (x) = " + b"0" * 32, "expected md5:0{32} but got"),
    ],
)
def test_latest_small_must_have_the_sum_beside_it(tmp_path, server, publish, stated, match):
    publish("latest-small")
    server.pages["ml-latest-small.zip.md5"] = Page(stated, len(stated))
    with pytest.raises(DatasetUnavailableError, match=match):
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
def test_an_archive_with_other_content_is_rejected(tmp_path, publish, name, content, match):
    publish(name, content)
    with pytest.raises(DatasetUnavailableError, match=match):
        fetch_movielens(name, data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def assert_says_what_to_do(error, url, home):
    message = str(error)
    for part in (f"{url}ml-1m.zip", str(home / "ml-1m"), "ratings.dat, users.dat, movies.dat"):
        assert part in message
    for way_out in ("data_home", "SKMIND_DATA", "make_interactions() needs no network"):
        assert way_out in message


def test_offline_says_what_to_do(tmp_path, server):
    home = tmp_path / "home"
    server.shutdown()
    server.server_close()  # connections are refused from here on
    with pytest.raises(DatasetUnavailableError, match="failed with ConnectionError") as raised:
        fetch_movielens("1m", data_home=home)
    assert_says_what_to_do(raised.value, server.url, home)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("page", "match"),
    [
        (None, "failed with HTTPError: 404"),
        (Page(b"", 0, seconds=0.5), "failed with ReadTimeout"),
        (Page(b"begun", 1000), "failed with"),
    ],
)
def test_a_failing_server_says_what_to_do(tmp_path, server, monkeypatch, page, match):
    monkeypatch.setattr(_movielens, "TIMEOUT_SECONDS", 0.1)
    server.pages["ml-1m.zip"] = page
    home = tmp_path / "home"
    with pytest.raises(DatasetUnavailableError, match=match) as raised:
        fetch_movielens("1m", data_home=home)
    assert_says_what_to_do(raised.value, server.url, home)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, publish, monkeypatch):
    publish("100k")

    def begin(self, url, output_file, pooch):
        Path(output_file).write_bytes(b"PK")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", begin)
        with pytest.raises(KeyboardInterrupt):
            fetch_movielens(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "disk full"), KeyboardInterrupt()])
def test_an_interrupted_unpacking_leaves_nothing_behind(tmp_path, publish, monkeypatch, error):
    publish("100k")
    n_copied = []

    def copy(source, target):
        target.write(source.read(5))
        n_copied.append(1)
        if len(n_copied) == 2:
            raise error

    expected = DatasetUnavailableError if isinstance(error, OSError) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", copy)  # zipfile unpacks with it
        with pytest.raises(expected, match=r"disk full|^$"):
            fetch_movielens(data_home=tmp_path)
    assert len(n_copied) == 2
    assert list(tmp_path.iterdir()) == []
    assert len(fetch_movielens(data_home=tmp_path).interactions) == 3


def test_a_data_home_that_cannot_be_written(tmp_path, publish):
    publish("100k")
    home = tmp_path / "file"
    home.write_bytes(b"mine")
    with pytest.raises(DatasetUnavailableError, match="the download failed with FileExistsError"):
        fetch_movielens(data_home=home)
    assert home.read_bytes() == b"mine"


def test_a_file_instead_of_the_folder(tmp_path, publish):
    publish("100k")
    (tmp_path / "ml-100k").write_bytes(b"mine")
    with pytest.raises(DatasetUnavailableError, match="the download failed with"):
        fetch_movielens(data_home=tmp_path)
    assert below(tmp_path) == ["ml-100k"]
    assert (tmp_path / "ml-100k").read_bytes() == b"mine"
