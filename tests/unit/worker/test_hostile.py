"""Whatever a client sends, only its own request comes to grief, and the worker goes on."""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame_kernel.protocol import calls, packets
from flame_kernel.protocol.calls import Failure, Operation, Outcome
from flame_kernel.protocol.conversation import Message
from flame_kernel.protocol.packets import Kind, decode
from flame_kernel.serialize import Format, dump
from flame_kernel.worker.main import Worker
from flame_kernel.worker.operations import Operations
from tests.unit.rendezvous import rendezvous
from tests.unit.worker.test_main import Client, Place

# A worker lives through all examples of a test: that is what is tested.
lasting = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with rendezvous(tmp_path_factory.mktemp("hostile") / "w") as (entrance, address):
        Worker(entrance, Operations({})).start()
        place = Place(address, {})
        yield place
        place.context.destroy(0)


@pytest.fixture(scope="module")
def honest(place: Place) -> Client:
    return place.client()


@pytest.fixture(scope="module")
def hostile(place: Place) -> Client:
    return place.client()


def send_junk(place: Place, frames: list[bytes]) -> None:
    socket = place.context.socket(5)  # a DEALER
    socket.linger = 0
    socket.connect(place.address)
    socket.send_multipart(frames)
    socket.close(100)


@lasting
@given(frames=st.lists(st.binary(max_size=60), min_size=1, max_size=4))
def test_junk_frames(place: Place, honest: Client, frames: list[bytes]) -> None:
    send_junk(place, frames)
    assert honest.value(Operation.EVALUATE, "1") == 1


@lasting
@given(
    kind=st.integers(0, 255),
    number=st.integers(0, 2**64 - 1),
    ack=st.integers(0, 2**64 - 1),
    table=st.lists(st.integers(0, 2**64 - 1), max_size=4),
    rest=st.binary(max_size=40),
)
def test_packets_that_lie_about_themselves(
    place: Place, honest: Client, kind: int, number: int, ack: int, table: list[int], rest: bytes
) -> None:
    head = struct.pack("!BBQQH", packets.MAGIC, kind, number, ack, len(table))
    send_junk(place, [head + struct.pack(f"!{len(table)}Q", *table) + rest])
    assert honest.value(Operation.EVALUATE, "1") == 1


def refused(client: Client, request: list[Any]) -> str:
    """Send a request that has to fail, and return what it failed with."""
    client.conversation.push(request)
    client.flush()
    answer = client.next()
    while answer.outcome not in calls.LAST:
        answer = client.next()
    return Failure.decode(answer.parts[0]).ename if answer.outcome is Outcome.ERROR else ""


@lasting
@given(
    # Such a one is no request, but a piece of one, or several.
    head=st.binary(max_size=5).filter(lambda head: head[:1] not in (b"\0", b"\xff")),
    rest=st.lists(st.binary(max_size=20), max_size=3),
)
def test_requests_that_are_none(hostile: Client, honest: Client, head: bytes, rest: list[bytes]) -> None:
    try:
        oneway = calls.asked(head).oneway
    except calls.ProtocolError:
        oneway = False
    if not oneway and (len(head) < 2 or head[1] != Format.PICKLE):  # a pickle that is random bytes may do anything
        refused(hostile, [head, *rest])
    assert honest.value(Operation.EVALUATE, "1") == 1


@lasting
@given(
    heads=st.lists(st.binary(min_size=3, max_size=3), max_size=4), odd=st.binary(max_size=2), parts=st.integers(0, 4)
)
def test_bundles_that_are_none(hostile: Client, honest: Client, heads: list[bytes], odd: bytes, parts: int) -> None:
    message = [b"\xff" + b"".join(heads) + odd, *[b"}"] * parts]
    known = []
    with contextlib.suppress(calls.ProtocolError):
        for _, head, _ in calls.decode_requests(1, message):
            with contextlib.suppress(calls.ProtocolError):
                known.append(calls.asked(bytes(head)).oneway)
    expected = parts - sum(known) if not odd and parts == len(heads) and parts else 1
    hostile.conversation.push(message)
    hostile.flush()
    while expected:
        event = hostile.conversation.take(decode(hostile.socket.recv_multipart()))
        if isinstance(event, Message):
            expected -= sum(answer.outcome in calls.LAST for answer in calls.decode_answers(event.parts))
    assert honest.value(Operation.EVALUATE, "1") == 1


