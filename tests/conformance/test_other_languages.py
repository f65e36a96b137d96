"""A remote kernel in another language, bash, as a notebook: what does not need Python works, and what does says so."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conformance.kernels import Home, Kernel
from tests.integration.servers import run_script


@pytest.fixture(scope="module")
def bash_home(home: Home) -> Home:
    """A home on whose host Jupyter knows bash."""
    prefix = home.path / "prefix"
    command = [sys.executable, "-m", "bash_kernel.install", "--prefix", str(prefix)]
    subprocess.run(command, env=home.environ, check=True, capture_output=True)
    home.environ |= {"JUPYTER_PATH": str(prefix / "share" / "jupyter"), "FLAME_KERNEL": "bash"}
    return home


@pytest.fixture(scope="module")
def bash(bash_home: Home) -> Iterator[Kernel]:
    kernel = Kernel(bash_home, "flame", None, FLAME_SESSION="shell")
    try:
        yield kernel
    finally:
        kernel.close()


def test_it_says_what_it_is(bash: Kernel) -> None:
    reply = bash.frontend.ask("kernel_info_request").reply
    assert reply["language_info"]["name"] == "bash"
    assert reply["implementation"] == "bash_kernel"
    assert "session 'shell'" in reply["banner"]


def test_cells_keep_their_state_and_stream(bash: Kernel) -> None:
    front = bash.frontend
    assert front.execute("word=kept").reply["status"] == "ok"
    answer = front.execute('for n in 1 2; do echo "$word $n"; done')
    assert answer.text() == "kept 1\nkept 2\n"
    assert answer.reply["status"] == "ok"


def test_an_error_is_the_cells(bash: Kernel) -> None:
    answer = bash.frontend.execute("ls /no/such/folder")
    assert answer.reply["status"] == "error"
    assert answer.reply["evalue"] == "2"
    assert "No such file" in answer.text()


def test_completion(bash: Kernel) -> None:
    bash.frontend.execute("a_long_name=1")
    reply = bash.frontend.ask("complete_request", {"code": "echo $a_long_n", "cursor_pos": 14}).reply
    assert reply["matches"] == ["$a_long_name"]


def test_interrupt_stops_the_cell_and_keeps_the_shell(bash: Kernel) -> None:
    front = bash.frontend
    cell = front.start("kept=still; echo on; sleep 60")
    front.wait_text(cell, "on")
    assert front.ask("interrupt_request", channel="control").reply["status"] == "ok"
    front.finish(cell)
    assert front.execute("echo $kept").text() == "still\n"


CALL = """
import sys
from flame_kernel import connect
from flame_kernel.errors import CallsUnavailable

with connect(session="shell", kernel="bash") as flame:
    try:
        flame.module("os").getpid()
    except CallsUnavailable as error:
        print(error)
"""


def test_calls_are_not_to_be_had_and_one_line_says_so(bash: Kernel, bash_home: Home) -> None:
    done = run_script(CALL, bash_home.environ)
    assert done.stdout.count("\n") == 1, done.stderr
    assert "shell" in done.stdout or "bash" in done.stdout
    assert bash.frontend.execute("echo unharmed").text() == "unharmed\n"


def test_restart_is_a_new_shell_in_the_same_session(
    bash: Kernel, bash_home: Home
) -> None:  # the last one: it ends `bash`
    bash.frontend.execute("gone=here")
    bash.shut_down(restart=True)
    again = Kernel(bash_home, "flame", bash, FLAME_SESSION="shell")
    try:
        assert again.frontend.execute('echo "[$gone]"').text() == "[]\n"
        assert "session 'shell'" in again.frontend.ask("kernel_info_request").reply["banner"]
    finally:
        again.close()
