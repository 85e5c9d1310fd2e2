"""User data: cloud-init's modules, and the lab, do what the master writes (S10)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lab.errors import LabError
from lab.machines import keys
from lab.machines import userdata as lab_userdata
from salina_fleet.provision import userdata
from tests.conftest import REPOSITORY

CANARY = "-----BEGIN RSA PRIVATE KEY-----\ncanary\n-----END RSA PRIVATE KEY-----\n"
PUBLIC = "-----BEGIN PUBLIC KEY-----\nminion\n-----END PUBLIC KEY-----"
MASTER = "-----BEGIN PUBLIC KEY-----\nmaster\n-----END PUBLIC KEY-----\n"
TEXT = userdata.render("s9", "10.1.5.2", CANARY, PUBLIC, MASTER)


def changed(path: str, value: Any = None) -> str:
    """The user data with another value at a path; without the key when there is none."""
    data = yaml.safe_load(TEXT)
    place = data
    *above, last = path.split(".")
    for key in above:
        place = place[int(key) if key.isdigit() else key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return "#cloud-config\n" + yaml.safe_dump(data)


def test_s10_the_form_is_cloud_inits() -> None:
    """Keys of cc_write_files and cc_salt_minion, as cloud-init documents them."""
    assert TEXT.startswith("#cloud-config\n")
    assert yaml.safe_load(TEXT) == {
        "hostname": "s9",
        "write_files": [
            {
                "path": "/etc/salt/pki/minion/minion_master.pub",
                "permissions": "0644",
                "content": MASTER,
            },
            {
                "path": "/etc/salt/pki/minion/minion.pem",
                "permissions": "0400",
                "content": CANARY,
            },
            {
                "path": "/etc/salt/pki/minion/minion.pub",
                "permissions": "0644",
                "content": PUBLIC,
            },
        ],
        "salt_minion": {
            "conf": {"master": "10.1.5.2", "id": "s9"},
            "pki_dir": "/etc/salt/pki/minion",
        },
    }


def test_s10_the_operators_keys_for_cloud_init_stand_beside() -> None:
    """S10: For example the source of the package salt-minion. They replace none of the master's."""
    sources = {"sources": {"salt": {"source": "deb [signed-by=$KEY_FILE] …"}}}
    strange = {"apt": sources, "salt_minion": {"pkg_name": "other"}}
    text = userdata.render("s9", "10.1.5.2", CANARY, PUBLIC, MASTER, further=strange)
    found = yaml.safe_load(text)
    assert found.pop("apt") == sources
    assert found == yaml.safe_load(TEXT)


def test_s10_with_its_settings_a_minion_needs_no_restart() -> None:
    text = userdata.render("s9", "10.1.5.2", CANARY, PUBLIC, MASTER, "mine_enabled: False\n")
    assert yaml.safe_load(text)["write_files"][1] == {
        "path": "/etc/salt/minion.d/salina.conf",
        "permissions": "0644",
        "content": "mine_enabled: False\n",
    }


def test_s16_it_fits_into_every_cloud() -> None:
    """S16: AWS takes the least, 16 KiB; half of it is left for the operator's own keys."""
    pair, own = keys.generate(), keys.generate()
    settings = (REPOSITORY / userdata.SETTINGS_SOURCE).read_text()
    text = userdata.render("s9", "10.1.5.2", pair.private, pair.public, own.public, settings)
    assert len(text.encode()) < 8 * 1024


def test_keys_are_legible() -> None:
    assert "content: |\n    -----BEGIN RSA PRIVATE KEY-----\n    canary\n" in TEXT


def test_s10_what_the_lab_makes_of_it() -> None:
    found = lab_userdata.parse(TEXT, "s9")
    assert found.pair == keys.Pair(CANARY, PUBLIC)
    contents = {path: file.content for path, file in found.files.items() if file.link is None}
    assert contents == {
        "etc/salt/minion": "master: 10.1.5.2\nid: s9\n",
        "etc/salt/pki/minion/minion.pem": CANARY,
        "etc/salt/pki/minion/minion.pub": PUBLIC,
        "etc/salt/pki/minion/minion_master.pub": MASTER,
    }
    assert found.files["etc/salt/pki/minion/minion.pem"].mode == 0o400
    assert found.files["etc/salt/pki/minion/minion_master.pub"].mode == 0o644
    (unit,) = (file.link for file in found.files.values() if file.link)
    assert unit == "/etc/systemd/system/salt-minion.service"


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)


