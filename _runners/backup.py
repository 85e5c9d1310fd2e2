"""The backups of the fleet: make one, show what there is, and restore from them."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from salina.application import copy as branches
from salina.backup import scratch
from salina.backup.scratch import RESTORED, parse_moment, target
from salina.common import file, reading
from salina_fleet import master_state, minions, runner
from salina_fleet.backup import damaged, drilled, due, late, mirrored, moment, size, text, told
from salina_fleet.change import follow
from salina_fleet.change import restore as steps
from salina_fleet.errors import RunnerError
from salina_fleet.kinds import KINDS
from salina_fleet.model import files_backup
from salina_fleet.model.backup import BackupSettings
from salina_fleet.roles.database import files
from salina_fleet.schema.document import show
from salina_fleet.site import Site

__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

ANSWER = 30
"""Seconds for the backup host's answer."""
SAVED = "master-saved.json"
"""The record of the last copy of the master's state, in the state directory."""
DAY = 86_400
OTHER = 1800
"""Seconds for which a drill waits for the end of another change."""
STOPPED = 180
"""Seconds after which a stopped application starts again by itself, should this process die."""


def status() -> Any:
    """Show the backups: how old they are, how large, and to which moments they lead back.

    Returns:
        A text. With `--out=json` (or another format) a mapping.

    Raises:
        RunnerError: no host has the role backup, it does not answer, or there is no backup.

    CLI Example:
        salt-run backup.status
        salt-run backup.status --out=json
    """
    site = runner.site(__opts__)
    info, last = (_ask(site, ask, [], ANSWER) for ask in ("pgbackrest.info", "drill.last"))
    found = told(info, last, time.time())
    found["files"] = _ask(site, "files_repository.state", [], minions.WORK)
    found["master"] = master = _master_saved(site)
    settings = site.fleet.settings[BackupSettings]
    if settings.second:
        try:
            found["second"] = _second(_repository(site), "state")
        except RunnerError as error:
            found["second"] = {"fault": str(error)}
    found["late"] = late(found, settings.drill_days, settings.files_minutes)
    found["good"] = found["good"] and master["good"] and not found["late"]
    if __opts__.get("output"):
        return {"data": {**found, "retcode": int(not found["good"])}, "outputter": "json"}
    lines = "\n".join([text(found), *found["late"], master["message"]])
    if not found["good"]:
        raise RunnerError(lines)
    return lines


def make_steps(kind: str = "diff") -> dict[str, Any]:
    """Return the steps of a backup that an operator asks for. orch.backup takes them.

    Args:
        kind: as in `backup.make`.

    Returns:
        `what`, the backup in words, and the `steps`.

    Raises:
        RunnerError: some file of the master has a fault.

    CLI Example:
        salt-run backup.make_steps
    """
    second = runner.site(__opts__).fleet.settings[BackupSettings].second
    return steps.backup(kind, second is not None)


def make(kind: str = "diff") -> str:
    """Make a backup of the database cluster and a copy of users' files now, and wait for both.

    The second repository follows with its next mirror.

    Args:
        kind: full; diff, which holds what changed since the last full one; or incr, which holds
            what changed since the last one of any kind.

    Returns:
        The label of the new backup.

    Raises:
        RunnerError: no host has the role backup, it does not answer, or the backup failed.

    CLI Example:
        salt-run backup.make
        salt-run backup.make kind=full
    """
    label = _ask(runner.site(__opts__), "pgbackrest.back_up", [kind], minions.WORK)
    copy_files()
    return str(label)


def mirror() -> str:
    """Bring the second repository up to date now, and wait for the end.

    Returns:
        The place, and what it has, in a sentence.

    Raises:
        RunnerError: no host has the role backup, it does not answer, there is no second repository,
            or the mirror failed.

    CLI Example:
        salt-run backup.mirror
    """
    host = _with_second(runner.site(__opts__))
    follow.note([host], "brings the second repository up to date")
    return mirrored(_second(host, "mirror"), time.time())


def copy_files() -> list[str]:
    """Copy the users' files of all applications to the backup host now, and wait for the end.

    Returns:
        The hosts that copied them.

    Raises:
        RunnerError: of some files no host answers, or a copy failed.

    CLI Example:
        salt-run backup.copy_files
    """
    site = runner.site(__opts__)
    return [
        _first(source.hosts, "files_backup.copy", [source.name])[0]
        for source in files_backup.sources(site.fleet)
    ]


