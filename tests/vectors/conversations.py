"""Whole conversations, said by the two real ends: who says what, and with which counters."""

from __future__ import annotations

from collections.abc import Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import jupyter, messages
from flame_kernel.protocol.calls import Operation, Outcome, encode_answer, encode_request
from flame_kernel.protocol.conversation import Conversation
from flame_kernel.protocol.packets import Kind, decode, encode
from flame_kernel.serialize import Format, dump

Said = list[tuple[str, str, Sequence[Buffer]]]

NAME = "0123456789abcdef" * 2
HEADER = {
    "msg_id": "m-1",
    "msg_type": "execute_request",
    "session": NAME,
    "username": "ada",
    "date": "2026-11-22T08:15:00Z",
    "version": "5.4",
}


class Ends:
    """Client and server, or client and worker, with a network between them that loses what it's told to."""

    def __init__(self) -> None:
        self.said: Said = []
        self._ends = {"client": Conversation(), "server": Conversation()}

    def greet(self, hello: Sequence[Buffer], welcome: Sequence[Buffer], what: str) -> None:
        """Greet, which on a later connection is how it goes on."""
        client, server = self._ends["client"], self._ends["server"]
        asked = client.greeting(Kind.HELLO, hello)
        self._note("client", what, asked)
        server.resume(decode(asked).ack)
        answered = server.greeting(Kind.WELCOME, welcome)
        self._note("server", "it is let in", answered)
        client.resume(decode(answered).ack)
        for who in ("client", "server"):
            self._send(who, "said again", lost=False)

    def say(self, who: str, parts: Sequence[Buffer], what: str, *, lost: bool = False) -> None:
        """Say a message."""
        self._ends[who].push(parts)
        self._send(who, what, lost)

    def acknowledge(self, who: str) -> None:
        """Say nothing but an acknowledgement."""
        frames = self._ends[who].acknowledge()
        self._note(who, "acknowledged", frames)
        self._other(who).take(decode(frames))

    def control(self, who: str, kind: Kind, what: str) -> None:
        """Say something without a number."""
        frames = encode(kind) if kind is Kind.RESET else self._ends[who].greeting(kind, [])
        self._note(who, what, frames)

    def _send(self, who: str, what: str, lost: bool) -> None:
        for frames in self._ends[who].outgoing():
            self._note(who, f"{what} (lost on the way)" if lost else what, frames)
            if not lost:
                self._other(who).take(decode(frames))

    def _other(self, who: str) -> Conversation:
        return self._ends["server" if who == "client" else "client"]

    def _note(self, who: str, what: str, frames: Sequence[Buffer]) -> None:
        self.said.append((who, what, frames))


def everything() -> dict[str, Said]:
    """Return the conversations by their names."""
    return {
        "a cell on the session lane": cell(),
        "a cut in the middle of a cell": cut(),
        "a request about the session": request(),
        "a call on the calls lane": call(),
        "enrolling": enrolling(),
        "a greeting that is refused": refused(),
    }


def _hello(resumed: bool = False) -> list[Buffer]:
    session = "lab" if resumed else ""
    return [messages.encode(messages.Hello((1,), "session", NAME, session, resumed=resumed))]


def _welcome(created: bool = True) -> list[Buffer]:
    welcome = messages.Welcome(1, "gpu1", "lab", "python3", "python", created, True, 4711, "ready", role="admin")
    return [messages.encode(welcome)]


def _jupyter(channel: jupyter.Channel, kind: str, content: object, topic: tuple[bytes, ...] = ()) -> list[Buffer]:
    header = HEADER if kind == HEADER["msg_type"] else {**HEADER, "msg_id": f"k-{kind}", "msg_type": kind}
    parent: object = {} if header is HEADER else HEADER
    parts = tuple(map(jupyter.write_json, (header, parent, {}, content)))
    return jupyter.to_link(channel, jupyter.Envelope(topic, parts))


