"""The wheels of a lock: just these, and compiled for the Python that uses them."""

from pathlib import Path

import pytest

from lab.errors import LabError
from lab.mirror import wheels

OTHER = "3.9"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("zope.event-4.6-py2.py3-none-any.whl", ("zope-event", "4.6")),
        ("psycopg2_binary-2.9.9-cp39-cp39-manylinux_2_17_x86_64.whl", ("psycopg2-binary", "2.9.9")),
        ("PyPDF2-1.26.0-py3-none-any.whl", ("pypdf2", "1.26.0")),
        ("python-stdnum-1.16", ("python-stdnum", "1.16")),
        ("odoo14_addon_session_db-14.0.1.0.2-py3-none-any.whl",
         ("odoo14-addon-session-db", "14.0.1.0.2")),
    ],
)  # fmt: skip
def test_key_of_a_wheel_equals_that_of_its_line_in_a_lock(name: str, key: tuple[str, str]) -> None:
    assert wheels.wheel_key(name) == key


class Pip:
    """Stands for pip: writes the files it is told to, and keeps the requirements it was given."""

    def __init__(self, downloads: dict[str, str], built: dict[str, str]) -> None:
        self.downloads, self.built = downloads, built
        self.asked: list[str] = []

    def __call__(self, argv) -> None:
        words = [str(word) for word in argv]
        target = Path(words[1 + next(i for i, w in enumerate(words) if w.endswith("-dir")
                                     or w == "--dest")])  # fmt: skip
        known = {**self.downloads, **self.built}
        for word in words:
            name = Path(word).name
            if name in known:
                self.asked.append(name)
                (target / known[name]).write_text("")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "odoo.txt"
    path.write_text("six==1.17.0\ndocopt==0.6.2\n")
    return path


def house(tmp_path: Path, lock: Path, pip: Pip, monkeypatch, python: str = OTHER) -> set[str]:
    monkeypatch.setattr(wheels, "run", pip)
    directory = wheels.wheelhouse(tmp_path / "house", lock, python)
    return {file.name for file in directory.iterdir()}


def test_sources_become_wheels(tmp_path: Path, lock: Path, monkeypatch) -> None:
    pip = Pip(
        {"six==1.17.0": "six-1.17.0-py3-none-any.whl", "docopt==0.6.2": "docopt-0.6.2.tar.gz"},
        {"docopt-0.6.2.tar.gz": "docopt-0.6.2-py3-none-any.whl"},
    )
    expected = {"six-1.17.0-py3-none-any.whl", "docopt-0.6.2-py3-none-any.whl"}
    assert house(tmp_path, lock, pip, monkeypatch) == expected
    assert pip.asked == ["six==1.17.0", "docopt==0.6.2", "docopt-0.6.2.tar.gz"]

    pip.asked.clear()
    lock.write_text("six==1.17.0\n")
    assert house(tmp_path, lock, pip, monkeypatch) == {"six-1.17.0-py3-none-any.whl"}
    assert pip.asked == []


def test_source_of_a_killed_download_is_fetched_again(
    tmp_path: Path, lock: Path, monkeypatch
) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house/docopt-0.6.2.tar.gz").write_text("half of it")
    lock.write_text("docopt==0.6.2\n")
    pip = Pip(
        {"docopt==0.6.2": "docopt-0.6.2.tar.gz"},
        {"docopt-0.6.2.tar.gz": "docopt-0.6.2-py3-none-any.whl"},
    )
    assert house(tmp_path, lock, pip, monkeypatch) == {"docopt-0.6.2-py3-none-any.whl"}


def test_compiled_code_for_another_python_is_refused(
    tmp_path: Path, lock: Path, monkeypatch
) -> None:
    lock.write_text("timelib==0.3.0\n")
    pip = Pip(
        {"timelib==0.3.0": "timelib-0.3.0.tar.gz"},
        {"timelib-0.3.0.tar.gz": "timelib-0.3.0-cp311-cp311-linux_x86_64.whl"},
    )
    with pytest.raises(LabError, match=r"timelib-0\.3\.0\.tar\.gz has compiled code"):
        house(tmp_path, lock, pip, monkeypatch)


def test_own_python_builds_directly(tmp_path: Path, lock: Path, monkeypatch) -> None:
    lock.write_text("timelib==0.3.0\n")
    pip = Pip({"timelib==0.3.0": "timelib-0.3.0-cp311-cp311-linux_x86_64.whl"}, {})
    found = house(tmp_path, lock, pip, monkeypatch, python=wheels.THIS_PYTHON)
    assert found == {"timelib-0.3.0-cp311-cp311-linux_x86_64.whl"}
