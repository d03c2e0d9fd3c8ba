"""The source tree → violations of the layers, the size limits and the house rules.

Each checker is a function from source text to a list of messages; the tests apply it to all of
skmind, and the self-tests below show that it catches a planted violation.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "skmind"

# A unit (a top-level module or subpackage) imports only from units of the layers before its own.
LAYERS = [
    {"exceptions"},
    {"data", "nn"},
    {"metrics", "model_selection", "datasets", "retrieval"},
    {"_model", "scoring"},
    {"persistence"},
    {"training"},
    {"_item_queries", "inspection"},
    {"_recommender"},
    {"_estimator"},
    {"__init__"},
]
LAYER_OF = {unit: number for number, units in enumerate(LAYERS) for unit in units}

# Who may import a library that the rest of the code must not depend on.
CONFINED = {
    "annoy": ("retrieval/annoy.py",),
    "faiss": ("retrieval/faiss.py",),
    "matplotlib": ("inspection/",),
    "pyarrow": ("data/parquet.py",),
    "onnx_ir": ("persistence/onnx.py",),
    "onnxruntime": ("persistence/onnx.py",),
    "onnxscript": ("persistence/onnx.py",),
    "torch": ("nn/", "training/", "persistence/onnx.py"),
}

MAX_MODULE_LINES = 399
MAX_FUNCTION_LINES = 39

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

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


# ------------------------------------------------------------------ imports


def imported_names(source, path):
    """Absolute dotted names that the module at `path` (relative to the package) imports."""
    parts = [PACKAGE, *Path(path).with_suffix("").parts]
    package = parts[:-1]  # the same for a module and for its package's __init__
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            yield from (".".join([*base, alias.name]) for alias in node.names)


def unit_of(path):
    """The unit that a file belongs to: `nn/model.py` → `nn`, `metrics.py` → `metrics`."""
    return Path(path).parts[0].removesuffix(".py")


def layer_violations(source, path):
    """Imports of skmind's own modules that go up or across the layers."""
    unit = unit_of(path)
    if unit not in LAYER_OF:
        return [f"{path}: {unit!r} has no place in LAYERS of tests/test_architecture.py"]
    found = []
    for name in imported_names(source, path):
        package, _, rest = name.partition(".")
        if package != PACKAGE:
            continue
        # `from skmind import MINDRecommender` names no unit: it needs the package's __init__
        target = rest.split(".")[0] if rest.split(".")[0] in LAYER_OF else "__init__"
        if target != unit and LAYER_OF[target] >= LAYER_OF[unit]:
            found.append(f"{path} (layer {LAYER_OF[unit] + 1}) imports {name}, which is not below")
    return found


def confinement_violations(source, path):
    """Imports of annoy or torch outside the few modules that may."""
    return [
        f"{path} imports {name}; only {', '.join(CONFINED[library])} may import {library}"
        for name in imported_names(source, path)
        for library in [name.split(".")[0]]
        if library in CONFINED and not path.startswith(CONFINED[library])
    ]


# ------------------------------------------------------------------ sizes


def docstring_lines(tree):
    """Number of lines that docstrings take up in `tree`, nested definitions included."""
    total = 0
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            total += node.body[0].end_lineno - node.body[0].lineno + 1
    return total


def only_stores(function):
    """Whether it is an estimator's constructor: `self.x = x` for each parameter, nothing else."""
    body = function.body[ast.get_docstring(function) is not None :]
    return function.name == "__init__" and all(
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Name)
        and ast.unparse(statement.targets[0]) == f"self.{statement.value.id}"
        for statement in body
    )


def size_violations(source, path):
    """A module or functions over the limit of lines, docstrings aside."""
    tree = ast.parse(source)
    found = []
    lines = len(source.splitlines()) - docstring_lines(tree)
    if lines > MAX_MODULE_LINES:
        found.append(f"{path} has {lines} lines, at most {MAX_MODULE_LINES} are allowed")
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS) and not only_stores(node):
            lines = node.end_lineno - node.lineno + 1 - docstring_lines(node)
            if lines > MAX_FUNCTION_LINES:
                found.append(
                    f"{path}:{node.lineno} {node.name} has {lines} lines, "
                    f"at most {MAX_FUNCTION_LINES} are allowed"
                )
    return found


# ------------------------------------------------------------------ house rules


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