def _asked() -> list[Buffer]:
    return _jupyter(jupyter.Channel.SHELL, "execute_request", {"code": "print('hi')", "silent": False})


def _output() -> list[Buffer]:
    return _jupyter(jupyter.Channel.IOPUB, "stream", {"name": "stdout", "text": "hi\n"}, (b"stream.stdout",))


def _replied() -> list[Buffer]:
    return _jupyter(jupyter.Channel.SHELL, "execute_reply", {"status": "ok", "execution_count": 1})


def cell() -> Said:
    ends = Ends()
    ends.greet(_hello(), _welcome(), "a client comes")
    ends.say("client", _asked(), "a cell")
    ends.say("server", _output(), "its output")
    ends.say("server", _replied(), "its reply")
    ends.acknowledge("client")
    ends.control("client", Kind.PING, "is anybody there")
    ends.control("server", Kind.PONG, "yes")
    ends.control("client", Kind.BYE, "it leaves for good")
    return ends.said


def cut() -> Said:
    ends = Ends()
    ends.greet(_hello(), _welcome(), "a client comes")
    ends.say("client", _asked(), "a cell")
    ends.say("server", _output(), "its output")
    ends.say("server", _replied(), "its reply", lost=True)
    ends.control("server", Kind.RESET, "a packet comes over a connection that the server does not know")
    ends.greet(_hello(resumed=True), _welcome(created=False), "it comes back")
    ends.acknowledge("client")
    return ends.said


def request() -> Said:
    ends = Ends()
    ends.greet(_hello(), _welcome(), "a client comes")
    ends.say("client", [messages.TOPIC, messages.encode(messages.Interrupt(1))], "it asks for an interrupt")
    ends.say("server", [messages.TOPIC, messages.encode(messages.Done(1))], "done")
    refusal = messages.Refusal("not-permitted", "only its owner ends session 'lab'")
    ends.say("client", [messages.TOPIC, messages.encode(messages.Close(2))], "it asks for the end of the session")
    ends.say("server", [messages.TOPIC, messages.encode(messages.Failed(2, refusal))], "not done")
    return ends.said


def call() -> Said:
    ends = Ends()
    hello = messages.encode(messages.Hello((1,), "calls", NAME, "lab"))
    ends.said.append(("client", "a client comes to the server", encode(Kind.HELLO, [hello])))
    ends.greet([bytes(range(16)), bytes(range(16, 32))], [bytes(range(32, 48))], "and, right behind it, to the worker")
    ends.said.insert(2, ("server", "it is let in", encode(Kind.WELCOME, _welcome(created=False))))
    form, operands = dump(["print('hi') or 6 * 7"], True)
    ends.say("client", encode_request(Operation.EVALUATE, form, operands, True), "an evaluation")
    ends.say("server", encode_answer(Outcome.STDOUT, 1, 0, [b"hi\n"]), "what it prints")
    ends.say("server", encode_answer(Outcome.RESULT, 1, Format.JSON, [b"42"]), "its value")
    ends.acknowledge("client")
    ends.control("client", Kind.BYE, "it leaves for good")
    return ends.said


def enrolling() -> Said:
    hello = messages.Hello((1,), "enrol", key="AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", client="ada@laptop")
    return [
        ("client", "somebody comes with an invite", encode(Kind.HELLO, [messages.encode(hello)])),
        ("server", "the key is admitted", encode(Kind.WELCOME, [messages.encode(messages.Welcome(1, "gpu1"))])),
    ]


def refused() -> Said:
    hello = messages.Hello((99,), "session", NAME)
    why = messages.Refusal("version", "gpu1 speaks protocol version 1, this client speaks 99")
    return [
        ("client", "a client comes", encode(Kind.HELLO, [messages.encode(hello)])),
        ("server", "it is not let in", encode(Kind.REFUSED, [messages.encode(why)])),
    ]
