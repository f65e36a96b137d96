"""`connect` and what it gives, against a server over TCP and CURVE."""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import numpy as np
import psutil
import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import (
    FlameError,
    FlameTimeout,
    LinkLost,
    RemoteError,
    SerializationError,
    SessionError,
    SessionRestarted,
)
from tests.integration.servers import PATIENCE_S, FlameServer, Program
from tests.integration.work import in_thread, quick, taken, wait_until_set

# ---------------------------------------------------------------- connecting


def test_address_alone_is_enough_after_an_invite(client: FlameServer) -> None:
    with connect(client.address) as flame:
        assert flame.evaluate("6 * 7") == 42
        assert flame.session.language == "python"
        assert client.address in repr(flame)
        assert "open" in repr(flame)
    assert flame.closed


def test_invite_is_good_again_for_the_client_that_used_it(client: FlameServer) -> None:
    with connect(client.invite) as flame:
        assert flame.evaluate("1") == 1


def test_flame_host_is_used_when_nothing_is_named(client: FlameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_HOST", client.address)
    monkeypatch.setenv("FLAME_SESSION", "from-environment")
    with connect() as flame:
        assert flame.session.name == "from-environment"
        flame.session.close()


def test_private_session_ends_with_close(client: FlameServer) -> None:
    flame = connect(client.address)
    kernel = psutil.Process(flame.evaluate("__import__('os').getpid()"))
    flame.close()
    kernel.wait(PATIENCE_S)
    with pytest.raises(LinkLost, match="connect again"):
        flame.evaluate("1")


def test_private_session_ends_when_its_script_does(client: FlameServer) -> None:
    code = f"import os; from flame_kernel import connect; print(connect({client.address!r}).evaluate('os.getpid()'))"
    code = code.replace("evaluate('os.getpid()')", "module('os').getpid()")
    script = Program([sys.executable, "-c", code], client.client_environ())
    assert script.wait() == 0, script.err
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(script.out[0])).wait(PATIENCE_S)


def test_named_session_is_shared_and_stays(client: FlameServer) -> None:
    with connect(client.address, session="shared") as one, connect(client.address, session="shared") as other:
        one["x"] = 20
        other.run("x += 1", quiet=True)
        assert one.evaluate("x") == 21
        assert [info.clients for info in one.sessions() if info.name == "shared"] == [2]
    with connect(client.address, session="shared") as again:
        assert again["x"] == 21
        again.session.close()
        assert again.closed
    with connect(client.address, session="shared") as fresh:
        assert not fresh.evaluate("'x' in globals()")
        fresh.session.close()


def test_session_close_ends_it_for_everyone(client: FlameServer) -> None:
    with connect(client.address, session="common") as one, connect(client.address, session="common") as other:
        pending = in_thread(other.evaluate, "__import__('time').sleep(60)")
        cell = in_thread(other.run, "running = True\nimport time; time.sleep(60)", quiet=True)
        wait_until_set(one, "running")
        one.session.close()
        for future in (pending, cell):
            with pytest.raises((SessionError, LinkLost)):
                future.result(20)
        with pytest.raises(FlameError):
            other.evaluate("1")


def test_kernels_and_sessions_are_listed(flame: Flame) -> None:
    assert "python3" in {kernel.name for kernel in flame.kernels()}
    mine = next(info for info in flame.sessions() if info.name == flame.session.name)
    assert (mine.state, mine.clients, mine.kernel) == ("ready", 1, "python3")


# ---------------------------------------------------------------- modules, builtins, values


def test_modules_are_reached_by_name(flame: Flame) -> None:
    assert flame.module("math").sqrt(25) == 5.0
    assert flame.module("os.path").join("a", "b") == "a/b"
    assert flame.module("os").path.join("a", "b") == "a/b"
    assert flame.module("os").name == "posix"
    assert flame.module("json").dumps({"b": 1, "a": 2}, sort_keys=True) == '{"a": 2, "b": 1}'
    assert flame.module("xml").dom.minidom.parseString("<a>b</a>".replace("b", "")).__class__.__name__ == "Document"
    assert flame.module("datetime").datetime.fromisoformat("2024-01-02").year == 2024


def test_attribute_values_are_current(flame: Flame) -> None:
    flame.execute("import sys; sys.flame_number = 1")
    module = flame.module("sys")
    assert module.flame_number == 1
    flame.execute("sys.flame_number = 2")
    assert module.flame_number == 2


def test_missing_module_and_attribute_raise_what_they_raise_locally(flame: Flame) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        flame.module("no_such_module").thing()
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = flame.module("math").no_such_thing
    assert not hasattr(flame.module("math"), "no_such_thing")


def test_builtins_are_called_there(flame: Flame) -> None:
    assert flame.builtin("max")([22, 99, 1]) == 99
    assert flame.builtin("sorted")([3, 1, 2], reverse=True) == [3, 2, 1]
    assert flame.builtin("int").from_bytes(b"\1\0", "big") == 256


