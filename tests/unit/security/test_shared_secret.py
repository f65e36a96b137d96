"""A secret in a file: made once, the same ever after, and nobody else's to read."""

from pathlib import Path

import pytest

from flame_kernel.errors import KeyFileError
from flame_kernel.security.shared_secret import load_or_create


def test_it_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "pyro4.key"
    secret = load_or_create(path)
    assert len(secret) >= 43
    assert load_or_create(path) == secret
    assert load_or_create(tmp_path / "another") != secret
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_that_somebody_wrote_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "pyro4.key"
    path.write_text("  what old clients have\n")
    path.chmod(0o600)
    assert load_or_create(path) == "what old clients have"


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pyro4.key"
    load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load_or_create(path)


def test_an_empty_file_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "pyro4.key"
    path.touch(mode=0o600)
    with pytest.raises(KeyFileError, match="holds no key"):
        load_or_create(path)
