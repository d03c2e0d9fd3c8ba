import inspect

import pytest

from skmind import exceptions
from skmind.exceptions import SkmindError, SkmindWarning, UnknownIdError

CLASSES = [cls for _, cls in inspect.getmembers(exceptions, inspect.isclass)]
BUILT_IN = {
    "InvalidInputError": ValueError,
    "IdTypeError": TypeError,
    "UnknownIdError": KeyError,
    "DatasetUnavailableError": OSError,
    "ExportError": RuntimeError,
    "TrainingDivergedError": ArithmeticError,
    "ModelFileError": ValueError,
    "ModelWriteError": OSError,
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_errors_are_also_the_built_in_that_callers_catch(name):
    cls = getattr(exceptions, name)
    with pytest.raises(BUILT_IN[name], match="say what to do"):
        raise cls("say what to do")
    assert issubclass(cls, SkmindError)


def test_every_class_has_the_base_of_its_sort():
    errors = {cls.__name__ for cls in CLASSES if issubclass(cls, SkmindError)}
    warnings = {cls.__name__ for cls in CLASSES if issubclass(cls, SkmindWarning)}
    assert errors == {"SkmindError", *BUILT_IN}
    assert errors | warnings == {cls.__name__ for cls in CLASSES}
    assert not errors & warnings
    assert issubclass(SkmindWarning, UserWarning)


def test_an_unknown_id_shows_its_message_without_quotes():
    assert str(KeyError("no 'a'")) == "\"no 'a'\""  # what a plain KeyError would show
    assert str(UnknownIdError("no 'a'")) == "no 'a'"


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_says_when_it_occurs(cls):
    assert cls.__dict__["__doc__"].endswith(".")
