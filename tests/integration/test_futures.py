"""Calls that are not waited for one by one: futures, interrupts, batches, oneway calls and asyncio."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import signal
import sys
import weakref
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import FlameError, FlameTimeout, LinkLost, SessionRestarted
from flame_kernel.protocol.calls import Operation, Outcome
from tests.integration.servers import FlameServer, Program, until
from tests.integration.work import in_thread, wait_until_set

# A call that runs until it is interrupted, and tells so.
SPIN = """
def spin(name):
    import time
    try:
        globals()[name] = "spinning"
        while True:
            time.sleep(0.01)
    except BaseException as error:
        globals()[name] = type(error).__name__
        raise
"""


@pytest.fixture(scope="module")
def flame(client: FlameServer):
    with connect(client.address) as flame:
        flame.execute(SPIN)
        yield flame


def test_futures_give_values_and_exceptions_in_whatever_order(flame: Flame) -> None:
    futures = [flame.submit(f"{n} * 2") for n in range(1000)]
    assert [future.result(30) for future in futures] == [2 * n for n in range(1000)]
    assert flame.submit(flame.module("math").sqrt, 16).result(20) == 4
    assert flame.submit(lambda a, b: a + b, 1, b=2).result(20) == 3
    failed = flame.submit("1 // 0")
    assert isinstance(failed.exception(20), ZeroDivisionError)
    done, pending = concurrent.futures.wait([flame.submit("1"), flame.submit("2")], timeout=20)
    assert (len(done), len(pending)) == (2, 0)
    with pytest.raises(TypeError, match="takes no arguments"):
        flame.submit("f", 1)
    with pytest.raises(TypeError, match="something to call"):
        flame.submit(5)


def test_values_that_cannot_be_loaded_here_become_handles_however_many_come_together(flame: Flame) -> None:
    flame.execute(
        "import sys, types\n"
        "there = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "exec('class Thing:\\n  def __init__(self, n): self.n = n', vars(there))"
    )
    futures = [flame.submit(f"there.Thing({n})") for n in range(100)]
    assert [future.result(30).n for future in futures] == list(range(100))


def test_a_future_that_is_done_is_let_go_of_without_the_garbage_collector(flame: Flame) -> None:
    # A view of memory in a cycle crashes the collector of Python 3.11.
    gc.disable()
    try:
        future = flame.submit(len, memoryview(b"abc"))
        gone = weakref.ref(future)
        assert future.result(20) == 3
        del future
        until(lambda: gone() is None)
    finally:
        gc.enable()


def test_futures_run_side_by_side_and_beside_calls(flame: Flame, gate: Path) -> None:
    waiting = [flame.submit(f"wait_for({str(gate)!r})") for _ in range(5)]
    until(lambda: all(future.running() for future in waiting))
    assert flame.evaluate("1") == 1
    assert not any(future.done() for future in waiting)
    gate.touch()
    assert [future.result(20) for future in waiting] == [None] * 5


def test_cancelling_a_future_interrupts_the_call(flame: Flame) -> None:
    future = flame.submit("spin('cancelled')")
    wait_until_set(flame, "cancelled")
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(5)
    until(lambda: flame["cancelled"] == "KeyboardInterrupt")
    assert not flame.submit("1").cancelled()
    done = flame.submit("1")
    assert done.result(20) == 1
    assert not done.cancel()


def test_more_calls_than_may_run_wait_and_one_that_waits_can_be_cancelled(flame: Flame, gate: Path) -> None:
    flame.execute("started = []")
    code = f"started.append(1) or wait_for({str(gate)!r})"
    many = [flame.submit(code) for _ in range(80)]
    until(lambda: many[-1].running())
    late = flame.submit("started.append('late')")
    assert late.cancel()
    assert many[70].cancel()
    # The worker hears of both although all its threads are busy.
    calls = flame._connection.calls
    until(lambda: not calls._pipeline._interrupts)
    calls.submit(Operation.INTERRUPT, calls._pipeline._talk.name, 0).result(20)  # which comes after those two
    gate.touch()
    for number, future in enumerate(many):
        if number != 70:
            future.result(30)
    assert "late" not in flame.evaluate("started")


def test_what_a_future_prints_arrives(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    flame.submit(flame.builtin("print"), "from the future").result(20)
    until(lambda: "from the future\n" in capsys.readouterr().out)


def test_futures_end_with_their_connection_and_with_their_session(client: FlameServer) -> None:
    flame = connect(client.address)
    flame.execute(SPIN)
    one = flame.submit("spin('one')")
    wait_until_set(flame, "one")
    flame.session.restart()
    with pytest.raises(SessionRestarted):
        one.result(20)
    assert flame.submit("1").result(20) == 1
    two = flame.submit("__import__('time').sleep(60)")
    until(two.running)
    flame.close()
    with pytest.raises(LinkLost):
        two.result(20)
    with pytest.raises(LinkLost):
        flame.submit("1")


# ---------------------------------------------------------------- Ctrl-C


STUBBORN = """
import time
while True:
    try:
        waiting = 1
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        unmoved = 1
"""

CTRL_C = f"""
import sys
from flame_kernel import connect
flame = connect(sys.argv[1], session="ctrl-c")
flame.execute({SPIN!r})
try:
    print("ready", flush=True)
    flame.module("__main__").spin("state")
