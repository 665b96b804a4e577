"""What is secret in ``profiles.yml``: found also where the file is not valid YAML or Jinja.

dbt and its libraries quote the lines that they cannot read. So every word of a broken file counts
as secret; of a sound one, settings of every target: nobody knows which an error will be about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ledgermind_obs import secrets

_SECRET_ENDINGS = (
    *("pass", "password", "passwd", "passphrase", "pwd", "secret", "token", "credential"),
    *("credentials", "_key", "-key", "_pat"),
)
_PUBLIC = frozenset({"account", "database", "dbname", "host", "role", "schema", "user", "username"})

_JINJA = ("{{", "{%", "{#")
# Compiled when there is a template, or a broken file, and not at every start.
_ENV_VAR = r"""env_var\(\s*['"](\w+)['"]"""
_WORD = r"""[^\s'"{}|(),%#~]+"""
_IN_QUOTES = r""""([^"]+)"|'([^']+)'"""
_OF_JINJA = frozenset(
    {"as_bool", "as_native", "as_number", "as_text", "default", "env_var", "float", "int", "target"}
    | {"string", "trim", "upper", "lower", "true", "false", "none", "else", "endif", "replace"}
)


def remember(content: bytes, environ: Mapping[str, str]) -> None:
    """Register every secret of a ``profiles.yml``, those in ``environ`` that it names too."""
    document = _document(content)
    settings = list(_settings(document))
    for line in _doubtful(content, document, settings):
        _remember_any_word(line, environ)
    for name, value in settings:
        if _is_secret(name) or "PRIVATE KEY-----" in value:
            _remember(value, environ)
        elif name in _PUBLIC and value:
            secrets.name_publicly(*_meant(value, environ))


def _doubtful(content: bytes, document: Any, settings: list[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines of which YAML does not tell what is secret in them.

    A password that begins with & or # is none to YAML: it takes it for an anchor or a comment.
    """
    lost = [f"{name}:" for name, value in settings if not value and _is_secret(name)]
    if document is None or lost:
        for line in content.decode("utf-8", "replace").splitlines():
            if document is None or any(name in line for name in lost):
                yield line


def _is_secret(name: str) -> bool:
    return name.lower().endswith(_SECRET_ENDINGS) or name.lower() in {"key", "pat"}


def _document(content: bytes) -> Any:
    from ledgermind_obs.dbt import yaml_files

    try:
        return yaml_files.load(content)
    except yaml_files.FaultyYamlError:
        return None


def _settings(node: Any) -> Iterator[tuple[str, str]]:
    """Yield the names and values of all settings, however deep; an alias is looked at once."""
    seen, pending = set[int](), [node]
    while pending:
        found = pending.pop()
        if not isinstance(found, dict | list) or id(found) in seen:
            continue
        seen.add(id(found))
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        for name, value in pairs:
            pending.append(value)
            if value is None or isinstance(value, str | int | float):
                yield str(name), "" if value is None else str(value)


def _remember_written(text: str, environ: Mapping[str, str]) -> None:
    """Register a value as it is written in the file, where comments and signs may belong to it."""
    bare = text.strip()
    for value in {bare, re.split(r"\s#|[,}]", bare, maxsplit=1)[0].strip()}:
        inner = value[1:-1] if value[:1] in {'"', "'"} and value[:1] == value[-1:] else value
        _remember(inner, environ)
        if not _is_template(inner):
            _remember(inner.lstrip("#!&*@`%|>{[\"'-+?: ").rstrip("]}\"'"), environ)


def _remember_any_word(line: str, environ: Mapping[str, str]) -> None:
    """Register what a line of a broken file says, as a whole and word by word: any is quoted."""
    value = line.partition(": ")[2] or line
    _remember_written(value, environ)
    for quoted in re.findall(_IN_QUOTES, value):
        secrets.register("".join(quoted))
    for word in re.split(r"[\s:!]+", value):
        if len(word) >= secrets.SHORTEST:
            secrets.register(word)


def _remember(value: str, environ: Mapping[str, str]) -> None:
    secrets.register(value)
    for meant in _meant(value, environ) if _is_template(value) else ():
        secrets.register(meant)
    for word in _words(value) if _is_template(value) else ():
        secrets.register(word)


def _meant(value: str, environ: Mapping[str, str]) -> list[str]:
    """Return what a setting stands for, as far as that can be told without Jinja."""
    if not _is_template(value):
        return [value]
    return [environ[name] for name in re.findall(_ENV_VAR, value) if name in environ]


def _words(template: str) -> Iterator[str]:
    """Yield what in a template may be a secret itself: not its functions and variables' names."""
    names = {*_OF_JINJA, *re.findall(_ENV_VAR, template)}
    for word in re.findall(_WORD, template):
        if word not in names and len(word) >= secrets.SHORTEST:
            yield word


def _is_template(value: str) -> bool:
    return any(sign in value for sign in _JINJA)
