"""Files and trees to and from a server, over TCP and CURVE, with cuts and killed clients."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_kernel import Flame, connect
from flame_kernel.errors import FlameError, FlameTimeout, TransferError
from flame_kernel.files.ends import OPERATIONS
from flame_kernel.protocol.calls import Operation
from tests.integration.relay import Relay
from tests.integration.servers import PATIENCE_S, FlameServer, Program, run_script, until
from tests.integration.work import in_thread, wait_until_set

MIB = 1024 * 1024


@pytest.fixture(scope="module", params=[False, True], ids=["pickle", "plain"])
def either(client: FlameServer, request: pytest.FixtureRequest) -> Iterator[Flame]:
    """A session over a connection that unpickles, and over a plain one."""
    with connect(client.address, plain=request.param) as flame:
        yield flame


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The remote side's folder: server and client of the tests share a machine."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def make(path: Path, size: int) -> str:
    """Make a file of random content and return its checksum."""
    total = hashlib.sha256()
    with open(path, "wb") as file:
        for start in range(0, size, MIB):
            block = os.urandom(min(MIB, size - start))
            total.update(block)
            file.write(block)
    return total.hexdigest()


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partials(folder: Path) -> list[Path]:
    return list(folder.glob(".*.flame-part"))


def arrived(folder: Path) -> int:
    """Return how many bytes of files have arrived that are not whole yet."""
    return sum(path.stat().st_blocks * 512 for path in partials(folder))


# ---------------------------------------------------------------- contents


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB + 17])
def test_bytes_go_there_and_come_back(either: Flame, there: Path, size: int) -> None:
    name, data = str(there / "a file with ünïcode"), os.urandom(size)
    either.sendfile(name, data)
    assert Path(name).read_bytes() == data
    assert either.getfile(name) == data
    assert os.listdir(there) == ["a file with ünïcode"]


def test_any_buffer_is_content_and_what_it_replaces_keeps_its_mode(flame: Flame, there: Path) -> None:
    name = there / "run.sh"
    flame.sendfile(str(name), memoryview(b"#!/bin/sh\n"))
    umask = flame.evaluate("[__import__('os').umask(18), __import__('os').umask(18)][1]")
    assert stat.S_IMODE(name.stat().st_mode) == 0o666 & ~umask
    name.chmod(0o755)
    flame.sendfile(str(name), bytearray(2 * MIB))
    assert stat.S_IMODE(name.stat().st_mode) == 0o755
    assert flame.getfile(str(name)) == bytes(2 * MIB)


def test_names_are_relative_to_the_sessions_folder_and_home_is_its_own(flame: Flame, there: Path) -> None:
    flame.execute(f"import os; os.chdir({str(there)!r}); os.environ['HOME'] = {str(there)!r}")
    flame.sendfile("relative", b"r")
    assert flame.getfile("~/relative") == b"r"


def test_a_file_of_no_size_is_read_to_its_end(either: Flame) -> None:
    assert either.getfile("/proc/self/cmdline").startswith(sys.executable.encode())


GROW = """
import threading
stop = threading.Event()
def grow(path):
    while not stop.wait(0.001):
        with open(path, "ab") as file:
            file.write(b"one more line")
