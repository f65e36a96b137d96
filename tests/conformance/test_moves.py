"""Which session a notebook has: it can be moved by a cell, named, shared, kept, and chosen in the launcher."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client import KernelManager

from tests.conformance.frontend import Answer
from tests.conformance.kernels import Home, Kernel, pid_of, running, value_of
from tests.integration.servers import FlameServer, flame_command, short_folder

ON = "__import__('os').environ['FLAME_HOME']"


@pytest.fixture(scope="module")
def gpu1() -> Iterator[FlameServer]:
    """Another host, as far as the notebook can tell."""
    with short_folder() as folder, FlameServer(folder) as server:
        yield server


def one_line(answer: Answer) -> str:
    """The only line of a cell's error."""
    [error] = [m for m in answer if m.kind == "error"]
    assert answer.reply["status"] == "error"
    assert len([m for m in answer if m.kind == "execute_input"]) == 1
    [line] = error.content["traceback"]
    assert "\n" not in line
    return line


# ---------------------------------------------------------------- moves


def test_a_cell_moves_the_notebook_there_and_back(home: Home, gpu1: FlameServer) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        front.execute("x = 'here'")
        moved = front.execute(f"%flame_connect {gpu1.fresh_invite()}")
        first, second = moved.text().splitlines()
        assert first == f"this notebook now runs on {gpu1.address}"
        assert second.startswith("session 'notebook-")
        assert second.endswith("goes on with its variables; %flame_connect embedded leads back to it")
        assert moved.kinds == ["status", "execute_input", "stream", "status"]
        [kept] = [path for path in home.path.rglob("moves/*") if path.is_file()]
        assert kept.read_text().startswith(f"{gpu1.address}\n")  # not the invite, which holds a secret
        assert value_of(front, ON) == repr(str(gpu1.home))
        assert front.ask("kernel_info_request").reply["banner"].count(gpu1.address)
        front.execute("y = 'there'; assert 'x' not in globals()")

        front.execute("%flame_connect embedded")
        assert value_of(front, ON) == repr(str(home.path))
        assert value_of(front, "x") == "'here'"

        front.execute(f"%flame_connect {gpu1.address}")
        assert value_of(front, "y") == "'there'"
        assert front.execute("%flame_connect embedded").reply["status"] == "ok"


def test_a_restart_stays_where_the_notebook_was_moved_to(home: Home, gpu1: FlameServer) -> None:
    manager = KernelManager(kernel_name="flame")
    manager.start_kernel(env=home.environ, cwd=str(home.path))
    client = manager.client()
    client.start_channels()
    told: list[str] = []

    def run(code: str) -> str:
        told.clear()
        reply = client.execute_interactive(
            code,
            timeout=30,
            output_hook=lambda m: told.append(m["content"].get("text", "")),
            user_expressions={"on": ON},
        )
        assert reply["content"]["status"] == "ok", reply
        on = reply["content"]["user_expressions"].get("on")
        return on["data"]["text/plain"] if on else ""

    try:
        client.wait_for_ready(timeout=30)
        assert run("") == repr(str(home.path))
        run(f"%flame_connect {gpu1.fresh_invite()}")
        assert run("x = 1") == repr(str(gpu1.home))
        manager.restart_kernel(now=False)
        client.wait_for_ready(timeout=30)
        assert run("print('x' in globals())") == repr(str(gpu1.home))
        assert "False\n" in told
        run("%flame_connect embedded")
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()


def test_cells_that_wait_run_in_order_on_their_hosts(home: Home, gpu1: FlameServer) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        gate = home.path / "gate"
        os.mkfifo(gate)
        cells = [
            front.start(code)
            for code in (
                f"x = 1; print('on'); open({str(gate)!r}).close(); print({ON})",
                f"%flame_connect {gpu1.fresh_invite()}",
                f"print({ON})",
                "%flame_connect embedded",
                f"print({ON}, x)",
            )
        ]
        front.wait_text(cells[0], "on")
        assert front.ask("usage_request", channel="control").reply["hostname"]  # control does not wait
        gate.write_text("")
        said = [front.finish(cell).text() for cell in cells]
        assert said[0] == f"on\n{home.path}\n"
        assert said[2] == f"{gpu1.home}\n"
        assert said[4] == f"{home.path} 1\n"
        counts = [m.parent_id for m in front.messages if m.kind == "execute_reply"]
        assert counts == cells


def test_a_cell_that_fails_aborts_the_move_behind_it_and_what_is_behind_that(home: Home, gpu1: FlameServer) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        gate = home.path / "gate-of-failure"
        os.mkfifo(gate)
        cells = [
            front.start(code, stop_on_error=True)
            for code in (
                f"print('on'); open({str(gate)!r}).close(); 1 / 0",
                f"%flame_connect {gpu1.fresh_invite()}",
                f"print('ran on', {ON})",
            )
        ]
        front.wait_text(cells[0], "on")
        gate.write_text("")
        statuses = [front.finish(cell).reply["status"] for cell in cells]
        assert statuses == ["error", "aborted", "aborted"]
        assert value_of(front, ON) == repr(str(home.path))


