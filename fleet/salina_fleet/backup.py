"""The state of the backups, in words."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from salina.backup.pgbackrest import MISSING
from salina_fleet.model.backup import BackupSettings

LATE = 26
"""The hours after which the day's backup is missing."""
LATE_FILES = 4
"""The number of copies of users' files that may be missing before the newest is too old."""
LATE_SECOND = 4
"""The number of mirrors that may be missing before the last one is too old."""
LATE_DRILL = 2
"""The days by which a restore drill may be late."""
AGAIN = "delete it there; next: salt-run backup.mirror; salt-run backup.compare"
"""The remedy for a damaged file at the second place."""
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def told(info: Mapping[str, Any], last: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the state of the backups as data.

    Args:
        info: the answer of `pgbackrest.info`.
        last: the record of the last restore drill; {} if there was none.
        now: seconds since the epoch.

    Returns:
        `good`; `message` in pgBackRest's words; `backups` from new to old; `drill`, the record;
        and, if there are backups, `age` (seconds) and `window` (the moment from which on every
        moment can be restored).
    """
    backups = list(reversed(info["backups"]))
    found: dict[str, Any] = {
        "good": bool(backups) and not info["code"] and not any(one["faulty"] for one in backups),
        "message": info["message"] if info["code"] != MISSING else "no backup was ever made",
        "backups": backups,
        "wal": info["wal"],
        "drill": dict(last),
    }
    if last and not last["good"]:
        found["good"] = False
    if backups:
        found["now"] = int(now)
        found["age"] = int(now - backups[0]["end"])
        found["window"] = backups[-1]["end"] + 1  # pgBackRest needs a backup that ended before
    return found


def late(found: Mapping[str, Any], days: int, minutes: int) -> list[str]:
    """Return what is overdue, in words: a backup, a copy of files, a mirror, or a restore drill.

    Args:
        found: the answer of `told`.
        days: the days from one restore drill to the next.
        minutes: the minutes from one copy of files to the next.
    """
    if not found["backups"]:
        return []
    overdue = [
        f"late: a copy of the files of {name}; see journalctl -t salina-files on its hosts"
        for name, one in found.get("files", {}).items()
        if found["now"] - (one["newest"] or found["window"]) > LATE_FILES * minutes * 60
    ]
    if found["age"] > LATE * 3600:
        overdue.append("late: the day's backup; see journalctl -u 'salina-backup@*' on its host")
    second = found.get("second", {})
    if "fault" in second:
        overdue.append(f"second repository: {second['fault']}")
    elif second:
        overdue += _second(second, found["now"], days)
    since = found["now"] - (found["drill"].get("ended") or found["window"])
    if since > (days + LATE_DRILL) * 86_400:
        overdue.append("late: a restore drill; salt-run state.orchestrate orch.restore_drill")
    return overdue


def _second(second: Mapping[str, Any], now: float, days: int) -> list[str]:
    """Return what is overdue or damaged at the second place, in words."""
    overdue = []
    if now - second["since"] > LATE_SECOND * second["minutes"] * 60:
        overdue.append("late: the second repository; see journalctl -u salina-second on its host")
    compared = second["compared"].get("ended", second.get("set", now))
    if now - compared > (days + LATE_DRILL) * 86_400:
        overdue.append("late: a comparison of the second repository; salt-run backup.compare")
    return overdue + damaged(second["compared"])


def text(found: Mapping[str, Any]) -> str:
    """Return the same as lines for an operator."""
    backups = found["backups"]
    if not backups:
        return f"{found['message']}\nnext: salt-run backup.make kind=full"
    newest = backups[0]
    lines = [
        f"newest: {newest['label']} ({newest['kind']}), {duration(found['age'])} old",
        f"can be restored: every moment since {moment(found['window'], seconds=True)}",
        f"backups: {len(backups)}, which take {size(sum(one['stored'] for one in backups))}; "
        f"the database has {size(newest['size'])}",
        f"last WAL: {found['wal']}",
    ]
    lines += [
        f"files of {name}: "
        + (
            f"copied {duration(int(found['now'] - one['newest']))} ago"
            if one["newest"]
            else "no copy"
        )
        + f", {one['copies']} copies, which take {size(one['size'])}"
        for name, one in found.get("files", {}).items()
    ]
    second = found.get("second", {})
    if "place" in second:
        lines.append(f"second repository: {mirrored(second, found['now'])}")
    lines.append(f"last restore drill: {drilled(found['drill'], found['now'])}")
    lines += [f"damaged: {one['label']}" for one in backups if one["faulty"]]
    if found["message"] != "ok":
        lines.append(f"status: {found['message']}")
    return "\n".join(lines)


def mirrored(second: Mapping[str, Any], now: float) -> str:
    """Return the state of the second repository in words.

    Args:
        second: the answer of `second_repository.state`.
        now: seconds since the epoch.
    """
    record = second["record"]
    if not record:
        return f"{second['place']}, no mirror yet"
    ago = duration(int(now - record["began"]))
    told = f"{second['place']}, {ago} ago, {record['files']} files, {size(record['bytes'])}"
    if compared := second["compared"]:
        ago = duration(int(now - compared["ended"]))
        told += f"; {compared['files']} of them were compared {ago} ago"
    return told


def damaged(compared: Mapping[str, Any]) -> list[str]:
    """Return the files that are damaged at the second place, in words.

    Args:
        compared: the answer of `second_repository.compare`; {} if there is none.
    """
    return [f"damaged at the second place: {path}; {AGAIN}" for path in compared.get("damaged", [])]


def drilled(last: Mapping[str, Any], now: float) -> str:
    """Return the record of a restore drill in a sentence."""
    if not last:
        return "there was none\n  next: salt-run state.orchestrate orch.restore_drill"
    ago = f"{duration(int(now - last['ended']))} ago"
    if not last["good"]:
        failed = [f"{name}: {fault}" for name, fault in last.get("failed", {}).items()]
        return f"{ago}, FAILED: {'; '.join([*last['faults'], *failed])}"
    parts = [
        f"{ago}, good: {last['rows']} rows in {last['tables']} tables as on the primary, and "
        f"{last.get('files', 0)} files that they name, in {last['seconds']} s"
    ]
    served = last.get("served", {}).items()
    parts += [f"{name} answers {', '.join(pages)}" for name, pages in served]
    if last.get("skipped"):
        parts.append(f"not started: {', '.join(last['skipped'])}")
    return "; ".join(parts)


def due(ended: float | None, settings: BackupSettings, now: datetime.datetime) -> bool:
    """Return whether a restore drill is due: at its hour, or at any hour if it is a day late.

    Args:
        ended: when the last one ended, in seconds since the epoch; None if there was none.
        settings: with `drill_hour` and `drill_days`.
        now: this moment.
    """
    if ended is None:
        return now.hour == settings.drill_hour
    days = (now.timestamp() - ended) / 86400
    at_its_hour = now.hour == settings.drill_hour and days >= settings.drill_days - 0.5
    return at_its_hour or days >= settings.drill_days + 1


def moment(at: float, seconds: bool = False) -> str:
    """Return a moment, in UTC: 2026-11-29 03:00 UTC."""
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    return f"{datetime.datetime.fromtimestamp(at, datetime.UTC):{form}} UTC"


def duration(seconds: int) -> str:
    """Return a duration in its largest units: 2 days 3 h, 4 h 10 min, 12 min."""
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86400
    if days:
        return f"{days} days {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def size(count: float) -> str:
    """Return a number of bytes: 31.2 MiB."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            break
        count /= 1024
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
