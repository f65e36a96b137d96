from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zmq.utils import z85

from flame_kernel.errors import InviteError
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import from_base64
from flame_kernel.security.keys import KeyPair

SERVER = KeyPair.generate().public
hosts = st.from_regex(r"[a-zA-Z0-9_.-]{1,40}", fullmatch=True) | st.ip_addresses().map(str)
invites = st.builds(
    Invite,
    hosts,
    st.integers(1, 65535),
    st.binary(min_size=32, max_size=32).map(z85.encode),
    st.binary(min_size=16, max_size=16),
)


@settings(max_examples=50)
@given(invites, st.sampled_from(["{}", " {}\n", '"{}"', "'{}'", "<{}>", "`{}`", "\u201c{}\u201d", "\t'{}' \r\n"]))
def test_an_invite_survives_being_copied(invite: Invite, around: str) -> None:
    assert Invite.parse(around.format(invite)) == invite


@settings(max_examples=50)
@given(invites, st.data())
def test_one_wrong_character_is_noticed(invite: Invite, data: st.DataObject) -> None:
    text = str(invite)
    start = text.index("#") + 1
    at = data.draw(st.integers(start, len(text) - 1))
    other = data.draw(st.sampled_from("ABYZabyz0189-_").filter(lambda c: c != text[at]))
    with pytest.raises(InviteError, match="damaged"):
        Invite.parse(text[:at] + other + text[at + 1 :])


@settings(max_examples=50)
@given(invites, st.integers(1, 80))
def test_a_missing_end_is_noticed(invite: Invite, missing: int) -> None:
    text = str(invite)
    with pytest.raises(InviteError):
        Invite.parse(text[:-missing])


@settings(max_examples=50)
@given(st.text() | st.text().map("flame://{}".format) | st.text().map("flame://gpu1:9999/#{}".format))
def test_garbage_gives_invite_errors_only(text: str) -> None:
    with pytest.raises(InviteError) as caught:
        Invite.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["gpu1:9999", "", "http://gpu1:9999/#abc", "lame://gpu1:9999/#abc"])
def test_what_is_no_invite_is_told_from_a_damaged_one(text: str) -> None:
    with pytest.raises(InviteError, match="isn't an invite"):
        Invite.parse(text)


def test_errors_do_not_repeat_the_secret() -> None:
    text = str(Invite.mint("gpu1", 9999, SERVER))
    with pytest.raises(InviteError) as caught:
        Invite.parse(text[:-1])
    assert text[-20:-1] not in str(caught.value)


def test_ipv6_wears_brackets_in_addresses_only() -> None:
    invite = Invite.mint("[::1]", 9999, SERVER)
    assert (invite.host, invite.address) == ("::1", "[::1]:9999")
    assert str(invite).startswith("flame://[::1]:9999/#")
    assert Invite.parse(str(invite)) == invite


def test_the_address_may_be_changed_and_the_slash_left_out() -> None:
    invite = Invite.mint("inside", 9999, SERVER)
    tunnelled = Invite.parse(str(invite).replace("inside:9999/", "localhost:1234"))
    assert tunnelled.address == "localhost:1234"
    assert tunnelled.keypair() == invite.keypair()


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a#b", "a\nb", "::zz", "fe80::1%a b", "user@h", "a]", "\x1b[2J"])
def test_a_host_that_could_not_be_read_back_is_refused(host: str) -> None:
    with pytest.raises(InviteError, match="host"):
        Invite.mint(host, 9999, SERVER)


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(InviteError, match="port"):
        Invite.mint("gpu1", port, SERVER)
    with pytest.raises(InviteError):
        Invite.parse(str(Invite.mint("gpu1", 9999, SERVER)).replace("9999", str(port)))


def test_secrets_and_keys_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(InviteError):
        Invite("gpu1", 9999, SERVER, b"short")
    with pytest.raises(InviteError):
        Invite("gpu1", 9999, b"short", bytes(16))


def test_the_format_is_the_documented_one() -> None:
    invite = Invite("gpu1", 9999, z85.encode(bytes(range(32))), bytes(16))
    raw = from_base64(str(invite).removeprefix("flame://gpu1:9999/#"))
    assert raw[:32] == bytes(range(32))
    assert raw[32:48] == bytes(16)
    assert raw[48:] == hashlib.blake2b(raw[:48], digest_size=4).digest()
    secret = hashlib.blake2b(bytes(16), digest_size=32, person=b"flame-invite").digest()
    assert invite.keypair() == KeyPair.from_secret(z85.encode(secret))


def test_every_invite_has_a_secret_of_its_own_that_repr_hides() -> None:
    one, two = (Invite.mint("gpu1", 9999, SERVER) for _ in range(2))
    assert one.keypair() != two.keypair()
    assert "secret" not in repr(one)
    assert repr(one.secret) not in repr(one)
