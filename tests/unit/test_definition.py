"""Application data files: the shipped ones load, and each fault is named with its path."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from salina.application import git
from salina_fleet.model import definition
from salina_fleet.model.definition import PATTERN_WORDS
from salina_fleet.schema import document
from tests import pcre
from tests.fleets import APPLICATIONS, REPOSITORY

FILE = (REPOSITORY / "pillar" / "app" / "odoo-14.0.yaml").read_bytes()
GOOD: dict[str, Any] = document.loads(FILE, "odoo-14.0.yaml")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good file with one value in another way; None takes it out."""
    data = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    table = data
    for key in parents:
        table = table[key]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return data


@pytest.mark.parametrize("name", APPLICATIONS)
def test_shipped_file(name: str) -> None:
    application = definition.load(REPOSITORY / "pillar" / "app" / f"{name}.yaml")
    assert definition.parse(application.to_dict()) == application


@pytest.mark.parametrize("version", ["17.0", "18.0", "19.0"])
def test_versions_differ_in_data_only(version: str) -> None:
    old, new = (
        definition.load(REPOSITORY / "pillar" / "app" / f"odoo-{one}.yaml").to_dict()
        for one in ("14.0", version)
    )
    assert (old["live"]["path"], new["live"]["path"]) == ("/longpolling", "/websocket")
    assert (old["odoo"]["names"], new["odoo"]["names"]) == ({"gevent_port": "longpolling_port"}, {})
    assert new["health"]["path"] == "/web/health"
    assert new["odoo"]["python"]["interpreter"] == "python3.11"
    assert new["odoo"]["python"]["release"] is None
    assert new["odoo"]["python"]["lock"] == f"odoo-{version}"
    assert {"session_db", "salina_retry"} <= set(new["odoo"]["server_wide_modules"])


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("kind", "odo", 'kind: "odo" is not a kind; choose one of: node, odoo'),
        ("kind", None, "kind: missing; must be one of node, odoo"),
        ("source", "x", 'source: "x" is not valid; must be a mapping'),
        (
            "source.revision",
            None,
            "source.revision: missing; must be a branch, a tag or a commit",
        ),
        (
            "source.revision",
            14.0,
            'source.revision: 14.0 is not text; quote it: "14.0"',
        ),
        (
            "source.revision",
            "--upload-pack=evil",
            'source.revision: "--upload-pack=evil" is not valid; must be a branch, a tag or a '
            "commit",
        ),
        (
            "source.repository",
            "ext::sh -c evil",
            'source.repository: "ext::sh -c evil" is not valid; must be a git URL: '
            "https://, ssh://, file:/// or USER@HOST:PATH",
        ),
        (
            "source.repository",
            "ssh://git@git.example:99999/r",
            'source.repository: "ssh://git@git.example:99999/r" is not a URL: Port out of range '
            "0-65535; correct it",
        ),
        (
            "source.repository",
            "ssh://git@[git.example/r",
            'source.repository: "ssh://git@[git.example/r" is not a URL: Invalid IPv6 URL; '
            "correct it",
        ),
        (
            "source.repository",
            "https://host:abc/r",
            'source.repository: "https://host:abc/r" is not a URL: Port could not be cast to '
            "integer value as 'abc'; correct it",
        ),
        (
            "source.repository",
            "https://:443/r",
            'source.repository: "https://:443/r" is not a URL: it names no server; correct it',
        ),
        (
            "source.repository",
            "https://git.example:0/r",
            'source.repository: "https://git.example:0/r" is not a URL: it names no server; '
            "correct it",
        ),
        (
            "source.repository",
            "git@git.example:a://b",
            'source.repository: "git@git.example:a://b" is not a URL: it names no server; '
            "correct it",
        ),
        (
            "source.repository",
            5,
            "source.repository: 5 is not valid; must be a git URL: https://, ssh://, file:/// or "
            "USER@HOST:PATH",
        ),
        ("port", True, "port: true is not valid; must be a number from 1 to 32767"),
        ("port", 32768, "port: 32768 is not valid; must be a number from 1 to 32767"),  # X8
        ("live.port", 0, "live.port: 0 is not valid; must be a number from 1 to 32767"),
        ("live.path", None, "live.path: missing; must be a path below / such as /websocket"),
        ("health", None, "health: missing; must be a mapping"),
        ("uid", None, "uid: missing; must be a number from 100 to 65533"),
        (
            "odoo.addons",
            None,
            "odoo.addons: missing; must be a list of one or more items, each a path inside the "
            "checkout",
        ),
        (
            "health.path",
            "web",
            'health.path: "web" is not valid; must be a path such as /web/health',
        ),
        (
            "static",
            "^/x { evil; }",
            'static: "^/x { evil; }" is not valid; must be a regular expression such as '
            "^/[^/]+/static/, or null",
        ),
        (
            "static",
            "^/(x",
            'static: "^/(x" is not a regular expression: missing ), unterminated subpattern at '
            "position 2; correct it",
        ),
        (
            "logins",
            [{"path": "^/login[$"}],
            'logins[0].path: "^/login[$" is not a regular expression: unterminated character set '
            "at position 7; correct it",
        ),
        ("static", "^/(?P<x>a)", f'static: "^/(?P<x>a)" has "(?P" at position 2; {PATTERN_WORDS}'),
        (
            "static",
            "^/[[:alpha:]]/",
            f'static: "^/[[:alpha:]]/" has "[[:" at position 2; {PATTERN_WORDS}',
        ),
        ("static", "^/a\\Z", f'static: "^/a\\\\Z" has "\\\\Z" at position 3; {PATTERN_WORDS}'),
        (
            "static",
            "^/bücher/",
            'static: "^/bücher/" is not valid; must be a regular expression such as '
            "^/[^/]+/static/, or null",
        ),
        (
            "live",
            None,
            "live: missing; must be a mapping such as {path: /websocket, port: 8072} with kind "
            "odoo",
        ),
        (
            "live.path",
            "/",
            'live.path: "/" is not valid; must be a path below / such as /websocket',
        ),
        (
            "live.path",
            "/x?y=1",
            'live.path: "/x?y=1" is not valid; must be a path below / such as /websocket',
        ),
        ("live.port", 8069, "live.port: 8069 is not valid; must be another port than port: 8069"),
        *(
            (
                "source.revision",
                revision,
                f'source.revision: "{revision}" is not valid; must be a branch, a tag or a commit',
            )
            for revision in ("a..b", "a//b", "a/", "a.", "a.lock", "a.lock/b", "a/.b")
        ),
        (
            "odoo.configuration",
            "/etc/passwd",
            'odoo.configuration: "/etc/passwd" is not valid; must be a file NAME.conf in '
            "/etc/odoo, or a file odoo*.conf elsewhere, but not below /home or /tmp",
        ),
        (
            "odoo.configuration",
            "/etc/odoo/../odoo.conf",
            'odoo.configuration: "/etc/odoo/../odoo.conf" is not valid; must be a file NAME.conf '
            "in /etc/odoo, or a file odoo*.conf elsewhere, but not below /home or /tmp",
        ),
        (
            "odoo.python.interpreter",
            "python3.12",
            'odoo.python.interpreter: "python3.12" is not valid; must be python3.9, the only one '
            "of Debian bullseye",
        ),
        (
            "odoo.python.release",
            "trixie",
            'odoo.python.release: "trixie" is not an older Debian release; choose one of: bullseye',
        ),
        (
            "logins",
            [{"path": "login"}],
            'logins[0].path: "login" is not valid; must be a regular expression such as '
            "^/[^/]+/static/",
        ),
        (
            "logins",
            [{"path": "^/login$", "status": "403"}],
            'logins[0].status: "403" is not valid; must be a number from 200 to 599, or null',
        ),
        (
            "closed",
            ["web/database"],
            'closed[0]: "web/database" is not valid; must be a path such as /web/database',
        ),
        (
            "closed",
            [f"/{number}{'a' * 90}" for number in range(44)],
            "closed: its paths and those of rpc are a regular expression of 4152 characters; nginx "
            "takes at most 4000; name a path above several of them",
        ),
        ("rpc", ["/x y"], 'rpc[0]: "/x y" is not valid; must be a path such as /web/database'),
        (
            "session.parameters",
            ["session_id="],
            'session.parameters[0]: "session_id=" is not valid; must be the name of a parameter',
        ),
        (
            "headers",
            {"X-Frame-Options": 'DENY"'},
            'headers.X-Frame-Options: "DENY\\"" is not valid; must be one line of text without '
            "quotation marks and without \\, % and $, or null",
        ),
        ("same_site", "none", 'same_site: "none" is not valid; choose one of: Lax, Strict, None'),
        ("uid", 0, "uid: 0 is not valid; must be a number from 100 to 65533"),
        (
            "odoo.python.interpreter",
            "python3",
            'odoo.python.interpreter: "python3" is not valid; must be a command such as python3.11',
        ),
        (
            "odoo.python.lock",
            None,
            "odoo.python: neither lock nor requirements is given; give exactly one of them",
        ),
        (
            "odoo.python.requirements",
            "requirements.txt",
            "odoo.python: both lock and requirements are given; give exactly one of them",
        ),
        (
            "odoo.python.without_dependencies",
            ["a==1"],
            "odoo.python.without_dependencies: cannot be combined with "
            "lock, because the lock already lists every Python package; remove it",
        ),
        (
            "odoo.python.constraints",
            ["setuptools<82"],
            "odoo.python.constraints: cannot be combined with "
            "lock, because the lock already fixes every version; remove it",
        ),
        (
            "odoo.python.constraints",
            "setuptools<82",
            'odoo.python.constraints: "setuptools<82" is not valid; must be a list of items, each '
            "a version constraint such as setuptools<82 or setuptools>=61,<82",
        ),
        (
            "odoo.python.packages",
            ["python3.9", "python3.9"],
            'odoo.python.packages[1]: "python3.9" is repeated; must be listed once',
        ),
        (
            "odoo.addons",
            ["../evil"],
            'odoo.addons[0]: "../evil" is not valid; must be a path inside the checkout',
        ),
        (
            "odoo.modules",
            [],
            "odoo.modules: an empty list is not valid; must be a list of one or more items, each "
            "a module of Odoo",
        ),
        (
            "odoo.options",
            {"smtp": "a\nb"},
            'odoo.options.smtp: "a\\nb" is not valid; must be one line of text, a number, or '
            "true or false",
        ),
        (
            "odoo.options",
            {"server_wide_modules": "base,web"},
            "odoo.options.server_wide_modules: Salina writes this option; remove it, and use "
            "odoo.server_wide_modules instead",
        ),
        (
            "odoo.options",
            {"addons_path": "/srv/addons"},
            "odoo.options.addons_path: Salina writes this option; remove it, and use odoo.addons "
            "instead",
        ),
        (
            "odoo.names",
            {"gevent_port": 8072},
            "odoo.names.gevent_port: 8072 is not valid; must be an option of odoo.conf",
        ),
        (
            "odoo.wrokers",
            5,
            "odoo.wrokers: unknown key; choose one of: configuration, python, addons, "
            "repositories, modules, server_wide_modules, names, options, right_to_left",
        ),
        (
            "nodejs",
            "10",
            "nodejs: unknown key; choose one of: kind, source, known_hosts, port, live, health, "
            "pages, checks, static, uid, database_login, login, logins, session, closed, rpc, "
            "same_site, headers, user_files, odoo",
        ),
    ],
)
def test_fault(path: str, value: Any, fault: str) -> None:
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(changed(path, value), "pillar/app/x.yaml")
    assert caught.value.faults == (fault,)
    assert str(caught.value).startswith("pillar/app/x.yaml: 1 fault\n")


