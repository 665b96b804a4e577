"""The secrets that this process has read, and texts in which each of them is shown as ``***``.

A secret is found as it is and in every form in which servers, libraries and documents repeat it.

A value that is as good as public protects nothing, and would take the sense out of ordinary text:
one of fewer than four characters, the name of the project or the target, a word that ``obs`` itself
prints. Such a value is hidden only where it stands as a credential: in a URL, behind a word such as
``password`` or ``Bearer``, and in base64.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator

MASK = "***"
SHORTEST = 4
# What is shorter is found in ordinary text by chance.
_SHORTEST_IN_BASE64 = 8

# What documents and messages of obs are made of; a database's password is often one of them.
_OWN_WORDS = frozenset(
    {
        *("age", "block", "build", "dbt", "default", "dev", "empty", "engine", "error"),
        *("exposure", "false", "freshness", "future", "information", "ledgermind", "metric"),
        *("metrics", "missing", "model", "name", "null", "owner", "pass", "postgres", "prod"),
        *("production", "project", "prometheus", "public", "query_error", "schema", "seconds"),
        *("source", "sources", "staging", "state", "status", "table", "tables", "target"),
        *("test", "text", "training", "true", "verdict", "version", "warehouse", "warn"),
        *("warning"),
    }
)
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

# What stands before a credential: the name of one, or the user in a URL.
_SIGN = (
    r"(?i:passphrase|password|passwd|pass|pwd|secret|token|key|authorization|bearer|basic)"
    r"[\"']?\s*[:=]?\s*[\"']?(?i:bearer\s+|basic\s+)?\Z|://[^/@\s:]*:\Z"
)
_SIGN_LENGTH = 48


class _Forms:
    """What to look for: texts that are hidden wherever they are, and those that need a sign."""

    def __init__(self, everywhere: Iterable[str], with_a_sign: Iterable[str]) -> None:
        self.everywhere = sorted(everywhere, key=len, reverse=True)
        self.starts = frozenset(form[0] for form in self.everywhere)
        weak = "|".join(map(re.escape, sorted(with_a_sign, key=len, reverse=True)))
        self.weak = re.compile(rf"(?:{weak})(?!\w)") if weak else None

    def masked(self, text: str) -> str:
        for form in self.everywhere:
            if form in text:
                text = text.replace(form, MASK)
        return self.weak.sub(_masked_behind_a_sign, text) if self.weak else text

    def settled(self, text: str) -> int:
        """Return how much of a text is settled: the rest may be the beginning of a secret."""
        end = self._beginning(text)
        for form in self.everywhere if end < len(text) else ():
            found = text.find(form, max(0, end - len(form) + 1), end + len(form) - 1)
            end = found if 0 <= found < end else end
        return end

    def _beginning(self, text: str) -> int:
        longest = len(self.everywhere[0]) if self.everywhere else 1
        first = max(text.rfind("\n") + 1, len(text) - longest + 1)  # no form has a line end
        for start in range(first, len(text)):
            if text[start] in self.starts and self._may_go_on(text[start:]):
                return start
        return len(text)

    def _may_go_on(self, tail: str) -> bool:
        return any(len(tail) < len(form) and form.startswith(tail) for form in self.everywhere)


def _masked_behind_a_sign(found: re.Match[str]) -> str:
    start = found.start()
    before = found.string[max(0, start - _SIGN_LENGTH) : start]
    return MASK if re.search(_SIGN, before) else found[0]


_secrets: set[str] = set()
_names: set[str] = set()
_forms: dict[str, _Forms] = {}


def register(value: str) -> str:
    """Remember a secret from now on, and return it; of several lines, each is one."""
    lines = {line for line in value.splitlines() if line.strip()}
    if not lines <= _secrets:
        _secrets.update(lines)
        _forms.clear()
    return value


def register_environment(environ: Iterable[tuple[str, str]]) -> None:
    """Remember what environment variables hold that are secret by dbt's or libpq's own rules."""
    for name, value in environ:
        if name.startswith("DBT_ENV_SECRET") or name in {"PGPASSWORD", "PGSSLPASSWORD"}:
            register(value)


def name_publicly(*names: str) -> None:
    """Remember names that are shown everywhere: a secret of the same text hides none of them."""
    if not _names.issuperset(names):
        _names.update(names)
        _forms.clear()


def forget() -> None:
    """Forget everything: a new run begins."""
    _secrets.clear()
    _names.clear()
    _forms.clear()


def redact(text: str) -> str:
    """Return the text with every secret shown as ``***``."""
    return _known("", str).masked(text) if _secrets else text


class Outflow:
    """Bytes on their way out, of which none leaves while it may be the beginning of a secret."""

    def __init__(self, encoding: str, errors: str) -> None:
        """Take the encoding of the bytes, and how it writes what it does not have."""
        self.encoding = encoding
        self.errors = errors
        self._waiting = ""

    def passed(self, data: bytes) -> bytes:
        """Return what can go now of the bytes so far, redacted."""
        if not _secrets and not self._waiting:
            return data
        forms = _known(self.encoding, self._as_bytes)
        text = self._waiting + data.decode("latin-1")
        end = forms.settled(text)
        self._waiting = text[end:]
        return forms.masked(text[:end]).encode("latin-1")

    def rest(self) -> bytes:
        """Return what is left, redacted: nothing comes after it."""
        text, self._waiting = self._waiting, ""
        if not text:
            return b""
        return _known(self.encoding, self._as_bytes).masked(text).encode("latin-1")

    def _as_bytes(self, form: str) -> str:
        return form.encode(self.encoding, self.errors).decode("latin-1")


def _known(encoding: str, written: Callable[[str], str]) -> _Forms:
    """Return all forms of all secrets, as they are written in an encoding."""
    if encoding not in _forms:
        weak = {value for value in _secrets if _is_public(value)}
        everywhere = {form for value in _secrets - weak for form in _texts(value)}
        everywhere |= {form for value in _secrets for form in _encoded(value)}
        found = {form for form in everywhere if len(form) >= SHORTEST}
        plain = {form for value in weak for form in _texts(value)}
        _forms[encoding] = _Forms(_both(found, written), _both(plain, written))
    return _forms[encoding]


def _both(forms: set[str], written: Callable[[str], str]) -> set[str]:
    """Return forms as an encoding writes them and in UTF-8, in which Click writes ASCII streams."""
    if written is str:
        return forms
    utf_8 = {form.encode("utf-8", "backslashreplace").decode("latin-1") for form in forms}
    return utf_8 | {written(form) for form in forms}


def _is_public(value: str) -> bool:
    return len(value.strip()) < SHORTEST or value in _names or value.lower() in _OWN_WORDS


def _texts(value: str) -> set[str]:
    """Return how a value is written in messages, URLs, documents and statements."""
    forms = {value, value.strip(), " ".join(value.split()), value.replace("'", "''")}
    forms |= {repr(value)[1:-1], ascii(value)[1:-1], repr(value.encode(*_ANY))[2:-1]}
    forms |= {*_percent(value), *_in_the_wrong_encoding(value)}
    forms |= {quoted(form) for form in forms for quoted in (_json, _ascii_json, _go_json)}
    written = {form for html in (str, _html, _named_html) for form in map(html, forms)}
    return written | {page for form in written for page in _on_a_page(form)} - {""}


_ANY = ("utf-8", "surrogatepass")


def _percent(value: str) -> Iterator[str]:
    content = value.encode(*_ANY)
    for kept, space in ((b"", "%20"), (b"/", "%20"), (b"", "+"), (b"!$&'()*+,;=:@/", "%20")):
        allowed = _UNRESERVED | set(kept)
        parts = [chr(byte) if byte in allowed else f"%{byte:02X}" for byte in content]
        quoted = "".join(space if part == "%20" else part for part in parts)
        yield from (quoted, re.sub("%..", lambda found: found[0].lower(), quoted))


def _in_the_wrong_encoding(value: str) -> Iterator[str]:
    """Yield what a header becomes that is sent and read in different encodings."""
    if not value.isascii():
        yield value.encode(*_ANY).decode("latin-1")
        yield value.encode("latin-1", "replace").decode("utf-8", "replace")


def _json(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")


def _ascii_json(text: str) -> str:
    return escaped(_json(text))


def _go_json(text: str) -> str:
    """Return what Go makes of it, which Prometheus, its gateway and Grafana are written in."""
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return _json(text).replace("\\\\u00", "\\u00")


def escaped(text: str) -> str:
    r"""Return the text in ASCII, with everything else as JSON escapes it: ``\u00e9``."""
    if text.isascii():
        return text
    units = text.encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 0x80 else f"\\u{code:04x}" for code in codes)  # noqa: PLR2004


def _html(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;").replace("'", "&#x27;")


def _named_html(text: str) -> str:
    return _html(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


def _on_a_page(form: str) -> Iterator[str]:
    """Yield a form as the report's page has it: in ASCII, and as a name that may be broken."""
    referred = form.encode("ascii", "xmlcharrefreplace").decode("ascii")
    yield from (referred, re.sub(r"([._])", r"\1<wbr>", referred))


def _encoded(value: str) -> Iterator[str]:
    """Yield the value in base64, alone and as a part of anything longer."""
    content = value.encode(*_ANY)
    yield from _alphabets(binascii.b2a_base64(content, newline=False).decode())
    for before in range(3):
        # A character stands for six bits: those at both ends belong to what is around the value.
        encoded = binascii.b2a_base64(bytes(before) + content, newline=False).decode()
        first, end = -(-before * 8 // 6), (before + len(content)) * 8 // 6
        if end - first >= _SHORTEST_IN_BASE64:
            yield from _alphabets(encoded[first:end])


def _alphabets(encoded: str) -> Iterator[str]:
    safe = encoded.replace("+", "-").replace("/", "_")
    yield from (encoded, encoded.rstrip("="), safe, safe.rstrip("="))
    quoted = encoded.replace("+", "%2B").replace("=", "%3D")
    for slash in ("/", "%2F"):
        found = quoted.replace("/", slash)
        yield from (found, found.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"))