def test_execute_and_evaluate_share_the_namespace_of_cells(flame: Flame) -> None:
    flame.execute("import math\ndef twice(n):\n    return 2 * n")
    assert flame.evaluate("  twice(math.floor(2.5))  ") == 4
    assert flame.run("twice(21)", quiet=True).value == 42
    assert flame.execute("value = 1") is None


def test_push_and_pull(flame: Flame) -> None:
    value = {"text": "snö", "nested": [1, (2, 3), {4}], "none": None, "big": 2**100, "bytes": b"\0\xff"}
    flame["value"] = value
    assert flame["value"] == value
    with pytest.raises(NameError, match="nothing_here"):
        _ = flame["nothing_here"]


def test_arrays_cross_both_ways(flame: Flame) -> None:
    array = np.arange(300_000, dtype="f8").reshape(300, 1000)
    flame["array"] = array
    assert flame.evaluate("float(array.sum())") == array.sum()
    back = flame.evaluate("array * 2")
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array * 2)
    flame["fortran"] = np.asfortranarray(array)[::2]
    np.testing.assert_array_equal(flame["fortran"], array[::2])


def test_64_mib_cross_both_ways(flame: Flame) -> None:
    data = bytes(range(256)) * (64 * 4096)
    flame["data"] = data
    assert flame.evaluate("len(data)") == 64 * 1024**2
    assert flame["data"] == data
    flame.execute("del data")


def test_what_main_defines_here_works_there(flame: Flame) -> None:
    scope: dict = {"__name__": "__main__"}
    exec("def cube(n):\n    return n ** 3", scope)
    flame["cube"] = scope["cube"]
    assert flame.evaluate("cube(3)") == 27


def test_what_main_defines_there_can_be_pulled(own: Flame) -> None:
    own.run("class Point:\n    def __init__(self, x):\n        self.x = x", quiet=True)
    assert own.evaluate("Point(3)").x == 3


def test_value_that_cannot_cross_is_an_error_and_not_the_end(flame: Flame) -> None:
    with pytest.raises((SerializationError, TypeError)):
        flame["lock"] = threading.Lock()
    assert flame.evaluate("1") == 1


def test_plain_connection_never_unpickles(client: FlameServer, tmp_path: Path) -> None:
    proof = tmp_path / "unpickled"
    trap = dedent(f"""
        class Trap:
            def __reduce__(self):
                return open, ({str(proof)!r}, "w")
        class Bomb(Exception):
            def __reduce__(self):
                return open, ({str(proof)!r}, "w")
    """)
    with connect(client.address, plain=True) as flame:
        assert flame.evaluate("{'a': [1, 2.5, None, 'x']}") == {"a": [1, 2.5, None, "x"]}
        flame["plain"] = [1, 2]
        assert flame["plain"] == [1, 2]
        flame.execute(trap)
        with pytest.raises(SerializationError, match="a plain connection"):
            flame.evaluate("Trap()")
        with pytest.raises(RemoteError, match="Bomb"):
            flame.execute("raise Bomb()")
        with pytest.raises(RemoteError, match="Bomb"):
            flame.run("raise Bomb()", quiet=True)
        assert flame.run("Trap()", quiet=True).value is None
        with pytest.raises(SerializationError):
            flame["bad"] = {1, 2}
        assert flame.module("os").name == "posix"
    assert not proof.exists()


# ---------------------------------------------------------------- timeouts, interrupt, restart


def test_timeout_leaves_the_connection_usable(flame: Flame, gate: Path) -> None:
    with pytest.raises(FlameTimeout, match=r"0\.2 s"):
        flame.execute(f"wait_for({str(gate)!r})\nfinished = True", timeout=0.2)
    assert flame.evaluate("2 + 2") == 4
    gate.touch()
    wait_until_set(flame, "finished")
    assert flame.evaluate("finished", timeout=20) is True


def test_interrupt_ends_the_cell_within_a_second(flame: Flame) -> None:
    def interrupting() -> float:
        flame.execute("globals().pop('spinning', None)")
        cell = in_thread(flame.run, "spinning = True\nwhile True: pass", quiet=True, check=False)
        wait_until_set(flame, "spinning")
        seconds = taken(lambda: (flame.session.interrupt(), cell.result(20)))
        assert isinstance(cell.result().error, KeyboardInterrupt)
        return seconds

    quick(1.0, interrupting)
    assert flame.evaluate("spinning") is True


def test_restart_empties_the_namespace_and_ends_what_was_pending(own: Flame) -> None:
    own["x"] = 1
    call = in_thread(own.execute, "in_call = True\nimport time; time.sleep(60)")
    cell = in_thread(own.run, "in_cell = True\nimport time; time.sleep(60)", quiet=True)
    wait_until_set(own, "in_call")
    wait_until_set(own, "in_cell")
    before = own.module("os").getpid()
    own.session.restart()
    for pending in (call, cell):
        with pytest.raises(SessionRestarted):
            pending.result(20)
    assert own.evaluate("'x' in globals()") is False
    assert own.module("os").getpid() != before
    assert own.run("1 + 1", quiet=True).value == 2
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(before)


