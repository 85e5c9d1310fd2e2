"""Files of requirements, which may include others: pip's `-r FILE`.

A host copies the lines out of the code before pip runs, so it reads the included files too. The lab
does the same when it fills its mirror.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator

_INCLUDE = re.compile(r"\s*(-r|-c|--requirement(?=[\s=])|--constraint(?=[\s=]))\s*=?(.*)")
_NAME = re.compile(r"[A-Za-z0-9._-][A-Za-z0-9._/-]*")
_COMMENT = re.compile(r"(^|\s)#.*")
MOST = 100
"""How often files may include others. Each that includes the next one twice doubles the text."""


def whole(name: str, text: str, read: Callable[[str], str | None]) -> str:
    """Return the text of a file of requirements, with those of the files that it includes.

    Args:
        name: the file's name in its directory, such as requirements.txt.
        text: the file's text.
        read: returns the text of a file by its path from this directory; None if there is none.

    Raises:
        ValueError: an included file is missing or outside of the directory, includes itself, or
            has constraints; or files are included more than MOST times. The message names the file
            and the line.
    """
    return _whole((name,), text, read, iter(range(MOST)))


def _whole(
    above: tuple[str, ...], text: str, read: Callable[[str], str | None], left: Iterator[int]
) -> str:
    """Return the whole text of the last of some files, each of which includes the next one."""
    name, found = above[-1], []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        include = _INCLUDE.fullmatch(line.rstrip("\r\n"))
        if include is None:
            found.append(line)
            continue
        place, said = f"{name}, line {number}", line.strip()
        if include[1] in ("-c", "--constraint"):
            advice = "write its lines into odoo.python.constraints of the definition"
            raise ValueError(f"{place}: {said}: a file of constraints cannot be included; {advice}")
        other = _COMMENT.sub("", include[2]).strip()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), other))
        if not _NAME.fullmatch(other) or path.startswith("../"):
            advice = "name a file in the same directory or below it"
            raise ValueError(f"{place}: {said} cannot be included; {advice}")
        if path in above:
            raise ValueError(f"{place}: {said}: the file includes itself; remove the line")
        if next(left, None) is None:
            raise ValueError(
                f"{place}: {said}: more than {MOST} inclusions; include each file once"
            )
        content = read(path)
        if content is None:
            raise ValueError(f"{place}: {said}: the code has no such file; correct the name")
        found.append(f"{_whole((*above, path), content, read, left).rstrip()}\n")
    return "".join(found)
