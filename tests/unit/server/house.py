"""A gate with everything behind it, over a network in memory; its sessions have no kernel, but workers are real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.jupyter import Channel, compose, to_link
from flame_kernel.protocol.messages import Hello, Refusal, Welcome
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.security.admission import Admission
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.invite_book import InviteBook
from flame_kernel.security.keys import KeyPair
from flame_kernel.server.access import Access
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import Direct, Limits
from flame_kernel.server.direct import DirectLanes
from flame_kernel.server.doorkeeper import Doorkeeper
from flame_kernel.server.gate import Gate
from flame_kernel.server.listing import Lister
from flame_kernel.server.requests import Requests
from flame_kernel.transport.interface import Cause
from flame_kernel.transport.memory import Network
from flame_kernel.worker.main import Worker
from flame_kernel.worker.operations import Operations
from tests.unit.fake_sessions import FakeRegistry, FakeSession
from tests.unit.rendezvous import rendezvous
from tests.unit.waiting import until

NOW = 1_700_000_000.0
SERVER, ANN, BOB, STRANGER = (KeyPair.generate() for _ in range(4))


class Caller:
    """A client that says exactly what it's told to."""

    def __init__(self, network: Network, public: bytes) -> None:
        self.dialler = network.dialler(self, public)
        self.packets: list[Packet] = []
        self.ups = 0
        self.dialler.dial()

    def on_up(self) -> None:
        self.ups += 1

    def on_frames(self, frames: list[Buffer]) -> None:
        self.packets.append(packets.decode(frames))

    def on_down(self, cause: Cause) -> None:
        pass

    def say(self, kind: Kind, *parts: Buffer, number: int = 0, ack: int = 0) -> None:
        self.dialler.send(packets.encode(kind, list(parts), number=number, ack=ack))

    def hello(self, lane: str = "session", *, ack: int = 0, **fields: Any) -> None:
        fields.setdefault("attachment", "a1")
        self.say(Kind.HELLO, messages.encode(Hello((packets.VERSION,), lane, **fields)), ack=ack)

    async def next(self, kind: Kind) -> Packet:
        """Wait for a packet of a kind; what comes before it is passed over."""
        await until(lambda: any(packet.kind is kind for packet in self.packets))
        while (packet := self.packets.pop(0)).kind is not kind:
            pass
        return packet

    async def welcome(self) -> Welcome:
        return messages.decode(bytes((await self.next(Kind.WELCOME)).parts[0]), Welcome)

    async def refusal(self) -> str:
        return messages.decode(bytes((await self.next(Kind.REFUSED)).parts[0]), Refusal).code

    async def answer(self) -> messages.Answer:
        return messages.decode_answer(bytes((await self.next(Kind.DATA)).parts[1]))

    @property
    def kinds(self) -> list[Kind]:
        return [packet.kind for packet in self.packets]


class House:
    """A gate with everything behind it, and the network before it."""

    def __init__(self, folder: Path, context: zmq.Context[Any]) -> None:
        self.authorized = AuthorizedKeys(folder / "authorized_keys")
        self.authorized.add(ANN.public, Role.ADMIN, "ann")
        self.authorized.add(BOB.public, Role.ADMIN, "bob")
        self.invites = InviteBook(folder / "invites")
        self.admission = Admission(self.authorized, self.invites, lambda: NOW, lambda report: None)
        self.worker_path = folder / "w"
        self.registry: Any = FakeRegistry(f"ipc://{self.worker_path}")
        self.now = 0.0
        self.network = Network()
        doorkeeper = Doorkeeper(self.admission, self.authorized, self.invites, "gpu1", lambda: NOW)
        self.records: list[Any] = []
        self.audit = Audit(self.records.append, lambda: NOW)
        access = Access(self.registry, self.authorized, "gpu1")
        requests = Requests(
            access,
            Lister("gpu1", lambda session: None),
            self.audit,
            self.registry.find,
            FakeSession.restart,
            lambda: self.gate.recheck(self.authorized.roles()),
        )
        limits = Limits(journal_bytes=1_000_000, clients=3, connections_per_key=4, message_bytes=200_000)
        direct = DirectLanes(Direct(), context, access, self.audit)
        self.gate = Gate(doorkeeper, access, requests, self.audit, context, "gpu1", limits, lambda: self.now, direct)
        self.gate.listener = self.network.listen(self.gate)
        self.open = ExitStack()

    async def caller(self, keys: KeyPair = ANN) -> Caller:
        caller = Caller(self.network, keys.public)
        await until(lambda: caller.ups)
        return caller

    async def attached(self, **fields: Any) -> Caller:
        caller = await self.caller()
        caller.hello(**fields)
        await caller.welcome()
        return caller

    def start_worker(self, namespace: dict[str, Any]) -> None:
        entrance, _ = self.open.enter_context(rendezvous(self.worker_path))
        Worker(entrance, Operations(namespace)).start()

    async def lane(self) -> Caller:
        """Give a caller that both the gate and the worker have welcomed."""
        caller = await self.caller()
        caller.hello("calls", session="work")
        await caller.welcome()
        caller.say(Kind.HELLO, bytes(16))
        await caller.next(Kind.WELCOME)
        return caller

    def only_session(self) -> FakeSession:
        (session,) = self.registry.sessions.values()
        return session  # type: ignore[no-any-return]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    context: zmq.Context[Any] = zmq.Context()
    folder = tmp_path / "c"
    folder.mkdir(mode=0o700)
    house = House(folder, context)
    yield house
    house.gate.close()
    house.open.close()
    context.destroy(0)


def jupyter(number: int) -> tuple[Kind, list[Buffer], int]:
    return Kind.DATA, to_link(Channel.SHELL, compose("execute_request", {"code": "1"}, session="s")), number
