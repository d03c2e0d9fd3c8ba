import math

import pytest

from skmind.exceptions import ModelFileError
from skmind.persistence.schema import (
    anything,
    boolean,
    column,
    integer,
    list_of,
    mapping_of,
    number,
    option,
    optional,
    record,
    scalar,
    shown,
    text,
)

PERSON = record({"name": text, "age": optional(integer(0, 150))})
SURROGATE = "\ud800"

KINDS = {
    "integer": (integer(-1, 3), [-1, 0, 3], [-2, 4, 1.0, True, "1", None, [1], 10**400]),
    "number": (number(0, 2), [0, 0.5, 2], [-1e-9, 2.5, math.nan, math.inf, True, "1", None]),
    "any number": (number(), [-1e308, 10**300], [math.nan, math.inf, -math.inf, 10**400]),
    "option": (option("a", "b"), ["a", "b"], ["c", "", 1, None, ["a"], {"a": 1}]),
    "boolean": (boolean, [True, False], [0, 1, "true", None]),
    "text": (text, ["", "ü", "\x00"], [SURROGATE, 1, None, b"a", ["a"]]),
    "column": (column, ["a", 0, -(2**62)], [True, 1.0, None, 2**63, SURROGATE, []]),
    "scalar": (scalar, ["a", 1, 1.5, math.nan, True, None], [[], {}, SURROGATE]),
    "anything": (anything, [1, None, [SURROGATE]], []),
    "optional": (optional(text), [None, "a"], [1]),
    "list": (list_of(boolean), [[], [True]], [None, (True,), {"a": True}, [1], [True, None]]),
    "mapping": (mapping_of(boolean), [{}, {"a": True}], [None, [], {"a": 1}, {SURROGATE: True}]),
    "record": (
        PERSON,
        [{"name": "a"}, {"name": "a", "age": None}, {"name": "a", "age": 3}],
        [None, [], {}, {"age": 3}, {"name": 1}, {"name": "a", "age": 151}, {"name": "a", "x": 1}],
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds(name):
    kind, valid, invalid = KINDS[name]
    for value in valid:
        kind(value, "it")
    for value in invalid:
        with pytest.raises(ModelFileError, match="it "):
            kind(value, "it")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": 5}, r"^name in it is 5, but must be text$"),
        ({}, r"^name in it is None, but must be text$"),
        ({"name": "a", "age": -1}, r"^age in it is -1, but must be an integer from 0 to 150$"),
        (
            {"name": "a", "b": 1, "a": 2},
            r"^it has the unknown keys \['a', 'b'\]; it must have the keys age, name$",
        ),
        ([1], r"^it is \[1\], but must be an object with keys$"),
    ],
)
def test_messages_say_where_and_what(value, message):
    with pytest.raises(ModelFileError, match=message):
        PERSON(value, "it")


def test_messages_name_the_entry():
    with pytest.raises(ModelFileError, match=r"^an entry of it is 1, but must be true or false$"):
        list_of(boolean)([True, 1], "it")
    with pytest.raises(ModelFileError, match=r"^'b' in it is 1, but must be true or false$"):
        mapping_of(boolean)({"a": True, "b": 1}, "it")


def test_what_is_shown_is_short():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    for value in ("x" * 10**6, deep, list(range(10**5)), {i: i for i in range(10**5)}):
        assert len(shown(value)) < 200
    assert shown(10**4000).startswith("1000")
