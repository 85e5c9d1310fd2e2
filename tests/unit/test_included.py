"""Requirements that include other files: what pip would read is read before pip runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from lab.errors import LabError
from lab.mirror import build, repositories
from lab.mirror.repositories import Copy
from salina.common import included
from tests.loading import load

FILES = {
    "requirements.txt": "-r base.txt\nlxml\n",
    "base.txt": "six==1.17.0\n--requirement=more/web.txt  # for the page\n",
    "more/web.txt": "werkzeug\n-r own.txt",
    "more/own.txt": "jinja2",
    "loop.txt": "-r more/loop.txt\n",
    "more/loop.txt": "-r ../loop.txt\n",
}


def whole(text: str) -> str:
    """Return the whole text of requirements beside FILES."""
    return included.whole("requirements.txt", text, FILES.get)


def test_the_lines_of_included_files_take_their_place() -> None:
    """K5: Names are read from the directory of the file that has them, as pip does."""
    assert whole(FILES["requirements.txt"]) == "six==1.17.0\nwerkzeug\njinja2\nlxml\n"


@pytest.mark.parametrize("option", ["-r base.txt", "-rbase.txt", " --requirement base.txt # x"])
def test_the_forms_of_the_option(option: str) -> None:
    assert whole(f"{option}\n").startswith("six==1.17.0\n")


@pytest.mark.parametrize(
    "text",
    [
        *("", "six", "six\n\n# -r base.txt\n", "six  # -r base.txt\n", "--require-hashes\nsix\n"),
        "rfc3986\nsix \\\n    --hash=sha256:0\n",
    ],
)
def test_a_text_that_includes_nothing_stays(text: str) -> None:
    """An environment that is built from it is not built again."""
    assert whole(text) == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "-c limits.txt",
            "requirements.txt, line 2: -c limits.txt: a file of constraints cannot be included; "
            "write its lines into odoo.python.constraints of the definition",
        ),
        (
            "-r missing.txt",
            "requirements.txt, line 2: -r missing.txt: the code has no such file; correct the name",
        ),
        *(
            (
                f"-r {name}",
                f"requirements.txt, line 2: -r {name} cannot be included; name a file in the same "
                "directory or below it",
            )
            for name in ("../base.txt", "/etc/shadow", "https://x.example/base.txt", "a/../../b")
        ),
        ("-r loop.txt", "more/loop.txt, line 1: -r ../loop.txt: the file includes itself; remove"),
        ("-r requirements.txt", "requirements.txt, line 2: -r requirements.txt: the file includes"),
    ],
)
def test_k5_a_file_that_cannot_be_included(line: str, message: str) -> None:
    """K5: The file, the line, what was found, and what to do."""
    with pytest.raises(ValueError, match="line") as caught:
        whole(f"six\n{line}\n")
    assert str(caught.value).startswith(message)


def wanted(path: Path) -> dict[str, Any]:
    """Return what a host reads of a file of requirements."""
    module = load("_modules/python_environment.py", salt={})
    found: dict[str, Any] = module.wanted("python3", str(path), False, [])
    return found


def write(place: Path) -> Path:
    """Write FILES into the directory; return the first one."""
    for name, text in FILES.items():
        (place / name).parent.mkdir(exist_ok=True, parents=True)
        (place / name).write_text(text)
    return place / "requirements.txt"


def test_a_host_reads_what_is_included(tmp_path: Path) -> None:
    """X10: A change of an included file builds the environment again."""
    path = write(tmp_path)
    assert wanted(path)["requirements"] == ["six==1.17.0", "werkzeug", "jinja2", "lxml"]
    (tmp_path / "base.txt").write_text("six==1.16.0\n")
    assert wanted(path)["requirements"] == ["six==1.16.0", "lxml"]
    assert wanted(tmp_path / "nosuch.txt") == {}


def test_x8_code_reads_no_file_of_the_host(tmp_path: Path) -> None:
    """X8: The minion runs as root, and the lines would be in its record and in messages."""
    (tmp_path / "secret").write_text("password\n")
    path = write(tmp_path / "code")
    (tmp_path / "code/base.txt").unlink()
    (tmp_path / "code/base.txt").symlink_to(tmp_path / "secret")
    words = r"^requirements: requirements\.txt, line 1: -r base\.txt: the code has no such file"
    with pytest.raises(CommandExecutionError, match=words):
        wanted(path)


def test_x8_the_first_file_is_none_of_the_host_either(tmp_path: Path) -> None:
    """X8: It may be a link, too."""
    (tmp_path / "secret").write_text("password\n")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/requirements.txt").symlink_to(tmp_path / "secret")
    words = r"^requirements: .*/code/requirements\.txt is not a file, or is a link that leads out"
    with pytest.raises(CommandExecutionError, match=words):
        wanted(tmp_path / "code/requirements.txt")


def test_inclusions_are_bounded() -> None:
    """K5: Seventeen files that include the next one twice took 19 seconds."""
    files = {f"{number}.txt": 2 * f"-r {number + 1}.txt\n" for number in range(17)} | {"17.txt": ""}
    with pytest.raises(ValueError, match=r": more than 100 inclusions; include each file once$"):
        included.whole("0.txt", files["0.txt"], files.get)


def test_the_mirror_reads_what_is_included(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab has the packages of all files."""
    copy = Copy("https://git.example/crm.git", "refs/heads/main", "1" * 40)
    files = {f"deploy/{name}": text for name, text in FILES.items()}
    monkeypatch.setattr(repositories, "file", lambda store, copy, path: files.get(path))
    given: tuple[Any, ...] = ({"own": copy}, "own", "deploy/requirements.txt", "own.yaml: x")
    assert build.whole_text_of(*given) == "six==1.17.0\nwerkzeug\njinja2\nlxml\n"
    files["deploy/base.txt"] = "-c limits.txt\n"
    with pytest.raises(LabError, match=r"^own\.yaml: x: base\.txt, line 1: -c limits\.txt: a file"):
        build.whole_text_of(*given)
