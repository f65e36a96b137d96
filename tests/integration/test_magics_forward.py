"""``%flame_forward`` in an ordinary local notebook."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.local_notebook import LocalNotebook, text, value

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
    assert "UsageError: 'dashboard' is no port: say 8787" in notebook.misuses("%flame_forward dashboard")
    assert "ForwardError: can't listen at 192.0.2.1:" in notebook.fails("%flame_forward 80 --bind 192.0.2.1")
