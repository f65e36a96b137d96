"""A client's connections for a caller that waits, of both kinds, and the entrance to which they lead."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.errors import FlameTimeout, LinkLost
from flame_kernel.transport.blocking import ZmqConnection
from flame_kernel.transport.entrance import Entrance, stream_address
from flame_kernel.transport.interface import Connection, Endpoint
from flame_kernel.transport.stream import connect
from flame_kernel.transport.streaming import StreamConnection
from flame_kernel.transport.waking import Wake
from tests.unit.rendezvous import rendezvous

Make = Callable[[], Connection]


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(0)


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path / 's'}"


@pytest.fixture
def entrance(address: str) -> Iterator[Entrance]:
    with rendezvous(Path(address.removeprefix("ipc://"))) as (entrance, _):
        yield entrance


@pytest.fixture(params=["zmq", "stream"])
def make(request: pytest.FixtureRequest, context: zmq.Context[Any], address: str, wake: Wake) -> Make:
    """Make a connection of either kind."""
    if request.param == "zmq":
        return lambda: ZmqConnection(context, Endpoint(address, "here"), wake)
    return lambda: StreamConnection(Endpoint(stream_address(address), "here"), wake)


@pytest.fixture
def connection(entrance: Entrance, make: Make) -> Iterator[Connection]:
    connection = make()
    connection.wait_until_up(time.monotonic() + 10)
    assert connection.comes_up(0)
    yield connection
    connection.close()


def waiting(connection: Connection) -> Future[Any]:
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(connection.receive, None)
    with_one.shutdown(wait=False)
    end = time.monotonic() + 30
    between = threading.Event()
    while not connection.waiting:
        assert time.monotonic() < end
        between.wait(0.001)
    return future


def came(entrance: Entrance) -> tuple[bytes, list[bytes]]:
    frames = entrance.receive(30)
    assert frames is not None
    name, *said = map(bytes, frames)
    return name, said


def heard(connection: Connection) -> list[bytes]:
    frames = connection.receive(time.monotonic() + 30)
    assert frames is not None
    return [bytes(frame) for frame in frames]


def test_a_message_ends_the_wait(connection: Connection, entrance: Entrance) -> None:
    future = waiting(connection)
    connection.send([b"there"])
    name, said = came(entrance)
    assert said == [b"there"]
    assert entrance.send([name, b"and", b"back"])
    assert [bytes(frame) for frame in future.result(30)] == [b"and", b"back"]


@pytest.mark.parametrize(
    "message",
    [[b""], [b"", b"a", b""], [bytes(range(256)) * 64], [b"head", b"x" * 5_000_000, b"", b"tail"], [b"ab"] * 4000],
    ids=["empty", "with empty frames", "as small as large ones get", "large", "many frames"],
)
def test_messages_come_as_they_were_sent(connection: Connection, entrance: Entrance, message: list[bytes]) -> None:
    with ThreadPoolExecutor(1) as others:
        for _ in range(3):
            connection.send(message)
        answers = others.submit(lambda: [heard(connection) for _ in range(3)])
        for _ in range(3):
            name, said = came(entrance)
            assert said == message
            entrance.send([name, *message])
        assert answers.result(30) == [message] * 3


def test_what_is_not_taken_at_once_leaves_by_itself(connection: Connection, entrance: Entrance) -> None:
    connection.send([b"x" * 5_000_000])
    connection.send([b"and more"])
    name, said = came(entrance)
    assert said == [b"x" * 5_000_000]
    assert came(entrance) == (name, [b"and more"])
    entrance.send([name, b"y" * 5_000_000])
    entrance.send([name, b"and more"])
    assert heard(connection) == [b"y" * 5_000_000]
    assert heard(connection) == [b"and more"]


def test_nobody_waits_for_who_does_not_read(connection: Connection, entrance: Entrance, make: Make) -> None:
    connection.send([b"slow"])
    slow, _ = came(entrance)
    for number in range(20):
        entrance.send([slow, b"%d" % number, bytes(2_000_000)])
    quick = make()
    quick.wait_until_up(time.monotonic() + 10)
    quick.send([b"quick"])
    name, _ = came(entrance)
    entrance.send([name, b"at once"])
    assert heard(quick) == [b"at once"]
    quick.close()

    assert [heard(connection)[0] for _ in range(20)] == [b"%d" % number for number in range(20)]


def test_what_is_said_before_closing_arrives(make: Make, entrance: Entrance) -> None:
    connection = make()
    connection.wait_until_up(time.monotonic() + 10)
    with ThreadPoolExecutor(1) as others:
        connection.send([b"x" * 3_000_000])
        connection.send([b"bye"])
        closing = others.submit(connection.close, 10_000)
        assert len(came(entrance)[1][0]) == 3_000_000
        assert came(entrance)[1] == [b"bye"]
        closing.result(30)


def test_many_threads_answer_and_each_message_stays_whole(connection: Connection, entrance: Entrance) -> None:
    connection.send([b"hello"])
    name, _ = came(entrance)

    def say(number: int) -> None:
        for _ in range(20):
            entrance.send([name, bytes([number]), bytes([number]) * 300_000])

    threads = [threading.Thread(target=say, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    answers = [heard(connection) for _ in range(80)]
    for thread in threads:
        thread.join()
    for short, long in answers:
        assert long == short * 300_000


def test_who_has_gone_gets_nothing_and_nobody_minds(make: Make, entrance: Entrance) -> None:
    connection = make()
    connection.wait_until_up(time.monotonic() + 10)
    connection.send([b"hello"])
    name, _ = came(entrance)
    connection.close()
    end = time.monotonic() + 30
    while entrance.send([name, b"still there?"]):
        assert time.monotonic() < end
        entrance.receive(0.01)


def test_a_cut_ends_the_wait_by_itself(connection: Connection, entrance: Entrance) -> None:
    connection.send([b"hello"])
    came(entrance)
    future = waiting(connection)
    entrance.close()
    assert future.result(30) is None
    assert connection.gone
    assert connection.receive(None) is None


def test_a_ring_ends_the_wait_and_is_heard_once(connection: Connection, wake: Wake) -> None:
    future = waiting(connection)
    wake.ring()
    wake.ring()
    assert future.result(30) is None
    assert not connection.gone
    wake.hush()
    assert connection.receive(time.monotonic() + 0.01) is None  # the time is up; nothing rings any more


def test_the_end_ends_every_wait(connection: Connection, wake: Wake) -> None:
    future = waiting(connection)
    wake.end()
    with pytest.raises(LinkLost, match="connect again"):
        future.result(30)
    with pytest.raises(LinkLost):
        connection.receive(None)


def test_a_ring_that_is_put_off_rings_again(wake: Wake) -> None:
    wake.ring()
    wake.put_off()
    wake.ring_again()
    wake.wait()  # would wait for ever
    wake.hush()
    wake.ring_again()
    poller = zmq.Poller()
    poller.register(wake, zmq.POLLIN)
    assert poller.poll(10) == []


def test_what_never_comes_up_times_out(make: Make) -> None:
    connection = make()
    try:
        assert not connection.comes_up(0.01)
        with pytest.raises(FlameTimeout, match="here can't be reached"):
            connection.wait_until_up(time.monotonic() + 0.05)
    finally:
        connection.close()


def test_what_is_no_message_ends_one_stream_and_no_other(entrance: Entrance, address: str, wake: Wake) -> None:
    good = StreamConnection(Endpoint(stream_address(address), "here"), wake)
    good.send([b"before"])
    name, _ = came(entrance)
    strange = connect(stream_address(address))
    strange._socket.send(struct.pack("!IQ", 1, 2**40))
    entrance.receive(0.1)
    with pytest.raises(ConnectionResetError):
        strange.receive()
    strange.close()
    entrance.send([name, b"after"])
    assert heard(good) == [b"after"]
    good.close()


def test_a_stream_that_is_hung_up_delivers_nothing_more(entrance: Entrance, address: str, wake: Wake) -> None:
    connection = StreamConnection(Endpoint(stream_address(address), "here"), wake)
    connection.send([b"hello"])
    name, _ = came(entrance)
    connection.send([b"too late"])
    entrance.hang_up(name)
    entrance.hang_up(name)
    entrance.hang_up(b"somebody else")
    assert entrance.receive(0.1) is None
    assert not entrance.send([name, b"still there?"])
    assert connection.receive(time.monotonic() + 30) is None
    assert connection.gone
    connection.close()


def test_large_frames_of_a_stream_come_where_they_are_wanted(entrance: Entrance, address: str, wake: Wake) -> None:
    here, there = memoryview(bytearray(100_000)), memoryview(bytearray(200_000))
    asked: list[Any] = []

    def place(*told: Any) -> memoryview | None:
        asked.append([len(one) if isinstance(one, list) else one for one in told])  # the list goes on to grow
        return here if len(here) == told[-1] else there if len(there) == told[-1] else None

    entrance.place = place
    connection = StreamConnection(Endpoint(stream_address(address), "here"), wake, place)
    connection.send([b"small", b"x" * 100_000])
    frames = entrance.receive(30)
    assert frames is not None
    assert frames[2] is here
    assert bytes(here) == b"x" * 100_000
    entrance.send([frames[0], b"y" * 200_000, b"z" * 300_000])
    answer = connection.receive(time.monotonic() + 30)
    assert answer is not None
    assert answer[0] is there
    assert bytes(there) == b"y" * 200_000
    assert asked == [[frames[0], 1, 100_000], [0, 200_000], [1, 300_000]]
    connection.close()


def test_what_a_session_forks_keeps_no_connection_open(entrance: Entrance, address: str, wake: Wake) -> None:
    connection = StreamConnection(Endpoint(stream_address(address), "here"), wake)
    connection.send([b"hello"])
    came(entrance)
    listens, ends = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(ends)
        os.read(listens, 1)
        os._exit(0)
    try:
        entrance.close()
        assert connection.receive(time.monotonic() + 30) is None
        assert connection.gone
    finally:
        os.close(listens)
        os.close(ends)
        os.waitpid(pid, 0)
        connection.close()


_DEAF = """
import signal, sys
from flame_kernel.transport.stream import connect, listen

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as many a command line tool does
door = listen(sys.argv[1])
for message in ([b"small"], [b"large", bytes(3_000_000)]):
    stream = connect(sys.argv[1])
    door.accept()[0].close()
    try:
        stream.send(message)
    except OSError as error:
        print(type(error).__name__)
"""


def test_an_end_that_is_gone_ends_no_process(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _DEAF, f"unix://{tmp_path / 's'}"], capture_output=True, text=True, timeout=60
    )
    assert ran.stdout.split() == ["BrokenPipeError", "BrokenPipeError"], ran.stderr


_CROWDED = """
import os, resource, socket, sys
from flame_kernel.transport.entrance import open_entrance, stream_address
from flame_kernel.transport.stream import connect

address = sys.argv[1]
entrance = open_entrance(address)
there = [connect(stream_address(address)), connect(stream_address(address))]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
full = []
try:
    while True:
        full.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
entrance.receive(0.1)
for stream in there:
    try:
        assert stream.receive() is not None
    except ConnectionResetError:
        print("sent away")
os.close(full.pop())
there[0].close()
there.append(connect(stream_address(address)))
there[-1].send([b"come in"])
print(bytes(entrance.receive(30)[1]).decode())
"""


def test_who_comes_when_no_descriptor_is_left_is_sent_away_rather_than_left_to_wait(address: str) -> None:
    ran = subprocess.run([sys.executable, "-c", _CROWDED, address], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines() == ["sent away", "sent away", "come in"], ran.stderr
