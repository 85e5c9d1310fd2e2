"""An object store for tests: moto's S3 server, which checks signatures and the rights of a login.

It comes from PyPI into an environment of its own, because the project needs it for one test only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salina.common import wait
from tests.authority import Authority

PACKAGES = ("moto[s3]==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
BUCKET, REGION = "backups", "eu-central-1"
RIGHTS = ("ListBucket", "GetObject", "PutObject", "DeleteObject")
"""All that docs/operations.md gives the login."""
FREE = 8
"""The questions of SET_UP, which need no login yet. Each later one must be signed and permitted."""
SET_UP = """
import boto3, json, sys
asked = json.load(sys.stdin)
place = {"endpoint_url": asked["url"], "region_name": asked["region"]}
s3, iam = (boto3.client(one, **place) for one in ("s3", "iam"))
s3.create_bucket(
    Bucket=asked["bucket"], CreateBucketConfiguration={"LocationConstraint": asked["region"]}
)
s3.put_bucket_versioning(
    Bucket=asked["bucket"], VersioningConfiguration={"Status": "Enabled"}
)
keys = {}
for user, actions in (("salina", asked["rights"]), ("owner", ["*"])):
    iam.create_user(UserName=user)
    allowed = {"Effect": "Allow", "Action": [f"s3:{one}" for one in actions], "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=user, PolicyName="own", PolicyDocument=policy)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    keys[user] = [key["AccessKeyId"], key["SecretAccessKey"]]
print(json.dumps(keys))
"""
CALL = """
import boto3, botocore, json, sys
asked = json.load(sys.stdin)
s3 = boto3.client("s3", endpoint_url=asked["url"], region_name=asked["region"])
try:
    print(json.dumps(getattr(s3, asked["function"])(**asked["given"]), default=str))
except botocore.exceptions.ClientError as error:
    print(json.dumps({"refused": error.response["Error"]["Code"]}))
"""


@dataclass(frozen=True)
class Store:
    """A running store.

    `url`: where it answers. `keys`: user -> the id of its key, and the secret; `salina` has RIGHTS,
    and `owner` all.
    """

    url: str
    python: Path
    environment: dict[str, str]
    keys: dict[str, list[str]]

    @property
    def secret(self) -> str:
        """Return the login as the file for `secrets.second` has it."""
        return "\n".join(self.keys["salina"])

    def call(self, user: str, function: str, **given: Any) -> dict[str, Any]:
        """Call a function of boto3's S3 client as a user, for the bucket.

        Returns:
            Its answer, or `refused` with the reason.
        """
        identity, secret = self.keys[user]
        given = {"Bucket": BUCKET, **given}
        asked = {"url": self.url, "region": REGION, "function": function, "given": given}
        login = {"AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret}
        return dict(_ask(self.python, CALL, asked, self.environment | login))


@contextmanager
def running(folder: Path) -> Iterator[Store]:
    """Run a store on a free port of loopback.

    Args:
        folder: a directory for its environment, its certificate and its log.
    """
    environment = folder / "environment"
    python = environment / "bin/python"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    Authority(folder).issue("store", "localhost")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = ["--host=127.0.0.1", f"--port={port}"]
    given += [f"--ssl-cert={folder}/store.crt", f"--ssl-key={folder}/store.key"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [environment / "bin/moto_server", *given],
            env=os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": str(FREE)},
            stdout=log,
            stderr=log,
        )
    try:

        def closed() -> str:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError as error:
                return str(error)
            return ""

        wait.clear(closed, 60, "the object store", 0.1)
        url = f"https://localhost:{port}"
        own = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "AWS_CA_BUNDLE": f"{folder}/ca.crt"}
        nobody = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nobody"}
        asked = {"url": url, "region": REGION, "bucket": BUCKET, "rights": RIGHTS}
        yield Store(url, python, own, _ask(python, SET_UP, asked, own | nobody))
    finally:
        process.kill()
        process.wait()


def _ask(python: Path, program: str, asked: dict[str, Any], environment: dict[str, str]) -> Any:
    """Run a program that reads JSON and writes JSON."""
    done = subprocess.run(
        [python, "-c", program],
        input=json.dumps(asked),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
