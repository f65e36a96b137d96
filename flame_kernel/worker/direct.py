"""The worker's own door for clients that come over TCP, past the server; the server says who may use it.

It is open only while there is somebody to let in. What the server says comes over a unix socket of its own, on which
nobody else is heard: a table of the keys that are admitted, with their roles, and the addresses to listen at. Each
table takes the place of the one before. When the server ends, the door stays as it is for the next one to take over,
and is shut when none does: without a server there's nobody who would hear that a key was removed.
"""

from __future__ import annotations

import json
import socket as sockets
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import zmq

from flame_kernel.security.curve import DOMAIN
from flame_kernel.security.question import ZAP_ADDRESS, Question
from flame_kernel.transport.crowd import CROWD_EVENTS, Crowd
from flame_kernel.transport.shared import SharedSocket
from flame_kernel.worker.admitted import Admitted, Authority

# Connections that have not proved a key, and all of them together: the session needs its file descriptors itself.
MOST_WAITING = 32
MOST_INSIDE = 256

# How long the door stays as it is when the server is gone, in seconds.
GRACE_S = 60.0

# What the server is told of those who were not let in: so many a second and reason, so that a crowd is no load for it.
_NOTICES = 20

_MONITOR_EVENT = struct.Struct("=HI")


class OwnKeys(NamedTuple):
    """A key pair in Z85."""

    public: bytes
    secret: bytes


class Wanted(NamedTuple):
    """What the server wants.

    Attributes:
        hosts: The addresses of this machine to listen at.
        ports: The first and the last port to choose from; 0 for any that is free.
        roles: The role of each key (Z85) that is admitted.
    """

    hosts: Sequence[str]
    ports: tuple[int, int]
    roles: Mapping[str, str]


_NOBODY = Wanted((), (0, 0), {})