def test_a_cell_may_fail_without_holding_up_the_move_behind_it(home: Home, gpu1: FlameServer) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        failing = front.start("1 / 0", stop_on_error=False)
        move = front.start(f"%flame_connect {gpu1.fresh_invite()}")
        assert front.finish(failing).reply["status"] == "error"
        assert front.finish(move).reply["status"] == "ok"
        assert value_of(front, ON) == repr(str(gpu1.home))
        front.execute("%flame_connect embedded")


def test_a_move_that_fails_aborts_the_cells_behind_it(flame: Kernel) -> None:
    front = flame.frontend
    front.execute("ran = False")
    move = front.start("%flame_connect /no/such.sock", stop_on_error=True)
    behind = front.start("ran = True")
    assert front.finish(move).reply["status"] == "error"
    assert front.finish(behind).reply["status"] == "aborted"
    assert value_of(front, "ran") == "False"


def test_a_session_that_was_never_used_ends_when_the_notebook_moves_away(home: Home, gpu1: FlameServer) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        front.ask("kernel_info_request")  # as any frontend does
        pid = front.ask("usage_request", channel="control").reply["pid"]
        moved = front.execute(f"%flame_connect {gpu1.fresh_invite()}")
        assert moved.text() == f"this notebook now runs on {gpu1.address}\n"
        assert not psutil.pid_exists(pid)
        assert value_of(front, ON) == repr(str(gpu1.home))


def test_a_session_that_another_notebook_uses_does_not_end_when_one_moves_away(home: Home, gpu1: FlameServer) -> None:
    with running(home, FLAME_SESSION="stays") as first:
        first.frontend.ask("kernel_info_request")
        with running(home, FLAME_SESSION="stays") as second:
            second.frontend.execute("x = 1")
            moved = first.frontend.execute(f"%flame_connect {gpu1.fresh_invite()}")
            assert "session 'stays' on this machine goes on" in moved.text()
            assert value_of(second.frontend, "x") == "1"


@pytest.mark.parametrize("target", ["127.0.0.1:1", "/no/such.sock", "gpu 7", "flame://damaged", "-q"])
def test_a_target_that_cannot_be_had_is_one_line_and_the_notebook_stays(flame: Kernel, target: str) -> None:
    front = flame.frontend
    front.execute("x = 'kept'")
    one_line(front.execute(f"%flame_connect {target}"))
    assert value_of(front, "x") == "'kept'"


def test_a_notebook_without_a_server_is_mended_without_a_restart(home: Home, gpu1: FlameServer) -> None:
    with running(home, "--host", str(home.path / "none.sock")) as kernel:
        front = kernel.frontend
        assert "none.sock" in one_line(front.execute("1"))
        moved = front.execute(f"%flame_connect {gpu1.fresh_invite()}")
        assert moved.reply["status"] == "ok"
        assert value_of(front, ON) == repr(str(gpu1.home))
        assert front.ask("complete_request", {"code": "impor", "cursor_pos": 5}).reply["matches"] == ["import"]


# ---------------------------------------------------------------- names and sharing


def test_the_session_is_named_after_the_notebook(home: Home) -> None:
    with running(home, JPY_SESSION_NAME="/home/ada/stars/transit.ipynb") as kernel:
        banner = kernel.frontend.ask("kernel_info_request").reply["banner"]
        first = banner.splitlines()[0]
        assert first.startswith("Remote Flame: session 'transit-")
        assert socket.gethostname() in first
        assert "this machine" in first


def test_two_notebooks_share_a_session_and_each_sees_its_own(home: Home) -> None:
    with running(home, FLAME_SESSION="night") as one, running(home, FLAME_SESSION="night") as two:
        one.frontend.execute("x = 51")
        assert value_of(two.frontend, "x") == "51"
        assert pid_of(one.frontend) == pid_of(two.frontend)

        for mine, other in ((one.frontend, two.frontend), (two.frontend, one.frontend)):
            cell = mine.start("print('asked', input('name? '))")
            prompt = mine.wait_for(cell, "input_request")
            mine.reply_input(prompt, "ada")
            answer = mine.finish(cell)
            assert answer.text() == "asked ada\n"
            other.wait(lambda: other.answer(cell).text() == "asked ada\n")  # noqa: B023  # called at once
            other.wait(lambda: "idle" in str([m.content for m in other.answer(cell)]))  # noqa: B023
            assert {m.channel for m in other.answer(cell)} == {"iopub"}


