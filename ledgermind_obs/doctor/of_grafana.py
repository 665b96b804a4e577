"""Grafana: takes the key, reaches its data source, and shows the dashboard of the file."""

from __future__ import annotations

from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.monitoring import dashboard as dashboards

_ANY = "obs-doctor"


def _answers(patient: Patient) -> Seen:
    grafana = patient.grafana_api
    if grafana.endpoint.exposes_credentials:
        return warning(f"the key goes to {grafana.endpoint.url} unencrypted", "use https://")
    grafana.find(_ANY)
    return Seen(f"{grafana.endpoint.url} takes the key")


def _source(patient: Patient) -> Seen:
    uid = patient.grafana_api.data_source(patient.data_source)
    if patient.grafana_api.data_source_answers(uid):
        return Seen(f"Grafana reaches the data source {uid}")
    raise SkippedError(f"the data source is {uid}; this Grafana does not say whether it reaches it")


def _dashboard(patient: Patient) -> Seen:
    grafana, boards = patient.grafana_api, patient.boards
    needs_one = patient.data_source or any(board.inputs for board in boards)
    uid = grafana.data_source(patient.data_source) if needs_one else ""
    for board in boards:
        stored = grafana.find(board.uid)
        if stored is None:
            step = f"import it: obs dashboard import {board.name}"
            return failed(f"the dashboard {board.uid} is not in Grafana", step)
        lines = grafana.differences(stored, dashboards.resolved(board, uid))
        if lines:
            return failed(
                f"{board.uid} differs from {board.name}: {lines[0]}",
                f"see all of it: obs dashboard diff {board.name}",
            )
    return Seen(f"{', '.join(board.uid for board in boards)} as in {patient.dashboards}")


def _role(patient: Patient) -> Seen:
    found = [
        grafana for board in patient.boards if (grafana := patient.grafana_api.find(board.uid))
    ]
    if not found:
        raise SkippedError("no dashboard is there by which the key's role could be seen")
    if not all(stored.may_be_saved for stored in found):
        return warning(
            "the key may look and not import",
            "import with a key of a service account that has the role Editor",
        )
    return Seen("the key may import dashboards")


CHECKS = (
    Check(
        name="grafana-answers",
        area=Area.GRAFANA,
        sentence="Grafana answers, and takes the key",
        look=_answers,
        hint="give a key that is valid there: GRAFANA_API_KEY, or --grafana-key-file",
    ),
    Check(
        name="grafana-source",
        area=Area.GRAFANA,
        sentence="Grafana reaches its Prometheus",
        look=_source,
        needs=("grafana-answers",),
        hint="see the data source in Grafana",
    ),
    Check(
        name="grafana-dashboard",
        area=Area.GRAFANA,
        sentence="the dashboard is there, and is that of the file",
        look=_dashboard,
        needs=("grafana-answers",),
        hint="import it: obs dashboard import",
    ),
    Check(
        name="grafana-role",
        area=Area.GRAFANA,
        sentence="the key may import dashboards",
        look=_role,
        needs=("grafana-answers",),
        hint="give a key of a service account with the role Editor",
    ),
)
