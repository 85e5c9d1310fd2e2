"""Plain English: patterns that made earlier texts hard to read do not come back.

Each pattern is one that a regular expression can judge. It stands with a better wording.
"""

from __future__ import annotations

import re

import pytest

from tests import texts
from tests.texts import Text

SENTENCE = r"(?:\A|[.!?]\s+|\n\n)"
PATTERNS = {
    r"\ballowed (?:is|are)\b": '"must be …" or "choose one of: …"',
    r"\banew\b": '"again", or "rebuild"',
    r"(?<![-/_])\b[Mm]end(?:s|ed|ing)?\b(?![-_])": '"fix" or "repair"',
    rf"{SENTENCE}(?:Who|What|Whose|Whoever)\s(?!to\b|[^.!?]*\?)": (
        'a sentence that begins with a noun, such as "A host that …" or "The files that …"; only a '
        "question begins so"
    ),
    r"\b[Ww]ho (?:is|are) (?:there|to be)\b": '"the current members", "the planned members"',
    r"\b[Aa]way with\b": '"delete" or "remove"',
    r"\b[Ll]ack(?:s|ing)\b": '"missing", "has no"',
    r"\bloses? it\b": '"deletes it", "forgets it"',
    r"\b(?:told|tells?|telling) of\b": '"reports", "names"',
    r"\bhas (?:not|no longer) (?:(?:[a-z]+\d+|an?|the|its|his|their)\b|[.;:])": (
        '"does not have s1", "sends no requests to s1 yet"'
    ),
    r"(?<!\b[Tt]here )\b(?:is|are) no (?!longer\b|more\b|less\b)": (
        '"is not a host"; only "there is no host" is good'
    ),
    r"\bof which (?:nothing|none|no)\b": '"that leaves nothing behind"',
    r"\b(?:is|are) waited\b": '"the state waits for the host"',
    r"\b(?:made|makes?|making) of it\b": '"do with it", "read"',
    r"\bfounds nothing\b": '"never initialises a cluster"',
}


def judge(text: Text) -> list[str]:
    """Return the faults of a text, with a better wording for each."""
    return [
        f"{text.where}: {match[0].strip()!r}; better: {better}"
        for pattern, better in PATTERNS.items()
        for match in re.finditer(pattern, text.text)
    ]


EXAMPLES = ("tests/unit/test_english.py", "docs/english.md")
"""Files that show the patterns."""


def judged(text: Text) -> bool:
    """Tell whether a text is ours to judge: a test's strings repeat the messages of other files."""
    return text.kind != "heading" and not (
        text.file in EXAMPLES or (text.kind == "message" and text.file.startswith("tests/"))
    )


def test_no_text_has_a_pattern_that_is_hard_to_read() -> None:
    """Documents, comments, docstrings and messages name who acts, then what they do."""
    faults = [fault for text in texts.texts() if judged(text) for fault in judge(text)]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    "good",
    [
        "pool: 'nope' is not a pool; choose one of: app",
        "There is no primary. The host is no longer a member.",
        "What does it wait for? Who may open which port?",
        "What to measure: all parts.",
        "The recommended amendment is allowed; it has not been tried.",
        "docs/decisions/0012-what-storage-mends-by-itself.md",
    ],
)
def test_a_good_text_passes(good: str) -> None:
    """The patterns raise no false alarm."""
    assert judge(Text("a.py", 1, "docstring", good)) == []


@pytest.mark.parametrize(
    "bad",
    [
        "workers: 'x', allowed is a number from 0 to 256",
        "A host that is made anew.",
        "It fails. Who is there, is told.",
        "`bin/lab remove s4` loses it",
        "lb1 has not s1",
        "s9 is no host of a pool",
        "It is waited for the volume with tries of which nothing stays.",
    ],
)
def test_a_bad_text_is_found(bad: str) -> None:
    """Each kind of fault is found."""
    assert judge(Text("a.py", 1, "docstring", bad))
