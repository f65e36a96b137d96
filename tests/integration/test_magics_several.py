"""One cell on several sessions at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.local_notebook import LocalNotebook, text, value
from tests.integration.servers import FlameServer


@pytest.fixture(scope="module")
def both(notebook: LocalNotebook, server: FlameServer) -> LocalNotebook:
    """The notebook with a second connection."""
    notebook.run(f"%flame_connect {server.address} -n there")
    notebook.run("%%flame -t here\nname = 'here'")
    notebook.run("%%flame -t there\nname = 'there'")
    return notebook


def test_they_run_at_the_same_time_and_outputs_are_grouped(both: LocalNotebook, tmp_path: Path) -> None:
    # Each waits for the other, which it would do for ever if they ran one after the other.
    outputs = both.run(
        f"%%flame -t here,there\nimport pathlib, time\nfolder = pathlib.Path({str(tmp_path)!r})\n"
        "print(f'{name} begins')\n(folder / name).touch()\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.01)\nprint(f'{name} ends')\nname.upper()"
    )
    here, there, result = outputs
    assert here.data["text/plain"].splitlines()[1:] == ["here begins", "here ends", "'HERE'"]
    assert there.data["text/plain"].splitlines()[1:] == ["there begins", "there ends", "'THERE'"]
    assert here.data["text/plain"].startswith("[here: done after ")
    assert "<pre>here begins\nhere ends\n</pre>" in here.data["text/html"]
    assert result.data["text/plain"] == "{'here': 'HERE', 'there': 'THERE'}"
    assert value(both.run("_['there']")) == "'THERE'"


def test_a_failure_on_one_is_reported_without_losing_the_others(both: LocalNotebook) -> None:
    shown = both.fails("%%flame -t all -O gave\nprint('begun')\nif name == 'there': 1 / 0\n'value'")
    here, there, error = both.outputs
    assert "begun" in here.data["text/plain"]
    assert "'value'" in here.data["text/plain"]
    assert "failed after" in there.data["text/plain"]
    assert "begun" in there.data["text/plain"]
    assert error.ename == "CellsFailed"
    assert shown.startswith("CellsFailed: the cell failed on there (1 of 2)")
    assert "----> 3 if name == 'there': 1 / 0" in shown
    assert shown.count("division by zero") == 1
    assert value(both.run("(gave['here'].value, type(gave.errors['there']).__name__)")) == (
        "('value', 'ZeroDivisionError')"
    )


def test_what_needs_the_front_end_is_shown_by_it(both: LocalNotebook) -> None:
    cell = (
        "%%flame -t all\nfrom IPython.display import display\ndisplay({'application/x.y+json': {'n': name}}, raw=True)"
    )
    kinds = [sorted(output.data)[0] for output in both.run(cell)]
    assert kinds == [
        "text/html",
        "text/html",
        "text/plain",
        "application/x.y+json",
        "text/plain",
        "application/x.y+json",
    ]


def test_help_on_several_is_shown_below(both: LocalNotebook) -> None:
    outputs = both.run("%%flame -t all\nlen?")[2:]
    assert [output.data["text/plain"] for output in outputs[::2]] == ["here:", "there:"]
    assert all("Return the number of items" in output.data["text/plain"] for output in outputs[1::2])


def test_variables_and_expressions_of_several(both: LocalNotebook) -> None:
    both.run("factor = 2")
    both.run("%%flame -t all -i factor -o doubled\ndoubled = name * factor")
    assert value(both.run("doubled")) == "{'here': 'herehere', 'there': 'therethere'}"
    assert value(both.run("%flame -t all name")) == "{'here': 'here', 'there': 'there'}"
    assert value(both.run("%flame -t there name")) == "'there'"


def test_the_stop_button_interrupts_all(both: LocalNotebook) -> None:
    both.run("%%flame -t all --bg -O futures\nprint('begun')\nwhile True: pass")
    both.run("for future in futures.values(): future.cancel()")
    assert (
        value(both.run("{type(future.exception()).__name__ for future in futures.values()}")) == "{'KeyboardInterrupt'}"
    )


def test_one_that_takes_too_long_goes_on(both: LocalNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shown = both.fails(
        f"%%flame -t all --timeout 5 -O gave\nimport os, time\n"
        f"while name == 'here' and not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')\nname"
    )
    assert "here:\nCellGoesOn: the cell did not end within 5 s" in shown
    assert value(both.run("gave['there'].value")) == "'there'"
    gate.touch()
    outputs = both.run("%flame_result")
    assert (text(outputs), value(outputs)) == ("ended\n", "'here'")
