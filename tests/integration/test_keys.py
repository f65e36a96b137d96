"""Keys, roles and sharing, over a real server with clients that have homes of their own."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import FlameError, KeyRefused, NotPermitted, SessionError, UnknownSession
from flame_kernel.security.authorized import AuthorizedKeys, Role
from flame_kernel.security.key_text import public_from_text
from tests.integration.guests import Guest, recorded, records, within
from tests.integration.servers import FlameServer, clean_environ, flame_command, pair, short_folder, until
from tests.integration.work import WAIT_FOR, in_thread, quick, taken, wait_until_set
from tests.ports import free_port

MakeGuest = Callable[..., Guest]


@pytest.fixture(scope="module")
def house() -> Iterator[FlameServer]:
    """A server for this module alone: its keys come and go."""
    with short_folder() as folder, FlameServer(folder) as server:
        yield server


@pytest.fixture
def guest(house: FlameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeGuest]:
    """Make clients; their keys are removed afterwards."""
    made: list[Guest] = []

    def make(name: str, role: str = "admin") -> Guest:
        made.append(Guest(house, name, role, monkeypatch))
        return made[-1]

    yield make
    for one in made:
        AuthorizedKeys(house.home / "config" / "authorized_keys").remove(one.fingerprint)


def ended(flame: Flame) -> bool:
    return flame.closed


# ---------------------------------------------------------------- flame keys


def test_a_client_gets_in_with_the_key_that_it_prints(house: FlameServer, guest: MakeGuest) -> None:
    ann = guest("ann")
    assert house.command("keys", "remove", "ann").returncode == 0
    own = flame_command(clean_environ(ann.home), "keys", "own")
    assert own.stdout == f"{ann.key} {socket.gethostname()}\n"
    with pytest.raises(KeyRefused):
        ann.connect()
    added = house.command("keys", "add", own.stdout.strip(), "--role", "execute")
    assert added.returncode == 0, added.stderr
    assert added.stdout == f"admitted {socket.gethostname()} ({ann.fingerprint}, execute)\n"
    with ann.connect() as flame:
        assert flame.session.role == "execute"


@pytest.mark.parametrize("dash", ["-h", "-A", "--"])
def test_a_key_that_begins_with_a_dash_needs_no_quotes(house: FlameServer, dash: str) -> None:
    added = house.command("keys", "add", "flame-curve25519", dash + "A" * 41, "dashing", "--role", "observe")
    assert added.returncode == 0, added.stderr
    assert added.stdout.startswith("admitted dashing (SHA256:")
    assert house.command("keys", "remove", "dashing").returncode == 0


def test_a_misspelt_option_admits_nobody(house: FlameServer) -> None:
    added = house.command("keys", "add", "flame-curve25519", "A" * 43, "typo", "--rol", "observe")
    assert added.returncode == 2
    assert "No such option '--rol'" in added.stderr
    assert "typo" not in house.command("keys", "list").stdout


def test_a_key_written_by_hand_is_no_removed_one_when_something_is_shared(house: FlameServer, guest: MakeGuest) -> None:
    owner, ann = guest("owner"), guest("ann")
    house.command("keys", "remove", "ann")
    AuthorizedKeys(house.home / "config" / "authorized_keys").add(public_from_text(ann.key), Role.ADMIN, "ann")
    with ann.connect(session="hers") as hers, owner.connect(session="shared") as shared:
        shared.session.share("ann")
        assert hers.evaluate("1 + 1") == 2
        assert not hers.closed
        hers.session.close()
        shared.session.close()


def test_keys_are_listed_added_and_removed(house: FlameServer, guest: MakeGuest) -> None:
    ann = guest("ann", "files")
    assert f"{ann.fingerprint}  files    ann\n" in house.command("keys", "list").stdout
    assert "execute" in ann.admit("execute")
    assert f"{ann.fingerprint}  execute  ann\n" in house.command("keys", "list").stdout
    removed = house.command("keys", "remove", ann.fingerprint[:12])
    assert removed.stdout == f"removed ann ({ann.fingerprint}, execute)\n"
    assert house.command("keys", "list").stdout == ""


def test_what_is_no_key_is_told_in_one_line(house: FlameServer, guest: MakeGuest) -> None:
    guest("ann")
    guest("anna")
    for arguments, complaint in (
        (("add", "rubbish"), "a key is damaged"),
        (("add", "flame-curve25519"), "that isn't a public key"),
        (("remove", "nobody"), "no key in"),
        (("remove", "an"), "could be 2 keys"),
        (("remove", ""), "no key in"),
        (("remove", "SHA256:"), "no key in"),
    ):
        done = house.command("keys", *arguments)
        assert done.returncode == 1
        assert complaint in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert len(house.command("keys", "list").stdout.splitlines()) == 2
    assert "removed ann (" in house.command("keys", "remove", "ann").stdout  # a whole comment comes before a beginning
    assert "removed anna (" in house.command("keys", "remove", "an", "--all").stdout


def test_a_removed_keys_connections_end_within_a_second(house: FlameServer, guest: MakeGuest) -> None:
    bob = guest("bob")

    def removing() -> float:
        nonlocal ann
        ann = guest("ann")
        with ann.connect() as flame:
            flame.execute(WAIT_FOR)
            call = in_thread(flame.execute, "in_call = True\nwait_for('/nonexistent')")
            cell = in_thread(flame.run, "in_cell = True\nwait_for('/nonexistent')", quiet=True)
            wait_until_set(flame, "in_call")
            wait_until_set(flame, "in_cell")
            told = house.command("keys", "remove", "ann").stdout
            assert "connections ended" in told
            seconds = taken(lambda: until(lambda: call.done() and cell.done() and flame.closed))
            for failed in (call, cell):
                assert isinstance(failed.exception(), KeyRefused), repr(failed.exception())
            with pytest.raises(KeyRefused):
                flame.evaluate("1")
            with pytest.raises(KeyRefused):
                ann.connect()
        return seconds

    ann = bob
    with bob.connect() as other:
        quick(1.0, removing)
        assert other.evaluate("6 * 7") == 42
    record = recorded(house, "key removed", key=ann.fingerprint)
    assert record["dropped"] >= 2
    recorded(house, "refused", key=ann.fingerprint)


def test_a_key_that_is_deleted_by_hand_is_let_go_too(house: FlameServer, guest: MakeGuest) -> None:
    with guest("ann").connect() as flame:
        file = house.home / "config" / "authorized_keys"
        file.write_text("")
        until(lambda: ended(flame))
        with pytest.raises(KeyRefused):
            flame.run("1", quiet=True)


def test_a_lowered_role_counts_at_once(house: FlameServer, guest: MakeGuest) -> None:
    ann = guest("ann", "admin")
    with ann.connect(session="lowered") as flame:
        assert flame.evaluate("1") == 1
        assert flame.session.role == "admin"
        ann.admit("observe")
        within(5.0, lambda: ended(flame))
        with pytest.raises(NotPermitted):
            flame.evaluate("1")
    with ann.connect(session="lowered", observe=True) as flame:
        assert flame.session.role == "observe"
    ann.admit("execute")
    with ann.connect(session="lowered") as flame:
        flame.session.close()


def test_an_invite_enrols_with_its_role_and_takes_nothing_from_who_has_more(
    lone_server: Callable[..., FlameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lone_server()

    def invite(role: str) -> str:
        return server.command("invite", "-p", str(server.port), "--role", role).stdout.strip()

    with connect(invite("execute")) as flame:
        assert flame.session.role == "execute"
    assert "  execute  " in server.command("keys", "list").stdout
    for role, then in (("observe", "execute"), ("files", "files")):
        (
            server.client_home / "config" / "known_hosts"
        ).unlink()  # else it finds that it is paired, and keeps the invite
        pair(invite(role))
        assert f"  {then:<7}  " in server.command("keys", "list").stdout


# ---------------------------------------------------------------- roles


def test_an_observer_only_looks_on(house: FlameServer, guest: MakeGuest) -> None:
    ann, bob = guest("ann"), guest("bob", "observe")
    with ann.connect(session="lab") as flame:
        assert flame.session.share("bob") == ("bob (observe)",)
        with pytest.raises(NotPermitted, match="observe=True"):
            bob.connect(session="ann/lab")
        with bob.connect(session="ann/lab", observe=True) as looking:
            assert (looking.session.role, looking.session.owner, looking.session.name) == ("observe", "ann", "ann/lab")
            assert [info.name for info in looking.sessions()] == ["ann/lab"]
            outputs = looking.session.outputs()
            flame.run("print('hello'); 6 * 7", quiet=True)
            assert next(outputs) == {"output_type": "stream", "name": "stdout", "text": "hello\n"}
            assert next(outputs)["data"]["text/plain"] == "42"
            for forbidden in (
                lambda: looking.evaluate("1"),
                lambda: looking.run("1", quiet=True),
                lambda: looking.execute("x = 1"),
                looking.session.interrupt,
                looking.session.restart,
                looking.session.close,
                lambda: looking.session.share("*"),
                lambda: looking.sessions(everyone=True),
            ):
                with pytest.raises(NotPermitted):
                    forbidden()
            assert flame.evaluate("1 + 1") == 2
        with pytest.raises(NotPermitted, match="role execute"):
            bob.connect()
        with pytest.raises(UnknownSession):
            bob.connect(session="nothing", observe=True)
        flame.session.close()


def test_a_session_shared_to_execute_is_one_namespace(house: FlameServer, guest: MakeGuest) -> None:
    ann, bob = guest("ann"), guest("bob", "execute")
    with ann.connect(session="lab") as flame:
        for name in ("ann/lab", f"{ann.fingerprint}/lab"):
            with pytest.raises(UnknownSession):
                bob.connect(session=name)
        flame.session.share(bob.fingerprint, "execute")
        with bob.connect(session="ann/lab") as friend:
            friend["x"] = 20
            friend.run("y = x + 1", quiet=True)
            assert flame.evaluate("x + y") == 41
            with pytest.raises(NotPermitted):
                friend.session.close()
            with pytest.raises(NotPermitted):
                friend.session.share("*")
            assert flame.session.unshare("bob") == ()
            within(5.0, lambda: ended(friend))
            with pytest.raises(UnknownSession):
                friend.evaluate("x")
        flame.session.close()


def test_putting_and_getting_files_needs_the_role_for_it(house: FlameServer, guest: MakeGuest, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("content")
    with guest("ann", "execute").connect() as flame:
        for forbidden in (
            lambda: flame.put(str(tmp_path / "local"), str(tmp_path / "there")),
            lambda: flame.get(str(tmp_path / "local"), str(tmp_path / "here")),
            lambda: flame.sendfile(str(tmp_path / "there"), b"content"),
            lambda: flame.getfile(str(tmp_path / "local")),
        ):
            with pytest.raises(NotPermitted, match="role files"):
                forbidden()
        flame.sendmodule("of_execute", "x = 1")
    with guest("bob", "files").connect() as flame:
        flame.put(str(tmp_path / "local"), str(tmp_path / "there"))
        assert flame.getfile(str(tmp_path / "there")) == b"content"


def test_what_is_shared_stays_so_over_a_restart_of_the_server(
    lone_server: Callable[..., FlameServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lone_server("-p", str(free_port()))
    ann, bob = Guest(server, "ann", "admin", monkeypatch), Guest(server, "bob", "execute", monkeypatch)
    with ann.connect(session="lab") as flame:
        flame.session.share("bob", "execute")
        with bob.connect(session="ann/lab") as friend:
            friend["x"] = 1
            server.kill()
            server.start()
            assert friend.evaluate("x + 1") == 2
            assert flame.sessions()[0].shared == ("bob (execute)",)
        flame.session.close()


def test_input_is_asked_of_who_ran_the_cell_and_not_of_observers(
    house: FlameServer, guest: MakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = guest("ann"), guest("bob", "observe")
    with ann.connect(session="lab") as flame:
        flame.session.share("bob")
        with bob.connect(session="ann/lab", observe=True) as looking:
            outputs = looking.session.outputs()
            monkeypatch.setattr("builtins.input", lambda prompt: "ann's answer")
            assert flame.run("print(input('who? '))").outputs[-1]["text"].endswith("ann's answer\n")
            assert "ann's answer" in next(outputs)["text"]
        flame.session.close()


def test_an_admin_sees_and_ends_the_sessions_of_others(house: FlameServer, guest: MakeGuest) -> None:
    ann, bob, eve = guest("ann"), guest("bob"), guest("eve", "files")
    with ann.connect(session="lab") as flame, bob.connect(session="own") as admin, eve.connect(session="own") as other:
        assert [info.name for info in admin.sessions()] == ["own"]
        assert {info.name for info in admin.sessions(everyone=True)} == {"own", "ann/lab", "eve/own"}
        for what in (lambda: other.sessions(everyone=True), lambda: other.end_session("ann/lab")):
            with pytest.raises(FlameError):
                what()
        admin.end_session("ann/lab")
        within(5.0, lambda: ended(flame))
        with pytest.raises(SessionError):
            flame.evaluate("1")
        admin.end_session("eve/own")
        admin.session.close()


# ---------------------------------------------------------------- the audit log


def test_the_audit_log_says_who_did_what_and_never_the_code(house: FlameServer, guest: MakeGuest) -> None:
    ann = guest("ann")
    with ann.connect(session="audited") as flame:
        flame.run("secret = 'hunter2'", quiet=True)
        flame.evaluate("secret")
        flame.session.interrupt()
        flame.session.restart()
        flame.session.share("*")
        flame.session.close()
    common = {"key": ann.fingerprint, "name": "ann"}
    here = {**common, "session": "audited", "owner": ann.fingerprint}
    assert recorded(house, "connect", **common)["from"] == "127.0.0.1"
    for event in ("start", "execute", "calls", "interrupt", "restart", "end"):
        recorded(house, event, **here)
    assert recorded(house, "share", **here)["with"] == "*"
    path = house.home / "state" / "audit.jsonl"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert "hunter2" not in path.read_text()
    assert "secret" not in path.read_text()
    times = [record["time"] for record in records(house)]
    assert times == sorted(times)
