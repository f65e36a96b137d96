"""What a session tells about its machine, read here."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.client.about import GraphicsCard, read
from flame_kernel.errors import ProtocolError
from flame_kernel.worker.about import about, read_cards

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


def test_what_this_machine_tells_of_itself() -> None:
    found = read(about(["pyzmq", "no-such-package", ""]), "here", 0.5)
    assert found.host == platform.node()
    assert found.python == platform.python_version()
    assert found.processors > 0
    assert found.memory_total is not None
    assert found.memory_available is not None
    assert 0 < found.memory_available < found.memory_total
    assert found.packages == {"pyzmq": version("pyzmq")}
    assert found.differs == {}
    assert found.round_trip == 0.5


def test_versions_that_differ() -> None:
    here = platform.python_version()
    told = {**about([]), "python": "3.7.1", "packages": {"numpy": "0.1", "no-such-package": "1"}}
    assert read(told, "here").differs == {"Python": (here, "3.7.1"), "numpy": (version("numpy"), "0.1")}
    patch = f"{here.rpartition('.')[0]}.999"
    assert read({**told, "python": patch, "packages": {}}, "here").differs == {}


def test_graphics_cards() -> None:
    told = {**about([]), "gpus": read_cards("NVIDIA A100, 10, 40\nTesla, V, [N/A], 16\n\nbroken")}
    assert read(told, "gpu1").gpus == (
        GraphicsCard("NVIDIA A100", 10 * 2**20, 40 * 2**20),
        GraphicsCard("Tesla, V", None, 16 * 2**20),
    )


@given(told=json_values, name=st.sampled_from(sorted(about([]))))
def test_what_makes_no_sense_is_an_error_and_nothing_else(told: Any, name: str) -> None:
    for answer in (told, {**about([]), name: told}):
        with suppress(ProtocolError):
            read(answer, "gpu1:9999, session 'x'")


def test_nothing_at_all_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="gpu1:9999, session 'x'"):
        read({}, "gpu1:9999, session 'x'")
