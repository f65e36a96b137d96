"""The client's link over a network in memory that fails on demand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import msgspec
import pytest

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.link import Link
from flame_kernel.errors import FlameError, KeyRefused, ProtocolError, UnknownSession
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.frames import pack
from flame_kernel.protocol.link import LinkState
from flame_kernel.protocol.messages import Hello, Refusal, Welcome
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.server.attachment import Attachment
from flame_kernel.transport.interface import Cause, Origin
from flame_kernel.transport.memory import Network
from tests.unit.waiting import settled, until

HELLO = Hello(versions=(packets.VERSION,), lane="session", attachment="a1")
WELCOME = Welcome(version=packets.VERSION, session="private-1")


class Server:
    """A server with one session, which greets, says what it is told to, and keeps what it hears."""

    def __init__(self, network: Network, limit_bytes: int = 1_000_000) -> None:
        self.attachment = Attachment("a1", "test", limit_bytes)
        self.heard: list[bytes] = []
        self.hellos: list[Hello] = []
        self.kinds: list[Kind] = []
        self.welcome = WELCOME
        self.peer = b""
        self.listener = network.listen(self)

    def on_frames(self, peer: bytes, origin: Callable[[], Origin], frames: list[Buffer]) -> None:
        packet = packets.decode(frames)
        self.kinds.append(packet.kind)
        if packet.kind is Kind.HELLO:
            self.peer = peer
            self.hellos.append(messages.decode(packet.parts[0], Hello))
            self.greet(peer, packet)
        elif packet.kind is not Kind.BYE:
            parts = self.attachment.take(packet)
            if parts is not None:
                self.heard.append(bytes(parts[0]))

    def greet(self, peer: bytes, hello: Packet) -> None:
        self.attachment.connect(
            lambda frames: self.listener.send(peer, frames), hello.ack, self.welcome, self.hellos[-1].rows
        )

    def say(self, text: bytes) -> None:
        self.attachment.deliver([text])

    def send(self, kind: Kind, parts: Sequence[Buffer] = (), number: int = 0, ack: int = 0) -> None:
        self.listener.send(self.peer, packets.encode(kind, parts, number=number, ack=ack))


class Client:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.opened: list[Welcome] = []
        self.heard: list[bytes] = []
        self.missing: list[int] = []
        self.downs: list[Cause] = []
        self.ended: list[FlameError] = []
        self.on_down_do: Callable[[], None] = lambda: None

    def on_open(self, welcome: Welcome) -> None:
        self.opened.append(welcome)

    def on_message(self, parts: Sequence[Buffer]) -> None:
        self.heard.append(bytes(parts[0]))

    def on_missing(self, count: int) -> None:
        self.missing.append(count)

    def on_down(self, cause: Cause) -> None:
        self.downs.append(cause)
        self.on_down_do()

    def on_ended(self, error: FlameError) -> None:
        self.ended.append(error)


class Line:
    """A network, both ends of a conversation over it, and a way to open more links."""

    def __init__(self, rows: bool = False) -> None:
        self.hello = msgspec.structs.replace(HELLO, rows=rows)
        self.network = Network()
        self.server = Server(self.network)
        self.client = Client()
        self.links: list[Link] = []

    def link(self, ping_every_s: float = 60.0, silence_s: float = 60.0) -> Link:
        link = Link(self.network.dialler, self.hello, self.client, "memory", ping_every_s, silence_s)
        self.links.append(link)
        link.start()
        return link

    async def open(self) -> Link:
        link = self.link()
        await until(lambda: self.client.opened)
        return link


@pytest.fixture(params=[False, True], ids=["one-by-one", "rows"])
async def line(request: pytest.FixtureRequest) -> Line:
    return Line(rows=request.param)


@pytest.fixture
async def time_in_turns() -> AsyncIterator[None]:
    """Have time pass with the loop's turns alone, so that silence does not come of what else the machine does."""
    loop = asyncio.get_running_loop()
    reads = itertools.count()
    loop.time = lambda: next(reads) * 0.0005  # type: ignore[method-assign]
    yield
    del loop.time


@pytest.fixture(autouse=True)
def closed(line: Line) -> Iterator[None]:
    yield
    for link in line.links:
        assert link.state is LinkState.ENDED or link._timer is not None


