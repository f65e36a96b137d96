"""Variables, files and modules, moved by magics from and to an ordinary local notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.local_notebook import LocalNotebook, text, value
from tests.integration.servers import FlameServer


@pytest.fixture(scope="module")
def notebook(server: FlameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNotebook]:
    environ = server.client_environ(IPYTHONDIR=str(tmp_path_factory.mktemp("ipython")))
    notebook = LocalNotebook(environ)
    try:
        notebook.run("%load_ext flame_magics")
        notebook.run(f"%flame_connect {server.invite} -n one")
        notebook.run(f"%flame_connect {server.address} -n two -s second")
        yield notebook
    finally:
        notebook.close()


# ---------------------------------------------------------------- variables


def test_variables_go_there_under_the_same_or_another_name(notebook: LocalNotebook) -> None:
    assert notebook.run("a, b, c = 1, [2], 'three'\n%flame_push a,b c=words") == []
    assert value(notebook.run("%flame [a, b, words]")) == "[1, [2], 'three']"
    assert "NameError: name 'missing' is not defined here" in notebook.fails("%flame_push a missing")


def test_variables_go_to_several_connections_at_once(notebook: LocalNotebook) -> None:
    notebook.run("shared = 'both'\n%flame_push -t one,two shared")
    for name in ("one", "two"):
        assert text(notebook.run(f"%%flame -t {name}\nprint(shared)")) == "both\n"
    notebook.run("shared = 'all'\n%flame_push -t all shared")
    assert text(notebook.run("%%flame -t one\nprint(shared)")) == "all\n"


def test_names_within_a_function_are_pushed_too(notebook: LocalNotebook) -> None:
    notebook.run("def send():\n    inner = 'local to it'\n    %flame_push inner\nsend()")
    assert value(notebook.run("%flame inner")) == "'local to it'"


def test_variables_come_back(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nx, y = 10, {'k': 'v'}")
    notebook.run("%flame_pull x here=y")
    assert value(notebook.run("x, here")) == "(10, {'k': 'v'})"
    shown = notebook.fails("%flame_pull nowhere")
    assert shown.startswith("NameError: name 'nowhere' is not defined on ")
    assert "\n" not in shown


def test_what_is_too_large_is_a_handle_and_says_so(notebook: LocalNotebook) -> None:
    notebook.run("%%flame\nlarge = list(range(1000))\nimport threading\nlock = threading.Lock()")
    notebook.run("%config FlameMagics.pull_limit = 1000")
    told = text(notebook.run("%flame_pull large lock"))
    assert "[flame] large is a handle" in told
    assert "or has over 1,000 bytes" in told
    assert "[flame] lock is a handle" in told
    assert value(notebook.run("len(large), large[-1], lock.locked(), isinstance(large, list)")) == (
        "(1000, 999, False, False)"
    )
    assert text(notebook.run("%flame_pull -w large")) == ""
    assert value(notebook.run("large == list(range(1000))")) == "True"
    notebook.run("%config FlameMagics.pull_limit = 100_000_000")


# ---------------------------------------------------------------- files


def test_trees_go_there_and_back(notebook: LocalNotebook, tmp_path: Path) -> None:
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "deep" / "my data.csv").write_text("1,2\n")
    (tmp_path / "one.txt").write_text("one")
    there, back = tmp_path / "there", tmp_path / "back"
    done = notebook.run(f"%flame_put {tmp_path}/tree {tmp_path}/*.txt {there}/")
    assert value(done) == "CopyResult(files=2, bytes=7, found=0, skipped=())"
    assert (there / "tree" / "deep" / "my data.csv").read_text() == "1,2\n"
    notebook.run(f"%flame_get '{there}/tree/deep/my data.csv' {back}/")
    assert (back / "my data.csv").read_text() == "1,2\n"
    assert "FileNotFoundError" in notebook.fails(f"%flame_get {there}/nothing {back}/")


def test_a_copy_shows_a_bar_only_when_it_takes_a_while(notebook: LocalNotebook, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    (result,) = notebook.run(f"%flame_put {tmp_path}/small {tmp_path}/there")
    assert result.output_type == "execute_result"
    bar, result = notebook.run(
        "from flame_kernel.client.files import progress\nprogress._AFTER_S = 0\n"
        f"%flame_put {tmp_path}/small {tmp_path}/another"
    )
    assert "application/vnd.jupyter.widget-view+json" in bar.data
    (result,) = notebook.run(f"%flame_put -q {tmp_path}/small {tmp_path}/third")
    assert result.output_type == "execute_result"


def test_a_copy_to_several_hosts_tells_of_each(notebook: LocalNotebook, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f")
    told = value(notebook.run(f"%flame_put -q -t all {tmp_path}/f {tmp_path}/there/"))
    assert told.startswith("{'one': CopyResult(files=1, bytes=1, found=0")
    assert "'two': CopyResult(" in told


# ---------------------------------------------------------------- modules


def test_a_remote_module_is_put_into_the_notebook(notebook: LocalNotebook) -> None:
    assert "[flame] there is the module os on " in text(notebook.run("%flame_module os as there"))
    local = int(value(notebook.run("import os; os.getpid()")))
    assert int(value(notebook.run("there.getpid()"))) == int(value(notebook.run("%flame __import__('os').getpid()")))
    assert int(value(notebook.run("there.getpid()"))) != local
    notebook.run("%flame_module os.path")
    assert value(notebook.run("path.join('a', 'b')")) == "'a/b'"
    shown = notebook.fails("%flame_module no_such_module")
    assert shown == "ModuleNotFoundError: No module named 'no_such_module'"
    assert "usage: %flame_module [-t NAME]" in notebook.misuses("%flame_module os as")


def test_an_edited_module_is_sent_again(notebook: LocalNotebook, tmp_path: Path) -> None:
    file = tmp_path / "edited_magics.py"
    file.write_text("def answer():\n    return 41\n")
    assert "edited_magics is on" in text(notebook.run(f"%flame_sendmodule {file}"))
    assert value(notebook.run("%flame __import__('edited_magics').answer()")) == "41"
    file.write_text("def answer():\n    return 42\n")
    outputs = notebook.run("%flame __import__('edited_magics').answer()")
    assert "edited_magics has changed" in text(outputs)
    assert value(outputs) == "42"
    file.write_text("def answer(:\n")
    outputs = notebook.run("%flame __import__('edited_magics').answer()")
    assert "as it was before it was edited here: SyntaxError" in text(outputs, "stderr")
    assert value(outputs) == "42"
    assert text(notebook.run("1"), "stderr") == ""  # it has been told, and this cell has nothing to do with it
    file.write_text("def answer():\n    return 43\n")
    assert value(notebook.run("%flame __import__('edited_magics').answer()")) == "43"


def test_a_module_is_sent_by_its_name_and_once(notebook: LocalNotebook, tmp_path: Path) -> None:
    file = tmp_path / "named_magics.py"
    file.write_text("x = 1\n")
    notebook.run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    notebook.run("%flame_sendmodule --once named_magics")
    file.write_text("x = 2\n")
    assert value(notebook.run("%flame __import__('named_magics').x")) == "1"
    assert notebook.fails("%flame_sendmodule no_such_module").startswith("ModuleNotFoundError: no module named")


def test_the_source_of_a_remote_module(notebook: LocalNotebook, tmp_path: Path) -> None:
    notebook.run("%flame __import__('this') and None")
    (shown,) = (one for one in notebook.run("%flame_getmodule this") if one.output_type == "execute_result")
    assert "highlight" in shown.data["text/html"]
    assert "Gur Mra" in shown.data["text/plain"]
    assert value(notebook.run("source = %flame_getmodule this\n'Gur Mra' in source")) == "True"
    notebook.run(f"%flame_getmodule -o {tmp_path}/this.py this")
    assert "Gur Mra" in (tmp_path / "this.py").read_text()
    assert "ModuleNotFoundError" in notebook.fails("%flame_getmodule no_such_module")


# ---------------------------------------------------------------- lines that are wrong


@pytest.mark.parametrize(
    "magic", ["push", "pull", "put x", "get x", "module", "sendmodule", "getmodule", "console x", "debug x"]
)
def test_a_wrong_line_shows_how_it_is_right(notebook: LocalNotebook, magic: str) -> None:
    assert f"usage: %flame_{magic.split()[0]} " in notebook.misuses(f"%flame_{magic}")


def test_help_tells_options_and_an_example(notebook: LocalNotebook) -> None:
    for name in ("push", "pull", "put", "get", "module", "sendmodule", "getmodule", "console", "debug"):
        told = value(notebook.run(f"get_ipython().find_line_magic('flame_{name}').__doc__"))
        assert f"%flame_{name}" in told
        assert "--target" in told
        assert "Example" in told


def test_without_a_connection_each_says_what_to_do(server: FlameServer, tmp_path: Path) -> None:
    lone = LocalNotebook(server.client_environ(IPYTHONDIR=str(tmp_path)))
    try:
        lone.run("%load_ext flame_magics\nx = 1")
        for line in ("push x", "pull x", "put x y", "get x y", "module os", "sendmodule os", "getmodule os", "debug"):
            assert lone.fails(f"%flame_{line}") == "ConnectError: not connected: %flame_connect HOST first"
    finally:
        lone.close()
