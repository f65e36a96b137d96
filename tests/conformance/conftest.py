"""Fixtures for the conformance tests: a home for each module, which must be empty of processes in the end."""

from collections.abc import Iterator

import pytest

from tests.conformance.kernels import Home, Kernel
from tests.jupyter_ports import be_given_to_kernels

be_given_to_kernels()


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    home = Home()
    left: list[str] = []
    try:
        yield home
    finally:
        left = home.close()
    assert left == []


@pytest.fixture(scope="module")
def flame(home: Home) -> Iterator[Kernel]:
    kernel = Kernel(home)
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def own_home() -> Iterator[Home]:
    """A home where nothing else runs, and whose server a test may kill."""
    home = Home()
    try:
        yield home
    finally:
        home.close()
