"""Modules that were sent: as real as those on disk, replaced as a whole, taken back when they fail."""

from __future__ import annotations

import importlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Iterator

import pytest

from flame_kernel.errors import TransferError
from flame_kernel.worker.modules import SentModules


@pytest.fixture
def sent() -> Iterator[SentModules]:
    """Sent modules, and afterwards an interpreter without them."""
    before = set(sys.modules)
    modules = SentModules()
    yield modules
    if modules in sys.meta_path:
        sys.meta_path.remove(modules)
    for name in set(sys.modules) - before:
        del sys.modules[name]


WITH_DOC = """'''About it.'''
import math

def f(x):
    # a remark
    return math.sqrt(x)

class C:
    pass
"""

CHAINED = """
def f():
    try:
        1 // 0
    except ZeroDivisionError as why:
        raise ValueError('v') from why
f()
"""


def one(sent: SentModules, name: str, text: str) -> None:
    sent.send(name, [(name, text, False)], False)


def whole(sent: SentModules, name: str, **texts: str) -> None:
    packages = {name} | {f"{name}.{inner.rpartition('__')[0].replace('__', '.')}" for inner in texts if "__" in inner}
    named = {name if inner == "init" else f"{name}.{inner.replace('__', '.')}": text for inner, text in texts.items()}
    sent.send(name, [(full, text, full in packages) for full, text in sorted(named.items())], True)


def test_a_sent_module_can_be_imported_and_inspected(sent: SentModules) -> None:
    one(
        sent,
        "sent_a",
        "'''About it.'''\nimport math\n\ndef f(x):\n    # a remark\n    return math.sqrt(x)\n\nclass C:\n    pass\n",
    )
    import sent_a

    assert sent_a.f(4) == 2
    assert sent_a.__doc__ == "About it."
    assert inspect.getsource(sent_a.f) == "def f(x):\n    # a remark\n    return math.sqrt(x)\n"
    assert inspect.getsource(sent_a.C) == "class C:\n    pass\n"
    assert inspect.getsource(sent_a).startswith("'''About it.'''")
    assert importlib.reload(sent_a) is sent_a
    assert importlib.util.find_spec("sent_a").loader.get_source("sent_a").startswith("'''About it.'''")


def test_tracebacks_show_its_source(sent: SentModules) -> None:
    one(sent, "sent_a", "def f():\n    return 1 // 0  # here\n")
    linecache.checkcache()
    with pytest.raises(ZeroDivisionError) as caught:
        sys.modules["sent_a"].f()
    assert "return 1 // 0  # here" in "".join(traceback.format_exception(caught.value))
    one(sent, "sent_a", "def f():\n    # moved\n    return 2 // 0  # there\n")
    with pytest.raises(ZeroDivisionError) as caught:
        sys.modules["sent_a"].f()
    assert "return 2 // 0  # there" in "".join(traceback.format_exception(caught.value))


def test_sending_again_replaces_it_for_everyone_who_has_it(sent: SentModules) -> None:
    one(sent, "sent_a", "old = 1\ndef f(): return old")
    import sent_a

    one(sent, "sent_a", "new = 2\ndef f(): return new")
    assert sys.modules["sent_a"] is sent_a
    assert sent_a.f() == 2
    assert not hasattr(sent_a, "old")
    assert sent_a.__name__ == "sent_a"


def test_names_with_dots_get_parents_and_stand_in_them(sent: SentModules) -> None:
    one(sent, "sent_p.inner.mod", "x = 1")
    import sent_p.inner.mod

    assert sent_p.inner.mod.x == 1
    one(sent, "sent_p.inner.other", "from . import mod\nfrom .mod import x\ny = mod.x + x")
    assert sent_p.inner.other.y == 2
    one(sent, "sent_p", "z = 3")
    assert sent_p.z == 3
    assert sent_p.inner.mod.x == 1
    importlib.import_module("sent_p.inner.other")


def test_a_module_becomes_a_package_when_something_is_put_into_it(sent: SentModules) -> None:
    one(sent, "sent_a", "x = 1")
    one(sent, "sent_a.b", "from sent_a import x")
    assert sys.modules["sent_a"].b.x == 1
    one(sent, "xml.sent_c", "here = True")  # a package that is on disk
    import xml.sent_c

    assert xml.sent_c.here
    with pytest.raises(TransferError, match="no package"):
        one(sent, "tokenize.sent_d", "")


