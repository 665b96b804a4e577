"""``obs doctor``: where the chain is broken, and what to do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.help import (
    DESTINATION,
    OUTPUT,
    Command,
    HelpfulCommand,
    in_group,
    options_of,
)
from ledgermind_obs.cli.manifest_options import manifest_options
from ledgermind_obs.cli.options import FORMATS, Duration, dbt_options, option, sink_options
from ledgermind_obs.cli.prometheus_options import (
    prometheus_access,
    prometheus_endpoint,
    prometheus_label,
    prometheus_token,
    push_max_age,
)
from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.doctor import canary
from ledgermind_obs.doctor.check import Area, Check, Result, State
from ledgermind_obs.doctor.checks import CHECKS, named
from ledgermind_obs.doctor.examine import examine
from ledgermind_obs.doctor.patient import Given, Patient
from ledgermind_obs.engines.settings import Engine
from ledgermind_obs.errors import ObsError
from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth
from ledgermind_obs.monitoring.files import DASHBOARDS, RULES
from ledgermind_obs.render import doctor as render
from ledgermind_obs.sinks.deliver import Sink

if TYPE_CHECKING:
    from ledgermind_obs.monitoring.grafana import Grafana

T = TypeVar("T")

_FILE = click.Path(path_type=Path, dir_okay=False)
_PATH = click.Path(path_type=Path)
# What is left of --deadline for the start and the end of the process.
_SPARE_SECONDS = 1.5
_LEAST_SECONDS = 1.0

EXAMPLES = """
# at 3 a.m.
obs doctor --prometheus http://prometheus:9090
# one part of the chain, or one check, with what it needs
obs doctor gateway
obs doctor rules-loaded
# a canary from the gateway to Alertmanager
obs doctor --end-to-end
"""

# The same code that makes what `obs freshness push` works with.
_made_dbt: Command = dbt_options(lambda dbt, engine, **_: (dbt, engine))
_made_sink: Command = sink_options(lambda sink, **_: sink)
_made_choice: Command = manifest_options(lambda choice, **_: choice)

_server_options = in_group(
    DESTINATION,
    option("--prometheus", env="PROMETHEUS_URL", metavar="URL", help="Address of Prometheus."),
    prometheus_label,
    prometheus_access,
    push_max_age,
    option("--rules", type=_PATH, default=RULES, help="The rule files that Prometheus should run."),
    option(
        "--alertmanager", env="ALERTMANAGER_URL", metavar="URL", help="Address of Alertmanager."
    ),
    option(
        "--alertmanager-token-file",
        type=_FILE,
        help="File that holds a bearer token; or set OBS_ALERTMANAGER_TOKEN.",
    ),
    option("--grafana", env="GRAFANA_URL", metavar="URL", help="Address of Grafana."),
    option("--grafana-key-file", type=_FILE, help="File with the API key, or set GRAFANA_API_KEY."),
    option(
        "--grafana-ca-file",
        env="GRAFANA_CA_FILE",
        type=_FILE,
        help="A private CA, in PEM format.",
    ),
    option(
        "--datasource",
        metavar="NAME|UID",
        help="The Prometheus data source in Grafana.  [default: the only one]",
    ),
    option(
        "--dashboards",
        type=_PATH,
        default=DASHBOARDS,
        help="The dashboards that Grafana should have.",
    ),
)


@click.command(cls=HelpfulCommand, examples=EXAMPLES)
@click.argument("names", nargs=-1, metavar="[CHECK|AREA]...")
@option(
    "--exposure",
    "exposures",
    env="OBS_DOCTOR_EXPOSURE",
    multiple=True,
    metavar="NAME",
    help="Check only what is upstream of this exposure.",
)
@option("--deadline", type=Duration(), default="20s", help="Time limit for all checks together.")
@option(
    "--end-to-end",
    is_flag=True,
    help="Also send a canary through the chain, and take it away again.",
)
@option(
    "--hop-timeout",
    type=Duration(),
    default="3m",
    help="Time limit for each hop of the canary.",
)
@in_group(
    OUTPUT,
    option("--list", "listing", is_flag=True, help="List the checks, and check nothing."),
    option(
        "--format",
        "output",
        env="OBS_DOCTOR_FORMAT",
        type=FORMATS,
        default="table",
        help="Output format.",
    ),
)
@_server_options
@options_of(_made_dbt, _made_choice, _made_sink, without={"select", "exclude"})
def doctor(
    names: tuple[str, ...],
    exposures: tuple[str, ...],
    deadline: float,
    end_to_end: bool,
    hop_timeout: float,
    listing: bool,
    output: str,
    **given: Any,
) -> None:
    """Check the whole chain, and say where it is broken and what to do.

    From dbt to whoever is notified, each check says what it saw. Without names all of them are
    made; a name is a check's or an area's. What is not configured is skipped. Exit code 1 means
    that a check failed; a warning does not change the exit code. Nothing is changed anywhere but
    in a directory below dbt's target directory, except by --end-to-end. docs/doctor.md explains
    each check.
    """
    checks = named(names)
    if listing:
        _list(checks, output)
        return
    patient = _patient(given, exposures, max(_LEAST_SECONDS, deadline - _SPARE_SECONDS))
    began = time.monotonic()
    results = list(_shown(_results(checks, patient, hop_timeout if end_to_end else None), output))
    _conclude(results, time.monotonic() - began, output)


def _list(checks: list[Check], output: str) -> None:
    claims = [*checks, *(canary.CLAIMS if len(checks) == len(CHECKS) else ())]
    if output == "json":
        from ledgermind_obs.render.documents import to_json

        click.echo(to_json({"checks": render.catalogue(claims)}))
        return
    for line in render.listed(claims):
        click.echo(line)


def _results(checks: list[Check], patient: Patient, hop_seconds: float | None) -> Generator[Result]:
    yield from examine(checks, patient, patient.seconds)
    if hop_seconds is not None:
        with closing(canary.fly(patient, hop_seconds)) as hops:
            yield from hops


def _shown(results: Generator[Result], output: str) -> Iterator[Result]:
    """Yield each result; a table grows with each of them."""
    area: Area | None = None
    with closing(results):
        for result in results:
            if output == "table":
                if result.area is not area:
                    click.echo(("" if area is None else "\n") + result.area.value)
                area = result.area
                _show(result)
            yield result


def _show(result: Result) -> None:
    is_hop = result.area is Area.END_TO_END
    line = render.hop(result) if is_hop else render.first_line(result)
    click.secho(line, fg=render.COLOURS[result.state])
    for further in render.further_lines(result):
        click.echo(further)


def _conclude(results: list[Result], seconds: float, output: str) -> None:
    if output == "json":
        from ledgermind_obs.render.documents import to_json

        click.echo(to_json(render.document(results, seconds)))
    else:
        click.echo(f"\n{render.summary(results, seconds)}")
    sys.exit(1 if any(result.state is State.FAILED for result in results) else 0)


def _patient(given: Mapping[str, Any], exposures: tuple[str, ...], seconds: float) -> Patient:
    """Return what there is to look at; a wrong option is reported by the check it belongs to."""
    made = _kept(lambda: _dbt_and_engine(given))
    return Patient(
        dbt=lambda: made()[0],
        engine=lambda: made()[1],
        choice=ManifestChoice(given["manifest"], given["no_parse"]),
        sink=_kept(lambda: _sink(made()[0], given)),
        prometheus=_kept(lambda: _prometheus(given)),
        prometheus_labels=dict(given["prometheus_label"]),
        push_max_age=given["push_max_age"],
        alertmanager=_kept(lambda: _alertmanager(given)),
        grafana=_kept(lambda: _grafana(given)),
        data_source=given["datasource"] or "",
        rules=given["rules"],
        dashboards=given["dashboards"],
        exposures=exposures,
        seconds=seconds,
    )


def _kept(make: Callable[[], T]) -> Given[T]:
    """Return what gives, each time, what was made now, or raises what was raised now.

    It is made before any check begins: what it reads of secrets is known from then on.
    """
    try:
        made = make()
    except ObsError as error:
        raised = error

        def fail() -> T:
            raise raised

        return fail
    return lambda: made


def _dbt_and_engine(given: Mapping[str, Any]) -> tuple[Dbt, Engine]:
    made: tuple[Dbt, Engine] = _made_dbt(**given, select=(), exclude=())
    return made


def _sink(dbt: Dbt, given: Mapping[str, Any]) -> Sink:
    made: Sink = _made_sink(dbt=dbt, **given)
    return made


def _prometheus(given: Mapping[str, Any]) -> Endpoint | None:
    token = prometheus_token(given["prometheus_token_file"])
    url = given["prometheus"]
    return prometheus_endpoint(url, token, given["prometheus_tenant"]) if url else None


def _alertmanager(given: Mapping[str, Any]) -> Endpoint | None:
    token = secret("OBS_ALERTMANAGER_TOKEN", given["alertmanager_token_file"])
    authorization = bearer_auth(token) if token else ""
    url = given["alertmanager"]
    if not url:
        return None
    return Endpoint.parse(url, authorization=authorization, tls=Tls(), timeout=30.0)


def _grafana(given: Mapping[str, Any]) -> Grafana | None:
    from ledgermind_obs.monitoring.grafana import Grafana

    key = secret("GRAFANA_API_KEY", given["grafana_key_file"])
    if not given["grafana"]:
        return None
    return Grafana(
        Endpoint.parse(
            given["grafana"],
            authorization=bearer_auth(key) if key else "",
            tls=Tls(given["grafana_ca_file"]),
            timeout=30.0,
        )
    )
