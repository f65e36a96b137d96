"""Handles and lazy iteration, against a server over TCP and CURVE."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import os
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flame_kernel import Flame, connect
from flame_kernel.client.calls.handles import Handle
from flame_kernel.errors import FlameTimeout, LimitExceeded, LinkLost, SerializationError, UnknownHandle
from tests.integration.servers import FlameServer, until

COUNTED = """
class Counted:
    alive = 0
    def __init__(self, items=()):
        self.items = list(items)
        type(self).alive += 1
    def __del__(self):
        type(self).alive -= 1
    def __reduce__(self):
        raise TypeError("stays here")
    def __repr__(self):
        return f"Counted({self.items})"
    def __eq__(self, other):
        return isinstance(other, Counted) and self.items == other.items
    def __hash__(self):
        return 7
    def add(self, item, times=1):
        '''Add an item.'''
        self.items += [item] * times
        return self
    def __len__(self):
        return len(self.items)
    def __getitem__(self, index):
        return self.items[index]
    def __setitem__(self, index, item):
        self.items[index] = item
    def __delitem__(self, index):
        del self.items[index]
    def __contains__(self, item):
        return item in self.items
    def __add__(self, other):
        return self.items + list(other)
    def __iadd__(self, other):
        self.items += other
        return self
    def __enter__(self):
        self.entered = True
        return self
    def __exit__(self, kind, error, tb):
        self.left_with = None if kind is None else kind.__name__
        return kind is LookupError
def size(things):
    return [len(thing) for thing in things['all']]
