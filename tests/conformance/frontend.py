"""A Jupyter frontend for tests, on bare sockets: what it sends and receives can be looked at byte by byte.

It signs with a code of its own, so that a mistake in the project's does not go unnoticed on both sides.
"""

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

DELIMITER = b"<IDS|MSG>"
CHANNELS = ("shell", "control", "stdin", "iopub")


@dataclass(frozen=True)
class Message:
    """What a kernel said: `parts` are header, parent, metadata, content and buffers, as they came."""

    channel: str
    topic: bytes
    parts: tuple[bytes, ...]

    @property
    def header(self) -> dict[str, Any]:
        return json.loads(self.parts[0])

    @property
    def kind(self) -> str:
        return self.header["msg_type"]

    @property
    def parent_id(self) -> str:
        return json.loads(self.parts[1]).get("msg_id", "")

    @property
    def metadata(self) -> dict[str, Any]:
        return json.loads(self.parts[2])

    @property
    def content(self) -> dict[str, Any]:
        return json.loads(self.parts[3])

    @property
    def buffers(self) -> tuple[bytes, ...]:
        return self.parts[4:]


class Answer(list[Message]):
    """All that a kernel said about one request, in the order of arrival."""

    @property
    def reply(self) -> dict[str, Any]:
        return next(m.content for m in self if m.channel in ("shell", "control"))

    @property
    def kinds(self) -> list[str]:
        return [m.kind for m in self if m.channel == "iopub"]

    def text(self, name: str = "stdout") -> str:
        return "".join(m.content["text"] for m in self if m.kind == "stream" and m.content["name"] == name)

    @property
    def displays(self) -> list[str]:
        kinds = ("display_data", "update_display_data")
        return [m.content["data"]["text/plain"] for m in self if m.kind in kinds]

    @property
    def value(self) -> str:
        return next(m.content["data"]["text/plain"] for m in self if m.kind == "execute_result")

    @property
    def done(self) -> bool:
        replied = any(m.channel in ("shell", "control") for m in self)
        return replied and any(m.kind == "status" and m.content["execution_state"] == "idle" for m in self)


class Frontend:
    """One frontend of one kernel.

    Args:
        info: The kernel's connection file.
    """

    def __init__(self, info: dict[str, Any]) -> None:
        self._key = info["key"].encode()
        self.session = uuid.uuid4().hex
        self.identity = uuid.uuid4().hex.encode()
        self.messages: list[Message] = []
        self.sent: dict[str, str] = {}
        self._context = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._poller = zmq.Poller()
        for name in CHANNELS:
            socket = self._connect(zmq.SUB if name == "iopub" else zmq.DEALER, info, name)
            if name == "iopub":
                socket.subscribe(b"")
            self._sockets[name] = socket
            self._poller.register(socket, zmq.POLLIN)
        self._heartbeat = self._connect(zmq.REQ, info, "hb")

    def _connect(self, kind: int, info: dict[str, Any], name: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.ROUTING_ID, self.identity)
        if name == "stdin":
            self._stdin_events = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        socket.connect(f"{info['transport']}://{info['ip']}:{info[f'{name}_port']}")
        return socket

    def close(self) -> None:
        self._context.destroy(0)

    def sign(self, parts: Sequence[bytes]) -> bytes:
        return hmac.new(self._key, b"".join(parts[:4]), hashlib.sha256).hexdigest().encode()

    def send_parts(self, channel: str, parts: Sequence[bytes], signature: bytes | None = None) -> None:
        self._sockets[channel].send_multipart([DELIMITER, signature or self.sign(parts), *parts])

    def send(
        self,
        kind: str,
        content: dict[str, Any] | None = None,
        channel: str = "shell",
        buffers: Sequence[bytes] = (),
        metadata: dict[str, Any] | None = None,
        **header: Any,
    ) -> str:
        """Send a message and give its id."""
        fields = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": kind,
            "session": self.session,
            "username": "ada",
            "date": "2026-01-01T00:00:00Z",
            "version": "5.5",
            **header,
        }
        parts = [json.dumps(part).encode() for part in (fields, {}, metadata or {}, content or {})]
        self.send_parts(channel, [*parts, *buffers])
        self.sent[fields["msg_id"]] = kind
        return fields["msg_id"]

    def start(self, code: str, **options: Any) -> str:
        """Begin to execute, and give the request's id."""
        return self.send("execute_request", execution(code, **options))

    def execute(self, code: str, **options: Any) -> Answer:
        return self.finish(self.start(code, **options))

    def ask(self, kind: str, content: dict[str, Any] | None = None, channel: str = "shell") -> Answer:
        return self.finish(self.send(kind, content, channel))

    def answer(self, msg_id: str) -> Answer:
        """What has come so far about a request."""
        return Answer(m for m in self.messages if m.parent_id == msg_id)

    def finish(self, msg_id: str, timeout: float = 30) -> Answer:
        """Wait until a request has its reply and the kernel is idle."""
        self.wait(lambda: self.answer(msg_id).done, timeout)
        return self.answer(msg_id)

    def wait_for(self, msg_id: str, kind: str, timeout: float = 30) -> Message:
        """Wait for the first message of a kind about a request."""
        self.wait(lambda: any(m.kind == kind for m in self.answer(msg_id)), timeout)
        return next(m for m in self.answer(msg_id) if m.kind == kind)

    def wait_text(self, msg_id: str, text: str, timeout: float = 30) -> None:
        self.wait(lambda: text in self.answer(msg_id).text(), timeout)

    def reply_input(self, prompt: Message, value: str) -> None:
        parent = prompt.parts[0]
        header = json.dumps({**prompt.header, "msg_id": uuid.uuid4().hex, "msg_type": "input_reply"}).encode()
        self.send_parts("stdin", [header, parent, b"{}", json.dumps({"value": value, "status": "ok"}).encode()])

    def welcome(self) -> None:
        """Wait until iopub is heard, and until a prompt finds its way here: to no peer it would be dropped."""
        self.wait(lambda: any(m.kind == "iopub_welcome" for m in self.messages))
        assert self._stdin_events.poll(30_000), "stdin is not connected"

    def wait(self, condition: Callable[[], object], timeout: float = 30) -> None:
        """Take messages in until a condition holds."""
        end = time.monotonic() + timeout
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                seen = [(m.channel, m.kind, m.content) for m in self.messages[-8:]]
                raise AssertionError(f"not within {timeout} s; the last messages were {seen}")
            for socket, _ in self._poller.poll(left * 1000):
                self._take(socket)

    def quiet(self, seconds: float) -> None:
        """Take in whatever comes within a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for socket, _ in self._poller.poll(left * 1000):
                self._take(socket)

    def beat(self, timeout: float = 30) -> bool:
        """Whether the heartbeat is answered."""
        self._heartbeat.send(b"\x00ping")
        return bool(self._heartbeat.poll(timeout * 1000)) and self._heartbeat.recv() == b"\x00ping"

    def _take(self, socket: zmq.Socket[bytes]) -> None:
        channel = next(name for name, candidate in self._sockets.items() if candidate is socket)
        frames = socket.recv_multipart()
        at = frames.index(DELIMITER)
        signature, *parts = frames[at + 1 :]
        assert signature == self.sign(parts), "the kernel's signature is wrong"
        self.messages.append(Message(channel, b"".join(frames[:at]), tuple(parts)))


def execution(code: str, **options: Any) -> dict[str, Any]:
    """The content of an execute_request."""
    return {
        "code": code,
        "silent": False,
        "store_history": True,
        "user_expressions": {},
        "allow_stdin": True,
        "stop_on_error": True,
        **options,
    }
