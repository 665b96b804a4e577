"""The layout that CONTRIBUTING.md describes, held by a test."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

import ledgermind_obs

ROOT = Path(ledgermind_obs.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
BELOW_THE_COMMAND_LINE = [m for m in MODULES if m != "__main__.py" and not m.startswith("cli/")]

EFFECTS = {"click", "subprocess", "os", "socket", "ssl", "http", "urllib", "shutil"}
# Whole rooms, and single modules of the others, that compute and touch nothing.
PURE_ROOMS = ("lineage/", "render/")
PURE_MODULES = {
    *("durations.py", "errors.py", "freshness.py", "metrics.py", "secrets.py"),
    *("dbt/artifacts.py", "dbt/entries.py", "dbt/log.py", "dbt/manifest.py", "dbt/reconcile.py"),
    *(f"dbt/{name}.py" for name in ("clock_jinja", "profile_secrets", "selectors", "yaml_files")),
    *(f"engines/postgres/{name}.py" for name in ("lookups", "plans", "refusals")),
    *(f"gate/{name}.py" for name in ("as_of", "builds", "judge")),
    "dbt/run_results.py",
    *("doctor/check.py", "doctor/routes.py"),
    *(f"sinks/{name}.py" for name in ("deliver", "exposition", "history", "known", "proof")),
    *(
        f"monitoring/{name}.py"
        for name in (
            *(
                "alerts",
                "board",
                "cases",
                "coverage",
                "dashboard",
                "expressions",
                "findings",
                "generate",
                "promql",
            ),
            *("recorded", "routes", "rules", "runbooks", "template"),
        )
    ),
}
# Line numbers are read from the files they are of; a code scanner asks for a file's name as a URI.
IMPURE = {"lineage/locations.py", "render/findings.py"}
PURE = [m for m in MODULES if m.startswith(PURE_ROOMS) or m in PURE_MODULES]

# What may be imported in one place only.
ONLY_IMPORTERS = {
    "subprocess": {"dbt/process.py"},
    "psycopg2": {"engines/postgres/workers.py"},
    "prometheus_client": {"instrument.py"},
    "rich": {"cli/show.py", "render/terminal.py", "render/tree.py"},
}


@cache
def nodes_of(module: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse((ROOT / module).read_text())))


@cache
def imports_of(module: str) -> frozenset[str]:
    found: set[str] = set()
    for node in nodes_of(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def room_of(module: str) -> str:
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


def rooms_imported_by(module: str) -> set[str]:
    own = {name.split(".")[1] for name in imports_of(module) if name.startswith("ledgermind_obs.")}
    return {room for room in own if (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file()}


@pytest.mark.parametrize("module", BELOW_THE_COMMAND_LINE)
def test_nothing_below_the_command_line_imports_it(module: str) -> None:
    assert "cli" not in rooms_imported_by(module)


def test_no_room_depends_on_itself_through_another() -> None:
    rooms: dict[str, set[str]] = {}
    for module in MODULES:
        room = room_of(module)
        rooms.setdefault(room, set()).update(rooms_imported_by(module) - {room})
    assert list(TopologicalSorter(rooms).static_order())


def test_the_package_is_seen_at_one_glance() -> None:
    entries = [p for p in ROOT.iterdir() if p.suffix in {"", ".py"}]
    entries = [p for p in entries if not p.stem.startswith("__")]  # what every package has
    assert len(entries) <= 16


@pytest.mark.parametrize(("library", "importers"), ONLY_IMPORTERS.items())
def test_what_has_effects_is_imported_in_one_place(library: str, importers: set[str]) -> None:
    found = {m for m in MODULES if library in {name.split(".")[0] for name in imports_of(m)}}
    assert found == importers


@pytest.mark.parametrize("module", [m for m in MODULES if m != "dbt/yaml_files.py"])
def test_how_yaml_is_read_is_chosen_in_one_place(module: str) -> None:
    assert "Loader" not in (ROOT / module).read_text()


@pytest.mark.parametrize("module", MODULES)
def test_dbt_itself_is_never_imported(module: str) -> None:
    assert not {name for name in imports_of(module) if name.split(".")[0] == "dbt"}


@pytest.mark.parametrize("module", [m for m in PURE if m not in IMPURE])
def test_pure_modules_have_no_effects(module: str) -> None:
    assert not {name.split(".")[0] for name in imports_of(module)} & EFFECTS


@pytest.mark.parametrize("module", BELOW_THE_COMMAND_LINE)
def test_printing_is_the_command_lines_business(module: str) -> None:
    calls = [node for node in nodes_of(module) if isinstance(node, ast.Call)]
    named = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert not named & {"print", "exit"}
    assert "click" not in {name.split(".")[0] for name in imports_of(module)}


def functions_of(module: str) -> list[tuple[str, int]]:
    """Return each function's name and its lines, the docstring's not counted."""
    found = []
    for node in nodes_of(module):
        if isinstance(node, ast.FunctionDef) and node.end_lineno:
            first = node.body[0]
            docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            told = (first.end_lineno or 0) - first.lineno + 1 if docstring else 0
            found.append((node.name, node.end_lineno - node.lineno + 1 - told))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_a_function_fits_a_screen(module: str) -> None:
    assert not [(name, lines) for name, lines in functions_of(module) if lines > 40]


def test_half_of_all_functions_have_at_most_seven_lines() -> None:
    assert median(lines for module in MODULES for _, lines in functions_of(module)) <= 7
