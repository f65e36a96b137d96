"""Cells and what they show, and what calls print."""

from __future__ import annotations

import io
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from flame_kernel import Flame, connect
from tests.integration.servers import FlameServer, Program, until
from tests.integration.work import WAIT_FOR, in_thread, wait_until_set

# ---------------------------------------------------------------- what is printed


def test_prints_of_a_call_arrive_before_it_returns(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    flame.execute("import sys\nprint('to stdout')\nprint('to stderr', file=sys.stderr)\nprint('no newline', end='')")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("to stdout\nno newline", "to stderr\n")
    flame.builtin("print")("hello", "there", sep="-")
    assert capsys.readouterr().out == "hello-there\n"


def test_prints_of_a_call_that_fails_arrive(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        flame.execute("print('before')\n1/0")
    assert capsys.readouterr().out == "before\n"


def test_prints_of_a_call_reach_no_other_caller(client: FlameServer, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(client.address, session="prints") as one, connect(client.address, session="prints") as other:
        one.execute(WAIT_FOR + "import threading; started = threading.Event(); done = threading.Event()")
        cell = in_thread(one.run, "started.set(); done.wait(20); print('from the cell')", quiet=True)
        other.execute("started.wait(20); print('from the call'); done.set()")
        assert capsys.readouterr().out == "from the call\n"
        assert [output["text"] for output in cell.result(20).outputs] == ["from the cell\n"]
        one.session.close()


# ---------------------------------------------------------------- cells


def test_cell_gives_streams_rich_output_and_result(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    result = flame.run(
        "import sys\nfrom IPython.display import HTML, display\n"
        "print('out')\nprint('err', file=sys.stderr)\ndisplay(HTML('<b>rich</b>'))\n[1, 2]"
    )
    kinds = {output["output_type"] for output in result.outputs}
    assert kinds == {"stream", "display_data", "execute_result"}
    streams = {output["name"]: output["text"] for output in result.outputs if output["output_type"] == "stream"}
    assert streams == {"stdout": "out\n", "stderr": "err\n"}
    rich = next(output for output in result.outputs if output["output_type"] == "display_data")
    assert rich["data"]["text/html"] == "<b>rich</b>"
    assert result.result == {"text/plain": "[1, 2]"}
    assert result.value == [1, 2]
    assert result.error is None
    shown = capsys.readouterr()
    assert "out\n" in shown.out
    assert "[1, 2]" in shown.out
    assert shown.err == "err\n"


def test_a_cell_waits_for_what_it_printed_and_for_nothing_else(flame: Flame) -> None:
    count = dedent("""
        import sys
        publisher = sys.stdout.pub_thread
        asked = []
        schedule = publisher.schedule
        publisher.schedule = lambda work: (asked.append(work), schedule(work))
        try:
            sys.stdout.flush(); sys.stderr.flush()
            without = len(asked)
            print("printed")
            written = len(asked)
            sys.stdout.flush()
            flushed = len(asked)
        finally:
            publisher.schedule = schedule
        without, flushed > written
    """)
    cell = flame.run(count, quiet=True)
    assert cell.value == (0, True)
    assert [output["text"] for output in cell.outputs if output["output_type"] == "stream"] == ["printed\n"]


def test_what_a_cell_shows_while_the_server_stands_still_is_all_there(client: FlameServer, tmp_path: Path) -> None:
    waits, shown = tmp_path / "waits", tmp_path / "shown"
    show = WAIT_FOR + dedent(f"""
        from pathlib import Path
        Path({str(waits)!r}).touch()
        wait_for({str(tmp_path / "go")!r})
        for number in range(3000):  # three times what ZeroMQ keeps unasked
            display({{"text/plain": f"{{number}}" + " " * 5000}}, raw=True)
        Path({str(shown)!r}).touch()
    """)
    with connect(client.address, session="much") as flame:
        cell = in_thread(flame.run, show, quiet=True)
        until(waits.exists)
        client.program.signal(signal.SIGSTOP)
        try:
            (tmp_path / "go").touch()
            until(shown.exists)
        finally:
            client.program.signal(signal.SIGCONT)
        outputs = cell.result(60).outputs
        assert [int(output["data"]["text/plain"]) for output in outputs] == list(range(3000))
        flame.session.close()


def test_quiet_cell_shows_nothing(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    assert flame.run("print('quiet'); 5", quiet=True).value == 5
    assert capsys.readouterr() == ("", "")


def test_cell_outputs_are_valid_in_a_notebook(flame: Flame) -> None:
    import nbformat

    outputs = flame.run("print(1)\ndisplay(2)\n3", quiet=True).outputs
    outputs += flame.run("1/0", quiet=True, check=False).outputs
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.from_dict(output) for output in outputs])
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))


def test_cell_without_a_value_has_none(flame: Flame) -> None:
    result = flame.run("x = 1;", quiet=True)
    assert (result.outputs, result.result, result.value) == ([], None, None)


def test_value_of_a_cell_that_can_not_cross_is_noted(flame: Flame) -> None:
    result = flame.run("import threading; threading.Lock()", quiet=True)
    assert result.value is None
    assert result.note
    assert "lock" in result.result["text/plain"]
    large = flame.run("bytes(11 * 1024 ** 2)[:].__class__(11 * 1024 ** 2)", quiet=True)
    assert large.value is None
    assert "bytes" in large.note


def test_failing_cell_raises_unless_told_not_to(flame: Flame) -> None:
    with pytest.raises(ZeroDivisionError):
        flame.run("1 / 0", quiet=True)
    result = flame.run("print('first')\n1 / 0", quiet=True, check=False)
    assert isinstance(result.error, ZeroDivisionError)
    assert [output["output_type"] for output in result.outputs] == ["stream", "error"]
    with pytest.raises(SyntaxError):
        flame.run("1 +", quiet=True)


def test_display_is_updated_and_output_cleared(flame: Flame) -> None:
    result = flame.run(
        "handle = display('first', display_id=True)\nhandle.update('second')\nprint('after')", quiet=True
    )
    assert [output.get("data", {}).get("text/plain") for output in result.outputs] == ["'second'", None]
    result = flame.run(
        "from IPython.display import clear_output\nprint('gone')\nclear_output(wait=True)\nprint('stays')", quiet=True
    )
    assert [output["text"] for output in result.outputs] == ["stays\n"]
    result = flame.run("print('gone')\nclear_output()", quiet=True)
    assert result.outputs == []


def test_input_is_asked_here(flame: Flame, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return f"answer {len(asked)}"

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr("getpass.getpass", answer)
    result = flame.run("a = input('Who? '); import getpass; b = getpass.getpass('Secret: '); (a, b)", quiet=True)
    assert result.value == ("answer 1", "answer 2")
    assert asked == ["Who? ", "Secret: "]


def test_outputs_are_shown_while_the_cell_runs(flame: Flame, gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(io.StringIO):
        def write(self, text: str) -> int:
            if "first" in text:
                gate.touch()
            return super().write(text)

    out = Watched()
    monkeypatch.setattr("sys.stdout", out)
    flame.run(f"print('first')\nwait_for({str(gate)!r})\nprint('second')")
    assert out.getvalue() == "first\nsecond\n"


def test_calls_answer_while_a_cell_runs(flame: Flame, gate: Path) -> None:
    flame.execute("globals().pop('in_cell', None)")
    cell = in_thread(flame.run, f"in_cell = 1\nwait_for({str(gate)!r})\n'done'", quiet=True)
    wait_until_set(flame, "in_cell")
    assert flame.evaluate("in_cell") == 1
    assert flame.module("math").floor(2.5) == 2
    assert not cell.done()
    gate.touch()
    assert cell.result(20).value == "done"


def test_cells_of_two_threads_do_not_mix(flame: Flame) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda n: flame.run(f"for _ in range(20): print({n})\n{n}", quiet=True), range(8), timeout=30)
        )
    for number, result in enumerate(results):
        assert result.value == number
        text = "".join(output["text"] for output in result.outputs if output["output_type"] == "stream")
        assert text == f"{number}\n" * 20


def test_ctrl_c_interrupts_the_remote_cell(client: FlameServer) -> None:
    code = dedent(f"""
        from flame_kernel import connect
        with connect({client.address!r}) as flame:
            try:
                flame.run("print('busy')\\nwhile True: pass")
            except KeyboardInterrupt as error:
                print("interrupted", "Remote traceback" in str(error.__cause__))
            print(flame.evaluate("'still here'"))
    """)
    script = Program([sys.executable, "-c", code], client.client_environ())
    script.wait_for("busy")
    script.signal(signal.SIGINT)
    script.wait_for("interrupted True")
    script.wait_for("still here")
    assert script.wait() == 0, script.err


def test_ctrl_c_in_a_call_leaves_the_connection_usable(client: FlameServer) -> None:
    code = dedent(f"""
        from flame_kernel import connect
        with connect({client.address!r}) as flame:
            try:
                flame.execute("import time; print('busy')\\nwhile True: time.sleep(0.01)")
            except KeyboardInterrupt:
                print("interrupted")
            print(flame.evaluate("'still here'"))
    """)
    script = Program([sys.executable, "-c", code], client.client_environ())
    script.wait_for("busy")
    script.signal(signal.SIGINT)
    script.wait_for("interrupted")
    script.wait_for("still here")
    assert script.wait() == 0, script.err
