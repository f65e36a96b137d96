"""What a bridge adds to a kernel: two hops that alter nothing, and a session that outlives the bridge."""

import json
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conformance.kernels import PATIENCE_S, Home, Kernel, command, pid_of, running, value_of

# Runs in the session: notes the frames that its kernel receives on shell and control, and those that it sends.
NOTE_FRAMES = """
def note_frames(session):
    received, sent = [], []
    deserialize, serialize = session.deserialize, session.serialize

    def noting_deserialize(frames, content=True, copy=True):
        received.append([bytes(getattr(frame, "bytes", frame)) for frame in frames][1:])
        return deserialize(frames, content=content, copy=copy)

    def noting_serialize(message, ident=None):
        frames = serialize(message, ident)
        sent.append([bytes(frame) for frame in frames[-4:]])
        return frames

    session.deserialize, session.serialize = noting_deserialize, noting_serialize
    return received, sent

received, sent = note_frames(get_ipython().kernel.session)
"""


# ---------------------------------------------------------------- byte for byte


ODD_PARTS = [
    b'{ "msg_id" : "odd-1",\t"msg_type":"comm_info_request", "session":"\xc3\xa9\\u00e9", "username":"",\n'
    b'"date":"2026-01-01T00:00:00.5+02:00", "version":"5.5", "own":[1.0, 1e2 ,-0, null] }',
    b"{ }",
    b'{"deep":{"a" : {}},"\\ud834\\udd1e":"\xf0\x9d\x84\x9e"}',
    b'{"target_name" :null, "number":12345678901234567890123, "again":1,"again":2}',
]


def test_requests_reach_the_session_byte_for_byte(flame: Kernel) -> None:
    front = flame.frontend
    front.execute(NOTE_FRAMES)
    front.send_parts("shell", [*ODD_PARTS, b"", b"<IDS|MSG>", bytes(range(256))])
    front.finish("odd-1")
    expected = [*ODD_PARTS, b"", b"<IDS|MSG>", bytes(range(256))]
    assert value_of(front, f"{expected!r} in received") == "True"


def test_replies_and_output_arrive_byte_for_byte(flame: Kernel) -> None:
    front = flame.frontend
    answer = front.execute("print('ü\\u2028'); display({'a/b': {'x': [1.0, 1e300]}}, raw=True); 'result'")
    noted = value_of(front, "[[part.decode() for part in parts] for parts in sent]")
    sent = [[part.encode() for part in parts] for parts in eval(noted)]
    assert {"stream", "display_data", "execute_result", "execute_reply", "status"} <= {m.kind for m in answer}
    for message in answer:
        assert list(message.parts[:4]) in sent, message


def test_the_session_does_not_know_the_notebooks_key(flame: Kernel) -> None:
    # Nor does it sign: its sockets are files in a folder that only the user can enter.
    assert value_of(flame.frontend, "get_ipython().kernel.session.key") == "b''"
    connection_file = value_of(flame.frontend, "get_ipython().kernel.config.IPKernelApp.connection_file")
    folder = Path(connection_file.strip("'")).parent
    assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("channel", ["shell", "control", "stdin"])
def test_a_wrong_signature_is_dropped(flame: Kernel, channel: str) -> None:
    front = flame.frontend
    header = {"msg_id": f"forged-{channel}", "msg_type": "kernel_info_request", "session": "s", "version": "5.5"}
    parts = [json.dumps(header).encode(), b"{}", b"{}", b"{}"]
    front.send_parts(channel, parts, b"0" * 64)
    front.send_parts(channel, parts, front.sign([*parts[:3], b'{"other": 1}']))
    assert front.execute("'alive'").value == "'alive'"
    assert front.answer(f"forged-{channel}") == []


@pytest.mark.parametrize(
    "parts", [[b"{}"], [b"not JSON", b"{}", b"{}", b"{}"], [b'{"msg_id": 1}', b"{}", b"{}", b"{}"]]
)
def test_what_is_no_message_is_dropped(flame: Kernel, parts: list[bytes]) -> None:
    flame.frontend.send_parts("shell", parts)
    flame.frontend.send_parts("control", parts)
    assert flame.frontend.execute("'alive'").value == "'alive'"
    assert "Traceback" not in flame.log.read_text()


def test_the_same_message_again_does_not_run_twice(flame: Kernel) -> None:
    front = flame.frontend
    front.execute("runs = 0")
    content = json.dumps({"code": "runs += 1", "silent": False}).encode()
    header = {"msg_id": "twice", "msg_type": "execute_request", "session": "s", "username": "", "version": "5.5"}
    parts = [json.dumps(header).encode(), b"{}", b"{}", content]
    front.send_parts("shell", parts)
    front.send_parts("shell", parts)
    assert value_of(front, "runs") == "1"


# ---------------------------------------------------------------- channels


def test_iopub_welcomes_each_subscriber_once(flame: Kernel) -> None:
    other = flame.connect()
    other.execute("1")
    assert [m.content for m in other.messages if m.kind == "iopub_welcome"] == [{"subscription": ""}]


