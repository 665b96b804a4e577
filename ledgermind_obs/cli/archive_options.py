"""``--evidence`` and ``--replay``: what a verdict was made of, kept and judged again."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ledgermind_obs import secrets
from ledgermind_obs.cli.help import OUTPUT, Command, in_group
from ledgermind_obs.cli.options import option
from ledgermind_obs.cli.refusal import Answer
from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Project
from ledgermind_obs.errors import ArtifactError, ConfigurationError, DestinationError

if TYPE_CHECKING:
    from ledgermind_obs.gate.evidence import Evidence
    from ledgermind_obs.gate.judge import Verdict
    from ledgermind_obs.gate.policy import Policy

_FILE = click.Path(path_type=Path, dir_okay=False)
_MOST_BYTES = 1 << 28
# What a replay has a use for: everything else was decided when the file was written.
_OF_REPLAY = frozenset({"replay", "output"})


def archive_options(command: Command) -> Command:
    """Give a gate ``--evidence``, made into ``keep``, and ``--replay``, which needs no project."""

    @in_group(
        OUTPUT,
        option(
            "--evidence",
            "keep",
            env="OBS_GATE_EVIDENCE",
            type=_FILE,
            help="Write what was checked, and against which limits, to this file.",
        ),
        option(
            "--replay",
            env="OBS_GATE_REPLAY",
            type=_FILE,
            help="Repeat the verdict on a file that --evidence wrote: no project, no network, the "
            "same clock.",
        ),
    )
    @functools.wraps(command)
    def wrapper(replay: Path | None, **others: Any) -> Any:
        if replay is None:
            return command(**others)
        _check_alone()
        return _replayed(replay, others["output"])

    return wrapper


def keep_evidence(
    path: Path,
    evidence: Evidence,
    policy: Policy,
    verdict: Verdict,
    manifest: Path,
) -> None:
    """Write what a verdict is made of; raises DestinationError."""
    import msgspec

    from ledgermind_obs.gate.archive import archived
    from ledgermind_obs.render.verdict import document
    from ledgermind_obs.sinks.files import replace_file

    told = document(evidence, verdict, evidence.gathered_at)
    found = archived(evidence, policy, told, _sha256(manifest) if evidence.upstream else "")
    content = msgspec.json.format(msgspec.json.encode(found), indent=1)
    try:
        replace_file(path, secrets.redact(content.decode()).encode() + b"\n")
    except OSError as error:
        raise DestinationError(
            f"cannot write the evidence to {path}: {error.strerror}", "name a regular file"
        ) from error


def manifest_path(project: Project, choice: ManifestChoice) -> Path:
    """Return where the manifest of a decision is."""
    return choice.path or project.private_target_path / "manifest.json"


def _replayed(path: Path, output: str) -> Answer:
    import msgspec

    from ledgermind_obs.cli.check import in_words
    from ledgermind_obs.gate.archive import read_archive
    from ledgermind_obs.gate.judge import judge
    from ledgermind_obs.render.verdict import document

    found = read_archive(_content(path), str(path))
    evidence = found.evidence
    verdict = judge(evidence, found.policy, evidence.gathered_at)
    told = document(evidence, verdict, evidence.gathered_at)
    if msgspec.json.decode(msgspec.json.encode(told)) != found.verdict:
        raise ArtifactError(
            f"{path} does not give the verdict that it holds",
            f"it was changed, or obs {found.obs_version} judged otherwise than this one",
        )
    text = in_words(evidence, verdict, output)
    if output != "json":
        at = f"{evidence.gathered_at:%Y-%m-%d %H:%M:%S} UTC"
        text += f"\n\nreplayed from {path}: decided at {at} by obs {found.obs_version}"
    return Answer(verdict.lets_through, text)


def _content(path: Path) -> bytes:
    from ledgermind_obs.dbt.regular_file import read_regular

    try:
        return read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error


def _check_alone() -> None:
    context = click.get_current_context()
    for param in context.command.params:
        given = context.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name not in _OF_REPLAY:
            raise click.UsageError(f"--replay judges what is in the file: drop {param.opts[0]}")


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