def rule_violations(source, path):
    """Calls of print, bare excepts and seeding of global generators."""
    tree = ast.parse(source)
    forked = forked_nodes(tree)
    found = [
        f"{path}:{node.lineno} has a bare except"
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    for node, name in called_names(tree):
        if name == "print":
            found.append(f"{path}:{node.lineno} prints; use logging.getLogger('skmind')")
        elif name in GLOBAL_SEEDERS and not (name.startswith("torch.") and node in forked):
            found.append(f"{path}:{node.lineno} calls {name}, which changes a global generator")
    return found


# ------------------------------------------------------------------ mirrored tests


def missing_tests(sources, tests):
    """Test files that mirror `sources` but aren't among `tests`, both relative to their folders."""
    expected = {
        Path(path).with_name(f"test_{Path(path).name.lstrip('_')}").as_posix(): path
        for path in sources
        if Path(path).name != "__init__.py"
    }
    return [
        f"{PACKAGE}/{path} has no tests/{test}"
        for test, path in sorted(expected.items())
        if test not in tests
    ]


# ------------------------------------------------------------------ skmind itself


def python_files(folder):
    """Paths of the Python files below `folder`, relative to it, in POSIX form."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))


SOURCES = python_files(ROOT / PACKAGE)


@pytest.mark.parametrize("path", SOURCES)
@pytest.mark.parametrize(
    "checker", [layer_violations, confinement_violations, size_violations, rule_violations]
)
def test_source_keeps_the_rules(checker, path):
    source = (ROOT / PACKAGE / path).read_text(encoding="utf-8")
    assert checker(source, path) == []


def test_every_module_has_its_tests():
    assert missing_tests(SOURCES, python_files(ROOT / "tests")) == []


def test_the_sources_are_found():
    assert {"__init__.py", "_estimator.py", "exceptions.py"} <= set(SOURCES)


# ------------------------------------------------------------------ the checkers can fail


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("exceptions.py", "from .data.tables import check_count"),  # up
        ("metrics.py", "from skmind._estimator import MINDRecommender"),
        ("metrics.py", "import skmind._estimator"),
        ("metrics.py", "from . import _estimator"),
        ("metrics.py", "from skmind import _estimator"),
        ("metrics.py", "from skmind import MINDRecommender"),  # needs __init__
        ("metrics.py", "from . import __version__"),
        ("metrics.py", "import skmind"),
        ("metrics.py", "from .model_selection import LeaveLastOut"),  # across
        ("data/batches.py", "from ..nn.model import MINDNet"),
        ("data/batches.py", "from .. import nn"),
        ("data/__init__.py", "from ..nn import MINDNet"),
        ("nn/model.py", "def f():\n    from skmind.training.trainer import Trainer"),  # lazily
        ("persistence/onnx.py", "from .. import inspection"),
        ("_helpers.py", ""),  # not in the table
        ("new/__init__.py", ""),
    ],
)
def test_layer_violations_are_caught(path, source):
    assert len(layer_violations(source, path)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("data/tables.py", "from ..exceptions import InvalidInputError"),
        ("metrics.py", "from skmind import exceptions\nimport skmind.data.tables, numpy"),
        ("data/batches.py", "from .encoder import Encoder\nfrom . import sampling"),
        ("data/batches.py", "from ..exceptions import A\nfrom . import tables"),
        ("data/__init__.py", "from .encoder import Encoder\nfrom . import sampling"),
        ("training/trainer.py", "from ..nn.network import MINDNet"),
        ("__init__.py", "from ._estimator import MINDRecommender\nfrom . import metrics"),
    ],
)
def test_imports_from_below_are_legal(path, source):
    assert layer_violations(source, path) == []


@pytest.mark.parametrize(
    ("path", "source", "n_expected"),
    [
        ("retrieval/exact.py", "import annoy", 1),
        ("retrieval/exact.py", "from annoy import AnnoyIndex", 1),
        ("retrieval/exact.py", "from .annoy import Annoy", 0),  # our module of that name
        ("retrieval/annoy.py", "from annoy import AnnoyIndex", 0),
        ("retrieval/search.py", "import torch", 1),
        ("retrieval/search.py", "import torch.nn.functional as F", 1),
        ("data/batches.py", "def f():\n    from torch import nn", 1),
        ("retrieval/annoy.py", "import torch", 1),
        ("nn/model.py", "from torch import nn", 0),
        ("training/trainer.py", "import torch", 0),
        ("_estimator.py", "import torch", 1),
        ("metrics.py", "import torchlike, numpy", 0),
    ],
)
def test_confined_libraries_are_caught(path, source, n_expected):
    assert len(confinement_violations(source, path)) == n_expected


def test_module_size_is_counted_without_docstrings():
    docstring = '"""First line.\n\nThird line.\n"""\n'
    assert size_violations(docstring + "x = 1\n" * MAX_MODULE_LINES, "m.py") == []
    (message,) = size_violations(docstring + "x = 1\n" * (MAX_MODULE_LINES + 1), "m.py")
    assert "m.py has 400 lines" in message


def test_function_size_is_counted_without_docstrings():
    head = "class A:\n    async def f(self):\n"
    docstring = '        """First line.\n\n        Third line.\n        """\n'

    def source(n_lines):
        return head + docstring + "        self.x = 1\n" * (n_lines - 1)

    assert size_violations(source(MAX_FUNCTION_LINES), "m.py") == []
    (message,) = size_violations(source(MAX_FUNCTION_LINES + 1), "m.py")
    assert "m.py:2 f has 40 lines" in message


def test_only_a_constructor_that_stores_may_be_long():
    stores = "class A:\n    def __init__(self, x):\n" + "        self.x = x\n" * 60
    assert size_violations(stores, "m.py") == []
    documented = stores.replace("x):\n", 'x):\n        """Store it."""\n')
    assert size_violations(documented, "m.py") == []
    assert len(size_violations(stores + "        self.y = x\n", "m.py")) == 1
    assert len(size_violations(stores.replace("__init__", "set"), "m.py")) == 1


@pytest.mark.parametrize(
    ("source", "n_expected"),
    [
        ("print(1)", 1),
        ("def f():\n    if x:\n        print(1)", 1),
        ("'print(1)'\npprint(1)\nself.print(1)", 0),
        ("try:\n    pass\nexcept:\n    pass", 1),
        ("try:\n    pass\nexcept ValueError:\n    pass", 0),
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
def test_broken_house_rules_are_caught(source, n_expected):
    assert len(rule_violations(source, "m.py")) == n_expected


def test_missing_tests_are_listed():
    sources = ["__init__.py", "_training.py", "metrics.py", "nn/__init__.py", "nn/model.py"]
    tests = ["test_training.py", "test_metrics.py", "nn/test_model.py"]
    assert missing_tests(sources, tests) == []
    for test in tests:
        rest = [other for other in tests if other != test]
        (message,) = missing_tests(sources, rest)
        assert message.endswith(f"has no tests/{test}")


def test_every_layer_of_the_table_is_distinct():
    assert sum(map(len, LAYERS)) == len(LAYER_OF)
