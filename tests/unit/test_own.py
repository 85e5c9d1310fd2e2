"""The operator's own hosts, states and rules of the firewall, beside those of Salina (X7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from salina_fleet import health, policy, site
from salina_fleet.fleet import OWN, Fleet
from salina_fleet.map import groups
from salina_fleet.model import settings
from salina_fleet.model.firewall import EGRESS, FirewallSettings
from salina_fleet.model.settings import Settings, SettingsError
from salina_fleet.site import SiteError
from tests import fleets

HOST = "wiki"
RULES = """\
rules:
  - {host: wiki, network: front, ports: 8080, from: any, comment: the wiki}
  - {host: wiki, network: back, ports: 9100, from: 10.1.4.42, comment: numbers of the wiki}
egress:
  - {host: wiki, ports: 25, to: 192.0.2.25, comment: mail of the wiki}
"""


def loaded(root: Path, own: str, ours: str = "") -> Settings:
    """Return the settings of a repository with the operator's own file."""
    for name, text in (("local", own), ("settings", ours)):
        (root / "pillar" / name).mkdir(parents=True, exist_ok=True)
        (root / "pillar" / name / "firewall.yaml").write_text(text)
    return settings.load(root / "pillar/settings")


# Hosts


def test_a_host_without_a_role_has_what_every_host_has() -> None:
    """X7: Its firewall, its updates, its certificates, its health; and it is deployed last."""
    fleet = fleets.fleet("cloud")
    found = fleets.pillar(HOST, "cloud")
    assert found["host"]["roles"] == [] and found["host"]["application"] is None
    everyone = {(rule["comment"], rule["ports"]) for rule in found["ufw"]["rules"]}
    assert {("nagios: reports for monitoring", "8434")} <= everyone
    assert [one["names"] for one in found["hosts"]][:2] == [[HOST], ["salt"]]
    assert fleet.tiers()[-1] == (OWN, [HOST])
    checks = health.checks(fleet, fleet.hosts[HOST], {})
    assert {"system", "firewall", "certificates"} <= {one.name for one in checks}
    assert [one.title for one in groups.groups(fleet) if one.hosts[0].id == HOST] == ["own"]


def test_a_fleet_without_such_a_host_has_no_such_tier() -> None:
    assert OWN not in [name for name, _ in fleets.fleet().tiers()]


# Rules


def test_x7_own_rules_stand_beside_ours(tmp_path: Path) -> None:
    """X7: In ufw, in the other hosts' outgoing connections, and in the table of ports."""
    ours = "rules:\n  - {host: lb1, network: front, ports: 8404, comment: ours}\n"
    tuned = loaded(tmp_path, RULES, ours)
    fleet = Fleet(fleets.topology("cloud"), fleets.fleet("cloud").members, tuned)
    host = fleet.hosts[HOST]
    rules = {rule["comment"]: rule for rule in policy.rules(fleet, host)}
    assert rules["the wiki"]["from"] == "any" and rules["the wiki"]["to"] == "10.1.2.22"
    assert "ours" in [rule["comment"] for rule in policy.rules(fleet, fleet.hosts["lb1"])]
    nagios = policy.outgoing(fleet, fleet.hosts["nagios"])
    assert "wiki: numbers of the wiki" in [one["comment"] for one in nagios]
    assert "mail of the wiki" in [one["comment"] for one in policy.outgoing(fleet, host)]
    table = policy.markdown(fleet)
    assert "| anybody | wiki | front (10.1.2.0/24) | 8080 | TCP | the wiki |" in table
    assert "| anywhere | 10.1.2.22 | 8080 | TCP | the wiki |" in policy.router(fleet)


