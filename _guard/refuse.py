"""Refuse requests in another minion's name, and floods of events.

Salt 3008 checks who sends a request, but then lets the sender name another host inside of it: in a
`_syndic_return`, in the `resource_id` of a `_return`, and in the tag and the data of an event. It
also handles a request whose encryption has an unknown name as if it had checked the sender. No
option of Salt closes these ways, so this module wraps the one method of a worker through which
every request passes (docs/decisions/0039-the-master-refuses-forged-requests.md).

Salt loads it as a log handler (master.d/20-security.conf), because the master sets up its log
before it starts any worker. A master that cannot set up the refusals does not start.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

log = logging.getLogger(__name__)

EVENTS, PERIOD = 10, 60.0
"""Events that each worker of the master passes on for one minion, in so many seconds."""
OWN_TAG = r"salt/(minion|beacon)/{}/.+|_salt_error"
"""The tags that a minion may use: they name it."""
CHECK = "it asks whether the master refuses it"
"""The request of `salina_fleet.guard`."""
NOBODY = "somebody without a key"
FLOOD = f"more than {EVENTS} events in {PERIOD:.0f} s"


def __virtual__() -> bool:
    """Load this in the daemon only, not in `salt` or `salt-run`, which read the same options."""
    return "salt.cli.daemons" in sys.modules


def setup_handlers() -> bool:
    """Wrap the method, and tell Salt that there is no log handler."""
    from salt.master import MWorker

    inner = MWorker._handle_payload_inner
    gate = Gate()

    @functools.wraps(inner)
    async def guarded(self: Any, payload: Any) -> Any:
        if gate.refuses(payload, time.monotonic()):
            return False, {"fun": "send" if payload.get("enc") == "aes" else "send_clear"}
        return await inner(self, payload)

    MWorker._handle_payload_inner = guarded
    return False


class Gate:
    """The refusals of a worker: it counts the events of each minion, and logs each fault once."""

    def __init__(self) -> None:
        self._events: dict[str, tuple[float, int]] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def refuses(self, payload: Mapping[str, Any], now: float) -> bool:
        """Tell whether a request is refused, and log why.

        Args:
            payload: the request. Salt has compared its id with its key if it is of type `aes`.
            now: the time in seconds.
        """
        if payload.get("cmd") == "_auth":  # Salt only counts it here, for its statistics
            return False
        found, sender = fault(payload), _sender(payload)
        load = payload["load"]
        if not found and payload["enc"] == "aes" and load["cmd"] == "_minion_event":
            count = len(load["events"]) if "events" in load else 1
            since, before = self._events.get(sender, (now, 0))
            if now - since >= PERIOD:
                since, before = now, 0
            self._events[sender] = (since, before + count)
            found = FLOOD if before + count > EVENTS else ""
        if found:
            self._tell(sender, found, now)
        return bool(found)

    def _tell(self, sender: str, found: str, now: float) -> None:
        """Log a fault, and repeat it at most once in the period, with the number since then."""
        last, more = self._told.get((sender, found), (-PERIOD, 0))
        if now - last < PERIOD:
            self._told[sender, found] = (last, more + 1)
            return
        self._told[sender, found] = (now, 0)
        again = f" ({more} more since the last message)" if more else ""
        level = logging.DEBUG if found == CHECK else logging.WARNING
        log.log(level, "Refused a request of %s: %s%s", sender, found, again)


def _sender(payload: Mapping[str, Any]) -> str:
    """Return the id that Salt has authenticated, or a word for a sender without one."""
    load = payload["load"]
    known = payload.get("enc") == "aes" and isinstance(load, dict)
    return str(load.get("id", NOBODY)) if known else NOBODY


def fault(payload: Mapping[str, Any]) -> str:
    """Return why a request must be refused, or "".

    Args:
        payload: the request, as for `Gate.refuses`.
    """
    kind, load = payload.get("enc"), payload.get("load")
    if kind == "clear":  # from the master's own commands, with the master's key
        return ""
    if kind != "aes":
        return "its sender is not authenticated" if load else CHECK
    if not isinstance(load, dict) or not isinstance(load.get("id"), str) or "cmd" not in load:
        return "it has no id or no command"
    command = load["cmd"]
    if command == "_syndic_return":
        return "it returns jobs as a syndic, and this master has none"
    if command == "_return" and "resource_id" in load:
        return "it returns a job in the name of a resource"
    if command == "_register_resources" and load.get("resources"):
        return "it registers resources, and this fleet has none"
    if command == "_minion_event":
        return next(_event_faults(load), "")
    return ""


def _event_faults(load: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the events of a request."""
    own = load["id"]
    if load.get("pretag") is not None:
        yield "it forwards events as a syndic, and this master has none"
    events = load.get("events", [load])
    if not isinstance(events, list):
        yield "its events are not a list"
        return
    tag = re.compile(OWN_TAG.format(re.escape(own)))
    for event in events:
        if not isinstance(event, dict) or not tag.fullmatch(str(event.get("tag"))):
            yield "it fires an event whose tag does not name the sender"
            return
        data = event.get("data", event)
        if isinstance(data, dict) and data.get("id", own) != own:
            yield "it fires an event whose data names another host"
        if isinstance(data, dict) and "minions" in data:
            yield "it fires an event that tells who gets a job"
