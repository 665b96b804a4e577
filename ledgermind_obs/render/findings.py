"""Findings in the forms that people, CI systems and code scanners read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.lineage.findings import CODES, Checked, Code, Finding, Severity

_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def as_table(checked: Checked) -> str:
    """Return one paragraph a finding, and a summary."""
    return "\n".join([*(_paragraph(finding) for finding in checked.findings), summary(checked)])


def _paragraph(finding: Finding) -> str:
    place = f"{_place(finding)}: " if finding.file else ""
    lines = [f"{place}{finding.code} {finding.severity}: {finding.name} {finding.message}"]
    lines += [f"  {' → '.join(finding.path)}"] if len(finding.path) > 1 else []
    return "\n".join([*lines, f"  next: {_next(finding)}", ""])


def summary(checked: Checked) -> str:
    """Return one sentence: what was looked at, and how much of it is wrong."""
    severities = [finding.severity for finding in checked.findings]
    found = [
        _count(severities.count(severity), severity.value)
        for severity in Severity
        if severity in severities
    ]
    looked_at = [
        _count(len(checked.exposures), "exposure"),
        f"{_count(len(checked.nodes), 'node')} upstream",
        _count(len(checked.sources), "source"),
    ]
    return f"{', '.join(looked_at)}: {', '.join(found) or 'no finding'}"


def as_json(checked: Checked) -> str:
    """Return the findings and what was looked at; the names are stable."""
    return msgspec.json.format(msgspec.json.encode(checked), indent=2).decode()


def as_github(checked: Checked) -> str:
    """Return GitHub's workflow commands, which annotate the lines of a pull request."""
    return "\n".join([*(_annotation(finding) for finding in checked.findings), summary(checked)])


def _annotation(finding: Finding) -> str:
    properties = {"file": finding.file, "line": finding.line or "", "title": _title(finding)}
    given = ",".join(f"{name}={_escaped(str(text))}" for name, text in properties.items() if text)
    message = f"{finding.name} {finding.message}\nnext: {_next(finding)}"
    return f"::{finding.severity} {given}::{_escaped(message, in_message=True)}"


def _escaped(text: str, *, in_message: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text if in_message else text.replace(":", "%3A").replace(",", "%2C")


def as_sarif(checked: Checked) -> str:
    """Return SARIF 2.1.0, which code scanners show."""
    driver = {
        "name": "obs lineage check",
        "version": __version__,
        "rules": [{"id": code.id, "shortDescription": {"text": code.title}} for code in CODES],
    }
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": [_result(f) for f in checked.findings]}],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def _result(finding: Finding) -> dict[str, Any]:
    text = f"{finding.name} {finding.message}; next: {_next(finding)}"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": finding.severity,
        "message": {"text": text},
        "partialFingerprints": {"node": f"{finding.code}:{finding.node}"},
    }
    if finding.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": finding.file}}
        if finding.line:
            location["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": location}]
    return result


def as_junit(checked: Checked) -> str:
    """Return JUnit's XML: each code is a test, which fails where there is a finding."""
    found = {finding.code for finding in checked.findings}
    suite = ElementTree.Element(
        "testsuite", name="obs lineage check", tests=str(len(CODES)), failures=str(len(found))
    )
    for code in CODES:
        case = ElementTree.SubElement(suite, "testcase", classname="lineage", name=_case_name(code))
        findings = [finding for finding in checked.findings if finding.code == code.id]
        if findings:
            text = _NOT_IN_XML.sub("\ufffd", "\n".join(_paragraph(f) for f in findings))
            message = _count(len(findings), code.severity.value)
            ElementTree.SubElement(case, "failure", message=message).text = text
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _case_name(code: Code) -> str:
    return f"{code.id} {code.title}"


FORMATS: dict[str, Callable[[Checked], str]] = {
    "table": as_table,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
    "junit": as_junit,
}


def worst(findings: Sequence[Finding], severity: str) -> bool:
    """Return whether a finding is at least as bad as ``severity``."""
    return any(severity == Severity.WARNING or f.severity is Severity.ERROR for f in findings)


def _place(finding: Finding) -> str:
    return f"{finding.file}:{finding.line}" if finding.line else finding.file


def _title(finding: Finding) -> str:
    titles = {code.id: code.title for code in CODES}
    return f"{finding.code} {titles[finding.code]}"


def _next(finding: Finding) -> str:
    return f"{finding.next_step}, or --ignore {finding.code}:{finding.name}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
