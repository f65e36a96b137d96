from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import SerializationError
from flame_kernel.protocol.frames import pack, unpack
from flame_kernel.serialize import Format, dump, load

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=plain_values | st.binary() | st.tuples(st.complex_numbers(allow_nan=False), st.sets(st.integers())))
def test_what_is_written_reads_the_same(value: Any) -> None:
    assert load(*dump(value)) == value


@given(value=plain_values)
def test_plain_data_crosses_a_plain_connection(value: Any) -> None:
    form, parts = dump(value, plain=True)

    assert form is Format.JSON
    assert load(form, parts, plain=True) == value


def test_the_memory_of_an_array_is_shared_not_copied() -> None:
    array = np.arange(100_000)

    form, parts = dump({"a": array})

    assert form is Format.PICKLE
    assert len(parts) == 2
    assert np.shares_memory(np.frombuffer(parts[1], array.dtype), array)
    assert len(parts[0]) < 1_000
    back = load(form, parts)["a"]
    assert np.shares_memory(back, array)
    assert (back == array).all()


@pytest.mark.parametrize("count", [3, 1_000])
def test_small_arrays_can_be_written_to_though_they_come_as_bytes_unless_they_could_not_be_before(count: int) -> None:
    here = np.arange(count)
    fixed = here.copy()
    fixed.flags.writeable = False
    there = []
    for array in (here, fixed):
        form, parts = dump(array)
        there.append(load(form, [bytes(part) for part in parts]))

    there[0] += 1
    assert np.array_equal(there[0], here + 1)
    assert not there[1].flags.writeable


def test_arrays_that_lie_apart_in_memory_cross_all_the_same() -> None:
    array = np.arange(10_000).reshape(100, 100)[::2, ::3]

    assert (load(*dump(array)) == array).all()


@pytest.mark.parametrize(
    "view",
    [
        memoryview(bytes(range(256)) * 100),
        memoryview(bytearray(40_000)),
        memoryview(np.arange(10_000, dtype="f8").reshape(100, 100)),
        memoryview(np.arange(10_000, dtype="i4")),
    ],
    ids=["bytes", "bytearray", "table", "integers"],
)
def test_the_memory_of_a_memoryview_is_shared_not_copied(view: memoryview) -> None:
    form, parts = dump({"a": [view]})

    assert form is Format.PICKLE
    assert [len(part) < 1_000 for part in parts] == [True, False]
    assert np.shares_memory(np.frombuffer(parts[1], "B"), np.asarray(view))
    (back,) = load(form, parts)["a"]
    assert isinstance(back, memoryview)
    assert (back.format, back.shape) == (view.format, view.shape)
    assert back == view


@pytest.mark.parametrize(
    "view",
    [memoryview(b"abcdef")[::2], memoryview(b""), memoryview(np.zeros((0, 3))), memoryview(np.arange(5, dtype=">i4"))],
    ids=["apart", "empty", "no rows", "big-endian"],
)
def test_other_memoryviews_cross_with_their_bytes(view: memoryview) -> None:
    back = load(*dump(view))

    assert isinstance(back, memoryview)
    assert back.tobytes() == view.tobytes()


def test_tables_cross_with_their_columns_apart() -> None:
    frame = pandas.DataFrame({"n": np.arange(100_000), "x": np.linspace(0, 1, 100_000)})
    arrow = pyarrow.table({"n": np.arange(100_000), "s": [str(n) for n in range(100_000)]})

    form, parts = dump([frame, arrow])

    assert len(parts[0]) < 10_000
    assert sum(map(len, parts[1:])) >= frame.memory_usage(index=False).sum() + arrow.nbytes
    first, second = load(form, parts)
    pandas.testing.assert_frame_equal(first, frame)
    assert second == arrow


def test_large_bytes_travel_as_they_are() -> None:
    large = b"x" * 100_000

    form, parts = dump(large)

    assert form is Format.RAW
    assert parts[0] is large
    assert load(form, [memoryview(large)]) == large
    assert type(load(form, [memoryview(large)])) is bytes


class Subclass(bytes):
    pass


def test_a_subclass_of_bytes_keeps_its_type() -> None:
    assert type(load(*dump(Subclass(b"x" * 100_000)))) is Subclass


