"""Findings in the forms that people, CI systems and code scanners read."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.monitoring.findings import Checked, Code, Finding, Severity, Unread, failing
from ledgermind_obs.render.counts import counted

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_INDENT = "    "
# What a summary says of a kind of thing that was looked at, where its name alone says too little.
_NOUNS = {"nodes": ("node upstream", "nodes upstream")}


def rendered(checked: Checked, output: str, fail_on: str, width: int | None = None) -> str:
    """Return what was found in the form that is called ``output``.

    ``fail_on`` is the least severity that fails; a ``width`` in columns wraps the table's lines.
    """
    if output == "json":
        return as_json(checked)
    if output == "github":
        return as_github(checked)
    if output == "sarif":
        return as_sarif(checked)
    if output == "junit":
        return as_junit(checked, fail_on)
    return as_table(checked, width)


def as_table(checked: Checked, width: int | None = None) -> str:
    """Return each finding with what to do next below it, and a summary at the end."""
    lines = [line for finding in checked.findings for line in _paragraph(finding, width)]
    return "\n".join([*lines, *([""] if lines else []), summary(checked)])


def _paragraph(finding: Finding, width: int | None) -> list[str]:
    place = f"{_place(finding)}  " if finding.file else ""
    way = [f"{_INDENT}{' → '.join(map(_plain, finding.path))}"] if len(finding.path) > 1 else []
    lines = [f"{place}{finding.code} {finding.severity}  {_sentence(finding)}", *way]
    lines.append(f"{_INDENT}next: {_plain(finding.next_step)} ({finding.help})")
    wrapped = [part for line in lines for part in _wrapped(line, width)]
    return [*wrapped, f"{_INDENT}or:   {_ignore(finding)}"]


def _wrapped(line: str, width: int | None) -> list[str]:
    if width is None:
        return [line]
    return textwrap.wrap(
        line,
        max(width, 40),
        subsequent_indent=_INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(checked: Checked) -> str:
    """Return one sentence: what was looked at, and how much of it is wrong."""
    severities = [finding.severity for finding in checked.findings]
    found = [
        counted(severities.count(severity), severity.value)
        for severity in Severity
        if severity in severities
    ]
    unread = [f"{counted(len(checked.unread), 'file')} not read"] if checked.unread else []
    looked_at = [_looked_at(kind, len(things)) for kind, things in checked.looked_at.items()]
    return f"{', '.join(looked_at)}: {', '.join([*found, *unread]) or 'no finding'}"


def _looked_at(kind: str, number: int) -> str:
    one, many = _NOUNS.get(kind, (kind.removesuffix("s"), kind))
    return f"{number} {one if number == 1 else many}"


def as_json(checked: Checked) -> str:
    """Return what was looked at, the findings and the files not read; the names are stable."""
    document = {
        **{kind: list(map(_plain, things)) for kind, things in checked.looked_at.items()},
        "findings": [_plain_fields(finding) for finding in checked.findings],
        "unread": [_plain_fields(unread) for unread in checked.unread],
    }
    return _indented(document)


def _plain_fields(item: Finding | Unread) -> dict[str, Any]:
    fields = msgspec.structs.asdict(item)
    return {name: _plain(v) if isinstance(v, str) else v for name, v in fields.items()}


def as_github(checked: Checked) -> str:
    """Return GitHub's workflow commands, which annotate the lines of a pull request."""
    titles = {code.id: code.title for code in checked.codes}
    lines = [_annotation(finding, titles[finding.code]) for finding in checked.findings]
    unread = [_unread_annotation(file) for file in checked.unread]
    return "\n".join([*lines, *unread, summary(checked)])


def _annotation(finding: Finding, title: str) -> str:
    properties = {
        "file": finding.file,
        "line": finding.line or "",
        "title": f"{finding.code} {title}",
    }
    message = (
        f"{_sentence(finding)}\nnext: {_plain(finding.next_step)}\n"
        f"or: {_ignore(finding)}\nsee {finding.help}"
    )
    return _command(finding.severity, properties, message)