def bring_files(application: str, until: str = "", copies: bool = True, target: str = "") -> str:
    """Bring back the files that an application had at a moment. No file is replaced or removed.

    orch.restore and orch.stage do the same. Users notice nothing.

    Args:
        application: the application's name.
        until: the moment (UTC unless it has an offset); "" or latest for the newest copy.
        copies: whether to look into the copies, too; otherwise only removed files come back.
        target: a copy of the application for trials, which gets the files instead.

    Returns:
        How many files came back, in a sentence.

    Raises:
        RunnerError: the application, the target or the moment is not valid, no host with the files
            answers, or they could not be read or written.

    CLI Example:
        salt-run backup.bring_files crm
        salt-run backup.bring_files crm 2026-11-29T12:00:00+00:00
    """
    site = runner.site(__opts__)
    known = site.fleet.topology.applications
    if application not in known:
        raise RunnerError(
            f"application: {application!r} is not an application; choose one of: {', '.join(known)}"
        )
    if target and (target not in known or known[target].copy_of != application):
        raise RunnerError(f"target: {target!r} is not a copy of {application}")
    try:
        moment = "" if until in ("", steps.LATEST) else parse_moment(str(until)).isoformat()
    except ValueError as error:
        raise RunnerError(f"until: {str(error).removeprefix('time: ')}") from None
    said = []
    for source in files_backup.sources(site.fleet):
        if source.application == application:
            asked = [source.name, moment, copies, target]
            host, found = _first(source.hosts, "files_backup.bring_back", asked)
            said.append(f"{host}: {steps.came_back(found)}")
    return "; ".join(said) or f"{application} has no files"


def restore(**request: Any) -> dict[str, Any]:
    """Return the steps of a restore, and exclude other changes. orch.restore takes them.

    Args:
        request: `application`, or all; `time`, a moment (UTC unless it has an offset), or latest;
            `name`, the name of a new database, without which the copy takes the place of the
            application's own (for all: what follows the application's name in that name); or
            `kept`, a database that comes back; and `confirm`, the name of the application once
            more, or all.

    Returns:
        `what`, the restore in words, and the `steps`.

    Raises:
        RunnerError: the request is invalid, a host does not answer, the disk is too small, another
            change is running, or `confirm` is missing; then the message is the plan.

    CLI Example:
        salt-run backup.restore application=crm
    """
    site = runner.site(__opts__)
    if not request.get("kept"):
        _repository(site)
    primary = _primary(site)
    made = _on(primary, "database_copy.kept", [], ANSWER)
    databases = {one["name"]: one["about"] for one in made}
    names = _on(primary, "database_copy.names", [], ANSWER)
    topology = site.fleet.topology
    known = topology.applications
    origins = _on(primary, "database_copy.origins", [], ANSWER)
    given = runner.plain(request)
    requests = steps.parse(given, known, topology.originals, databases, names, origins)
    hosts = {one.application: runner.serving(site, one.application) for one in requests}
    found: dict[str, Any] = {"label": ""}
    if copied := steps.copies(requests):
        found = _source(site, [one.application for one in copied], requests[0].until)
    if not requests[0].confirmed:
        raise RunnerError(steps.plan(requests, found["label"], primary, found, hosts))
    told = steps.told(requests, hosts, databases, datetime.now(UTC))
    runner.exclude(site, told["what"])
    return told


def source(application: str, until: str = "") -> dict[str, Any]:
    """Return the backup that a copy of an application's database begins with, and its room.

    Args:
        application: the application's name.
        until: the moment in ISO format; "" for now.

    Returns:
        `label`, the backup; `primary`, the host on which the copy is made; `needed` and `free`, in
        bytes, with the least room of all database hosts.

    Raises:
        RunnerError: a host does not answer, there is no such backup, or the copy does not fit.

    CLI Example:
        salt-run backup.source crm
    """
    moment = parse_moment(until) if until else None
    return _source(runner.site(__opts__), [application], moment)


