from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from flame_kernel.errors import KeyFileError
from flame_kernel.security.key_text import from_base64, raw_key, to_base64
from flame_kernel.security.keys import (
    KEY_TYPE,
    KeyPair,
    fingerprint,
    load_or_create,
    public_from_text,
    public_to_text,
)

posix = pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")
raw_keys = st.binary(min_size=32, max_size=32)


def test_a_pair_follows_from_its_secret_and_hides_it() -> None:
    pair = KeyPair.generate()
    assert KeyPair.from_secret(pair.secret) == pair
    assert repr(pair.secret) not in repr(pair)
    assert "secret" not in repr(pair)
    assert KeyPair.generate() != pair


@given(raw_keys)
def test_public_keys_survive_their_text_form(raw: bytes) -> None:
    public = z85.encode(raw)
    text = public_to_text(public)
    assert len(text) == 43
    assert public_from_text(text) == public
    assert public_from_text(f" {KEY_TYPE}  {text}\n") == public


@given(st.binary(max_size=100))
def test_base64_has_one_spelling(raw: bytes) -> None:
    text = to_base64(raw)
    assert from_base64(text) == raw
    with pytest.raises(ValueError, match=r".*"):
        from_base64(text + "=")


@given(st.text() | st.text("ABCabc019-_+/=", min_size=40, max_size=46))
def test_garbage_is_no_public_key(text: str) -> None:
    try:
        public = public_from_text(text)
    except KeyFileError:
        return
    assert public_to_text(public) == text.split()[-1]


@pytest.mark.parametrize(("cut", "before", "after"), [(42, "", ""), (43, "", "A"), (42, "+", ""), (43, "", " x")])
def test_a_key_with_one_mistake_is_refused(cut: int, before: str, after: str) -> None:
    with pytest.raises(KeyFileError):
        public_from_text(before + public_to_text(KeyPair.generate().public)[:cut] + after)


@given(st.binary(max_size=60) | st.binary(min_size=40, max_size=40))
def test_what_is_not_z85_is_refused(key: bytes) -> None:
    try:
        raw = raw_key(key)
    except KeyFileError:
        return
    assert z85.encode(raw) == key


def test_the_fingerprint_is_that_of_the_raw_key() -> None:
    assert fingerprint(b"0" * 40) == "SHA256:Zmh6rfhivXdsj8GL"


def test_a_key_file_is_created_once(tmp_path: Path) -> None:
    path = tmp_path / "config" / "key"
    pair = load_or_create(path, "key of\nann")
    assert load_or_create(path, "another") == pair
    lines = path.read_text().splitlines()
    assert lines[0] == "# key of ann"
    assert lines[1] == f"public {KEY_TYPE} {public_to_text(pair.public)}"
    assert lines[2].startswith("secret ")
    assert len(lines) == 3
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


@posix
def test_a_key_file_open_to_others_is_refused(config: Path) -> None:
    load_or_create(config / "key", "")
    (config / "key").chmod(0o644)
    with pytest.raises(KeyFileError, match=f"chmod 600 {config / 'key'}"):
        load_or_create(config / "key", "")


def test_a_damaged_key_file_is_refused_and_kept(config: Path) -> None:
    path = config / "key"
    load_or_create(path, "")
    whole = path.read_bytes()
    public, secret = whole.splitlines()[1:]
    other = public_to_text(KeyPair.generate().public).encode()
    for damaged in (
        b"",
        public,
        secret,
        whole[:-5],
        whole + secret,
        b"\xff\xfe",
        b"public " + KEY_TYPE.encode() + b" " + other + b"\n" + secret,
    ):
        path.write_bytes(damaged)
        with pytest.raises(KeyFileError, match=r"key file .* is damaged: .*pair again") as caught:
            load_or_create(path, "")
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == damaged


def test_processes_that_race_to_create_end_with_the_same_key(
    config: Path, race: Callable[[str, int], list[str]]
) -> None:
    code = f"""
from pathlib import Path
from flame_kernel.security.keys import load_or_create
# go
for number in range(20):
    pair = load_or_create(Path({str(config)!r}, str(number)), "")
    print(pair.public, pair.secret)
"""
    outputs = race(code, 3)
    assert len(outputs[0].splitlines()) == 20
    assert len(set(outputs)) == 1