except KeyboardInterrupt as error:
    print("interrupted", flush=True)
    import traceback
    shown = traceback.format_exc()
    assert "time.sleep(0.01)" in shown, shown  # the remote frames
assert flame["state"] == "KeyboardInterrupt"
assert flame.evaluate("1 + 1") == 2
try:
    print("again", flush=True)
    flame.execute({STUBBORN!r})
except KeyboardInterrupt as error:
    print(error, flush=True)
assert flame.evaluate("waiting") == 1
print("usable", flush=True)
flame.session.close()
"""


def test_ctrl_c_interrupts_the_call_and_a_second_one_gives_up(client: FlameServer) -> None:
    script = Program([sys.executable, "-c", CTRL_C, client.address], client.client_environ())
    try:
        script.wait_for("ready")
        with connect(client.address, session="ctrl-c") as other:
            wait_until_set(other, "state")
            script.signal(signal.SIGINT)
            script.wait_for("interrupted")
            script.wait_for("again")
            wait_until_set(other, "waiting")
            script.signal(signal.SIGINT)
            wait_until_set(other, "unmoved")  # two signals at once would be one
            script.signal(signal.SIGINT)
            script.wait_for("usable")
            assert script.wait() == 0, script.err
        told = next(line for line in script.out if "gave up waiting" in line)
        assert "reattaches" in told
        assert client.address in told
        assert "ctrl-c" in told
    finally:
        script.kill()


def test_an_interrupt_while_something_is_shown_reaches_the_call(flame: Flame) -> None:
    shown: list[str] = []

    def show(stream: Outcome, text: str) -> None:
        shown.append(text)
        if text == "begun\n":
            raise KeyboardInterrupt

    code = (
        "import time\ntry:\n    print('begun')\n    while True: time.sleep(0.01)\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    with flame._connection.calls.borrowed() as lane:
        answer = lane.call(Operation.EXECUTE, (code,), 20, show)

    assert answer.outcome is Outcome.RESULT
    assert shown == ["begun\n", "stopped\n"]


def test_an_interrupt_reaches_what_the_call_has_started(flame: Flame) -> None:
    flame.execute(
        "import subprocess\n"
        "def run_sleep():\n"
        "    global begun, ended\n"
        "    begun = 1\n"
        "    try:\n"
        "        subprocess.run(['sleep', '60'])\n"
        "    except KeyboardInterrupt:\n"
        "        ended = 'KeyboardInterrupt'\n"
    )
    future = flame.submit("run_sleep()")
    wait_until_set(flame, "begun")
    flame.execute("ended = None")
    future.cancel()
    until(lambda: flame["ended"] == "KeyboardInterrupt")  # which the process would do by itself after a minute


# ---------------------------------------------------------------- batches


def test_a_batch_is_one_message_and_its_results_are_in_order(flame: Flame) -> None:
    sent = []
    original = flame._connection.calls.call

    def counting(*args, **kwargs):
        sent.append(args)
        return original(*args, **kwargs)

    flame._connection.calls.call = counting
    try:
        with flame.batch() as batch:
            batch.execute("total = 0")
            batch["step"] = 5
            results = [batch.evaluate(f"(total := total + step * {n})") for n in range(1, 4)]
            root = batch.module("math").sqrt(25)
            biggest = batch.builtin("max")([1, 3, 2])
            sent_there = batch.call(lambda: 7)
            step = batch["step"]
            lock = batch.evaluate("__import__('threading').Lock()")
            with pytest.raises(FlameError, match="not been made"):
                root.result()
            assert len(batch) == 10
    finally:
        del flame._connection.calls.call
    assert len(sent) == 1
    assert [later.result() for later in results] == [5, 15, 30]
    assert (root.result(), biggest.result(), sent_there.result(), step.result()) == (5.0, 3, 7, 5)
    assert lock.result().locked() is False


def test_the_first_failure_ends_a_batch(flame: Flame) -> None:
    with pytest.raises(ZeroDivisionError) as caught, flame.batch() as batch:  # noqa: PT012  # the block's end raises
        before = batch.evaluate("1")
        failing = batch.evaluate("1 // 0")
        after = batch.execute("not_made = 1")
    assert before.result() == 1
    assert "1 // 0" in caught.value.__cause__.text
    with pytest.raises(ZeroDivisionError):
        failing.result()
    with pytest.raises(FlameError, match="one before it"):
        after.result()
    assert "not_made" not in flame
    with flame.batch():
        pass
    with pytest.raises(KeyError), flame.batch() as batch:  # noqa: PT012  # the block itself fails
        batch.execute("not_made = 1")
        raise KeyError("the block failed here")
    assert "not_made" not in flame


def test_batches_work_on_a_plain_connection(client: FlameServer) -> None:
    with connect(client.address, plain=True) as plain:
        with plain.batch() as batch:
            value = batch.evaluate("[1, 2]")
        assert value.result() == [1, 2]
        with pytest.raises(ZeroDivisionError), plain.batch() as batch:
            batch.evaluate("1 // 0")


# ---------------------------------------------------------------- oneway


def test_oneway_calls_are_carried_out_and_answer_nothing(flame: Flame) -> None:
    flame.execute("posted = []")
    for n in range(100):
        assert flame.oneway(f"posted.append({n})") is None
    flame.oneway("raise ValueError('seen in the session only')")
    flame.oneway(flame.ref("posted").append, 100)
    until(lambda: len(flame["posted"]) == 101)
    assert sorted(flame["posted"]) == list(range(101))


def test_oneway_calls_are_sent_before_the_connection_closes(client: FlameServer) -> None:
    with connect(client.address, session="posting") as stays:
        stays.execute("posted = []")
        with connect(client.address, session="posting") as leaves:
            for _ in range(50):
                leaves.oneway("posted.append(1)")
        until(lambda: len(stays["posted"]) == 50)
        stays.session.close()


# ---------------------------------------------------------------- asyncio


async def test_coroutines_have_the_same_names(flame: Flame) -> None:
    aio = flame.aio
    assert await asyncio.gather(aio.evaluate("1"), aio.module("math").sqrt(4), aio.builtin("max")([1, 2])) == [1, 2, 2]
    await aio.execute("from_aio = 1")
    await aio.push("pushed", [1])
    assert await aio.pull("pushed") == [1]
    handle = await aio.ref("pushed")
    await aio.call(handle.append, 2)
    assert flame["pushed"] == [1, 2]
    assert [n async for n in await aio.evaluate("(n for n in range(1000))")] == list(range(1000))
    assert (await aio.run("40 + 2", quiet=True)).value == 42
    assert flame.session.name in {info.name for info in await aio.sessions()}
    assert "python3" in {kernel.name for kernel in await aio.kernels()}
    with pytest.raises(ZeroDivisionError):
        await aio.evaluate("1 // 0")


async def test_a_cancelled_coroutine_interrupts_its_call(flame: Flame) -> None:
    task = asyncio.create_task(flame.aio.evaluate("spin('aio_state')"))
    await asyncio.to_thread(wait_until_set, flame, "aio_state")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(until, lambda: flame["aio_state"] == "KeyboardInterrupt")


async def test_a_coroutine_that_takes_too_long_times_out(flame: Flame, gate: Path) -> None:
    with pytest.raises(FlameTimeout, match=r"0\.1 s"):
        await flame.aio.execute(f"wait_for({str(gate)!r})", timeout=0.1)
    await asyncio.to_thread(gate.touch)
    assert await flame.aio.evaluate("1") == 1


# ---------------------------------------------------------------- timeouts and threads


def test_everything_takes_a_timeout_and_the_connection_stays_usable(flame: Flame, gate: Path) -> None:
    waiting = f"wait_for({str(gate)!r})"
    slow = [
        lambda: flame.evaluate(waiting, timeout=0.1),
        lambda: flame.execute(waiting, timeout=0.1),
        lambda: flame.module("__main__", timeout=0.1).wait_for(str(gate)),
        lambda: flame.invokeModule("__main__.wait_for", [str(gate)], timeout=0.1),
        lambda: flame.ref(waiting, timeout=0.1),
        lambda: flame.submit(waiting).result(timeout=0.1),
    ]
    for call in slow:
        with pytest.raises(TimeoutError):
            call()
    with pytest.raises(FlameTimeout), flame.batch(timeout=0.1) as batch:
        batch.evaluate(waiting)
    with pytest.raises(FlameTimeout, match="the cell did not end"):
        flame.run(waiting, quiet=True, timeout=0.1)
    gate.touch()
    assert flame.evaluate("1", timeout=20) == 1
    assert flame.sessions(timeout=20)
    assert flame.kernels(timeout=20)
    assert flame.run("1", quiet=True, timeout=20).value == 1


def test_many_threads_share_one_connection(flame: Flame) -> None:
    def work(n: int) -> list[object]:
        with flame.batch() as batch:
            batched = batch.evaluate(f"{n} + 1")
        return [
            flame.evaluate(str(n)),
            flame.submit(str(n)).result(30),
            batched.result(),
            sum(flame.evaluate(f"iter(range({n}))")),
        ]

    with ThreadPoolExecutor(8) as pool:
        for n, got in enumerate(pool.map(work, range(64), timeout=60)):
            assert got == [n, n, n + 1, sum(range(n))]


def test_closing_ends_an_iterator_that_waits(client: FlameServer) -> None:
    flame = connect(client.address)
    generator = flame.evaluate("(__import__('time').sleep(60) for _ in range(2))")
    waiting = in_thread(next, generator)
    until(lambda: flame._connection.calls._pipeline._under_way)
    flame.close()
    with pytest.raises(LinkLost):
        waiting.result(20)
