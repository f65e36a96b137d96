"""The same requests to Remote Flame and to the ipykernel beside it give the same messages.

What differs from run to run is blotted out: ids, dates, process ids, addresses, and the tip of the day in the banner.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.frontend import Frontend, Message, execution
from tests.conformance.kernels import Home, Kernel

Case = Callable[[Frontend], list[str]]
CASES: list[Case] = []


def case(function: Case) -> Case:
    """A case sends requests and gives their ids; it is named after its function."""
    CASES.append(function)
    return function


# ---------------------------------------------------------------- execute


def _cells(*codes: str, **options: Any) -> Case:
    def send(frontend: Frontend) -> list[str]:
        return [frontend.start(code, **options) for code in codes]

    return send


def _named(name: str, function: Case) -> None:
    function.__name__ = name
    CASES.append(function)


_named("result", _cells("6 * 7", "_ + 1", "'ü€𝄞\\u2028'"))
_named("streams", _cells("import sys; print('out'); print('err', file=sys.stderr); print('out again')"))
_named("large_output", _cells("print('x' * 300_000)"))
# Whether a cell that comes right behind a failing one is aborted is a matter of microseconds in ipykernel itself.
_named("error", _cells("def f(x):\n    return 1 / x\n\nf(0)", "raise KeyError('ü')", "a b", stop_on_error=False))
_named("silent", _cells("print('shown'); 1", silent=True))
_named("silent_error", _cells("1 / 0", silent=True))
_named("no_history", _cells("'not in history'", store_history=False))
_named("user_expressions", _cells("x = [1]", user_expressions={"good": "x * 2", "bad": "nothing", "worse": "(("}))
_named("error_aborts_the_queue", _cells("import time; time.sleep(0.3); 1 / 0", "print(1)", "2"))
_named("error_goes_on", _cells("import time; time.sleep(0.3); 1 / 0", "print(1)", "2", stop_on_error=False))
_named("payloads", _cells("get_ipython().set_next_input('next')", "zip?", "%load_ext nothing_like_it"))
_named("no_stdin", _cells("input('who? ')", allow_stdin=False))
_named("system_exit", _cells("raise SystemExit(3)"))
_named("subprocess", _cells("!echo from a shell"))
_named("rich_result", _cells("from IPython.display import HTML; HTML('<b>bold</b>')"))
_named(
    "display_update_clear",
    _cells(
        "from IPython.display import display, clear_output, update_display\n"
        "h = display('first', display_id='d1'); h.update('second')\n"
        "display({'application/x.own': {'a': [1, None]}}, raw=True, metadata={'k': 'v'})\n"
        "clear_output(wait=True); print('after')"
    ),
)
_named(
    "picture",
    _cells("from IPython.display import Image\nImage(data=b'\\x89PNG\\r\\n\\x1a\\n' + bytes(64), format='png')"),
)
_named(
    "threads_print",
    _cells("import threading\nt = threading.Thread(target=print, args=('from a thread',))\nt.start(); t.join()"),
)
_named("asyncio", _cells("import asyncio\nawait asyncio.sleep(0)\n'awaited'"))


@case
def cell_id(frontend: Frontend) -> list[str]:
    return [frontend.send("execute_request", execution("1"), metadata={"cellId": "c-1", "deletedCells": []})]


# ---------------------------------------------------------------- what else shell answers


def _asks(channel: str, *requests: tuple[str, dict[str, Any]]) -> Case:
    def send(frontend: Frontend) -> list[str]:
        ids = []
        for kind, content in requests:
            ids.append(frontend.send(kind, content, channel))
            frontend.finish(ids[-1])
        return ids

    return send


def _inspect(level: int) -> dict[str, Any]:
    return {"code": "textwrap_dedent(1)", "cursor_pos": 8, "detail_level": level}


_named("definition", _cells("from textwrap import dedent as textwrap_dedent\nmy_name_a, my_name_b = 1, 2"))
_named(
    "complete",
    _asks(
        "shell",
        ("complete_request", {"code": "my_name_", "cursor_pos": 8}),
        ("complete_request", {"code": "x = 'ü'; zi", "cursor_pos": 11}),
        ("complete_request", {"code": "%tim", "cursor_pos": 4}),
    ),
)
_named("inspect", _asks("shell", ("inspect_request", _inspect(0)), ("inspect_request", _inspect(1))))
_named("inspect_nothing", _asks("shell", ("inspect_request", {"code": "nothing", "cursor_pos": 3, "detail_level": 0})))
_named(
    "history",
    _asks(
        "shell",
        ("history_request", {"output": True, "raw": True, "hist_access_type": "tail", "n": 3}),
        (
            "history_request",
            {"output": False, "raw": True, "hist_access_type": "range", "session": 0, "start": 1, "stop": 3},
        ),
        (
            "history_request",
            {
                "output": False,
                "raw": True,
                "hist_access_type": "search",
                "pattern": "*my_name*",
                "n": 2,
                "unique": True,
            },
        ),
    ),
)
_named(
    "is_complete",
    _asks(
        "shell", *(("is_complete_request", {"code": code}) for code in ("1", "def f():", "1 +", "import = 7", "%%time"))
    ),
)
_named("comm_info", _asks("shell", ("comm_info_request", {}), ("comm_info_request", {"target_name": "echo"})))
_named("kernel_info", _asks("shell", ("kernel_info_request", {})))
_named("connect", _asks("shell", ("connect_request", {})))


@case
def unknown_request(frontend: Frontend) -> list[str]:
    frontend.send("no_such_request", {})
    return [frontend.send("kernel_info_request")]


# ---------------------------------------------------------------- comms


@case
def comms(frontend: Frontend) -> list[str]:
    code = (
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda m: comm.send({'echo': m['content']['data']}, m['metadata'], m['buffers']))\n"
        "    comm.on_close(lambda m: print('closed', m['content']['data']))\n"
        "get_ipython().kernel.comm_manager.register_target('echo', opened)"
    )
    ids = [frontend.start(code)]
    opening = {"comm_id": "c1", "target_name": "echo", "data": {}}
    message = {"comm_id": "c1", "data": {"ü": [1, 2.5, None]}}
    ids.append(frontend.send("comm_open", opening))
    ids.append(frontend.send("comm_msg", message, buffers=[b"", b"\x00\xff" * 500, b"<IDS|MSG>"], metadata={"m": 1}))
    ids.append(frontend.send("comm_info_request", {}))
    ids.append(frontend.send("comm_close", {"comm_id": "c1", "data": {"bye": 1}}))
    ids.append(frontend.send("comm_open", {"comm_id": "c2", "target_name": "nobody", "data": {}}))
    return ids


@case
def comm_from_the_kernel(frontend: Frontend) -> list[str]:
    code = (
        "from comm import create_comm\n"
        "comm = create_comm(target_name='t', comm_id='k1', data={'a': 1}, buffers=[b'open'])\n"
        "comm.send({'b': 2}, buffers=[bytes(10)])\ncomm.close({'c': 3})"
    )
    return [frontend.start(code)]


# ---------------------------------------------------------------- control


_named("kernel_info_on_control", _asks("control", ("kernel_info_request", {})))
_named("usage", _asks("control", ("usage_request", {})))
_named("debug_info", _asks("control", ("debug_request", {"type": "request", "seq": 1, "command": "debugInfo"})))
_named("interrupt_when_idle", _asks("control", ("interrupt_request", {})))


@case
def subshell(frontend: Frontend) -> list[str]:
    """A cell in a subshell runs while one in the main shell waits for it."""
    create = frontend.send("create_subshell_request", {}, "control")
    name = frontend.finish(create).reply["subshell_id"]
    listing = frontend.send("list_subshell_request", {}, "control")
    frontend.finish(listing)
    ids = [frontend.start("import threading; gate = threading.Event()")]
    # No output and no history: the threads of ipykernel share the display hook, the streams and the counter.
    ids.append(frontend.start("assert gate.wait(20)", store_history=False, user_expressions={"who": "'main'"}))
    frontend.wait_for(ids[-1], "execute_input")
    content = execution("gate.set()", store_history=False, user_expressions={"who": "'sub'"})
    ids.append(frontend.send("execute_request", content, subshell_id=name))
    for msg_id in ids:
        frontend.finish(msg_id)
    delete = frontend.send("delete_subshell_request", {"subshell_id": name}, "control")
    return [create, listing, *ids, delete]


@case
def interrupt(frontend: Frontend) -> list[str]:
    running = frontend.start("print('on')\nwhile True:\n    pass")
    frontend.wait_text(running, "on")
    return [running, frontend.send("interrupt_request", {}, "control")]


@case
def shut_down(frontend: Frontend) -> list[str]:  # the last one
    return [frontend.send("shutdown_request", {"restart": False}, "control")]


# ---------------------------------------------------------------- the comparison

BLOTS = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}"), "ID"),
    (re.compile(r"ipykernel_\d+"), "ipykernel_PID"),
    (re.compile(r"0x[0-9a-f]{8,}"), "0xADDRESS"),
    (re.compile(r"Tip: .*"), "Tip"),
    (re.compile(r"Remote Flame: session .*\n"), ""),  # the one thing that a bridge adds: where the kernel is
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)"), "DATE"),
)
MEASURED = ("connect_reply", "usage_reply")  # their values are figures of this very moment


def _blot(value: Any) -> Any:
    if isinstance(value, dict):
        return {_blot(key): _blot(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blot(item) for item in value]
    if isinstance(value, str):
        for pattern, word in BLOTS:
            value = pattern.sub(word, value)
    return value


def _about(message: Message, ids: list[str]) -> dict[str, Any]:
    content = _blot(message.content)
    if message.kind in MEASURED:
        content.pop("host_cpu_percent", None)  # left out by ipykernel while it is 0
        content = {name: type(value).__name__ for name, value in content.items()}
    for match in content.get("metadata", {}).get("_jupyter_types_experimental", []):
        match["type"] = "TYPE"  # jedi gives up on it after a while
    return {
        "about": ids.index(message.parent_id),
        "type": message.kind,
        "topic": message.topic.decode().rpartition(".")[2] if message.channel == "iopub" else "",
        "version": message.header["version"],
        "metadata": _blot(message.metadata),
        "content": content,
        "buffers": message.buffers,
    }


def transcript(kernel: Kernel, send: Case) -> dict[str, list[dict[str, Any]]]:
    """What a kernel says to a case, by channel: between two channels there is no order."""
    frontend = kernel.frontend
    ids = send(frontend)
    # What a comm is told has no reply; the kernel's next reply tells that it is through.
    through = frontend.send("kernel_info_request") if send is not shut_down else ids[0]
    frontend.finish(through)
    for msg_id in ids:
        frontend.wait(lambda msg_id=msg_id: _is_through(frontend, msg_id))
    said: dict[str, list[dict[str, Any]]] = {"shell": [], "control": [], "stdin": [], "iopub": []}
    for message in (m for m in frontend.messages if m.parent_id in ids):
        about = _about(message, ids)
        last = said[message.channel][-1] if said[message.channel] else None
        if last and about["type"] == last["type"] == "stream" and about["content"]["name"] == last["content"]["name"]:
            last["content"]["text"] += about["content"]["text"]  # how a stream is cut is a matter of time
        else:
            said[message.channel].append(about)
    if {m["about"] for m in said["iopub"]} - {0}:
        said["iopub"].sort(key=lambda m: m["about"])  # requests that ran side by side
        said["shell"].sort(key=lambda m: m["about"])
    return said


def _is_through(frontend: Frontend, msg_id: str) -> bool:
    if frontend.sent[msg_id].endswith("_request"):
        return frontend.answer(msg_id).done
    return any(m.kind == "status" and m.content["execution_state"] == "idle" for m in frontend.answer(msg_id))


@pytest.fixture(scope="module")
def plain() -> Iterator[Kernel]:
    home = Home()  # its own: the history is counted
    try:
        kernel = Kernel(home, "python3")
        try:
            yield kernel
        finally:
            kernel.close()
    finally:
        home.close()


@pytest.mark.parametrize("send", CASES, ids=lambda send: send.__name__)
def test_same_messages(flame: Kernel, plain: Kernel, send: Case) -> None:
    assert transcript(flame, send) == transcript(plain, send)
