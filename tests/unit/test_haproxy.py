"""The answers of HAProxy's runtime socket, parsed. The samples are HAProxy 2.6.12's, shortened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salina.balancer import haproxy

STAT = """\
# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight,check_status,check_duration,last_chk,
service,FRONTEND,,,2,3,4096,320,OPEN,,,,,
crm,s1,0,0,1,2,,107,UP,100,L7OK,21,OK,
crm,s2,0,0,0,2,,107,DRAIN,0,* L7OK,178,,
crm,s3,0,0,0,2,,106,DOWN,100,L4CON,0,Connection refused,
crm,BACKEND,0,0,1,3,410,320,UP,100,,,,

"""
STATE = """\
1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port
3 crm 1 s1 10.1.3.11 2 0 100 100 119 15 3 3 6 0 0 0 - 80
3 crm 2 s2 10.1.3.12 2 8 100 100 17 15 3 3 6 0 0 0 - 80
3 crm 3 s3 10.1.3.13 0 1 50 100 114 15 3 3 6 0 0 0 - 80

"""


def test_servers() -> None:
    one, two, three = haproxy.servers(STAT, STATE)
    assert one == haproxy.Server(
        backend="crm",
        name="s1",
        address="10.1.3.11",
        port=80,
        healthy=True,
        drained=False,
        maintenance=False,
        weight=100,
        sessions=1,
        requests=107,
        check="L7OK OK",
        response=21,
    )
    assert one.serving
    assert two.healthy and two.drained and not two.serving
    assert three.maintenance and not three.healthy and not three.serving
    assert (three.weight, three.check) == (50, "L4CON Connection refused")
    assert (two.response, three.response) == (178, None)  # what was refused at once is not fast


def test_app_hosts_are_told_once() -> None:
    """Not in the second backend of their application, nor what else HAProxy has on the host."""
    one = haproxy.servers(STAT, STATE)[0]
    others = [replace(one, backend=name) for name in ("crm.any", "shop", "shop.any", "database")]
    found = haproxy.app_hosts([one, *others])
    assert [server.backend for server in found] == ["crm", "shop"]


def test_a_server_of_weight_none_does_not_serve() -> None:
    state = STATE.replace("2 0 100 100", "2 0 0 100")
    assert not haproxy.servers(STAT, state)[0].serving


def test_statistics_leave_out_what_is_empty() -> None:
    frontend = haproxy.statistics(STAT)[0]
    assert frontend["pxname"] == "service" and frontend["stot"] == "320"
    assert "qcur" not in frontend


@pytest.mark.parametrize("text", ["", "Unknown command: 'show stat'.\n", "1\n"])
def test_what_it_is_not(text: str) -> None:
    with pytest.raises(ValueError, match="answered something unexpected to `show stat`"):
        haproxy.statistics(text)
    with pytest.raises(ValueError, match="answered something unexpected to `show servers state`"):
        haproxy.states(text)
