"""A cell that runs while this side does something else: a future that shows how it fares, in place."""

from __future__ import annotations

import contextvars
import html
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from flame_kernel.client.cells import display as displays
from flame_kernel.client.cells import rendering
from flame_kernel.client.cells.cells import Cell, CellResult, request_for
from flame_kernel.client.cells.display import END_OF_INPUT, Display
from flame_kernel.client.cells.payloads import payloads
from flame_kernel.client.connection import Connection
from flame_kernel.client.unasked import in_our_words
from flame_kernel.errors import FlameTimeout

# How often what is shown in place changes at most, in seconds, and how many lines of a stream it has while it does.
_EVERY_S = 0.2
_LINES = 30


class CellGoesOn(FlameTimeout):
    """The time given to a cell is up; it goes on over there.

    Args:
        message: The one line for the user.
        cell: The cell.
    """

    def __init__(self, message: str, cell: CellFuture) -> None:
        super().__init__(message)
        self.cell = cell


class CellFuture(Future[CellResult]):
    """A cell that runs over there. Cancelling it interrupts it.

    In a notebook it shows itself as the cell's outputs so far, which change in place.

    Args:
        connection: The connection to its session.
        cell: The cell.
        title: What to call it where it's shown.

    Example:
        >>> future = flame.start("import time; time.sleep(0.1); 6 * 7")
        >>> future.result().value
        42
    """

    def __init__(self, connection: Connection, cell: Cell, title: str = "") -> None:
        super().__init__()
        self.title = title or connection.where
        self.began = time.time()
        self._connection = connection
        self._cell = cell
        self._took: float | None = None
        self._gave: CellResult | None = None
        self._place = _InPlace(self._shown, connection.later)
        self._tee = _Tee(self._place.changed)
        self._interrupting = False
        self._frames = True
        cell.on_begun = self._on_begun

    @classmethod
    def start(cls, connection: Connection, code: str, *, store_history: bool = True, title: str = "") -> CellFuture:
        """Have a cell run.

        Args:
            connection: The connection to its session.
            code: The cell; it can't ask the user anything.
            store_history: Whether it counts and is kept in the session's history.
            title: What to call it where it's shown.
        """
        cell = Cell(request_for(code, silent=False, store_history=store_history, stdin=False))
        future = cls(connection, cell, title)
        connection.cells.begin(cell, displays.here())
        future.follow_on()
        return future

    def follow_on(self) -> None:
        """Have a thread follow the cell, which is running already."""
        # A copy: what ipykernel tells cells apart by.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._follow,), name="flame-cell", daemon=True).start()

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Its outputs so far, as nbformat 4 writes them."""
        return list(self._cell.outputs)

    @property
    def payloads(self) -> Sequence[dict[str, Any]]:
        """What it asks of the frontend at its end, as its reply has it: help to be paged, a next cell."""
        return payloads(self._cell.reply)

    @property
    def cell(self) -> CellResult | None:
        """What it gave, also when it failed; ``None`` while it runs, and when its session or the link ended."""
        return self._gave

    @property
    def where(self) -> str:
        """What to call the session that it runs in."""
        return self._connection.where

    def running(self) -> bool:
        """Whether the session has come to it, and it's not done."""
        return self._cell.begun and not self.done()

    def cancel(self) -> bool:
        """Interrupt it, as Ctrl-C would, as soon as the session comes to it.

        Returns:
            False when it was done already.
        """
        if self.done():
            return False
        self._interrupting = True
        if self._cell.begun:
            self._connection.interrupt_soon()
        return True

    def too_late(self, timeout: float | None) -> CellGoesOn:
        """Return the error that says that it did not end in time."""
        waited = "in time" if timeout is None else f"within {timeout:g} s"
        return CellGoesOn(f"the cell did not end {waited}; it goes on ({self.where})", self)

    def show(self) -> CellResult:
        """Show its outputs, and those that are yet to come, until it's done; Ctrl-C stops that, and not the cell.

        Returns:
            What it gave.

        Raises:
            Exception: The cell's own.
        """
        self._tee.join(displays.here(), self._cell)
        try:
            error = self.exception()
        finally:
            self._tee.leave()
        if error is not None:
            raise error.with_traceback(None)  # asked for again, it doesn't grow
        return self.result()

    def _follow(self) -> None:
        began = time.monotonic()
        error: BaseException | None = None
        try:
            self._gave = self._connection.cells.finish(self._cell, self._tee, False, None)
            error = in_our_words(self._gave.error, self._gave.outputs)
        except Exception as ended:  # noqa: BLE001  # it's the answer
            error = ended
        finally:
            self._connection.cells.end(self._cell, displays.here())
        self._took = time.monotonic() - began
        if error is not None:
            self.set_exception(error)
        else:
            assert self._gave is not None
            self.set_result(self._gave)
        self._place.refresh()

    def _on_begun(self) -> None:
        self._place.changed()
        if self._interrupting:
            self._connection.interrupt_soon()

    def _words(self) -> str:
        if not self.done():
            state = "running …" if self._cell.begun else "waiting for its turn …"
            return f"{state} {self._tee.noted}".rstrip()
        error = self.exception()
        took = f"{self._took or 0.0:.1f} s"
        return f"done after {took}" if error is None else f"failed after {took}: {type(error).__name__}: {error}"

    def _shown(self) -> dict[str, str]:
        lines = None if self.done() else _LINES
        head = f"{self.title}: {self._words()}"
        outputs = [output for output in self.outputs if self._frames or output["output_type"] != "error"]
        return {
            "text/plain": f"[{head}]\n{rendering.as_text(outputs, lines)}".rstrip("\n"),
            "text/html": f"<div><b>{html.escape(head)}</b>{rendering.as_html(outputs, lines)}</div>",
        }

    def show_in_place(self, *, frames: bool = True) -> None:
        """Show how it fares, in one place that changes.

        Args:
            frames: Whether the frames of an exception are shown as well.
        """
        self._frames = frames
        self._place.show(displays.here())

    def _ipython_display_(self) -> None:
        self.show_in_place()

    def __repr__(self) -> str:
        return f"<cell on {self.title}: {self._words()}>"


