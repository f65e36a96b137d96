"""What is kept for the next client, with attachments but without a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, compose, from_link, to_link
from flame_kernel.protocol.messages import AskMissed, Welcome
from flame_kernel.protocol.packets import Kind, decode, encode
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.unseen import Unseen

WELCOME = Welcome(version=1)


class Room:
    """A session without a kernel, and its clients."""

    def __init__(self) -> None:
        self.attachments: dict[str, Attachment] = {}
        self.unseen = Unseen(self.attachments, 1_000_000)

    def client(self, name: str) -> Client:
        attachment = self.attachments[name] = Attachment(name, name, 1_000_000)
        attachment.on_away = self.unseen.went_away
        return Client(self, attachment)

    def say(self, kind: str, content: dict[str, object], cell: str = "cell") -> None:
        parent = compose("execute_request", {}, session="s", msg_id=cell).parts[0]
        envelope = compose(kind, content, session="s", parent=parent, identities=(b"kernel.1." + kind.encode(),))
        seen = any(attachment.connected for attachment in self.attachments.values())
        for attachment in self.attachments.values():
            attachment.deliver(to_link(Channel.IOPUB, envelope))
        self.unseen.heard(envelope, seen)

    def print(self, text: str) -> None:
        self.say("stream", {"name": "stdout", "text": text})

    def state(self, state: str, cell: str = "cell") -> None:
        self.say("status", {"execution_state": state}, cell)

    def ask(self, asker: str, cell: str = "cell") -> None:
        parent = compose("execute_request", {}, session="s", msg_id=cell).parts[0]
        self.unseen.asked(asker, compose("input_request", {"prompt": "?"}, session="s", parent=parent))


class Client:
    """One that receives, and acknowledges when it's told to."""

    def __init__(self, room: Room, attachment: Attachment) -> None:
        self.room = room
        self.attachment = attachment
        self.received: list[Sequence[Buffer]] = []
        self.number = 0
        self.connection = self.send  # the same object each time
        self.come()

    def send(self, frames: Sequence[Buffer]) -> bool:
        packet = decode(frames)
        if packet.kind is Kind.DATA:
            self.received.append(packet.parts)
            self.number = packet.number
        return True

    def come(self) -> None:
        self.room.unseen.came_back(self.attachment)
        self.attachment.connect(self.connection, self.number, WELCOME)

    def acknowledge(self) -> None:
        self.attachment.take(decode(encode(Kind.ACK, ack=self.number)))

    def go(self) -> None:
        self.attachment.disconnect(self.connection)

    def missed(self, keep: bool = False) -> list[str]:
        self.received.clear()
        self.room.unseen.hand_over(self.attachment, AskMissed(1, keep))
        told = [parts for parts in self.received if bytes(parts[0]) == messages.MISSED]
        return [_text(from_link([b"iopub", *parts[1:]])[1]) for parts in told]

    @property
    def questions(self) -> int:
        return sum(bytes(parts[0]) == b"stdin" for parts in self.received)


def _text(envelope: Envelope) -> str:
    content = envelope.content()
    return str(content.get("text") or content.get("code") or envelope.header().msg_type)


def test_what_a_client_has_got_is_seen() -> None:
    room = Room()
    ann = room.client("ann")
    room.print("a")
    ann.acknowledge()
    ann.go()

    assert room.unseen.count == 0


def test_what_comes_while_nobody_is_there_is_for_the_next_one_and_only_for_that_one() -> None:
    room = Room()
    room.client("ann").go()
    room.print("a")
    room.print("b")
    bob, eve = room.client("bob"), room.client("eve")

    assert bob.missed(keep=True) == ["ab"]
    assert bob.missed() == ["ab"]
    assert (bob.missed(), eve.missed()) == ([], [])


def test_what_was_under_way_when_the_last_client_was_cut_off_counts_as_unseen() -> None:
    room = Room()
    ann, bob = room.client("ann"), room.client("bob")
    room.print("1")
    ann.acknowledge()
    bob.acknowledge()
    room.print("2")
    bob.go()
    assert room.unseen.count == 0  # ann is there
    ann.go()
    room.print("3")

    assert room.client("eve").missed() == ["23"]


def test_who_comes_back_gets_all_of_it_anyway_so_nothing_is_unseen() -> None:
    room = Room()
    ann = room.client("ann")
    ann.go()
    room.print("1")
    ann.come()

    assert [_text(from_link(parts)[1]) for parts in ann.received] == ["1"]
    assert room.unseen.count == 0


def test_who_comes_back_and_was_there_later_than_what_is_unseen_takes_nothing_of_it() -> None:
    room = Room()
    room.client("ann").go()
    room.print("1")
    bob = room.client("bob")
    bob.go()
    room.print("2")
    bob.come()

    assert room.client("eve").missed() == ["12"]


def test_the_heading_of_a_cell_that_began_while_somebody_was_there_comes_with_its_outputs() -> None:
    room = Room()
    ann = room.client("ann")
    room.state("busy")
    room.say("execute_input", {"code": "f()", "execution_count": 1})
    ann.acknowledge()
    ann.go()
    room.print("1")
    room.state("idle")

    assert room.client("bob").missed() == ["f()", "1", "status"]


def test_it_is_busy_from_the_first_cell_s_beginning_to_the_last_one_s_end() -> None:
    room = Room()
    room.client("ann")
    told = [room.unseen.activity]
    for state, cell in (("busy", "1"), ("busy", "2"), ("idle", "1"), ("idle", "2")):
        room.state(state, cell)
        told.append(room.unseen.activity)
    assert told == ["idle", "busy", "busy", "busy", "idle"]

    room.state("busy")
    room.unseen.renewed()
    assert room.unseen.activity == "idle"


def test_a_question_is_for_the_next_client_when_its_asker_is_gone() -> None:
    room = Room()
    ann = room.client("ann")
    room.state("busy")
    room.ask("ann")
    assert room.unseen.activity == "waiting for input"
    bob = room.client("bob")
    bob.missed()
    assert bob.questions == 0  # ann is being asked
    ann.go()
    bob.missed(keep=True)
    assert bob.questions == 0  # who only looks is not asked
    bob.missed()
    assert bob.questions == 1
    room.unseen.answered()
    bob.missed()
    assert (bob.questions, room.unseen.activity) == (0, "busy")


def test_a_question_that_is_asked_when_its_asker_is_gone_goes_to_who_follows() -> None:
    room = Room()
    ann, bob, eve = room.client("ann"), room.client("bob"), room.client("eve")
    bob.missed()
    ann.go()
    room.ask("ann")
    assert (bob.questions, eve.questions) == (1, 0)


def test_the_end_of_its_cell_takes_a_question_back() -> None:
    room = Room()
    room.state("busy")
    room.ask("ann")
    room.state("idle", "another")
    assert room.unseen.activity == "waiting for input"
    room.state("idle")
    assert room.unseen.activity == "idle"


def test_while_a_client_is_there_nothing_is_read() -> None:
    room = Room()
    room.client("ann")
    damaged = Envelope((b"stream.stdout",), (b"{", b"{", b"{", b"{"))

    room.unseen.heard(damaged, seen=True)
    room.unseen.heard(damaged, seen=False)  # what can't be read is not kept

    assert room.unseen.count == 0