@pytest.mark.parametrize(
    "repository",
    [
        "https://git.example/team/r.git",
        "https://git.example:8443/r",
        "ssh://git@git.example/r",
        "ssh://git@git.example:65535/r",
        "ssh://git@git.example:/r",  # git takes the usual port
        "ssh://git@[2001:db8::1]:2222/r",
        "ssh://git@[2001:db8::1]/r",
        "git@git.example:team/r.git",
        "git@git.example:99999/r",  # a path
        "file:///srv/git/r",
    ],
)
def test_a_repository_is_kept_as_it_is_written(repository: str) -> None:
    """O1: git gets the text itself, and its server can be told from it."""
    parsed = definition.parse(changed("source.repository", repository)).to_dict()
    assert parsed["source"]["repository"] == repository
    if git.by_ssh(repository):
        assert git.server(repository)


@pytest.mark.parametrize(
    "repository",
    ["ssh://git@git.example:99999/r", "ssh://git@[git.example/r", "ssh://git@git.example:abc/r"],
)
def test_k5_a_private_repository_without_a_server_is_one_fault(repository: str) -> None:
    """K5, X10: It is read before the keys, which need to know its server."""
    data = changed("source.repository", repository)
    data["source"]["key"] = "addons"
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(data, "pillar/app/x.yaml")
    (fault,) = caught.value.faults
    assert fault.startswith(f'source.repository: "{repository}" is not a URL: ')