def test_a_package_is_sent_whole_and_old_parts_go(sent: SentModules) -> None:
    whole(sent, "sent_p", init="from .a import f", a="from .b import g\ndef f(): return g()", b="def g(): return 1")
    import sent_p

    first = sys.modules["sent_p.a"]
    assert sent_p.f() == 1
    whole(
        sent,
        "sent_p",
        init="from .a import f, h",
        a="from .c import g\ndef f(): return g()\nh = 1",
        c="def g(): return 2",
    )
    assert sent_p.f() == 2
    assert sys.modules["sent_p.a"] is first
    assert not hasattr(sent_p, "b")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sent_p.b")


def test_what_is_in_a_package_is_imported_when_it_is_asked_for(sent: SentModules) -> None:
    whole(sent, "sent_p", init="", optional="import there_is_no_such_module")
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_module"):
        importlib.import_module("sent_p.optional")


@pytest.mark.parametrize(
    "text", ["def (", "x = 2\n1 // 0", "x = 2\nraise SystemExit", "import there_is_no_such_module"]
)
def test_a_module_that_fails_leaves_the_old_one(sent: SentModules, text: str) -> None:
    one(sent, "sent_a", "x = 1\ndef f(): return x")
    import sent_a

    content = dict(vars(sent_a))
    with pytest.raises((SyntaxError, ZeroDivisionError, SystemExit, ModuleNotFoundError)):
        one(sent, "sent_a", text)
    assert vars(sent_a) == content
    assert sys.modules["sent_a"] is sent_a
    assert sent.get("sent_a") == "x = 1\ndef f(): return x"
    assert "x = 1\n" in linecache.getlines("<flame>/sent_a.py")
    assert importlib.reload(sent_a).f() == 1


def test_a_new_one_that_fails_leaves_nothing(sent: SentModules) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            one(sent, "sent_p.mod", "1 // 0")
        assert not [name for name in sys.modules if name.startswith("sent_p")]
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("sent_p")


def test_a_package_that_fails_leaves_the_old_one_whole(sent: SentModules) -> None:
    whole(sent, "sent_p", init="from .a import x", a="x = 1", b="y = 1")
    import sent_p
    import sent_p.b

    with pytest.raises(ZeroDivisionError):
        whole(sent, "sent_p", init="from .a import x\nx // 0", a="x = 2")
    assert (sent_p.x, sent_p.a.x, sent_p.b.y) == (1, 1, 1)
    assert sys.modules["sent_p.b"] is sent_p.b
    with pytest.raises(ZeroDivisionError):
        one(sent, "sent_p.c", "1 // 0")
    assert not hasattr(sent_p, "c")


def test_the_traceback_of_a_failure_begins_in_its_source_and_keeps_its_cause(sent: SentModules) -> None:
    with pytest.raises(ValueError, match="v") as caught:
        one(sent, "sent_a", CHAINED)
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert not [file for file in files if "importlib" in file]
    assert files[-2:] == ["<flame>/sent_a.py", "<flame>/sent_a.py"]
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "name", ["", "a..b", ".a", "1a", "a-b", "class", "sys", "__main__", "flame_kernel.x", "builtins"]
)
def test_names_that_are_none_or_can_not_be_replaced(sent: SentModules, name: str) -> None:
    with pytest.raises(TransferError):
        one(sent, name, "x = 1")


def test_source_of_all_kinds_of_modules(sent: SentModules) -> None:
    assert "def join(" in sent.get("posixpath")
    assert "def join(" in sent.get("os.path")
    assert "def dumps(" in sent.get("json")
    assert "class JSONDecoder" in sent.get("json.decoder")
    assert "def getenv(" in sent.get("os")  # frozen into Python, with its source beside it
    assert "Simple API for XML" in sent.get("xml.sax")
    one(sent, "sent_p.mod", "x = 'ü'")
    assert sent.get("sent_p.mod") == "x = 'ü'"
    assert sent.get("sent_p") == ""


@pytest.mark.parametrize("name", ["math", "sys", "_ctypes", "zmq.backend.cython._zmq"])
def test_c_modules_have_no_source(sent: SentModules, name: str) -> None:
    with pytest.raises(TransferError, match=f"{name} is a C module .* no Python source"):
        sent.get(name)


def test_modules_that_are_not_there_or_have_no_source(sent: SentModules) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        sent.get("no_such_module")
    with pytest.raises(ModuleNotFoundError):
        sent.get("json.no_such_module")
    made = type(sys)("sent_made")
    sys.modules["sent_made"] = made
    with pytest.raises(TransferError, match="no source"):
        sent.get("sent_made")
