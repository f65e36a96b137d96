"""The floors: a DEALER and a ROUTER of pyzmq's with pickle between them, with CURVE and without, and nothing else."""

from __future__ import annotations

import math
import pickle
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks.peer import Client, Kernel, NotOffered, Peer
from benchmarks.proxied import ProxiedKernel
from benchmarks.serving import Server, announce

Context = zmq.Context[zmq.Socket[bytes]]

# What was found to be the fastest: with CURVE both ends work at the same time, one on each chunk.
_CHUNK = 1024 * 1024
_IN_FLIGHT = 8

_PUT, _GET, _SIZE = b"put", b"get", b"size"
_PLACE = struct.Struct("!QQ")


class PyzmqPeer(Peer):
    """A floor.

    Args:
        encrypted: Whether it has CURVE.
    """

    distributions = ("pyzmq",)
    imports = "zmq"

    def __init__(self, encrypted: bool) -> None:
        self._encrypted = encrypted
        self._context: Context = zmq.Context()

    def start(self, folder: Path) -> None:
        """Start the server."""
        self._server = Server.of("benchmarks.peers.pyzmq", "curve" if self._encrypted else "plain")
        calls, bulk, key = (*self._server.words, "")[:3]
        self._key = key.encode()
        self._calls, self._bulk = f"tcp://127.0.0.1:{calls}", f"tcp://127.0.0.1:{bulk}"

    def stop(self) -> None:
        """End the server."""
        self._server.stop()
        self._context.destroy(linger=0)

    def connect(self) -> Client:
        """Connect a socket for calls and one for bulk."""
        chunk = _CHUNK if self._encrypted else sys.maxsize
        return PyzmqClient(self._dial(self._calls), self._dial(self._bulk), chunk)

    def kernel(self) -> Kernel:
        """Return an ipykernel behind two proxies with CURVE between them."""
        if not self._encrypted:
            raise NotOffered
        return ProxiedKernel()

    def _dial(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.sndhwm = socket.rcvhwm = 0
        if self._encrypted:
            socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
            socket.curve_serverkey = self._key
        socket.connect(address)
        return socket


class PyzmqClient(Client):
    """A client of a floor.

    Args:
        calls: Its socket for calls.
        bulk: Its socket for bulk data.
        chunk: How many bytes of it travel in a message.
    """

    def __init__(self, calls: zmq.Socket[bytes], bulk: zmq.Socket[bytes], chunk: int) -> None:
        self._calls, self._bulk, self._chunk = calls, bulk, chunk
        self._array = False

    def call(self) -> Any:
        """Call a function."""
        return self._ask("sqrt", 500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._ask("evaluate", expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._ask("echo", data)

    def pipeline(self, count: int) -> None:
        """Send all requests, then receive all replies."""
        request = pickle.dumps(("sqrt", 500), 5)
        for _ in range(count):
            self._calls.send(request)
        for _ in range(count):
            self._reply()

    def batch(self, count: int) -> None:
        """Send one message with all requests."""
        self._ask("batch", [("sqrt", number) for number in range(count)])  # equal ones would be pickled once

    def put(self, value: Any) -> None:
        """Send chunks, some of which are on their way at a time."""
        self._array = isinstance(value, np.ndarray)
        data = memoryview(value).cast("B")
        waiting = 0
        for begin in range(0, len(data), self._chunk):
            if waiting == _IN_FLIGHT:
                self._bulk.recv()
                waiting -= 1
            piece = data[begin : begin + min(self._chunk, len(data))]
            self._bulk.send_multipart([_PUT, _PLACE.pack(begin, len(data)), piece], copy=False)
            waiting += 1
        for _ in range(waiting):
            self._bulk.recv()

    def get(self) -> Any:
        """Ask for chunks, some of which are on their way at a time."""
        self._bulk.send_multipart([_SIZE, b""])
        size = int(self._bulk.recv())
        if self._chunk >= size:
            self._bulk.send_multipart([_GET, _PLACE.pack(0, size)])
            whole = self._bulk.recv(copy=False).buffer
            return np.frombuffer(whole) if self._array else whole
        data = bytearray(size)
        begins = range(0, size, self._chunk)
        for number, begin in enumerate(begins):
            for ahead in begins[:_IN_FLIGHT] if number == 0 else begins[number + _IN_FLIGHT - 1 :][:1]:
                self._bulk.send_multipart([_GET, _PLACE.pack(ahead, self._chunk)])
            data[begin : begin + self._chunk] = self._bulk.recv(copy=False).buffer
        return np.frombuffer(data) if self._array else data

    def close(self) -> None:
        """Close both sockets."""
        self._calls.close(0)
        self._bulk.close(0)

    def _ask(self, *request: Any) -> Any:
        self._calls.send(pickle.dumps(request, 5))
        return self._reply()

    def _reply(self) -> Any:
        good, value = pickle.loads(self._calls.recv())
        if not good:
            raise value
        return value


def encrypted() -> Peer:
    """Return the floor that Remote Flame is measured against."""
    return PyzmqPeer(encrypted=True)


def unencrypted() -> Peer:
    """Return the floor without encryption."""
    return PyzmqPeer(encrypted=False)


def _answer(name: str, *operands: Any) -> Any:
    if name == "batch":
        return [_answer(*request) for request in operands[0]]
    if name == "sqrt":
        return math.sqrt(*operands)
    return eval(operands[0]) if name == "evaluate" else operands[0]


def _serve_calls(router: zmq.Socket[bytes]) -> None:
    while True:
        client, request = router.recv_multipart()
        try:
            reply = True, _answer(*pickle.loads(request))
        except Exception as error:  # noqa: BLE001  it is the client's
            reply = False, error
        router.send_multipart([client, pickle.dumps(reply, 5)])


def _serve_bulk(router: zmq.Socket[bytes]) -> None:
    kept: Any = b""
    while True:
        client, order, place, *data = router.recv_multipart(copy=False)
        if order.bytes == _SIZE:
            router.send_multipart([client.bytes, str(len(kept)).encode()])
            continue
        begin, extent = _PLACE.unpack(place.buffer)
        if order.bytes == _GET:
            router.send_multipart([client.bytes, memoryview(kept)[begin : begin + extent]], copy=False)
            continue
        (piece,) = data
        if len(piece.buffer) == extent:
            kept = piece.buffer
        else:
            if begin == 0:
                kept = bytearray(extent)
            kept[begin : begin + len(piece.buffer)] = piece.buffer
        router.send_multipart([client.bytes, b""])


def _serve(mechanism: str) -> None:
    context: Context = zmq.Context()
    public, secret = zmq.curve_keypair()
    ports = []
    routers = []
    for _ in range(2):
        router = context.socket(zmq.ROUTER)
        router.sndhwm = router.rcvhwm = 0
        if mechanism == "curve":
            router.curve_server = True
            router.curve_publickey, router.curve_secretkey = public, secret
        ports.append(router.bind_to_random_port("tcp://127.0.0.1"))
        routers.append(router)
    announce(*ports, public.decode())
    calls, bulk = routers
    # Two sockets, because small messages are fastest copied and large ones are not.
    threading.Thread(target=_serve_bulk, args=(bulk,), daemon=True).start()
    _serve_calls(calls)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
