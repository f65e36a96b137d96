from __future__ import annotations

import os
from pathlib import Path

import pytest

from flame_kernel.errors import KeyFileError
from flame_kernel.security.admission import Admission, Identity
from flame_kernel.security.authorized import AuthorizedKeys, Role
from flame_kernel.security.invite_book import InviteBook, InviteState
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KEY_TYPE, KeyPair, fingerprint, public_to_text

NOW = 1_700_000_000.0
ANN, STRANGER = KeyPair.generate().public, KeyPair.generate().public


class House:
    """A server's files, a clock to turn and the lines that were reported."""

    def __init__(self, config: Path) -> None:
        self.now = NOW
        self.reports: list[str] = []
        self.authorized = AuthorizedKeys(config / "authorized_keys")
        self.invites = InviteBook(config / "invites")
        self.admission = Admission(self.authorized, self.invites, lambda: self.now, self.reports.append)

    def invite(self) -> bytes:
        invite = Invite.mint("gpu1", 9999, ANN)
        self.invites.issue(invite, 60.0, NOW)
        return invite.keypair().public


@pytest.fixture
def house(config: Path) -> House:
    return House(config)


def test_authorized_keys_are_admitted_until_they_are_revoked(house: House) -> None:
    assert not house.admission.callback("flame", ANN)
    house.authorized.add(ANN, Role.FILES, "ann")
    assert house.admission.callback("flame", ANN)
    assert not house.admission.callback("flame", STRANGER)
    assert house.admission.who(ANN) == Identity(ANN, fingerprint(ANN), "ann", Role.FILES, None)
    house.authorized.remove("ann")
    assert not house.admission.callback("flame", ANN)
    assert house.admission.who(ANN) == Identity(ANN, fingerprint(ANN), fingerprint(ANN), None, None)
    assert house.reports == []


def test_known_invites_are_admitted_in_every_state(house: House) -> None:
    used, expired = house.invite(), house.invite()
    assert house.admission.who(used).invite is InviteState.OPEN
    assert house.admission.callback("flame", used)
    house.invites.redeem(used, NOW, "x")
    house.now += 61.0
    assert house.admission.callback("flame", used)
    assert house.admission.callback("flame", expired)
    assert house.admission.who(used).invite is InviteState.USED
    assert house.admission.who(expired).invite is InviteState.EXPIRED
    assert house.admission.who(expired).role is None


def test_a_damaged_line_is_reported_once_and_again_after_it_was_mended(house: House) -> None:
    house.authorized.add(ANN, Role.ADMIN, "ann")
    whole = house.authorized.path.read_text()
    for count in (1, 2):
        house.authorized.path.write_text(f"{whole}rubbish\n")
        assert house.admission.callback("flame", ANN)
        assert not house.admission.callback("flame", STRANGER)
        assert len(house.reports) == count
        assert "line 2" in house.reports[-1]
        house.authorized.path.write_text(whole)
        assert house.admission.callback("flame", ANN)


@pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")
def test_a_file_that_can_not_be_trusted_admits_nobody_and_is_reported(house: House) -> None:
    house.authorized.add(ANN, Role.ADMIN, "ann")
    house.authorized.path.chmod(0o666)
    assert not house.admission.callback("flame", ANN)
    assert not house.admission.callback("flame", ANN)
    assert len(house.reports) == 1
    assert "chmod 600" in house.reports[0]
    with pytest.raises(KeyFileError):
        house.admission.who(ANN)


def test_any_exception_at_all_means_no(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.authorized.add(ANN, Role.ADMIN, "ann")

    def broken(public: bytes) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(house.authorized, "lookup", broken)
    assert house.admission.callback("flame", ANN) is False
    assert "a bug" in house.reports[0]


def test_a_damaged_invite_does_not_shut_out_authorized_keys(house: House) -> None:
    public = house.invite()
    house.authorized.add(ANN, Role.ADMIN, "ann")
    (path,) = house.invites.folder.glob("*.open")
    path.write_text("")
    assert house.admission.callback("flame", ANN)
    assert not house.admission.callback("flame", public)
    assert "is damaged" in house.reports[0]


def test_what_is_no_key_is_not_admitted(house: House) -> None:
    assert not house.admission.callback("flame", b"")
    assert not house.admission.callback("flame", b"\xff" * 40)
    assert KEY_TYPE not in public_to_text(ANN)