def _unread_annotation(unread: Unread) -> str:
    message = "\n".join(filter(None, [_plain(unread.message), _plain(unread.next_step)]))
    return _command("error", {"file": unread.file, "title": "file not read"}, message)


def _command(severity: str, properties: dict[str, Any], message: str) -> str:
    given = ",".join(f"{name}={_escaped(str(text))}" for name, text in properties.items() if text)
    return f"::{severity} {given}::{_escaped(message, in_message=True)}"


def _escaped(text: str, *, in_message: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text if in_message else text.replace(":", "%3A").replace(",", "%2C")


def as_sarif(checked: Checked) -> str:
    """Return SARIF 2.1.0, which code scanners show."""
    driver = {
        "name": f"obs {checked.command}",
        "version": __version__,
        "rules": [_sarif_rule(code) for code in checked.codes],
    }
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "invocations": [_invocation(checked)],
        "results": [_result(finding) for finding in checked.findings],
    }
    return _indented(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [run],
        }
    )


def _sarif_rule(code: Code) -> dict[str, Any]:
    return {
        "id": code.id,
        "shortDescription": {"text": code.title},
        "helpUri": code.help,
        "defaultConfiguration": {"level": code.severity},
    }


def _invocation(checked: Checked) -> dict[str, Any]:
    notes = [
        {"level": "error", "message": {"text": _plain(unread.message)}} for unread in checked.unread
    ]
    return {"executionSuccessful": not notes, "toolExecutionNotifications": notes}


def _result(finding: Finding) -> dict[str, Any]:
    text = f"{_sentence(finding)}; next: {_plain(finding.next_step)}, or {_ignore(finding)}"
    node = _plain(finding.node or finding.name)
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "level": finding.severity,
        "message": {"text": text},
        "partialFingerprints": {"node": f"{finding.code}:{node}"},
    }
    if finding.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.file)}}
        if finding.line:
            location["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": location}]
    return result


def _uri(file: str) -> str:
    """Return a path as the URI reference that SARIF asks for."""
    from urllib.parse import quote

    quoted = quote(file, errors="replace")
    return f"file://{quoted}" if file.startswith("/") else quoted


def as_junit(checked: Checked, fail_on: str) -> str:
    """Return JUnit's XML: each code is a test, which fails if one of its findings does.

    Findings that do not fail are the test's output; a file that was not read is a test in error.
    """
    failed = {finding.code for finding in failing(checked.findings, fail_on)}
    room = checked.command.split()[0]
    suite = ElementTree.Element(
        "testsuite",
        name=f"obs {checked.command}",
        tests=str(len(checked.codes) + len(checked.unread)),
        failures=str(len(failed)),
        errors=str(len(checked.unread)),
    )
    for code in checked.codes:
        name = f"{code.id} {code.title}"
        case = ElementTree.SubElement(suite, "testcase", classname=room, name=name)
        found = [finding for finding in checked.findings if finding.code == code.id]
        if found:
            _outcome(case, found, fails=code.id in failed)
    for unread in checked.unread:
        name = f"read {_plain(unread.file)}"
        case = ElementTree.SubElement(suite, "testcase", classname=room, name=name)
        ElementTree.SubElement(case, "error", message=_plain(unread.message))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _outcome(case: ElementTree.Element, found: Sequence[Finding], *, fails: bool) -> None:
    text = "\n".join(line for finding in found for line in _paragraph(finding, None))
    if fails:
        message = counted(len(found), found[0].severity.value)
        ElementTree.SubElement(case, "failure", message=message).text = text
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _place(finding: Finding) -> str:
    file = _plain(finding.file)
    return f"{file}:{finding.line}" if finding.line else file


def _sentence(finding: Finding) -> str:
    name = _plain(finding.name)
    return (
        f'"{name}" {_plain(finding.message)}'
        if " " in name
        else f"{name} {_plain(finding.message)}"
    )


def _ignore(finding: Finding) -> str:
    return f"--ignore {shlex.quote(f'{finding.code}:{_plain(finding.name)}')}"


def _plain(text: str) -> str:
    """Return the text on one line, without what a terminal or XML would take for a command."""
    return _CONTROL.sub("\ufffd", " ".join(text.split()))


def _indented(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