def test_heartbeat_is_answered_while_a_cell_runs(flame: Kernel) -> None:
    front = flame.frontend
    cell = front.start("import threading; stop = threading.Event(); print('on'); stop.wait(20)")
    front.wait_text(cell, "on")
    assert front.beat()
    front.ask("interrupt_request", channel="control")
    front.finish(cell)


def test_a_server_that_hangs_delays_and_loses_nothing(flame: Kernel, home: Home) -> None:
    front = flame.frontend
    front.execute("1")
    server = home.server()
    server.suspend()
    try:
        cell = front.start("print('late'); 'result'")
        assert front.beat()
        assert front.answer(cell) == []
    finally:
        server.resume()
    answer = front.finish(cell)
    assert answer.text() == "late\n"
    assert answer.value == "'result'"


def test_each_frontend_gets_its_own_prompt(flame: Kernel) -> None:
    ada, bob = flame.frontend, flame.connect()
    first = ada.start("input('Ada? ')")
    prompt = ada.wait_for(first, "input_request")
    second = bob.start("import getpass; getpass.getpass('Bob? ')")
    assert prompt.content == {"prompt": "Ada? ", "password": False}
    ada.reply_input(prompt, "I am")
    prompt = bob.wait_for(second, "input_request")
    assert prompt.content == {"prompt": "Bob? ", "password": True}
    bob.reply_input(prompt, "secret")
    assert ada.finish(first).value == "'I am'"
    assert bob.finish(second).value == "'secret'"
    assert [m.channel for m in ada.messages if m.kind == "input_request"] == ["stdin"]
    assert [m.channel for m in bob.messages if m.kind == "input_request"] == ["stdin"]


def test_control_is_answered_while_shell_is_busy(flame: Kernel) -> None:
    front = flame.frontend
    cell = front.start("print('on')\nwhile True: pass")
    front.wait_text(cell, "on")
    assert front.ask("kernel_info_request", channel="control").reply["implementation"] == "ipython"
    assert "kernel_memory" in front.ask("usage_request", channel="control").reply
    assert not front.answer(cell).done
    front.ask("interrupt_request", channel="control")
    assert front.finish(cell).reply["ename"] == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "code",
    [
        "print('on')\nwhile True: pass",
        "import time; print('on'); time.sleep(60)",
        "while True: print('on', 'x' * 1000)",
        "print('on'); input('never answered')",
        "import subprocess; print('on', flush=True); subprocess.run(['sleep', '60'])",
    ],
    ids=["busy", "sleep", "flood", "input", "subprocess"],
)
def test_interrupt(flame: Kernel, code: str) -> None:
    front = flame.frontend
    cell = front.start(code)
    front.wait_text(cell, "on")
    if "input(" in code:
        front.wait_for(cell, "input_request")
    assert front.ask("interrupt_request", channel="control").reply == {"status": "ok"}
    reply = front.finish(cell, timeout=20).reply
    assert reply["status"] == "error"
    assert reply["ename"] == "KeyboardInterrupt"
    assert front.execute("'after'").value == "'after'"


def test_interrupt_aborts_nothing_but_the_running_cell_and_its_queue(flame: Kernel) -> None:
    front = flame.frontend
    front.execute("kept = 1")
    cell = front.start("print('on')\nwhile True: pass")
    queued = front.start("kept = 2")
    front.wait_text(cell, "on")
    front.ask("interrupt_request", channel="control")
    assert front.finish(queued).reply["status"] == "aborted"
    assert value_of(front, "kept") == "1"


def test_session_id_is_one_for_all_messages(flame: Kernel) -> None:
    front = flame.frontend
    front.execute("1")
    front.ask("interrupt_request", channel="control")  # the bridge answers this one itself
    own = front.messages[-1].header["session"]
    later = flame.connect()
    later.execute("print(1)")
    later.ask("interrupt_request", channel="control")
    assert {m.header["session"] for m in later.messages} == {own}


# ---------------------------------------------------------------- a process with a life of its own


def test_the_session_does_not_know_who_started_it(flame: Kernel) -> None:
    environ = value_of(flame.frontend, "sorted(__import__('os').environ)")
    assert "JPY_PARENT_PID" not in environ
    assert "JPY_SESSION_NAME" not in environ
    assert "FLAME_HOME" in environ


def test_namespace_is_empty_but_for_ipython(home: Home) -> None:
    with running(home) as fresh:
        names = value_of(fresh.frontend, "sorted(name for name in globals() if not name.startswith('_'))")
    assert names == "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']"


def test_restart_is_in_place(home: Home) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        front.execute("x = 1")
        old_pid, old_session = pid_of(front), front.messages[-1].header["session"]
        assert kernel.shut_down(restart=True) == {"status": "ok", "restart": True}
        assert kernel.process.returncode == 0
        assert not psutil.pid_exists(old_pid)
        with running(home, again=kernel) as next_one:
            front = next_one.frontend
            assert value_of(front, "'x' in globals()") == "False"
            assert pid_of(front) != old_pid
            assert front.messages[-1].header["session"] != old_session
            assert front.execute("'first'").reply["execution_count"] == 1


