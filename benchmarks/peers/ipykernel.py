"""A plain ipykernel through jupyter_client, as a notebook or nbclient drives it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from benchmarks.jupyter import CellFailed, JupyterKernel, run
from benchmarks.peer import Client, Kernel, Peer


class IpykernelPeer(Peer):
    """ipykernel and jupyter_client."""

    distributions = ("ipykernel", "jupyter_client")
    imports = "jupyter_client"

    def start(self, folder: Path) -> None:
        """Start a kernel."""
        self._kernel = JupyterKernel("python3")
        self._kernel.cell("import math")

    def stop(self) -> None:
        """End it."""
        self._kernel.close()

    def connect(self) -> Client:
        """Connect another client to the kernel."""
        client = self._kernel.manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return IpykernelClient(client)

    def start_kernel(self) -> Kernel:
        """Start another kernel."""
        return JupyterKernel("python3")


class IpykernelClient(Client):
    """A client of a kernel: all that it can do is run cells.

    Args:
        client: jupyter_client's.
    """

    def __init__(self, client: Any) -> None:
        self.errors = (CellFailed,)
        self._client = client

    def call(self) -> Any:
        """Run a cell and read what it shows."""
        return self.evaluate("math.sqrt(500)")

    def evaluate(self, expression: str) -> Any:
        """Run a cell and read what it shows."""
        shown = run(self._client, expression)
        (result,) = [message for message in shown if message["msg_type"] == "execute_result"]
        return ast.literal_eval(result["content"]["data"]["text/plain"])

    def close(self) -> None:
        """Close the connection."""
        self._client.stop_channels()
