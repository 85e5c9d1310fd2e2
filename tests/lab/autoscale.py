"""The running lab's master, as it would be with autoscaling switched on: `salt-run -c FOLDER`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from salina.common import wait
from tests.lab.lab import execute, run, shell

FOLDER = "/run/salina-autoscale"
OWN = f"""
mkdir -p {FOLDER}/root/pillar/settings
cp -rL /etc/salt/master.d {FOLDER}
touch {FOLDER}/master
sed -i 's,root: /srv/salina,root: {FOLDER}/root,' {FOLDER}/master.d/10-pillar.conf
cd /srv/salina
ln -s $PWD/_modules $PWD/_states $PWD/_utils $PWD/fleet $PWD/salt {FOLDER}/root
cp -r pillar {FOLDER}/root
cat >{FOLDER}/root/pillar/settings/autoscale.yaml
"""
AWAY = f"rm -rf {FOLDER} /var/lib/salina/autoscale.json"


@contextmanager
def switched_on(**rule: Any) -> Iterator[None]:
    """Have a rule: settings of pillar/settings/autoscale.yaml."""
    shell("salt", AWAY)
    try:
        run("salt", "sh", "-euc", OWN, given=json.dumps({"enabled": True, **rule}))
        yield
    finally:
        shell("salt", AWAY)


def evaluate() -> dict[str, Any]:
    """Run the master's scheduled job once, and return what it saw and did."""
    command = ["salt-run", "-c", FOLDER, "--out=json", "autoscale.evaluate"]
    done = execute("salt", *command)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    return dict(json.loads(done.stdout))


def follows(count: int, seconds: float) -> None:
    """Wait until the pool has so many members, or rather has been made so."""
    seen: list[dict[str, Any]] = []

    def done() -> bool:
        seen.append(evaluate())
        return bool(seen[-1].get("members") == count)

    assert wait.until(done, seconds), seen


def stays(count: int, seconds: float) -> None:
    """See that the pool is left as it is for so long."""

    def changed() -> dict[str, Any] | None:
        found = evaluate()
        return None if found["members"] == found["wanted"] == count else found

    found = wait.until(changed, seconds)
    assert not found, found
