from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flame_kernel.errors import KeyFileError
from flame_kernel.security.invite_book import InviteBook, InviteState
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KeyPair, public_to_text

SERVER = KeyPair.generate().public
NOW, DAY = 1_700_000_000.0, 86400.0


def issued(book: InviteBook, lifetime_s: float = 3600.0) -> bytes:
    invite = Invite.mint("gpu1", 9999, SERVER)
    book.issue(invite, lifetime_s, NOW)
    return invite.keypair().public


@pytest.fixture
def book(tmp_path: Path) -> InviteBook:
    return InviteBook(tmp_path / "invites")


def test_asking_creates_nothing(book: InviteBook) -> None:
    assert book.state(SERVER, NOW) is InviteState.UNKNOWN
    assert book.redeem(SERVER, NOW, "x") is InviteState.UNKNOWN
    assert book.sweep(NOW) == 0
    assert not book.folder.exists()


def test_an_invite_works_once(book: InviteBook) -> None:
    public = issued(book)
    other_process = InviteBook(book.folder)
    assert book.state(public, NOW) is InviteState.OPEN
    assert other_process.redeem(public, NOW, "SHA256:ann") is InviteState.OPEN
    assert book.state(public, NOW) is InviteState.USED
    assert book.redeem(public, NOW, "SHA256:bob") is InviteState.USED
    (used,) = book.folder.glob("*.used")
    assert "SHA256:ann" in used.read_text()
    assert "SHA256:bob" not in used.read_text()


def test_an_invite_expires(book: InviteBook) -> None:
    public = issued(book, 60.0)
    assert book.state(public, NOW + 59.9) is InviteState.OPEN
    assert book.state(public, NOW + 60.0) is InviteState.EXPIRED
    assert book.redeem(public, NOW + 60.0, "x") is InviteState.EXPIRED
    assert book.state(public, NOW) is InviteState.OPEN


def test_a_used_invite_stays_used_when_it_would_have_expired(book: InviteBook) -> None:
    public = issued(book, 60.0)
    book.redeem(public, NOW, "x")
    assert book.state(public, NOW + 120.0) is InviteState.USED


def test_an_invite_is_not_issued_twice(book: InviteBook) -> None:
    invite = Invite.mint("gpu1", 9999, SERVER)
    book.issue(invite, 60.0, NOW)
    book.redeem(invite.keypair().public, NOW, "x")
    with pytest.raises(KeyFileError, match="mint a new one"):
        book.issue(invite, 60.0, NOW)


def test_the_files_are_private_and_hold_no_secret(book: InviteBook) -> None:
    invite = Invite.mint("gpu1", 9999, SERVER)
    book.issue(invite, 60.0, NOW)
    (path,) = book.folder.glob("*.open")
    assert (
        path.read_text()
        == f"public flame-curve25519 {public_to_text(invite.keypair().public)}\nexpires {NOW + 60}\nrole admin\n"
    )
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
        assert book.folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "x", "expires 1e99\n", "public flame-curve25519 x\nexpires 1e99\n"])
def test_a_damaged_file_opens_nothing(book: InviteBook, text: str) -> None:
    public = issued(book)
    (path,) = book.folder.glob("*.open")
    whole = path.read_text()
    for damaged in (text, whole.replace(str(NOW + 3600), "nan"), whole.replace(str(NOW + 3600), "soon")):
        path.write_text(damaged)
        with pytest.raises(KeyFileError, match="damaged: delete it"):
            book.state(public, NOW)
        with pytest.raises(KeyFileError):
            book.redeem(public, NOW, "x")
    assert book.sweep(NOW) == 1


def test_a_file_renamed_to_another_invite_opens_nothing(book: InviteBook) -> None:
    public = issued(book)
    (mine,) = book.folder.glob("*.open")
    issued(book)
    (other,) = set(book.folder.glob("*.open")) - {mine}
    os.replace(other, mine)
    with pytest.raises(KeyFileError):
        book.state(public, NOW)


@pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")
def test_a_file_open_to_others_opens_nothing(book: InviteBook) -> None:
    public = issued(book)
    (path,) = book.folder.glob("*.open")
    path.chmod(0o666)
    with pytest.raises(KeyFileError, match="chmod 600"):
        book.redeem(public, NOW, "x")


def test_sweep_deletes_what_ended_over_seven_days_ago(book: InviteBook) -> None:
    expired, used, still_open = issued(book, DAY), issued(book, 100 * DAY), issued(book, 100 * DAY)
    book.redeem(used, NOW + DAY, "x")
    assert book.sweep(NOW + 8 * DAY) == 0
    assert book.state(expired, NOW + 8 * DAY) is InviteState.EXPIRED
    assert book.state(used, NOW + 8 * DAY) is InviteState.USED
    assert book.sweep(NOW + 8 * DAY + 1) == 2
    assert book.state(expired, NOW) is InviteState.UNKNOWN
    assert book.state(used, NOW) is InviteState.UNKNOWN
    assert book.state(still_open, NOW + 8 * DAY) is InviteState.OPEN


def test_a_used_file_whose_last_line_was_cut_off_is_used_and_swept_in_the_end(book: InviteBook) -> None:
    public = issued(book, DAY)
    (path,) = book.folder.glob("*.open")
    path.rename(path.with_suffix(".used"))
    assert book.state(public, NOW) is InviteState.USED
    assert book.sweep(NOW + 7 * DAY) == 0
    assert book.sweep(NOW + 9 * DAY) == 1


def test_of_racing_processes_one_alone_redeems(book: InviteBook, race: Callable[[str, int], list[str]]) -> None:
    publics = [issued(book) for _ in range(30)]
    code = f"""
from pathlib import Path
from flame_kernel.security.invite_book import InviteBook
book = InviteBook(Path({str(book.folder)!r}))
# go
for public in {publics!r}:
    print(book.redeem(public, {NOW}, "x").value)
"""
    outputs = [output.split() for output in race(code, 3)]
    assert all(sorted(states) == ["open", "used", "used"] for states in zip(*outputs, strict=True))
    assert len(outputs[0]) == 30


def test_the_loser_of_a_race_is_told_used(book: InviteBook, monkeypatch: pytest.MonkeyPatch) -> None:
    public = issued(book)
    true_rename = os.rename

    def overtaken(source: Path, target: Path) -> None:
        true_rename(source, target)
        true_rename(source, target)

    monkeypatch.setattr("flame_kernel.security.invite_book.os.rename", overtaken)
    assert book.redeem(public, NOW, "x") is InviteState.USED
