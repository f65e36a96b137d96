"""What is left of a text on a screen: carriage returns, backspaces and cursor movements overwrite what was there.

A progress bar that rewrote its line ten thousand times is one line in the end. The text may begin in the middle of a
line that this end never saw; what it did to that line is kept too, so that the remains, shown after what was shown
before, look as the whole would.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Control sequences as terminals know them (ECMA-48), the three characters that move, and what stands between them.
_TOKENS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[^\[\n\r\b\x1b]|[\n\r\b]|\x1b|[^\n\r\b\x1b]+")
_UNFINISHED = re.compile(r"\x1b(\[[0-?]*[ -/]*)?\Z")
_MOVING = re.compile(r"[\r\b\x1b]")

_ERASE_LINE = {"\x1b[K", "\x1b[0K", "\x1b[2K"}
_VERTICAL = re.compile(r"\x1b\[(\d*)([AB])")


@dataclass
class _Row:
    """One line.

    Attributes:
        cells: What stands in it: a character each, with the escape sequences around it.
        known: Whether it begins at the line's start; otherwise somewhere in a line that was there before.
        before: For a row that does not begin at the start: what was written there before the first carriage return.
        erased: Whether the rest of the line that was there before is gone.
    """

    cells: Sequence[str] = ""
    known: bool = True
    before: str = ""
    erased: bool = False

    def text(self) -> str:
        erase = "\x1b[K" if self.erased else ""
        return f"{self.before}{erase}{''.join(self.cells)}"


class Screen:
    r"""Takes text and keeps what a screen would show of it.

    Example:
        >>> screen = Screen()
        >>> for percent in range(101):
        ...     screen.write(f"\r{percent} %")
        >>> screen.text()
        '\r100 %'
    """

    def __init__(self) -> None:
        self._rows = [_Row(known=False)]
        self._row = 0
        self._column = 0
        self._partial = ""  # a control sequence whose end has not come yet
        self._pending = ""  # escape sequences that belong to the next character
        self._above = 0  # how many rows were added on top, because the cursor went up to where it had never been
        self.size = 0  # of all rows together, in characters

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def write(self, text: str) -> None:
        """Take text."""
        text = self._partial + text
        unfinished = _UNFINISHED.search(text)
        self._partial = "" if unfinished is None else unfinished[0]
        text = text[: len(text) - len(self._partial)]
        if not _MOVING.search(text) and self._at_end:
            self._append(text)
            return
        for token in _TOKENS.findall(text):
            if token == "\n":
                self._down()
            elif token == "\r":
                self._return()
            elif token == "\b":
                self._back()
            elif token in _ERASE_LINE:
                self._erase(token)
            elif token[0] == "\x1b":
                if len(token) > 1:  # else it's the beginning of nothing
                    self._escape(token)
            else:
                self._put(token)

    def text(self) -> str:
        """Return text that leaves a screen as all of it together does, cursor included."""
        up = "\x1b[A" * self._above
        rows = "\n".join(row.text() for row in self._rows)
        below = len(self._rows) - 1 - self._row
        row = self._rows[self._row]
        if below:
            back = f"\x1b[{below}A\r" + "".join(row.cells[: self._column])
        elif row.known and self._column < len(row.cells):
            # Not by backspaces: in JupyterLab these erase.
            back = "\r" + "".join(row.cells[: self._column])
        else:
            back = "\b" * (len(row.cells) - self._column)
        return f"{up}{rows}{back}{self._pending}{self._partial}"

    def drop(self, size: int) -> int:
        """Let go of the oldest rows.

        Args:
            size: Of how much at least, in characters; the last row stays.

        Returns:
            How many rows that were.
        """
        count = 0
        freed = 0
        while freed < size and count < self._row:
            freed += len(self._rows[count].text()) + 1
            count += 1
        del self._rows[:count]
        self._row -= count
        self._above = 0
        self.size -= freed
        return count

    @property
    def _at_end(self) -> bool:
        row = self._rows[self._row]
        return (
            not self._pending
            and self._row == len(self._rows) - 1
            and isinstance(row.cells, str)
            and self._column == len(row.cells)
        )

    def _append(self, text: str) -> None:
        first, *rest = text.split("\n")
        row = self._rows[self._row]
        row.cells = f"{row.cells}{first}"
        self._rows.extend(map(_Row, rest))
        self._row = len(self._rows) - 1
        self._column = len(self._rows[-1].cells)
        self.size += len(text)

    def _put(self, text: str) -> None:
        row = self._rows[self._row]
        before = len(row.cells)
        piece: Sequence[str] = text
        if self._pending or not isinstance(row.cells, str):
            piece = [self._pending + text[0], *text[1:]]
            self.size += len(self._pending)
            self._pending = ""
            row.cells = list(row.cells)
        missing = self._column - len(row.cells)
        if missing > 0:  # the cursor came from a longer row
            row.cells += " " * missing  # type: ignore[operator]  # a list takes the characters one by one
        self._overwrite(row, piece)
        self._column += len(piece)
        self.size += len(row.cells) - before

    def _overwrite(self, row: _Row, piece: Sequence[str]) -> None:
        cells, column = row.cells, self._column
        # Both are text, or both are lists.
        row.cells = cells[:column] + piece + cells[column + len(piece) :]  # type: ignore[operator]

    def _down(self) -> None:
        self._settle_escapes()
        self._row += 1
        self._column = 0
        if self._row == len(self._rows):
            self._rows.append(_Row())
            self.size += 1

    def _return(self) -> None:
        self._settle_escapes()
        row = self._rows[self._row]
        if not row.known:
            # From here on the line's start is written to; what stood there before may be longer.
            row.before, row.cells, row.known = f"{row.text()}\r", "", True
            row.erased = False
            self.size += 1
        self._column = 0

    def _back(self) -> None:
        row = self._rows[self._row]
        if self._column > 0:
            self._column -= 1
        elif not row.known and not row.cells:
            row.before += "\b"
            self.size += 1

    def _erase(self, token: str) -> None:
        row = self._rows[self._row]
        before = len(row.cells)
        kept = row.cells[: self._column]
        row.cells = " " * len(kept) if token == "\x1b[2K" else kept
        row.erased = bool(row.before) or not row.known  # else there is nothing else in that line
        self.size += len(row.cells) - before

    def _escape(self, token: str) -> None:
        vertical = _VERTICAL.fullmatch(token)
        if vertical is None:
            self._pending += token
            return
        self._settle_escapes()
        count = int(vertical[1] or 1)
        if vertical[2] == "B":
            self._row = min(self._row + count, len(self._rows) - 1)
            return
        missing = min(max(0, count - self._row), 100)  # no terminal is much higher
        if missing:
            self._rows[0].known = True
            self._rows[:0] = [_Row(known=False) for _ in range(missing)]
            self._above += missing
            self.size += missing
        self._row = max(0, self._row + missing - count)

    def _settle_escapes(self) -> None:
        if not self._pending:
            return
        row = self._rows[self._row]
        cells = list(row.cells)
        if 0 < self._column <= len(cells):
            cells[self._column - 1] += self._pending
            row.cells = cells
            self.size += len(self._pending)
            self._pending = ""
