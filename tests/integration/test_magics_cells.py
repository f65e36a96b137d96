"""``%%flame`` cells and ``%flame`` expressions in an ordinary local notebook, executed as Jupyter executes it."""

from __future__ import annotations

import base64
from pathlib import Path

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


def test_remote_syntax_error_fails_the_cell(notebook: LocalNotebook) -> None:
    assert "SyntaxError" in notebook.fails("%%flame\n1 +")


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
