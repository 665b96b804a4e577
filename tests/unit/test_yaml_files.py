"""YAML that is made to cost too much, or to end the process, is one named error."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.dbt.project import load_yaml
from ledgermind_obs.errors import ConfigurationError

LAUGHS = "a0: &a0 [lol, lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGES = "a0: &a0 {k: lol}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)
LONG = f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 100)}]\n"

BOMBS = {
    "laughs": (LAUGHS, "aliases stand for more than 64 MiB"),
    "merges": (MERGES, "aliases stand for more than 64 MiB"),
    "long": (LONG, "aliases stand for more than 64 MiB"),
    "itself": ("a: &a [*a]", "an alias in it stands for something that holds the alias"),
    "deep": ("[" * 100_000, "nested more than 1000 levels deep"),
    "deep mappings": ("{a: " * 100_000, "nested more than 1000 levels deep"),
    "deep lines": ("- " * 100_000, "nested more than 1000 levels deep"),
    "huge": ("a: " + "x" * yaml_files.MAX_BYTES, "larger than 16 MiB"),
    "number": ("a: " + "1" * 5000, "a value is not what it looks like"),
    "date": ("a: 2026-99-99", "a value is not what it looks like"),
    "tag": ("a: !!int ''", "a value is not what it looks like"),
    "bool": ("a: !!bool x", "a value is not what it looks like"),
}
GIBIBYTE = 1 << 30


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_clear_error(name: str, tmp_path: Path) -> None:
    text, message = BOMBS[name]
    path = tmp_path / "dbt_project.yml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=message):
        load_yaml(path)


@pytest.mark.parametrize("name", ["deep", "deep mappings", "deep lines", "huge"])
def test_lines_are_not_looked_for_in_a_bomb(name: str) -> None:
    with pytest.raises(yaml_files.CostlyYamlError):
        yaml_files.compose(BOMBS[name][0])


@pytest.mark.parametrize("file", ["dbt_project.yml", "profiles.yml", "models/sources.yml"])
@pytest.mark.parametrize("name", ["laughs", "merges", "deep"])
def test_the_command_line_bears_a_bomb_with_little_memory(
    file: str, name: str, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (tmp_path / "profiles.yml").write_text("shop: {target: prod, outputs: {prod: {}}}\n")
    (tmp_path / file).write_text(BOMBS[name][0])
    argv = ["freshness", "push", "--engine", "postgres", "--dry-run", "--dbt", "nothing"]
    done = subprocess.run(
        [sys.executable, "-m", "ledgermind_obs", *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIBIBYTE, GIBIBYTE)),
    )

    assert done.returncode == 2, done.stderr
    assert "internal error" not in done.stderr


def test_ordinary_aliases_and_merges_are_read() -> None:
    text = "base: &base {a: 1}\nx: {<<: *base, b: 2}\ny: [*base, *base]\n"

    assert yaml_files.load(text.encode()) == {
        "base": {"a": 1},
        "x": {"a": 1, "b": 2},
        "y": [{"a": 1}, {"a": 1}],
    }


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_document_is_none(text: str) -> None:
    assert yaml_files.load(text.encode()) is None
    assert yaml_files.load(b"a: 1") == {"a": 1}