def restore_cluster(time: str = steps.LATEST, confirm: str = "") -> dict[str, Any]:
    """Return the steps of orch.restore_cluster, which makes the cluster from the backups again.

    Args:
        time: a moment (UTC unless it has an offset), or latest.
        confirm: the word all, because every application gets the state of that moment.

    Returns:
        `what`, the restore in words, and the `steps`.

    Raises:
        RunnerError: a database host has data or does not answer, the moment is not valid, another
            change is running, or `confirm` is missing; then the message is the plan.

    CLI Example:
        salt-run backup.restore_cluster
    """
    site = runner.site(__opts__)
    databases = site.fleet.having("database")
    hosts = [host.id for host in databases]
    backups = _ask(site, "pgbackrest.info", [], ANSWER)["backups"]
    try:
        until = None if time == steps.LATEST else parse_moment(str(time))
    except ValueError as error:
        raise RunnerError(str(error)) from None
    backup = steps.source(until, backups)
    label = backup["label"]
    first = next(host.id for host in databases if host.first)
    leading = [host for host in hosts if _has(site, host, "PG_VERSION")]
    if leading and (leading != [first] or not _has(site, first, RESTORED) or _runs(first)):
        raise RunnerError(
            f"{', '.join(leading)}: has the cluster's data; to bring back an earlier moment of an "
            "application use orch.restore; to go on after an interruption use orch.deploy"
        )
    others = [host for host in hosts if host != first]
    if confirm != "all":
        asked = {"time": time, "confirm": "all"} if until else {"confirm": "all"}
        raise RunnerError(
            f"all databases as of {steps.words(until)}, from backup {label} and the WAL after it\n"
            f"on {first}; {', '.join(others) or 'no host'} copies it\n"
            f"next: salt-run state.orchestrate orch.restore_cluster pillar='{json.dumps(asked)}'"
        )
    apps = runner.having(site, "app")
    applications = list(site.fleet.topology.applications)
    moment = target(until) if until else ""
    told = steps.cluster_steps(first, others, apps, applications, moment, backup["end"])
    runner.exclude(site, told["what"])
    return told


def make_cluster(host: str, until: str) -> str:
    """Restore the whole cluster on a host: a step of orch.restore_cluster.

    Args:
        host: the first database host.
        until: the moment, as PostgreSQL writes it, or "" for the newest.

    Returns:
        The moment of the last change.

    Raises:
        RunnerError: the host does not answer, or the restore failed.

    CLI Example:
        salt-run backup.make_cluster bbdd1 ''
    """
    newest = _ask(runner.site(__opts__), "pgbackrest.info", [], ANSWER)["wal"]
    last = _on(host, "cluster_restore.make", [until, newest], minions.WORK)
    _on(host, "cluster_restore.forget", [], ANSWER)
    return str(last)


def drill() -> str:
    """Restore the newest backup beside everything else, and compare it with the primary.

    The backup host verifies the repository, restores all databases to this moment without a
    network, compares the rows of each table, and checks each table and index. Users notice nothing.
    `backup.compare` looks at the second repository.

    Returns:
        What was compared, in a sentence.

    Raises:
        RunnerError: a host does not answer, or the backup is not good, with every fault.

    CLI Example:
        salt-run backup.drill
    """
    site = runner.site(__opts__)
    host, primary = _repository(site), _primary(site)
    before = _on(primary, "drill.count", [], minions.WORK)
    moment = _on(primary, "drill.moment", [], minions.WORK)
    copy_files()
    after = _on(primary, "drill.count", [], minions.WORK)
    follow.note([host], "restores the newest backup and compares it")
    started = _started(site)
    given = [moment, before, after, bool(started), _skipped(site, started)]
    record = _on(host, "drill.run", given, minions.WORK)
    if not record["good"]:
        raise RunnerError("\n".join(f"{host}: {fault}" for fault in record["faults"]))
    return drilled(record, time.time())


def compare() -> str:
    """Compare a sample of the second repository with the first one.

    A restore drill does the same. `fleet.health` shows the result until the next comparison, which
    looks at the damaged files again.

    Returns:
        How many files were compared, in a sentence; or why none could be. A place that is away is
        a fault only when its mirror or its comparison is late.

    Raises:
        RunnerError: no host has the role backup, it has no second repository, or files are damaged
            there.

    CLI Example:
        salt-run backup.compare
    """
    host = _with_second(runner.site(__opts__))
    follow.note([host], "compares a sample of the second repository")
    try:
        found = _second(host, "compare")
    except RunnerError as error:
        return f"the second repository was not compared: {error}"
    if faults := damaged(found):
        raise RunnerError("\n".join(faults))
    return f"of the second repository {found['files']} files were compared"


