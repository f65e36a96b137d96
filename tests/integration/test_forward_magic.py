"""``%flame_forward`` in an ordinary local notebook."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from nbclient.exceptions import CellExecutionError

from tests.integration.local_notebook import LocalNotebook, text, value
from tests.integration.servers import FlameServer

WEB = """%%flame
import http.server, threading

class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from there")

    def log_message(self, *args):
        pass

web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
threading.Thread(target=web.serve_forever, daemon=True).start()
print(web.server_port)
"""


@pytest.fixture(scope="module")
def notebook(server: FlameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNotebook]:
    notebook = LocalNotebook(server.client_environ(IPYTHONDIR=str(tmp_path_factory.mktemp("ipython"))))
    try:
        notebook.run("%load_ext flame_magics")
        notebook.run(f"%flame_connect {server.invite}")
        yield notebook
    finally:
        notebook.close()


def test_a_port_over_there_is_a_link_here_until_it_is_closed(notebook: LocalNotebook, tmp_path: Path) -> None:
    port = text(notebook.run(WEB)).strip()
    (shown,) = notebook.run(f"%flame_forward {port}")
    url = re.search(r"http://127\.0\.0\.1:\d+", shown.data["text/html"])[0]
    assert f'<a href="{url}" target="_blank">{url}</a> -&gt; localhost:{port} on ' in shown.data["text/html"]

    ask = f"from urllib.request import urlopen\nurlopen({url!r}).read()"
    assert value(notebook.run(ask)) == "b'hello from there'"
    assert text(notebook.run("%flame_forward")).startswith(f"[flame] {url} -> localhost:{port} on ")

    notebook.run(f"%flame_forward -c {port}")
    assert "Connection refused" in notebook.fails(ask)
    assert notebook.run("%flame_forward") == []


def test_what_is_no_port_is_said_in_one_line(notebook: LocalNotebook) -> None:
    with suppress(CellExecutionError):  # depends on nbclient whether a UsageError, which is text, counts as one
        notebook.run("%flame_forward dashboard")
    assert "UsageError: 'dashboard' is no port: say 8787" in text(notebook._notebook.cells[-1].outputs, "stderr")
    assert "ForwardError: can't listen at 192.0.2.1:" in notebook.fails("%flame_forward 80 --bind 192.0.2.1")
