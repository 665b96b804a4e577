"""Secrets from files and environment variables: read, checked and remembered in one place."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from ledgermind_obs import secrets
from ledgermind_obs.errors import ConfigurationError

MAX_BYTES = 64 * 1024

# Controls, and what ends a line or a paragraph: nothing that a header can carry.
_REFUSED = frozenset({"Cc", "Zl", "Zp"})
_NAMES = {"\0": "a NUL", "\t": "a tab", "\n": "a second line", "\r": "a carriage return"}


def secret(variable: str, path: Path | None, *, encoded: bool = False) -> str:
    """Return a secret from its file or its environment variable, never from a flag's value.

    One line end at its end is taken off; what is not ``encoded`` is sent in a header as it is.
    Raises ConfigurationError if a file cannot be read or is empty, or the value cannot be sent.
    """
    if path is None:
        place, step = variable, "write the secret into it, on one line"
        text = os.environ.get(variable, "")
    else:
        place, step = str(path), f"write the secret into it, on one line, or set {variable}"
        text = _text_of(path, step)
    value = _without_line_end(text)
    secrets.register(value)
    _check(value, place, step, encoded=encoded)
    if path and not value:
        raise ConfigurationError(f"{path} is empty", step)
    return value


def check_username(name: str | None, option: str) -> None:
    """Raise ConfigurationError where basic authentication cannot carry a user's name."""
    if name and ":" in name:
        raise ConfigurationError(
            f"{option} holds a colon, which would end the name there", "give the name alone"
        )
    _check(name or "", option, "give the name alone", encoded=True)


def check_vars(project_vars: str | None) -> None:
    """Raise ConfigurationError where ``--vars`` repeats a secret: it becomes a command line."""
    if project_vars and secrets.redact(project_vars) != project_vars:
        raise ConfigurationError(
            "--vars holds a secret, and every user of this machine could read it: dbt takes "
            "variables on its command line only",
            "read it in the project with env_var()",
        )


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def _check(value: str, place: str, next_step: str, *, encoded: bool) -> None:
    """Raise ConfigurationError where a value has what no header can carry, without showing it."""
    for sign in value:
        if unicodedata.category(sign) in _REFUSED:
            name = _NAMES.get(sign, f"the control character U+{ord(sign):04X}")
        elif not sign.isascii() and not encoded:
            name = "a character that an HTTP header cannot carry"
        else:
            continue
        raise ConfigurationError(f"{place} holds {name}", next_step)


def _text_of(path: Path, next_step: str) -> str:
    try:
        content = _content(path)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}", next_step) from error
    if content is None:
        raise ConfigurationError(f"{path} is not a regular file", next_step)
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{path} is larger than 64 KiB: is it a secret?", next_step)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text", next_step) from None


def _content(path: Path) -> bytes | None:
    """Return a file's beginning, None for what is no file; a named pipe would wait for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(MAX_BYTES + 1)
