"""What the kernel usage panel shows is asked of Jupyter Server by jupyter-resource-usage; here as its page does."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.lab import JupyterLab


class Server:
    """Jupyter Server's REST interface."""

    def __init__(self, lab: JupyterLab) -> None:
        url = urlsplit(lab.url)
        self._base = f"{url.scheme}://{url.netloc}"
        self._token = parse_qs(url.query)["token"][0]

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._base + path, data, {"Authorization": f"token {self._token}"})
        request.method = method
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@pytest.fixture
def kernel(lab: JupyterLab) -> Iterator[tuple[Server, str]]:
    server = Server(lab)
    kernel_id = server.ask("POST", "/api/kernels", {"name": "flame"})["id"]
    try:
        yield server, kernel_id
    finally:
        server.ask("DELETE", f"/api/kernels/{kernel_id}")


def test_the_usage_panel_gets_host_cpu_and_memory_of_the_session(kernel: tuple[Server, str]) -> None:
    server, kernel_id = kernel
    usage = server.ask("GET", f"/api/metrics/v1/kernel_usage/get_usage/{kernel_id}")
    content = usage["content"]
    assert usage["kernel_id"] == kernel_id
    assert content["hostname"] == socket.gethostname()
    assert content["kernel_memory"] > 20_000_000  # a session's, with IPython
    assert content["kernel_cpu"] >= 0
    assert content["host_virtual_memory"]["total"] > 0
