"""The states of a host's key and certificate, on a module that is only pretended."""

from __future__ import annotations

from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from tests.loading import failure, load


class Host:
    """The module's answers about a host's files; `made` has the requested actions."""

    def __init__(self, *faults: str, test: bool = False) -> None:
        self.faults = list(faults)
        self.groups = ["root", "ssl-cert"]
        self.has_key = True
        self.refusal = ""
        self.made: list[tuple[Any, ...]] = []
        salt = {
            "group.info": lambda group: {"gid": 1} if group in self.groups else {},
            "file.file_exists": lambda path: self.has_key,
            "certificate.key_faults": self.judge,
            "certificate.make_key": self.make,
            "certificate.faults": self.judge,
            "certificate.request": self.make,
        }
        self.states = load("_states/certificate.py", salt=salt, opts={"test": test})

    def judge(self, *_: Any) -> list[str]:
        if self.refusal:
            raise CommandExecutionError(self.refusal)
        return self.faults

    def make(self, *given: Any) -> str:
        if self.refusal:
            raise CommandExecutionError(self.refusal)
        self.made.append(given)
        return "0a1b"

    def key(self) -> dict[str, Any]:
        ret: dict[str, Any] = self.states.key_made("/host.key", "ssl-cert")
        return ret

    def certificate(self) -> dict[str, Any]:
        ret: dict[str, Any] = self.states.issued("/tls/etcd.crt", "etcd")
        return ret


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("what", ["key", "certificate"])
def test_what_is_good_stays(what: str, test: bool) -> None:
    """K1: The states leave a good key and certificate alone."""
    host = Host(test=test)
    ret = getattr(host, what)()
    assert (ret["result"], ret["changes"], host.made) == (True, {}, [])


@pytest.mark.parametrize("test", [False, True])
def test_a_key_is_made(test: bool) -> None:
    host = Host("the key is missing", test=test)
    host.has_key = False
    ret = host.key()
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {"key": {"old": "the key is missing", "new": "for root and ssl-cert"}}
    assert host.made == ([] if test else [("/host.key", "ssl-cert")])


@pytest.mark.parametrize("test", [False, True])
def test_other_rights_are_no_new_key(test: bool) -> None:
    """K3: So the prediction does not restart the services that read it."""
    fault = "its owner or mode is wrong"
    changes = Host(fault, test=test).key()["changes"]
    assert changes == {"mode": {"old": fault, "new": "for root and ssl-cert"}}


@pytest.mark.parametrize("test", [False, True])
def test_a_certificate_is_requested(test: bool) -> None:
    host = Host("it is for another key", "it expires on 2026-12-01", test=test)
    ret = host.certificate()
    assert ret["result"] is (None if test else True)
    assert ret["changes"] == {
        "certificate": {
            "old": "it is for another key; it expires on 2026-12-01",
            "new": "issued" if test else "serial 0a1b",
        }
    }
    assert host.made == ([] if test else [("etcd",)])


def test_a_bare_host_is_predicted() -> None:
    """K3: Neither the group nor the key exists yet, and the module cannot be asked."""
    host = Host(test=True)
    host.groups, host.has_key, host.refusal = [], False, "called"
    assert host.key()["changes"]["key"]["old"] == "group ssl-cert does not exist yet"
    assert host.certificate()["changes"]["certificate"]["old"] == "the key does not exist yet"


def test_a_refusal_is_told() -> None:
    """K5: The state reports the master's refusal."""
    host = Host("the key is missing")
    host.refusal = "group: ssl-cert does not exist on this host"
    assert failure(host.key()) == host.refusal
    host.refusal = "waited 60 s for a certificate from the master's CA: no answer"
    assert failure(host.certificate()) == host.refusal
