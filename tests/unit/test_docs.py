import pkgutil
import re
from pathlib import Path

import pytest

from docs import make
from ledgermind_obs.freshness import State
from ledgermind_obs.monitoring.runbooks import anchors

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md"))
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))


def test_the_pages_that_follow_from_the_code_are_up_to_date() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text() == make.metrics_page(), "run: make docs"
    assert (ROOT / "docs" / "commands.md").read_text() == make.commands_page(), "run: make docs"
    assert (ROOT / "docs" / "doctor.md").read_text() == make.doctor_page(), "run: make docs"


def test_the_readme_has_every_state() -> None:
    page = make.readme()
    assert (ROOT / "README.md").read_text() == page, "run: make docs"
    assert all(f"`{state}`" in page[page.index("## States") :] for state in State)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_leads_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(
        r"\]\((?!https?:|mailto:)([^)#]*)(#[^)]*)?\)", path.read_text()
    ):
        file = (path.parent / target) if target else path
        assert file.exists(), f"{page} links to {target}"
        if anchor:
            assert anchor[1:] in anchors(file.read_text()), f"{page} links to {target}{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_obs_command_in_the_documents_exists(page: str) -> None:
    known = {context.command_path for context in make.commands()}
    for words in re.findall(
        r"\bobs (?:freshness|lineage|dashboard|rules) [a-z]+", (ROOT / page).read_text()
    ):
        assert words in known, f"{page} speaks of {words}"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_in_the_documents_exists(page: str) -> None:
    makefiles = [ROOT / "Makefile", *ROOT.glob("ops/*.mk")]
    known = set(
        re.findall(r"^([a-z-]+):", "\n".join(m.read_text() for m in makefiles), re.MULTILINE)
    )
    for target in re.findall(r"`(?:cd \S+ && )?make ([a-z-]+)", (ROOT / page).read_text()):
        assert target in known, f"{page} speaks of make {target}"


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", ARCHITECTURE))))
def test_what_the_architecture_names_exists(name: str) -> None:
    assert pkgutil.resolve_name(f"ledgermind_obs.{name}")
