"""Modules as source, to and from a session."""

from __future__ import annotations

import importlib
import math
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import RemoteError, TransferError
from tests.integration.servers import FlameServer


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which this process imports; what it imported from there is forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_sent_module_is_there_for_calls_and_cells(flame: Flame) -> None:
    flame.sendmodule("tools.text", "def shout(text):\n    return text.upper()\n")
    assert flame.module("tools.text").shout("hello") == "HELLO"
    flame.run("from tools.text import shout\nimport tools, inspect\ntext = inspect.getsource(shout)", quiet=True)
    assert flame["text"] == "def shout(text):\n    return text.upper()\n"
    assert flame.getmodule("tools.text") == "def shout(text):\n    return text.upper()\n"


def test_sent_again_it_is_new_everywhere(flame: Flame) -> None:
    flame.sendmodule("again", "old = 1\ndef f(): return 'old'")
    flame.run("import again", quiet=True)
    flame.sendmodule("again", "def f(): return 'new'")
    assert flame.run("again.f(), hasattr(again, 'old')", quiet=True).value == ("new", False)


def test_a_failure_is_raised_with_its_source_and_nothing_has_changed(flame: Flame) -> None:
    flame.sendmodule("fails", "x = 1")
    with pytest.raises(ZeroDivisionError) as caught:
        flame.sendmodule("fails", "x = 2\nx // 0  # look here\n")
    shown = "".join(traceback.format_exception(caught.value))
    assert "x // 0  # look here" in shown
    assert "frozen importlib" not in shown
    assert flame.evaluate("__import__('fails').x") == 1
    with pytest.raises(SyntaxError, match="fails"):
        flame.sendmodule("fails", "def (")
    assert flame.getmodule("fails") == "x = 1"


def test_tracebacks_of_calls_and_cells_show_sent_source(flame: Flame) -> None:
    flame.sendmodule("shows", "def f():\n    return 1 // 0  # look here\n")
    with pytest.raises(ZeroDivisionError) as caught:
        flame.module("shows").f()
    assert "look here" in "".join(traceback.format_exception(caught.value))
    result = flame.run("import shows; shows.f()", quiet=True, check=False)
    assert "look here" in "".join(traceback.format_exception(result.error))


def test_what_a_module_prints_on_import_is_shown_here(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    flame.sendmodule("prints", "print('imported')")
    assert capsys.readouterr().out == "imported\n"


def test_a_local_package_is_sent_with_all_that_is_in_it(flame: Flame, local: Path) -> None:
    inner = local / "mypack" / "inner"
    inner.mkdir(parents=True)
    (local / "mypack" / "__init__.py").write_text("from .a import f\nfrom .inner import g\n")
    (local / "mypack" / "a.py").write_bytes("# -*- coding: latin-1 -*-\ndef f(): return 'ü'\n".encode("latin-1"))
    (inner / "__init__.py").write_text("from ..a import f\nfrom . import b\ndef g(): return f() + b.x\n")
    (inner / "b.py").write_text("x = 'b'\n")
    (local / "single.py").write_text("import mypack\ndef h(): return mypack.g()\n")
    flame.sendmodule(importlib.import_module("mypack"))
    flame.sendmodule("single")
    assert flame.module("single").h() == "üb"
    assert flame.module("mypack.inner.b").x == "b"
    assert "single" not in sys.modules

    (local / "mypack" / "a.py").write_text("def f(): return 'new '\n")
    flame.sendmodule("mypack")  # as it is on disk now
    assert flame.module("single").h() == "new b"


def test_what_can_not_be_sent_is_refused(flame: Flame, local: Path) -> None:
    with pytest.raises(TransferError, match="math is a C module"):
        flame.sendmodule(math)
    with pytest.raises(TransferError, match="sendmodule"):
        flame.sendmodule(sys.modules["__main__"])
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        flame.sendmodule("no_such_module")
    with pytest.raises(TransferError, match="sys can't be replaced"):
        flame.sendmodule("sys", "x = 1")
    (local / "compiled").mkdir()
    (local / "compiled" / "fast.abi3.so").write_bytes(b"")
    (local / "compiled" / "__init__.py").write_text("")
    with pytest.raises(TransferError, match=r"compiled parts \(fast.abi3.so\)"):
        flame.sendmodule("compiled")


def test_source_is_fetched_by_dotted_name(flame: Flame) -> None:
    assert "class JSONDecoder" in flame.getmodule("json.decoder")
    assert "def getenv(" in flame.getmodule("os")
    with pytest.raises(TransferError, match=r"math is a C module .*no Python source"):
        flame.getmodule("math")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        flame.getmodule("no_such_module")


def test_plain_connections_send_modules_as_well(client: FlameServer) -> None:
    with connect(client.address, plain=True) as flame:
        flame.sendmodule("plainly", "x = 1")
        assert flame.getmodule("plainly") == "x = 1"
        assert flame.module("plainly").x == 1
        with pytest.raises((RemoteError, ZeroDivisionError), match="division"):
            flame.sendmodule("plainly", "1 // 0")
