"""A notebook that is opened on a session in which nobody was: it offers what was missed, and shows it when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flame_kernel import Host
from tests.conformance.frontend import Message
from tests.conformance.kernels import Home, Kernel, running, value_of

WAIT = "import pathlib, time\nwhile not pathlib.Path({gate!r}).exists(): time.sleep(0.01)\n"


@pytest.fixture
def reopened(home: Home, tmp_path: Path) -> Iterator[Callable[[str], Kernel]]:
    """Run a cell, kill the bridge while it waits for a gate, open the gate, and give the bridge that comes next."""
    opened = []
    gate = tmp_path / "gate"

    def reopen(code: str) -> Kernel:
        first = running(home)
        kernel = first.__enter__()
        opened.append(first)
        cell = kernel.frontend.start(f"print('seen')\n{WAIT.format(gate=str(gate))}{code}")
        kernel.frontend.wait_text(cell, "seen")
        kernel.kill()
        gate.touch()
        second = running(home, again=kernel)
        opened.append(second)
        return second.__enter__()

    yield reopen
    for context in reversed(opened):
        context.__exit__(None, None, None)


def missed(kernel: Kernel) -> list[Message]:
    return [m for m in kernel.frontend.execute("%flame_attach") if m.channel == "iopub" and m.kind != "status"]


def texts(messages: list[Message]) -> str:
    return "".join(m.content["text"] for m in messages if m.kind == "stream")


def test_the_cell_shows_the_final_state_below_itself(reopened: Callable[[str], Kernel]) -> None:
    kernel = reopened(
        "for n in range(101): print(f'\\r{n} %', end='')\nprint()\n"
        "shown = display({'text/plain': 'first'}, raw=True, display_id=True)\n"
        "for n in range(9): shown.update({'text/plain': f'update {n}'}, raw=True)\n6 * 7"
    )
    shown = missed(kernel)

    assert "In [1]: print('seen')" in texts(shown)
    assert texts(shown).endswith("100 %\n")
    assert [m.content["data"]["text/plain"] for m in shown if "data" in m.content][-2:] == ["update 8", "42"]
    assert texts(missed(kernel)) == "", "it was shown once, and is not missed any more"


def test_the_first_cell_offers_it_once(reopened: Callable[[str], Kernel]) -> None:
    kernel = reopened("print('missed')")
    kernel.frontend.execute("1", silent=True)
    first = kernel.frontend.execute("2")
    assert first.text("stderr").startswith("[flame] nobody has seen ")
    assert "%flame_attach" in first.text("stderr")
    assert kernel.frontend.execute("3").text("stderr") == ""


def test_a_cell_that_still_runs_shows_the_rest_there(reopened: Callable[[str], Kernel], tmp_path: Path) -> None:
    more = tmp_path / "more"
    kernel = reopened(f"print('missed', flush=True)\n{WAIT.format(gate=str(more))}print('the rest')\n'value'")
    cell = kernel.frontend.start("%flame_attach")
    kernel.frontend.wait_text(cell, "In [1]: ")
    more.touch()
    answer = kernel.frontend.finish(cell)

    assert answer.text().endswith("the rest\n")
    assert answer.value == "'value'"
    assert answer.reply["status"] == "ok"


def test_what_it_waits_to_be_told_is_asked_there(reopened: Callable[[str], Kernel]) -> None:
    kernel = reopened("name = input('who? ')\nprint('hello', name)")
    cell = kernel.frontend.start("%flame_attach")
    prompt = kernel.frontend.wait_for(cell, "input_request")
    assert prompt.content == {"prompt": "who? ", "password": False}
    kernel.frontend.reply_input(prompt, "ada")

    assert kernel.frontend.finish(cell).text().endswith("hello ada\n")


def test_a_notebook_that_was_sent_away_attaches_again_with_its_next_cell(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_HOME", str(home.path))
    monkeypatch.delenv("FLAME_HOST", raising=False)
    with running(home) as kernel:
        cell = kernel.frontend.execute("x = 7")
        with Host() as host:
            (session,) = [session for session in host.sessions() if session.clients]
            host.detach(session.name)
            kernel.frontend.wait(
                lambda: any("detached this notebook" in str(m.parts) for m in kernel.frontend.messages)
            )
            assert host.sessions()[0].clients == 0
        assert cell.reply["status"] == "ok"
        assert value_of(kernel.frontend, "x") == "7"