# ---------------------------------------------------------------- exceptions


def test_exception_keeps_its_type(flame: Flame) -> None:
    with pytest.raises(ZeroDivisionError, match="division"):
        flame.evaluate("1 // 0")
    with pytest.raises(KeyError) as caught:
        flame.evaluate("{}['missing']")
    assert caught.value.args == ("missing",)
    with pytest.raises(np.linalg.LinAlgError):
        flame.execute("import numpy; numpy.linalg.inv(numpy.zeros((2, 2)))")
    with pytest.raises(SyntaxError):
        flame.evaluate("1 +")
    with pytest.raises(FileNotFoundError) as missing:
        flame.builtin("open")("/no/such/file")
    assert missing.value.filename == "/no/such/file"


def test_exception_that_main_defines_there_is_caught_by_name(own: Flame) -> None:
    own.run("class Overheated(RuntimeError):\n    pass", quiet=True)
    with pytest.raises(RuntimeError, match="90 degrees") as caught:
        own.execute("raise Overheated('90 degrees')")
    assert type(caught.value).__name__ == "Overheated"


def test_exception_that_does_not_load_here_is_a_remote_error(flame: Flame, tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("class Odd(Exception):\n    pass\ndef fail():\n    raise Odd('strange')\n")
    flame.execute(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    with pytest.raises(RemoteError) as caught:
        flame.module("only_there").fail()
    assert (caught.value.ename, caught.value.evalue) == ("Odd", "strange")
    assert "raise Odd('strange')" in caught.value.traceback


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


WAYS_TO_CALL: dict[str, Callable[[Flame], object]] = {
    "evaluate": lambda flame: flame.evaluate("divide(1, 0)"),  # the caller's line
    "module": lambda flame: flame.module("__main__").divide(1, 0),  # the caller's line
    "run": lambda flame: flame.run("divide(1, 0)", quiet=True),  # the caller's line
}


@pytest.mark.parametrize("call", WAYS_TO_CALL.values(), ids=WAYS_TO_CALL)
def test_traceback_shows_host_remote_source_and_caller(
    flame: Flame, client: FlameServer, call: Callable[[Flame], object]
) -> None:
    flame.execute("def divide(a, b):\n    return a / b")
    with pytest.raises(ZeroDivisionError) as caught:
        call(flame)
    text = shown(caught.value)
    assert client.address in text
    assert flame.session.name in text
    remote, caller = text.index("return a / b"), text.index("# the caller's line")
    assert remote < caller
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")
    assert library_frames(caught.value) <= 2


def library_frames(error: BaseException) -> int:
    import flame_kernel

    folder = str(Path(flame_kernel.__file__).parent)
    return sum(frame.filename.startswith(folder) for frame in traceback.extract_tb(error.__traceback__))


def test_our_own_errors_show_few_frames_of_ours(flame: Flame, gate: Path) -> None:
    with pytest.raises(FlameTimeout) as caught:
        flame.execute(f"wait_for({str(gate)!r})", timeout=0.05)
    gate.touch()
    assert library_frames(caught.value) <= 2


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_exceptions_that_end_programs_end_the_call_only(flame: Flame, name: str) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # which one is looked at below
        flame.execute(f"raise {name}(3)")
    assert type(caught.value).__name__ == name
    assert caught.value.args == (3,)
    assert flame.evaluate("1") == 1


def test_exception_with_a_broken_str_is_told(flame: Flame) -> None:
    flame.execute("class Broken(Exception):\n    def __str__(self):\n        raise ValueError('no')")
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # which one is looked at below
        flame.execute("raise Broken()")
    assert type(caught.value).__name__ in ("Broken", "RemoteError")
    assert flame.evaluate("1") == 1


# ---------------------------------------------------------------- threads


def test_eight_threads_call_at_once(flame: Flame) -> None:
    flame.execute("import threading; barrier = threading.Barrier(8)")
    with ThreadPoolExecutor(8) as pool:
        # The barrier opens only when all eight are inside.
        list(pool.map(lambda _: flame.execute("barrier.wait(20)"), range(8), timeout=30))
        values = list(pool.map(lambda n: flame.evaluate(f"{n} * 2"), range(200), timeout=30))
    assert values == [2 * n for n in range(200)]


def test_close_from_another_thread_ends_a_pending_call(client: FlameServer) -> None:
    flame = connect(client.address)
    pending = in_thread(flame.execute, "waiting = True\nimport time; time.sleep(60)")
    wait_until_set(flame, "waiting")
    flame.close()
    with pytest.raises(FlameError):
        pending.result(20)
