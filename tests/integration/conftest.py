"""Fixtures for tests with real parts: servers, a client's environment, sessions, a relay that injects faults.

A server is shared by the tests of a module, which is a file. A test that breaks its server makes one of its own with
`lone_server`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from tests.conformance.frontend import Frontend
from tests.integration.local_notebook import LocalKernel, LocalNotebook
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, pair, short_folder
from tests.integration.work import WAIT_FOR
from tests.jupyter_ports import be_given_to_kernels

be_given_to_kernels()


@pytest.fixture(scope="module")
def limits() -> dict[str, float]:
    """The limits of the module's server, for modules whose tests wait for one."""
    return {}


@pytest.fixture(scope="module")
def server(limits: dict[str, float]) -> Iterator[FlameServer]:
    """The module's server; whoever uses the fixture `client` is paired with it."""
    with short_folder() as folder, FlameServer(folder, limits=limits) as server:
        yield server


@pytest.fixture(scope="module")
def module_environ() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FLAME_")]:
            patch.delenv(name)
        yield patch


@pytest.fixture(scope="module")
def client(server: FlameServer, module_environ: pytest.MonkeyPatch) -> FlameServer:
    """The module's server, with this process as a client that is paired with it."""
    module_environ.setenv("FLAME_HOME", str(server.client_home))
    pair(server.invite)
    return server


@pytest.fixture(scope="module")
def flame(client: FlameServer) -> Iterator[Flame]:
    """One private session for a module's tests that leave it usable."""
    with connect(client.address) as flame:
        yield flame


@pytest.fixture
def own(client: FlameServer) -> Iterator[Flame]:
    """A private session for one test alone."""
    with connect(client.address) as flame:
        yield flame


@pytest.fixture
def lone_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FlameServer]]:
    """Make servers for one test alone; this process is a client with a home of its own, not paired."""
    with ExitStack() as stack:

        def make(*options: str, limits: dict[str, float] | None = None, **environ: str) -> FlameServer:
            folder = stack.enter_context(short_folder())
            server = stack.enter_context(FlameServer(folder, *options, limits=limits, **environ))
            monkeypatch.setenv("FLAME_HOME", str(server.client_home))
            return server

        yield make


@pytest.fixture
def with_limits(lone_server: Callable[..., FlameServer]) -> Callable[..., FlameServer]:
    """Make a server with limits of its own; this process is paired with it."""

    def make(**limits: float) -> FlameServer:
        server = lone_server(limits=limits)
        pair(server.invite)
        return server

    return make


@pytest.fixture(scope="module")
def module_relay(client: FlameServer) -> Iterator[Relay]:
    with Relay(client.port) as relay:
        pair(client.fresh_invite(relay.port))
        yield relay


@pytest.fixture
def relay(module_relay: Relay) -> Iterator[Relay]:
    """A relay in front of the module's server; this process is paired through it."""
    yield module_relay
    module_relay.heal()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for unix sockets."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def gate(tmp_path: Path, flame: Flame) -> Path:
    """A file that `wait_for` waits for in the session."""
    flame.execute(WAIT_FOR)
    return tmp_path / "gate"


@pytest.fixture(scope="module")
def notebook(server: FlameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNotebook]:
    """A local notebook that is connected to the module's server."""
    environ = server.client_environ(IPYTHONDIR=str(tmp_path_factory.mktemp("ipython")))
    notebook = LocalNotebook(environ)
    try:
        notebook.run("%load_ext flame_magics")
        notebook.run(f"%flame_connect {server.invite} -n here")
        yield notebook
    finally:
        notebook.close()


@pytest.fixture(scope="module")
def kernel(server: FlameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKernel]:
    """A local kernel with the magics, connected as ``here``, with a frontend that can be asked."""
    environ = server.client_environ(IPYTHONDIR=str(tmp_path_factory.mktemp("ipython")))
    kernel = LocalKernel(environ, f"%flame_connect {server.fresh_invite()} -n here")
    yield kernel
    kernel.close()


@pytest.fixture(scope="module")
def frontend(kernel: LocalKernel) -> Frontend:
    return kernel.frontend
