"""A letter, and the mail it becomes: plain text and HTML, with no secret in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

import msgspec

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.secrets import redact

_ADDRESS = r"[^\s<>,;:\"()\\@]+@[^\s<>,;:\"()\\@]+"


class Letter(msgspec.Struct, frozen=True):
    """A mail: one content, as plain text and as HTML."""

    sender: str
    recipients: tuple[str, ...]
    subject: str
    text: str
    html: str


def checked_address(text: str) -> str:
    """Return a mail address as SMTP takes it; raises ConfigurationError."""
    address = text.strip()
    if not (address.isascii() and address.isprintable() and re.fullmatch(_ADDRESS, address)):
        raise ConfigurationError(
            f"{text!r} is not a mail address", "write it as name@host, in ASCII"
        )
    return address


def content_of(letter: Letter) -> bytes:
    """Return the letter as it is sent; no secret is in it.

    Raises ConfigurationError for an address or a subject that no header can carry.
    """
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address("obs", addr_spec=letter.sender)
        message["To"] = [Address(addr_spec=each) for each in letter.recipients]
        message["Subject"] = redact(" ".join(letter.subject.split()))
    except (ValueError, MessageError):
        raise ConfigurationError(
            "a mail address cannot be written into a header", "write it as name@host"
        ) from None
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=letter.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # no holiday notice comes back
    message.set_content(redact(letter.text), cte="quoted-printable")
    message.add_alternative(redact(letter.html), subtype="html", cte="quoted-printable")
    return message.as_bytes()