def constrained(*constraints: Any) -> dict[str, Any]:
    """The good file with requirements and with constraints."""
    data = changed("odoo.python.lock", None)
    data["odoo"]["python"] |= {"requirements": "x.txt", "constraints": [*constraints]}
    return data


@pytest.mark.parametrize("revision", ["19.0", "a" * 40, "a/x.y-z_1", "v1.0.lockfile", "a/-b"])
def test_k5_a_revision_that_git_takes(revision: str) -> None:
    """K5, O1: `git check-ref-format` accepts it as well."""
    assert definition.parse(changed("source.revision", revision)).source.revision == revision


@pytest.mark.parametrize("path", ["/etc/odoo/crm.conf", "/etc/odoo.conf", "/etc/odoo-server.conf"])
def test_o2_a_configuration_elsewhere(path: str) -> None:
    """O2: The path of odoo.conf may be another one."""
    assert definition.parse(changed("odoo.configuration", path)).section


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


def several(part: st.SearchStrategy[str], least: int, most: int) -> st.SearchStrategy[str]:
    return st.lists(part, min_size=least, max_size=most).map("".join)


LETTERS = st.sampled_from(
    [
        *("a", "b", "z", "1", "/", "-", "~", "#", "%", ".", "&&", "--", ":", "="),
        *("\\d", "\\w", "\\.", "\\-", "\\]", "\\[", "\\\\"),
    ]
)
MEMBERS = st.sampled_from(
    [
        *("a", "z", "a-z", "1", "~", "(", ")", "*", "^", "$", "&", "|"),
        *("\\d", "\\.", "\\]", "\\["),
    ]
)
SETS = joined(st.sampled_from(["[", "[^", "[-"]), several(MEMBERS, 1, 3), st.just("]"))
OFTEN = st.sampled_from(["", "", "", "*", "+", "?", "*?", "++"])
PLAIN = st.one_of(*[joined(st.one_of(LETTERS, SETS), OFTEN)] * 3, st.sampled_from("^$|"))
GROUPS = joined(
    st.sampled_from(["(", "(?:", "(?=", "(?!"]),
    several(PLAIN, 1, 2),
    st.sampled_from([")", ")*", "|a)?"]),
)
ODD = st.sampled_from(
    [
        *("[:a:]", "[.a.]", "[=a=]", "[[:alpha:]]", "[a&&b]", "[a--b]", "[a~~b]", "[a||b]", "[]a]"),
        *("[z-a]", "[a-\\d]", "[\\x41]", "\\x41", "\\u0041", "\\1", "\\Z", "\\b", "\\b*", "**"),
        *("(?u)", "(?i)", "(?a:a)", "(?P<x>a)", "(?<=a)", "(?>a)", "(?#a)", "(", ")", "[", "]"),
    ]
)
"""Parts that only Python has, or that it reads in another way, or that are wrong."""
EXPRESSIONS = several(st.one_of(*[PLAIN, GROUPS] * 4, ODD), 0, 4)
"""Most are accepted: a refused one tests nothing."""


