"""The layout that CONTRIBUTING.md describes, held by a test."""

import ast
from pathlib import Path

import pytest

import ledgermind_obs

ROOT = Path(ledgermind_obs.__file__).parent
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
PURE = [
    "explain",
    "lookups",
    "selection",
    *("ages", "coverage", "dashboard", "delivery", "errors", "events", "findings", "freshness"),
    *("gate", "graph", "impact", "lineage", "manifest", "metrics", "positions", "promql"),
    *("queries", "rules", "safe_yaml", "upstream", "written"),
]
EFFECTS = {"click", "rich", "subprocess", "os", "socket", "ssl", "http", "urllib", "shutil"}


def imports_of(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("cli/")])
def test_nothing_below_the_command_line_imports_it(module: str) -> None:
    below = module != "__main__.py"
    assert not (below and any(name.startswith("ledgermind_obs.cli") for name in imports_of(module)))


@pytest.mark.parametrize("module", [m for m in MODULES if m != "dbt.py"])
def test_only_dbt_starts_processes(module: str) -> None:
    assert "subprocess" not in imports_of(module)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "safe_yaml.py"])
def test_how_yaml_is_read_is_chosen_in_one_place(module: str) -> None:
    assert "Loader" not in (ROOT / module).read_text()


@pytest.mark.parametrize("module", MODULES)
def test_dbt_itself_is_never_imported(module: str) -> None:
    assert not {name for name in imports_of(module) if name.split(".")[0] == "dbt"}


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_have_no_effects(module: str) -> None:
    assert not {name.split(".")[0] for name in imports_of(f"{module}.py")} & EFFECTS


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("cli/")])
def test_printing_is_the_command_lines_business(module: str) -> None:
    calls = [n for n in ast.walk(ast.parse((ROOT / module).read_text())) if isinstance(n, ast.Call)]
    assert not [
        call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
