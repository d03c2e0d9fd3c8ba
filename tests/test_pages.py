"""The snippets of README and documentation run as pasted: in order, page by page.

Pages of ``>>>`` examples are doctests, which pytest collects itself. The blocks of all others run
here, in one namespace and an empty folder, together with the lines ``python -m skmind`` of shell
blocks. A block of text behind a block of code is its output: numbers may differ, words may not.
"""

import contextlib
import io
import os
import re
import shlex
import sys
import warnings
from pathlib import Path

import pytest

from skmind.__main__ import main
from skmind.exceptions import DatasetUnavailableError

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMMAND = "python -m skmind "
BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    ROOT / "README.md",
    *(DOCS / name for name in ("getting_started.md", "faq.md")),
    *sorted((DOCS / "guide").glob("*.md")),
    *sorted((DOCS / "coming_from").glob("*.md")),
]


def blocks(page):
    """Language and code of the blocks of a page; doctests are left out."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, code) for language, code in found if not code.startswith(">>>")]


def is_doctest(page):
    return "\n>>> " in page.read_text(encoding="utf-8")


def words(text):
    """The lines of a text without numbers, and without the space that their widths change."""
    lines = re.sub(r"-?\d[\d.,e+-]*", "0", text).strip().splitlines()
    return [" ".join(re.sub("-{3,}", "-", line).split()) for line in lines]


RUN = [page for page in PAGES if page.exists() and any(kind != "text" for kind, _ in blocks(page))]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Run in an empty folder, without a picture or a module of the page staying behind."""
    home = os.environ.get("SKMIND_DATA")
    if home:
        monkeypatch.setenv("SKMIND_DATA", str(Path(home).resolve()))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    yield tmp_path
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs_from_top_to_bottom(page, folder):
    text = page.read_text(encoding="utf-8")
    if "fetch_movielens(" in text and not os.environ.get("SKMIND_DATA"):
        pytest.skip("set SKMIND_DATA to a folder with ml-100k")
    namespace = {"__name__": "__main__"}
    printed = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for language, code in blocks(page):
            if language == "text":
                assert printed is not None, f"this text is the output of nothing:\n{code}"
                compare(printed, code, "fetch_movielens(" in text)
                printed = None
                continue
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                if language == "python":
                    run(code, page, namespace)
                else:
                    for line in code.replace("\\\n", " ").splitlines():
                        if line.startswith(COMMAND):
                            assert main(shlex.split(line.removeprefix(COMMAND))) == 0, line
            printed = output.getvalue()


def compare(printed, text, has_titles_of_films):
    """Films may change places on another machine, so of these only the shape is compared."""
    actual = words(printed)
    expected = words(text)
    if has_titles_of_films:
        assert (actual[0], len(actual)) == (expected[0], len(expected)), printed
    else:
        assert actual == expected, printed


def run(code, page, namespace):
    try:
        exec(compile(code, f"{page.name}, block {code[:60]!r}", "exec"), namespace)
    except DatasetUnavailableError as error:
        pytest.skip(str(error))
    except ImportError as error:
        if "skmind" in str(error.name):
            raise
        pytest.skip(f"needs {error.name}")


def test_first_page_has_the_lines_of_the_readme():
    readme = [code for language, code in blocks(ROOT / "README.md") if language != "sh"]
    first = [code for language, code in blocks(DOCS / "index.md") if language != "sh"]
    assert first
    assert all(code in readme for code in first)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_is_either_doctest_or_script(page):
    if is_doctest(page):
        assert not [code for language, code in blocks(page) if language == "python"]


PICTURE = re.compile(r"!\[(.*?)\]\(|<img\s[^>]*?>|:::?\{(?:image|figure)\}.*?\n:::", re.DOTALL)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))], ids=lambda page: str(page.name)
)
def test_pictures_have_alternative_text(page):
    for found in PICTURE.finditer(page.read_text(encoding="utf-8")):
        picture = found.group()
        alternatives = found.group(1) or re.search(r'alt="[^"]+"|:alt: \S', picture)
        assert alternatives, picture


def anchors(page):
    """Names of the headings of a page, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings]


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda p: p.name
)
def test_links_of_the_repository_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"', text)
    for link in map("".join, links):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