def test_restart_in_a_busy_cell(home: Home) -> None:
    with running(home) as kernel:
        cell = kernel.frontend.start("print('on')\nwhile True: pass")
        kernel.frontend.wait_text(cell, "on")
        kernel.shut_down(restart=True)
        with running(home, again=kernel) as next_one:
            assert next_one.frontend.execute("'anew'").value == "'anew'"


def test_shutdown_ends_the_session(home: Home) -> None:
    with running(home) as kernel:
        pid = pid_of(kernel.frontend)
        assert kernel.shut_down() == {"status": "ok", "restart": False}
        assert kernel.process.returncode == 0
        assert not psutil.pid_exists(pid)
        assert [m.content for m in kernel.frontend.messages if m.kind == "stream"] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_the_session_outlives_the_bridge(home: Home, number: int) -> None:
    with running(home) as kernel:
        kernel.frontend.execute("x = [1, 2]")
        pid, session = pid_of(kernel.frontend), kernel.frontend.messages[-1].header["session"]
        kernel.kill(number)
        with running(home, again=kernel) as next_one:
            assert value_of(next_one.frontend, "x") == "[1, 2]"
            assert pid_of(next_one.frontend) == pid
            assert next_one.frontend.messages[-1].header["session"] == session
            assert conversations(home, pid) == 1  # nothing is kept for the one that is gone


def conversations(home: Home, pid: int) -> int:
    """Return for how many clients of a session the server keeps something."""
    records = home.path.glob("state/sessions/*/*/kernel.json")
    (folder,) = [record.parent for record in records if json.loads(record.read_bytes())["pid"] == pid]
    return len({path.stem for path in folder.glob("*.[0-9]*")})


def test_a_cell_goes_on_without_the_bridge(home: Home) -> None:
    with running(home) as kernel:
        gate = home.path / "gate"
        kernel.frontend.execute(f"import pathlib, time; gate = pathlib.Path({str(gate)!r})")
        cell = kernel.frontend.start("print('on')\nwhile not gate.exists(): time.sleep(0.01)\nx = 7")
        kernel.frontend.wait_text(cell, "on")
        kernel.kill()
        with running(home, again=kernel) as next_one:
            gate.touch()
            assert value_of(next_one.frontend, "x") == "7"


def test_ctrl_c_in_the_terminal_does_not_concern_it(flame: Kernel) -> None:
    flame.process.send_signal(signal.SIGINT)
    assert flame.frontend.execute("'alive'").value == "'alive'"


def test_the_bridge_ends_with_its_parent(home: Home) -> None:
    with running(home) as kernel:
        kernel.frontend.execute("x = 3")
        kernel.kill(signal.SIGTERM)
        launcher = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [sys.executable, "-c", launcher, *command("flame", kernel.file)],
            env=home.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            bridge = psutil.Process(int(parent.stdout.readline()))
            front = kernel.connect()
            assert value_of(front, "x") == "3"
            parent.kill()
        assert psutil.wait_procs([bridge], timeout=PATIENCE_S)[1] == []
        with running(home, again=kernel) as next_one:
            assert value_of(next_one.frontend, "x") == "3"


def test_death_of_the_session_is_told_once_and_ends_the_bridge(home: Home) -> None:
    with running(home) as kernel:
        front = kernel.frontend
        cell = front.start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        queued = front.start("2")
        front.finish(cell)
        front.finish(queued)
        [error] = [m for m in front.messages if m.kind == "error"]
        assert error.parent_id == cell
        assert "SIGKILL" in error.content["evalue"]
        assert front.answer(queued).reply["status"] == "aborted"
        assert kernel.process.wait(PATIENCE_S) == 1  # so that Jupyter starts the next one
        with running(home, again=kernel) as next_one:
            assert next_one.frontend.execute("'anew'").value == "'anew'"


def test_a_restart_by_somebody_else_is_told(home: Home) -> None:
    with running(home, FLAME_SESSION="shared") as ada, running(home, FLAME_SESSION="shared") as bob:
        cell = ada.frontend.start("print('on')\nwhile True: pass")
        ada.frontend.wait_text(cell, "on")
        bob.shut_down(restart=True)
        answer = ada.frontend.finish(cell)
        assert answer.reply["status"] == "error"
        assert "restarted by another client" in answer.reply["evalue"]
        assert ada.frontend.execute("'anew'").value == "'anew'"


def test_a_shared_session_that_is_closed_is_told(home: Home) -> None:
    with running(home, FLAME_SESSION="closing") as ada, running(home, FLAME_SESSION="closing") as bob:
        cell = ada.frontend.execute("1")[0].parent_id
        bob.frontend.execute("2")
        bob.shut_down()
        ada.frontend.wait(lambda: "closed by another client" in ada.frontend.answer(cell).text("stderr"))
        assert ada.process.wait(PATIENCE_S) == 0


def test_shutdown_on_shell_is_for_the_session_too(home: Home) -> None:
    with running(home) as kernel:
        pid = pid_of(kernel.frontend)
        kernel.frontend.send("shutdown_request", {"restart": False}, "shell")
        assert kernel.process.wait(PATIENCE_S) == 0
        assert not psutil.pid_exists(pid)
