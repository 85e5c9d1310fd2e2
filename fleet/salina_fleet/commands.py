"""The commands of Salt that an operator may give without root, as data.

`all` may give every command. Everything that is not here is refused to the others: a function that
is not listed, an argument that fits none of the patterns of its function, and options of Salt. The
program _utils/salina/management/command.py judges by this data on the master.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Functions = Mapping[str, tuple[str, ...]]
"""A function -> the patterns of the arguments that it may have."""

NAME = r"[A-Za-z0-9][A-Za-z0-9_.:-]*"
NUMBER = r"[0-9]{1,6}"
WORDS = r"[A-Za-z0-9 _.,:-]*"
NAMES = rf"\[{NAME}(, ?{NAME})*\]"
_VALUE = rf'("[A-Za-z0-9 _.:+-]*"|{NUMBER}|true|false)'
_ENTRY = rf'"[a-z_]+": ?({_VALUE}|\[{_VALUE}(, ?{_VALUE})*\])'
PILLAR = rf"pillar=\{{({_ENTRY}(, ?{_ENTRY})*)?\}}"
"""The request of an orchestration: a mapping of plain values, as docs/operations.md writes it."""
POOL = (f"pool={NAME}", f"count={NUMBER}", f"add={NAMES}", f"remove={NAMES}")
APPLY = (r"(?!(.*\.)?absent$|orch\.)[a-z][a-z0-9_.]*", "test=True", "queue=True")
"""States by name. `pillar=` is missing: a minion takes its values as the master's own. So are the
states that remove something, such as logs.absent: a host includes them itself where they fit.
"""
ORCHESTRATIONS = (
    *("backup", "catch_up", "deploy", "join", "rehearse", "restore_drill", "scale", "stage"),
    *("storage_tls", "upgrade"),
)
"""Those that lose no data. Going back to older data, and deleting data, is for `all`."""
ORCHESTRATION = (rf"orch\.({'|'.join(ORCHESTRATIONS)})", PILLAR)

LOOK: Mapping[str, Functions] = {
    "salt": {
        "test.ping": (),
        "test.version": (),
        "status.uptime": (),
        "status.loadavg": (),
        "disk.usage": (),
        "balancer.servers": (),
        "gluster.faults": (NAME,),
        "pair.held": (),
        "patroni.cluster": (),
        "patroni.leader": (),
        "patroni.obstacle": (),
        "patroni.standby_fault": (),
        "quorum.members": (),
        "quorum.own_obstacle": (),
        "turn.held": (),
    },
    "salt-run": {
        "application.revisions": (),
        "backup.kept": (),
        "backup.status": (),
        "fleet.health": (),
        "fleet.known_hosts": (),
        "fleet.members": (),
        "fleet.ready": (f"hosts={NAMES}", f"timeout={NUMBER}"),
        "fleet.revisions": (),
        "fleet.status": (),
        "fleet.watch": (f"timeout={NUMBER}",),
        "cloud.check": (f"cloud={NAME}", NAME),
        "maintenance.show": (),
        "topology.check": (),
        "topology.map": (),
        "topology.router": (),
        "topology.show": (),
        "topology.table": (),
        "topology.tiers": (),
        "turn.show": (),
        "verify.security": (),
        "verify.service": (),
    },
}
"""The commands that change nothing."""

OPERATE: Mapping[str, Functions] = {
    "salt": {
        "balancer.drain": (NAME,),
        "balancer.ready": (NAME,),
        "certificate.renew": (),
        "drift.look": (),
        "patroni.switchover": (NAME,),
        "saltutil.running": (),
        "saltutil.sync_all": (),
        "state.apply": APPLY,
        "state.highstate": APPLY[1:],
        "turn.end": (),
        "turn.take": (NAME, WORDS),
    },
    "salt-run": {
        "backup.compare": (),
        "backup.copy_files": (),
        "backup.drill": (),
        "backup.make": ("diff", "full", "kind=diff", "kind=full"),
        "backup.mirror": (),
        "backup.save_master": (),
        "fleet.deploy": (),
        "fleet.plan": (*POOL, f"hosts={NAMES}"),
        "fleet.probe": (f"hosts={NAMES}", "through=True", f"timeout={NUMBER}"),
        "fleet.resolve": (f"application={NAME}", NAME),
        "fleet.scale": POOL,
        "join.plan": (),
        "maintenance.begin": (NAMES, f"minutes={NUMBER}", f"why={WORDS}"),
        "maintenance.end": (NAMES,),
        "state.orch": ORCHESTRATION,
        "state.orchestrate": ORCHESTRATION,
    },
}
"""The further commands of `operate`: applies and orchestrations."""


def allowed() -> list[dict[str, Any]]:
    """Return the commands of each rank but `all`, as plain data."""
    ranks = {"look": (LOOK,), "operate": (LOOK, OPERATE)}
    return [
        {"rank": rank, "program": program, "function": function, "arguments": list(arguments)}
        for rank, found in ranks.items()
        for one in found
        for program, functions in one.items()
        for function, arguments in functions.items()
    ]
