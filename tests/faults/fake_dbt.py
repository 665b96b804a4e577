"""A dbt that starts in a few milliseconds, answers for the scene's tables and misbehaves as told.

``$FAULTS_SCENE`` is a directory: ``world.json`` says what the tables hold, ``manifest.json`` is one
that a real dbt wrote, and ``misdeed.json`` says what goes wrong and at which moment. It is run by
the interpreter without site-packages, so it imports the standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

Document = dict[str, Any]

FOREVER_SECONDS = 120.0
MEGABYTE = 1 << 20
_PERIODS = {"minute": 60, "hour": 3600, "day": 86400}
_SELECTED = ("--select", "-s")


class Run:
    """One invocation: what it was asked, what it is to do wrong, and what it says."""

    def __init__(self, argv: list[str]) -> None:
        self.argv = argv
        self.scene = os.environ["FAULTS_SCENE"]
        self.world: Document = self.load("world.json")
        self.misdeed: Document = self.load("misdeed.json")
        self.target = self.option("--target-path") or "target"
        self.invocation = f"{os.urandom(4).hex()}-0000-4000-8000-{os.urandom(6).hex()}"

    def load(self, name: str) -> Document:
        with open(os.path.join(self.scene, name), encoding="utf-8") as file:
            found: Document = json.load(file)
            return found

    def option(self, name: str) -> str:
        return self.argv[self.argv.index(name) + 1] if name in self.argv else ""

    def selection(self) -> list[str]:
        """Return the tables that ``--select`` names, all of them without it."""
        start = next((i for i, arg in enumerate(self.argv) if arg in _SELECTED), None)
        if start is None:
            return list(self.world["tables"])
        named = []
        for arg in self.argv[start + 1 :]:
            if arg.startswith("--"):
                break
            named.append(arg.split(".")[-1])
        return [table for table in self.world["tables"] if table in named]

    def reach(self, moment: str) -> None:
        """Misbehave, if this is the moment."""
        if self.misdeed.get("at") == moment:
            self.note(moment)
            _DEEDS[self.misdeed["do"]](self, self.misdeed.get("how"))

    def note(self, moment: str) -> None:
        """Leave word that the fault took place."""
        with open(os.path.join(self.scene, "happened"), "a", encoding="utf-8") as file:
            file.write(moment + "\n")

    def say(self, event: str, data: Document, *, level: str = "info", msg: str = "") -> None:
        info = {"name": event, "msg": msg or event, "level": level, "ts": now().isoformat()}
        told = {"data": data, "info": {**info, "invocation_id": self.invocation}}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    def metadata(self, kind: str) -> Document:
        return {
            "dbt_schema_version": f"https://schemas.getdbt.com/dbt/{kind}.json",
            "dbt_version": "1.11.16",
            "generated_at": now().isoformat().replace("+00:00", "Z"),
            "invocation_id": self.invocation,
        }

    def write(self, name: str, document: Document) -> None:
        """Write an artifact in two halves, altered as told."""
        content = self.altered(name, document)
        path = os.path.join(self.target, name)
        os.makedirs(self.target, exist_ok=True)
        kind = name.removesuffix(".json")
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
            file.flush()
            self.reach(f"{kind}-half")
            file.write(content[len(content) // 2 :])
        self.reach(kind)

    def altered(self, name: str, document: Document) -> bytes:
        how = self.misdeed.get("alter", {}).get(name, "")
        if how:
            self.note(f"{name} {how}")
        if how in _EDITS:
            document = _EDITS[how](self, document)
        content = json.dumps(document).encode()
        return _BYTES[how](content) if how in _BYTES else content

    def where(self, name: str) -> str:
        return os.path.join(self.target, name)


def now() -> datetime:
    return datetime.now(UTC)


def main(argv: list[str]) -> int:
    run = Run(argv)
    if "--version" in argv:
        sys.stdout.write("Core:\n  - installed: 1.11.16\n")
        return 0
    with open(os.path.join(run.scene, "argv"), "a", encoding="utf-8") as file:
        file.write("\0".join(argv) + "\n")
    if "freshness" in argv:
        return freshness(run)
    return parse(run) if "parse" in argv else 2


def parse(run: Run) -> int:
    run.reach("begin")
    begin(run)
    run.reach("end")
    return 0


def begin(run: Run) -> Document:
    """Say hello and write the manifest, as every invocation does."""
    run.say("MainReportVersion", {"version": "=1.11.16"})
    run.reach("spoken")
    manifest = run.load("manifest.json")
    manifest["metadata"].update(run.metadata("manifest/v12"))
    run.write("manifest.json", manifest)
    return manifest


def freshness(run: Run) -> int:
    run.reach("begin")
    manifest = begin(run)
    if fatal := run.world["fatal"]:
        run.say("MainEncounteredError", {"exc": fatal}, level="error", msg=fatal)
        return 2
    run.say("ConcurrencyLine", {"target_name": run.option("--target") or "prod"})
    results, failed = measured(run, manifest)
    run.reach("measured")
    artifact = {"metadata": run.metadata("sources/v3"), "results": results, "elapsed_time": 0.5}
    run.write("sources.json", artifact)
    for uid, words in failed.items():
        data = {"node_info": {"unique_id": uid}, "msg": words}
        run.say("RunResultError", data, level="error", msg=words)
    run.reach("end")
    return int(bool(failed) or any(result["status"] == "error" for result in results))


def measured(run: Run, manifest: Document) -> tuple[list[Document], dict[str, str]]:
    """Return the results of the tables that answer, and the words of those that do not."""
    results, failed = [], {}
    chosen = run.selection()
    for table in chosen:
        uid = f"source.shop.app.{table}"
        data = {"node_info": {"unique_id": uid}, "total": len(chosen)}
        run.say("LogStartLine", data)
        if words := run.world["tables"][table]["error"]:
            failed[uid] = f"Database Error in source {table} (models/sources.yml)\n  {words}"
        else:
            results.append(result(run, uid, manifest["sources"][uid]["freshness"]))
        run.say("LogFreshnessResult", {**data, "status": "runtime error" if words else "pass"})
        if table == chosen[0]:
            run.reach("one-source")
    return results, failed


def result(run: Run, uid: str, limits: Document) -> Document:
    loaded_at = datetime.fromisoformat(
        run.world["tables"][uid.rsplit(".", maxsplit=1)[-1]]["loaded_at"]
    )
    return {
        "unique_id": uid,
        "max_loaded_at": loaded_at.isoformat(),
        "snapshotted_at": now().isoformat(),
        "status": status(limits, (now() - loaded_at).total_seconds()),
        "criteria": limits,
        "adapter_response": {},
        "timing": [],
        "thread_id": "Thread-1",
        "execution_time": 0.01,
    }


def status(limits: Document, age: float) -> str:
    for state in ("error", "warn"):
        limit = limits[f"{state}_after"]
        if age > limit["count"] * _PERIODS[limit["period"]]:
            return state
    return "pass"


# What goes wrong at a moment.


def signal_self(_: Run, number: int) -> None:
    os.kill(os.getpid(), number)


def signal_obs(run: Run, number: int) -> None:
    os.kill(os.getppid(), number)


def signal_obs_and_wait(run: Run, number: int) -> None:
    os.kill(os.getppid(), number)
    time.sleep(FOREVER_SECONDS)


def leave(_: Run, code: int) -> None:
    sys.stdout.flush()
    os._exit(code)


def hang(run: Run, _: object) -> None:
    """Hang, and note if it is asked to end as Ctrl-C would."""
    try:
        time.sleep(FOREVER_SECONDS)
    except KeyboardInterrupt:
        run.note("interrupted")
        leave(run, 2)


def await_release(run: Run, _: object) -> None:
    """Wait until the harness writes a file, then go on."""
    deadline = time.monotonic() + FOREVER_SECONDS
    while time.monotonic() < deadline:
        if os.path.exists(os.path.join(run.scene, "release")):
            return
        time.sleep(0.005)


def hang_deaf(_: Run, __: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(FOREVER_SECONDS)


def die_in_plain_text(_: Run, __: object) -> None:
    sys.stdout.write("Traceback (most recent call last):\n  ...\nMemoryError\n")
    leave(_, 1)


def endless_line(_: Run, megabytes: int) -> None:
    for _number in range(megabytes):
        os.write(1, b"x" * MEGABYTE)
    time.sleep(FOREVER_SECONDS)


def endless_lines(_: Run, megabytes: int) -> None:
    for _number in range(megabytes * 1024):
        os.write(1, b"y" * 1023 + b"\n")
    time.sleep(FOREVER_SECONDS)


def noise(_: Run, __: object) -> None:
    os.write(1, b'\xff\xfe\x00 not text \x1b[31m\n{"info": 1}\n[[[\n' + b"[" * 5000 + b"\n")


def remove_private(run: Run, _: object) -> None:
    import shutil

    shutil.rmtree(run.target)


def clean(run: Run, _: object) -> None:
    """Remove the project's whole target directory, as ``dbt clean`` does."""
    import shutil

    shutil.rmtree(os.path.join(run.option("--project-dir"), "target"))


