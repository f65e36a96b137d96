"""An ordinary local notebook, in whose kernel the magics are loaded; executed as Jupyter executes it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from typing import Any

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.conformance.frontend import Frontend

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Watching(NotebookClient):
    """Does something as soon as a text is shown."""

    when: tuple[str, Callable[[], object]] | None = None

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if self.when is not None and self.when[0] in msg["content"].get("text", ""):
            self.when[1]()
        return super().process_message(msg, cell, cell_index)


class LocalNotebook:
    """A notebook with a plain local kernel; cells run one after the other, as Shift+Enter runs them."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._notebook = nbformat.v4.new_notebook()
        self._client = Watching(self._notebook, timeout=60, kernel_name="python3")
        self._client.create_kernel_manager()
        self._client.start_new_kernel(env=environ)
        self._client.start_new_kernel_client()

    def run(self, code: str, when: tuple[str, Callable[[], object]] | None = None) -> list[Any]:
        """Run a cell and return its outputs; raises CellExecutionError when it fails.

        Args:
            code: The cell.
            when: A text, and what to do as soon as it's shown.
        """
        cell = nbformat.v4.new_code_cell(code)
        self._notebook.cells.append(cell)
        self._client.when = when
        self._client.execute_cell(cell, len(self._notebook.cells) - 1)
        return cell.outputs

    def fails(self, code: str, when: tuple[str, Callable[[], object]] | None = None) -> str:
        """Run a cell that has to fail, and return what the notebook shows as its error."""
        with pytest.raises(CellExecutionError):
            self.run(code, when)
        (error,) = (output for output in self._notebook.cells[-1].outputs if output.output_type == "error")
        return COLOURS.sub("", "\n".join(error.traceback))

    @property
    def outputs(self) -> list[Any]:
        """The outputs of the latest cell."""
        return self._notebook.cells[-1].outputs

    def misuses(self, code: str) -> str:
        """Run a cell whose magic is typed wrong; IPython tells how it's right on stderr, and the cell fails."""
        with pytest.raises(CellExecutionError):
            self.run(code)
        return text(self._notebook.cells[-1].outputs, "stderr")

    def interrupt(self) -> None:
        """Press the stop button."""
        os.kill(self._client.km.provisioner.process.pid, signal.SIGINT)

    def close(self) -> None:
        self._client._cleanup_kernel()


def text(outputs: list[Any], name: str = "stdout") -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == name)


def value(outputs: list[Any]) -> str:
    (result,) = (output for output in outputs if output.output_type == "execute_result")
    return result.data["text/plain"]


class LocalKernel:
    """A plain local kernel with a frontend that takes part in everything: questions, updates, comms.

    Args:
        environ: Its environment.
        code: What it runs first.
    """

    def __init__(self, environ: dict[str, str], *code: str) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=environ)
        info = self._manager.get_connection_info()
        self.frontend = Frontend({**info, "key": info["key"].decode()})
        try:
            self.frontend.welcome()
            for line in ("%load_ext flame_magics", *code):
                answer = self.frontend.execute(line)
                assert answer.reply["status"] == "ok", answer.reply
        except BaseException:
            self.close()
            raise

    def interrupt(self) -> None:
        """Press the stop button."""
        self._manager.interrupt_kernel()

    def close(self) -> None:
        """End it."""
        self.frontend.close()
        self._manager.shutdown_kernel()
        self._manager.cleanup_resources()
