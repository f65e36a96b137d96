"""Several sessions at once: the same cell, expression or variable on all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from typing import Any

from flame_kernel.client.cells import display as displays
from flame_kernel.client.cells import rendering
from flame_kernel.client.cells.cells import CellLeft, CellResult
from flame_kernel.client.cells.payloads import carry_out
from flame_kernel.client.flame import Flame
from flame_kernel.client.running import CellFuture
from flame_kernel.errors import FlameError


class CellsFailed(FlameError):
    """A cell failed on some of several sessions; the others have run to their end.

    Args:
        result: What it gave on each.
    """

    def __init__(self, result: GroupResult) -> None:
        errors = result.errors
        super().__init__(f"the cell failed on {', '.join(errors)} ({len(errors)} of {len(result)})")
        self.result = result

    def _render_traceback_(self) -> list[str]:  # what IPython looks for
        lines = [f"{type(self).__name__}: {self}"]
        for name, error in self.result.errors.items():
            render = getattr(error, "_render_traceback_", None)
            told = render() if render is not None else [f"{type(error).__name__}: {error}"]
            lines += ["", f"{name}:", *told]
        return lines


class GroupResult(Mapping[str, CellResult]):
    """What a cell gave on each of several sessions, by their names.

    Args:
        results: What it gave; a session or link that ended is an error like others.
    """

    def __init__(self, results: Mapping[str, CellResult]) -> None:
        self._results = dict(results)

    @property
    def value(self) -> dict[str, Any]:
        """The values of the last expression, of those that did not fail."""
        return {name: result.value for name, result in self.items() if result.error is None}

    @property
    def errors(self) -> dict[str, BaseException]:
        """The exceptions of those that failed."""
        return {name: result.error for name, result in self.items() if result.error is not None}

    def check(self) -> None:
        """Raise an exception if it failed somewhere.

        Raises:
            CellsFailed: It failed on some; the message says on which, and its ``result`` has all of it.
        """
        errors = self.errors
        if errors:
            raise CellsFailed(self) from next(iter(errors.values()))

    def __getitem__(self, name: str) -> CellResult:
        return self._results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    def __repr__(self) -> str:
        states = (f"{name}: {'failed' if result.error else 'done'}" for name, result in self.items())
        return f"<{', '.join(states)}>"


class Group(Mapping[str, Flame]):
    """Several sessions, by names.

    Args:
        flames: The connections to them.

    Example:
        >>> group = Group({"a": flame, "b": connect()})
        >>> group.run("1 + 1", quiet=True).value
        {'a': 2, 'b': 2}
    """

    def __init__(self, flames: Mapping[str, Flame]) -> None:
        self._flames = dict(flames)

    def run(self, code: str, *, check: bool = True, quiet: bool = False, timeout: float | None = None) -> GroupResult:
        """Run a cell on all of them at the same time, and show its outputs grouped by session; Ctrl-C interrupts it.

        Args:
            code: The cell; it can't ask the user anything.
            check: Whether an exception is raised here if it failed somewhere; otherwise that is in the result only.
            quiet: Whether nothing is shown.
            timeout: How long to wait for all of them, in seconds; where it's up, the cell goes on over there.

        Raises:
            CellsFailed: It failed on some, if ``check``; the others have run to their end.
        """
        futures, refused = self._begin(code)
        if not quiet:
            self._show(futures)
        self._wait(futures, timeout)
        gave = {name: _gave(future, timeout) for name, future in futures.items()}
        gave.update({name: CellResult([], error=error) for name, error in refused.items()})
        result = GroupResult({name: gave[name] for name in self})
        if not quiet:
            _show_the_rest(futures)
        if check:
            result.check()
        return result

    def start(self, code: str) -> dict[str, CellFuture]:
        """Have a cell run on all of them, without waiting for it.

        Returns:
            The cell on each, as :meth:`Flame.start` returns it.

        Raises:
            FlameError: It can't be run on one of them, and so on none.
        """
        futures, refused = self._begin(code)
        for error in refused.values():
            for future in futures.values():
                future.cancel()
            raise error
        return futures

    def evaluate(self, expression: str, *, timeout: float | None = None) -> dict[str, Any]:
        """Return the values of an expression, which all of them evaluate at the same time."""
        futures = {name: flame.submit(expression) for name, flame in self.items()}
        return {name: future.result(timeout) for name, future in futures.items()}

    def push(self, name: str, value: Any, *, timeout: float | None = None) -> None:
        """Give a value a name in each of their namespaces."""
        for flame in self._flames.values():
            flame.push(name, value, timeout=timeout)

    def pull(self, name: str, *, limit: int | None = None, timeout: float | None = None) -> dict[str, Any]:
        """Return the values of a name in their namespaces; the options are those of :meth:`Flame.pull`."""
        return {where: flame.pull(name, limit=limit, timeout=timeout) for where, flame in self.items()}

    def __getitem__(self, name: str) -> Flame:
        return self._flames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._flames)

    def __len__(self) -> int:
        return len(self._flames)

    def __repr__(self) -> str:
        return f"<Group {', '.join(self._flames)}>"

    def _begin(self, code: str) -> tuple[dict[str, CellFuture], dict[str, FlameError]]:
        futures, refused = {}, {}
        for name, flame in self.items():
            try:
                futures[name] = flame.start(code, title=name)
            except FlameError as error:
                refused[name] = error
        return futures, refused

    def _show(self, futures: Mapping[str, CellFuture]) -> None:
        if isinstance(displays.here(), displays.Notebook):
            for future in futures.values():
                future.show_in_place(frames=False)  # the exception that is raised shows them

    def _wait(self, futures: Mapping[str, CellFuture], timeout: float | None) -> None:
        interrupted = False
        while True:
            try:
                wait(futures.values(), timeout)
                return
            except KeyboardInterrupt:
                if interrupted:
                    raise CellLeft(f"the cell goes on ({', '.join(futures)})") from None
                interrupted = True
                for future in futures.values():
                    future.cancel()


def _gave(future: CellFuture, timeout: float | None) -> CellResult:
    if not future.done():
        return CellResult(future.outputs, error=future.too_late(timeout))
    return future.cell or CellResult(future.outputs, error=future.exception())


def _show_the_rest(futures: Mapping[str, CellFuture]) -> None:
    """Show what could not be shown in place: on a terminal all of it, in a notebook what needs the front end's code."""
    display = displays.here()
    notebook = isinstance(display, displays.Notebook)
    for name, future in futures.items():
        if not notebook:
            display.stream("stdout", f"[{name}]\n{rendering.as_text(future.outputs)}")
            for payload in future.payloads:
                carry_out(payload, display)
            continue
        # Those of all sessions have no room in one pager.
        pages: list[dict[str, Any]] = [payload for payload in future.payloads if payload.get("source") == "page"]
        rest = [output for output in future.outputs if rendering.needs_front_end(output)]
        for shown in [*rest, *pages]:
            display.data({"data": {"text/plain": f"{name}:"}}, update=False)
            display.data(shown, update=False)
