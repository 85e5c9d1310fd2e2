"""How an etcd member is configured and gets into its cluster."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from salina.common.https import host_port, identity
from salina.quorum import etcd
from salina.quorum.etcd import Join, Member

QUORUM: dict[str, Any] = {
    "name": "nas3",
    "address": "10.1.4.23",
    "members": [{"name": f"nas{n}", "address": f"10.1.4.2{n}"} for n in (1, 2, 3)],
    "token": "crm",
    "peer_name": "etcd-peer",
    "passwords": {"root": "canary-root", "patroni": "canary-patroni"},
    "keys": {"patroni": "/service/salina/"},
    "client_port": 2379,
    "peer_port": 2380,
    "heartbeat_interval": 100,
    "election_timeout": 1000,
}
SERVER, PEER = identity("etcd"), identity("etcd-peer")
OWN = "https://10.1.4.23:2380"
FIRST = Member("1", "nas1", ("https://10.1.4.21:2380",), True)
SECOND = Member("2", "nas2", ("https://10.1.4.22:2380",), True)


def test_no_cluster_is_founded_and_only_then() -> None:
    """S11: A host founds a cluster only when no cluster exists."""
    assert etcd.join(OWN, None) == Join("new")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ((), Join("existing", add=True)),
        ((Member("3", "", (OWN,), False),), Join("existing")),  # added, then interrupted
        ((Member("3", "nas3", (OWN,), False),), Join("existing")),  # founded by the others
        ((Member("3", "nas3", (OWN,), True),), Join("existing", remove="3", add=True)),  # lost data
    ],
)
def test_into_an_existing_cluster(own: tuple[Member, ...], expected: Join) -> None:
    """S11: A host joins an existing cluster as a member."""
    assert etcd.join(OWN, (FIRST, SECOND, *own)) == expected


def test_first_start_of_a_new_cluster_names_all_planned_members() -> None:
    assert etcd.join_environment(QUORUM, "new", ()) == {
        "ETCD_INITIAL_CLUSTER": "nas1=https://10.1.4.21:2380,nas2=https://10.1.4.22:2380,"
        "nas3=https://10.1.4.23:2380",
        "ETCD_INITIAL_CLUSTER_STATE": "new",
        "ETCD_INITIAL_CLUSTER_TOKEN": "crm",
    }


def test_first_start_in_an_existing_cluster_names_its_members_as_they_are() -> None:
    foreign = Member("9", "old", ("https://10.1.4.29:2380",), True)
    mine = Member("3", "", (OWN,), False)
    settings = etcd.join_environment(QUORUM, "existing", (FIRST, foreign, mine))
    assert settings["ETCD_INITIAL_CLUSTER"] == (
        "nas1=https://10.1.4.21:2380,old=https://10.1.4.29:2380,nas3=https://10.1.4.23:2380"
    )
    assert settings["ETCD_INITIAL_CLUSTER_STATE"] == "existing"


def test_members_are_read_from_the_gateway_s_answer() -> None:
    answer = {
        "header": {},
        "members": [
            {
                "ID": "10501334649042878790",
                "name": "nas1",
                "peerURLs": ["https://10.1.4.21:2380"],
                "clientURLs": ["https://10.1.4.21:2379"],
            },
            {"ID": "2", "peerURLs": [OWN]},
        ],
    }
    assert etcd.members(answer) == (
        Member("10501334649042878790", "nas1", ("https://10.1.4.21:2380",), True),
        Member("2", "", (OWN,), False),
    )


@pytest.mark.parametrize("answer", ["404 page not found", {}, {"members": None}, None])
def test_another_answer_is_an_error(answer: object) -> None:
    with pytest.raises(ValueError, match="is not a list of members"):
        etcd.members(answer)


def test_clients_and_peers_need_certificates_and_only_numbers_need_no_tls() -> None:
    """S6: etcd asks clients and peers for certificates. Its numbers are on loopback only."""
    settings = etcd.environment(QUORUM, SERVER, PEER, by_name=True)
    assert settings["ETCD_CLIENT_CERT_AUTH"] == settings["ETCD_PEER_CLIENT_CERT_AUTH"] == "true"
    urls = [value for key, value in settings.items() if key.endswith("_URLS")]
    urls.remove("http://127.0.0.1:2381")
    assert len(urls) == 4
    assert all(url.startswith("https://10.1.4.23:") for url in urls)


def test_x3_peers_are_known_by_name() -> None:
    """X3: A certificate of the fleet's CA is not enough for a peer: it must have the right name."""
    settings = etcd.environment(QUORUM, SERVER, PEER, by_name=True)
    assert settings["ETCD_PEER_CERT_ALLOWED_CN"] == "etcd-peer"
    assert settings["ETCD_CERT_FILE"] == "/etc/salina/tls/etcd.crt"
    assert settings["ETCD_PEER_CERT_FILE"] == "/etc/salina/tls/etcd-peer.crt"
    before = etcd.environment(QUORUM, SERVER, PEER, by_name=False)
    assert set(settings) - set(before) == {etcd.PEERS_BY_NAME}


def test_x3_a_role_has_the_keys_of_one_cluster() -> None:
    """X3: Patroni's right ends before the first key that does not begin with its own."""
    right = etcd.role_of("/service/salina/")
    first, end = (base64.b64decode(right[key]) for key in ("key", "range_end"))
    assert (first, end, right["permType"]) == (
        b"/service/salina/",
        b"/service/salina0",
        "READWRITE",
    )
    assert first <= b"/service/salina/leader" < end
    assert not first <= b"/service/salina2/leader" < end


def test_ipv6_addresses_get_brackets() -> None:
    quorum = QUORUM | {"address": "fd00:4::23", "members": [{"name": "q", "address": "fd00:4::23"}]}
    settings = etcd.environment(quorum, SERVER, PEER, by_name=True)
    assert settings["ETCD_LISTEN_CLIENT_URLS"] == "https://[fd00:4::23]:2379"
    cluster = etcd.join_environment(quorum, "new", ())["ETCD_INITIAL_CLUSTER"]
    assert cluster == "q=https://[fd00:4::23]:2380"
    assert host_port("10.1.4.23", 1) == "10.1.4.23:1"


def test_environment_file() -> None:
    assert etcd.environment_file({"A": "1", "B": "x=y"}) == 'A="1"\nB="x=y"\n'