class DirectDoor:
    """Opens and shuts the door, and asks everybody for their key.

    Args:
        socket: Where calls come from.
        grace_s: How long it stays as it is when the server is gone, in seconds.
    """

    def __init__(self, socket: SharedSocket, grace_s: float = GRACE_S) -> None:
        self.admitted = Admitted()
        self._socket = socket
        self._grace_s = grace_s
        self._keys: OwnKeys | None = None
        self._bound: dict[str, str] = {}  # by host: the address
        self._crowd = Crowd(MOST_WAITING, MOST_INSIDE, self._turned_away)
        self._crowd_lock = threading.Lock()
        self._server = b""
        self._servers = 0
        self._shut_at: float | None = None
        self._notices: dict[str, list[float]] = {}  # by reason, of which there are a few

    def recognise(self, peer: bytes, frame: zmq.Frame) -> Authority:
        """Return what tells what a connection may do that greets; see :meth:`Admitted.recognise`."""
        authority = self.admitted.recognise(peer, frame)
        if authority.key:
            with self._crowd_lock:
                self._crowd.through(int(frame.get(zmq.SRCFD)))
        return authority

    def start(self, address: str) -> None:
        """Listen to the server, on a thread that ends with the process.

        Args:
            address: Where, ``ipc://path``.
        """
        context = self._socket.context
        self._control = context.socket(zmq.ROUTER)
        self._control.setsockopt(zmq.LINGER, 0)
        self._control_watch = self._control.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._control.bind(address)
        self._zap = context.socket(zmq.ROUTER)
        self._zap.setsockopt(zmq.LINGER, 0)
        self._zap.bind(ZAP_ADDRESS)
        self._watch = self._socket.watch(CROWD_EVENTS)
        self._end_in, self._end_out = sockets.socketpair()
        self._thread = threading.Thread(target=self._run, name="flame-direct", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Shut the door and end the thread; a session's ends with its process."""
        self._end_out.send(b"\0")
        self._thread.join()

    def _run(self) -> None:
        handlers = {
            self._control: self._on_control,
            self._control_watch: self._on_server,
            self._zap: self._on_question,
            self._watch: self._on_connection,
        }
        poller = zmq.Poller()
        for socket in (*handlers, self._end_in):
            poller.register(socket, zmq.POLLIN)
        while True:
            left_ms = None if self._shut_at is None else max(0, int((self._shut_at - time.monotonic()) * 1000) + 1)
            for socket, _ in poller.poll(left_ms):
                if socket == self._end_in.fileno():
                    self._end(handlers)
                    return
                handlers[socket](socket.recv_multipart())
            if self._shut_at is not None and time.monotonic() >= self._shut_at:
                self._shut_at = None
                self._change(_NOBODY)

    def _end(self, own: Iterable[zmq.Socket[bytes]]) -> None:
        self._change(_NOBODY)
        self._socket.watch_no_more()
        self._control.disable_monitor()
        for socket in own:
            socket.close(0)
        self._end_in.close()
        self._end_out.close()

    def _on_control(self, frames: list[bytes]) -> None:
        self._server = frames[0]
        answer: dict[str, Any] = {}
        try:
            asked = json.loads(frames[1])
            answer["id"] = asked["id"]
            low, high = asked["ports"]
            answer.update(self._change(Wanted(asked["hosts"], (low, high), asked["roles"])))
        except Exception as error:  # noqa: BLE001  # whatever it is, the server hears of it, and the thread goes on
            answer["error"] = f"{type(error).__name__}: {error}"
        self._control.send_multipart([self._server, json.dumps(answer).encode("utf-8")])

    def _change(self, wanted: Wanted) -> dict[str, Any]:
        self.admitted.change(wanted.roles)
        hosts = wanted.hosts if wanted.roles else ()
        for host in [host for host in self._bound if host not in hosts]:
            self._socket.listen_no_more(self._bound.pop(host))
        for host in hosts:
            if host not in self._bound:
                self._bound[host] = self._open(host, wanted.ports)
        ports = {host: int(address.rpartition(":")[2]) for host, address in self._bound.items()}
        return {"ports": ports, "key": self._keys.public.decode("ascii") if self._keys is not None else ""}

    def _open(self, host: str, ports: tuple[int, int]) -> str:
        if self._keys is None:
            self._keys = OwnKeys(*zmq.curve_keypair())
        name = f"[{host}]" if ":" in host else host
        for port in _candidates(*ports):
            address = self._listen(f"tcp://{name}:{port}", self._keys)
            if address:
                return address
        raise OSError(f"no port of {ports[0]} to {ports[1]} is free at {host}")

    def _listen(self, address: str, keys: OwnKeys) -> str:
        try:
            return self._socket.listen(address, keys)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            return ""

    def _on_server(self, frames: list[bytes]) -> None:
        event, _ = _MONITOR_EVENT.unpack(frames[0])
        self._servers += 1 if event == zmq.EVENT_ACCEPTED else -1
        self._shut_at = None if self._servers > 0 else time.monotonic() + self._grace_s

    def _on_question(self, frames: list[bytes]) -> None:
        question = Question.read(frames)
        if question is None:
            return
        key = question.key.decode("ascii")
        admitted = question.may_ask(DOMAIN) and self.admitted.admits(key)
        self._zap.send_multipart(question.answer(admitted))
        if not admitted:
            self._tell_refused("its key is not admitted to the session", question.address, key)

    def _on_connection(self, frames: list[bytes]) -> None:
        event, descriptor = _MONITOR_EVENT.unpack(frames[0])
        with self._crowd_lock:
            self._crowd.take(list(frames))
        if event == zmq.EVENT_DISCONNECTED:
            self.admitted.ended(descriptor)

    def _turned_away(self, address: str, why: str) -> None:
        self._tell_refused(why, address, "")

    def _tell_refused(self, why: str, address: str, key: str) -> None:
        now = time.monotonic()
        recent = self._notices[why] = [when for when in self._notices.get(why, ()) if now - when < 1.0]
        if self._server and len(recent) < _NOTICES:
            recent.append(now)
            notice = {"refused": why, "from": address.replace("::ffff:", "", 1), "key": key}
            self._control.send_multipart([self._server, json.dumps(notice).encode("utf-8")])


def _candidates(low: int, high: int) -> Iterable[object]:
    return range(low, high + 1) if low else ("*",)
