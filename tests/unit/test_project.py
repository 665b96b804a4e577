import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.dbt import project as project_module
from ledgermind_obs.dbt.project import find_project_dir, open_project, render
from ledgermind_obs.errors import ConfigurationError

PROFILES = "shop:\n  target: {target}\n  outputs: {{dev: {{}}, prod: {{}}, from_home: {{}}}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    directory = tmp_path / "warehouse"
    directory.mkdir()
    (directory / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    (directory / "profiles.yml").write_text(PROFILES.format(target="dev"))
    return directory


def test_the_current_directory_comes_before_the_warehouse_below_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.parent)
    assert find_project_dir(None) == project

    monkeypatch.chdir(project)
    assert find_project_dir(None) == project


def test_a_directory_without_a_project_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no dbt_project\.yml in") as raised:
        open_project(tmp_path)

    assert raised.value.next_step == (
        "change to the folder of your dbt project, or pass --project-dir DIR"
    )


def test_name_profile_and_target_come_from_the_projects_files(project: Path) -> None:
    found = open_project(project)

    assert (found.name, found.profile, found.target) == ("shop", "shop", "dev")
    assert found.private_target_path == project / "target" / "obs" / "dev"


def test_what_is_given_comes_before_what_the_files_say(project: Path) -> None:
    found = open_project(project, target="prod", target_path=project / "elsewhere")

    assert found.target == "prod"
    assert found.private_target_path == project / "elsewhere" / "obs" / "prod"


@pytest.mark.parametrize(
    ("target", "segment"),
    [
        ("prod", "prod"),
        ("eu-west_1.blue~", "eu-west_1.blue~"),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("../../etc", "..%2F..%2Fetc"),
        ("größe 1", "gr%C3%B6%C3%9Fe%201"),
        ("a\nb\0", "a%0Ab%00"),
    ],
)
def test_each_target_has_one_directory_of_its_own(project: Path, target: str, segment: str) -> None:
    profiles = {"shop": {"outputs": {target: {"type": "postgres"}}}}
    (project / "profiles.yml").write_text(json.dumps(profiles))

    found = open_project(project, target=target).private_target_path

    assert (found.parent, found.name) == (project / "target" / "obs", segment)


def test_profiles_are_looked_for_in_the_home_directory_last(project: Path) -> None:
    home = Path.home() / ".dbt"
    home.mkdir(parents=True)
    (home / "profiles.yml").write_text(PROFILES.format(target="from_home"))
    assert open_project(project).target == "dev"

    (project / "profiles.yml").unlink()
    assert open_project(project).target == "from_home"


def test_a_target_from_the_environment_is_rendered(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "\"{{ env_var('SHOP_TARGET', 'dev') }}\""
    (project / "profiles.yml").write_text(PROFILES.format(target=template))
    assert open_project(project).target == "dev"

    monkeypatch.setenv("SHOP_TARGET", "prod")
    assert open_project(project).target == "prod"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", None),
        ("flags:\n", None),
        ("flags: {use_colors: true}\n", None),
        ("flags: {source_freshness_run_project_hooks: true}\n", True),
        ("flags: {source_freshness_run_project_hooks: false}\n", False),
    ],
)
def test_a_project_may_say_whether_hooks_run_before_freshness(
    project: Path, flags: str, said: bool | None
) -> None:
    with (project / "dbt_project.yml").open("a") as settings:
        settings.write(f"\n{flags}")

    assert open_project(project).runs_hooks is said


def test_a_profile_without_a_target_has_dbts_default(project: Path) -> None:
    (project / "profiles.yml").write_text("shop:\n  outputs: {}\n")

    assert open_project(project).target == "default"


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ("other: {}\n", "has no profile 'shop'"),
        ("shop: [", "cannot read"),
        ("shop:\n  target: \"{{ env_var('NOT_SET_ANYWHERE') }}\"\n", "NOT_SET_ANYWHERE is not set"),
        ("shop:\n  target: \"{{ ''.__class__ }}\"\n", "cannot render"),
        ("shop:\n  target: \"{{ open('/etc/passwd') }}\"\n", "cannot render"),
        ("- a list\n", "is not a mapping"),
    ],
)
def test_a_profile_that_is_unclear_is_one_clear_error(
    project: Path, profiles: str, message: str
) -> None:
    (project / "profiles.yml").write_text(profiles)

    with pytest.raises(ConfigurationError, match=message) as raised:
        open_project(project)

    assert "\n" not in str(raised.value)


NAMES = st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True)
DEFAULTS = st.none() | st.text(st.characters(exclude_categories=["C"]), max_size=8)


@given(
    name=NAMES,
    value=st.none() | st.text(st.characters(exclude_categories=["C"]), max_size=8),
    default=DEFAULTS,
    quote=st.sampled_from("'\""),
    last=st.sampled_from(["", "| as_text", "|as_number", "| as_bool", "| int", "| upper"]),
    space=st.sampled_from(["", " ", "  \n"]),
    around=st.tuples(*[st.sampled_from(["", "db-", " {", "} ", "x\n", "\r\n"])] * 2),
)
def test_what_a_profile_takes_from_the_environment_is_what_jinja_would_make_of_it(
    name: str,
    value: str | None,
    default: str | None,
    quote: str,
    last: str,
    space: str,
    around: tuple[str, str],
) -> None:
    second = "" if default is None else f",{space}{quote}{default}{quote}"
    before, after = around
    template = (
        f"{before}{{{{{space}env_var({quote}{name}{quote}{second}){space}{last}{space}}}}}{after}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(name, raising=False)
        if value is not None:
            patch.setenv(name, value)
        # A comment is beyond what is done without Jinja.
        assert outcome(template) == outcome("{# #}" + template)


def test_without_jinja2_everything_but_env_var_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    project_module._environment.cache_clear()
    monkeypatch.setenv("REGION", "eu")

    assert render("{{ env_var('REGION') }}-{{ env_var('STAGE', 'prod') }}", "it") == "eu-prod"
    with pytest.raises(ConfigurationError, match="jinja2 is not installed") as raised:
        render("{{ env_var('REGION') | upper }}", "target in profiles.yml")

    assert raised.value.next_step == "pip install jinja2"


def outcome(template: str) -> str:
    try:
        return render(template, "it")
    except ConfigurationError as error:
        return str(error)
