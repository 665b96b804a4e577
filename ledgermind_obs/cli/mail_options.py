"""The options of a mail: to whom, by which server, and as whom."""

from __future__ import annotations

import functools
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.help import DESTINATION, Command, in_group
from ledgermind_obs.cli.options import Duration, option

if TYPE_CHECKING:  # a report that is not sent needs no mail
    from ledgermind_obs.sinks.mail_server import MailServer

_FILE = click.Path(path_type=Path, dir_okay=False)


class Mailing(msgspec.Struct, frozen=True):
    """To whom mail goes, by which server, and as whom."""

    server: MailServer
    sender: str
    recipients: tuple[str, ...]


_OPTIONS = in_group(
    DESTINATION,
    option(
        "--mail",
        multiple=True,
        metavar="TO",
        help="Send the report to this address, also if all is well; repeat it for more.",
    ),
    option("--mail-from", metavar="ADDRESS", help="The sender.  [default: the user, or obs@host]"),
    option(
        "--smtp",
        env="SMTP_URL",
        default="smtp://localhost:25",
        metavar="URL",
        help="The mail server: smtps://HOST, or HOST:PORT, which must offer STARTTLS; "
        "smtp://HOST without a password may be unencrypted.",
    ),
    option("--smtp-username", help="User name at the mail server."),
    option(
        "--smtp-password-file",
        type=_FILE,
        help="File that holds the password; or set OBS_SMTP_PASSWORD.",
    ),
    option("--smtp-ca-file", type=_FILE, help="A private CA, in PEM format."),
    option("--mail-timeout", type=Duration(), default="1m", help="Time limit for the mail server."),
)


def mail_options(command: Command) -> Command:
    """Give a command the options of a mail, made into ``mailing``; None if there is no ``TO``."""

    @functools.wraps(command)
    def wrapper(
        mail: tuple[str, ...],
        mail_from: str | None,
        smtp: str,
        smtp_username: str | None,
        smtp_password_file: Path | None,
        smtp_ca_file: Path | None,
        mail_timeout: float,
        **others: Any,
    ) -> Any:
        recipients = tuple(_addresses(mail))
        if not recipients:
            return command(mailing=None, **others)
        from ledgermind_obs.sinks.letter import checked_address
        from ledgermind_obs.sinks.mail_server import mail_server

        _check_place(smtp)
        password = secret("OBS_SMTP_PASSWORD", smtp_password_file, encoded=True)
        server = mail_server(smtp, smtp_username or "", password, smtp_ca_file, mail_timeout)
        sender = checked_address(mail_from) if mail_from else _sender(server)
        return command(mailing=Mailing(server, sender, recipients), **others)

    return _OPTIONS(wrapper)


def _addresses(given: Iterable[str]) -> Iterable[str]:
    """Yield each address once: they may be repeated options, or a list with commas."""
    from ledgermind_obs.sinks.letter import checked_address

    parts = (part.strip() for text in given for part in text.split(","))
    yield from dict.fromkeys(checked_address(part) for part in parts if part)


def _check_place(smtp: str) -> None:
    """Raise UsageError for a password that everybody can read in the list of processes."""
    from ledgermind_obs.http.endpoint import register_credentials
    from ledgermind_obs.sinks.mail_server import has_password

    register_credentials(smtp)
    source = click.get_current_context().get_parameter_source("smtp")
    if source is ParameterSource.COMMANDLINE and has_password(smtp):
        raise click.UsageError(
            "every user of this machine can read the password in --smtp: put the URL into "
            "SMTP_URL, or the password into --smtp-password-file"
        )


def _sender(server: MailServer) -> str:
    """Return the user at the mail server if that is an address, else ``obs`` at this host."""
    if "@" in server.username:
        return server.username
    host = socket.gethostname()
    return f"obs@{host if host.isascii() else 'localhost'}"
