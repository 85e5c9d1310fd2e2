"""Follow a change from within its process: show it, and keep its picture for other processes.

A thread listens to Salt's event bus and to the notes of the runners in this process. It prints to
standard error if an operator started the change, and writes the picture into the master's state
directory, where `fleet.watch` reads it. A change never fails because of its progress.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Event, Thread
from typing import Any

import salt.utils.event
from salt.exceptions import CommandExecutionError

from salina.common import file, reading
from salina_fleet.change import progress
from salina_fleet.change.progress import LATE, NOTE, Picture, Results, Steps
from salina_fleet.change.screen import HEARTBEAT, Screen

PICTURE = "progress.json"
DURATIONS = "durations.json"
STDERR = 2
TICK = 0.4
"""Seconds between two looks at the events and at the picture."""

log = logging.getLogger(__name__)


class Writer(Thread):
    """The thread that writes the picture: a busy disk may keep it waiting, but not the screen."""

    def __init__(self, state: Path) -> None:
        super().__init__(daemon=True, name="progress-writer")
        self.state = state
        self.latest = ""
        self.changed = Event()
        self.closed = False

    def run(self) -> None:
        """Write the latest picture each time it has changed, until `close`."""
        closed = False
        while not closed:
            self.changed.wait()
            self.changed.clear()
            closed = self.closed
            write(self.state, self.latest)

    def put(self, text: str) -> None:
        """Have a picture written soon."""
        self.latest = text
        self.changed.set()

    def close(self) -> None:
        """Have the last picture written, and end the thread."""
        self.closed = True
        self.changed.set()
        self.join(LATE)


class Follower(Thread):
    """The thread that follows the change of this process."""

    def __init__(self, opts: dict[str, Any], state: Path, picture: Picture, shown: bool) -> None:
        super().__init__(daemon=True, name="progress")
        self.opts = opts
        self.state = state
        self.picture = picture
        self.screen = Screen(STDERR) if shown else None
        self.notes: deque[tuple[str, dict[str, Any]]] = deque()
        self.listening = Event()
        self.stopped = Event()
        self.printed = 0
        self.written = 0.0
        before = read(state)
        other = before is not None and alive(before, picture.begun)
        self.writer = None if other else Writer(state)
        """Another change that is running keeps its picture."""

    def run(self) -> None:
        """Follow the change until `stop`."""
        try:
            with salt.utils.event.get_event(
                "master", sock_dir=self.opts["sock_dir"], opts=self.opts, listen=True
            ) as bus:
                bus.connect_pub()
                self.listening.set()
                while not self.stopped.is_set():
                    found = bus.get_event(wait=TICK, full=True, auto_reconnect=True)
                    if found:
                        self._see(found["tag"], found["data"])
                    self.show()
        except Exception as error:
            log.warning("the progress of the change is no longer shown: %s", error)
            self.listening.set()

    def show(self) -> None:
        """Show what is new, at most a heartbeat late, and write the picture."""
        while self.notes:
            self._see(*self.notes.popleft())
        now = time.time()
        lasting = self.picture.lines[self.printed :]
        self.printed += len(lasting)
        if not lasting and now - self.written < HEARTBEAT:
            return
        self.written = self.picture.at = now
        if self.screen:
            present = [] if self.picture.ended else self.picture.live(now)
            self.screen.show(lasting, present, now)
        if self.writer:
            self.writer.put(progress.dumps(self.picture))

    def stop(self) -> None:
        """End the thread."""
        self.stopped.set()
        self.join(5 * TICK)

    def _see(self, tag: str, data: dict[str, Any]) -> None:
        try:
            self.picture.see(tag, data, time.time())
        except (AttributeError, KeyError, TypeError, ValueError):
            log.debug("the event %s is malformed", tag, exc_info=True)


_follower: Follower | None = None
_returned: list[str] | None = None
"""The text of the end, for a runner that returns it instead of printing it."""


def begin(opts: dict[str, Any], state: Path, what: str, steps: Steps) -> None:
    """Follow the change that this process makes.

    If it is followed already, only the steps may be others: the change is planned again when it has
    taken the lock.

    Args:
        opts: the master's options.
        state: the master's state directory.
        what: the change in a few words.
        steps: the steps of the change.
    """
    global _follower
    earlier = progress.load_durations(_content(state / DURATIONS))
    if _follower:
        if _follower.picture.what == what:
            _follower.picture.steps = progress.planned(steps, earlier)
            return
        _follower.stop()
    picture = Picture.begin(what, steps, earlier, time.time(), os.getpid())
    shown = opts.get("__cli") == "salt-run"  # the reactor and the schedule have nobody to show it
    _follower = Follower(opts, state, picture, shown)
    if _follower.writer:
        _follower.writer.start()
    _follower.start()
    atexit.register(_follower.stop)
    _follower.listening.wait(5)


def note(hosts: Collection[str], state: str, done: bool = False) -> None:
    """Say what hosts are doing in the current step of the change that this process makes, if any.

    Args:
        hosts: ids.
        state: the state in a few words.
        done: whether the step does not wait for the hosts any more.
    """
    if _follower:
        _follower.notes.append((NOTE, {"hosts": list(hosts), "state": state, "done": done}))


def end(error: str, results: Results) -> None:
    """Show the end of the change, and record how long its steps took.

    Args:
        error: what failed; "" for a success.
        results: whether each step that was taken succeeded, and its seconds.
    """
    global _follower
    if not _follower:
        return
    ending, _follower = _follower, None
    ending.stop()
    ending.show()
    ending.picture.finish(error, results, time.time())
    ending.written = 0.0
    ending.show()
    if ending.writer:
        ending.writer.close()
    text = ending.picture.end
    if _returned is not None:
        _returned.append(text)
    elif ending.screen:
        ending.screen.show(text.splitlines(), [], time.time())
    if not error:
        record(ending.state, ending.picture)


def returned(change: Callable[[], str]) -> tuple[str, str]:
    """Make a change, and return the text of its end instead of printing it.

    Args:
        change: the function that makes the change, and returns what failed.

    Returns:
        What failed, and the text; "" for none.
    """
    global _returned
    texts: list[str] = []
    _returned = texts
    try:
        error = change()
        end(error, {})  # for an orchestration that failed before it could do so itself
    finally:
        _returned = None
    return error, "\n".join(texts)


def watch(state: Path, patience: float) -> str:
    """Show the change that another process makes, until its end.

    Args:
        state: the master's state directory.
        patience: seconds to wait for a change to begin.

    Returns:
        The text of the end.
    """
    limit, screen, printed = time.time() + patience, Screen(STDERR), 0
    picture = read(state)
    while picture is None or not alive(picture, time.time()):
        if time.time() >= limit:
            return "no change is running"
        time.sleep(TICK)
        picture = read(state)
    begun = picture.begun
    while True:
        now = time.time()
        lasting, printed = picture.lines[printed:], len(picture.lines)
        present = picture.live(now) if picture.ended is None else []
        screen.show(lasting, present, now)
        if picture.ended is not None:
            return picture.end
        if not alive(picture, now):
            screen.show([], [], now)
            return f"{picture.what}: stopped before its end; run the same command again"
        time.sleep(TICK)
        latest = read(state)
        if latest is None or latest.begun != begun:  # its process died, and another change began
            return f"{picture.what}: stopped before its end"
        picture = latest


def alive(picture: Picture, now: float) -> bool:
    """Tell whether the change of a picture is still running."""
    if picture.ended is not None or now - picture.at > LATE:
        return False
    try:
        os.kill(picture.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs as another user
    return True


def read(state: Path) -> Picture | None:
    """Return the picture of the last change that was followed, if it can be read."""
    return progress.loads(_content(state / PICTURE))


def write(state: Path, text: str) -> None:
    """Replace the picture in one step. It need not survive a power cut, so it is not synced."""
    aside = state / f".{PICTURE}.{os.getpid()}"
    try:
        aside.write_text(text)
        os.replace(aside, state / PICTURE)
    except OSError:
        log.debug("the progress of the change cannot be written", exc_info=True)
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def record(state: Path, picture: Picture) -> None:
    """Add the durations of a change's steps to those that the master keeps."""
    path = state / DURATIONS
    kept = picture.durations(progress.load_durations(_content(path)))
    try:
        file.put(path, json.dumps(kept))
    except CommandExecutionError as error:
        log.warning("the durations of the change are not recorded: %s", error)


def _content(path: Path) -> bytes:
    try:
        return reading.read(path)
    except OSError:
        return b""
