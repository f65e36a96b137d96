"""Remote modules as if they were here, and the names of Pyro's Flame."""

from __future__ import annotations

import inspect
import pydoc

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from flame_kernel import Flame, connect
from flame_kernel.client.calls.calls import Calls
from flame_kernel.client.calls.proxies import RemoteObject
from flame_kernel.protocol.calls import Operation
from tests.integration.servers import FlameServer

SAMPLE = '''
"""A sample."""
version = 3
class Thing:
    """A thing."""
    count = 0
    def __init__(self, n=1, *, loud=False): self.n = n
    @classmethod
    def make(cls, n): return cls(n).n
def join(a: int, b=None, *rest, sep="-", **more) -> str:
    """Join things."""
    return sep.join(map(str, (a, b, *rest, *more.values())))
'''


@pytest.fixture(scope="module")
def flame(client: FlameServer, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "flame_sample").mkdir()
    (folder / "flame_sample" / "__init__.py").write_text(SAMPLE)
    (folder / "flame_sample" / "part.py").write_text("inside = 'part'")
    with connect(client.address) as flame:
        flame.execute(f"import sys; sys.path.insert(0, {str(folder)!r})")
        yield flame


def test_modules_by_attribute_chain_and_dotted_name(flame: Flame) -> None:
    assert flame.modules.os.path.join("a", "b") == "a/b"
    assert flame.modules["os.path"].basename("/a/b") == "b"
    assert flame.modules.flame_sample.part.inside == "part"  # a submodule that nobody has imported
    assert flame.module("flame_sample").part.inside == "part"
    assert flame.builtins.max([22, 99, 1]) == 99
    assert flame.module("flame_sample").join(1, b=2, sep="+") == "1+2"
    assert flame.module("flame_sample").Thing.make(7) == 7
    assert flame.module("datetime").datetime.fromisoformat("2024-01-02").year == 2024
    assert flame.module("flame_sample").Thing.count == 0


def test_pyros_low_level_calls(flame: Flame) -> None:
    assert flame.invokeModule("os.path.join", ["a", "b"]) == "a/b"
    assert flame.invokeModule("xml.etree.ElementTree.fromstring", ["<a/>"]).tag == "a"
    assert flame.invokeModule("flame_sample.join", (1,), {"b": 2}) == "1-2"
    assert flame.invokeBuiltin("max", [[22, 99, 1]]) == 99
    assert flame.invokeBuiltin("sorted", [[2, 1]], {"reverse": True}) == [2, 1]


def test_attributes_are_set_deleted_and_missed_by_name(flame: Flame) -> None:
    module = flame.module("flame_sample")
    module.version = 4
    assert flame.evaluate("__import__('flame_sample').version") == 4
    assert hasattr(module, "version")
    del module.version
    assert not hasattr(module, "version")
    with pytest.raises(AttributeError, match="no_such_thing") as caught:
        _ = module.no_such_thing
    assert "flame_sample" in str(caught.value)
    module.version = 3
    assert module.__name__ == "flame_sample"
    assert module.__file__.endswith("__init__.py")


def test_dir_docstrings_signatures_and_help(flame: Flame) -> None:
    module = flame.module("flame_sample")
    assert {"Thing", "join", "version"} <= set(dir(module))
    assert module.__doc__ == "A sample."
    assert module.Thing.__doc__ == "A thing."
    assert inspect.getdoc(module.join) == "Join things."
    signature = inspect.signature(module.join)
    assert list(signature.parameters) == ["a", "b", "rest", "sep", "more"]
    assert str(signature) == "(a: int, b=None, *rest, sep='-', **more)"
    assert str(inspect.signature(module.Thing)) == "(n=1, *, loud=False)"
    assert "Join things." in pydoc.render_doc(module.join)
    assert inspect.getdoc(flame.builtins.len) == len.__doc__


def test_tab_completion_in_ipython(flame: Flame) -> None:
    flame["frame"] = {"first": 1, "second": 2}
    shell = InteractiveShell.instance()
    try:
        shell.user_ns.update(flame=flame, module=flame.module("flame_sample"), mapping=flame.ref("frame"))
        shell.Completer.use_jedi = False

        def completions(text: str) -> set[str]:
            with provisionalcompleter():
                return {completion.text for completion in shell.Completer.completions(text, len(text))}

        assert any("join" in text for text in completions("module.jo"))
        assert any("first" in text for text in completions("mapping['fi"))
        assert any("frame" in text for text in completions("flame['fr"))
    finally:
        InteractiveShell.clear_instance()