def drill_steps() -> dict[str, Any]:
    """Return the steps of a restore drill. orch.restore_drill takes them.

    An application starts only if it is known how its copy becomes neutral.

    Returns:
        `what`, the drill in words, and the `steps`.

    Raises:
        RunnerError: some file of the master has a fault.

    CLI Example:
        salt-run backup.drill_steps
    """
    site = runner.site(__opts__)
    second = site.fleet.settings[BackupSettings].second
    return steps.drill(_started(site), second is not None)


def drill_applications(applications: Sequence[str]) -> str:
    """Start applications with their databases out of the backups, and ask for their pages: a step.

    Each gets its database as of the moment of the drill, beside the running one, and a process of
    its own, for which mail, jobs and payments are off. Users notice nothing.

    Args:
        applications: their names, from `backup.drill_steps`.

    Returns:
        The pages that answered, in a sentence.

    Raises:
        RunnerError: a name is not valid, another change is running, no drill waits for them, or an
            application does not work, with every fault. The record of the drill says so then.

    CLI Example:
        salt-run backup.drill_applications '[crm]'
    """
    site = runner.site(__opts__)
    known = _started(site)
    if not applications or not {*applications} <= {*known}:
        raise RunnerError(
            f"applications: {show(applications)} is not valid; must be a list of some of: "
            f"{', '.join(known) or '(a drill starts none: backup.drill_steps)'}"
        )
    until = _ask(site, "drill.unfinished", [], ANSWER).get("moment")
    if not until:
        raise RunnerError(
            "no drill waits for its applications\n"
            "next: salt-run state.orchestrate orch.restore_drill"
        )
    runner.exclude(site, "restore drill: the applications start", OTHER)
    results, faults = {}, []
    for name in applications:
        pages, fault = _served(site, name, until)
        short = fault.splitlines()[0] if fault else ""  # the rest is a log
        results[name] = {"pages": pages, "fault": short}
        if fault:
            faults.append(f"{name} with its database as of {until}: {fault}")
    try:
        record = _ask(site, "drill.finish", [results, _skipped(site, applications)], ANSWER)
    except RunnerError as error:
        raise RunnerError("\n".join([*faults, f"the drill is not recorded: {error}"])) from None
    if faults:
        raise RunnerError("\n".join(faults))
    return drilled(record, time.time())


def _started(site: Site) -> list[str]:
    """Return the applications that a drill starts: a copy of each can become neutral."""
    if not site.fleet.settings[BackupSettings].drill_application:
        return []
    topology = site.fleet.topology
    chosen = {
        one: site.definitions[topology.applications[one].definition] for one in topology.originals
    }
    return [one for one, found in chosen.items() if KINDS[found["kind"]].neutral(found)]


def _skipped(site: Site, started: Sequence[str]) -> list[str]:
    """Return the applications that a drill does not start, each with the reason."""
    topology, known = site.fleet.topology, _started(site)

    def reason(name: str) -> str:
        if not site.fleet.settings[BackupSettings].drill_application:
            return "drill_application in pillar/settings/backup.yaml is false"
        if name in known:
            return "it was not asked for"
        file = f"pillar/app/{topology.applications[name].definition}.yaml"
        return f"{file} does not say how a copy becomes neutral"

    others = [one for one in topology.originals if one not in started]
    return [f"{one} ({reason(one)})" for one in others]


def _served(site: Site, application: str, until: str) -> tuple[list[str], str]:
    """Start an application with its database as of a moment; return its pages, and the fault."""
    try:
        _source(site, [application], parse_moment(until))
        branch(application, application, until, f"{application} of a restore drill")
        return list(__salt__["upgrade.serves"](application)), ""
    except RunnerError as error:
        return [], str(error).strip() or type(error).__name__
    finally:
        with contextlib.suppress(RunnerError):  # the next copy takes its place
            runner.on_primary(__opts__, "database_branch.remove", application)


