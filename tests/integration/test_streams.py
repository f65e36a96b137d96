"""What calls print reaches their callers, and nobody else."""

from __future__ import annotations

import threading

import pytest

from flame_kernel import Flame, connect
from tests.integration.servers import FlameServer, until
from tests.integration.work import in_thread


def test_prints_arrive_while_the_call_runs(flame: Flame, gate, capsys: pytest.CaptureFixture[str]) -> None:
    call = in_thread(
        flame.execute, f"print('first')\nimport sys\nprint('oops', file=sys.stderr)\nwait_for({str(gate)!r})"
    )
    seen = {"out": "", "err": ""}

    def both() -> bool:
        captured = capsys.readouterr()
        seen["out"] += captured.out
        seen["err"] += captured.err
        return seen == {"out": "first\n", "err": "oops\n"}

    until(both)
    assert not call.done()
    gate.touch()
    call.result(20)


def test_prints_reach_their_own_caller_only(client: FlameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(client.address, session="printing") as one, connect(client.address, session="printing") as other:
        got: dict[str, list[str]] = {"one": [], "other": []}
        for flame, name in ((one, "one"), (other, "other")):
            monkeypatch.setattr(flame._connection, "show", lambda stream, text, name=name: got[name].append(text))
        start = threading.Barrier(2)

        def work(flame: Flame, name: str) -> None:
            start.wait(30)
            flame.execute(f"for n in range(200): print('{name}', n)")

        calls = [in_thread(work, one, "one"), in_thread(work, other, "other")]
        for call in calls:
            call.result(30)
        for name in got:
            assert "".join(got[name]) == "".join(f"{name} {n}\n" for n in range(200))
        one.session.close()


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess; subprocess.run(['sh', '-c', 'echo out; echo err >&2'])",
        "import subprocess; subprocess.check_call('echo out; echo err >&2', shell=True)",
        "import os; assert os.system('echo out; echo err >&2') == 0",
    ],
    ids=["run", "check_call", "system"],
)
def test_what_subprocesses_print_reaches_the_caller(
    flame: Flame, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    flame.execute(code)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("out\n", "err\n")


def test_subprocesses_whose_output_is_asked_for_are_left_alone(
    flame: Flame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flame.module("subprocess").check_output(["echo", "kept"]) == b"kept\n"
    assert flame.evaluate("__import__('os').system('exit 3')") == 3 << 8
    flame.execute("import subprocess; subprocess.run(['echo', 'nowhere'], stdout=subprocess.DEVNULL)")
    assert capsys.readouterr().out == ""


def test_a_process_that_goes_on_does_not_hold_up_its_call(flame: Flame) -> None:
    flame.execute("import subprocess; background = subprocess.Popen(['sleep', '60'])")
    assert flame.evaluate("background.poll()") is None
    flame.execute("background.kill(); background.wait()")