HELD = """
import gc, threading
def held():
    return [len(one._held) for one in gc.get_objects() if type(one).__qualname__ == "Objects"]
"""


def test_a_hundred_proxies_cost_the_server_nothing(own: Flame, monkeypatch: pytest.MonkeyPatch) -> None:
    own.execute(HELD)
    threads = own.evaluate("threading.active_count()")
    made: list[Operation] = []
    call = Calls.call

    def counted(self: Calls, operation: Operation, *operands: object, **more: float | None) -> object:
        made.append(operation)
        return call(self, operation, *operands, **more)

    monkeypatch.setattr(Calls, "call", counted)
    proxies = [own.module("os") for _ in range(50)] + [own.modules.flame_nowhere for _ in range(50)]
    assert made == []
    attributes = [proxy.getcwd for proxy in proxies[:50] for _ in range(10)]
    assert made == [Operation.GET] * 50  # what each is, once
    assert all(isinstance(proxy, RemoteObject) for proxy in proxies + attributes)
    made.clear()
    again = [proxy.getcwd for proxy in proxies[:50]]
    assert made == []
    assert own.evaluate("held()") == [0]
    assert own.evaluate("threading.active_count()") <= threads + 1
    lock = own.evaluate("threading.Lock()")
    assert own.evaluate("held()") == [1]  # it would be seen
    del again, lock


def test_the_names_of_modules_are_asked_for_once(own: Flame, monkeypatch: pytest.MonkeyPatch) -> None:
    own.execute("sys = sorted = pkgutil = None")
    names = dir(own.modules)
    assert {"math", "sys", "flame_kernel", "xml", "this", "antigravity"} <= set(names)  # most were never imported
    assert not any("." in name for name in names)

    def refuse(*arguments: object, **more: object) -> object:
        raise AssertionError("asked again")

    monkeypatch.setattr(Calls, "call", refuse)
    assert dir(own.modules) == names


def test_tab_on_modules_in_ipython_ends_in_no_traceback_when_nothing_answers(client: FlameServer) -> None:
    with connect(client.address) as gone:
        modules = gone.modules
    assert dir(modules) == []


def test_names_in_the_namespace(flame: Flame) -> None:
    flame["x"] = 1
    assert "x" in flame
    assert "x" in list(flame)
    del flame["x"]
    assert "x" not in flame
    with pytest.raises(NameError, match="'x'"):
        del flame["x"]
    flame.push("y", [1], timeout=20)
    assert flame.pull("y", timeout=20) == [1]


def test_names_that_users_take_break_no_later_call(own: Flame) -> None:
    names = "os sys builtins connect print getattr flame_kernel pickle cloudpickle threading json operator exec len"
    for name in names.split():
        own.execute(f"{name} = None")
    assert own.module("os").path.join("a", "b") == "a/b"
    assert own.builtins.len([1]) == 1
    assert own.evaluate("1 + 1") == 2
    assert len(own.ref("[1, 2]")) == 2
    assert list(own.evaluate("(n for n in (1, 2))")) == [1, 2]
    own.run("class Local: pass", quiet=True)
    assert type(own.evaluate("Local()")).__name__ == "Local"
    assert own.run("1", quiet=True).value == 1
    with own.batch() as batch:
        two = batch.evaluate("2")
    assert two.result() == 2


# The steps of the example that Pyro publishes for its Flame, in its order.
PYRO_STEPS = """
flame = connect({address!r})
sockets, system = flame.module("socket"), flame.module("os")
print("host", sockets.gethostname())
print("folder", system.getcwd())
flame.execute("import math")
print("root", flame.evaluate("math.sqrt(500)"))
try:
    flame.evaluate("1//0")
except ZeroDivisionError:
    print("its exception arrived")
flame.builtin("print")("printed over there")
if hasattr(flame, "sendmodule"):
    flame.sendmodule("flame_steps.stuff", "def double(x): return 2 * x")
    assert flame.module("flame_steps.stuff").double(21) == 42
flame.close()
"""


def test_pyros_published_example_runs(client: FlameServer, capsys: pytest.CaptureFixture[str]) -> None:
    exec(PYRO_STEPS.format(address=client.address), {"connect": connect})
    told = capsys.readouterr().out.splitlines()
    assert told[2:] == ["root 22.360679774997898", "its exception arrived", "printed over there"]