def save_master() -> str:
    """Save the master's own state on the backup host, encrypted for the operator's key.

    These are the secrets, the CA, the members, the commits, and the keys of the master and of all
    minions: with the repository, all that a new master needs.

    Returns:
        The path of the copy on the backup host.

    Raises:
        RunnerError: the setting `recipient` is missing, the state cannot be encrypted, or the
            backup host does not answer.

    CLI Example:
        salt-run backup.save_master
    """
    site = runner.site(__opts__)
    recipient = site.fleet.settings[BackupSettings].recipient
    if recipient is None:
        raise RunnerError(
            "pillar/settings/backup.yaml: recipient: is null; must be the public part of an age "
            "key (age-keygen -o key.txt on a machine outside the fleet)"
        )
    return _save_master(site, recipient, _master_state(site))


def _save_master(site: Site, recipient: str, content: bytes) -> str:
    try:
        secret = master_state.encrypted(content, recipient)
    except master_state.StateError as error:
        raise RunnerError(str(error)) from None
    name = master_state.name(datetime.now(UTC))
    keep = site.fleet.settings[BackupSettings].keep_days
    given = [name, base64.b64encode(secret).decode(), keep]
    path = str(_ask(site, "master_state.store", given, ANSWER))
    record = {"digest": master_state.digest(content + recipient.encode()), "saved": time.time()}
    file.put(site.state / SAVED, json.dumps(record))
    return path


def _master_state(site: Site) -> bytes:
    """Return the master's state, without the record of the last copy, which changes with each."""
    own = [master_state.MINION] if master_state.MINION.is_dir() else []
    try:
        return master_state.archive([site.state, master_state.PKI, *own], {site.state / SAVED})
    except master_state.StateError as error:
        raise RunnerError(str(error)) from None


def _last_saved(site: Site) -> dict[str, Any]:
    """Return the record of the last copy of the master's state."""
    try:
        return dict(json.loads(reading.read(site.state / SAVED)))
    except (OSError, ValueError):
        return {"digest": "", "saved": 0}


def _master_saved(site: Site) -> dict[str, Any]:
    """Return whether the master's state is saved as the settings want it."""
    wanted = site.fleet.settings[BackupSettings].recipient is not None
    return master_state.judged(wanted, _last_saved(site)["saved"], time.time())


def _save_master_if_due(site: Site) -> bool:
    """Save the master's state if it has changed, or if the last copy is a day old."""
    recipient = site.fleet.settings[BackupSettings].recipient
    if recipient is None:
        return False
    content = _master_state(site)
    last = _last_saved(site)
    same = last["digest"] == master_state.digest(content + recipient.encode())
    if same and time.time() - last["saved"] < DAY:
        return False
    _save_master(site, recipient, content)
    return True


def evaluate() -> dict[str, Any]:
    """Save the master's state and start a restore drill, as far as they are due.

    The master calls this once an hour (master.d/70-backup.conf).

    Returns:
        Whether the state was `saved`, whether a drill was `due`, and its `failures`.

    Raises:
        RunnerError: the backup host does not answer, or the state cannot be encrypted.

    CLI Example:
        salt-run backup.evaluate
    """
    site, now = runner.site(__opts__), datetime.now(UTC)
    if not site.fleet.having("backup"):
        return {"saved": False, "due": False}
    saved = _save_master_if_due(site)
    last = _ask(site, "drill.last", [], ANSWER)
    if not due(last.get("ended"), site.fleet.settings[BackupSettings], now):
        return {"saved": saved, "due": False}
    failures = runner.orchestrate(__opts__, "orch.restore_drill")
    return {"saved": saved, "due": True, "failures": [str(one) for one in failures]}


def kept() -> list[dict[str, Any]]:
    """Show the databases that restores have made or kept.

    Returns:
        For each its `name`, its `size`, and what it is (`about`).

    Raises:
        RunnerError: no primary answers.

    CLI Example:
        salt-run backup.kept
    """
    found = _on(_primary(runner.site(__opts__)), "database_copy.kept", [], ANSWER)
    return [one | {"size": size(one["size"])} for one in found]


