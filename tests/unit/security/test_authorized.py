from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from flame_kernel.errors import ConfigurationError, FlameError, KeyFileError
from flame_kernel.security.authorized import AuthorizedKey, AuthorizedKeys, Role
from flame_kernel.security.authorized_key import parse_line
from flame_kernel.security.keys import KEY_TYPE, KeyPair, fingerprint, public_to_text
from flame_kernel.security.text_files import one_line

# Always the same keys, for they stand in the names of tests, which pytest-xdist's workers must agree on.
ANN, BOB = (KeyPair.from_secret(z85.encode(letter * 32)).public for letter in (b"a", b"b"))
ANN_TEXT, BOB_TEXT = public_to_text(ANN), public_to_text(BOB)


def put(path: Path, text: str) -> AuthorizedKeys:
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    return AuthorizedKeys(path)


@pytest.fixture
def path(config: Path) -> Path:
    return config / "authorized_keys"


def test_roles_are_ordered_and_named() -> None:
    assert Role.OBSERVE < Role.EXECUTE < Role.FILES < Role.ADMIN
    assert Role.ADMIN >= Role.FILES
    assert Role.named("files") is Role.FILES
    with pytest.raises(ConfigurationError, match="observe, execute, files, admin"):
        Role.named("root")


def test_a_missing_file_admits_nobody_and_is_not_created(tmp_path: Path) -> None:
    authorized = AuthorizedKeys(tmp_path / "config" / "authorized_keys")
    assert authorized.lookup(ANN) is None
    assert authorized.entries() == []
    assert authorized.remove("ann") == []
    assert os.listdir(tmp_path) == []


def test_role_and_comment_may_be_left_out(path: Path) -> None:
    authorized = put(path, f"\ufeff{KEY_TYPE} {ANN_TEXT}\r\n\n  # x\nexecute {KEY_TYPE} {BOB_TEXT} bob at  home\n")
    assert authorized.entries() == [AuthorizedKey(ANN, Role.ADMIN, ""), AuthorizedKey(BOB, Role.EXECUTE, "bob at home")]


def test_an_edit_takes_effect_at_the_next_lookup(path: Path) -> None:
    authorized = put(path, f"{KEY_TYPE} {ANN_TEXT}\n")
    assert authorized.lookup(ANN) is not None
    put(path, f"observe {KEY_TYPE} {BOB_TEXT} bob\n")
    assert authorized.lookup(ANN) is None
    assert authorized.lookup(BOB) == AuthorizedKey(BOB, Role.OBSERVE, "bob")
    path.unlink()
    assert authorized.lookup(BOB) is None


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authorized = put(path, f"{KEY_TYPE} {ANN_TEXT}\n")
    assert authorized.lookup(ANN) is not None
    monkeypatch.setattr("flame_kernel.security.text_files.read", None)
    assert authorized.lookup(ANN) is not None


def test_the_first_line_of_a_key_counts(path: Path) -> None:
    authorized = put(path, f"observe {KEY_TYPE} {ANN_TEXT}\nadmin {KEY_TYPE} {ANN_TEXT}\n")
    found = authorized.lookup(ANN)
    assert found is not None
    assert found.role is Role.OBSERVE


@pytest.mark.parametrize(
    "line",
    [
        f"root {KEY_TYPE} {BOB_TEXT}",
        f"Admin {KEY_TYPE} {BOB_TEXT}",
        f"admin {BOB_TEXT}",
        f"{KEY_TYPE} {BOB_TEXT[:-1]}",
        f"{KEY_TYPE} {BOB_TEXT}=",
        f"admin ssh-ed25519 {BOB_TEXT}",
        BOB_TEXT,
        "admin",
        KEY_TYPE,
    ],
)
def test_a_damaged_line_admits_nobody_and_shuts_nobody_else_out(path: Path, line: str) -> None:
    authorized = put(path, f"# keys\n{line}\n{KEY_TYPE} {ANN_TEXT}\n")
    assert authorized.lookup(BOB) is None
    assert authorized.lookup(ANN) is not None
    assert len(authorized.problems()) == 1
    with pytest.raises(KeyFileError, match=f"{path}, line 2: ") as caught:
        authorized.entries()
    assert "\n" not in str(caught.value)


def test_add_and_remove_keep_every_other_line(path: Path) -> None:
    around = f"# mine\n\nroot broken\n{KEY_TYPE} {ANN_TEXT} ann\n"
    authorized = put(path, around)
    authorized.add(BOB, Role.FILES, "bob")
    assert path.read_text() == f"{around}files {KEY_TYPE} {BOB_TEXT} bob\n"
    assert authorized.remove("bob") == [AuthorizedKey(BOB, Role.FILES, "bob")]
    assert path.read_text() == around
    assert authorized.lookup(BOB) is None