"""


def test_a_log_that_is_being_written_can_be_fetched(own: Flame, here: Path, there: Path) -> None:
    make(there / "log", 3 * MIB)
    was = (there / "log").read_bytes()
    own.execute(GROW)
    own.execute(f"thread = threading.Thread(target=grow, args=({str(there / 'log')!r},)); thread.start()")
    try:
        for _ in range(5):
            assert own.getfile(str(there / "log")).startswith(was)
            own.get(there / "log", here / "log")
            assert (here / "log").read_bytes().startswith(was)
    finally:
        own.execute("stop.set(); thread.join()")


def test_errors_of_contents_name_the_host(either: Flame, there: Path, client: FlameServer) -> None:
    with pytest.raises(FileNotFoundError, match=f"on {client.address}"):
        either.getfile(str(there / "nope"))
    with pytest.raises(IsADirectoryError, match=f"on {client.address}"):
        either.getfile(str(there))
    with pytest.raises(IsADirectoryError):
        either.sendfile(str(there), b"x")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        either.sendfile(str(there / "no" / "x"), b"x")
    with pytest.raises(PermissionError, match=f"on {client.address}"):  # not even root may
        either.sendfile("/sys/kernel/x", b"x")
    with pytest.raises(TransferError, match="neither"):
        either.getfile("/dev/null")


# ---------------------------------------------------------------- files and trees


def test_trees_go_there_and_come_back(either: Flame, here: Path, there: Path) -> None:
    tree = here / "a tree"
    (tree / "sub folder" / "ünï").mkdir(parents=True)
    make(tree / "sub folder" / "large", 3 * MIB + 5)
    for number in range(40):
        make(tree / "sub folder" / "ünï" / f"n {number}", number)
    (tree / "run.sh").write_text("x")
    (tree / "run.sh").chmod(0o751)
    os.utime(tree / "run.sh", ns=(1, 1_500_000_000_123_456_789))
    (tree / "link").symlink_to("sub folder/large")
    os.utime(tree / "sub folder", ns=(1, 1_400_000_000_000_000_000))

    done = either.put(tree, f"{there}/", progress=False)
    assert (done.files, done.found) == (42, 0)
    back = either.get(f"{there}/a tree", here / "back")
    assert back == done
    for copy in (there / "a tree", here / "back"):
        assert checksum(copy / "sub folder" / "large") == checksum(tree / "sub folder" / "large")
        assert (copy / "sub folder" / "ünï" / "n 7").read_bytes() == (tree / "sub folder" / "ünï" / "n 7").read_bytes()
        assert stat.S_IMODE((copy / "run.sh").stat().st_mode) == 0o751
        assert (copy / "run.sh").stat().st_mtime_ns == 1_500_000_000_123_456_789
        assert (copy / "sub folder").stat().st_mtime_ns == 1_400_000_000_000_000_000
        assert os.readlink(copy / "link") == "sub folder/large"


def test_wildcards_and_several_at_both_ends(either: Flame, here: Path, there: Path) -> None:
    for name in ("a.csv", "b.csv", "c.txt"):
        (here / name).write_text(name)
    assert either.put(here / "*.csv", f"{there}/new/").files == 2
    assert either.put([here / "a.csv", str(here / "c.txt")], str(there / "two")).files == 2
    assert sorted(os.listdir(there / "two")) == ["a.csv", "c.txt"]
    assert either.get(f"{there}/*/a.csv", here / "found").files == 2
    assert os.listdir(here / "found") == ["a.csv"]


def test_errors_of_copies_say_what_and_where(either: Flame, here: Path, there: Path, client: FlameServer) -> None:
    (here / "f").write_text("f")
    with pytest.raises(FileNotFoundError, match=f"No such file or directory on {client.address}"):
        either.get(there / "nope", here)
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*nope"):
        either.put(here / "nope", str(there))
    with pytest.raises(FileNotFoundError, match=rf"nothing matches on {client.address}.*\*\.csv"):
        either.get(f"{there}/*.csv", here)
    with pytest.raises(PermissionError, match=f"on {client.address}.*/sys/kernel/f"):
        either.put(here / "f", "/sys/kernel/")
    (there / "f").mkdir()
    with pytest.raises(IsADirectoryError, match=f"on {client.address}"):
        either.put(here / "f", f"{there}/")
    (there / "out").symlink_to("/etc/passwd")
    with pytest.raises(TransferError, match=f"links='follow'.*{client.address}"):
        either.get(f"{there}/", here / "t")


def test_no_space_over_there_is_said_beforehand(own: Flame, here: Path, there: Path) -> None:
    make(here / "f", 2 * MIB)
    # A full disk can't be made without being its administrator.
    own.execute("import shutil, types; shutil.disk_usage = lambda path: types.SimpleNamespace(free=5)")
    with pytest.raises(OSError, match=r"no space: 2,097,152 bytes are to come, and 5 are free on"):
        own.put(here / "f", str(there / "f"))
    assert os.listdir(there) == []


def test_a_timeout_leaves_the_connection_usable_and_the_copy_goes_on(
    client: FlameServer, relay: Relay, here: Path, there: Path
) -> None:
    wanted = make(here / "f", 12 * MIB)
    with connect(relay.address, session="far") as flame:
        relay.hold_after(6 * MIB)
        with pytest.raises(FlameTimeout):
            flame.put(here / "f", str(there / "f"), timeout=3.0)
        assert not (there / "f").exists()
        relay.heal()
        assert flame.evaluate("1") == 1
        assert flame.put(here / "f", str(there / "f")).found > 0
    assert checksum(there / "f") == wanted
    assert partials(there) == []


def test_a_bar_shows_how_it_goes_on(client: FlameServer, here: Path, there: Path) -> None:
    make(here / "data.bin", 3 * MIB)
    code = (
        "import sys; from flame_kernel import connect\n"
        f"with connect({client.address!r}) as flame: flame.put(sys.argv[1], sys.argv[2], progress=eval(sys.argv[3]))"
    )
    shown = run_script(code, client.client_environ(), str(here / "data.bin"), f"{there}/", "True")
    assert "data.bin: 100%" in shown.stderr
    assert "3.00M/3.00M" in shown.stderr
    quiet = run_script(code, client.client_environ(), str(here / "data.bin"), f"{there}/", "None")
    assert (quiet.returncode, quiet.stderr) == (0, "")  # no terminal


# ---------------------------------------------------------------- cuts and ends


@pytest.mark.parametrize("direction", ["put", "get"])
def test_cuts_in_the_middle_cost_nothing(relay: Relay, here: Path, there: Path, direction: str) -> None:
    source, target = (here, there) if direction == "put" else (there, here)
    wanted = make(source / "f", 24 * MIB)
    with connect(relay.address, session="far") as flame:
        relay.hold_after(7 * MIB)
        copying = in_thread(getattr(flame, direction), source / "f", str(target / "f"))
        for so_far in (4, 10):
            until(lambda so_far=so_far: arrived(target) > so_far * MIB)
            assert not copying.done()
            relay.cut()
            relay.hold_after(9 * MIB)
        relay.heal()
        done = copying.result(PATIENCE_S)
    assert (done.files, done.found) == (1, 0)
    assert checksum(target / "f") == wanted
    assert os.listdir(target) == ["f"]


PUT_OR_GET = """
import sys
from flame_kernel import connect
address, direction, source, target = sys.argv[1:]
with connect(address) as flame:
    print(getattr(flame, direction)(source, target).found)
