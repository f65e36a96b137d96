"""What helps while one writes and after something failed: completion, inspection, paths, the debugger, large values."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_kernel import Flame, is_remote, known_hosts
from flame_kernel.errors import FlameTimeout
from tests.integration.servers import FlameServer
from tests.integration.work import in_thread

FAILS = "def outer(n):\n    secret = n + 1\n    return inner(secret)\n\ndef inner(m):\n    return m / 0\n"


COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What `input()` returns, one after the other."""
    lines: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda prompt="": lines.pop(0))
    yield lines
    assert lines == []


def test_the_session_completes_its_own_names(flame: Flame) -> None:
    flame["remote_only"] = 1
    found = flame.complete("x = remote_o + 1", len("x = remote_o"))
    assert (found.start, found.end) == (4, 12)
    assert [(one.text, one.type) for one in found] == [("remote_only", "instance")]
    assert len(flame.complete("nothing_begins_like_thi")) == 0


def test_the_session_tells_what_a_name_means(flame: Flame) -> None:
    flame.execute("def shout(text):\n    'Say it loudly.'\n    return text.upper()")
    told = flame.inspect("shout('a')", 3)
    assert told is not None
    assert "Say it loudly." in told["text/plain"]
    assert "text.upper()" not in told["text/plain"]
    assert "text.upper()" in (flame.inspect("shout", detail=1) or {})["text/plain"]
    assert flame.inspect("no_such_name") is None


def test_a_session_that_runs_a_cell_is_not_waited_for(flame: Flame, tmp_path: Path) -> None:
    flame.execute("import pathlib, time")
    gate, there = tmp_path / "gate", tmp_path / "there"
    cell = in_thread(
        flame.run,
        f"pathlib.Path({str(there)!r}).touch()\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)",
    )
    flame.evaluate(f"[time.sleep(0.01) for _ in iter(pathlib.Path({str(there)!r}).exists, True)] and None")
    for ask in (flame.complete, flame.inspect):
        with pytest.raises(FlameTimeout, match="a cell runs"):
            ask("pathli", timeout=0.05)
    gate.touch()
    cell.result(30)
    assert [one.text for one in flame.complete("pathli")] == ["pathlib"]


def test_paths_of_the_host(flame: Flame, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data[1].csv").touch()
    (tmp_path / ".hidden").touch()
    assert flame.paths(f"{tmp_path}/da") == [f"{tmp_path}/data/", f"{tmp_path}/data[1].csv"]
    assert flame.paths(f"{tmp_path}/") == [f"{tmp_path}/data/", f"{tmp_path}/data[1].csv"]
    assert flame.paths(f"{tmp_path}/.h") == [f"{tmp_path}/.hidden"]
    assert flame.paths(f"{tmp_path}/data[") == [f"{tmp_path}/data[1].csv"]
    assert all(path.startswith("~/") for path in flame.paths("~/"))


def test_a_large_value_stays_there_as_a_handle_and_a_small_one_comes(flame: Flame) -> None:
    flame["small"], flame["large"] = "s" * 1000, "l" * 100_000
    flame.execute("import threading; lock = threading.Lock()")
    assert flame.pull("small", limit=10_000) == "s" * 1000
    large = flame.pull("large", limit=10_000)
    assert is_remote(large)
    assert len(large) == 100_000
    assert large.value() == "l" * 100_000
    assert flame.pull("large", limit=1_000_000) == flame.pull("large") == "l" * 100_000
    assert is_remote(flame.pull("lock", limit=10_000))
    with pytest.raises(NameError, match="missing"):
        flame.pull("missing", limit=1)


def test_the_debugger_looks_at_the_frames_of_a_cell_that_failed(
    own: Flame, answers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    own.run(f"{FAILS}outer(41)", check=False, quiet=True)
    answers += ["p m * 2", "up", "p secret", "p n", "q"]
    own.debug()
    told = COLOURS.sub("", capsys.readouterr().out)
    assert [line for line in told.splitlines() if line.isdecimal()] == ["84", "42", "41"]
    assert "return inner(secret)" in told


def test_the_debugger_looks_at_the_frames_of_a_call_that_failed(
    own: Flame, answers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    own.execute(FAILS)
    with pytest.raises(ZeroDivisionError):
        own.evaluate("outer(7)")
    answers += ["p m", "up", "p n", "up", "q"]
    own.debug()
    told = COLOURS.sub("", capsys.readouterr().out)
    assert [line for line in told.splitlines() if line.isdecimal()] == ["8", "7"]
    assert "outer(7)" in told
    assert "flame_kernel" not in told


def test_without_a_failure_there_is_nothing_to_debug(own: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    own.debug()
    assert "nothing to debug" in capsys.readouterr().err


def test_a_file_is_sent_as_a_module_and_again_when_it_changed(own: Flame, tmp_path: Path) -> None:
    file = tmp_path / "edited_here.py"
    file.write_text("def answer():\n    return 41\n")
    assert own.sendmodule(file, follow=True) == "edited_here"
    assert own.evaluate("__import__('edited_here').answer()") == 41
    assert own.resend() == []
    file.write_text("def answer():\n    return 42\n")
    assert own.resend() == ["edited_here"]
    assert own.evaluate("__import__('edited_here').answer()") == 42
    file.write_text("def answer(:\n")
    for _ in range(2):  # until it's mended
        with pytest.raises(SyntaxError):
            own.resend()
    assert own.evaluate("__import__('edited_here').answer()") == 42
    file.write_text("def answer():\n    return 43\n")
    assert own.resend() == ["edited_here"]
    assert own.resend() == []


def test_a_package_is_sent_by_its_folder(flame: Flame, tmp_path: Path) -> None:
    package = tmp_path / "tools_here"
    package.mkdir()
    (package / "__init__.py").write_text("from tools_here.text import shout\n")
    (package / "text.py").write_text("def shout(text):\n    return text.upper()\n")
    assert flame.sendmodule(f"{package}/") == "tools_here"
    assert flame.module("tools_here").shout("a") == "A"
    (package / "text.py").write_text("def shout(text):\n    return text\n")
    assert flame.resend() == []  # nobody asked to follow it
    with pytest.raises(ModuleNotFoundError, match="there is no file"):
        flame.sendmodule(str(tmp_path / "missing.py"))


def test_the_servers_this_client_knows(client: FlameServer) -> None:
    assert known_hosts() == [client.address]
