"""A Jupyter kernel as a notebook drives it."""

from __future__ import annotations

from typing import Any

from jupyter_client.manager import KernelManager

from benchmarks.peer import Kernel


class JupyterKernel(Kernel):
    """A kernel that was started by its kernelspec.

    Args:
        name: The kernelspec's name.
    """

    def __init__(self, name: str) -> None:
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel()
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=60)
        except RuntimeError:
            self.close()
            raise

    def cell(self, code: str) -> None:
        """Run a cell to its reply and idle status."""
        run(self.client, code)

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()


class CellFailed(Exception):
    """A cell raised."""


def run(client: Any, code: str) -> list[dict[str, Any]]:
    """Run a cell and return the messages that it published."""
    shown: list[dict[str, Any]] = []
    reply = client.execute_interactive(code, output_hook=shown.append, timeout=60)
    if reply["content"]["status"] != "ok":
        raise CellFailed(f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}")
    return shown
