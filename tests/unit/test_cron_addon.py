"""Scheduled jobs of Odoo have a time limit of their own (O2).

Odoo is only pretended: its workers have what the addon uses of them. The limits are the kernel's.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from tests import fleets
from tests.conftest import REPOSITORY
from tests.render.minion import Minion

SALT = REPOSITORY / "salt"
ADDON = SALT / "odoo/files/addons/salina_cron"
REQUEST = 60


class Worker:
    """A worker of Odoo 14: it limits the processor time of its next unit of work."""

    pid = 7

    def check_limits(self) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime + REQUEST)
        resource.setrlimit(resource.RLIMIT_CPU, (end, resource.getrlimit(resource.RLIMIT_CPU)[1]))

    def signal_time_expired_handler(self, number: int, stack: object) -> None:
        raise AssertionError("the log would name the limit of requests")


class Cron14(Worker):
    """The worker for scheduled jobs of Odoo 14."""


class Cron17(Worker):
    """That of Odoo 17 and later, which also limits its own age."""

    checked = 0

    def check_limits(self) -> None:
        super().check_limits()
        self.checked += 1


Load = Callable[..., None]


@pytest.fixture
def limited() -> Iterator[None]:
    """Restore the limit of this process, and the classes."""
    before = resource.getrlimit(resource.RLIMIT_CPU)
    kept = [(kind, dict(vars(kind))) for kind in (Cron14, Cron17)]
    yield
    resource.setrlimit(resource.RLIMIT_CPU, before)
    for kind, names in kept:
        for name in ("check_limits", "signal_time_expired_handler"):
            if name in names:
                setattr(kind, name, names[name])
            elif name in vars(kind):
                delattr(kind, name)


def load(monkeypatch: pytest.MonkeyPatch, worker: type, seconds: str | None = "600") -> None:
    """Load the addon into an Odoo that has this worker for scheduled jobs."""
    for name in ("odoo", "odoo.service", "odoo.service.server"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    vars(sys.modules["odoo.service.server"])["WorkerCron"] = worker
    monkeypatch.delenv("SALINA_CRON_CPU", raising=False)
    if seconds:
        monkeypatch.setenv("SALINA_CRON_CPU", seconds)
    spec = importlib.util.spec_from_file_location("limit", ADDON / "limit.py")
    assert spec and spec.loader
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def left() -> float:
    """Return the seconds of processor time that this process may still use."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return resource.getrlimit(resource.RLIMIT_CPU)[0] - used.ru_utime - used.ru_stime


@pytest.mark.parametrize("worker", [Cron14, Cron17])
def test_o2_a_job_may_use_more_processor_time_than_a_request(
    monkeypatch: pytest.MonkeyPatch, limited: None, worker: type[Worker]
) -> None:
    """O2: Each unit of work has the whole time again. Requests keep their limit."""
    load(monkeypatch, worker)
    one = worker()
    one.check_limits()
    assert 590 < left() <= 600
    one.check_limits()
    assert 590 < left() <= 600
    assert vars(one) == ({"checked": 2} if worker is Cron17 else {})
    Worker().check_limits()
    assert REQUEST - 10 < left() <= REQUEST


def test_o2_a_job_that_takes_longer_ends_with_its_own_limit(
    monkeypatch: pytest.MonkeyPatch, limited: None, caplog: pytest.LogCaptureFixture
) -> None:
    """O2: The log has the limit that was reached."""
    load(monkeypatch, Cron14)
    caplog.set_level("INFO")
    with pytest.raises(Exception, match="CPU time limit exceeded"):
        Cron14().signal_time_expired_handler(24, None)
    assert "Worker (7) CPU time limit of jobs (600) reached." in caplog.text


def test_without_a_limit_odoo_keeps_its_own(monkeypatch: pytest.MonkeyPatch, limited: None) -> None:
    """Outside the service, for example in a one-time step, the addon does nothing."""
    load(monkeypatch, Cron14, None)
    assert not {"check_limits", "signal_time_expired_handler"} & vars(Cron14).keys()


def test_k5_an_odoo_with_other_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """K5: Odoo logs the error, and jobs keep the limit of requests."""
    with pytest.raises(ImportError, match="has no check_limits, so jobs keep limit_time_cpu"):
        load(monkeypatch, object)


def test_o2_the_limit_comes_from_the_settings() -> None:
    """O2: odoo.conf has the real time, which Odoo itself limits, and the environment the other."""
    pillar: dict[str, Any] = fleets.pillar("s1")
    assert pillar["app"]["settings"]["limit_time_cron_cpu"] == 600
    text = (SALT / "odoo/files/environment").read_text()
    assert 'SALINA_CRON_CPU="{{ pillar.app.settings.limit_time_cron_cpu }}"' in text
    names = {chunk["name"] for chunk in Minion("s1", pillar).chunks}
    code = (SALT / "odoo/code.jinja").read_text()
    for file in ADDON.glob("*.py"):
        assert f"/opt/odoo/addons/salina_cron/{file.name}" in names
        restarts = f"'/opt/odoo/addons/salina_cron/{file.name}'" in code
        assert restarts is (file.name != "__manifest__.py")
