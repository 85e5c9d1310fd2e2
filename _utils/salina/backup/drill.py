"""A restore drill: whether the newest backup leads to the data of a moment.

The primary counts the rows of all tables before the moment and after it. The cluster that is
restored to the moment must have as many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

RECORD = "/var/lib/salina-backup/drill.json"
"""The record of the last drill, on the backup host."""
UNFINISHED = "/var/lib/salina-backup/drill-unfinished.json"
"""The same of one whose applications have not started yet. Until they have, the former one counts,
which is late some day.
"""
SHOWN = 3
"""The most files that a sentence names."""
Counts = Mapping[str, tuple[int, int, int]]
"""For each table: its rows, and the rows inserted and deleted since the statistics began."""

COUNT = r"""
SELECT format('SELECT json_build_array(%L, count(*), %s, %s) FROM %I.%I',
    format('%I.%I', nspname, c.relname), coalesce(n_tup_ins, 0), coalesce(n_tup_del, 0),
    nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON relnamespace = n.oid
    LEFT JOIN pg_stat_user_tables ON relid = c.oid
WHERE relkind = 'r' AND relpersistence = 'p'
    AND nspname NOT IN ('pg_catalog', 'information_schema')
\gexec
"""
"""psql's script for the counts of one database: for each table a statement of its own, so that no
table stays locked while the others are counted.
"""

NAMED = r"""
SELECT format('SELECT DISTINCT %1$I FROM ONLY %2$I.%3$I WHERE %1$I IS NOT NULL',
    attname, nspname, c.relname)
FROM pg_class AS c JOIN pg_namespace AS n ON relnamespace = n.oid
    JOIN pg_attribute ON attrelid = c.oid
WHERE relkind = 'r' AND atttypid IN ('text'::regtype, 'varchar'::regtype)
    AND format('%s.%s.%s', nspname, c.relname, attname) = :'column'
\gexec
"""
"""psql's script for the files that a database names. The application may have put a view in the
table's place, whose functions would run as the superuser; so it must be a plain column of text.
"""

DATABASES = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"
"""The query for the databases that are counted."""


def parse_counts(text: str) -> dict[str, tuple[int, int, int]]:
    """Return the counts of a database from the output of `COUNT`."""
    found = (json.loads(line) for line in text.splitlines())
    return {table: (rows, inserted, deleted) for table, rows, inserted, deleted in found}


def differences(
    before: Mapping[str, Counts], after: Mapping[str, Counts], found: Mapping[str, Counts]
) -> list[str]:
    """Return the tables whose restored rows cannot be those of the moment, in words.

    Between the two counts users may have inserted and deleted rows, so many rows more or fewer are
    no fault. A table that was created or dropped meanwhile is none either.

    Args:
        before: for each database the counts shortly before the moment.
        after: the same shortly after it.
        found: the same in the restored cluster.
    """
    faults = []
    for database in before.keys() & after.keys():
        if database not in found:
            faults.append(f"{database}: is missing")
            continue
        for table in sorted(before[database].keys() & after[database].keys()):
            first, last = before[database][table], after[database][table]
            low = min(first[0], last[0]) - max(0, last[2] - first[2])
            high = max(first[0], last[0]) + max(0, last[1] - first[1])
            rows = found[database].get(table)
            if rows is None:
                faults.append(f"{database}: {table} is missing")
            elif not low <= rows[0] <= high:
                wanted = str(low) if low == high else f"{low} to {high}"
                faults.append(f"{database}: {table} has {rows[0]} rows instead of {wanted}")
    return sorted(faults)


def rows(found: Mapping[str, Counts]) -> tuple[int, int]:
    """Return how many tables were counted, and how many rows they have."""
    tables = [table for database in found.values() for table in database.values()]
    return len(tables), sum(table[0] for table in tables)


WHOLE = "missing: 0, checksum invalid: 0, size invalid: 0, other: 0"
"""The line of `pgbackrest verify` about a backup or an archive without a fault."""


def verified(text: str, stanza: str) -> list[str]:
    """Return the faults that `pgbackrest verify --output=text --verbose` has found.

    Args:
        text: its output. Its exit code is 0 even if a file is damaged.
        stanza: pgBackRest's name for the cluster.
    """
    lines = [line.strip() for line in text.splitlines()]
    if f"stanza: {stanza}" in lines and "status: ok" in lines:
        return []
    words = ("invalid", "missing", "error")
    told = [line for line in lines if line != WHOLE and any(word in line for word in words)]
    return told or ["pgbackrest verify says nothing"]


def without(application: str, missing: Sequence[str], named: int) -> list[str]:
    """Return a sentence if files that a database names are in no copy.

    Args:
        application: its name.
        missing: the files.
        named: how many files the database names.
    """
    if not missing:
        return []
    shown = ", ".join(missing[:SHOWN]) + (", …" if missing[SHOWN:] else "")
    return [f"{application}: {len(missing)} of {named} files are in no copy: {shown}"]


def report(
    faults: list[str],
    moment: str,
    backup: str,
    found: Mapping[str, Counts],
    files: int,
    began: float,
    now: float,
) -> dict[str, Any]:
    """Return the record of a drill.

    Args:
        faults: in words.
        moment: the moment to which it was restored, in seconds since the epoch as text.
        backup: the label of the newest backup.
        found: the counts in the restored cluster.
        files: how many files its databases name.
        began: seconds since the epoch.
        now: the same.
    """
    tables, count = rows(found)
    return {
        "good": not faults,
        "faults": faults,
        "moment": moment,
        "backup": backup,
        "tables": tables,
        "rows": count,
        "files": files,
        "seconds": round(now - began),
        "ended": round(now),
        "served": {},
        "failed": {},
        "skipped": [],
    }


def finished(
    record: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], skipped: Sequence[str]
) -> dict[str, Any]:
    """Return the record of a drill after applications were started with their databases.

    Args:
        record: the record before that.
        results: for each application the `pages` that answered, and the `fault` in words, or "".
        skipped: the applications that were not started, with the reason.
    """
    served = {name: list(one["pages"]) for name, one in results.items() if not one["fault"]}
    failed = {name: one["fault"] for name, one in results.items() if one["fault"]}
    good = record["good"] and not failed
    return {**record, "good": good, "served": served, "failed": failed, "skipped": list(skipped)}