def names(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


async def test_it_greets_opens_and_carries_messages_both_ways(line: Line) -> None:
    link = await line.open()
    for name in names(3):
        link.send([name])
        line.server.say(name)

    await until(lambda: len(line.client.heard) == len(line.server.heard) == 3)
    assert line.client.heard == line.server.heard == names(3)
    assert line.client.opened == [WELCOME]
    assert line.server.hellos == [line.hello]


async def test_what_is_sent_before_it_opens_waits(line: Line) -> None:
    link = line.link()
    link.send([b"early"])

    await until(lambda: line.server.heard)
    assert line.server.heard == [b"early"]


@pytest.mark.parametrize("cuts", [1, 5])
async def test_nothing_is_lost_or_doubled_over_cuts(line: Line, cuts: int) -> None:
    link = await line.open()
    expected = names(cuts * 4)
    for number in range(cuts):
        for name in expected[number * 4 : number * 4 + 2]:  # some of it under way when the connection ends
            link.send([name])
            line.server.say(name)
        line.network.cut()
        for name in expected[number * 4 + 2 : number * 4 + 4]:  # some of it while there's none
            link.send([name])
            line.server.say(name)
        await until(lambda: len(line.client.opened) == number + 2)  # noqa: B023  # awaited at once

    await until(lambda: len(line.client.heard) == len(line.server.heard) == len(expected))
    assert line.client.heard == line.server.heard == expected
    assert line.client.downs == [Cause.LOST] * cuts
    assert line.client.missing == []
    assert len(set(line.server.hellos[1:])) == 1
    assert line.server.hellos[-1].resumed
    assert line.server.hellos[-1].session == "private-1", "a resumed link names the session that the server chose"


async def test_a_cut_while_it_is_greeting_or_dialling_is_survived(line: Line) -> None:
    line.network.to_client.hold()
    link = line.link()
    await until(lambda: line.server.hellos)
    assert link.state is LinkState.GREETING

    line.network.cut()
    line.network.cut()
    await until(lambda: len(line.server.hellos) == 2)
    line.network.to_client.release()

    await until(lambda: line.client.opened)
    assert not line.server.hellos[-1].resumed, "the server was never heard, so it need not know the conversation"


@pytest.mark.usefixtures("time_in_turns")
async def test_a_black_hole_is_noticed_by_silence_and_mended(line: Line) -> None:
    link = line.link(ping_every_s=0.01, silence_s=0.05)
    await until(lambda: line.client.opened)
    line.network.black_hole()
    link.send([b"up"])
    line.server.say(b"down")

    await until(lambda: line.client.downs)
    assert line.client.downs == [Cause.LOST]
    assert link.state is LinkState.DIALLING
    line.network.heal()

    await until(lambda: line.server.heard and line.client.heard)
    assert (line.server.heard, line.client.heard) == ([b"up"], [b"down"])
    link.close(leave=False)


@pytest.mark.parametrize("line", [True], indirect=True, ids=["rows"])
async def test_who_closes_it_in_the_middle_of_a_row_hears_no_more_of_it(line: Line) -> None:
    for name in names(3):
        line.server.say(name)
    link = line.link()
    heard = line.client.heard

    def close(parts: Sequence[Buffer]) -> None:
        heard.append(bytes(parts[0]))
        link.close(leave=False)

    line.client.on_message = close  # type: ignore[method-assign]
    await until(lambda: heard)
    await settled()
    assert heard == names(3)[:1]


@pytest.mark.usefixtures("time_in_turns")
async def test_pings_keep_a_quiet_link_open(line: Line) -> None:
    link = line.link(ping_every_s=0.005, silence_s=0.1)

    await until(lambda: line.server.kinds.count(Kind.PING) >= 30)
    assert line.client.downs == []
    link.close(leave=False)


@pytest.mark.usefixtures("time_in_turns")
async def test_pings_come_often_enough_for_a_server_that_waits_less_long(line: Line) -> None:
    line.server.welcome = msgspec.structs.replace(WELCOME, silence_s=0.3)
    link = line.link(ping_every_s=60.0, silence_s=0.6)
    loop = asyncio.get_running_loop()
    await until(lambda: line.client.opened)
    opened = loop.time()

    await until(lambda: line.server.kinds.count(Kind.PING) >= 9)
    assert loop.time() - opened <= 10 * 0.3 / 3 + 0.05
    assert line.client.downs == []
    link.close(leave=False)


@pytest.mark.usefixtures("time_in_turns")
async def test_who_closes_it_when_told_of_silence_has_closed_it(line: Line) -> None:
    link = line.link(ping_every_s=0.01, silence_s=0.05)
    await until(lambda: line.client.opened)
    line.client.on_down_do = lambda: link.close(leave=False)
    line.network.black_hole()
    await until(lambda: line.client.downs)

    line.network.heal()
    await settled()
    assert line.network._connections == {}


async def test_a_reset_makes_it_greet_again(line: Line) -> None:
    await line.open()
    line.server.send(Kind.RESET)

    await until(lambda: len(line.client.opened) == 2)
    assert len(line.server.hellos) == 2
    assert line.client.downs == []


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_packet_lost_on_the_way_is_sent_again(line: Line, way: str) -> None:
    link = await line.open()
    getattr(line.network, way).lose = 1
    for name in names(3):
        link.send([name])
        line.server.say(name)

    await until(lambda: len(line.client.heard) == len(line.server.heard) == 3)
    assert line.client.heard == line.server.heard == names(3)
    assert len(line.server.hellos) == 2


async def test_packets_that_arrive_twice_count_once(line: Line) -> None:
    link = await line.open()
    line.network.to_server.copies = line.network.to_client.copies = 2
    for name in names(5):
        link.send([name])
        line.server.say(name)
    await settled()

    assert line.client.heard == line.server.heard == names(5)


async def test_what_the_server_could_not_keep_is_told(line: Line) -> None:
    line.server = Server(line.network, limit_bytes=2 * len(pack([b"1"])[0]))
    await line.open()
    line.network.refuse(Cause.NO_ANSWER)
    line.network.cut()
    for name in names(5):
        line.server.say(name)
    line.network.admit()

    await until(lambda: len(line.client.heard) == 2)
    assert line.client.missing == [3]
    assert line.client.heard == [b"3", b"4"]


async def test_a_refusal_ends_it_with_the_servers_reason(line: Line) -> None:
    link = await line.open()
    line.server.send(Kind.REFUSED, [messages.encode(Refusal.of(UnknownSession("gone")))])

    await until(lambda: line.client.ended)
    assert isinstance(line.client.ended[0], UnknownSession)
    assert link.state is LinkState.ENDED
    line.network.cut()
    await settled()
    assert len(line.server.hellos) == 1, "it's never dialled again"


async def test_a_refused_key_ends_it(line: Line) -> None:
    line.network.refuse(Cause.KEY_REFUSED)
    link = line.link()

    await until(lambda: line.client.ended)
    assert isinstance(line.client.ended[0], KeyRefused)
    assert link.state is LinkState.ENDED


async def test_it_goes_on_trying_while_nobody_answers(line: Line) -> None:
    line.network.refuse(Cause.NO_ANSWER)
    link = line.link()
    await until(lambda: line.client.downs)
    assert (line.client.downs, line.client.ended) == ([Cause.NO_ANSWER], [])
    assert link.state is LinkState.DIALLING

    line.network.admit()
    await until(lambda: line.client.opened)


@pytest.mark.parametrize(
    "frames",
    [
        [b"not flame"],
        packets.encode(Kind.REFUSED),
        packets.encode(Kind.ACK, ack=99),
    ],
    ids=["bytes", "empty refusal", "what was never sent"],
)
async def test_a_server_that_breaks_the_protocol_ends_it(line: Line, frames: list[Buffer]) -> None:
    link = await line.open()
    line.server.listener.send(line.server.peer, frames)

    await until(lambda: line.client.ended)
    assert isinstance(line.client.ended[0], ProtocolError)
    assert link.state is LinkState.ENDED


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.PING, Kind.BYE])
async def test_what_only_clients_say_is_passed_over(line: Line, kind: Kind) -> None:
    link = await line.open()
    line.server.send(kind)
    line.server.say(b"after")

    await until(lambda: line.client.heard)
    assert link.state is LinkState.OPEN


