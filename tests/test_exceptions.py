import ast
import inspect
from pathlib import Path

import pytest

import skmind
from skmind import exceptions
from skmind.exceptions import SkmindError, SkmindWarning, UnknownIdError

CLASSES = dict(inspect.getmembers(exceptions, inspect.isclass))
BUILT_IN = {
    "InvalidInputError": ValueError,
    "IdTypeError": TypeError,
    "UnknownIdError": KeyError,
    "DatasetUnavailableError": OSError,
    "ExportError": RuntimeError,
    "TrainingDivergedError": ArithmeticError,
    "ProcessLostError": RuntimeError,
    "ModelFileError": ValueError,
    "ModelWriteError": OSError,
}
WARNINGS = [
    name
    for name, cls in CLASSES.items()
    if issubclass(cls, SkmindWarning) and cls is not SkmindWarning
]


def calls_in_package():
    """All calls of the package."""
    package = Path(skmind.__file__).parent
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


CALLS = list(calls_in_package())


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_error_is_raised_and_is_the_built_in_that_callers_expect(name):
    assert any(ast.unparse(call.func) == name for call in CALLS)
    assert issubclass(CLASSES[name], BUILT_IN[name])
    assert issubclass(CLASSES[name], SkmindError)


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_is_given(name):
    categories = [
        ast.unparse(arg) for call in CALLS if ast.unparse(call.func) == "warn" for arg in call.args
    ]
    assert name in categories


def test_all_classes_are_errors_or_warnings():
    assert set(CLASSES) == {"SkmindError", "SkmindWarning", *BUILT_IN, *WARNINGS}
    assert issubclass(SkmindWarning, UserWarning)


def test_the_message_of_an_unknown_id_has_no_quotes():
    assert str(KeyError("no 'a'")) == "\"no 'a'\""  # a plain KeyError shows the repr
    assert str(UnknownIdError("no 'a'")) == "no 'a'"
