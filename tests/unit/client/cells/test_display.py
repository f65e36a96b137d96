from __future__ import annotations

from typing import Any

import pytest

from flame_kernel.client.cells import display
from flame_kernel.client.cells.display import Notebook, Silent, Terminal

CONTENT = {"data": {"text/plain": "<plot>", "image/png": "…"}, "metadata": {"a": 1}, "transient": {"display_id": "x"}}


def test_a_terminal_shows_streams_and_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.stream("stdout", "out")
    terminal.stream("stderr", "err")
    terminal.data(CONTENT, update=False)
    terminal.data({"data": {"image/png": "…"}}, update=False)
    terminal.clear(wait=True)

    assert capsys.readouterr() == ("out<plot>\n", "err")


def test_silence_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    silent = Silent()
    silent.stream("stdout", "out")
    silent.data(CONTENT, update=False)
    silent.clear(wait=False)

    assert capsys.readouterr() == ("", "")


class Ipython:
    """What a notebook calls of ``IPython.display``."""

    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.cleared: list[bool] = []

    def publish_display_data(self, **fields: Any) -> None:
        self.published.append(fields)

    def clear_output(self, wait: bool) -> None:
        self.cleared.append(wait)


def test_a_notebook_shows_everything_that_came() -> None:
    ipython = Ipython()
    notebook = Notebook(ipython)
    notebook.data(CONTENT, update=True)
    notebook.clear(True)

    assert ipython.published == [{**CONTENT, "update": True}]
    assert ipython.cleared == [True]


def test_without_ipython_it_is_a_terminal() -> None:
    assert type(display.here()) is Terminal


@pytest.mark.parametrize(("password", "asker"), [(False, "builtins.input"), (True, "getpass.getpass")])
def test_a_password_is_asked_for_without_showing_it(
    monkeypatch: pytest.MonkeyPatch, password: bool, asker: str
) -> None:
    monkeypatch.setattr(asker, lambda prompt: f"{prompt}{asker}")  # a terminal is no part of a test

    assert Terminal().ask("name? ", password) == f"name? {asker}"
