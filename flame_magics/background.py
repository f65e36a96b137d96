"""Cells that run in the background, by number, and the variables that are to come from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flame_kernel import CellFuture, Flame
from flame_magics.usage import say


@dataclass
class Awaited:
    """Variables that come when the user asks for a cell's result, and not while another cell is at work with them.

    Attributes:
        names: What they are called in the notebook.
        cells: The cells that make them, by the names of their connections; all have to be done.
        pull: Gives them their names in the notebook.
        settled: Whether they have come, or never will.
    """

    names: tuple[str, ...]
    cells: Mapping[str, CellFuture]
    pull: Callable[[], None]
    settled: bool = False

    def come(self) -> None:
        """Pull them if they are there, once; say what keeps them."""
        if self.settled or not self.names:
            return
        if running := [where for where, cell in self.cells.items() if not cell.done()]:
            say(f"{self}: not fetched yet, as the cell still runs on {', '.join(running)}")
            return
        if failed := [where for where, cell in self.cells.items() if cell.exception() is not None]:
            say(f"{self}: not fetched, as the cell failed on {', '.join(failed)}")
        else:
            self.pull()
        self.settled = True

    def __str__(self) -> str:
        return ", ".join(self.names)


@dataclass(frozen=True)
class BackgroundCell:
    """A cell that nobody waits for right now.

    Attributes:
        number: What ``%flame_result`` calls it, from 1.
        flame: The connection to its session.
        future: The cell.
        awaited: Variables that are to come from it.
    """

    number: int
    flame: Flame
    future: CellFuture
    awaited: Awaited


class Background:
    """The cells that were run with ``--bg`` or have outlasted their timeout."""

    def __init__(self) -> None:
        self._cells: list[BackgroundCell] = []

    def __len__(self) -> int:
        return len(self._cells)

    def add(
        self,
        flames: Mapping[str, Flame],
        futures: Mapping[str, CellFuture],
        names: tuple[str, ...],
        pull: Callable[[], None],
    ) -> str:
        """Take one cell, which runs in one session or several.

        Args:
            flames: The connections, by name.
            futures: The cell on those of them where it still runs.
            names: The variables of the notebook that are to come from it.
            pull: Gives them their names.

        Returns:
            What brings the variables, as the user types it.
        """
        awaited = Awaited(names, dict(futures), pull)
        added = [
            BackgroundCell(number, flames[name], future, awaited)
            for number, (name, future) in enumerate(futures.items(), len(self._cells) + 1)
        ]
        self._cells += added
        return " and ".join(f"%flame_result {one.number}" for one in added)

    def find(self, number: int | None) -> BackgroundCell | None:
        """Return the cell of a number, the latest for ``None``; ``None`` if there's none."""
        wanted = len(self._cells) if number is None else number
        return self._cells[wanted - 1] if 1 <= wanted <= len(self._cells) else None