@lasting
@given(
    table=st.lists(st.integers(0, 2**64 - 1), max_size=3),
    odd=st.binary(max_size=7),
    pieces=st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=3), max_size=3),
)
def test_pieces_of_nothing(
    place: Place, honest: Client, table: list[int], odd: bytes, pieces: list[list[bytes]]
) -> None:
    liar = place.client()
    for parts in ([b"\0" + struct.pack(f"!{len(table)}Q", *table) + odd], *([b"\0", *piece] for piece in pieces)):
        liar.conversation.push(parts)
    liar.flush()
    assert honest.value(Operation.EVALUATE, "1") == 1
    liar.socket.close(0)


@lasting
@given(operation=st.sampled_from(sorted(Operation)), operands=json_values)
def test_operands_of_wrong_number_and_type(
    hostile: Client, honest: Client, operation: Operation, operands: Any
) -> None:
    refused(hostile, calls.encode_request(operation, Format.JSON, [json.dumps(operands).encode()], plain=True))
    assert honest.value(Operation.EVALUATE, "1") == 1


@lasting
@given(
    operation=st.sampled_from(
        [Operation.CALL, Operation.GET, Operation.OPERATE, Operation.DESCRIBE, Operation.NEXT, Operation.CLOSE]
    ),
    root=st.tuples(st.text(max_size=16) | st.integers(), json_values) | st.tuples(json_values),
)
def test_handles_that_nobody_has(hostile: Client, honest: Client, operation: Operation, root: Any) -> None:
    more = {
        Operation.CALL: ["", [], {}],
        Operation.GET: ["x"],
        Operation.OPERATE: ["", "len", []],
        Operation.DESCRIBE: [""],
        Operation.NEXT: [1],
        Operation.CLOSE: [],
    }[operation]
    data = json.dumps([root, *more]).encode()
    name = refused(hostile, calls.encode_request(operation, Format.JSON, [data], plain=True))
    assert name in ("UnknownHandle", "ProtocolError")
    assert honest.value(Operation.EVALUATE, "1") == 1


@lasting
@given(cut=st.integers(0, 40))
def test_truncated_pickles(hostile: Client, honest: Client, cut: int) -> None:
    form, (data, *_) = dump(("1 + 1", {"a": [1, 2]}))
    name = refused(hostile, calls.encode_request(Operation.PUSH, form, [bytes(data)[:cut]]))
    assert name == "SerializationError" or cut >= len(data)
    assert honest.value(Operation.EVALUATE, "1") == 1


def test_interrupts_and_holds_of_calls_that_are_none(hostile: Client, honest: Client) -> None:
    for operands in ((os.urandom(16).hex(), 1), ("nonsense", 1), (5, 5), ("00",), None):
        form, parts = dump(operands)
        refused(hostile, calls.encode_request(Operation.INTERRUPT, form, parts))
    for operands in ((10**30,), (-1,), ("x",), None):
        form, parts = dump(operands)
        assert refused(hostile, calls.encode_request(Operation.HOLD, form, parts)) in ("UnknownHandle", "ProtocolError")
    for operands in (([(1, 1), (2, -5)],), ([(10**30, 1)],)):
        form, parts = dump(operands)
        assert refused(hostile, calls.encode_request(Operation.RELEASE, form, parts)) == ""
    assert honest.value(Operation.EVALUATE, "1") == 1


def test_a_client_that_gives_back_what_is_not_its_own_takes_nothing_away(hostile: Client, honest: Client) -> None:
    from flame_kernel.protocol.references import Reference

    honest.ask(Operation.REFER, "[1, 2, 3]")
    reference = Reference.decode(honest.next().parts[0])
    form, parts = dump(([(reference.number, 100)],))
    refused(hostile, calls.encode_request(Operation.RELEASE, form, parts))
    assert honest.value(Operation.OPERATE, reference.root, "", "len", ()) == 3


def test_a_huge_part_is_no_more_than_an_error(hostile: Client, honest: Client) -> None:
    assert refused(hostile, [b"\x01\x02\x01", b"[" * 5_000_000]) == "SerializationError"
    assert refused(hostile, [b"\x01\x02\x01", *[b"x"] * 4000]) == "SerializationError"
    assert honest.value(Operation.EVALUATE, "1") == 1


def test_greetings_of_wrong_length_are_refused(place: Place, honest: Client, tmp_path: Path) -> None:
    for parts in ([], [b""], [b"x" * 16, b"y"], [b"x" * 16] * 3):
        socket = place.context.socket(5)
        socket.linger, socket.rcvtimeo = 0, 30_000
        socket.connect(place.address)
        socket.send_multipart(packets.encode(Kind.HELLO, parts))
        assert decode(socket.recv_multipart()).kind is Kind.REFUSED
        socket.close()
    assert honest.value(Operation.EVALUATE, "1") == 1
