"""Prometheus' text format: series as text, and text as series."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ledgermind_obs.metrics import METRICS, Metric, Series

_SPECIAL = re.compile(r'[\\\n"]')


_BY_NAME = {metric.name: metric for metric in METRICS}


def exposition(series: Iterable[Series], labels: Mapping[str, str] | None = None) -> bytes:
    """Return the series in Prometheus' text format, each with the constant ``labels`` added.

    Written here because prometheus_client's ``generate_latest`` takes ten times as long, and a
    thousand sources are twelve thousand series (bench/exposition.py).
    """
    series = list(series)
    escaped = _escaped(series)
    families: dict[str, tuple[Metric, str, list[str]]] = {}
    for metric, label_values, value in series:
        family = families.get(metric.name)
        if family is None:
            family = families[metric.name] = (metric, _template(metric, labels or {}), [])
        _, template, lines = family
        texts = [escaped.get(text, text) for text in label_values] if escaped else label_values
        lines.append(template % (*texts, value))
    return "".join(_family(metric, lines) for metric, _, lines in families.values()).encode()


def _template(metric: Metric, labels: Mapping[str, str]) -> str:
    """Return a line of the metric with ``%s`` for each label's value and ``%r`` for the number."""
    own = [f'{name}="%s"' for name in metric.labels]
    constant = [f'{name}="{_escape(value)}"'.replace("%", "%%") for name, value in labels.items()]
    return f"{metric.name}{{{','.join([*own, *constant])}}} %r\n"


def parse_exposition(
    content: bytes, labels: Mapping[str, str], wanted: Iterable[Metric] = METRICS
) -> list[Series]:
    """Return the series of the ``wanted`` metrics that carry exactly the constant ``labels``.

    Raises ValueError where the text is not in Prometheus' format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    names = tuple(metric.name.encode() for metric in wanted)
    lines = [line for line in content.split(b"\n") if line.startswith(names)]
    families = text_string_to_metric_families(b"\n".join([*lines, b""]).decode())
    found = (
        _read_back(sample.name, sample.labels, sample.value, labels)
        for family in families
        for sample in family.samples
    )
    return [series for series in found if series]


def _family(metric: Metric, lines: Iterable[str]) -> str:
    return f"# HELP {metric.name} {metric.help}\n# TYPE {metric.name} gauge\n" + "".join(lines)


def _escaped(series: Iterable[Series]) -> dict[str, str]:
    """Return the labels' values that cannot be written as they are, which is next to none."""
    texts = frozenset[str]().union(*(item.label_values for item in series))
    return {text: _escape(text) for text in texts if _SPECIAL.search(text)}


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _read_back(
    name: str, found: Mapping[str, str], value: float, labels: Mapping[str, str]
) -> Series | None:
    metric = _BY_NAME.get(name)
    if metric is None:
        return None
    others = {key: text for key, text in found.items() if text and key not in metric.labels}
    if others != {key: text for key, text in labels.items() if text}:
        return None
    return Series(metric, tuple(found.get(label, "") for label in metric.labels), value)
