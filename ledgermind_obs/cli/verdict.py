"""The gate's verdict, as people and programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import FreshnessReport
from ledgermind_obs.gate.judge import Judgement, Verdict
from ledgermind_obs.lineage.blind_spots import Blindness, BlindSpot, advice
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.render.documents import to_json, verdict_document
from ledgermind_obs.render.report import of_project

# The kinds of blind spots that may be let through by name, and the flag for it.
TOLERATED_BY = {
    Blindness.NO_FRESHNESS: "--allow-no-freshness",
    Blindness.UNMEASURABLE: "--allow-no-freshness",
    Blindness.SEED: "--allow-seed",
    Blindness.UNSEEN: "--allow-unseen",
    Blindness.OTHER_PROJECT: "--allow-unseen",
}

BLOCKED = "DO NOT RUN ML TRAINING"
OPEN = "ML training may run"


def tell_verdict(report: FreshnessReport, verdict: Verdict, output: str) -> None:
    """Print the verdict on a whole report, with what blocks and what warns."""
    if output == "json":
        click.echo(to_json(verdict_document(report, verdict)))
        return
    from ledgermind_obs.cli.show import show_judgements

    blockers, warnings = verdict.blockers, verdict.warnings
    _say(_sentence_of_report(report, verdict), good=verdict.lets_through)
    if blockers or warnings:
        click.echo()
        show_judgements([*warnings, *blockers])


def tell_exposure_verdict(
    upstream: Upstream, report: FreshnessReport, verdict: Verdict, output: str
) -> None:
    """Print the verdict on what is above an exposure, with each blocker's path to it."""
    if output == "json":
        click.echo(to_json(exposure_document(upstream, report, verdict)))
    else:
        show_exposure_verdict(upstream, verdict)


def tell_failure(error: Exception, output: str) -> None:
    """Print the verdict where there is no evidence to judge by: it blocks."""
    if output == "json":
        click.echo(to_json(failure_document(error)))
    else:
        _say(f"{BLOCKED}: nothing could be measured", good=False)


def _say(words: str, *, good: bool) -> None:
    """Print the sentence that decides, so that it cannot be overlooked."""
    click.secho(words, bold=True, fg="green" if good else "red")


def _sentence_of_report(report: FreshnessReport, verdict: Verdict) -> str:
    if verdict.lets_through:
        return f"{OPEN}: {of_project(report)}, {len(verdict.warnings)} with a warning"
    return f"{BLOCKED}: {len(verdict.blockers)} of {of_project(report)} too old or unknown"


def sentence(upstream: Upstream, verdict: Verdict) -> str:
    """Return the one sentence that decides."""
    name, judged = upstream.exposure.name, len(verdict.judgements)
    above = f"{_count(judged, 'source')} above {name}"
    if verdict.lets_through:
        warned = f", {len(verdict.warnings)} with a warning" if verdict.warnings else ""
        return f"{OPEN}: {above} measured{warned}"
    reasons = []
    if verdict.blockers:
        reasons.append(f"{len(verdict.blockers)} of {above} too old or unknown")
    if verdict.blind:
        reasons.append(f"{_count(len(verdict.blind), 'blind spot')} above {name}")
    return f"{BLOCKED}: {' and '.join(reasons) or f'nothing above {name} can be measured'}"


def show_exposure_verdict(upstream: Upstream, verdict: Verdict) -> None:
    """Print the sentence, then each blocker with its path and what to do, then the warnings."""
    _say(sentence(upstream, verdict), good=verdict.lets_through)
    for judgement in verdict.blockers:
        _show(upstream, judgement.source.unique_id, _facts(judgement), judgement.next_step)
    for spot in verdict.blind:
        _show(upstream, spot.node, [spot.reason], _mending(upstream, spot))
    for judgement in verdict.warnings:
        _show(upstream, judgement.source.unique_id, _facts(judgement), judgement.next_step)
    if not verdict.lets_through:
        click.echo(f"\n{_whom_to_ask(upstream)}")


def exposure_document(
    upstream: Upstream, report: FreshnessReport, verdict: Verdict
) -> dict[str, Any]:
    """Return the verdict with the exposure, every source's path, and the blind spots."""
    document = verdict_document(report, verdict)
    exposure = upstream.exposure
    for source in document["sources"]:
        source["path"] = upstream.path(source["unique_id"])
    blind = [
        {
            "unique_id": spot.node,
            "kind": spot.kind,
            "reason": spot.reason,
            "path": upstream.path(spot.node),
            "next_step": _mending(upstream, spot),
        }
        for spot in verdict.blind
    ]
    described = {
        "unique_id": upstream.uid,
        "name": exposure.name,
        "owner": str(exposure.owner or ""),
        "url": exposure.url or "",
    }
    said = {"sentence": sentence(upstream, verdict), "exposure": described, "blind_spots": blind}
    return {**document, **said}


def failure_document(error: Exception) -> dict[str, Any]:
    """Return the verdict where there is no evidence to judge by."""
    return {"verdict": "block", "sentence": f"{BLOCKED}: {error}", "error": str(error)}


def _show(upstream: Upstream, uid: str, facts: Iterable[str], next_step: str) -> None:
    click.echo()
    click.echo("  ".join([click.style(upstream.lineage.label(uid), bold=True), *facts]))
    click.echo(f"  {' → '.join(upstream.path(uid))}")
    click.echo(f"  next: {next_step}")


def _mending(upstream: Upstream, spot: BlindSpot) -> str:
    flag = TOLERATED_BY.get(spot.kind)
    name = upstream.lineage.label(spot.node)
    return advice(spot.kind) + (f", or let it through: {flag} {name}" if flag else "")


def _facts(judgement: Judgement) -> list[str]:
    age = judgement.age_seconds
    facts = [judgement.state.label]
    facts += [format_age(age)] if age is not None else []
    if judgement.limit_seconds is not None:
        facts.append(f"limit {format_age(judgement.limit_seconds)} ({judgement.limit})")
    facts += [judgement.source.message] if judgement.source.message else []
    return facts


def _whom_to_ask(upstream: Upstream) -> str:
    exposure = upstream.exposure
    owner = str(exposure.owner or "") or "nobody"
    return f"{exposure.name} is owned by {owner}" + (f"  {exposure.url}" if exposure.url else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
