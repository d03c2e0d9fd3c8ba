import io
import sys

import pytest


class Terminal(io.StringIO):
    """A stream that can redraw lines."""

    def isatty(self):
        return True


@pytest.fixture
def use_terminal(monkeypatch):
    """Return a function that makes stderr a terminal, for the rest of the test, and returns it.

    A fixture cannot do this itself: pytest replaces stderr again when the test starts.
    """

    def replace_stderr():
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return replace_stderr
