"""Packages start services, and restart none that takes turns (`/usr/sbin/policy-rc.d`)."""

from __future__ import annotations

import subprocess

import pytest

from tests.fleets import REPOSITORY

POLICY = REPOSITORY / "salt/common/files/policy-rc.d"
IN_TURNS = ("etcd", "glusterd", "haproxy", "keepalived", "nginx", "pgbouncer")
"""The services that a state restarts in the turn of its host, after an upgrade."""


def answer(*words: str) -> int:
    """Return 0 if a package may act, or 101."""
    return subprocess.run(["sh", POLICY, *words], timeout=30).returncode


@pytest.mark.parametrize("service", IN_TURNS)
def test_s12_a_package_does_not_restart_what_takes_turns(service: str) -> None:
    """S12: Neither `invoke-rc.d` nor `deb-systemd-invoke`, which name a service differently."""
    assert answer(service, "restart") == 101
    assert answer("--quiet", f"{service}.service", "try-restart") == 101
    assert answer(f"{service}.service", "reload") == 101


def test_a_package_starts_its_service_and_restarts_any_other() -> None:
    assert [answer(f"{service}.service", "start") for service in IN_TURNS] == [0] * len(IN_TURNS)
    assert answer("cron.service", "restart") == 0
