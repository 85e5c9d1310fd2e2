"""A page of the lab in headless Chromium: what a person sees there, and a picture of it.

The browser runs on this machine, in the network namespace of one of the lab's clients. So it passes
the firewall host like a client's. It needs Debian's packages `chromium` and `chromium-driver`.

CLI: python3 tools/chromium.py < QUESTION      prints what was seen, as JSON
QUESTION: the arguments of `drive` as JSON; one of them is a password, so none is on a command line
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = ("chromium", "chromium-driver")
PORT = 9515
START, ANSWER = 60.0, 120.0
"""Seconds until the driver listens, and for each of its answers, on a busy machine."""
SIZE = "1280,1500"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", f"--window-size={SIZE}"),
)


def pin(certificate: str) -> str:
    """Return the pin of a certificate's key, by which the browser knows it without its CA.

    Args:
        certificate: the certificate, in PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key.public_bytes(*form)).digest()).decode()


def ask(method: str, path: str, content: Any = None) -> Any:
    """Return the value of the driver's answer to a command (W3C WebDriver).

    Raises:
        OSError: there is no answer, or the command failed.
    """
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise OSError(json.load(error)["value"]["message"].splitlines()[0]) from None


@contextmanager
def session(key: str) -> Iterator[str]:
    """Start a browser with a new, empty profile, and return the path of its session.

    Args:
        key: the pin of the one certificate that it takes without knowing its CA.
    """
    driver = shutil.which("chromedriver") or "chromedriver"
    with tempfile.TemporaryDirectory(prefix="salina-chromium-") as place:
        options = {
            "binary": shutil.which("chromium"),
            "args": [
                *FLAGS,
                f"--user-data-dir={place}/profile",
                f"--ignore-certificate-errors-spki-list={key}",
            ],
        }
        process = subprocess.Popen(
            ["nice", driver, f"--port={PORT}", "--log-level=SEVERE"],
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "HOME": place, "LANG": "C.UTF-8"},
        )
        try:
            _listening(process)
            wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
            path = f"/session/{ask('POST', '/session', {'capabilities': wanted})['sessionId']}"
            try:
                yield path
            finally:
                ask("DELETE", path)
        finally:
            process.terminate()
            process.wait(30)


def _listening(process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START
    while True:
        try:
            ask("GET", "/status")
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


def drive(url: str, key: str, paths: list[str], user: str = "", password: str = "") -> list[Any]:
    """Open pages one after the other, and return what a person sees of each.

    Args:
        url: the address of the server: https://10.1.2.5.
        key: the pin of its certificate.
        paths: the pages.
        user: who logs in; "" for nobody.
        password: the user's password.

    Returns:
        For each page its `title`, its `text`, where the browser is then (`url`), and a `picture`
        (PNG in base64).
    """
    login = f"{user}:{password}@" if user else ""
    seen = []
    with session(key) as path:
        for place in paths:
            target = url.replace("://", f"://{login}", 1) + place
            try:
                ask("POST", f"{path}/url", {"url": target})
            except OSError as error:  # a page of the browser's own, about an error
                seen.append({"title": "", "text": str(error), "url": "", "picture": ""})
                continue
            script = {"script": "return document.body ? document.body.innerText : ''", "args": []}
            seen.append(
                {
                    "title": ask("GET", f"{path}/title"),
                    "text": ask("POST", f"{path}/execute/sync", script),
                    "url": str(ask("GET", f"{path}/url")).replace(login, "", 1),
                    "picture": ask("GET", f"{path}/screenshot"),
                }
            )
    return seen


def look(
    namespace: Path,
    url: str,
    certificate: str,
    paths: list[str],
    user: str = "",
    password: str = "",
) -> list[Any]:
    """Open pages in a browser within a network namespace, as `drive` does.

    Args:
        namespace: the file of the namespace.
        url: as in `drive`.
        certificate: the server's certificate, in PEM.
        paths: as in `drive`.
        user: as in `drive`.
        password: as in `drive`.

    Raises:
        RuntimeError: the browser does not start, or does not answer.
    """
    question = {"url": url, "key": pin(certificate), "paths": paths}
    argv = ["nsenter", f"--net={namespace}", "--", "nice", sys.executable, __file__]
    given = json.dumps({**question, "user": user, "password": password})
    done = subprocess.run(argv, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return list(json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(drive(**json.load(sys.stdin))))
