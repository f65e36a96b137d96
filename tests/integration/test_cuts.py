"""Nothing is lost over a cut, and nothing runs twice: a client, a relay that cuts, a server."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from flame_kernel import Flame, connect
from flame_kernel.errors import FlameTimeout
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, clean_environ, until
from tests.integration.work import in_thread, taken

# 200 lines over some 3 s, each written by itself.
CELL = "import time\nfor n in range(200):\n    print('line', n, flush=True)\n    time.sleep(0.015)\n'end'"
LINES = [f"line {n}" for n in range(200)]
BLACK_HOLE_S = 2.0


class Plan:
    """Does things to the relay as soon as certain lines have been shown."""

    def __init__(self, steps: dict[str, Callable[[], object]]) -> None:
        self._steps = dict(steps)
        self._seen = ""
        self._done: list[str] = []

    def saw(self, text: str) -> None:
        """Take note of text that was shown."""
        self._seen += text
        for line in [line for line in self._steps if f"{line}\n" in self._seen]:
            self._done.append(line)
            self._steps.pop(line)()

    @property
    def carried_out(self) -> bool:
        """Whether all that was planned was done."""
        return bool(self._done) and not self._steps


class Screen(io.StringIO):
    """A stdout that a plan watches."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._plan = plan

    def write(self, text: str) -> int:
        written = super().write(text)
        self._plan.saw(text)
        return written


def black_hole_for_a_while(relay: Relay) -> None:
    relay.black_hole()
    timer = threading.Timer(BLACK_HOLE_S, relay.heal)
    timer.daemon = True
    timer.start()


@pytest.fixture
def far(client: FlameServer, relay: Relay) -> Iterator[Flame]:
    """A session behind the relay, the same each time."""
    with connect(relay.address, session="far") as flame:
        yield flame
        relay.heal()


# ---------------------------------------------------------------- cells