def discard(name: str, confirm: str = "") -> str:
    """Delete a database that a restore has made or kept. There is no way back but a restore.

    Args:
        name: the database, as `backup.kept` shows it.
        confirm: the same name once more.

    Returns:
        A sentence that says so.

    Raises:
        RunnerError: the names differ, no primary answers, or there is no such database.

    CLI Example:
        salt-run backup.discard crm_before_20261129_120000 confirm=crm_before_20261129_120000
    """
    site = runner.site(__opts__)
    primary = _primary(site)
    if name in site.fleet.topology.applications:
        raise RunnerError(f"{name}: is the database of an application")
    if confirm != name:
        raise RunnerError(
            f"{name} would be deleted\nnext: salt-run backup.discard {name} confirm={name}"
        )
    return f"{_on(primary, 'database_copy.discard', [name], minions.WORK)} is deleted"


def copy(application: str, until: str, about: str) -> str:
    """Copy an application's database out of the backups: a step of orch.restore.

    Args:
        application: the application's name.
        until: the moment, as PostgreSQL writes it, or "" for now.
        about: what the copy is, in words.

    Returns:
        The moment of the last change in the copy.

    Raises:
        RunnerError: no primary answers, or the copy failed. The running databases are as before.

    CLI Example:
        salt-run backup.copy crm '2026-11-29 12:00:00+00' 'crm as of noon'
    """
    return str(runner.on_primary(__opts__, "database_copy.make", application, until, about))


def branch(application: str, original: str, until: str, about: str) -> str:
    """Copy a database out of the backups to where an application's releases are tried.

    Args:
        application: the application, to whose role the copy belongs.
        original: the application whose database is copied.
        until: the moment, as PostgreSQL writes it, or "" for now.
        about: what the copy is, in words.

    Returns:
        The name of the database.

    Raises:
        RunnerError: no primary answers, or the copy failed. The running databases are as before.

    CLI Example:
        salt-run backup.branch crm crm '2026-11-29 12:00:00+00' 'crm as of noon'
    """
    runner.on_primary(__opts__, "database_copy.make", original, until, about, application)
    runner.on_primary(__opts__, "database_branch.remove", application)
    given = (branches.name(application), application)
    return str(runner.on_primary(__opts__, "database_copy.rename", *given))


def rename(database: str) -> str:
    """Give a copy its name: a step of orch.restore.

    Args:
        database: the name of the new database.

    Returns:
        `database`.

    Raises:
        RunnerError: no primary answers, or PostgreSQL refused.

    CLI Example:
        salt-run backup.rename crm_as_of_noon
    """
    return str(runner.on_primary(__opts__, "database_copy.rename", database))


def exchange(application: str, source: str, kept: str, origin: str) -> str:
    """Let a copy take the place of a stopped application's database: a step of orch.restore.

    Args:
        application: the application's name.
        source: the copy, or a kept database.
        kept: the name that the application's database gets.
        origin: the request, which does not exchange them again.

    Returns:
        `kept`.

    Raises:
        RunnerError: the application runs, a host does not answer, or PostgreSQL refused. The
            databases are as before.

    CLI Example:
        salt-run backup.exchange crm crm_noon crm_before_20261129_120000 crm_noon
    """
    stays_stopped(application)
    about = f"{application} until {moment(time.time(), seconds=True)}"
    given = (application, source, kept, about, origin)
    return str(runner.on_primary(__opts__, "database_copy.exchange", *given))


def stays_stopped(application: str) -> list[str]:
    """Let a stopped application stay stopped while its database is exchanged: part of such steps.

    Since it stopped, an apply may have started it, or systemd, if the steps after that took long.
    It would then have the caches of one database and the connections of another one.

    Args:
        application: the application's name.

    Returns:
        Its hosts.

    Raises:
        RunnerError: it runs on a host, or a host does not answer.

    CLI Example:
        salt-run backup.stays_stopped crm
    """
    hosts = runner.serving(runner.site(__opts__), application)
    try:
        minions.ask(__opts__, hosts, "application.later", [STOPPED])  # it begins to count again
        minions.ask(__opts__, hosts, "application.stopped")
    except RunnerError as error:
        raise RunnerError(
            f"{error}\nnothing was changed: the databases change places only while {application} "
            "is stopped on every host; run the command again"
        ) from None
    return hosts


def complete(applications: Sequence[str]) -> list[str]:
    """Note that a restore from the backups is complete: the last step of orch.restore.

    From then on the same request restores the applications again.

    Args:
        applications: their names.

    Returns:
        `applications`.

    Raises:
        RunnerError: no primary answers, or PostgreSQL refused.

    CLI Example:
        salt-run backup.complete applications='[crm]'
    """
    for one in applications:
        runner.on_primary(__opts__, "database_copy.complete", one)
    return list(applications)


