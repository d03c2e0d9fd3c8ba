"""What no linter says of the source tree: seeds, mirrored tests, and a table that can't drift.

Layers and confined imports are contracts of import-linter, sizes and complexity rules of ruff; both
stand in pyproject.toml and run in `make lint`.
"""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "skmind"

GLOBAL_SEEDERS = {
    "numpy.random.seed",
    "numpy.random.set_state",
    "random.seed",
    "random.setstate",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
    "torch.cuda.seed",
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.random.seed",
    "torch.random.set_rng_state",
    "torch.seed",
    "torch.set_rng_state",
}


def python_files(folder):
    """Paths of the Python files below `folder`, relative to it, in POSIX form."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


SOURCES = python_files(ROOT / PACKAGE)

# ------------------------------------------------------------------ global generators


def imported_aliases(tree):
    """Local name → absolute dotted name, for what the module imports from other libraries."""
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                aliases[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def called_names(tree):
    """(call node, absolute dotted name) of every call whose function is a plain dotted name."""
    aliases = imported_aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            root, dot, rest = ast.unparse(node.func).partition(".")
            yield node, aliases.get(root, f"<local>.{root}" if dot else root) + dot + rest


def forked_nodes(tree):
    """Nodes inside `with torch.random.fork_rng(...)`, which restores the global state."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any("fork_rng(" in ast.unparse(item.context_expr) for item in node.items)
        for inner in ast.walk(node)
    }


def seeding_violations(source, path):
    """Calls that change a global random generator."""
    tree = ast.parse(source)
    forked = forked_nodes(tree)
    return [
        f"{path}:{node.lineno} calls {name}, which changes a global generator"
        for node, name in called_names(tree)
        if name in GLOBAL_SEEDERS and not (name.startswith("torch.") and node in forked)
    ]


@pytest.mark.parametrize("path", SOURCES)
def test_global_generators_are_left_alone(path):
    assert seeding_violations((ROOT / PACKAGE / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("source", "n_expected"),
    [
        ("import numpy as np\nnp.random.seed(0)", 1),
        ("import numpy\nnumpy.random.seed(0)", 1),
        ("from numpy import random as r\nr.seed(0)", 1),
        ("from numpy.random import seed\nseed(0)", 1),
        ("import random\nrandom.seed(0)", 1),
        ("import torch\ntorch.manual_seed(0)", 1),
        ("import torch.cuda\ntorch.cuda.manual_seed_all(0)", 1),
        ("from torch import manual_seed as s\ns(0)", 1),
        ("import torch\ntorch.Generator().manual_seed(0)", 0),
        ("def f(generator, torch_like):\n    generator.manual_seed(0)", 0),
        ("import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(0)", 0),
        ("import torch, random\nwith torch.random.fork_rng():\n    random.seed(0)", 1),
    ],
)
def test_seeding_is_caught(source, n_expected):
    assert len(seeding_violations(source, "m.py")) == n_expected


# ------------------------------------------------------------------ mirrored tests


def missing_tests(sources, tests):
    """Test files that mirror `sources` but aren't among `tests`, both relative to their folders."""
    expected = {
        Path(path).with_name(f"test_{Path(path).stem.strip('_')}.py").as_posix(): path
        for path in sources
        if Path(path).name != "__init__.py"
    }
    return [
        f"{PACKAGE}/{path} has no tests/{test}"
        for test, path in sorted(expected.items())
        if test not in tests
    ]


def test_every_module_has_its_tests():
    assert {"__init__.py", "_estimator.py", "exceptions.py"} <= set(SOURCES)
    assert missing_tests(SOURCES, python_files(ROOT / "tests")) == []


def test_missing_tests_are_listed():
    sources = ["__init__.py", "_training.py", "metrics.py", "nn/__init__.py", "nn/model.py"]
    tests = ["test_training.py", "test_metrics.py", "nn/test_model.py"]
    assert missing_tests(sources, tests) == []
    for test in tests:
        rest = [other for other in tests if other != test]
        (message,) = missing_tests(sources, rest)
        assert message.endswith(f"has no tests/{test}")


# ------------------------------------------------------------------ the table of CONTRIBUTING


def layers_of_the_contract():
    """The layers of import-linter's first contract, lowest first, each a set of modules."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [set(layer.split(" | ")) for layer in reversed(layers)]


def layers_of_the_table():
    """The modules in each row of CONTRIBUTING's table, which begin with the number of the layer."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    layers = {}
    for number, modules in re.findall(r"^\| (\d+) \| (.*?) \|", text, flags=re.MULTILINE):
        names = re.findall(r"`([\w]+)/?`", modules)
        layers.setdefault(int(number), set()).update(names)
    return [layers[number] for number in sorted(layers)]


def test_contributing_has_the_layers_of_the_contract():
    assert layers_of_the_table() == layers_of_the_contract()


def test_the_contract_has_every_module():
    units = {Path(path).parts[0].removesuffix(".py") for path in SOURCES} - {"__init__", "__main__"}
    assert set.union(*layers_of_the_contract()) == units