def leave_straggler(run: Run, seconds: float) -> None:
    """Leave a process behind that has a session of its own and holds the pipe."""
    if os.fork() == 0:
        os.setsid()
        time.sleep(seconds)
        os._exit(0)


def leave_child(run: Run, seconds: float) -> None:
    """Leave a process of the same group behind that holds the pipe."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)


def close_stdout(_: Run, __: object) -> None:
    nowhere = os.open(os.path.join(_.scene, "nowhere"), os.O_WRONLY | os.O_CREAT)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def become_directory(run: Run, name: str) -> None:
    _away(run, name)
    os.mkdir(run.where(name))


def become_fifo(run: Run, name: str) -> None:
    _away(run, name)
    os.mkfifo(run.where(name))


def become_dangling(run: Run, name: str) -> None:
    _away(run, name)
    os.symlink(run.where("nowhere"), run.where(name))


def become_huge(run: Run, name: str) -> None:
    """Make it a file of 20 GB that takes no place on the disk."""
    os.truncate(run.where(name), 20_000 * MEGABYTE)


def vanish(run: Run, name: str) -> None:
    _away(run, name)


def bring_back(run: Run, _: object) -> None:
    """Put yesterday's file, in which all was well, in the place of this run's."""
    names = [f"source.shop.app.{table}" for table in run.world["tables"]]
    results = [{"unique_id": name, "status": "pass", **_moments()} for name in names]
    metadata = {**run.metadata("sources/v3"), "invocation_id": _OTHER_RUN}
    artifact = {"metadata": metadata, "results": results, "elapsed_time": 0.5}
    with open(run.where("sources.json"), "w", encoding="utf-8") as file:
        json.dump(artifact, file)


def _away(run: Run, name: str) -> None:
    if os.path.lexists(run.where(name)):
        os.remove(run.where(name))


def _moments() -> Document:
    moment = now()
    loaded_at = moment - timedelta(minutes=1)
    return {"max_loaded_at": loaded_at.isoformat(), "snapshotted_at": moment.isoformat()}


_DEEDS: dict[str, Callable[[Run, Any], None]] = {
    deed.__name__: deed
    for deed in (
        *(signal_self, signal_obs, signal_obs_and_wait, leave, hang, await_release, hang_deaf),
        *(die_in_plain_text, endless_line, endless_lines, noise, remove_private, clean),
        *(leave_straggler, leave_child, close_stdout, become_directory, become_fifo),
        *(become_dangling, become_huge, vanish, bring_back),
    )
}


# What an artifact may say that is not to be believed. Each comes with a lie: all is well.


def lied(entry: Document, **others: Any) -> Document:
    return {**entry, "status": "pass", **_moments(), **others}


def each(**others: Any) -> Callable[[Run, Document], Document]:
    """Return the edit that lies in every entry, with these fields beside."""
    return lambda _, document: {
        **document,
        "results": [lied(entry, **others) for entry in document["results"]],
    }


def shifted(**shift: float) -> Callable[[Run, Document], Document]:
    """Return the edit that says that every look took place at another time."""

    def edit(_: Run, document: Document) -> Document:
        moment = now() + timedelta(**shift)
        loaded_at = (moment - timedelta(minutes=1)).isoformat()
        moments = {"snapshotted_at": moment.isoformat(), "max_loaded_at": loaded_at}
        entries = [{**entry, "status": "pass", **moments} for entry in document["results"]]
        return {**document, "results": entries}

    return edit


def last(**others: Any) -> Callable[[Run, Document], Document]:
    """Return the edit of the last entry alone; it is not a lie."""

    def edit(_: Run, document: Document) -> Document:
        *entries, entry = document["results"]
        return {**document, "results": [*entries, {**entry, **others}]}

    return edit


def head(**others: Any) -> Callable[[Run, Document], Document]:
    """Return the edit of the metadata, over entries that lie."""
    return lambda run, document: {
        **each()(run, document),
        "metadata": {**document["metadata"], **others},
    }


def whole(**others: Any) -> Callable[[Run, Document], Document]:
    return lambda run, document: {**each()(run, document), **others}


def of_manifest(**others: Any) -> Callable[[Run, Document], Document]:
    return lambda _, document: {**document, "metadata": {**document["metadata"], **others}}


def twice(_: Run, document: Document) -> Document:
    return {**document, "results": document["results"] * 2}


def twice_and_lied(_: Run, document: Document) -> Document:
    entries = document["results"]
    return {**document, "results": [*entries, *(lied(entry) for entry in entries)]}


def lied_and_twice(_: Run, document: Document) -> Document:
    entries = document["results"]
    return {**document, "results": [*(lied(entry) for entry in entries), *entries]}


def stranger(_: Run, document: Document) -> Document:
    *_others, entry = document["results"]
    unknown = {**entry, "unique_id": "source.shop.app.nobody"}
    return {**document, "results": [*document["results"], unknown]}


def without_results(_: Run, document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "results"}


def without_last(_: Run, document: Document) -> Document:
    return {**document, "results": document["results"][:-1]}


def without_sources(_: Run, document: Document) -> Document:
    return {**document, "sources": {}}


def with_a_twin(_: Run, document: Document) -> Document:
    """Declare a second source of the same package, source and table."""
    uid, source = next(iter(document["sources"].items()))
    twin = {**source, "unique_id": uid + "_twin"}
    return {**document, "sources": {**document["sources"], uid + "_twin": twin}}


_OTHER_RUN = "11111111-0000-4000-8000-000000000000"
_EDITS: dict[str, Callable[[Run, Document], Document]] = {
    "other-run": head(invocation_id=_OTHER_RUN),
    "no-run": head(invocation_id=""),
    "schema-v99": head(dbt_schema_version="https://schemas.getdbt.com/dbt/sources/v99.json"),
    "schema-of-manifest": head(
        dbt_schema_version="https://schemas.getdbt.com/dbt/manifest/v12.json"
    ),
    "no-schema": head(dbt_schema_version=""),
    "elapsed-negative": whole(elapsed_time=-3600.0),
    "elapsed-endless": whole(elapsed_time=1e300),
    "elapsed-text": whole(elapsed_time="long"),
    "results-null": whole(results=None),
    "results-object": whole(results={}),
    "results-empty": whole(results=[]),
    "results-absent": without_results,
    "last-absent": without_last,
    "looked-a-year-ago": shifted(days=-365),
    "looked-yesterday": shifted(days=-1),
    "looked-tomorrow": shifted(days=1),
    "looked-in-ten-minutes": shifted(minutes=10),
    "never-looked": each(snapshotted_at=None),
    "said-twice": twice,
    "said-twice-otherwise": twice_and_lied,
    "said-otherwise-before": lied_and_twice,
    "unknown-source": stranger,
    "unknown-status": each(status="passed"),
    "no-status": each(status=""),
    "runtime-error-with-a-time": each(status="runtime error"),
    "time-is-a-date": last(max_loaded_at="2026-11-25"),
    "time-is-infinite": last(max_loaded_at="infinity"),
    "time-has-a-leap-second": last(max_loaded_at="2026-06-30T23:59:60+00:00"),
    "time-is-a-number": last(max_loaded_at=1e300),
    "time-is-text": last(max_loaded_at="yesterday"),
    "time-is-null": last(max_loaded_at=None),
    "time-is-of-year-9999": last(max_loaded_at="9999-12-31T23:59:59+00:00"),
    "manifest-of-another-run": of_manifest(invocation_id=_OTHER_RUN),
    "manifest-of-another-project": of_manifest(project_name="elsewhere"),
    "manifest-of-a-nameless-project": of_manifest(project_name=None),
    "manifest-of-schema-v99": of_manifest(dbt_schema_version="https://example.org/v99.json"),
    "manifest-without-sources": without_sources,
    "manifest-with-a-twin": with_a_twin,
}

_BYTES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "one-byte": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "all-but-one-byte": lambda content: content[:-1],
    "twice-over": lambda content: content * 2,
    "garbage-behind": lambda content: content + b"\x00\x00\x00",
    "zeros": lambda content: b"\x00" * len(content),
    "web-page": lambda _: b"<!doctype html><title>502 Bad Gateway</title>",
    "null": lambda _: b"null",
    "list": lambda content: b"[" + content + b"]",
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "deep": lambda _: b"[" * 200_000,
    "not-utf-8": lambda content: content.replace(b"pass", b"p\xffss"),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
