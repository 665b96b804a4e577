"""Where an alert ends: Alertmanager's routes, matched as Alertmanager does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.monitoring.promql import Matcher

_MATCHER = re.compile(r"\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


class Receiver(msgspec.Struct, frozen=True):
    """A receiver, and the kinds of integration it has, such as ``slack``."""

    name: str
    integrations: tuple[str, ...]


def receivers_of(settings: Any, labels: Mapping[str, str]) -> list[Receiver]:
    """Return where an alert with these labels ends.

    ``settings`` is Alertmanager's configuration. Raises ArtifactError if it is none.
    """
    try:
        receivers = {each["name"]: each for each in settings["receivers"]}
        names = _ends(settings["route"], labels, settings["route"]["receiver"])
        return [_receiver(receivers[name]) for name in dict.fromkeys(names)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError("Alertmanager shows no configuration that can be read") from error


def _receiver(settings: Mapping[str, Any]) -> Receiver:
    kinds = (key.removesuffix("_configs") for key, value in settings.items() if value)
    return Receiver(settings["name"], tuple(kind for kind in kinds if kind != "name"))


def _ends(route: Mapping[str, Any], labels: Mapping[str, str], inherited: str) -> Iterator[str]:
    """Yield the receivers of the deepest routes that match, as Alertmanager walks them."""
    receiver, found = route.get("receiver") or inherited, False
    for child in route.get("routes") or ():
        if all(m.matches(labels.get(m.label, "")) for m in _matchers(child)):
            found = True
            yield from _ends(child, labels, receiver)
            if not child.get("continue"):
                return
    if not found:
        yield receiver


def _matchers(route: Mapping[str, Any]) -> Iterator[Matcher]:
    for label, value in (route.get("match") or {}).items():
        yield Matcher(label, "=", str(value))
    for label, value in (route.get("match_re") or {}).items():
        yield Matcher(label, "=~", str(value))
    for text in route.get("matchers") or ():
        yield from parsed(text)


def parsed(text: str) -> Iterator[Matcher]:
    """Yield the matchers in a text such as ``severity="critical"``; raises ArtifactError."""
    for part in _parts(text.strip().removeprefix("{").removesuffix("}")):
        found = _MATCHER.fullmatch(part)
        if not found:
            raise ArtifactError(f"Alertmanager has a matcher that cannot be read: {part}")
        yield Matcher(found[1], found[2], _unquoted(found[3]))


def _parts(text: str) -> Sequence[str]:
    """Return the parts between commas that are not in quotes."""
    parts = re.findall(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+', text)
    return [part for part in parts if part.strip()]


def _unquoted(text: str) -> str:
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Return whether no matcher speaks against an alert of which only these labels are known."""
    return all(m.matches(labels[m.label]) for m in matchers if m.label in labels)