def test_cell_over_a_cut_and_a_black_hole(far: Flame, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan({"line 60": relay.cut, "line 120": lambda: black_hole_for_a_while(relay)})
    screen = Screen(plan)
    monkeypatch.setattr("sys.stdout", screen)
    result = far.run(CELL, show_result=False)
    assert plan.carried_out
    assert screen.getvalue().splitlines() == LINES
    assert "".join(output["text"] for output in result.outputs if "text" in output).splitlines() == LINES
    assert result.value == "end"


def test_cell_over_five_cuts_in_a_row(far: Flame, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan({f"line {n}": relay.cut for n in (20, 55, 90, 125, 160)})
    screen = Screen(plan)
    monkeypatch.setattr("sys.stdout", screen)
    far.run(CELL, show_result=False)
    assert plan.carried_out
    assert screen.getvalue().splitlines() == LINES


def test_cell_that_ends_while_the_link_is_down(far: Flame, relay: Relay, tmp_path: Path) -> None:
    gate, ended = tmp_path / "gate", tmp_path / "ended"
    started = tmp_path / "started"
    cell = in_thread(
        far.run,
        f"import os, pathlib, time\npathlib.Path({str(started)!r}).touch()\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        f"print('said while it was down')\npathlib.Path({str(ended)!r}).touch()\n42",
        quiet=True,
    )
    until(started.exists)
    relay.refuse()
    gate.touch()
    until(ended.exists)
    assert not cell.done()
    relay.heal()
    result = cell.result(30)
    assert result.value == 42
    assert result.outputs[0]["text"] == "said while it was down\n"


def test_cell_that_is_sent_while_the_link_is_down_runs_once(far: Flame, relay: Relay) -> None:
    far["count"] = 0
    relay.refuse()
    cell = in_thread(far.run, "count += 1\ncount", quiet=True)
    before = relay.connections
    until(lambda: relay.connections > before)
    assert not cell.done()
    relay.heal()
    assert cell.result(30).value == 1
    assert far["count"] == 1


def test_interrupt_works_after_a_cut(far: Flame, relay: Relay, tmp_path: Path) -> None:
    started = tmp_path / "started"
    cell = in_thread(
        far.run,
        f"import pathlib\npathlib.Path({str(started)!r}).touch()\nwhile True: pass",
        quiet=True,
        check=False,
    )
    until(started.exists)
    relay.cut()
    far.session.interrupt()
    assert isinstance(cell.result(30).error, KeyboardInterrupt)


def test_rich_output_over_a_slow_and_narrow_network(far: Flame, relay: Relay) -> None:
    relay.delay(0.02)
    relay.throttle(20_000_000)
    data = bytes(range(256)) * 4096
    far["data"] = data
    assert far["data"] == data
    assert far.run("len(data)", quiet=True).value == len(data)


# ---------------------------------------------------------------- calls


@pytest.fixture
def slow(far: Flame, tmp_path: Path) -> tuple[Path, Path]:
    """`slow()` in the session says that it has started, waits for a gate, and counts how often it ran."""
    started, gate = tmp_path / "started", tmp_path / "gate"
    far.execute(
        f"""
import os, pathlib, time
count = 0
def slow():
    global count
    count += 1
    pathlib.Path({str(started)!r}).touch()
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    print("from the call")
    return "value"
"""
    )
    return started, gate


def test_call_over_a_cut_returns_its_value_and_ran_once(
    far: Flame, relay: Relay, slow: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    started, gate = slow
    call = in_thread(far.evaluate, "slow()")
    until(started.exists)
    before = relay.connections
    relay.cut()
    until(lambda: relay.connections >= before + 2)  # the session's link and the call's
    gate.touch()
    assert call.result(30) == "value"
    assert far["count"] == 1
    assert capsys.readouterr().out == "from the call\n"


def test_call_that_ends_while_the_link_is_down(far: Flame, relay: Relay, slow: tuple[Path, Path]) -> None:
    started, gate = slow
    call = in_thread(far.evaluate, "slow()")
    until(started.exists)
    relay.refuse()
    gate.touch()
    before = relay.connections
    until(lambda: relay.connections >= before + 4)  # attempts of both that come to nothing
    assert not call.done()
    relay.heal()
    assert call.result(30) == "value"
    assert far["count"] == 1


def test_call_over_five_cuts_in_a_row(far: Flame, relay: Relay, slow: tuple[Path, Path]) -> None:
    started, gate = slow
    call = in_thread(far.evaluate, "slow()")
    until(started.exists)
    for _ in range(5):
        before = relay.connections
        relay.cut()
        until(lambda: relay.connections > before)  # noqa: B023  # used up within the round
        relay.cut()  # in the middle of the handshake
    gate.touch()
    assert call.result(30) == "value"
    assert far["count"] == 1


def test_calls_go_on_after_each_of_many_cuts(far: Flame, relay: Relay) -> None:
    far["count"] = 0
    for n in range(1, 6):
        far.execute("count += 1")
        relay.cut()
        assert far.evaluate("count") == n


@pytest.mark.parametrize("count", [300, 650])
def test_call_over_cuts_while_it_reconnects(far: Flame, relay: Relay, slow: tuple[Path, Path], count: int) -> None:
    started, gate = slow
    call = in_thread(far.evaluate, "slow()")
    until(started.exists)
    before = relay.connections
    relay.cut_new_after(count, connections=10)
    relay.cut()
    until(lambda: relay.connections >= before + 12)  # those, and one each for the session's link and the call
    gate.touch()
    assert call.result(30) == "value"
    assert far["count"] == 1


def test_large_values_over_cuts(far: Flame, relay: Relay) -> None:
    data = bytes(range(256)) * (32 * 4096)
    call = in_thread(far.__setitem__, "data", data)
    relay.cut()
    call.result(30)
    call = in_thread(far.__getitem__, "data")
    relay.cut()
    assert call.result(30) == data


def test_timeout_holds_while_the_link_is_down(far: Flame, relay: Relay) -> None:
    assert far.evaluate("1") == 1
    relay.refuse()
    with pytest.raises(FlameTimeout):
        far.evaluate("1", timeout=0.5)
    relay.heal()
    assert far.evaluate("2") == 2


def test_timeout_holds_in_a_black_hole(far: Flame, relay: Relay) -> None:
    far["count"] = 0
    relay.black_hole()
    with pytest.raises(FlameTimeout):
        far.execute("count += 1", timeout=0.5)
    relay.heal()
    far.execute("count += 10")
    until(lambda: far["count"] == 11)


def test_close_does_not_wait_for_a_network_that_is_gone(far: Flame, relay: Relay) -> None:
    assert far.evaluate("1") == 1
    relay.black_hole()
    assert taken(far.close) < 20


# ---------------------------------------------------------------- handles and iterators

HELD = """
class Held:
    alive = 0
    count = 0
    def __init__(self):
        Held.alive += 1
    def __del__(self):
        Held.alive -= 1
    def __reduce__(self):
        raise TypeError("stays here")
    def step(self):
        self.count += 1
        return self.count
"""


def test_handle_is_the_same_object_after_cuts(far: Flame, relay: Relay) -> None:
    far.execute(HELD)
    held = far.evaluate("Held()")
    for n in range(1, 6):
        assert held.step() == n
        relay.cut()
    assert (held.count, far.evaluate("Held.alive")) == (5, 1)
    del held
    relay.cut()
    until(lambda: far.evaluate("Held.alive") == 0)


def test_method_of_a_handle_that_runs_over_a_cut_runs_once(far: Flame, relay: Relay, slow: tuple[Path, Path]) -> None:
    started, gate = slow
    far.execute("class Slow:\n    __reduce__ = None\n    def run(self):\n        return slow()")
    call = in_thread(far.evaluate("Slow()").run)
    until(started.exists)
    relay.cut()
    gate.touch()
    assert call.result(30) == "value"
    assert far["count"] == 1


def test_iterator_gives_each_item_once_over_cuts(far: Flame, relay: Relay) -> None:
    far.execute("seen = []\ndef numbers():\n    for n in range(50_000):\n        seen.append(n)\n        yield n")
    got = []
    for item in far.evaluate("numbers()"):
        got.append(item)
        if item in (0, 3, 20, 300, 20_000, 49_999):
            relay.cut()
    assert got == list(range(50_000))
    assert far.evaluate("seen == list(range(50_000))")


def test_item_that_is_awaited_over_a_cut_arrives(far: Flame, relay: Relay, slow: tuple[Path, Path]) -> None:
    started, gate = slow
    iterator = far.evaluate("(slow() for _ in range(1))")
    items = in_thread(list, iterator)
    until(started.exists)
    relay.cut()
    gate.touch()
    assert items.result(30) == ["value"]
    assert far["count"] == 1


# ---------------------------------------------------------------- the kernel


@pytest.fixture
def kernel(client: FlameServer, relay: Relay) -> Iterator[BlockingKernelClient]:
    """A `flame` kernel as Jupyter drives it, whose session is behind the relay."""
    manager = KernelManager(kernel_name="flame")
    manager.start_kernel(env=clean_environ(client.client_home, FLAME_HOST=relay.address))
    kernel = manager.blocking_client()
    try:
        kernel.start_channels()
        kernel.wait_for_ready(timeout=30)
        yield kernel
    finally:
        relay.heal()
        kernel.stop_channels()
        manager.shutdown_kernel()
        manager.context.destroy(0)


def run(kernel: BlockingKernelClient, code: str, plan: Plan | None = None) -> tuple[str, dict]:
    """Run a cell; returns its stdout and its reply."""
    shown = []

    def on_output(message: dict) -> None:
        if message["msg_type"] == "stream":
            assert message["content"]["name"] == "stdout", message["content"]["text"]
            shown.append(message["content"]["text"])
            if plan is not None:
                plan.saw(shown[-1])

    reply = kernel.execute_interactive(code, output_hook=on_output, timeout=60)
    return "".join(shown), reply["content"]


def test_kernel_over_a_cut_and_a_black_hole(kernel: BlockingKernelClient, relay: Relay) -> None:
    plan = Plan({"line 60": relay.cut, "line 120": lambda: black_hole_for_a_while(relay)})
    text, reply = run(kernel, CELL, plan)
    assert plan.carried_out
    assert text.splitlines() == LINES
    assert reply["status"] == "ok"
    assert reply["execution_count"] == 1
    text, reply = run(kernel, "print(n)", None)
    assert (text, reply["execution_count"]) == ("199\n", 2)


def test_kernel_over_five_cuts_in_a_row(kernel: BlockingKernelClient, relay: Relay) -> None:
    plan = Plan({f"line {n}": relay.cut for n in (20, 55, 90, 125, 160)})
    text, reply = run(kernel, CELL, plan)
    assert plan.carried_out
    assert text.splitlines() == LINES
    assert reply["status"] == "ok"
