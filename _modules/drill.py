"""Restore the newest backup in a scratch cluster, and compare it with the primary.

`count` runs on the primary, `run` on the backup host. An operator uses orch.restore_drill.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from salina.backup import drill, lock, scratch
from salina.common import file, pillars

__salt__: dict[str, Any]
__pillar__: dict[str, Any]


def count() -> dict[str, Any]:
    """Count the rows of all tables of this host's running cluster, which must be the primary.

    Returns:
        For each database and each table its rows, and those inserted and deleted so far.

    Raises:
        CommandExecutionError: PostgreSQL does not answer.

    CLI Example:
        salt bbdd1 drill.count
    """
    query = __salt__["database.query"]
    return {
        name: drill.parse_counts(query(drill.COUNT, name))
        for name in query(drill.DATABASES).split()
    }


def moment() -> str:
    """Return the present moment by the primary's clock, with all changes until then archived.

    Returns:
        The moment, as PostgreSQL reads it.

    Raises:
        CommandExecutionError: this is not the primary, or its WAL does not arrive.

    CLI Example:
        salt bbdd1 drill.moment
    """
    now = str(__salt__["database.query"]("SELECT clock_timestamp()"))
    __salt__["database_copy.archive"]()
    return now


def run(
    until: str,
    before: dict[str, Any],
    after: dict[str, Any],
    pending: bool = False,
    skipped: Sequence[str] = (),
) -> dict[str, Any]:
    """Restore a scratch cluster to a moment, compare it, and remove it again, also after an error.

    Args:
        until: the moment, from `drill.moment`.
        before: what `drill.count` returned shortly before the moment.
        after: what it returned shortly after it.
        pending: whether applications start afterwards. Then a good drill is complete, and
            `drill.last` returns its record, only after `drill.finish`.
        skipped: the applications that do not start, with the reason, for the record.

    Returns:
        The record of the drill.

    Raises:
        CommandExecutionError: this is not the backup host, or another drill is running.

    CLI Example:
        salt bkp1 drill.run '2026-11-29 12:00:00+00' '{}' '{}'
    """
    try:
        with lock.alone():
            found = _run(until, before, after)
            return _recorded({**found, "skipped": list(skipped)}, pending)
    except lock.Busy as error:
        raise CommandExecutionError(str(error)) from None


def _run(until: str, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    began, faults, found, files = time.time(), list[str](), dict[str, Any](), 0
    backups = __salt__["pgbackrest.info"]()["backups"]
    try:
        faults += drill.verified(__salt__["pgbackrest.verify"](), _stanza())
        __salt__["files_repository.check"]()
        __salt__["scratch.remove"]()  # what an interrupted drill has left takes no room
        _fits(backups[-1]["size"] if backups else 0)
        __salt__["scratch.start"](until)
        found = {name: _counted(name) for name in _scratch(drill.DATABASES).split()}
        faults += drill.differences(before, after, found)
        for application, named in _named(found).items():
            files += len(named)
            missing = __salt__["files_repository.missing"](application, until, named)
            faults += drill.without(application, missing, len(named))
        __salt__["scratch.check"]()
    except CommandExecutionError as error:
        faults.append(str(error))
    finally:
        __salt__["scratch.remove"]()
    newest = backups[-1]["label"] if backups else ""
    return drill.report(faults, until, newest, found, files, began, time.time())


def finish(results: dict[str, dict[str, Any]], skipped: list[str]) -> dict[str, Any]:
    """Record that applications have started with their databases out of a drill's backup.

    Args:
        results: for each application the `pages` that answered, and the `fault` in words, or "".
        skipped: the applications that were not started, with the reason.

    Returns:
        The record of the drill, which `drill.last` returns from now on.

    Raises:
        CommandExecutionError: no drill waits for this.

    CLI Example:
        salt bkp1 drill.finish '{"crm": {"pages": ["/web/health"], "fault": ""}}' '[]'
    """
    if not (record := unfinished()):
        raise CommandExecutionError("no drill waits for its applications")
    return _recorded(drill.finished(record, results, skipped), False)


def unfinished() -> dict[str, Any]:
    """Return the record of a good drill whose applications have not started yet, or {}.

    Returns:
        As `drill.last`.

    CLI Example:
        salt bkp1 drill.unfinished
    """
    return _read(drill.UNFINISHED)


def _recorded(report: dict[str, Any], pending: bool) -> dict[str, Any]:
    waits = pending and report["good"]
    Path(drill.RECORD).parent.mkdir(exist_ok=True)
    file.put(drill.UNFINISHED if waits else drill.RECORD, json.dumps(report) + "\n")
    if not waits:
        Path(drill.UNFINISHED).unlink(missing_ok=True)
    return report


def last() -> dict[str, Any]:
    """Return the record of the last complete drill, or {} if there was none.

    Returns:
        `good`, `faults`, `moment`, `backup`, `tables`, `rows`, `seconds`, when it `ended`, and
        `served` and `failed`: for each application that was started with its database the paths
        that answered, or the reason for which it does not work; and those that were `skipped`.

    CLI Example:
        salt bkp1 drill.last
    """
    return _read(drill.RECORD)


def _read(path: str) -> dict[str, Any]:
    try:
        return dict(json.loads(Path(path).read_text()))
    except FileNotFoundError:
        return {}


def _fits(size: int) -> None:
    """Refuse a drill that would fill the disk, on which the repository may be as well."""
    parent = Path(pillars.section(__pillar__, "scratch")["files"]).parents[1]
    free = shutil.disk_usage(parent).free
    if free < size + scratch.SPARE:
        needed = size + scratch.SPARE >> 20
        raise CommandExecutionError(f"{needed} MiB are needed for the drill, {free >> 20} are free")


def _counted(database: str) -> dict[str, Any]:
    return drill.parse_counts(_scratch(drill.COUNT, database))


def _named(found: dict[str, Any]) -> dict[str, list[str]]:
    """Return the files that the restored databases of applications name, by application."""
    named = {}
    for source in pillars.section(__pillar__, "files_repository")["sources"]:
        application, where = source["application"], source["named"]
        if where and application in found:
            text = _scratch(f"\\set column {where['column']}\n{drill.NAMED}", application)
            named[application] = [f"{where['directory']}/{name}" for name in text.splitlines()]
    return named


def _scratch(sql: str, database: str = "postgres") -> str:
    return str(__salt__["scratch.query"](sql, database))


def _stanza() -> str:
    return str(pillars.section(__pillar__, "backup")["stanza"])
