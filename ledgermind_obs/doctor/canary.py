"""A canary through the chain: pushed, scraped, alerted on, and taken away again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

from ledgermind_obs import metrics
from ledgermind_obs.doctor.answers import groups, query, received
from ledgermind_obs.doctor.check import Area, Claim, Result, Seen, SkippedError, State, failed
from ledgermind_obs.doctor.examine import result_of
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import DestinationError, ObsError
from ledgermind_obs.metrics import Series
from ledgermind_obs.monitoring.promql import parse
from ledgermind_obs.sinks.pushgateway import Pushgateway

JOB = "obs-doctor"
# A canary that is older was left behind by a run that was killed.
LEFT_BEHIND_SECONDS = 600.0
POLL_SECONDS = 0.2
# So long a push that nobody waited for can still be on its way.
SETTLED_SECONDS = 1.0
REMOVAL_SECONDS = 10.0


def fly(patient: Patient, seconds: float) -> Generator[Result]:
    """Yield how the canary got from one end of the chain to the other, with each hop's seconds.

    Each hop has so many ``seconds``. Whoever stops in between closes the generator: the canary is
    taken away in any case.
    """
    canary, went_well = _Canary(patient, seconds), True
    try:
        for claim, hop in canary.hops():
            result = _timed(claim, hop) if went_well else _unreached(claim)
            went_well = result.state is not State.FAILED and went_well
            yield result
        yield _timed(REMOVED, canary.removed)
    finally:
        canary.take_away()


def _timed(claim: Claim, hop: Callable[[], Seen]) -> Result:
    began = time.monotonic()
    try:
        seen = hop()
    except SkippedError as reason:
        seen = Seen(str(reason), State.SKIPPED)
    except ObsError as error:
        seen = failed(str(error), error.next_step)
    return result_of(claim, seen, time.monotonic() - began)


def _unreached(claim: Claim) -> Result:
    return result_of(claim, Seen("the canary did not get that far", State.SKIPPED), 0.0)


class _Canary:
    """One series in a group of its own, found again by its nonce."""

    def __init__(self, patient: Patient, seconds: float) -> None:
        self._patient, self._seconds = patient, seconds
        self._nonce = secrets.token_hex(8)
        self._sent = self._confirmed = self._settled = False
        self._was_scraped = self._alerted = False

    def hops(self) -> Iterator[tuple[Claim, Callable[[], Seen]]]:
        """Yield what proves each hop, in their order."""
        yield PUSHED, self._push
        yield SCRAPED, self._scraped
        yield ALERTED, self._arrived

    def _gateway(self) -> Pushgateway:
        project, gateway = self._patient.dbt().project, self._patient.gateway
        labels = {"job": JOB, "project": project.name, "target": project.target}
        return Pushgateway(gateway.endpoint, {**labels, "nonce": self._nonce})

    def _push(self) -> Seen:
        gateway = self._gateway()
        swept = self._sweep()
        self._sent = True
        gateway.put([Series(metrics.CANARY, (), time.time())])
        self._confirmed = True
        left = f"; {swept} that earlier runs left behind were taken away" if swept else ""
        return Seen(f"the gateway took the canary {self._nonce}{left}")

    def _sweep(self) -> int:
        """Take away what earlier runs left behind, and return how many groups that were."""
        endpoint, now = self._patient.gateway.endpoint, time.time()
        old = [
            group.labels
            for group in groups(endpoint)
            if group.labels.get("job") == JOB and now - group.pushed_at > LEFT_BEHIND_SECONDS
        ]
        for labels in old:
            Pushgateway(endpoint, {"job": JOB, **labels}).delete()
        return len(old)

    def _scraped(self) -> Seen:
        endpoint = self._patient.prometheus_api
        self._wait(
            self._is_scraped,
            f"Prometheus did not have the canary within {format_age(self._seconds)}",
            "see prometheus-scrapes, and the scrape_interval of the job",
        )
        self._was_scraped = True
        return Seen(f"{endpoint.url} has the canary")

    def _is_scraped(self) -> bool:
        wanted = f'{metrics.CANARY.name}{{nonce="{self._nonce}"}}'
        return bool(query(self._patient.prometheus_api, wanted))

    def _arrived(self) -> Seen:
        endpoint = self._patient.alertmanager_api
        rule = self._rule()
        self._wait(
            self._is_alerted,
            f"{rule} did not reach Alertmanager within {format_age(self._seconds)}",
            "see alertmanager-known and rules-healthy, and the for of the rule",
        )
        self._alerted = True
        return Seen(f"{endpoint.url} has the alert {rule}")

    def _rule(self) -> str:
        """Return the alert on the canary that Prometheus runs; raises SkippedError without one."""
        for group in self._patient.rule_groups:
            for rule in group.rules:
                if rule.type == "alerting" and metrics.CANARY.name in rule.query:
                    with suppress(ValueError):
                        names = {selector.name for selector in parse(rule.query).selectors}
                        if metrics.CANARY.name in names:
                            return rule.name
        raise SkippedError(
            f"no loaded alert looks at {metrics.CANARY.name}: the way to Alertmanager is not tried"
        )

    def _is_alerted(self) -> bool:
        return bool(received(self._patient.alertmanager_api, f'nonce="{self._nonce}"'))

    def removed(self) -> Seen:
        """Take the canary away, and see that it is gone everywhere."""
        if not self._sent:
            raise SkippedError("there is nothing to take away")
        if not self.take_away():
            return failed(
                f"the gateway still has the canary {self._nonce}",
                f"take away the group of job {JOB}; a later run does it after ten minutes",
            )
        if self._was_scraped:
            self._wait(lambda: not self._is_scraped(), "Prometheus still has the canary", _ITSELF)
        if self._alerted:
            words = "Alertmanager still has the alert"
            self._wait(lambda: not self._is_alerted(), words, _ITSELF)
        return Seen("the canary is gone from every part that had it")

    def take_away(self) -> bool:
        """Delete the group, once, and return whether the gateway has it no more.

        A push that nobody waited for may come after it was deleted: then it is looked for again.
        """
        if self._settled or not self._sent:
            return True
        until = time.monotonic() + REMOVAL_SECONDS
        settled = time.monotonic() + (0.0 if self._confirmed else SETTLED_SECONDS)
        while time.monotonic() < until:
            with suppress(ObsError):
                self._gateway().delete()
                if not self._is_held() and time.monotonic() >= settled:
                    self._settled = True
                    return True
            time.sleep(POLL_SECONDS)
        self._settled = True
        return False

    def _is_held(self) -> bool:
        found = groups(self._patient.gateway.endpoint)
        return any(group.labels.get("nonce") == self._nonce for group in found)

    def _wait(self, condition: Callable[[], bool], words: str, next_step: str) -> None:
        until = time.monotonic() + self._seconds
        while not condition():
            if time.monotonic() >= until:
                raise DestinationError(words, next_step)
            time.sleep(POLL_SECONDS)


_ITSELF = "it goes by itself, with the next scrape and the next evaluation"

PUSHED = Claim(
    name="canary-pushed",
    area=Area.END_TO_END,
    sentence="the gateway takes a push",
    hint="see gateway-answers",
)
SCRAPED = Claim(
    name="canary-scraped",
    area=Area.END_TO_END,
    sentence="what was pushed reaches Prometheus",
    hint="see prometheus-scrapes",
)
ALERTED = Claim(
    name="canary-alerted",
    area=Area.END_TO_END,
    sentence="an alert on it reaches Alertmanager",
    hint="see alertmanager-known",
)
REMOVED = Claim(
    name="canary-removed",
    area=Area.END_TO_END,
    sentence="nothing of it is left",
    hint="take away the group of job obs-doctor",
)
CLAIMS = (PUSHED, SCRAPED, ALERTED, REMOVED)
