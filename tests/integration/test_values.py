"""Values cross as what they are, their memory apart from the pickle, and so do those of classes of ``__main__``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
import pytest

from flame_kernel import Flame
from flame_kernel.client.calls import calls, lane
from tests.integration.servers import FlameServer, run_script

COUNT = 100_000

# What makes each value, on either side.
MAKE = f"""
import numpy, pandas, pyarrow
def make(kind):
    n = numpy.arange({COUNT})
    return {{
        "numpy": lambda: n,
        "pandas": lambda: pandas.DataFrame({{"n": n, "x": n / 3}}),
        "pyarrow": lambda: pyarrow.table({{"n": n, "x": n / 3}}),
        "memoryview": lambda: memoryview(n),
    }}[kind]()
"""


def make(kind: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(MAKE, namespace)  # the same code as over there
    return namespace["make"](kind)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, pandas.DataFrame):
        return bool(one.equals(other))
    return bool(one == other)


@pytest.fixture
def crossed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The sizes of the parts of each value that crosses."""
    seen: list[list[int]] = []
    dump, load = lane.dump, calls.load

    def dumped(*arguments: Any) -> Any:
        form, parts = dump(*arguments)
        seen.append(list(map(len, parts)))
        return form, parts

    def loaded(form: int, parts: Sequence[Any], *more: Any) -> Any:
        seen.append(list(map(len, parts)))
        return load(form, parts, *more)

    monkeypatch.setattr(lane, "dump", dumped)
    monkeypatch.setattr(calls, "load", loaded)
    return seen


@pytest.mark.parametrize("kind", ["numpy", "pandas", "pyarrow", "memoryview"])
def test_tables_and_arrays_cross_both_ways_with_their_memory_apart(
    flame: Flame, kind: str, crossed: list[list[int]]
) -> None:
    flame.execute(MAKE)
    value = make(kind)
    crossed.clear()
    flame["sent"] = value
    there, *_ = [parts for parts in crossed if len(parts) > 1]
    crossed.clear()
    back = flame.evaluate("make(" + repr(kind) + ")")
    here, *_ = [parts for parts in crossed if len(parts) > 1]
    for head, *buffers in (there, here):
        assert head < 5_000
        assert sum(buffers) >= 8 * COUNT
    assert type(back) is type(value)
    assert equal(back, value)
    check = "sent.equals" if kind == "pandas" else "numpy.array_equal" if kind == "numpy" else "sent.__eq__"
    arguments = "sent, make" if kind == "numpy" else "make"
    assert flame.evaluate(f"bool({check}({arguments}({kind!r})))") is True
    assert flame.evaluate("type(sent).__module__ + '.' + type(sent).__name__") == (
        f"{type(value).__module__}.{type(value).__name__}"
    )


def test_a_great_many_arrays_cross_both_ways_whether_or_not_they_are_waited_for(flame: Flame) -> None:
    many = [np.full(3, number) for number in range(5_000)]
    flame["many"] = many

    assert all(map(np.array_equal, flame.evaluate("[array + 1 for array in many]"), [array + 1 for array in many]))
    assert flame.submit(len, many).result(30) == 5_000
    assert len(flame.submit("many").result(30)) == 5_000


def test_a_class_that_main_defines_over_there_crosses_both_ways(flame: Flame) -> None:
    flame.run("class There:\n    def __init__(self, n): self.n = n\n    def twice(self): return 2 * self.n", quiet=True)
    thing = flame.evaluate("There(21)")
    assert (type(thing).__name__, thing.n, thing.twice()) == ("There", 21, 42)
    flame["again"] = thing
    assert flame.evaluate("(type(again).__name__, again.twice())") == ("There", 42)
    cls = flame.evaluate("There")
    assert flame.builtin("getattr")(cls(4), "n") == 4


HERE = """
import sys
import numpy
from flame_kernel import connect

class Here:
    def __init__(self, array):
        self.array = array
    def total(self):
        return int(self.array.sum())

with connect(sys.argv[1]) as flame:
    flame["sent"] = Here(numpy.arange(1000))
    print(flame.evaluate("(type(sent).__name__, sent.total())"))
    back = flame.evaluate("sent")
    print(type(back).__name__, isinstance(back, Here), back.total())
    print(flame.submit(lambda thing: thing.total() + 1, Here(numpy.arange(3))).result(20))
    flame["Here"] = Here
    made = flame.evaluate("Here(__import__('numpy').ones(5))")
    print(type(made).__name__, isinstance(made, Here), made.total())
"""


def test_a_class_that_main_defines_here_crosses_both_ways(client: FlameServer) -> None:
    done = run_script(HERE, client.client_environ(), client.address)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["('Here', 499500)", "Here True 499500", "4", "Here True 5"]
