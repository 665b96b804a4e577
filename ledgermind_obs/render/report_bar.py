"""An age against both of its limits, as a bar of HTML."""

from __future__ import annotations

from ledgermind_obs.render.digest import Digest, Entry
from ledgermind_obs.render.report_style import tone_of

# Room for an age behind the last limit.
_BEYOND = 1.25
# Each is seen on a light and on a dark ground.
_FRESH, _LATE, _PAST = "rgba(47,148,97,.22)", "rgba(214,158,46,.34)", "rgba(214,69,65,.30)"


def bar(entry: Entry, digest: Digest) -> str:
    """Return the age of the last known row as a bar; an empty text without age or limit.

    It repeats what is beside it in words, and is hidden from who does not see it.
    """
    warn, error = entry.source.warn_after_seconds, entry.source.error_after_seconds
    last, age = max(warn or 0, error or 0), _age(entry, digest)
    if not last or age is None:
        return ""
    scale = last * _BEYOND
    first = 100 * (warn or last) / scale
    second = 100 * (error or scale) / scale
    zones = f"{_FRESH} {first:.1f}%,{_LATE} {first:.1f}% {second:.1f}%,{_PAST} {second:.1f}%"
    width = 100 * min(max(age / scale, 0.0), 1.0)
    fill = f'<span class="fill {tone_of(entry.state)}" style="width:{width:.1f}%"></span>'
    ground = f"background:linear-gradient(90deg,{zones})"
    return f'<span class="bar" aria-hidden="true" style="{ground}">{fill}</span>'


def _age(entry: Entry, digest: Digest) -> float | None:
    if entry.age_seconds is None and entry.last_row is not None:
        return (digest.made_at - entry.last_row).total_seconds()
    return entry.age_seconds
