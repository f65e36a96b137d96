"""The floor of a kernel on another machine: a plain ipykernel behind two of ZeroMQ's own proxies, written in C.

One stands where our bridge does and one where our server does, with the link between them. They read nothing, keep
nothing and can't tell one client from another.
"""

from __future__ import annotations

import sys
import threading

import zmq
from jupyter_client.blocking.client import BlockingKernelClient

from benchmarks.jupyter import JupyterKernel, run
from benchmarks.peer import Kernel
from benchmarks.serving import Server, announce

_CHANNELS = {"shell": (zmq.ROUTER, zmq.DEALER), "iopub": (zmq.XPUB, zmq.XSUB)}


class ProxiedKernel(Kernel):
    """A kernel behind two proxies, the link between which has CURVE."""

    def __init__(self) -> None:
        self._kernel = JupyterKernel("python3")
        info = self._kernel.manager.get_connection_info()
        public, secret = (key.decode() for key in zmq.curve_keypair())
        ports = [str(info["shell_port"]), str(info["iopub_port"])]
        self._servers = [Server.of("benchmarks.proxied", "far", public, secret, *ports)]
        self._servers.append(Server.of("benchmarks.proxied", "near", public, "", *self._servers[0].words))
        info["shell_port"], info["iopub_port"] = map(int, self._servers[1].words)
        self._client = BlockingKernelClient()
        self._client.load_connection_info(info)
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def cell(self, code: str) -> None:
        """Run a cell to its reply and idle status."""
        run(self._client, code)

    def close(self) -> None:
        """End it and the proxies."""
        self._client.stop_channels()
        for server in self._servers:
            server.stop()
        self._kernel.close()


def _serve(place: str, public: str, secret: str, *ports: str) -> None:
    """Run a proxy for each channel.

    Args:
        place: Which end of the link it is: ``far`` listens to it, ``near`` dials.
        public: The public key of the far end.
        secret: Its secret key, for the far end alone.
        ports: Where the channels are reached.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bound = []
    for (front_type, back_type), port in zip(_CHANNELS.values(), ports, strict=True):
        front, back = context.socket(front_type), context.socket(back_type)
        for socket in (front, back):
            socket.sndhwm = socket.rcvhwm = 0
        if place == "far":
            front.curve_server = True
            front.curve_publickey, front.curve_secretkey = public.encode(), secret.encode()
        else:
            back.curve_serverkey = public.encode()
            back.curve_publickey, back.curve_secretkey = zmq.curve_keypair()
        bound.append(front.bind_to_random_port("tcp://127.0.0.1"))
        back.connect(f"tcp://127.0.0.1:{port}")
        threading.Thread(target=zmq.proxy, args=(front, back)).start()
    announce(*bound)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
