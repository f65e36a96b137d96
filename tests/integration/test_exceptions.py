"""How exceptions of the other side look, in plain Python and in IPython, and what comes with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from flame_kernel import CellsFailed, Flame, Group, connect, is_remote
from flame_kernel.errors import FlameError, RemoteError, SerializationError
from tests.integration.servers import FlameServer, run_script

SCRIPT = """
import sys
from flame_kernel import connect
flame = connect(sys.argv[1])
flame.execute("def divide(a, b):\\n    return a / b")
def caller():
    flame.module("__main__").divide(1, 0)  # the caller's line
caller()
"""


def test_plain_python_shows_host_remote_frames_and_caller_but_none_of_ours(client: FlameServer) -> None:
    done = run_script(SCRIPT, client.client_environ(), client.address, timeout=60)
    told = done.stderr
    assert done.returncode == 1
    assert client.address in told
    assert told.index("return a / b") < told.index("in caller")
    assert told.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "flame_kernel/" not in told


def test_ipython_shows_host_remote_frames_and_caller_but_none_of_ours(flame: Flame, client: FlameServer) -> None:
    flame.execute("def divide(a, b):\n    return a / b")
    shell = InteractiveShell.instance()
    try:
        shell.user_ns["flame"] = flame
        for cell in ("flame.module('__main__').divide(1, 0)", "flame.submit('divide(1, 0)').result()"):
            with capture_output() as captured:
                shell.run_cell(cell)
            told = captured.stdout
            assert client.address in told
            assert "return a / b" in told
            assert "Called from here" in told
            assert "divide(1, 0)" in told.partition("Called from here")[2]
            assert "flame_kernel/client" not in told
    finally:
        InteractiveShell.clear_instance()


def test_what_led_to_an_exception_and_its_notes_come_with_it(flame: Flame, tmp_path: Path) -> None:
    (tmp_path / "only_there2.py").write_text("class Odd(Exception): pass\n")
    flame.execute(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import only_there2\n"
        "def fail():\n    try:\n        try:\n            raise only_there2.Odd('deepest')\n"
        "        except Exception as error:\n            raise KeyError('middle') from error\n"
        "    except KeyError as error:\n"
        "        top = ValueError('top')\n        top.__notes__ = ['look at the cable']\n        raise top from error"
    )
    with pytest.raises(ValueError, match="top") as caught:
        flame.module("__main__").fail()
    assert caught.value.__notes__ == ["look at the cable"]
    remote = caught.value.__cause__
    assert "Odd: deepest" in remote.text
    assert "direct cause" in remote.text
    assert "look at the cable" in remote.text
    middle = remote.cause
    assert type(middle) is KeyError
    assert middle.args == ("middle",)
    assert isinstance(middle.__cause__, RemoteError)
    assert middle.__cause__.ename == "Odd"


def test_exceptions_of_code_that_was_sent_show_their_source(flame: Flame) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        flame.execute("x = 0\ny = 1 // x")
    assert "y = 1 // x" in caught.value.__cause__.text
    with pytest.raises(ZeroDivisionError) as caught:
        flame.run("x = 0\nz = 1 // x", quiet=True)
    assert "z = 1 // x" in caught.value.__cause__.text


OWN_INIT = """
class ApiError(Exception):
    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
"""


def test_a_cells_exception_that_pickle_cannot_rebuild_is_told_in_words(flame: Flame) -> None:
    flame.execute(OWN_INIT)
    fail = "star = 404\nraise ApiError(star, 'no such star')"
    for run in (
        lambda: flame.run(fail, quiet=True),
        lambda: flame.run(fail, quiet=True, timeout=60),
        lambda: flame.start(fail).result(60),
        lambda: flame.start(fail).show(),
        lambda: flame.execute(fail),
    ):
        with pytest.raises(RemoteError) as caught:
            run()
        assert str(caught.value) == "ApiError: 404: no such star"
        assert "raise ApiError(star" in caught.value.traceback
        assert "raise ApiError(star" in caught.value.__cause__.text
    result = flame.run(fail, quiet=True, check=False)
    assert str(result.error) == "ApiError: 404: no such star"
    assert result.note == ""
    with pytest.raises(CellsFailed) as failed:
        Group({"one": flame}).run(fail, quiet=True)
    assert str(failed.value.result["one"].error) == "ApiError: 404: no such star"


def test_a_cells_exception_comes_with_what_led_to_it(flame: Flame) -> None:
    flame.execute(OWN_INIT)
    cell = "try:\n    raise ApiError(404, 'deepest')\nexcept ApiError as error:\n    raise KeyError('top') from error"
    with pytest.raises(KeyError, match="top") as caught:
        flame.run(cell, quiet=True)
    assert str(caught.value.__cause__.cause) == "ApiError: 404: deepest"


def test_an_exception_that_is_read_as_something_else_is_told_in_words(flame: Flame) -> None:
    flame.execute("class Strange(Exception):\n    def __reduce__(self):\n        return str, ('a text',)")
    for run in (lambda: flame.run("raise Strange('odd')", quiet=True), lambda: flame.execute("raise Strange('odd')")):
        with pytest.raises(RemoteError, match="Strange: odd"):
            run()


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_cells_value_that_cannot_be_read_here_does_no_harm(flame: Flame, size: int) -> None:
    flame.execute(
        "class Stuck:\n    def __init__(self, text): self.text = text\n"
        "    def __repr__(self): return '<stuck>'\n"
        "    def __reduce__(self): return eval, ('1 // 0', {'text': self.text})"
    )
    result = flame.run(f"Stuck('x' * {size})", quiet=True)
    assert result.error is None
    assert (result.result or {})["text/plain"] == "<stuck>"
    assert is_remote(result.value) or "can't be loaded here" in result.note


def test_on_a_plain_connection_errors_keep_their_names(client: FlameServer) -> None:
    with connect(client.address, plain=True) as plain:
        with pytest.raises(ZeroDivisionError, match="division"):
            plain.evaluate("1 // 0")
        with pytest.raises(SerializationError, match="plain data only"):
            plain.evaluate("{1, 2}")
        plain.execute("class Own(Exception): pass")
        with pytest.raises(RemoteError, match="Own: x"):
            plain.execute("raise Own('x')")
        with pytest.raises(AttributeError, match="nothing_here"):
            _ = plain.module("math").nothing_here
        assert plain.evaluate("1") == 1


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_exceptions_that_end_programs_end_no_connection_whichever_way_they_come(flame: Flame, name: str) -> None:
    flame.execute(f"def leave():\n    raise {name}('bye')")
    kind = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}[name]
    ways = [
        lambda: flame.module("__main__").leave(),
        lambda: flame.submit("leave()").result(20),
        lambda: list(flame.evaluate("(leave() for _ in range(3))")),
    ]
    for way in ways:
        with pytest.raises(kind):
            way()
        assert flame.evaluate("1") == 1
    with pytest.raises(kind), flame.batch() as batch:
        batch.evaluate("leave()")
    assert flame.submit("2").result(20) == 2


def test_an_unknown_error_is_still_ours(flame: Flame) -> None:
    with pytest.raises(FlameError):
        flame._connection.calls.call(0)
    assert flame.evaluate("1") == 1
