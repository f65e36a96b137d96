from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.protocol.screen import Screen


def remains(*texts: str) -> str:
    screen = Screen()
    for text in texts:
        screen.write(text)
    assert screen.size >= 0
    return screen.text()


class Terminal:
    """A screen as simple as can be: rows of characters and a cursor."""

    def __init__(self, text: str = "") -> None:
        self.rows: list[list[str]] = [[]]
        self.row = self.column = 0
        for token in re.findall(r"\x1b\[\d*[ABK]|.|\n", text):
            self.take(token)

    def take(self, token: str) -> None:
        if token == "\n":
            self.row, self.column = self.row + 1, 0
        elif token == "\r":
            self.column = 0
        elif token == "\b":
            self.column = max(0, self.column - 1)
        elif token == "\x1b[K":
            del self.rows[self.row][self.column :]
        elif token.endswith("A"):
            self.row = max(0, self.row - int(token[2:-1] or 1))
        else:
            row = self.rows[self.row]
            row += " " * (self.column - len(row))
            row[self.column : self.column + 1] = [token]
            self.column += 1
        if self.row == len(self.rows):
            self.rows.append([])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Terminal) and (self.shown, self.row, self.column) == (
            other.shown,
            other.row,
            other.column,
        )

    def __repr__(self) -> str:
        return repr((self.shown, self.row, self.column))

    @property
    def shown(self) -> list[str]:
        return ["".join(row).rstrip(" ") for row in self.rows]


def jupyterlab(text: str) -> str:
    """What JupyterLab makes of carriage returns (`fixCarriageReturn` in @jupyterlab/rendermime)."""
    lines = []
    for line in re.sub(r"\r+\n", "\n", text).split("\n"):
        shown = ""
        for piece in line.split("\r"):
            shown = piece + shown[len(piece) :]
        lines.append(shown)
    return "\n".join(lines)


# Words as programs write them: lines, progress bars, spinners. One that goes back goes over what it wrote itself.
PIECES = st.sampled_from(["a", "bc", "def ", "\n", "\r", "\r\n", "\r12 %", "|\b", "/\b", "\r\x1b[K", "x\ny\n", "é€𝄞"])


@given(st.lists(PIECES), st.integers(0, 100))
def test_what_remains_looks_as_the_whole_whatever_was_shown_before(pieces: list[str], cut: int) -> None:
    before, after = pieces[:cut], pieces[cut:]

    assert Terminal("".join(before) + remains(*after)) == Terminal("".join(pieces))


@given(st.lists(st.sampled_from(["a", "bc", "def", "\n", "\r", "\r\n", "12 %"])), st.integers(0, 100))
def test_what_remains_looks_in_jupyterlab_as_the_whole(pieces: list[str], cut: int) -> None:
    before, after = "".join(pieces[:cut]), remains(*pieces[cut:])

    # A carriage return at the very end shows nothing yet.
    assert jupyterlab(before + after) == jupyterlab("".join(pieces))


@given(st.text(alphabet="ab\n\r\b\x1b[K1Am", max_size=60), st.integers(0, 60))
def test_nothing_upsets_it_and_what_remains_does_not_change_when_taken_again(text: str, cut: int) -> None:
    screen = Screen()
    screen.write(text[:cut])
    screen.write(text[cut:])

    once = screen.text()
    assert screen.size >= 0
    if "A" not in text:  # above the first row is a screen that the terminal here has not got
        again = Screen()
        again.write(once)
        assert Terminal(again.text()) == Terminal(once)


def test_a_progress_bar_comes_to_its_last_state() -> None:
    bar = [f"\r{'#' * (n // 10):10} {n} %" for n in range(101)]

    assert remains(*bar) == "\r########## 100 %"
    assert remains(*bar, "\ndone\n") == "\r########## 100 %\ndone\n"


def test_bars_below_each_other_come_to_their_last_state() -> None:
    # As tqdm writes them: down to the bar's line, and up again.
    steps = [f"\router {n}\n\rinner {n}\x1b[A" for n in range(50)]

    assert Terminal(remains("\n", *steps)) == Terminal("\n" + "".join(steps))
    assert len(remains("\n", *steps)) < 50


def test_colours_stay_with_their_characters() -> None:
    assert remains("\x1b[31mred\x1b[0m and ", "\x1b[1mbold\x1b[0m\n") == "\x1b[31mred\x1b[0m and \x1b[1mbold\x1b[0m\n"
    assert remains("x\n", "\x1b[31m10\x1b[0m\r", "\x1b[32m20\x1b[0m") == "x\n\x1b[32m20\x1b[0m"


def test_a_control_sequence_may_come_in_pieces() -> None:
    assert remains("a\x1b", "[3", "1mb\r\x1b[", "Kc") == remains("a\x1b[31mb\r\x1b[Kc")
    assert remains("a\x1b[3") == "a\x1b[3"


@pytest.mark.parametrize("count", [1_000, 100_000])
def test_rewriting_takes_no_room(count: int) -> None:
    screen = Screen()
    for n in range(count):
        screen.write(f"\r{n}")

    assert screen.size < 20


def test_the_oldest_rows_can_be_let_go() -> None:
    screen = Screen()
    screen.write("".join(f"line {n}\n" for n in range(100)))
    size = screen.size

    count = screen.drop(50)

    assert screen.text() == "".join(f"line {n}\n" for n in range(count, 100))
    assert screen.size == size - sum(len(f"line {n}\n") for n in range(count))
    assert screen.size <= size - 50
