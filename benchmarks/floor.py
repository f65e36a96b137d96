"""The floor to measure against: a bare pyzmq ROUTER with CURVE that sends back what it gets, in its own process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import zmq


def _serve(pipe: Connection, public: bytes, secret: bytes) -> None:
    router = zmq.Context().socket(zmq.ROUTER)
    router.curve_server = True
    router.curve_publickey, router.curve_secretkey = public, secret
    pipe.send(router.bind_to_random_port("tcp://127.0.0.1"))
    kept: bytes = b""
    while True:
        peer, order, *rest = router.recv_multipart(copy=False)
        if bytes(order) == b"keep":
            kept = rest[0].bytes
            router.send_multipart([peer.bytes, b""])
        elif bytes(order) == b"give":
            router.send_multipart([peer.bytes, kept], copy=False)
        else:
            router.send_multipart([peer.bytes, *rest])


class Floor:
    """A client of the bare echo.

    Args:
        port: Where it listens.
        server_key: Its public key.
    """

    def __init__(self, port: int, server_key: bytes) -> None:
        self._socket = zmq.Context().socket(zmq.DEALER)
        self._socket.curve_publickey, self._socket.curve_secretkey = zmq.curve_keypair()
        self._socket.curve_serverkey = server_key
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def echo(self) -> None:
        """Send a small message there and back."""
        self._socket.send_multipart([b"echo", b"1"])
        self._socket.recv_multipart()

    def put(self, data: bytes) -> None:
        """Send bytes there."""
        self._socket.send_multipart([b"keep", data], copy=False)
        self._socket.recv_multipart()

    def get(self) -> None:
        """Get them back."""
        self._socket.send(b"give")
        self._socket.recv_multipart(copy=False)


@contextmanager
def floor() -> Iterator[Floor]:
    """Run the bare echo and a client of it."""
    here, there = multiprocessing.Pipe()
    public, secret = zmq.curve_keypair()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, public, secret), daemon=True)
    process.start()
    try:
        yield Floor(here.recv(), public)
    finally:
        process.kill()
        process.join()
