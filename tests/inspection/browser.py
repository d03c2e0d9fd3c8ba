"""A headless browser for tests of pages, if there is one."""

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "explorer" / "browser"
NAMES = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
# as root, Chromium has no sandbox; the rest keeps it from looking for anything in the network
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def find_browser():
    """Return the path of a Chromium, or None."""
    paths = [os.environ.get("SKMIND_CHROMIUM"), str(BUILT / "chromium")]
    paths += [shutil.which(name) for name in NAMES]
    return next((path for path in paths if path and os.access(path, os.X_OK)), None)


def open_browser(playwright):
    """Return a running browser; skip the test if none is installed."""
    path = find_browser() or playwright.chromium.executable_path
    if not Path(path).exists():
        pytest.skip("no Chromium: run 'make browser', or set SKMIND_CHROMIUM to one")
    libraries = [os.environ.get("LD_LIBRARY_PATH"), str(BUILT / "lib")]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(filter(None, libraries))}
    return playwright.chromium.launch(executable_path=path, args=OPTIONS, env=environment)
