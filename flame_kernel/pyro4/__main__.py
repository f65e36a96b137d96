"""The bridge's process: ``python -m flame_kernel.pyro4 FD``, started by :mod:`flame_kernel.pyro4.supervisor`.

FD is a socket to the server: a line of settings comes in, a line about how it went goes out, and its end is the
server's end, and the bridge's.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import threading
from typing import Any

from Pyro4 import constants
from Pyro4.configuration import config

from flame_kernel import connect
from flame_kernel.errors import FlameError
from flame_kernel.pyro4.bridge import Bridge
from flame_kernel.pyro4.keyed_daemon import KeyedDaemon
from flame_kernel.pyro4.settings import Settings
from flame_kernel.pyro4.shared_session import SharedSession

# A thread for each connection; Pyro4's own limit of 40 is used up by 40 proxies of modules.
_CONNECTIONS = 1_000

# The newest that Pyrolite and old Pythons read.
_PICKLE_PROTOCOL = 4


def main() -> int:
    """Serve until the server is gone."""
    with socket.socket(fileno=int(sys.argv[1])) as control, control.makefile("rwb") as line:
        settings = Settings.decode(line.readline())
        level = logging.INFO if settings.verbose else logging.WARNING
        logging.basicConfig(level=level, format="flame: pyro4: %(message)s")
        logging.getLogger("Pyro4").setLevel(logging.ERROR)  # it warns of each stranger, in several lines
        try:
            _configure()
            daemon = _listen(settings)  # what comes has to wait until there's a session
            session = SharedSession(lambda: connect(settings.server, session=settings.session))
        except (FlameError, OSError) as error:
            _tell(line, error=str(error))
            return 1
        uri = daemon.register(Bridge(session, daemon), constants.FLAME_NAME)
        _tell(line, uri=str(uri), port=daemon.sock.getsockname()[1])

        def end_with_the_server() -> None:
            line.read()
            session.close()
            sys.stdout.flush()
            os._exit(0)  # what clients still wait for will not come: their threads are let go of as they are

        threading.Thread(target=end_with_the_server, daemon=True).start()
        daemon.requestLoop()
    return 1


def _configure() -> None:
    config.SERIALIZER = "pickle"
    config.SERIALIZERS_ACCEPTED = {"pickle"}
    config.THREADPOOL_SIZE = _CONNECTIONS
    if "PYRO_PICKLE_PROTOCOL_VERSION" not in os.environ:
        config.PICKLE_PROTOCOL_VERSION = _PICKLE_PROTOCOL


def _listen(settings: Settings) -> KeyedDaemon:
    try:
        return KeyedDaemon(settings.host, settings.port, settings.key)
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"Pyro4's clients can't be served at {settings.host}:{settings.port}: {why}") from error


def _tell(line: Any, **what: Any) -> None:
    line.write(json.dumps(what).encode("utf-8") + b"\n")
    line.flush()


if __name__ == "__main__":
    sys.exit(main())
