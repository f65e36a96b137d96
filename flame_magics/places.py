"""Where in a cell somebody writes: in code that runs over there, or in the line of a magic.

Nothing here asks anybody; it is about text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# `x = %flame …`, `%flame_put …`, and the first line of a `%%flame` cell.
_MAGIC = re.compile(r"^(?:[^%#'\"]*=)?\s*(%%?)(flame\w*)(?=[ \t]|$)")

_TARGET = re.compile(r"(?:^|\s)(?:-t\s*=?|--target[\s=])\s*[\"']?([^\s\"'-][^\s\"']*)")


# Options may stand before an expression; until they are complete, it is the magic's line that is written.
_EXPRESSION = re.compile(r"\s*(?:(?:-t|--target)[ =]\s*(\S+)\s+|--timeout[ =]\s*\S+\s+|--quiet\s+)*")
_OPTION = re.compile(r"\s*(?:-[^\s=]*(?:\s+\S*)?|-\S+=\S*)")


@dataclass(frozen=True)
class Code:
    """Code that runs over there.

    Attributes:
        target: What the magic's ``-t`` says; empty for the default connection.
        code: The code, without the magic.
        cursor: Where in it.
    """

    target: str
    code: str
    cursor: int


@dataclass(frozen=True)
class Arguments:
    """The line of a magic.

    Attributes:
        magic: The magic's name.
        target: What its ``-t`` says; empty for the default connection.
        before: The words before the one that is written.
        word: What there is of that.
        cell: Whether it is the first line of a cell.
    """

    magic: str
    target: str
    before: tuple[str, ...]
    word: str
    cell: bool = False


Place = Code | Arguments


def find(lines: Sequence[str], row: int, column: int) -> Place | None:
    """Return where the cursor stands, if it's a place of ours.

    Args:
        lines: The cell's lines.
        row: The cursor's line, from 0.
        column: Its place in that line.

    Example:
        >>> find(["%%flame -t gpu1", "x.app"], 1, 5)
        Code(target='gpu1', code='x.app', cursor=5)
        >>> find(["%flame_put -t gpu1 da"], 0, 21)
        Arguments(magic='flame_put', target='gpu1', before=('-t', 'gpu1'), word='da', cell=False)
        >>> find(["y = %flame x.shape + 1"], 0, 14)
        Code(target='', code='x.shape + 1', cursor=3)
        >>> find(["x.app"], 0, 5) is None
        True
    """
    first = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if row > first:
        header = _MAGIC.match(lines[first]) if lines[first].startswith("%%") else None
        if header is not None and header[2] == "flame":
            body = lines[first + 1 :]
            before = sum(len(line) + 1 for line in body[: row - first - 1])
            return Code(_target(lines[first][header.end() :]), "\n".join(body), before + column)
    return _in_line(lines[row] if row < len(lines) else "", column, first_line=row == first)


def _in_line(line: str, column: int, first_line: bool) -> Place | None:
    magic = _MAGIC.match(line)
    if magic is None or column <= magic.end() or (magic[1] == "%%" and not first_line):
        return None
    written, after = line[magic.end() : column], line[magic.end() :]
    begun, prefix = _EXPRESSION.match(written), _EXPRESSION.match(after)
    assert begun is not None  # it matches anything
    assert prefix is not None
    if magic[2] == "flame" and magic[1] == "%" and not _OPTION.fullmatch(written, begun.end()):
        code = after[prefix.end() :]
        return Code(_first(prefix[1] or ""), code, max(0, len(written) - prefix.end()))
    words = written.split()
    word = words.pop() if words and not written[-1].isspace() else ""
    return Arguments(magic[2], _target(after), tuple(words), word, magic[1] == "%%")


def _target(line: str) -> str:
    """Return the connection that a magic's line names; the first if it names several."""
    found = _TARGET.search(line)
    return _first(found[1] if found else "")


def _first(names: str) -> str:
    name = names.partition(",")[0]
    return "" if name == "all" else name


def offset(text: str, cursor: int) -> tuple[int, int]:
    r"""Return line and column of a place in a text.

    Example:
        >>> offset("ab\ncd", 4)
        (1, 1)
    """
    before = text[:cursor]
    return before.count("\n"), len(before) - (before.rfind("\n") + 1)
