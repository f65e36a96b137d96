"""What becomes of a notebook whose session's process ends in the middle of a cell, and of that session."""

import json
import os
import signal
from pathlib import Path

from tests.conformance.frontend import Answer
from tests.conformance.kernels import PATIENCE_S, Home, Kernel, pid_of, running
from tests.integration.servers import until


def killed(kernel: Kernel) -> Answer:
    """Return what is said of a cell, the second one, whose session is killed in its middle."""
    front = kernel.frontend
    pid = pid_of(front)
    front.execute("import time")
    cell = front.start("print('on')\nwhile True: time.sleep(0.01)")
    front.wait_text(cell, "on")
    os.kill(pid, signal.SIGKILL)
    answer = front.finish(cell)
    assert kernel.process.wait(PATIENCE_S) == 1
    return answer


def records(home: Home) -> list[Path]:
    return list(home.path.glob("state/sessions/*/*/session.json"))


def test_its_cell_is_told_of_once_with_its_number_and_the_session_ends_with_the_notebook(own_home: Home) -> None:
    with running(own_home) as kernel:
        answer = killed(kernel)
        assert answer.kinds == ["status", "execute_input", "stream", "error", "status"]
        [shown] = [m.content for m in answer if m.kind == "execute_input"]
        assert (shown["execution_count"], answer.reply["execution_count"]) == (2, 2)
        assert answer.reply["ename"] == "SessionDied"
        until(lambda: not records(own_home))  # nobody will tell the server that the notebook is shut down
        with running(own_home, again=kernel) as next_one:
            assert next_one.frontend.execute("'anew'").reply["execution_count"] == 1
            assert len(records(own_home)) == 1


def test_a_dead_session_stays_for_a_notebook_that_leaves_its_session_running(own_home: Home) -> None:
    with running(own_home, "--on-shutdown", "detach") as kernel:
        killed(kernel)
        until(lambda: "SIGKILL" in only_cause(own_home))
        with running(own_home, "--on-shutdown", "detach", again=kernel) as next_one:
            assert next_one.frontend.execute("'anew'").value == "'anew'"
            assert len(records(own_home)) == 1
            killed(next_one)  # or it would go on


def test_a_session_that_somebody_else_has_started_stays(own_home: Home) -> None:
    with running(own_home, FLAME_SESSION="theirs") as first:
        first.frontend.execute("1")
        first.kill(signal.SIGTERM)
        with running(own_home, FLAME_SESSION="theirs") as kernel:
            killed(kernel)
            until(lambda: "SIGKILL" in only_cause(own_home))


def only_cause(home: Home) -> str:
    [record] = records(home)
    return json.loads(record.read_bytes())["cause"]