"""


@pytest.mark.parametrize("direction", ["put", "get"])
def test_a_killed_client_goes_on_where_it_was(
    client: FlameServer, relay: Relay, here: Path, there: Path, direction: str
) -> None:
    source, target = (here, there) if direction == "put" else (there, here)
    wanted = make(source / "f", 24 * MIB)
    relay.hold_after(12 * MIB)
    command = [sys.executable, "-c", PUT_OR_GET, relay.address, direction, str(source / "f"), str(target / "f")]
    first = Program(command, client.client_environ())
    until(lambda: arrived(target) > 8 * MIB)
    first.kill()
    assert not (target / "f").exists()
    relay.heal()
    second = Program(command, client.client_environ())
    assert second.wait() == 0, second.err
    assert int(second.out[0]) >= 4 * MIB
    assert checksum(target / "f") == wanted
    assert os.listdir(target) == ["f"]


BIG = """
import resource, sys
from flame_kernel import connect
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
address, source, there, back = sys.argv[1:]
with connect(address) as flame:
    flame.execute("import resource\\ndef peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss")
    flame.put(source[:-3] + "small", there + "-small")  # what has to be loaded is loaded
    flame.get(there + "-small", back + "-small")
    before, before_there = peak(), flame.evaluate("peak()")
    flame.put(source, there)
    flame.get(there, back)
    print(peak() - before, flame.evaluate("peak()") - before_there)
"""


def test_large_files_cross_in_bounded_memory(client: FlameServer, here: Path, there: Path) -> None:
    make(here / "small", 3 * MIB)
    wanted = make(here / "big", 200 * MIB)
    arguments = [client.address, str(here / "big"), str(there / "big"), str(here / "back")]
    done = run_script(BIG, client.client_environ(), *arguments, timeout=100)
    assert done.returncode == 0, done.stderr
    grown_here, grown_there = (int(kib) * 1024 for kib in done.stdout.split())
    assert grown_here < 64 * MIB
    assert grown_there < 64 * MIB
    assert checksum(here / "back") == checksum(there / "big") == wanted


def test_a_copy_does_not_delay_an_interrupt(client: FlameServer, relay: Relay, here: Path, there: Path) -> None:
    make(here / "f", 24 * MIB)
    with connect(relay.address, session="far") as flame:
        relay.throttle(2 * MIB)
        copying = in_thread(flame.put, here / "f", str(there / "f"))
        cell = in_thread(flame.run, "running = True\nimport time; time.sleep(60)", quiet=True)
        until(lambda: partials(there))
        wait_until_set(flame, "running")
        flame.session.interrupt()
        with pytest.raises(KeyboardInterrupt):
            cell.result(20)
        assert not copying.done()
        relay.heal()
        assert copying.result(PATIENCE_S).files == 1


def test_closing_the_connection_ends_a_copy(relay: Relay, here: Path, there: Path) -> None:
    make(here / "f", 24 * MIB)
    flame = connect(relay.address, session="far")
    relay.throttle(2 * MIB)
    copying = in_thread(flame.put, here / "f", str(there / "f"))
    until(lambda: partials(there))
    flame.close()
    with pytest.raises(ConnectionError, match="connect again"):
        copying.result(PATIENCE_S)
    assert not (there / "f").exists()


# ---------------------------------------------------------------- nonsense

# Letters only: a path among them must not lead anywhere.
nonsense = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.text("abc", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=2),
    max_leaves=6,
)


def test_operands_that_make_no_sense_are_errors_of_that_call_alone(own: Flame, there: Path) -> None:
    own.execute(f"import os; os.chdir({str(there)!r})")

    @settings(max_examples=150, database=None)
    @given(st.sampled_from(sorted(OPERATIONS)), st.lists(nonsense, max_size=6), st.none() | st.binary(max_size=9))
    def ask(operation: Operation, operands: list[Any], data: bytes | None) -> None:
        with own._connection.copying(20) as end:
            with contextlib.suppress(FlameError, OSError, TypeError, ValueError):
                end.ask(operation, *operands, data=data)
            assert end.ask(Operation.WHERE, "/").value["kind"] == "folder"

    ask()
    assert own.evaluate("1") == 1
