#!/usr/bin/python3 -I
# Managed by Salt (salt/operators).
"""The program that operators start by sudo on the master, in place of `salt` and `salt-run`.

It judges the whole command line by data, and then starts Salt with arguments that all fit. An
operator has no other right to start Salt, and every command is in the log. Nothing but Python's own
library is imported.

    command.py salt|salt-run ARGUMENT…
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import syslog
from collections.abc import Mapping, Sequence
from typing import Any

RULES = "/etc/salina/operators.json"
PROGRAMS = ("salt", "salt-run")
EVERYTHING = "all"
"""The rank whose commands are not judged: its operators are root by sudo anyway."""
TARGET = r"[A-Za-z0-9*?\[][A-Za-z0-9*?\[\],._-]*"
OPTIONS = (
    r"--out=(json|yaml|txt|nested|highstate|raw|quiet)",
    r"--timeout=[0-9]{1,4}",
    r"--static",
)
"""The options of Salt that change nothing but the output, or how long it waits."""
LISTED = ("-L", "--list")
"""The option by which the target is a list of hosts."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
ENVIRONMENT = {"PATH": f"{PATH}:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
"""Salt gets nothing of the operator's environment. It reads files of HOME and of its directory."""


class Refusal(Exception):
    """A command that the operator may not give; the text says why."""


def judged(rules: Mapping[str, Any], name: str, argv: Sequence[str]) -> list[str]:
    """Return the command line that is started for an operator.

    Args:
        rules: the operators' ranks, and the commands of each rank (pillar `operators.salt`).
        name: the operator.
        argv: `salt` or `salt-run`, and its arguments.

    Raises:
        Refusal: the operator may not give this command.
    """
    rank = rules["ranks"].get(name)
    if rank is None:
        raise Refusal(f"{name} is not an operator")
    if not argv or argv[0] not in PROGRAMS:
        raise Refusal(f"the first argument must be one of {', '.join(PROGRAMS)}")
    program, *given = argv
    if rank == EVERYTHING:
        return [program, *given]
    functions = {
        one["function"]: one["arguments"]
        for one in rules["allowed"]
        if (one["rank"], one["program"]) == (rank, program)
    }
    known = (*OPTIONS, *LISTED) if program == "salt" else OPTIONS[:1]
    options = [one for one in given if one.startswith("-")]
    for one in options:
        if not any(re.fullmatch(pattern, one) for pattern in known):
            raise Refusal(f"{one} is not an option that `{rank}` may use")
    words = [one for one in given if not one.startswith("-")]
    if program == "salt":
        if not words or not re.fullmatch(TARGET, words[0]):
            raise Refusal("the target must be the name of a host, a pattern such as 'nas*' or *")
        options, words = [*options, words[0]], words[1:]
    if not words or words[0] not in functions:
        what = words[0] if words else "a command without a function"
        choice = ", ".join(functions)
        raise Refusal(f"{what} is not a function that `{rank}` may call; choose one of: {choice}")
    function, *arguments = words
    for one in arguments:
        if not any(re.fullmatch(pattern, one) for pattern in functions[function]):
            raise Refusal(f"{one} is not an argument that `{rank}` may give to {function}")
    return [program, *options, function, *arguments]


def main(argv: Sequence[str]) -> None:
    """Judge a command, log it, and become Salt."""
    name = os.environ.get("SUDO_USER", "root")
    syslog.openlog("salina-salt", facility=syslog.LOG_AUTHPRIV)
    asked = shlex.join(argv).encode("unicode_escape").decode()
    try:
        with open(RULES, encoding="utf-8") as file:
            found = judged(json.load(file), name, argv)
        program = shutil.which(found[0], path=PATH)
        if program is None:
            raise Refusal(f"this host has no {found[0]}")
    except Refusal as refusal:
        syslog.syslog(f"refused to {name}: {asked}: {refusal}")
        sys.exit(f"salina-salt: {refusal}")
    syslog.syslog(f"{name}: {asked}")
    os.chdir("/")  # a Saltfile in the operator's directory has no effect
    os.execve(program, found, {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")})


if __name__ == "__main__":
    main(sys.argv[1:])
