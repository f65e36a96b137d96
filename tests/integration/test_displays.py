"""What calls display beside text: it appears where the call was made, as what they print does."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from flame_kernel import Flame
from tests.integration.local_notebook import LocalNotebook, text
from tests.integration.work import WAIT_FOR
from tests.unit.waiting import eventually

SHOW = """
from IPython.display import HTML, display
def show(what):
    print("before")
    display(HTML(f"<b>{what}</b>"))
    print("after")
    return what
"""


@pytest.fixture(scope="module", autouse=True)
def shows(notebook: LocalNotebook) -> None:
    notebook.run(f"%%flame\n{SHOW}")


def kinds(outputs: list[Any]) -> list[str]:
    return [output.output_type for output in outputs]


def html(outputs: list[Any]) -> list[str]:
    return [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]


@pytest.mark.parametrize(
    "code",
    [
        "%flame show('x')",
        "value = %flame show('x')",
        "there.show('x');",
        "flame_magics_flame().evaluate(\"show('x')\");",
        "flame_magics_flame().submit(\"show('x')\").result();",
        "next(iter(flame_magics_flame().evaluate(\"(show('x') for _ in range(1))\")));",
        "with flame_magics_flame().batch() as batch: batch.evaluate(\"show('x')\")",
        "handle('x');",
    ],
)
def test_what_a_call_displays_appears_in_the_cell_that_made_it(notebook: LocalNotebook, code: str) -> None:
    notebook.run(
        "import __main__\nflame_magics_flame = lambda: get_ipython().find_line_magic('flame').__self__"
        ".connections.several(None)[0].flame\nthere = flame_magics_flame().module('__main__')\n"
        "handle = flame_magics_flame().ref('show')"
    )
    outputs = notebook.run(code)
    assert kinds(outputs)[:3] == ["stream", "display_data", "stream"]
    assert html(outputs) == ["<b>x</b>"]
    assert text(outputs) == "before\nafter\n"


def test_a_plot_that_a_call_shows_is_a_picture(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nimport matplotlib.pyplot as plt\ndef plot():\n    plt.plot([1, 4, 2])\n    plt.show()")
    (picture,) = (output for output in notebook.run("%flame plot()") if "image/png" in output.get("data", {}))
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")


def test_bytes_are_shown_as_a_cell_shows_them(notebook: LocalNotebook) -> None:
    notebook.run(
        "%%flame\nfrom IPython.display import Image\ndef image():\n    display(Image(b'\\x89PNG\\r\\n', format='png'))"
    )
    (here,) = notebook.run("%flame image()")
    (there,) = notebook.run("%%flame\nimage()")
    assert here == there


def test_displays_change_in_place_and_are_cleared(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nfrom IPython.display import clear_output\nheld = None")
    notebook.run("flame = get_ipython().run_line_magic")
    outputs = notebook.run(
        "flame('flame', '''[globals().update(held=display('first', display_id=True)), None][1]''')\n"
        "flame('flame', \"held.update('second')\")"
    )
    assert [output.data["text/plain"] for output in outputs] == ["'second'"]
    outputs = notebook.run("flame('flame', '[show(1), clear_output(), print(2)][2]')")
    assert [output.get("text") for output in outputs] == ["2\n"]
    outputs = notebook.run("flame('flame', '[show(1), clear_output(wait=True), show(3), None][3]')")
    assert html(outputs) == ["<b>3</b>"]


def test_what_is_captured_over_there_stays_there_and_here_here(notebook: LocalNotebook) -> None:
    notebook.run(
        "%%flame\nfrom IPython.utils.capture import capture_output\ndef quietly():\n"
        "    with capture_output() as captured:\n        display(1)\n    return len(captured.outputs)"
    )
    outputs = notebook.run("%flame quietly()")
    assert [output.data["text/plain"] for output in outputs] == ["1"]
    assert kinds(outputs) == ["execute_result"]
    assert notebook.run("%%capture captured\n%flame show(None)") == []
    assert notebook.run("len(captured.outputs), captured.stdout")[0].data["text/plain"] == "(1, 'before\\nafter\\n')"


def test_a_cell_that_runs_meanwhile_keeps_what_it_displays(flame: Flame, tmp_path: Path) -> None:
    flame.execute(f"{WAIT_FOR}\n{SHOW}")
    gate = tmp_path / "gate"
    cell = flame.start(f"display('mine')\nprint('begun')\nwait_for({str(gate)!r})\ndisplay('mine too')")
    try:
        eventually(lambda: any(output.get("text") == "begun\n" for output in cell.outputs))
        flame.evaluate("show('other')")
    finally:
        gate.touch()
    outputs = cell.result(60).outputs
    assert [output["data"]["text/plain"] for output in outputs if "data" in output] == ["'mine'", "'mine too'"]


def test_in_a_terminal_it_is_the_plain_text(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    flame.execute(SHOW)
    told = "before\n<IPython.core.display.HTML object>\nafter\n"
    flame.evaluate("show('x')")
    assert capsys.readouterr().out == told
    flame.submit("show('x')").result(60)
    assert capsys.readouterr().out == told
    asyncio.run(flame.aio.evaluate("show('x')"))
    assert capsys.readouterr().out == told


def test_what_a_thread_of_the_call_displays_goes_with_its_context(
    flame: Flame, capsys: pytest.CaptureFixture[str]
) -> None:
    flame.execute(
        f"{SHOW}\nimport contextvars, threading\n"
        "def threaded():\n    context = contextvars.copy_context()\n"
        "    thread = threading.Thread(target=context.run, args=(show, 'x'))\n    thread.start()\n    thread.join()"
    )
    flame.evaluate("threaded()")
    assert capsys.readouterr().out == "before\n<IPython.core.display.HTML object>\nafter\n"