@given(EXPRESSIONS)
def test_k5_pcre2_compiles_each_expression_that_is_accepted(rest: str) -> None:
    """K5: nginx and HAProxy compile with PCRE2, and the check is made with Python's `re`."""
    data = changed("static", f"^/{rest}")
    try:
        definition.parse(data)
    except definition.DefinitionError:
        return
    event("the check accepts it")  # --hypothesis-show-statistics counts these
    assert pcre.compiles(data["static"])


def test_k5_pcre2_is_the_real_one() -> None:
    """K5: The other test would see a difference."""
    assert pcre.compiles("^/(?P<x>a)") and not pcre.compiles("^/(") and not pcre.compiles("[:a:]")


def test_constraints() -> None:
    good = (
        *("setuptools<82", "setuptools>=61,<82", "Cython<3.0rc1", "zope.interface~=5.4", "a==1.*"),
        *("a!=2.0.post1", "a>1.0a1.dev2", "lxml<=4.9.3"),
    )
    application = definition.parse(constrained(*good))
    assert application.to_dict()["odoo"]["python"]["constraints"] == list(good)


@pytest.mark.parametrize(
    "constraint",
    [
        *("setuptools", "setuptools<", "<82", "setuptools<82,", "setuptools < 82", "setuptools=82"),
        *("setuptools===82", "setuptools<82.*", "setuptools~=82", "setuptools~=82.post1", "-a<1"),
        *("-r /etc/shadow", "--index-url=x", "a @ file:///a", "git+file:///a", "a[b]<1", "a<1 b"),
        *("a<1;python_version>'3'", "a<1\nb<2", "a<1\n", "a<v1", "a<1 # b", "", 82, None),
    ],
)
def test_a_constraint_with_a_fault(constraint: Any) -> None:
    """K5: pip would fail on the hosts, or read an option or an address out of it."""
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(constrained("six<2", constraint), "pillar/app/x.yaml")
    [fault] = caught.value.faults
    found = "empty" if constraint is None else f"{document.show(constraint)} is not valid"
    said = "must be a version constraint such as setuptools<82 or setuptools>=61,<82"
    assert fault == f"odoo.python.constraints[1]: {found}; {said}"
    assert str(caught.value).startswith("pillar/app/x.yaml: 1 fault\n")