@pytest.mark.parametrize("size", [3, 3_000], ids=["small", "large"])
def test_a_value_of_more_buffers_than_a_message_has_parts_crosses(size: int) -> None:
    arrays = [np.full(size, number) for number in range(5_000)]
    arrays[1].setflags(write=False)
    form, parts = dump(arrays)

    back = load(form, unpack(pack(parts)))
    assert all(map(np.array_equal, back, arrays))
    assert [array.flags.writeable for array in back[:3]] == [True, False, True]


def test_small_buffers_are_in_the_pickle_and_large_ones_beside_it() -> None:
    small, large = np.arange(10), np.arange(10_000)

    assert [len(dump([small, array])[1]) for array in (small, large)] == [1, 2]


def test_what_main_defines_crosses_as_code_with_its_buffers_apart() -> None:
    script = """
import sys
import numpy
from flame_kernel.serialize import dump
class Point:
    def __init__(self, x):
        self.x = x
    def double(self):
        return 2 * self.x
form, parts = dump([Point(numpy.arange(10_000)), lambda: Point(4)])
assert len(parts) == 2, parts
for part in parts:
    sys.stdout.buffer.write(len(part).to_bytes(8, "big") + bytes(part))
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    parts = []
    while out:
        size = int.from_bytes(out[:8], "big")
        parts.append(out[8 : 8 + size])
        out = out[8 + size :]

    point, make = load(Format.PICKLE, parts)
    assert point.double()[-1] == 2 * 9_999
    assert make().double() == 8


def test_a_lambda_crosses() -> None:
    k = 3

    assert load(*dump(lambda x: x * k))(2) == 6


@pytest.mark.parametrize("plain", [False, True])
def test_what_cannot_cross_says_what_it_is(plain: bool) -> None:
    with pytest.raises(SerializationError, match=r"lock"):
        dump(threading.Lock(), plain)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), 1j], ids=["bytes", "set", "object", "complex"])
def test_a_plain_connection_carries_plain_data_only(value: Any) -> None:
    with pytest.raises(SerializationError, match="plain data only"):
        dump(value, plain=True)


def test_what_refers_to_itself_is_no_plain_data() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(SerializationError):
        dump(endless, plain=True)
    assert load(*dump(endless))[0][0] is not None


class Boom:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("form", [Format.PICKLE, Format.RAW])
def test_a_plain_connection_never_unpickles(form: Format) -> None:
    with pytest.raises(SerializationError, match="pickled"):
        load(form, [pickle.dumps(Boom())], plain=True)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def raise_unspeakable() -> None:
    raise Unspeakable


class Broken:
    def __reduce__(self) -> Any:
        return (raise_unspeakable, ())


class Unwilling:
    def __reduce__(self) -> Any:
        raise Unspeakable


def test_code_of_the_value_that_fails_without_words_is_a_serialization_error() -> None:
    with pytest.raises(SerializationError, match="Unspeakable"):
        load(*dump(Broken()))
    with pytest.raises(SerializationError, match="Unwilling can't cross"):
        dump(Unwilling())


@given(data=st.data(), value=plain_values)
def test_a_pickle_that_was_cut_short_is_a_serialization_error(data: st.DataObject, value: Any) -> None:
    whole = pickle.dumps(value, protocol=5)
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(SerializationError):
        load(Format.PICKLE, [whole[:cut]])


@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_are_plain_data_or_a_serialization_error(data: bytes) -> None:
    try:
        load(Format.JSON, [data], plain=True)
    except SerializationError:
        return


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        (Format.PICKLE, []),
        (Format.PICKLE, [b""]),
        (Format.PICKLE, [b"cno_such_module\nname\n."]),
        (Format.PICKLE, [b"cos\nno_such_name\n."]),
        (Format.PICKLE, [b"\x80\x63."]),
        (Format.JSON, [b"{"]),
        (Format.JSON, [b"[" * 100_000]),
        (Format.JSON, [b"\xff\xfe"]),
        (99, [b""]),
        (-1, [b""]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_hostile_values_are_serialization_errors(form: int, parts: list[bytes]) -> None:
    with pytest.raises(SerializationError):
        load(form, parts)


def test_a_pickle_whose_buffers_are_missing_is_a_serialization_error() -> None:
    form, parts = dump(np.arange(10_000))

    with pytest.raises(SerializationError):
        load(form, parts[:1])
