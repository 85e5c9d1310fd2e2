"""Run on a host of the lab by its own Python: does a daemon take these files?

CASES, put in by the caller, is JSON: [{"files": {path: text}, "addresses": […], "empty": [paths],
"commands": [argv, …], "daemon": argv, "listens": [["127.0.0.1", 6432]]}, …]. Written is JSON: for
each case "" or what went wrong. Each one sees the files in their places and has its addresses; that
is so in namespaces of its own (mounts, network, processes): the host and its services see nothing.
"""

import ctypes
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import time

NEW_MOUNTS, NEW_NETWORK, NEW_PROCESSES = 0x00020000, 0x40000000, 0x20000000
OWN = "/mnt"  # a file system in memory of this case, in its view alone
PATIENCE = 20


class Refused(Exception):
    """A command failed, or the daemon ended or doesn't listen: what was said."""


def leave(namespaces):
    """Have namespaces of one's own; of processes only the next child is in them."""
    if ctypes.CDLL(None, use_errno=True).unshare(namespaces):
        raise OSError(ctypes.get_errno(), "unshare")


def run(*argv):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(argv)}: {done.stdout.strip() or done.returncode}")


def own(path, number):
    """Show an empty directory of this case in the place of one of the host."""
    place = f"{OWN}/{number}"
    os.mkdir(place)
    shutil.copystat(path, place)
    found = os.stat(path)
    os.chown(place, found.st_uid, found.st_gid)
    run("mount", "--bind", place, path)


def prepare(case):
    """The view of this case: a copy of /etc with its files, empty directories, addresses."""
    leave(NEW_MOUNTS | NEW_NETWORK)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", OWN)
    run("cp", "--archive", "/etc", f"{OWN}/etc")
    run("mount", "--bind", f"{OWN}/etc", "/etc")
    for number, path in enumerate(case["empty"]):
        own(path, number)
    for path, text in case["files"].items():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
    run("ip", "link", "set", "lo", "up")
    for address in case["addresses"]:
        run("ip", "address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))


def serve(argv, wanted):
    """Start a daemon, see it listen, and end it."""
    with open(f"{OWN}/said", "w+") as said:
        leave(NEW_PROCESSES)  # the daemon is the first in them: whatever it starts ends with it
        process = subprocess.Popen(argv, stdout=said, stderr=subprocess.STDOUT)
        end = time.monotonic() + PATIENCE
        try:
            while missing := [where for where in wanted if not answers(*where)]:
                if process.poll() is not None or time.monotonic() > end:
                    said.seek(0)
                    last = "".join(said.readlines()[-10:])
                    state = f"ended with {process.returncode}" if process.poll() else "runs"
                    raise Refused(f"{argv[0]} {state}, nothing listens on {missing}: {last}")
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()


def answers(address, port):
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def trial(case):
    try:
        prepare(case)
        for argv in case["commands"]:
            run(*argv)
        if case["daemon"]:
            serve(case["daemon"], case["listens"])
    except Refused as refused:
        return str(refused)
    return ""


# a process for each case, since none gets back to the host's view
with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
    told = pool.map(trial, json.loads(CASES), chunksize=1)  # noqa: F821
print(json.dumps(told))  # with no process left that would write it once more when it ends
