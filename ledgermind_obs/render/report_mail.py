"""A report as a mail: a subject that says how it is, plain text, and HTML."""

from __future__ import annotations

from html import escape

from ledgermind_obs.render.digest import Digest
from ledgermind_obs.render.report_html import MOST_ROWS, as_mail_html, in_ascii
from ledgermind_obs.render.report_style import stylesheet
from ledgermind_obs.render.report_text import as_text

Mail = tuple[str, str, str]


def as_mail(digest: Digest) -> Mail:
    """Return subject, text and HTML."""
    return _subject(digest), as_text(digest, MOST_ROWS), as_mail_html(digest)


def failure_mail(project: str, target: str, message: str, next_step: str) -> Mail:
    """Return subject, text and HTML of a report that could not be made."""
    sentence = "there is no freshness report"
    text = f"{sentence.capitalize()}\n\n{project}, target {target}\n\n{message}\n{next_step}"
    html = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{sentence}</title>
<style>{stylesheet()}</style></head>
<body><main><p class="soft">dbt source freshness · {escape(project)}, target {escape(target)}</p>
<h1>{sentence.capitalize()}</h1>
<div class="card edge-bad"><p>{escape(message)}</p><p>{escape(next_step)}</p></div>
</main></body></html>"""
    return f"{project} {target}: {sentence}", text.rstrip(), in_ascii(html)


def _subject(digest: Digest) -> str:
    report, sentence = digest.report, digest.sentence
    return f"{report.project} {report.target}: {sentence[0].lower()}{sentence[1:]}"
