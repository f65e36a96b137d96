"""What is copied in the tests of copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flame_kernel.files.chunks import CHUNK


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with everything in it."""
    top = tmp_path / "a tree"
    (top / "sub folder" / "ünï").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "nothing").write_bytes(b"")
    (top / "run.sh").write_bytes(b"#!/bin/sh\n")
    (top / "run.sh").chmod(0o755)
    (top / "sub folder" / "large").write_bytes(os.urandom(3 * CHUNK + 17))
    (top / "sub folder" / "just one").write_bytes(os.urandom(CHUNK))
    (top / "sub folder" / "ünï" / "naïve\nname").write_bytes(b"x")
    (top / os.fsdecode(b"not utf-8 \xff")).write_bytes(b"y")
    (top / "link").symlink_to("sub folder/large")
    (top / "to folder").symlink_to("empty")
    (top / "broken").symlink_to("nowhere")
    os.utime(top / "run.sh", ns=(1, 1_500_000_000_123_456_789))
    (top / "empty").chmod(0o500)
    os.utime(top / "sub folder", ns=(1, 1_400_000_000_000_000_000))
    return top