class _InPlace:
    """Shows something that changes, in one place, and not too often.

    Args:
        shown: Returns it as it is now, by MIME types.
        later: Has a function called after so many seconds.
    """

    def __init__(
        self, shown: Callable[[], dict[str, str]], later: Callable[[float, Callable[[], object]], object]
    ) -> None:
        self._shown = shown
        self._later = later
        self._changing = threading.RLock()
        self._display: Display | None = None
        self._display_id = uuid.uuid4().hex
        self._due = False

    def show(self, display: Display) -> None:
        """Show it on a display from now on."""
        with self._changing:
            self._display = display
            self._context = contextvars.copy_context()
            self._say(update=False)

    def changed(self) -> None:
        """It has changed: show that soon."""
        with self._changing:
            if self._display is None or self._due:
                return
            self._due = True
        self._later(_EVERY_S, self.refresh)

    def refresh(self) -> None:
        """Show it as it is now."""
        with self._changing:
            self._due = False
            if self._display is not None:
                self._context.run(self._say, True)

    def _say(self, update: bool) -> None:
        assert self._display is not None
        content = {"data": self._shown(), "metadata": {}, "transient": {"display_id": self._display_id}}
        self._display.data(content, update)


class _Tee:
    """A display that passes what a cell shows on to who looks at it right now, if anybody does.

    Args:
        changed: Called when something was shown.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._changing = threading.RLock()
        self._display: Display | None = None
        self._asked: list[Callable[[Display], None]] = []  # of the frontend, at the cell's end
        self.noted = ""

    def join(self, display: Display, cell: Cell) -> None:
        """Show what there is, and have what comes shown."""
        with self._changing:
            for output in list(cell.outputs):
                _replay(display, output)
            for asked in self._asked:
                asked(display)
            self._display = display
            self._context = contextvars.copy_context()

    def leave(self) -> None:
        """Have nothing shown any more."""
        with self._changing:
            self._display = None

    def stream(self, name: str, text: str) -> None:
        """Pass text on."""
        self._pass_on(lambda display: display.stream(name, text))

    def data(self, content: dict[str, Any], update: bool) -> None:
        """Pass rich output on."""
        self._pass_on(lambda display: display.data(content, update))

    def clear(self, wait: bool) -> None:
        """Pass on that what was shown is cleared."""
        self._pass_on(lambda display: display.clear(wait))

    def notice(self, text: str, display_id: str, update: bool) -> None:
        """Pass a line of our own on, and keep it until something has taken its place."""
        self.noted = "" if update else text
        self._pass_on(lambda display: display.notice(text, display_id, update))

    def page(self, data: dict[str, Any], start: int) -> None:
        """Pass on what belongs into the pager, and keep it for who looks later."""
        self._ask(lambda display: display.page(data, start))

    def set_next_input(self, text: str, replace: bool) -> None:
        """Pass on what is offered as the next cell, and keep it for who looks later."""
        self._ask(lambda display: display.set_next_input(text, replace))

    def ask(self, prompt: str, password: bool) -> str:
        """Nobody is there to be asked; the session does not ask either."""
        return END_OF_INPUT

    def _ask(self, asked: Callable[[Display], None]) -> None:
        with self._changing:
            self._asked.append(asked)
            self._pass_on(asked)

    def _pass_on(self, show: Callable[[Display], None]) -> None:
        with self._changing:
            if self._display is not None:
                self._context.run(show, self._display)
        self._changed()


def _replay(display: Display, output: dict[str, Any]) -> None:
    """Show an output once more."""
    if output["output_type"] == "stream":
        display.stream(output["name"], output["text"])
    elif output["output_type"] == "display_data":
        display.data({"data": output["data"], "metadata": output["metadata"]}, update=False)
