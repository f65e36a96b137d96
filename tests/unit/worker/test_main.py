"""The worker over a real unix socket, with its threads in this process."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.protocol import calls
from flame_kernel.protocol.bundles import MOST, bundled
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome
from flame_kernel.protocol.conversation import Conversation, Message
from flame_kernel.protocol.packets import Kind, decode, encode
from flame_kernel.protocol.references import Reference
from flame_kernel.serialize import dump, load
from flame_kernel.worker import callers, crew
from flame_kernel.worker.lead import Lead
from flame_kernel.worker.main import Worker
from flame_kernel.worker.operations import Operations
from tests.unit.rendezvous import rendezvous
from tests.unit.waiting import eventually


class Client:
    """One client of a worker, on a socket of its own."""

    def __init__(self, context: zmq.Context[Any], address: str, name: bytes) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = 30_000
        self.socket.connect(address)
        self.conversation = Conversation()
        self.socket.send_multipart(self.conversation.greeting(Kind.HELLO, [name]))
        self.epoch = bytes(decode(self.socket.recv_multipart()).parts[0])

    def ask(self, operation: Operation, *operands: Any, plain: bool = False) -> int:
        form, parts = dump(operands, plain)
        message = self.conversation.push(calls.encode_request(operation, form, parts, plain))
        self.flush()
        return calls.call_number(message)

    def ask_together(self, *expressions: str) -> list[int]:
        """Ask for the values of expressions in one message."""
        requests = [calls.encode_request(Operation.EVALUATE, *dump((expression,))) for expression in expressions]
        ((parts, count),) = bundled(requests)
        message = self.conversation.push(parts)
        self.flush()
        return [calls.call_number(message, place) for place in range(count)]

    def flush(self) -> None:
        for frames in self.conversation.outgoing():
            self.socket.send_multipart(frames)

    def next(self) -> CallAnswer:
        while True:
            event = self.conversation.take(decode(self.socket.recv_multipart()))
            if isinstance(event, Message):
                self.flush()
                return calls.decode_answer(event.parts)

    def value(self, operation: Operation, *operands: Any) -> Any:
        number = self.ask(operation, *operands)
        answer = self.next()
        assert (answer.outcome, answer.call) == (Outcome.RESULT, number)
        return load(answer.format, answer.parts)

    def failure(self, operation: Operation, *operands: Any) -> str:
        self.ask(operation, *operands)
        answer = self.next()
        assert answer.outcome is Outcome.ERROR
        return calls.Failure.decode(answer.parts[0]).ename


class Place:
    """A running worker, and clients of it."""

    def __init__(self, address: str, namespace: dict[str, Any]) -> None:
        self.address = address
        self.namespace = namespace
        self.context: zmq.Context[Any] = zmq.Context()
        self.clients: list[Client] = []  # a socket that nobody refers to would close itself

    def client(self) -> Client:
        self.clients.append(Client(self.context, self.address, bytes([len(self.clients)]) * 16))
        return self.clients[-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    namespace: dict[str, Any] = {}
    with rendezvous(tmp_path / "w") as (entrance, address):
        Worker(entrance, Operations(namespace)).start()
        place = Place(address, namespace)
        yield place
        place.context.destroy(0)


def test_calls_are_answered(place: Place) -> None:
    client = place.client()

    assert client.value(Operation.PING) is None
    assert client.value(Operation.EVALUATE, "1 + 1") == 2
    assert client.value(Operation.PUSH, "x", [1, 2]) is None
    assert client.value(Operation.EVALUATE, "sum(x)") == 3


def test_clients_share_the_namespace_and_the_epoch(place: Place) -> None:
    ann, bob = place.client(), place.client()
    ann.value(Operation.PUSH, "x", 1)

    assert bob.value(Operation.PULL, "x") == 1
    assert ann.epoch == bob.epoch


def test_large_values_cross_both_ways(place: Place) -> None:
    client = place.client()
    large = b"x" * 1_000_000
    client.value(Operation.PUSH, "large", {"a": bytearray(large)})

    assert client.value(Operation.EVALUATE, "bytes(large['a'])") == large


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("raise SystemExit(3)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("1 / 0", "ZeroDivisionError"),
        ("1 +", "SyntaxError"),
    ],
)
def test_whatever_a_call_raises_is_its_callers_and_the_worker_goes_on(place: Place, code: str, name: str) -> None:
    client = place.client()

    assert client.failure(Operation.EXECUTE, code) == name
    assert client.value(Operation.EVALUATE, "1") == 1


def test_a_value_that_cannot_cross_stays_and_is_named(place: Place) -> None:
    client = place.client()
    client.ask(Operation.EVALUATE, "__import__('threading').Lock()")
    answer = client.next()

    assert answer.outcome is Outcome.REFERENCE
    reference = Reference.decode(answer.parts[0])
    assert (reference.kind, reference.type) == ("object", "_thread.lock")
    assert client.value(Operation.CALL, reference.root, "locked", (), {}) is False


def test_what_fails_in_every_way_is_answered_all_the_same(place: Place) -> None:
    client = place.client()
    code = """
