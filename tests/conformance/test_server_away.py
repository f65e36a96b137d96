"""What a bridge does without its server: before it is there, while it is away, and when it is gone."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conformance.kernels import PATIENCE_S, Home, Kernel, command_of, pid_of, running
from tests.ports import free_port


@pytest.fixture(scope="module", autouse=True)
def waiting(home: Home) -> Iterator[tuple[Kernel, str]]:
    """A kernel whose server accepts connections and says nothing, asked from the beginning what it is."""
    path = home.path / "silent.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with running(home, "--host", str(path)) as kernel:
            yield kernel, kernel.frontend.send("kernel_info_request")


# ---------------------------------------------------------------- the server is not there


def test_no_server_is_one_line_in_the_cell_until_there_is_one(home: Home) -> None:
    path = home.path / "later.sock"
    with running(home, "--host", str(path)) as kernel:
        front = kernel.frontend
        info = front.finish(front.send("kernel_info_request")).reply
        assert (info["status"], info["language_info"]["name"]) == ("ok", "python")
        answer = front.execute("x = 1")
        [error] = [m for m in answer if m.kind == "error"]
        assert len(error.content["traceback"]) == 1
        assert "\n" not in error.content["traceback"][0]
        assert str(path) in error.content["evalue"]
        assert answer.reply["status"] == "error"
        assert front.beat()
        with server_at(home, path):
            assert front.execute("6 * 7").value == "42"
            kernel.shut_down()


def test_a_host_that_was_never_paired_is_one_line(home: Home) -> None:
    with running(home, "--host", f"127.0.0.1:{free_port()}") as kernel:
        front = kernel.frontend
        assert front.finish(front.send("kernel_info_request")).reply["status"] == "ok"
        evalue = front.execute("1").reply["evalue"]
        assert "is not known here; pair once with the invite" in evalue


def test_a_server_that_says_nothing_does_not_hold_up_kernel_info(waiting: tuple[Kernel, str]) -> None:
    kernel, asked = waiting
    front = kernel.frontend
    reply = front.finish(asked).reply
    assert reply["status"] == "ok"
    assert "not there yet" in reply["banner"]
    assert front.ask("kernel_info_request", channel="control").reply["status"] == "ok"


@contextmanager
def server_at(home: Home, path: os.PathLike[str]) -> Iterator[None]:
    argv = [sys.executable, "-m", "flame_kernel", "serve", "--enable", "-u", str(path)]
    with subprocess.Popen(argv, env=home.environ, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert any("server is running" in line for line in server.stdout)
            yield
        finally:
            server.terminate()


# ---------------------------------------------------------------- the embedded server


@pytest.mark.parametrize("end", [psutil.Process.kill, psutil.Process.terminate], ids=["killed", "stopped"])
def test_a_cell_goes_on_while_its_server_ends_and_is_started_again(
    own_home: Home, end: Callable[[psutil.Process], None], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with running(own_home) as kernel:
        front = kernel.frontend
        pid = pid_of(front)
        cell = front.start(
            f"import os, time\nprint('on')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('off'); 42"
        )
        front.wait_text(cell, "on")
        server = own_home.server()
        end(server)
        psutil.wait_procs([server], timeout=PATIENCE_S)
        assert front.beat()
        front.wait(lambda: "started again" in front.answer(cell).text("stderr"))
        gate.touch()
        answer = front.finish(cell)
        assert (answer.reply["status"], answer.value) == ("ok", "42")
        assert "off" in answer.text()
        assert own_home.server().pid != server.pid
        assert pid_of(front) == pid


def test_another_server_is_never_said_to_have_lost_nothing(own_home: Home) -> None:
    path = own_home.path / "s.sock"
    with ExitStack() as first, running(own_home, "--host", str(path)) as kernel:
        first.enter_context(server_at(own_home, path))
        front = kernel.frontend
        gate = own_home.path / "gate"
        cell = front.start(f"import os, time\nprint('on')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)")
        front.wait_text(cell, "on")
        first.close()
        front.wait(lambda: any("lost for" in text for text in front.answer(cell).displays))
        with server_at(own_home, path):
            front.wait(lambda: "could not be kept" in front.answer(cell).text("stderr"))
            gate.touch()
            shown = front.finish(cell).displays
            assert re.fullmatch(r"\[flame\] link to \S+ is back after \d+ s", shown[-1])
            assert not any("nothing is lost" in text for text in shown)
            kernel.shut_down()


def test_input_waits_for_its_answer_while_the_server_is_killed_and_started_again(own_home: Home) -> None:
    with running(own_home) as kernel:
        front = kernel.frontend
        cell = front.start("input('who? ')")
        prompt = front.wait_for(cell, "input_request")
        own_home.server().kill()
        front.wait(lambda: "started again" in front.answer(cell).text("stderr"))
        front.reply_input(prompt, "ada")
        assert front.finish(cell).value == "'ada'"


def test_notebooks_that_open_at_the_same_time_share_one_server_which_ends_after_them(own_home: Home) -> None:
    with ExitStack() as stack:
        kernels = [stack.enter_context(running(own_home)) for _ in range(4)]
        asked = [kernel.frontend.send("kernel_info_request") for kernel in kernels]
        for kernel, msg_id in zip(kernels, asked, strict=True):
            assert kernel.frontend.finish(msg_id).reply["implementation"] == "ipython"
        assert len([p for p in own_home.processes() if "--embedded" in command_of(p)]) == 1
        server = own_home.server()
    assert psutil.wait_procs([server], timeout=PATIENCE_S)[1] == []  # nobody needs it any more
    assert own_home.processes() == []