"""


@pytest.fixture(scope="module")
def flame(client: FlameServer):
    with connect(client.address) as flame:
        flame.execute(COUNTED)
        yield flame


def test_what_cannot_cross_comes_as_a_handle_with_a_preview(flame: Flame) -> None:
    lock = flame.evaluate("__import__('threading').Lock()")
    assert isinstance(lock, Handle)
    assert "unlocked" in repr(lock)
    assert "_thread.lock" in repr(lock)
    assert flame.session.name in repr(lock)
    assert lock.acquire() is True
    assert lock.locked() is True
    with pytest.raises(SerializationError, match=r"_thread\.lock can't cross"):
        lock.value()
    assert isinstance(flame.evaluate("open('/dev/null')"), Handle)
    assert flame.evaluate("__import__('math')").sqrt(4) == 2


def test_a_handle_is_called_and_has_attributes_items_and_operators(flame: Flame) -> None:
    thing = flame.evaluate("Counted([1, 2])")
    assert thing.add(3, times=2) is not None
    assert len(thing) == 4
    assert (thing[0], thing[-1]) == (1, 3)
    thing[0] = 10
    del thing[-1]
    assert thing.items == [10, 2, 3]
    assert 10 in thing
    assert 11 not in thing
    assert thing + [4] == [10, 2, 3, 4]  # noqa: RUF005  # the operator is what's tested
    same = thing
    thing += [5]
    assert thing is same
    assert list(thing.items) == [10, 2, 3, 5]
    thing.colour = "red"
    assert thing.colour == "red"
    assert hasattr(thing, "colour")
    del thing.colour
    assert not hasattr(thing, "colour")
    with pytest.raises(AttributeError, match="shade"):
        _ = thing.shade
    assert "add" in dir(thing)
    assert thing == flame.evaluate("Counted([10, 2, 3, 5])")
    assert thing != flame.evaluate("Counted()")
    assert hash(thing) == 7
    assert not flame.evaluate("Counted()")
    assert thing.add.__doc__ == "Add an item."


def test_numbers_work_as_handles(flame: Flame) -> None:
    flame.execute("seven = 7")
    seven = flame.ref("seven")
    assert (seven + 1, 1 + seven, 10 - seven, -seven, seven / 2, 2**seven) == (8, 8, 3, -7, 3.5, 128)
    assert (int(seven), float(seven), round(seven), abs(seven), divmod(seven, 2)) == (7, 7.0, 7, 7, (3, 1))
    assert seven > 6
    assert seven <= 7
    assert seven.value() == 7


def test_a_handle_as_an_argument_is_the_object_itself_also_deep_inside(flame: Flame) -> None:
    flame.execute("one, two = Counted([1]), Counted([1, 2])")
    one, two = flame.ref("one"), flame.ref("two")
    assert flame.module("__main__").size({"all": [one, (two)]}) == [1, 2]
    flame["again"] = one
    assert flame.evaluate("again is one")
    assert flame.module("operator").is_(one, flame.ref("one")) is True
    assert list(flame.builtin("map")(flame.module("math").sqrt, [4, 9])) == [2.0, 3.0]
    assert flame.submit(lambda thing: len(thing), two).result(20) == 2
    assert flame.evaluate("one") is not None


def test_a_handle_is_a_context_manager(flame: Flame) -> None:
    flame.execute("managed = Counted()")
    with flame.ref("managed") as thing:
        assert thing.entered is True
    assert flame.evaluate("managed.left_with") is None
    with flame.ref("managed"):
        raise LookupError("swallowed over there")
    assert flame.evaluate("managed.left_with") == "LookupError"
    with pytest.raises(ValueError, match="not swallowed"), flame.ref("managed"):
        raise ValueError("not swallowed")
    with flame.module("os") as module:
        assert module.name == "posix"
    with flame.builtin("open")("/etc/hostname") as file:
        text = file.read()
    assert text == Path("/etc/hostname").read_text()
    assert file.closed is True


def test_what_is_unknown_here_comes_as_a_handle(flame: Flame, tmp_path: Path) -> None:
    (tmp_path / "known_there.py").write_text("class Odd:\n    x = 5\n    def twice(self, n):\n        return 2 * n\n")
    flame.execute(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import known_there; odd = known_there.Odd()")
    odd = flame.evaluate("odd")
    assert isinstance(odd, Handle)
    odd.y = 6
    assert flame.evaluate("odd.y") == 6
    assert (odd.x, odd.twice(4)) == (5, 8)
    later = flame.submit("odd").result(20)
    assert later.y == 6
    rows = list(flame.evaluate("(known_there.Odd() for _ in range(10))"))
    assert [row.x for row in rows] == [5] * 10
    with flame.batch() as batch:
        first, second = batch.evaluate("odd"), batch.evaluate("1")
    assert (first.result().x, second.result()) == (5, 1)


def test_collected_handles_are_let_go_of_there(own: Flame) -> None:
    own.execute(COUNTED)
    things = [own.evaluate("Counted()") for _ in range(20)]
    method = things[0].add
    assert own.evaluate("Counted.alive") == 20
    del things
    gc.collect()
    until(lambda: own.evaluate("Counted.alive") == 1)  # a method keeps its object
    assert method(1) is not None
    del method
    gc.collect()
    until(lambda: own.evaluate("Counted.alive") == 0)


def test_handles_of_a_client_that_left_are_let_go_of(client: FlameServer) -> None:
    with connect(client.address, session="leaving") as stays:
        stays.execute(COUNTED)
        with connect(client.address, session="leaving") as leaves:
            kept = leaves.evaluate("Counted()")
            assert stays.evaluate("Counted.alive") == 1
            assert stays.builtin("len")(kept) == 0  # of the same session, if another client's
        until(lambda: stays.evaluate("Counted.alive") == 0)
        with pytest.raises(UnknownHandle, match="no longer holds"):
            stays.builtin("len")(kept)
        stays.session.close()


def test_a_client_has_ten_thousand_handles_and_not_one_more(own: Flame) -> None:
    own.execute(COUNTED)
    things = list(own.evaluate("(Counted() for _ in range(9_000))"))
    with pytest.raises(LimitExceeded, match=r"10,000 handles .* let go of some") as caught:
        things += list(own.evaluate("(Counted() for _ in range(1_500))"))
    assert "\n" not in str(caught.value)
    del caught  # its traceback knows the iterator
    gc.collect()
    until(lambda: own.evaluate("Counted.alive") == 9_000)  # those of the chunk that was refused are not kept
    things += [own.evaluate("Counted()") for _ in range(990)]
    with pytest.raises(LimitExceeded, match="which is the limit"):
        things += [own.evaluate("Counted()") for _ in range(11)]
    assert things[0].items == []  # what there is works on
    del things
    gc.collect()
    until(lambda: own.evaluate("Counted.alive") == 0)
    assert own.evaluate("Counted()").items == []


def test_handles_of_another_session_and_unknown_ones_are_named_as_such(flame: Flame, own: Flame) -> None:
    lock = flame.evaluate("__import__('threading').Lock()")
    with pytest.raises(UnknownHandle, match="of another session"):
        own["lock"] = lock
    before = own.evaluate("__import__('threading').Lock()")
    own.session.restart()
    with pytest.raises(UnknownHandle, match="before it was restarted"):
        before.locked()
    assert own.evaluate("1") == 1


def test_a_handle_is_of_no_use_outside_a_call(flame: Flame) -> None:
    lock = flame.evaluate("__import__('threading').Lock()")
    with pytest.raises(UnknownHandle, match="only in calls"):
        pickle.loads(pickle.dumps(lock))  # noqa: TID251  # that it fails is what's tested


def test_handles_work_on_a_plain_connection(client: FlameServer) -> None:
    with connect(client.address, plain=True) as plain:
        plain.execute("import threading; lock = threading.Lock(); numbers = {'a': [1]}")
        lock = plain.ref("lock")
        assert lock.acquire() is True
        assert lock.locked() is True
        assert plain.ref("numbers")["a"] == [1]
        assert list(plain.evaluate("(n for n in range(100))")) == list(range(100))


# ---------------------------------------------------------------- iteration


def test_generators_are_lazy_and_in_order(flame: Flame) -> None:
    flame.execute("seen = []\ndef numbers():\n    for n in range(10_000):\n        seen.append(n)\n        yield n")
    generator = flame.evaluate("numbers()")
    assert flame.evaluate("seen") == []
    assert next(generator) == 0
    assert len(flame.evaluate("seen")) <= 5
    assert list(generator) == list(range(1, 10_000))
    assert list(generator) == []


def test_other_iterators_and_files_give_their_items(flame: Flame, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("".join(f"{n}\n" for n in range(1000)))
    with flame.builtin("open")(str(tmp_path / "lines")) as file:
        assert [int(line) for line in file] == list(range(1000))
    assert list(flame.evaluate("iter([1, 2])")) == [1, 2]
    assert list(flame.builtin("zip")("ab", "cd")) == [("a", "c"), ("b", "d")]
    assert sorted(flame.ref("{'a': 1, 'b': 2}")) == ["a", "b"]
    assert list(flame.builtin("reversed")([1, 2])) == [2, 1]


def test_a_million_items_cross_quickly(flame: Flame) -> None:
    start = time.process_time()
    assert sum(flame.evaluate("iter(range(1_000_000))")) == 499_999_500_000
    assert time.process_time() - start < 5  # about 0.2 s on an idle machine; a round trip for each would take minutes


def test_an_endless_generator_can_be_left_and_is_closed(flame: Flame) -> None:
    flame.execute(
        "closed = []\ndef endless():\n    n = 0\n    try:\n        while True:\n            yield n\n"
        "            n += 1\n"
        "    finally:\n        closed.append(n)"
    )
    for n in flame.evaluate("endless()"):
        if n == 1000:
            break
    gc.collect()
    until(lambda: flame.evaluate("closed"))
    generator = flame.evaluate("endless()")
    assert list(itertools.islice(generator, 10)) == list(range(10))
    generator.close()
    assert len(flame.evaluate("closed")) == 2
    assert list(generator) == []


def test_what_a_generator_raises_comes_after_its_items(flame: Flame) -> None:
    flame.execute("def failing():\n    yield 1\n    yield 2\n    yield 3\n    raise LookupError('no more')")
    got = []
    with pytest.raises(LookupError, match="no more"):  # noqa: PT012  # the items are collected on the way
        for item in flame.evaluate("failing()"):
            got.append(item)  # noqa: PERF402  # as above
    assert got == [1, 2, 3]


def test_slow_items_come_one_by_one_and_what_they_print_too(flame: Flame, gate: Path, capsys) -> None:
    flame.execute(
        f"def slow():\n    yield 1\n    print('on the way')\n    yield 2\n    wait_for({str(gate)!r})\n    yield 3"
    )
    generator = flame.evaluate("slow()")
    assert next(generator) == 1
    assert next(generator) == 2
    assert capsys.readouterr().out == "on the way\n"
    gate.touch()
    assert list(generator) == [3]


def test_a_chunk_that_takes_too_long_times_out_and_comes_later(flame: Flame, gate: Path) -> None:
    flame.execute(f"def late():\n    wait_for({str(gate)!r})\n    yield 1")
    generator = flame.ref("late()", timeout=0.2)
    assert generator._flame_timeout == 0.2
    with pytest.raises(FlameTimeout, match=r"0\.2 s"):
        next(generator)
    gate.touch()
    with contextlib.suppress(FlameTimeout):
        assert next(generator) == 1


def test_items_that_cannot_cross_are_handles(flame: Flame) -> None:
    items = list(flame.evaluate("(x for x in [1, __import__('threading').Lock(), 'two'])"))
    assert (items[0], items[2]) == (1, "two")
    assert items[1].locked() is False


def test_a_handle_of_a_string_is_no_modules_name(flame: Flame) -> None:
    text = flame.ref("'math'")
    assert (len(text), text.upper(), text[0], text.value()) == (4, "MATH", "m", "math")


def test_an_iterator_that_was_run_ahead_is_no_argument_since_items_would_be_missing(flame: Flame) -> None:
    untouched = flame.evaluate("(n for n in range(10))")
    begun = flame.evaluate("(n for n in range(10))")
    taken = [next(begun) for _ in range(4)]

    assert flame.builtins.sum(untouched) == 45
    with pytest.raises(SerializationError, match="run ahead"):
        flame.builtins.sum(begun)
    assert taken + list(begun) == list(range(10))


def test_what_works_on_the_object_it_was_got_from_stays_with_it_and_data_does_not(flame: Flame) -> None:
    flame.execute(
        "class Places:\n"
        "    def __init__(self, of): self.of = of\n"
        "    def __setitem__(self, place, value): self.of.items[place] = value\n"
        "class Table:\n"
        "    def __init__(self): self.items = [1, 2, 3]\n"
        "    at = property(Places)\n"
        "table = Table()"
    )
    table = flame.ref("table")
    table.at[1] = 20

    assert table.items == [1, 20, 3]
    assert type(table.items) is list


def test_numpy_makes_an_array_of_a_handle_in_one_call(flame: Flame) -> None:
    rows = flame.ref("[[1, 2], [3, 4]]")

    assert np.array_equal(np.asarray(rows), [[1, 2], [3, 4]])
    assert np.asarray(rows, dtype="float32").dtype == np.float32
    assert np.array_equal(np.arange(2) + flame.ref("__import__('numpy').arange(2)"), [0, 2])


def test_files_stay_where_they_are_open_and_files_in_memory_are_values(flame: Flame, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("content", encoding="utf-8")

    assert isinstance(flame.evaluate(f"[open({str(path)!r})]"), Handle)
    with path.open(encoding="utf-8") as here, pytest.raises(SerializationError, match="TextIOWrapper"):
        flame["file"] = here
    assert flame.evaluate("__import__('io').BytesIO(b'abc')").getvalue() == b"abc"
    flame["text"] = io.StringIO("abc")
    assert flame["text"].read() == "abc"


def test_what_cannot_cross_is_named_and_not_the_call_it_was_part_of(flame: Flame) -> None:
    with pytest.raises(SerializationError, match=r"^'lock' \(_thread.lock\) can't cross"):
        flame["lock"] = threading.Lock()
    with pytest.raises(SerializationError, match=r"^a generator can't cross"):
        flame.builtins.dict(a=1, b=(n for n in ()))
    with pytest.raises(TypeError, match="pull takes a string, not 3"):
        flame[3]  # type: ignore[index]


def test_a_fork_of_the_client_is_told_to_connect_anew(flame: Flame) -> None:
    held = flame.ref("object()")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        told = []
        for attempt in (
            lambda: flame.evaluate("1"),
            lambda: flame.submit("1").result(5),
            lambda: flame.run("1"),
            held.value,
        ):
            try:
                attempt()
            except LinkLost as error:
                told.append("before the fork" in str(error))
        os.write(writing, bytes(told))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read() == bytes([True] * 4)
    os.waitpid(pid, 0)
    assert flame.evaluate("1 + 1") == 2
