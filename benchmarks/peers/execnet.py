"""execnet: a gateway to a process of its own, and a loop in it that answers what comes over a channel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import execnet
import numpy as np

from benchmarks.peer import Client, Peer


class ExecnetPeer(Peer):
    """execnet."""

    distributions = ("execnet",)
    imports = "execnet"

    def start(self, folder: Path) -> None:
        """Do nothing: a gateway brings its process along."""
        self._group = execnet.Group()

    def stop(self) -> None:
        """End the gateways."""
        self._group.terminate(timeout=5)

    def connect(self) -> Client:
        """Make a gateway."""
        return ExecnetClient(self._group.makegateway("popen"))


class ExecnetClient(Client):
    """A client of a loop over a channel.

    Args:
        gateway: The gateway.
    """

    def __init__(self, gateway: Any) -> None:
        self.errors = (RuntimeError,)
        self._gateway = gateway
        self._channel = gateway.remote_exec(_loop)
        self._kind = ""

    def call(self) -> Any:
        """Send a request and receive its reply."""
        return self._ask("sqrt", 500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._ask("evaluate", expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._ask("echo", data)

    def pipeline(self, count: int) -> None:
        """Send all requests, then receive all replies."""
        for _ in range(count):
            self._channel.send(("sqrt", 500))
        for _ in range(count):
            self._channel.receive()

    def iterate(self, count: int) -> int:
        """Iterate over what a channel receives."""
        channel = self._gateway.remote_exec(f"for n in range({count}): channel.send(n)")
        return sum(1 for _ in channel)

    def put(self, value: Any) -> None:
        """Send bytes; arrays have to be made of them."""
        self._kind = str(value.dtype) if isinstance(value, np.ndarray) else ""
        self._ask("keep", value.tobytes() if self._kind else value)

    def get(self) -> Any:
        """Receive bytes."""
        data = self._ask("give", 0)
        return np.frombuffer(data, self._kind) if self._kind else data

    def close(self) -> None:
        """End the gateway."""
        self._gateway.exit()

    def _ask(self, name: str, operand: Any) -> Any:
        self._channel.send((name, operand))
        good, value = self._channel.receive(60)
        if not good:
            raise RuntimeError(value)
        return value


def _loop(channel):  # type: ignore[no-untyped-def]  # its text runs over there
    """Answer requests. execnet sends the text of this function, so it imports what it needs."""
    import math
    import traceback

    kept = None
    for name, operand in channel:
        try:
            if name == "sqrt":
                value = math.sqrt(operand)
            elif name == "evaluate":
                value = eval(operand)
            elif name == "keep":
                kept, value = operand, None
            else:
                value = kept if name == "give" else operand
            channel.send((True, value))
        except Exception:  # noqa: BLE001  it is the client's
            channel.send((False, traceback.format_exc()))