def test_all_faults_at_once() -> None:
    data = changed("port", 0) | {"uid": "x", "more": 1}
    with pytest.raises(definition.DefinitionError) as caught:
        definition.parse(data)
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["port", "uid", "more"]


# Files that are none, or that YAML alone refuses: their bytes, and the lines that say so.
TEXTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "empty": (b"", ("empty; must be a mapping",)),
    "a list": (b"- odoo", ("a list is not valid; must be a mapping",)),
    "binary": (b"\x7fELF\xff", ("the file is not text in UTF-8; save it as UTF-8",)),
    "tag": (
        FILE.replace(b"kind: odoo", b"kind: !!python/name:os.system odoo"),
        (
            'line 4: the tag "tag:yaml.org,2002:python/name:os.system" is not allowed; '
            "write a plain value",
        ),
    ),
    "key twice, and a number": (
        FILE.replace(b"port: 8069", b"port: 0\nport: 1"),
        (
            "port: is given twice (lines 8 and 9); remove one",
            "port: 0 is not valid; must be a number from 1 to 32767",
        ),
    ),
}


@pytest.mark.parametrize(("content", "faults"), TEXTS.values(), ids=TEXTS.keys())
def test_text(content: bytes, faults: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "odoo.yaml"
    file.write_bytes(content)
    with pytest.raises(definition.DefinitionError) as caught:
        definition.load(file)
    assert caught.value.source == str(file)
    assert caught.value.faults == faults


def test_no_file(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "it is a directory")):
        with pytest.raises(definition.DefinitionError, match=f"the file cannot be read: {reason}"):
            definition.load(path)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6),
    st.sampled_from(["odoo", "/web", "python3.11", "six==1.0", "requirements.txt"]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(scalars, inner, max_size=3)
    ),
    max_leaves=6,
)


def check(data: object) -> None:
    """Either a DefinitionError with lines, or an application that is written back unchanged."""
    try:
        application = definition.parse(data)
    except definition.DefinitionError as error:
        assert error.faults
        assert all(fault.isprintable() for fault in error.faults)
    else:
        assert definition.parse(application.to_dict()) == application


@given(anything)
def test_any_data(data: object) -> None:
    """Whatever the data: no exception but DefinitionError."""
    check(data)


@given(st.data())
def test_any_change(draw: st.DataObject) -> None:
    """Any one value of a good file replaced by anything, or any key renamed."""
    data = copy.deepcopy(GOOD)
    place: Any = data
    while True:
        key = draw.draw(st.sampled_from(sorted(place)))
        if not isinstance(place[key], dict) or draw.draw(st.booleans()):
            break
        place = place[key]
    if draw.draw(st.booleans()):
        place[draw.draw(scalars)] = place.pop(key)
    else:
        place[key] = draw.draw(anything)
    check(data)


def test_the_lab_has_every_package_of_its_application() -> None:
    """The mirror is made from salt/packages.yaml alone."""
    packages = document.read(REPOSITORY / "salt" / "packages.yaml")
    python = GOOD["odoo"]["python"]
    assert set(python["packages"]) <= set(packages[python["release"]])
