"""Whether the master refuses what names another host than its sender (_guard/refuse.py).

A change trusts the answers of hosts: that a balancer has drained a host, or that a database host is
the leader. These answers come as returns of Salt's jobs, so a change asks first whether anybody
could forge them.
"""

from __future__ import annotations

from typing import Any

import salt.payload
import zmq
from salt.utils.network import ip_bracket

from salina_fleet.errors import RunnerError

ANSWER_SECONDS = 60
CHECK = {"enc": "none", "version": 3, "id": "", "load": {}}
"""A request of nobody for nothing. The guard answers False; Salt itself answers anything else."""


def ensure(opts: dict[str, Any]) -> None:
    """Make sure that the running master refuses forged requests.

    Args:
        opts: the master's options.

    Raises:
        RunnerError: it does not, or it does not answer.
    """
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.ipv6 = bool(opts.get("ipv6"))
        socket.connect(f"tcp://{ip_bracket(opts['interface'])}:{opts['ret_port']}")
        socket.send(salt.payload.dumps(CHECK))
        if not socket.poll(ANSWER_SECONDS * 1000):
            raise RunnerError(
                f"the master does not answer its own request within {ANSWER_SECONDS} s"
                "\nnext: systemctl status salt-master"
            )
        answer = salt.payload.loads(socket.recv())
    if answer is not False:
        raise RunnerError(
            "the running master would accept forged returns, so it cannot know whether a host is "
            "drained; link master.d/20-security.conf into /etc/salt/master.d"
            "\nnext: systemctl restart salt-master"
        )