class Unspeakable(Exception):
    def __str__(self): raise self
class Untransportable(Exception):
    def __reduce__(self): raise Unspeakable
    __str__ = Unspeakable.__str__
raise Untransportable
"""

    assert client.failure(Operation.EXECUTE, code) == "Untransportable"


def test_a_call_that_takes_long_holds_up_no_other(place: Place) -> None:
    may_end = threading.Event()
    place.namespace["may_end"] = may_end
    ann, bob = place.client(), place.client()
    slow = [ann.ask(Operation.EVALUATE, "may_end.wait(30)") for _ in range(5)]

    assert bob.value(Operation.EVALUATE, "1") == 1
    may_end.set()
    assert sorted(ann.next().call for _ in slow) == slow


def test_what_is_no_request_is_answered_with_an_error(place: Place) -> None:
    client = place.client()
    client.conversation.push([b"nonsense"])
    client.flush()

    assert client.next().outcome is Outcome.ERROR
    assert client.value(Operation.EVALUATE, "1") == 1


def test_junk_is_refused_and_the_worker_goes_on(place: Place) -> None:
    client = place.client()
    client.socket.send_multipart([b"junk"])
    assert decode(client.socket.recv_multipart()).kind is Kind.REFUSED

    assert client.value(Operation.EVALUATE, "1") == 1


def test_a_plain_caller_is_never_sent_a_pickle_nor_may_send_one(place: Place) -> None:
    client = place.client()
    form, parts = dump(("1",))
    client.conversation.push(calls.encode_request(Operation.EVALUATE, form, parts, plain=True))
    client.flush()
    answer = client.next()
    assert (answer.outcome, len(answer.parts)) == (Outcome.ERROR, 1)
    assert calls.Failure.decode(answer.parts[0]).ename == "SerializationError"

    client.ask(Operation.EVALUATE, "[1, None]", plain=True)
    assert load(*_parts(client.next()), plain=True) == [1, None]
    client.ask(Operation.EVALUATE, "object()", plain=True)
    assert client.next().outcome is Outcome.ERROR


def _parts(answer: CallAnswer) -> tuple[int, Any]:
    return answer.format, answer.parts


class Thing:
    """What can't cross; the test sees whether it's alive."""

    __reduce__ = None


def held(client: Client, namespace: dict[str, Any]) -> weakref.ref[Any]:
    """Let a client hold something that nobody else has."""
    namespace["thing"] = thing = Thing()
    client.ask(Operation.REFER, "thing")
    assert client.next().outcome is Outcome.REFERENCE
    del namespace["thing"]
    return weakref.ref(thing)


def test_what_a_client_holds_goes_when_it_says_goodbye(place: Place) -> None:
    ann, bob = place.client(), place.client()
    anns, bobs = held(ann, place.namespace), held(bob, place.namespace)
    ann.socket.send_multipart(encode(Kind.BYE))

    eventually(lambda: anns() is None)
    assert bobs() is not None


def test_what_a_client_holds_goes_some_time_after_it_has_vanished(tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    with rendezvous(tmp_path / "w") as (entrance, address):
        Worker(entrance, Operations(namespace), lease_s=0.2).start()
        place = Place(address, namespace)
        ann, bob = place.client(), place.client()
        anns, bobs = held(ann, namespace), held(bob, namespace)
        ann.socket.close()

        eventually(lambda: anns() is None)
        assert bobs() is not None
        place.context.destroy(0)


def test_one_more_call_than_may_wait_is_refused_and_the_others_are_carried_out(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "MAX_CALLS", 2)
    monkeypatch.setattr(crew, "MAX_WAITING", 3)
    may_end = threading.Event()
    place.namespace["may_end"] = may_end
    ann, bob = place.client(), place.client()
    numbers = [ann.ask(Operation.EVALUATE, "may_end.wait(30)") for _ in range(2 + 3)]
    refused = ann.ask(Operation.EVALUATE, "1")
    answer = ann.next()

    assert (answer.outcome, answer.call) == (Outcome.ERROR, refused)
    failure = calls.Failure.decode(answer.parts[0])
    assert (failure.code, failure.evalue) == ("limit", "3 calls wait in this session already; try again later")
    assert bob.failure(Operation.EVALUATE, "1") == "LimitExceeded"  # whoever asks
    may_end.set()
    assert sorted(ann.next().call for _ in numbers) == numbers
    assert bob.value(Operation.EVALUATE, "1") == 1


def test_what_came_in_one_message_runs_side_by_side_where_it_is_slow(place: Place) -> None:
    gates = [threading.Event() for _ in range(3)]
    place.namespace["gates"] = gates
    client = place.client()
    numbers = client.ask_together(*(f"gates[{n}].wait(10)" for n in range(3)), "1 + 1")

    order = []
    for gate in (None, *reversed(gates)):
        if gate is not None:
            gate.set()
        order.append(client.next().call)
    assert order == numbers[::-1]


def test_quick_calls_of_one_message_are_answered_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_AT_LATEST_S", 60.0)
    monkeypatch.setattr(crew, "Lead", lambda: Lead(60.0))  # however slow the machine is
    with rendezvous(tmp_path / "w") as (entrance, address):
        Worker(entrance, Operations({})).start()
        place = Place(address, {})
        client = place.client()
        client.value(Operation.PING)
        numbers = client.ask_together(*map(str, range(MOST)))

        event = None
        while not isinstance(event, Message):
            event = client.conversation.take(decode(client.socket.recv_multipart()))
        answers = calls.decode_answers(event.parts)
        assert [answer.call for answer in answers] == numbers
        assert [load(answer.format, answer.parts) for answer in answers] == list(range(MOST))
        place.context.destroy(0)


class Out:
    """What the kernel has as stdout."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def test_what_a_call_prints_comes_before_its_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Out())
    client = place.client()
    client.ask(Operation.EXECUTE, "for i in range(1000): print(i)\nprint('end', end='')")
    printed = ""
    while (answer := client.next()).outcome is Outcome.STDOUT:
        printed += bytes(answer.parts[0]).decode()

    assert answer.outcome is Outcome.RESULT
    assert printed == "".join(f"{number}\n" for number in range(1000)) + "end"


def test_a_worker_that_is_started_outside_ipython_serves_main(tmp_path: Path) -> None:
    script = f"""
import threading
from flame_kernel.worker.main import start
found = "in main"
start("ipc://{tmp_path / "w"}")
print("started", flush=True)
input()
"""

    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    context: zmq.Context[Any] = zmq.Context()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        client = Client(context, f"ipc://{tmp_path / 'w'}", b"c" * 16)
        assert client.value(Operation.PULL, "found") == "in main"
    finally:
        process.communicate("end\n", timeout=30)
        context.destroy(0)
    assert process.returncode == 0
