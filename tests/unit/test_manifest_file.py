"""Which manifest is used: one that is proven to be of this project, target and files, or none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledgermind_obs.dbt.files import Facts, read_facts
from ledgermind_obs.dbt.inputs import read_inputs
from ledgermind_obs.dbt.manifest import LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import ManifestChoice, ManifestFile, manifest_of
from ledgermind_obs.dbt.project import Dbt, open_project
from ledgermind_obs.errors import ConfigurationError, DbtError, LockedError, ObsError
from tests.unit.manifests import content, sound, source, write_files

# Leaves the prepared manifest where dbt would, and says in ``asked`` how it was called.
FAKE_DBT = """\
#!{python}
import json, os, pathlib, sys
place = pathlib.Path({place!r})
with (place / "asked").open("a") as asked:
    asked.write(json.dumps(sys.argv[1:]) + "\\n")
target = pathlib.Path(sys.argv[sys.argv.index("--target-path") + 1])
target.mkdir(parents=True, exist_ok=True)
(target / "partial_parse.msgpack").touch()
(target / "manifest.json").write_bytes((place / "prepared.json").read_bytes())
exec(os.environ.get("MEANWHILE", ""))
"""
PROFILES = "shop: {target: prod, outputs: {prod: {}, dev: {}}}\n"
PROJECT = "name: shop\nprofile: shop\n"


class Place:
    """A project, a dbt that says how it is called, and what ``obs`` makes of both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.executable = directory.parent / "bin" / "dbt"
        self.executable.parent.mkdir()
        self.executable.write_text(FAKE_DBT.format(python=sys.executable, place=str(directory)))
        self.executable.chmod(0o755)
        (directory / "dbt_project.yml").write_text(PROJECT)
        (directory / "profiles.yml").write_text(PROFILES)
        write_files(directory, *sound())
        self.prepare(content(*sound()))

    def prepare(self, manifest: bytes) -> None:
        (self.directory / "prepared.json").write_bytes(manifest)

    def dbt(self, **settings: Any) -> Dbt:
        named = {"profile": None, "target": None, "target_path": None}
        named |= {name: settings.pop(name) for name in named.keys() & settings.keys()}
        project = open_project(self.directory, **named)
        return Dbt(project, **{"executable": str(self.executable), **settings})

    def manifest(
        self, choice: ManifestChoice | None = None, **settings: Any
    ) -> ManifestFile[LineageManifest]:
        dbt = self.dbt(**settings)
        return manifest_of(dbt, choice or ManifestChoice(), read_lineage_manifest)

    @property
    def private(self) -> Path:
        return self.directory / "target" / "obs" / "prod"

    @property
    def asked(self) -> list[list[str]]:
        path = self.directory / "asked"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def parses(self, **settings: Any) -> int:
        """Return how often dbt is asked for the manifest now."""
        before = len(self.asked)
        self.manifest(**settings)
        return len(self.asked) - before

    def append(self, name: str, text: str = "\n# more\n") -> None:
        with (self.directory / name).open("a") as file:
            file.write(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    directory = tmp_path / "shop"
    directory.mkdir()
    return Place(directory)


@pytest.fixture
def parsed(place: Place) -> Place:
    assert (place.parses(), place.parses()) == (1, 0)
    return place


def with_metadata(**fields: Any) -> bytes:
    document = msgspec.json.decode(content(*sound()))
    document["metadata"] |= fields
    return msgspec.json.encode({**document})


def test_dbt_parses_once_and_what_it_made_is_used_from_then_on(parsed: Place) -> None:
    found = parsed.manifest()

    assert found.path == parsed.private / "manifest.json"
    assert (found.changed, found.notes, found.clock) == ((), (), ())


def test_a_manifest_of_dbts_own_proves_nothing(place: Place) -> None:
    (place.directory / "target").mkdir()
    (place.directory / "target/manifest.json").write_bytes(content(source("of_another_target")))

    assert place.parses() == 1
    assert "source.shop.app.raw" in place.manifest().manifest.sources


def touch_all(directory: Path) -> None:
    for path in directory.rglob("*.*"):
        os.utime(path)


def copy_all(directory: Path) -> None:
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    shutil.rmtree(directory)
    copy.rename(directory)


@pytest.mark.parametrize("deploy", [touch_all, copy_all])
def test_files_that_only_look_different_are_the_same(
    parsed: Place, deploy: Callable[[Path], None]
) -> None:
    deploy(parsed.directory)

    assert parsed.parses() == 0


def keep_times(change: Callable[[], object], path: Path) -> None:
    before = path.stat()
    change()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(parsed: Place, name: str) -> None:
    """Change a file and keep its length, its time and, by another file's inode, nothing else."""
    path = parsed.directory / name
    text = path.read_text()
    keep_times(lambda: path.write_text(text.swapcase()), path)


def add(parsed: Place, name: str, modified: float | None = None) -> None:
    path = parsed.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a: 1")
    if modified:
        os.utime(path, (modified, modified))


CHANGES: dict[str, Callable[[Place], object]] = {
    "a file is changed": lambda p: p.append("models/stg.sql"),
    "a file is changed and looks old": lambda p: swap(p, "models/stg.sql"),
    "yaml is changed and looks old": lambda p: swap(p, "models/sources.yml"),
    "a file is added": lambda p: (p.directory / "models/new.sql").write_text("select 1"),
    "a file with an old time is added": lambda p: add(p, "models/new.yml", modified=1),
    "a file is taken away": lambda p: (p.directory / "models/stg.sql").unlink(),
    "a file is renamed": lambda p: (p.directory / "models/stg.sql").rename(
        p.directory / "models/other.sql"
    ),
    "a macro is added": lambda p: add(p, "macros/m.SQL"),
    "the project's settings change": lambda p: p.append("dbt_project.yml"),
    "packages are named": lambda p: (p.directory / "packages.yml").write_text("packages: []"),
    "selectors are named": lambda p: (p.directory / "selectors.yml").write_text("selectors: []"),
    "something is ignored": lambda p: (p.directory / ".dbtignore").write_text("x"),
    "the profile changes": lambda p: p.append("profiles.yml"),
    "a package is installed": lambda p: add(p, "dbt_packages/utils/macros/m.sql"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_dbt_reads_differently_is_parsed_anew(parsed: Place, change: str) -> None:
    CHANGES[change](parsed)

    assert (parsed.parses(), parsed.parses()) == (1, 0)


IRRELEVANT: dict[str, Callable[[Place], object]] = {
    "an editor's lock": lambda p: (p.directory / "models/.#stg.sql").symlink_to("nobody@1.2"),
    "an editor's copy": lambda p: (p.directory / "models/~stg.sql").write_text("x"),
    "a dangling link": lambda p: (p.directory / "models/gone.sql").symlink_to("nowhere"),
    "a link to itself": lambda p: (p.directory / "models/me.sql").symlink_to("me.sql"),
    "a loop of directories": lambda p: (p.directory / "models/up").symlink_to(".."),
    "a fifo": lambda p: os.mkfifo(p.directory / "models/pipe.yml"),
    "a directory that is named as a file": lambda p: (p.directory / "models/d.sql").mkdir(),
    "another kind of file": lambda p: (p.directory / "models/notes.txt").write_text("x"),
    "dbt's own build": lambda p: (p.directory / "target/manifest.json").write_text("{}"),
    "another target": lambda p: p.manifest(target="dev"),
}


@pytest.mark.parametrize("change", IRRELEVANT)
def test_what_dbt_does_not_read_does_not_matter(parsed: Place, change: str) -> None:
    IRRELEVANT[change](parsed)

    assert parsed.parses() == 0


@pytest.mark.parametrize(
    "settings",
    [{"target": "dev"}, {"vars": "{a: 1}"}, {"profile": "other"}],
    ids=["target", "vars", "profile"],
)
def test_what_was_parsed_for_something_else_is_not_used(
    place: Place, settings: dict[str, str]
) -> None:
    (place.directory / "profiles.yml").write_text(PROFILES + PROFILES.replace("shop", "other"))
    assert place.parses() == 1

    assert place.parses(**settings) == 1
    assert place.parses(**settings) == 0


def test_what_was_copied_from_another_target_is_not_used(parsed: Place) -> None:
    shutil.copytree(parsed.private, parsed.private.with_name("dev"))

    assert parsed.parses(target="dev") == 1


def test_a_file_that_looks_different_is_read_once(
    parsed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(path: str) -> Facts:
        read.append(path)
        return read_facts(path)

    monkeypatch.setattr("ledgermind_obs.dbt.inputs.read_facts", counted)
    monkeypatch.setattr("ledgermind_obs.dbt.inputs._COARSE_NS", -(10**9))  # as if it were later
    os.utime(parsed.directory / "models/stg.sql")
    parsed.manifest()
    parsed.manifest()

    assert read == [str(parsed.directory / "models/stg.sql")]


def test_two_projects_that_share_a_target_directory_never_share_a_manifest(
    place: Place, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    assert place.parses(target_path=shared) == 1
    (place.directory / "dbt_project.yml").write_text(PROJECT.replace("name: shop", "name: other"))
    place.prepare(with_metadata(project_name="other"))

    assert place.manifest(target_path=shared).manifest.metadata.project_name == "other"


@pytest.mark.parametrize("name", ["SHOP_LIMIT", "DBT_ENV_SECRET_LIMIT"])
def test_an_environment_variable_that_files_name_is_watched_and_not_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place.append("models/sources.yml", f"# {{{{ env_var( '{name}', 'x') }}}}\n")
    monkeypatch.setenv(name, "hunter2")
    assert (place.parses(), place.parses()) == (1, 0)
    kept = (place.private / "inputs.json").read_text()
    assert name in kept
    assert "hunter2" not in kept

    monkeypatch.setenv(name, "other")
    assert place.parses() == 1
    monkeypatch.delenv(name)
    assert place.parses() == 1


def test_a_password_that_changes_does_not_matter(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "{host: \"{{ env_var('H') }}\", password: \"{{ env_var('P') | as_text }}\"}"
    (place.directory / "profiles.yml").write_text(
        f"shop: {{target: prod, outputs: {{prod: {output}}}}}"
    )
    monkeypatch.setenv("H", "a")
    monkeypatch.setenv("P", "a")
    assert place.parses() == 1

    monkeypatch.setenv("P", "b")
    assert place.parses() == 0
    monkeypatch.setenv("H", "b")
    assert place.parses() == 1


def test_variables_are_not_kept_as_they_are(place: Place) -> None:
    place.manifest(vars="{key: hunter2}")

    assert "hunter2" not in (place.private / "inputs.json").read_text()


def test_the_record_is_private(parsed: Place) -> None:
    assert stat.S_IMODE((parsed.private / "inputs.json").stat().st_mode) == 0o600
    assert not list(parsed.private.glob("*.tmp"))


def test_another_dbt_parses_anew(parsed: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copy(parsed.executable, other)

    assert parsed.parses(executable=str(other)) == 1


def test_an_upgrade_of_dbt_parses_anew(parsed: Place, tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11/site-packages/dbt_core-2.0.dist-info").mkdir(parents=True)

    assert (parsed.parses(), parsed.parses()) == (1, 0)


def instead_of(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(b"\xff\x00 garbage"),
        lambda path: path.write_bytes(content(source("foreign"))),
        lambda path: path.unlink(),
        lambda path: instead_of(path, Path.mkdir),
        lambda path: instead_of(path, os.mkfifo),
        lambda path: instead_of(path, lambda link: link.symlink_to("nowhere")),
    ],
    ids=["empty", "cut", "garbage", "another", "gone", "a directory", "a FIFO", "a link"],
)
@pytest.mark.parametrize("name", ["manifest.json", "inputs.json"])
def test_half_a_manifest_or_record_is_made_anew(
    parsed: Place, name: str, damage: Callable[[Path], object]
) -> None:
    damage(parsed.private / name)

    assert (parsed.parses(), parsed.parses()) == (1, 0)
    assert "source.shop.app.raw" in parsed.manifest().manifest.sources


@pytest.mark.parametrize(
    "fields",
    [
        {"generated_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
        {"generated_at": ""},
        {"generated_at": "yesterday"},
        {"project_name": "other"},
    ],
)
def test_a_manifest_that_cannot_be_true_proves_nothing(
    place: Place, fields: dict[str, str]
) -> None:
    place.prepare(with_metadata(**fields))
    with contextlib.suppress(ObsError):
        place.manifest()
    place.prepare(content(*sound()))

    assert place.parses() == 1


def test_a_file_that_changes_while_dbt_runs_is_not_proven(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.directory / "models/stg.sql"
    monkeypatch.setenv("MEANWHILE", f"open({str(path)!r}, 'a').write('-- and more')")
    assert (place.parses(), place.parses()) == (1, 1)

    monkeypatch.delenv("MEANWHILE")
    assert (place.parses(), place.parses()) == (1, 0)


def test_a_file_that_comes_while_dbt_runs_is_not_proven(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.directory / "models/new.sql"
    monkeypatch.setenv("MEANWHILE", f"open({str(path)!r}, 'w').write('select 1')")
    place.manifest()
    monkeypatch.delenv("MEANWHILE")

    assert (place.parses(), place.parses()) == (1, 0)


@contextlib.contextmanager
def held() -> Iterator[None]:
    raise LockedError("held")
    yield


def test_the_lock_is_taken_around_dbt_only(parsed: Place) -> None:
    dbt = parsed.dbt()
    assert manifest_of(dbt, ManifestChoice(), read_lineage_manifest, held).manifest

    parsed.append("models/stg.sql")
    with pytest.raises(LockedError):
        manifest_of(dbt, ManifestChoice(), read_lineage_manifest, held)


def test_what_another_run_parsed_while_this_one_waited_is_used(parsed: Place) -> None:
    parsed.append("models/stg.sql")

    @contextlib.contextmanager
    def waiting() -> Iterator[None]:
        parsed.manifest()
        yield

    manifest_of(parsed.dbt(), ManifestChoice(), read_lineage_manifest, waiting)
    assert len(parsed.asked) == 2


def test_without_dbt_a_proven_manifest_is_used_and_no_other(
    parsed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed.executable.unlink()
    assert parsed.manifest().manifest.sources

    parsed.append("models/stg.sql")
    with pytest.raises(ConfigurationError) as raised:
        parsed.manifest()
    assert "project shop, target prod" in str(raised.value)
    assert "models/stg.sql changed since dbt parsed it" in str(raised.value)
    assert "--manifest" in raised.value.next_step
    assert "install it" in raised.value.next_step


def test_without_parsing_the_last_one_of_this_target_is_used_and_its_age_is_told(
    parsed: Place,
) -> None:
    choice = ManifestChoice(no_parse=True)
    assert parsed.manifest(choice).notes == ()

    parsed.append("models/stg.sql")
    found = parsed.manifest(choice)
    assert found.changed == ("models/stg.sql",)
    assert found.notes == (
        f"{parsed.private}/manifest.json is not up to date: "
        "models/stg.sql changed since dbt parsed it",
    )
    with pytest.raises(ConfigurationError, match="has not parsed it for obs yet"):
        parsed.manifest(choice, target="dev")
    with pytest.raises(ConfigurationError, match="other --vars"):
        parsed.manifest(choice, vars="{a: 1}")


def test_a_named_manifest_of_obs_is_known_by_its_record(parsed: Place) -> None:
    choice = ManifestChoice(parsed.private / "manifest.json")
    assert parsed.manifest(choice).notes == ()

    parsed.append("models/stg.sql")
    (note,) = parsed.manifest(choice, target="dev").notes
    assert "it is of target prod, not of dev" in note
    assert "models/stg.sql changed since dbt wrote it" in note
    assert len(parsed.asked) == 1


def test_a_named_manifest_beside_the_record_of_another_one_is_known_by_its_contents(
    parsed: Place,
) -> None:
    named = parsed.private / "manifest.json"
    named.write_bytes(content(*sound(), source("another")))

    (note,) = parsed.manifest(ManifestChoice(named)).notes
    assert "models/sources.yml changed since dbt wrote it" in note


def test_a_failed_parse_leaves_what_was_proven(
    parsed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (parsed.directory / "models/stg.sql").read_text()
    script = parsed.executable.read_text()
    parsed.append("models/stg.sql")
    parsed.executable.write_text("#!/bin/sh\nexit 2\n")
    with pytest.raises(DbtError):
        parsed.manifest()

    parsed.executable.write_text(script)
    (parsed.directory / "models/stg.sql").write_text(text)
    assert parsed.parses() == 0


# --- what dbt's partial parsing would keep


def is_whole(argv: list[str]) -> bool:
    return "--no-partial-parse" in argv


def test_dbt_parses_partially_if_all_that_changed_is_new_to_it(parsed: Place) -> None:
    parsed.append("models/sources.yml")
    parsed.append("models/stg.sql")
    parsed.manifest()

    assert [is_whole(argv) for argv in parsed.asked] == [False, False]


def test_yaml_whose_time_dbt_may_have_seen_is_parsed_as_a_whole(parsed: Place) -> None:
    swap(parsed, "models/sources.yml")
    parsed.manifest()

    assert is_whole(parsed.asked[-1])


def test_what_dbt_parsed_before_there_was_a_record_is_parsed_as_a_whole(parsed: Place) -> None:
    (parsed.private / "inputs.json").unlink()
    parsed.manifest()

    assert is_whole(parsed.asked[-1])


def test_what_a_killed_dbt_left_is_parsed_as_a_whole(
    parsed: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed.append("models/stg.sql")
    monkeypatch.setenv("MEANWHILE", "os.kill(os.getpid(), 9)")
    with pytest.raises(DbtError):
        parsed.manifest()
    monkeypatch.delenv("MEANWHILE")
    parsed.manifest()

    assert [is_whole(argv) for argv in parsed.asked] == [False, False, True]


CLOCK = 'sources: [{{name: app, freshness: {{warn_after: {{count: "{}"}}}}}}]\n'


def test_a_limit_that_depends_on_the_time_of_parsing_is_parsed_at_every_run(place: Place) -> None:
    yaml = CLOCK.format("{{ modules.datetime.date.today().day }}")
    (place.directory / "models/sources.yml").write_text(yaml)
    assert place.manifest().clock == (("models/sources.yml", 1),)
    assert place.manifest().clock == (("models/sources.yml", 1),)
    place.append("models/stg.sql")
    place.manifest()

    assert [is_whole(argv) for argv in place.asked] == [False, True]


def test_a_record_of_another_version_is_made_anew(parsed: Place) -> None:
    path = parsed.private / "inputs.json"
    path.write_text(path.read_text().replace('"schema":1', '"schema":2'))
    assert read_inputs(parsed.private) is None

    assert parsed.parses() == 1


def test_directories_that_the_project_names_are_read_too(place: Place) -> None:
    place.append("dbt_project.yml", "model-paths: ['models', '../more']\n")
    more = place.directory.parent / "more"
    more.mkdir()
    (more / "a.sql").write_text("select 1")
    assert (place.parses(), place.parses()) == (1, 0)

    (more / "a.sql").write_text("select 2")
    assert place.parses() == 1


def test_directories_whose_names_are_not_known_prove_nothing(place: Place) -> None:
    place.append("dbt_project.yml", "model-paths: [\"{{ env_var('NOT_SET_ANYWHERE') }}\"]\n")

    assert (place.parses(), place.parses()) == (1, 1)