def test_the_session_starts_in_the_folder_of_the_notebook(home: Home, tmp_path: Path) -> None:
    manager = KernelManager(kernel_name="flame")
    manager.start_kernel(env=home.environ, cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()
    said: list[str] = []
    try:
        client.wait_for_ready(timeout=30)
        client.execute_interactive(
            "import os; print(os.getcwd())", timeout=30, output_hook=lambda m: said.append(m["content"].get("text", ""))
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
    assert str(tmp_path) in "".join(said).splitlines()


def test_usage_names_the_host_of_the_session(flame: Kernel) -> None:
    content = flame.frontend.ask("usage_request", channel="control").reply
    assert content["hostname"] == socket.gethostname()
    assert content["pid"] == pid_of(flame.frontend)
    assert content["kernel_memory"] > 0


# ---------------------------------------------------------------- the launcher


@pytest.fixture
def jupyter(home: Home, tmp_path: Path) -> dict[str, str]:
    """An environment in which Jupyter's files of a user are in a temporary folder."""
    return home.environ | {"HOME": str(tmp_path), "JUPYTER_DATA_DIR": str(tmp_path / "jupyter")}


def test_install_puts_a_host_into_the_launcher(jupyter: dict[str, str], gpu1: FlameServer) -> None:
    done = flame_command(
        jupyter,
        "install",
        "--host",
        gpu1.fresh_invite(),
        "--kernel",
        "python3",
        "--display-name",
        "GPU one",
        "--detach",
    )
    assert done.returncode == 0, done.stderr
    name = f"flame-127.0.0.1-{gpu1.port}-python3"
    folder = Path(jupyter["JUPYTER_DATA_DIR"]) / "kernels" / name
    assert f"kernelspec {name} in {folder}" in done.stdout
    spec = json.loads((folder / "kernel.json").read_text())
    assert spec["display_name"] == "GPU one"
    assert spec["interrupt_mode"] == "message"
    assert spec["argv"][0] == sys.executable
    assert spec["argv"][5:] == ["--host", gpu1.address, "--kernel", "python3", "--on-shutdown", "detach"]
    assert any(folder.glob("logo-*"))

    listed = flame_command(jupyter, "kernels").stdout.splitlines()
    assert f"{name}  GPU one  {gpu1.address}" in listed
    assert any(line.startswith("flame  Remote Flame  ") for line in listed)
    there = flame_command(jupyter, "kernels", gpu1.address)
    assert any(line.split()[:2] == ["python3", "kernelspec"] for line in there.stdout.splitlines())


def test_a_name_that_no_kernelspec_can_have_is_one_line(jupyter: dict[str, str]) -> None:
    done = flame_command(jupyter, "install", "--name", "a b")
    assert done.returncode != 0
    assert "can't be a kernelspec's name" in done.stderr
    assert done.stderr.strip().count("\n") == 0


def test_shut_down_of_a_kernel_that_detaches_leaves_its_session(
    jupyter: dict[str, str], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = flame_command(jupyter, "install", "--name", "keeper", "--detach")
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("JUPYTER_DATA_DIR", jupyter["JUPYTER_DATA_DIR"])
    kernel = Kernel(home, "keeper", None, FLAME_SESSION="kept")
    try:
        kernel.frontend.execute("x = 'still there'")
        session = psutil.Process(pid_of(kernel.frontend))
        assert kernel.shut_down()["status"] == "ok"
    finally:
        kernel.close()
    assert session.is_running()
    with running(home, FLAME_SESSION="kept") as other:  # which ends it
        assert value_of(other.frontend, "x") == "'still there'"


def test_keys_of_the_connection_file_count_on_all_five_sockets(home: Home) -> None:
    manager = KernelManager(kernel_name="flame", transport_encryption="required")
    manager.start_kernel(env=home.environ, cwd=str(home.path))
    info = json.loads(Path(manager.connection_file).read_text())
    assert any("curve" in name for name in info), sorted(info)
    client = manager.client()
    client.start_channels()
    asked: list[str] = []
    try:
        client.wait_for_ready(timeout=30)  # shell, iopub and the heartbeat
        reply = client.execute_interactive(
            "print('answered', input('name? '))",
            timeout=30,
            allow_stdin=True,
            stdin_hook=lambda m: (asked.append(m["content"]["prompt"]), client.input("ada"))[0],
            output_hook=lambda m: asked.append(m["content"].get("text", "")),
        )
        assert reply["content"]["status"] == "ok"
        assert [text for text in asked if text] == ["name? ", "answered ada\n"]
        assert client.hb_channel.is_beating()
        control = client.session.msg("kernel_info_request")
        client.control_channel.send(control)
        assert client.control_channel.get_msg(timeout=30)["parent_header"]["msg_id"] == control["header"]["msg_id"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        manager.cleanup_resources()
