#!/usr/bin/python3 -I
# Managed by Salt (salt/operators).
"""The shell of the operators: it records a session while it runs, and ends without a record.

The record goes line by line to a socket of systemd, behind which a service of another user writes
it into the journal (salina-session@.service). So an operator can neither change it nor end it
without the session. The commands and what a terminal shows are recorded. Keys are not, because
passwords are among them. Without a terminal the input is recorded, because commands can be in it.

Both forms in which sshd and su start a shell are known: `session.py` and `session.py -c COMMAND`.
Nothing but Python's own library is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import IO, NoReturn

SOCKET = "/run/salina-sessions/{name}"
"""The socket of an operator's own, with the name of the account."""
SHELL = "/bin/bash"
SFTP = "/usr/lib/openssh/sftp-server"
SFTP_LOGS = ("-f", "AUTHPRIV", "-l", "INFO")
"""The server of file transfers names each file in the log itself; the content is not recorded."""
TOOLS = "/usr/local/lib/salina-operators/bin"
"""Where the master has the operators' `salt` and `salt-run`."""
CHUNK = 65_536
HANGUP = 128 + signal.SIGHUP
PR_SET_DUMPABLE = 4
"""The option of prctl(2). A command that is started gets its own value again."""
LONGEST = 4096
"""The most bytes of a line of the record. A longer one is split."""


class Record:
    """The record of a session, as lines that say which stream each of them belongs to."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._rest: dict[str, bytes] = {}

    def say(self, text: str) -> None:
        """Record a line about the session itself."""
        self._line("=", text.encode())

    def add(self, sign: str, content: bytes) -> None:
        """Record a part of a stream.

        Args:
            sign: the stream: `>` for what is shown, `!` for errors, `<` for the input.
            content: the part; its last line may continue in the next one.
        """
        with self._lock:
            *lines, rest = (self._rest.get(sign, b"") + content).split(b"\n")
            while len(rest) > LONGEST:
                lines.append(rest[:LONGEST])
                rest = rest[LONGEST:]
            self._rest[sign] = rest
            for line in lines:
                self._line(sign, line)

    def end(self) -> None:
        """Record the last lines, which have no end."""
        with self._lock:
            for sign, rest in self._rest.items():
                if rest:
                    self._line(sign, rest)
            self._rest.clear()

    def _line(self, sign: str, content: bytes) -> None:
        for at in range(0, max(len(content), 1), LONGEST):
            text = printable(content[at : at + LONGEST].rstrip(b"\r"))
            self._send(f"{sign} {text}\n".encode())


def printable(content: bytes) -> str:
    """Return bytes as text of one line that can be read in the journal."""
    text = content.decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def copy(source: int, target: int, record: Record, sign: str) -> None:
    """Copy a stream until its end, and record it before it is passed on.

    Args:
        source: the descriptor that is read.
        target: the one that is written.
        record: the record.
        sign: the stream in the record.
    """
    while True:
        try:
            content = os.read(source, CHUNK)
        except OSError:  # a terminal whose other side was closed
            return
        if not content:
            return
        record.add(sign, content)
        while content:
            content = content[os.write(target, content) :]


def terminal(argv: list[str], record: Record) -> int:
    """Run a shell in a new terminal, whose output is recorded; return its exit code."""
    pid, inner = os.forkpty()
    if not pid:
        os.execv(SHELL, argv)
    old = termios.tcgetattr(0)

    def resize(*_: object) -> None:
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(inner, termios.TIOCSWINSZ, size)

    signal.signal(signal.SIGWINCH, resize)
    resize()
    tty.setraw(0)
    try:
        threading.Thread(target=typed, args=(inner,), daemon=True).start()
        copy(inner, 1, record, ">")
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSADRAIN, old)
        os.close(inner)  # the shell gets SIGHUP, if it still runs
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def typed(inner: int) -> None:
    """Pass the keys on to a terminal. They are not recorded."""
    with contextlib.suppress(OSError):
        while content := os.read(0, CHUNK):
            os.write(inner, content)


def pipes(argv: list[str], record: Record) -> int:
    """Run a shell without a terminal, and record all its streams; return its exit code."""
    pipe = subprocess.PIPE
    child = subprocess.Popen(argv, executable=SHELL, stdin=pipe, stdout=pipe, stderr=pipe)
    assert child.stdin and child.stdout and child.stderr
    entry = child.stdin

    def given() -> None:
        with contextlib.suppress(OSError):
            copy(0, entry.fileno(), record, "<")
        entry.close()

    def shows(source: IO[bytes], target: int, sign: str) -> None:
        try:
            copy(source.fileno(), target, record, sign)
        except OSError:  # nobody reads any more
            os._exit(1)

    threading.Thread(target=given, daemon=True).start()
    shown = [
        threading.Thread(target=shows, args=one)
        for one in ((child.stdout, 1, ">"), (child.stderr, 2, "!"))
    ]
    for one in shown:
        one.start()
    for one in shown:
        one.join()
    return child.wait()


def main(arguments: list[str]) -> int:
    """Run a session and return its exit code.

    Args:
        arguments: nothing for a login, or `-c` and a command.
    """
    command = arguments[1] if arguments[:1] == ["-c"] and len(arguments) == 2 else None
    if arguments and command is None:
        print("salina-session: only -c COMMAND is known", file=sys.stderr)
        return 2
    # otherwise another process of the operator could write into the memory of this one (ptrace)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    name = pwd.getpwuid(os.getuid()).pw_name
    place = SOCKET.format(name=name)
    connection = socket.socket(socket.AF_UNIX)  # closed when the process ends
    try:
        connection.connect(place)
    except OSError as error:
        print(
            f"this session would not be recorded ({place}: {error.strerror}), so it ends; on this "
            f"host: systemctl start salina-session@{name}.socket",
            file=sys.stderr,
        )
        return 1

    def send(line: bytes) -> None:
        try:
            connection.sendall(line)
        except OSError:  # the service has ended, and so does the session
            os._exit(1)

    record = Record(send)
    signal.signal(signal.SIGHUP, left)
    where = (os.environ.get("SSH_CONNECTION", "").split() or ["this host"])[0]
    record.say(f"{name} from {where}: {command or 'a shell'}")
    os.environ["SHELL"] = SHELL
    os.environ["PATH"] = f"{TOOLS}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    if command == SFTP:
        os.execv(SFTP, [SFTP, *SFTP_LOGS])
    argv = ["-bash"] if command is None else ["bash", "-c", command]
    code = HANGUP
    try:
        code = terminal(argv, record) if os.isatty(0) and os.isatty(1) else pipes(argv, record)
    finally:
        record.end()
        record.say(f"{name} has left, exit code {code}")
    return code if code >= 0 else 128 - code


def left(*_: object) -> NoReturn:
    """End because the operator's connection has ended."""
    sys.exit(HANGUP)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