def test_x7_own_rules_are_read_beside_settings_that_are_elsewhere(tmp_path: Path) -> None:
    """X7: A link in the place of the folder of the settings takes no rule away."""
    loaded(tmp_path, RULES)
    (tmp_path / "pillar/settings").rename(tmp_path / "elsewhere")
    (tmp_path / "pillar/settings").symlink_to(tmp_path / "elsewhere")
    assert settings.load(tmp_path / "pillar/settings")[FirewallSettings].added


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "rules: []\n"])
def test_x7_an_empty_file_adds_nothing(text: str, tmp_path: Path) -> None:
    found = loaded(tmp_path, text)[FirewallSettings]
    assert (found.added, found.egress) == ((), EGRESS)
    assert settings.load(tmp_path / "none") == Settings()


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ("rules: [\n", "line 2: the file is not YAML"),
        ("rules:\n  - {network: front, ports: 0}\n", "rules[0].ports: 0 is not valid"),
        ("logging: full\n", "logging: unknown key; choose one of: rules, egress"),
        ("egress: 5\n", "egress: 5 is not valid"),
    ],
)
def test_k5_a_fault_names_the_operators_own_file(own: str, fault: str, tmp_path: Path) -> None:
    """K5: So does a link to nothing, and nothing is changed anywhere."""
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, own)
    [found] = caught.value.faults
    assert found.startswith(f"../local/firewall.yaml: {fault}")
    assert site._located(found).startswith(f"pillar/local/firewall.yaml: {fault}")
    (tmp_path / "pillar/local/firewall.yaml").unlink()
    (tmp_path / "pillar/local/firewall.yaml").symlink_to(tmp_path / "nothing")
    with pytest.raises(SettingsError, match=r"local/firewall\.yaml"):
        settings.load(tmp_path / "pillar/settings")


@pytest.mark.parametrize(
    ("ours", "own", "fault"),
    [
        ("", "host: nobody", 'pillar/local/firewall.yaml: rules[0].host: "nobody" is not a host'),
        (
            "rules:\n  - {host: nobody, network: front, ports: 1}\n",
            "host: wiki",
            'pillar/settings/firewall.yaml: rules[0].host: "nobody" is not a host',
        ),
        (
            "rules:\n  - {host: lb1, network: front, ports: 1}\n",
            "host: s1",
            "pillar/local/firewall.yaml: rules[0].network: s1 has no address in the network front",
        ),
    ],
)
def test_k5_an_entry_is_numbered_in_its_own_file(
    ours: str, own: str, fault: str, tmp_path: Path
) -> None:
    """K5: The operator's first rule is number 0 of the own file, whatever stands before it."""
    tuned = loaded(tmp_path, f"rules:\n  - {{{own}, network: front, ports: 8080}}\n", ours)
    [found] = site._conflicts(fleets.topology("cloud"), tuned, {})
    assert found.startswith(fault)


def test_k5_the_master_reads_the_own_file(tmp_path: Path) -> None:
    """K5: A change of it is noticed, as one of any other file."""
    root, state = tmp_path / "repository", tmp_path / "state"
    fleets.record(state)
    for name in ("pillar", "salt", "_modules", "_states", "_utils"):
        (root / name).parent.mkdir(exist_ok=True)
        if name != "pillar":
            (root / name).symlink_to(fleets.REPOSITORY / name)
    (root / "pillar").mkdir()
    (root / "pillar/app").symlink_to(fleets.REPOSITORY / "pillar/app")
    (root / "pillar/settings").mkdir()
    (root / "pillar/topology.yaml").write_text(fleets.OTHERS["cloud"].read_text())
    assert site.read(root, state).fleet.settings[FirewallSettings].own_rules == 0
    (root / "pillar/local").mkdir()
    (root / "pillar/local/firewall.yaml").write_text(RULES)
    assert site.read(root, state).fleet.settings[FirewallSettings].own_rules == 2
    (root / "pillar/local/firewall.yaml").write_text("rules: 7\n")
    with pytest.raises(SiteError, match=r"pillar/local/firewall\.yaml: rules: 7 is not valid"):
        site.read(root, state)


# States


@pytest.mark.parametrize(
    ("states", "local"),
    [(["common", "roles"], []), (["common", "local", "local.wiki"], ["local"])],
)
def test_own_states_are_applied_if_there_are_any(states: list[str], local: list[str]) -> None:
    """K2: After all roles, and before the record of the apply."""
    text = (fleets.REPOSITORY / "salt/top.sls").read_text()
    known: Any = {"cp.list_states": lambda: states}
    top = yaml.safe_load(jinja2.Template(text).render(salt=known))
    assert top["base"]["*"] == ["common", "roles", *local, "applied"]


def test_git_ignores_what_belongs_to_the_operator() -> None:
    lines = (fleets.REPOSITORY / ".gitignore").read_text().splitlines()
    assert {"/salt/local", "/pillar/local"} <= {*lines}