def stop(hosts: Sequence[str]) -> list[str]:
    """Stop the application on app hosts: a step of orch.restore. Users get an error from here on.

    Args:
        hosts: ids.

    Returns:
        The hosts.

    Raises:
        RunnerError: a host does not answer, or systemd refused.

    CLI Example:
        salt-run backup.stop hosts='[s1, s2, s3]'
    """
    follow.note(hosts, "stops its application")
    minions.ask(__opts__, hosts, "application.stop", [STOPPED])
    return list(hosts)


def _with_second(site: Site) -> str:
    """Return the backup host of a fleet with a second repository."""
    host = _repository(site)
    if site.fleet.settings[BackupSettings].second is None:
        raise RunnerError(
            "pillar/settings/backup.yaml: second: is null; name another place for the backups"
        )
    return host


def _second(host: str, function: str) -> Any:
    """Call a function about the second repository, with the place that the settings name now.

    An apply reads a pillar of its own, and leaves the minion's as it is.
    """
    _on(host, "saltutil.refresh_pillar", [True], ANSWER)
    return _on(host, f"second_repository.{function}", [], minions.WORK)


def _source(site: Site, applications: Sequence[str], until: datetime | None) -> dict[str, Any]:
    """Return the backup that copies of databases begin with, and their room, as `source` does."""
    backup = steps.source(until, _ask(site, "pgbackrest.info", [], ANSWER)["backups"])
    primary = _primary(site)
    room = _room(site, primary, applications, backup["size"])
    return {"label": str(backup["label"]), "primary": primary, **room}


def _has(site: Site, host: str, name: str) -> bool:
    """Return whether a database host has a file of the cluster.

    A new host has none of this project's modules yet, so a function of Salt looks.
    """
    path = f"{files(site.fleet.topology)}/{name}"
    return bool(_on(host, "file.file_exists", [path], ANSWER))


def _runs(host: str) -> bool:
    """Return whether Patroni runs on a host."""
    return bool(_on(host, "service.status", ["patroni"], ANSWER))


def _room(site: Site, primary: str, applications: Sequence[str], backup: int) -> dict[str, Any]:
    """Return the room that copies need; a replica gets the copies as well.

    Raises:
        RunnerError: it does not fit.
    """
    found = [_on(primary, "database_copy.sizes", [one], ANSWER) for one in applications]
    size, sizes = sum(one["size"] for one in found), found[0]
    others = [host for host in runner.having(site, "database") if host != primary]
    free = [_on(host, "database_copy.free", [], ANSWER) for host in others]
    room = scratch.room(size, sizes["cluster"], backup, min([sizes["free"], *free]))
    if room["shortage"]:
        raise RunnerError(str(room["shortage"]))
    return room


def _ask(site: Site, function: str, arguments: list[Any], seconds: int) -> Any:
    """Call a function on the backup host and return its answer."""
    return _on(_repository(site), function, arguments, seconds)


def _repository(site: Site) -> str:
    """Return the backup host."""
    for host in site.fleet.having("backup"):
        return host.id
    raise RunnerError(
        "no host has the role backup, so nothing is backed up; give it to one in "
        "pillar/topology.yaml"
    )


def _first(hosts: Sequence[str], function: str, arguments: list[Any]) -> tuple[str, Any]:
    """Call a function on the first of these hosts that answers; return the host and its answer.

    The host reads its pillar first: an apply leaves the minion's as it is, so a host would not know
    an application that has just come.

    Raises:
        RunnerError: none answers, or the function failed on each.
    """
    faults = []
    for host in hosts:
        try:
            follow.note([host], f"runs {function}")
            with contextlib.suppress(RunnerError):
                _on(host, "saltutil.refresh_pillar", [True], ANSWER)
            return host, _on(host, function, arguments, minions.WORK)
        except RunnerError as error:
            faults.append(str(error))
    raise RunnerError("\n".join(faults))


def _on(host: str, function: str, arguments: list[Any], seconds: int) -> Any:
    return minions.call(__opts__, host, function, arguments, seconds)


def _primary(site: Site) -> str:
    return runner.primary(__opts__, site)
