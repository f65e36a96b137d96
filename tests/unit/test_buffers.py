from __future__ import annotations

import array

import pytest

from flame_kernel.buffers import Buffer, size


@pytest.mark.parametrize(
    ("buffer", "length"),
    [
        (b"abc", 3),
        (bytearray(5), 5),
        (memoryview(b""), 0),
        (memoryview(array.array("d", [0.0] * 4)), 32),
        (memoryview(bytes(24)).cast("B", (2, 3, 4)), 24),
    ],
    ids=["bytes", "bytearray", "empty", "doubles", "three dimensions"],
)
def test_size_is_in_bytes_whatever_the_items_are(buffer: Buffer, length: int) -> None:
    assert size(buffer) == length
