"""The house's rules about its own code, as tests."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "tropism"
FILES = sorted(SOURCE.rglob("*.py"))
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50

LONG_FILES: dict[str, int] = {}
"""Files that may still be longer, and how long they may be: a ratchet, to be lowered only."""

LONG_FUNCTIONS: dict[str, int] = {}
"""The same of functions, as ``file:name``."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Return the lines of a function, its docstring apart."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(getattr(first, "value", None), ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_layers_are_kept() -> None:
    """Imports go downward only, and vendors stay where they belong."""
    tool = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_no_file_is_long() -> None:
    """A file that grows beyond 400 lines wants to be two."""
    lines = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in FILES}
    long = {name: n for name, n in lines.items() if n > LONG_FILES.get(name, FILE_LINES_MAX)}
    assert not long


def test_no_function_is_long() -> None:
    """A function that does not fit on a screen wants to be two."""
    long = {}
    for path in FILES:
        for function in functions(ast.parse(path.read_text("utf-8"))):
            name = f"{name_of(path)}:{function.name}"
            if lines_of(function) > LONG_FUNCTIONS.get(name, FUNCTION_LINES_MAX):
                long[name] = lines_of(function)
    assert not long


def undocumented(node: ast.AST, where: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
            if ast.get_docstring(child) is None and not _is_overload(child):
                yield f"{where}:{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child, where)
        elif isinstance(child, ast.If | ast.Try):
            yield from undocumented(child, where)


def _is_overload(node: ast.ClassDef | Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_all_that_is_public_says_what_it_is(path: Path) -> None:
    """Every module, public class and public function has a docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree)
    assert list(undocumented(tree, name_of(path))) == []


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement loads, in a process of its own."""
    program = f"import sys; before = set(sys.modules); {statement}; import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    return set(json.loads(found.stdout))


HEAVY = {
    "numpy",
    "sklearn",
    "scipy",
    "sqlite3",
    "psycopg",
    "confluent_kafka",
    "nats",
    "typer",
    "rich",
    "polars",
    "pyarrow",
    "pandas",
    "pytest",
    "hypothesis",
}


@pytest.mark.parametrize(
    "statement", ["import tropism", "import tropism.testing", "import tropism.app.platform"]
)
def test_importing_is_light(statement: str) -> None:
    """What is not needed is not loaded: no numbers, no database, no command line, no test framework."""
    roots = {name.partition(".")[0] for name in loaded_by(statement)}
    assert not roots & HEAVY


def test_the_command_line_starts_light() -> None:
    """Before it is known what is asked for, next to nothing is loaded."""
    loaded = loaded_by("import tropism.cli.main")
    assert not {"asyncio", "msgspec", "rich", "sqlite3", "numpy"} & loaded
    assert not [
        name for name in loaded if name.startswith(("tropism.runtime", "tropism.app", "tropism.models"))
    ]


def test_importing_loads_no_layer_above() -> None:
    """The package itself loads no models, adapters, tests or commands."""
    loaded = loaded_by("import tropism")
    above = {
        "tropism.models",
        "tropism.adapters",
        "tropism.testing",
        "tropism.cli",
        "tropism.demo",
        "tropism.web",
    }
    assert not above & loaded
    assert sum(name.startswith("tropism") for name in loaded) < 60


def test_tests_state_their_law() -> None:
    """Every test in these folders says in a sentence what holds."""
    silent = []
    for folder in ("unit/runtime", "unit/testing"):
        for path in sorted((ROOT / "tests" / folder).rglob("test_*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            silent += [
                f"{path.name}:{f.name}"
                for f in functions(tree)
                if f.name.startswith("test_") and ast.get_docstring(f) is None
            ]
    assert silent == []


def test_no_test_sleeps() -> None:
    """Tests of the runtime wait for conditions; the only sleep is giving way."""
    sleeping = []
    for folder in ("simulation", "property", "unit/runtime", "unit/testing"):
        for path in sorted((ROOT / "tests" / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                sleeps = isinstance(node, ast.Call) and ast.unparse(node.func) in {
                    "asyncio.sleep",
                    "time.sleep",
                }
                if sleeps and ast.unparse(node.args[0]) != "0":
                    sleeping.append(f"{path.name}:{node.lineno}")
    assert sleeping == []