async def test_a_second_welcome_says_what_to_send_again(line: Line) -> None:
    link = await line.open()
    line.network.to_server.lose = 1
    link.send([b"lost"])  # as when it reached the server before it was ready, and nothing follows
    await settled()
    assert line.server.heard == []

    line.server.send(Kind.WELCOME, [messages.encode(WELCOME)])

    await until(lambda: line.server.heard)
    assert line.server.heard == [b"lost"]
    assert len(line.client.opened) == 1


@pytest.mark.parametrize("leave", [True, False])
async def test_closing_tells_the_server_only_who_leaves_for_good(line: Line, leave: bool) -> None:
    link = await line.open()
    link.close(leave)
    link.close(leave)
    await settled()

    assert (Kind.BYE in line.server.kinds) is leave
    assert line.client.downs == line.client.ended == []


async def test_nothing_is_told_after_it_was_closed(line: Line) -> None:
    link = await line.open()
    line.server.say(b"late")
    line.network.cut()
    link.close(leave=False)
    await settled()

    assert (line.client.heard, line.client.downs, line.client.ended) == ([], [], [])


@pytest.mark.parametrize("leave", [True, False])
async def test_a_link_that_is_closed_while_it_is_greeting_says_so_if_asked(line: Line, leave: bool) -> None:
    line.network.to_client.hold()
    link = line.link()
    await until(lambda: line.server.hellos)
    link.close(leave)
    await settled()
    assert (Kind.BYE in line.server.kinds) is leave
