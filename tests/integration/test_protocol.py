"""Clients with an admitted key that do not keep to the protocol: an error for them, and nothing for anybody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
import zmq

from flame_kernel import connect
from flame_kernel.errors import SessionError
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.packets import Kind
from flame_kernel.security.curve import secure_client
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import load_or_create
from tests.integration.servers import FlameServer, until

MakeServer = Callable[..., FlameServer]


# ---------------------------------------------------------------- clients that do not keep to the protocol


class RawClient:
    """A client with an admitted key that says what a test makes it say."""

    def __init__(self, server: FlameServer) -> None:
        self._context = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        pair = load_or_create(server.client_home / "config" / "client.key", "")
        secure_client(self.socket, pair, Invite.parse(server.invite).server_key)
        self.socket.connect(f"tcp://{server.address}")

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *error: object) -> None:
        self._context.destroy(0)

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def hello(self, **fields: object) -> None:
        hello = {"versions": [packets.VERSION], "lane": "session", "attachment": "ab" * 16, "client": "raw", **fields}
        self.socket.send_multipart(packets.encode(Kind.HELLO, [msgspec.json.encode(hello)]))

    def receive(self) -> packets.Packet:
        assert self.socket.poll(15_000), "the server said nothing"
        return packets.decode(self.socket.recv_multipart())

    def refused(self) -> messages.Refusal:
        packet = self.receive()
        assert packet.kind is Kind.REFUSED
        why = messages.decode(bytes(packet.parts[0]), messages.Refusal)
        assert "\n" not in why.message
        return why


@pytest.fixture
def raw(client: FlameServer) -> Iterator[RawClient]:
    with RawClient(client) as raw:
        yield raw


@pytest.fixture
def bystander(flame) -> Iterator[None]:
    """Another client, which has to notice nothing."""
    flame["untouched"] = 7
    yield
    assert flame["untouched"] == 7
    assert flame.run("untouched", quiet=True).value == 7


pytestmark = pytest.mark.usefixtures("module_environ")


def test_protocol_version_that_is_not_spoken(raw: RawClient, bystander: None) -> None:
    raw.hello(versions=[99])
    why = raw.refused()
    assert why.code == "version"
    assert "99" in why.message
    assert "same version of remote-flame" in why.message


HEAD = packets.encode(Kind.HELLO)[0]


@pytest.mark.parametrize(
    "frames",
    [
        (b"",),
        (b"x",),
        (b"GET / HTTP/1.1\r\n",),
        (HEAD,),
        (HEAD[:1] + b"\xff" + HEAD[2:],),
        tuple(packets.encode(Kind.HELLO, [b"{"])),
        tuple(packets.encode(Kind.HELLO, [b"\xff\xfe"])),
        tuple(packets.encode(Kind.HELLO, [b'{"versions": "all", "lane": 3}'])),
        tuple(packets.encode(Kind.HELLO, [b"[" * 100_000])),
        tuple(packets.encode(Kind.HELLO, [b'{"versions": [1], "lane": "sideways"}'])),
        tuple(packets.encode(Kind.HELLO, [b'{"versions": [1], "lane": "session"}'])),
        tuple(packets.encode(Kind.HELLO, [b'{"versions": [1], "lane": "session", "attachment": "../../x"}'])),
        tuple(packets.encode(Kind.HELLO, [b'{"versions": [1], "lane": "enrol", "key": "x"}'])),
    ],
    ids=[
        *("empty", "one-byte", "http", "no-greeting", "unknown-kind", "broken-json", "not-utf8", "wrong-types"),
        *("deep-json", "unknown-lane", "no-name", "bad-name", "enrol-without-invite"),
    ],
)
def test_malformed_greeting_is_refused(raw: RawClient, bystander: None, frames: tuple[bytes, ...]) -> None:
    raw.send(*frames)
    assert raw.refused().message


def test_packets_before_a_greeting_are_told_to_greet(raw: RawClient, bystander: None) -> None:
    for kind in (Kind.DATA, Kind.ACK, Kind.PING):
        raw.send(*packets.encode(kind, [b"x"], number=1))
        assert raw.receive().kind is Kind.RESET


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"nonsense"],
        [b"flame", b"{"],
        [b"flame", b'{"type": "explode", "id": 1}'],
        [b"flame", b'{"type": "interrupt"}'],
        [b"shell", b"x"],
        [b"shell", b"{", b"{", b"{", b"{"],
        [b"iopub", b"{}", b"{}", b"{}", b"{}"],
        [b"nochannel", b"{}", b"{}", b"{}", b"{}"],
    ],
    ids=[
        *("no-parts", "nonsense", "broken-json", "unknown-request", "no-id", "short-jupyter", "broken-jupyter"),
        *("iopub", "no-channel"),
    ],
)
def test_malformed_request_gets_an_error_and_the_next_one_is_carried_out(
    raw: RawClient, bystander: None, parts: list[bytes]
) -> None:
    raw.hello(session="raw")
    assert raw.receive().kind is Kind.WELCOME
    raw.send(*packets.encode(Kind.DATA, parts, number=1))
    failed = answer_of(raw, messages.Failed)
    assert failed.why.code == "protocol"
    assert "\n" not in failed.why.message
    raw.send(*packets.encode(Kind.DATA, [messages.TOPIC, messages.encode(messages.ListKernels(5))], number=2))
    assert answer_of(raw, messages.Done).id == 5
    raw.send(*packets.encode(Kind.BYE))


def answer_of(raw: RawClient, kind: type):
    while True:
        packet = raw.receive()
        if packet.kind is Kind.DATA and bytes(packet.parts[0]) == messages.TOPIC:
            answer = messages.decode_answer(bytes(packet.parts[1]))
            if isinstance(answer, kind):
                return answer


def test_false_acknowledgement_ends_that_conversation_only(raw: RawClient, bystander: None) -> None:
    raw.hello(session="raw")
    assert raw.receive().kind is Kind.WELCOME
    raw.send(*packets.encode(Kind.ACK, ack=10**6))
    while (packet := raw.receive()).kind is not Kind.REFUSED:
        assert packet.kind in (Kind.DATA, Kind.ACK)


def test_unknown_session_on_the_calls_lane(raw: RawClient, bystander: None) -> None:
    raw.hello(lane="calls", session="none-of-that-name", attachment="")
    why = raw.refused()
    assert why.code == "unknown-session"
    assert "'none-of-that-name'" in why.message


def test_malformed_call_gets_an_error(raw: RawClient, flame, bystander: None) -> None:
    raw.hello(lane="calls", session=flame.session.name)
    assert raw.receive().kind is Kind.WELCOME
    raw.send(b"rubbish")
    assert raw.refused().code == "protocol"
    raw.send(*packets.encode(Kind.DATA, [b"x"], number=1))
    assert raw.receive().kind is Kind.RESET
    raw.send(*packets.encode(Kind.HELLO, [b"0123456789abcdef"]))
    assert raw.receive().kind is Kind.WELCOME
    for number, parts in enumerate(([], [b"x"], [b"\xff\0\0"], [b"\1\0\0"], [b"\1\0\0", b"not a pickle"]), 1):
        raw.send(*packets.encode(Kind.DATA, parts, number=number))
        while (packet := raw.receive()).kind is not Kind.DATA:
            assert packet.kind is Kind.ACK
        assert packet.parts[0][0] == 2  # ERROR


def test_unreadable_session_name_is_no_way_into_the_file_system(client: FlameServer) -> None:
    with pytest.raises(SessionError, match="is no name for a session"):
        connect(client.address, session="../../../etc/passwd\n\0")


def test_nothing_of_all_this_left_a_kernel(client: FlameServer, flame) -> None:
    for info in flame.sessions():
        if info.name != flame.session.name:
            with connect(client.address, session=info.name) as other:
                other.session.close()
    until(lambda: len(client.kernels()) == 1)
