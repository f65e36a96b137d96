from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_kernel.errors import ConfigurationError, FlameError, HostKeyChanged, KeyFileError
from flame_kernel.security.keys import KEY_TYPE, KeyPair, fingerprint, public_to_text
from flame_kernel.security.known_hosts import KnownHosts, changed_message

ONE, TWO = KeyPair.generate().public, KeyPair.generate().public


@pytest.fixture
def hosts(config: Path) -> KnownHosts:
    return KnownHosts(config / "known_hosts")


def test_reading_creates_nothing(tmp_path: Path) -> None:
    hosts = KnownHosts(tmp_path / "config" / "known_hosts")
    assert hosts.lookup("gpu1:9999") is None
    assert hosts.forget("gpu1:9999") is False
    assert os.listdir(tmp_path) == []


def test_pin_lookup_forget(hosts: KnownHosts) -> None:
    hosts.pin("gpu1:9999", ONE)
    hosts.pin("GPU1:9999", ONE)
    hosts.pin("[::1]:9999", TWO)
    assert hosts.path.read_text() == (
        f"gpu1:9999 {KEY_TYPE} {public_to_text(ONE)}\n[::1]:9999 {KEY_TYPE} {public_to_text(TWO)}\n"
    )
    assert hosts.lookup("Gpu1:9999") == ONE
    assert hosts.lookup("gpu1:9998") is None
    assert hosts.forget("gpu1:9999") is True
    assert hosts.lookup("gpu1:9999") is None
    assert hosts.lookup("[::1]:9999") == TWO
    if os.name == "posix":
        assert hosts.path.stat().st_mode & 0o777 == 0o600


def test_another_key_is_refused_unless_it_is_to_replace(hosts: KnownHosts) -> None:
    hosts.pin("gpu1:9999", ONE)
    with pytest.raises(HostKeyChanged) as caught:
        hosts.pin("gpu1:9999", TWO)
    assert str(caught.value) == changed_message("gpu1:9999", ONE, hosts.path)
    assert hosts.lookup("gpu1:9999") == ONE
    hosts.pin("gpu1:9999", TWO, replace=True)
    assert hosts.lookup("gpu1:9999") == TWO
    assert hosts.path.read_text().count("\n") == 1


def test_the_message_says_what_is_needed_on_one_line(hosts: KnownHosts) -> None:
    message = changed_message("gpu1:9999", ONE, hosts.path)
    for needed in ("gpu1:9999", str(hosts.path), fingerprint(ONE), "in the middle", "fresh invite"):
        assert needed in message
    assert "\n" not in message


def test_a_damaged_line_is_not_an_unknown_host(hosts: KnownHosts) -> None:
    hosts.pin("gpu2:9999", TWO)
    kept = f"# mine\n\ngpu1:9999 {KEY_TYPE} {public_to_text(ONE)[:-1]}\n" + hosts.path.read_text()
    hosts.path.write_text(kept)
    assert hosts.lookup("gpu2:9999") == TWO
    with pytest.raises(KeyFileError, match=f"{hosts.path}, line 3: "):
        hosts.lookup("gpu1:9999")
    with pytest.raises(KeyFileError, match="line 3"):
        hosts.pin("gpu1:9999", ONE)
    assert hosts.path.read_text() == kept
    hosts.pin("gpu1:9999", ONE, replace=True)
    assert hosts.lookup("gpu1:9999") == ONE
    assert hosts.path.read_text().startswith("# mine\n\n")


@pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")
def test_a_file_open_to_others_is_refused(hosts: KnownHosts) -> None:
    hosts.pin("gpu1:9999", ONE)
    hosts.path.chmod(0o604)
    with pytest.raises(KeyFileError, match="chmod 600"):
        hosts.lookup("gpu1:9999")


@pytest.mark.parametrize("address", ["", "a b:1", "a:1\nb:2", "#a:1", "a\u2028:1"])
def test_an_address_can_not_smuggle_in_a_line(hosts: KnownHosts, address: str) -> None:
    with pytest.raises(ConfigurationError):
        hosts.pin(address, ONE)
    assert not hosts.path.exists()


@settings(max_examples=50)
@given(text=st.text() | st.lists(st.sampled_from(["a:1", KEY_TYPE, public_to_text(ONE), "\n", "#"])).map(" ".join))
def test_garbage_gives_flame_errors_only(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "known_hosts"
    path.touch(0o600)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = KnownHosts(path).lookup("a:1")
    except FlameError:
        return
    assert found in (None, ONE)