@given(texts, texts, texts, texts, texts)
def test_whatever_is_written_is_read(
    minion: str, master: str, private: str, public: str, own: str
) -> None:
    """No id, address or key, be it as strange as it will, changes the document's form."""
    text = userdata.render(minion, master, private, public, own)
    found = yaml.safe_load(text)
    assert found["salt_minion"]["conf"] == {"master": master, "id": minion}
    assert [one["content"] for one in found["write_files"]] == [own, private, public]
    assert lab_userdata.parse(text, minion).pair == keys.Pair(private, public)


WRONG = {
    "no header": (TEXT.partition("\n")[2], "line 1: must be #cloud-config"),
    "no mapping": ("#cloud-config\n[]", "the document: must be a mapping"),
    "no YAML": ("#cloud-config\n{", "the file is not YAML"),
    "nothing": ("", "the document: must be a mapping"),
    "another module": (
        changed("packages", ["vim"]),
        "packages: unknown key; choose one of: hostname, write_files, salt_minion",
    ),
    "no minion": (changed("salt_minion"), "salt_minion: must be a mapping"),
    "more of it": (
        changed("salt_minion.grains", {"a": 1}),
        "salt_minion.grains: unknown key; choose one of: conf,",
    ),
    "another's": (changed("salt_minion.conf.id", "s8"), "salt_minion.conf.id: must be s9"),
    "another name": (changed("hostname", "s8"), "hostname: must be s9"),
    "no master": (changed("salt_minion.conf.master"), "salt_minion.conf.master: must be text"),
    "no key": (
        changed("write_files.1.path", "/etc/other"),
        "write_files: must have /etc/salt/pki/minion/minion.pem",
    ),
    "key is no text": (
        changed("write_files.1.content", [CANARY]),
        "write_files[1].content: must be text",
    ),
    "key in its parent's place": (changed("salt_minion", CANARY), "salt_minion: must be a mapping"),
    "out of the host": (
        changed("salt_minion.pki_dir", "/etc/../../root"),
        "salt_minion.pki_dir: must be an absolute path",
    ),
    "files are none": (changed("write_files", CANARY), "write_files: must be a list"),
    "file is none": (changed("write_files", [CANARY]), "write_files[0]: must be a mapping"),
    "relative": (
        changed("write_files.0.path", "etc/passwd"),
        "write_files[0].path: must be an absolute path",
    ),
    "mode is a number": (
        changed("write_files.0.permissions", 420),
        "write_files[0].permissions: must be an octal mode as text, for example '0644'",
    ),
    "encoded": (
        changed("write_files.0.encoding", "b64"),
        "write_files[0].encoding: unknown key; choose one of: path, permissions, content",
    ),
}


@pytest.mark.parametrize(("text", "fault"), WRONG.values(), ids=WRONG.keys())
def test_wrong(text: str, fault: str) -> None:
    """The lab refuses unknown user data; the message has the place, never the key."""
    with pytest.raises(LabError) as caught:
        lab_userdata.parse(text, "s9")
    assert fault in str(caught.value)
    assert "canary" not in str(caught.value)


def test_all_faults_together() -> None:
    with pytest.raises(LabError, match=r"2 faults\n  line 1: .*\n  packages: "):
        lab_userdata.parse(changed("packages", []).replace("#cloud-config\n", ""), "s9")


@given(st.text() | st.text().map("#cloud-config\n{}".format))
def test_any_text(text: str) -> None:
    with pytest.raises(LabError):
        lab_userdata.parse(text, "s9")


def test_a_key_is_not_in_what_is_printed_of_a_pair() -> None:
    """K4: Printing a pair of keys does not show the private key."""
    assert "canary" not in repr(lab_userdata.parse(TEXT, "s9").pair)
