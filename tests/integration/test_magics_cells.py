"""``%%flame`` cells and ``%flame`` expressions in an ordinary local notebook, executed as Jupyter executes it."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.integration.local_notebook import LocalNotebook, text, value
from tests.integration.servers import FlameServer


def test_cells_run_there(notebook: LocalNotebook, server: FlameServer) -> None:
    (kernel,) = server.kernels()
    assert text(notebook.run("%%flame\nimport os\nprint(os.getpid())")) == f"{kernel.pid}\n"
    assert notebook.run("'os' in globals()")[0].data["text/plain"] == "False"


def test_streams_keep_their_names(notebook: LocalNotebook) -> None:
    outputs = notebook.run("%%flame\nimport sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert (text(outputs), text(outputs, "stderr")) == ("out\n", "err\n")


def test_output_is_shown_while_the_cell_runs(notebook: LocalNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    # The remote cell goes on only once its first line is in the notebook.
    outputs = notebook.run(
        f"%%flame\nimport os, time\nprint('first')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print('second')",
        when=("first", gate.touch),
    )
    assert text(outputs) == "first\nsecond\n"


def test_last_expression_is_the_result(notebook: LocalNotebook) -> None:
    outputs = notebook.run("%%flame\nx = 20\nx + 1")
    assert value(outputs) == "21"
    assert len(outputs) == 1
    assert value(notebook.run("_ + 1")) == "22"


def test_cell_without_a_value_shows_none(notebook: LocalNotebook) -> None:
    assert notebook.run("%%flame\nx = 20") == []


def test_value_that_stays_there_is_shown_as_it_is_there(notebook: LocalNotebook) -> None:
    assert "lock" in value(notebook.run("%%flame\nimport threading\nthreading.Lock()"))


def test_matplotlib_gives_a_picture(notebook: LocalNotebook) -> None:
    outputs = notebook.run("%%flame\nimport matplotlib.pyplot as plt\nplt.plot([1, 4, 2]);")
    (picture,) = (output for output in outputs if "image/png" in output.get("data", {}))
    assert base64.b64decode(picture.data["image/png"]).startswith(b"\x89PNG")


def test_pandas_gives_a_table(notebook: LocalNotebook) -> None:
    (table,) = notebook.run("%%flame\nimport pandas as pd\npd.DataFrame({'price': [1.5, 2.5]})")
    assert table.output_type == "execute_result"
    assert "<table" in table.data["text/html"]
    assert "price" in table.data["text/plain"]


def test_rich_output_in_the_middle_of_a_cell(notebook: LocalNotebook) -> None:
    outputs = notebook.run(
        "%%flame\nfrom IPython.display import HTML, Markdown, display\ndisplay(HTML('<b>1</b>'))\nMarkdown('*2*')"
    )
    assert [sorted(output.data)[0] for output in outputs] == ["text/html", "text/markdown"]


def test_remote_error_fails_the_cell_and_shows_the_remote_source(notebook: LocalNotebook, server: FlameServer) -> None:
    shown = notebook.fails("%%flame\ndef ratio(a, b):\n    return a / b\n\nratio(1, 0)")
    assert "ZeroDivisionError" in shown
    assert "return a / b" in shown
    assert server.address in shown
    assert "flame_kernel" not in shown
    assert "flame_magics" not in shown
    assert value(notebook.run("1 + 1")) == "2"


@pytest.mark.parametrize("code", ["%%flame\n1 +", "%flame 1 +"], ids=["cell", "expression"])
def test_remote_syntax_error_fails_the_cell(notebook: LocalNotebook, code: str) -> None:
    shown = notebook.fails(code)
    assert "SyntaxError: invalid syntax" in shown
    assert "run_line_magic" not in shown
    assert "flame_magics" not in shown


def test_remote_error_that_pickle_cannot_rebuild_fails_the_cell_with_its_words(notebook: LocalNotebook) -> None:
    notebook.run(
        "%%flame\nclass ApiError(Exception):\n    def __init__(self, code, text): super().__init__(f'{code}: {text}')"
    )
    for options in ("", "-O r", "--timeout 60", "-o nothing"):
        shown = notebook.fails(f"%%flame {options}\nraise ApiError(404, 'no such star')")
        assert "ApiError: 404: no such star" in shown
        assert "raise ApiError(404" in shown
        assert "flame_magics" not in shown
    notebook.run("%%flame --bg -O future\nraise ApiError(404, 'no such star')")
    shown = notebook.fails("%flame_result")
    assert "ApiError: 404: no such star" in shown
    assert "raise ApiError(404" in shown
    assert "ApiError: 404: no such star" in value(notebook.run("repr(future)"))


GROUP = "raise ExceptionGroup('several', [ValueError('one'), KeyError('two')])"


def everything(outputs: list[Any]) -> str:
    return "".join(
        output.text if output.output_type == "stream" else "\n".join(output.get("traceback", ())) for output in outputs
    )


@pytest.mark.parametrize(
    "before", ["%%flame\n", "%%flame --quiet\n", "bg"], ids=["cell", "quietly", "in the background"]
)
def test_an_exception_group_is_told_once(notebook: LocalNotebook, before: str) -> None:
    if before == "bg":
        notebook.run(f"%%flame --bg\n{GROUP}")
        shown = notebook.fails("%flame_result")
    else:
        shown = notebook.fails(f"{before}{GROUP}")
    assert "ExceptionGroup: several (2 sub-exceptions)" in shown
    told = everything(notebook.outputs)
    assert told.count("ValueError: one") == 1
    assert told.count("KeyError: 'two'") == 1
    assert "RemoteTraceback" not in told
    assert "flame_magics" not in told


def test_an_exception_group_of_an_expression_is_told_once(notebook: LocalNotebook) -> None:
    notebook.run(f"%%flame\ndef fail():\n    {GROUP}")
    shown = notebook.fails("%flame fail()")
    assert shown.count("ValueError: one") == 1
    assert "flame_magics" not in everything(notebook.outputs)
    assert "RemoteTraceback" not in everything(notebook.outputs)


def test_the_result_of_a_failed_cell_does_not_grow(notebook: LocalNotebook) -> None:
    notebook.run("%%flame --bg\n1 / 0")
    first = notebook.fails("%flame_result")
    assert "1 / 0" in first
    assert "_base.py" not in first
    assert notebook.fails("%flame_result") == first


def test_run_all_stops_at_a_failing_cell(server: FlameServer, tmp_path: Path) -> None:
    cells = [
        "%load_ext flame_magics",
        f"%flame_connect {server.fresh_invite()}",
        "%%flame\nprint('before')",
        "%%flame\n1 / 0",
        f"open({str(tmp_path / 'reached')!r}, 'w')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        NotebookClient(notebook, timeout=60).execute(env=server.client_environ(tmp_path / "home"))
    assert notebook.cells[2].outputs[0].text == "before\n"
    assert not (tmp_path / "reached").exists()


def test_expression_gives_its_value(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nimport math")
    assert value(notebook.run("root = %flame math.sqrt(500)\nround(root, 3)")) == "22.361"
    assert value(notebook.run("%flame [n ** 2 for n in range(4)]")) == "[0, 1, 4, 9]"
    assert "NameError" in notebook.fails("%flame no_such_name")


def test_nothing_is_expanded_in_what_goes_there(notebook: LocalNotebook) -> None:
    notebook.run("x = 'local'; name = 'local'")
    notebook.run("%%flame\nx = 'remote'")
    outputs = notebook.run("%%flame\nprint(f'{x}', '{x} $x {name} $HOME $$ {{}}', '%d' % 3)")
    assert text(outputs) == "remote {x} $x {name} $HOME $$ {{}} 3\n"
    assert value(notebook.run("%flame {'a': x}")) == "{'a': 'remote'}"
    assert value(notebook.run("%flame '$x' + '{x}'")) == "'$x{x}'"


def test_quotes_and_hashes_in_an_expression_survive(notebook: LocalNotebook) -> None:
    assert value(notebook.run("""%flame "it's" + ' "quoted" ' + '# no comment'""")) == repr(
        "it's" + ' "quoted" ' + "# no comment"
    )
    assert value(notebook.run("%flame -1 + 3")) == "2"


def test_magics_work_in_a_remote_cell(notebook: LocalNotebook) -> None:
    assert text(notebook.run("%%flame\nx = 'remote'\n!echo {x}")).split() == ["remote"]
    assert text(notebook.run("%%flame\n%%capture captured\nprint('hidden')")) == ""


def test_variables_are_pushed_and_pulled(notebook: LocalNotebook) -> None:
    notebook.run("a, b = 3, [1, 2]")
    notebook.run("%%flame -i a,b -o total,again=b\ntotal = a + sum(b)")
    assert value(notebook.run("(total, again)")) == "(6, [1, 2])"
    assert "not_here" in notebook.fails("%%flame -i not_here\n1")


def test_interrupting_the_notebook_interrupts_the_remote_cell(notebook: LocalNotebook) -> None:
    shown = notebook.fails("%%flame\nprint('spinning')\nwhile True: pass", when=("spinning", notebook.interrupt))
    assert "KeyboardInterrupt" in shown
    assert "while True" in shown
    assert text(notebook.run("%%flame\nprint('still here')")) == "still here\n"


def test_a_value_looks_as_it_looks_there_and_is_one_here(notebook: LocalNotebook) -> None:
    cell = (
        "%%flame\nimport pandas as pd\npd.set_option('display.max_rows', 4)\nframe = pd.DataFrame({'a': range(100)})\n"
        "frame"
    )
    (table,) = notebook.run(cell)
    assert "100 rows" in table.data["text/html"]
    assert len(table.data["text/plain"].splitlines()) < 10
    assert value(notebook.run("len(_)")) == "100"
    assert len(notebook.run("_ * 1\n__")[0].data["text/plain"].splitlines()) > 10  # here it looks as things look here


def test_a_value_that_stays_there_can_be_used_from_here(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nimport threading\nlock = threading.Lock(); lock")
    assert value(notebook.run("(_.remote.acquire(), _.note != '')")) == "(True, True)"
    assert value(notebook.run("%flame lock.locked()")) == "True"


def test_lines_have_the_numbers_that_they_have_in_the_notebook(notebook: LocalNotebook, server: FlameServer) -> None:
    shown = notebook.fails("%%flame\nx = 1\ny = 2\nx / (y - 2)")
    assert re.search(rf"Cell In\[\d+\] on {re.escape(server.address)}, line 4$", shown, re.MULTILINE)
    assert "----> 4 x / (y - 2)" in shown
    assert "line 2" in notebook.fails("%%flame\n1 +")
    assert text(notebook.run("%%flame\n\n%%bash\necho first")) == "first\n"


def test_an_error_is_shown_once_and_in_colours(notebook: LocalNotebook) -> None:
    notebook.fails("%%flame\nprint('before')\n1 / 0")
    outputs = notebook.outputs
    assert [output.output_type for output in outputs] == ["stream", "error"]
    assert outputs[1].ename == "ZeroDivisionError"
    assert "\x1b[" in "\n".join(outputs[1].traceback)
    shown = "\n".join(outputs[1].traceback)
    assert shown.count("division by zero") == 1
    assert "Called from here" not in shown  # by frames of IPython's and ours


def test_a_failed_cell_has_no_value_and_pulls_nothing(notebook: LocalNotebook) -> None:
    notebook.run("'the last value'")
    notebook.fails("%%flame -o half -O what\nhalf = 1\n1 / 0")
    assert value(notebook.run("(_, 'half' in globals())")) == "('the last value', False)"
    assert value(notebook.run("type(what.error).__name__")) == "'ZeroDivisionError'"


def test_what_is_pulled_is_whole_or_a_handle_that_is_said(notebook: LocalNotebook) -> None:
    notebook.run(
        "%%flame -o rows,names=there\nimport pandas as pd\nrows, there = pd.DataFrame({'a': range(100_000)}), 'x'"
    )
    assert value(notebook.run("(int(rows.a.sum()), names)")) == "(4999950000, 'x')"
    notebook.run("%config FlameMagics.pull_limit = 1000")
    said = text(notebook.run("%%flame -o rows\n0"))
    assert "rows is a handle" in said
    assert "1,000 bytes" in said
    assert value(notebook.run("len(rows)")) == "100000"
    notebook.run("%config FlameMagics.pull_limit = 1000000")
    assert "is a handle" in text(notebook.run("%%flame -o lock\nimport threading\nlock = threading.Lock()"))
    notebook.run("%config FlameMagics.pull_limit = 268435456")


def test_what_a_cell_gave_is_kept(notebook: LocalNotebook) -> None:
    assert text(notebook.run("%%flame -O gave\nprint('shown')\n6 * 7")) == "shown\n"
    assert value(notebook.run("(gave.value, gave.outputs[0]['text'], gave.error)")) == "(42, 'shown\\n', None)"


def test_a_quiet_cell_shows_nothing(notebook: LocalNotebook) -> None:
    assert notebook.run("%%flame --quiet -O gave\nprint('not shown')\n6 * 7") == []
    assert value(notebook.run("gave.value")) == "42"
    assert notebook.run("%%flame\n6 * 7;") == []
    assert "ZeroDivisionError" in notebook.fails("%%flame --quiet\n1 / 0")


def test_a_cell_that_outlasts_its_timeout_goes_on(notebook: LocalNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    shown = notebook.fails(
        f"%%flame --timeout 0.5\nimport os, time\nprint('first')\nwhile not os.path.exists({str(gate)!r}): "
        "time.sleep(0.01)\nprint('second')\n'value'"
    )
    assert shown.startswith("CellGoesOn: the cell did not end within 0.5 s; it goes on")
    assert "%flame_result shows the rest" in shown
    gate.touch()
    outputs = notebook.run("%flame_result")
    assert text(outputs) == "first\nsecond\n"
    assert value(outputs) == "'value'"


def test_a_cell_in_the_background(notebook: LocalNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (shown,) = notebook.run(
        f"%%flame --bg -O future\nimport os, time\nprint('first')\nwhile not os.path.exists({str(gate)!r}): "
        "time.sleep(0.01)\nprint('second')\n6 * 7"
    )
    assert shown.output_type == "display_data"
    assert "on here: " in shown.data["text/plain"]
    assert value(notebook.run("(future.done(), type(_).__name__)")) == "(False, 'CellFuture')"
    assert notebook.run("%flame_result --now")[0].output_type == "display_data"
    # Calls go on beside it.
    assert value(notebook.run("%flame 1 + 1")) == "2"
    outputs = notebook.run("%flame_result", when=("first", gate.touch))
    assert text(outputs) == "first\nsecond\n"
    assert value(outputs) == "42"
    assert value(notebook.run("future.result().value")) == "42"
    notebook.run("%%flame --bg\n1 / 0")
    assert "----> 2 1 / 0" in notebook.fails("%flame_result")


def test_waiting_for_a_cell_in_the_background_can_be_stopped(notebook: LocalNotebook) -> None:
    notebook.run("%%flame --bg -O future\nimport time\nprint('spinning')\nwhile True: time.sleep(0.01)")
    shown = notebook.fails("%flame_result", when=("spinning", notebook.interrupt))
    assert "the cell goes on" in shown
    assert value(notebook.run("future.done()")) == "False"
    assert value(notebook.run("future.cancel()")) == "True"
    assert "KeyboardInterrupt" in notebook.fails("%flame_result")


def test_a_question_that_nobody_can_be_asked_ends_the_cell(notebook: LocalNotebook) -> None:
    """nbclient and papermill have no prompt; the cells behind it shall not wait for ever."""
    failure = notebook.fails("%%flame\nprint('before')\nname = input('who? ')\nprint('after')")
    assert failure.startswith("SessionError: the cell asked for input, and there is no way to ask here")
    assert text(notebook.outputs) == "before\n"
    assert value(notebook.run("%%flame\n6 * 7")) == "42"