def test_add_twice_changes_nothing_and_another_role_replaces(path: Path) -> None:
    authorized = AuthorizedKeys(path)
    authorized.add(ANN, Role.ADMIN, "ann")
    authorized.add(BOB, Role.ADMIN, "bob")
    before = path.stat()
    assert authorized.add(ANN, Role.ADMIN, "ann") == authorized.lookup(ANN)
    assert path.stat() == before or path.stat().st_mtime_ns == before.st_mtime_ns
    authorized.add(ANN, Role.OBSERVE, "ann")
    assert [(e.public, e.role) for e in authorized.entries()] == [(ANN, Role.OBSERVE), (BOB, Role.ADMIN)]


def test_add_leaves_one_line_of_a_key_that_was_listed_twice(path: Path) -> None:
    authorized = put(path, f"observe {KEY_TYPE} {ANN_TEXT}\n# mine\nfiles {KEY_TYPE} {ANN_TEXT}\n")
    authorized.add(ANN, Role.ADMIN, "ann")
    assert path.read_text() == f"admin {KEY_TYPE} {ANN_TEXT} ann\n# mine\n"


def test_a_comment_can_not_smuggle_in_a_line(path: Path) -> None:
    authorized = AuthorizedKeys(path)
    authorized.add(ANN, Role.OBSERVE, f"ann\nadmin {KEY_TYPE} {BOB_TEXT}\r\x1b[2J\u2028")
    assert authorized.lookup(BOB) is None
    assert len(authorized.entries()) == 1
    assert path.read_text().count("\n") == 1


def test_a_key_that_is_none_is_not_added(path: Path) -> None:
    with pytest.raises(KeyFileError):
        AuthorizedKeys(path).add(b"short", Role.ADMIN, "")
    assert not path.exists()


@pytest.mark.parametrize("what", [ANN_TEXT, f"{KEY_TYPE} {ANN_TEXT}", fingerprint(ANN), " ann@laptop "])
def test_remove_finds_key_fingerprint_and_comment(path: Path, what: str) -> None:
    line = f"{KEY_TYPE} {ANN_TEXT} ann@laptop\n"
    authorized = put(path, f"{line}{KEY_TYPE} {BOB_TEXT}\nobserve {line}")
    assert [entry.public for entry in authorized.remove(what)] == [ANN, ANN]
    assert authorized.lookup(ANN) is None
    assert authorized.lookup(BOB) is not None


@pytest.mark.parametrize("what", ["", " \n", "an", ANN_TEXT[:20], KEY_TYPE, "SHA256:"])
def test_remove_takes_nothing_but_a_whole_match(path: Path, what: str) -> None:
    authorized = put(path, f"{KEY_TYPE} {ANN_TEXT}\n{KEY_TYPE} {BOB_TEXT} ann\n")
    assert authorized.remove(what) == []
    assert len(authorized.entries()) == 2


@pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")
def test_a_chmod_is_noticed_even_though_the_file_is_cached(path: Path) -> None:
    authorized = put(path, f"{KEY_TYPE} {ANN_TEXT}\n")
    assert authorized.lookup(ANN) is not None
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod 600"):
        authorized.lookup(ANN)


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.sampled_from(Role), st.text())
def test_entries_survive_their_line(raw: bytes, role: Role, comment: str) -> None:
    entry = AuthorizedKey(z85.encode(raw), role, one_line(comment))
    assert parse_line(str(entry)) == entry


@settings(max_examples=50)
@given(st.text() | st.lists(st.sampled_from([KEY_TYPE, "admin", ANN_TEXT, "#", "x", "\x85"])).map(" ".join))
def test_garbage_gives_flame_errors_only(line: str) -> None:
    try:
        entry = parse_line(line)
    except FlameError:
        return
    assert entry is None or KEY_TYPE in line


def test_processes_that_add_at_once_lose_nothing(path: Path, race: Callable[[str, int], list[str]]) -> None:
    code = f"""
import zmq
from pathlib import Path
from flame_kernel.security.authorized import AuthorizedKeys, Role
authorized = AuthorizedKeys(Path({str(path)!r}))
# go
for _ in range(5):
    authorized.add(zmq.curve_keypair()[0], Role.ADMIN, "")
"""
    race(code, 3)
    assert len(AuthorizedKeys(path).entries()) == 15
