"""Contents of files, from an end that is on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flame_kernel.client.files import files
from flame_kernel.errors import TransferError
from flame_kernel.files.chunks import CHUNK, digest
from flame_kernel.files.ends import LocalEnd, Reply
from flame_kernel.protocol.calls import Operation


class Place(LocalEnd):
    """A session that is this machine, where something may happen before a piece is read."""

    def __init__(self, happens: Any = lambda offset: None) -> None:
        self._happens = happens
        self.calls = self  # what a connection calls through

    @contextmanager
    def copying(self, timeout: float | None) -> Iterator[LocalEnd]:
        yield self

    def ask(self, operation: Operation, *operands: Any, data: Any = None) -> Reply:
        told = self._happens(operands[2]) if operation is Operation.READ else None
        return told or super().ask(operation, *operands, data=data)


def fetch(path: Path, happens: Any = lambda offset: None) -> bytes:
    place: Any = Place(happens)
    return files.fetch(place, str(path), None)


def test_what_grew_meanwhile_arrives_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(was := os.urandom(2 * CHUNK + 5))

    def grow(offset: int) -> None:
        with open(path, "ab") as file:
            file.write(b"one more line")

    assert fetch(path, grow) == was


def test_what_was_written_anew_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(3 * CHUNK))

    def write(offset: int) -> None:
        if offset == CHUNK:
            path.write_bytes(os.urandom(4 * CHUNK))

    with pytest.raises(TransferError, match="changed while it was fetched"):
        fetch(path, write)


def test_damaged_and_wrongly_cut_pieces_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(2 * CHUNK))
    with pytest.raises(TransferError, match="checksum"):
        fetch(path, lambda offset: Reply(digest(b"x"), bytes(CHUNK)))
    with pytest.raises(TransferError, match="another length"):
        fetch(path, lambda offset: Reply(digest(b"x"), b"x"))


def test_what_is_left_of_a_content_that_could_not_be_sent_goes(tmp_path: Path) -> None:
    class Full(Place):
        def ask(self, operation: Operation, *operands: Any, data: Any = None) -> Reply:
            if operation is Operation.WRITE and operands[3]:
                raise OSError(28, "no space")
            return super().ask(operation, *operands, data=data)

    place: Any = Full()
    with pytest.raises(OSError, match="no space"):
        files.send(place, str(tmp_path / "f"), bytes(3 * CHUNK), None)
    assert os.listdir(tmp_path) == []
