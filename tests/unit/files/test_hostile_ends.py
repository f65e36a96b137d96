"""Copies with an end that is hostile: nothing escapes the destination, and nothing but an error comes of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame_kernel.errors import FlameError, ProtocolError, TransferError, UnsafePath
from flame_kernel.files import landing
from flame_kernel.files.chunks import CHUNK, digest
from flame_kernel.files.ends import Reply, reply
from flame_kernel.protocol.calls import Operation
from flame_kernel.serialize import Parts
from tests.unit.files.copies import KEYS, Spy, go, tree_of

# ---------------------------------------------------------------- a hostile end


def listing(**told: Any) -> Callable[[Operation, Any], Reply | None]:
    def instead(operation: Operation, operands: Any) -> Reply | None:
        if operation is Operation.FIND:
            usual = {"base": "/b", "name": "n", "kind": "folder", "slash": True, "several": False, "entries": []}
            return Reply([{**usual, **told}])
        if operation is Operation.READ:
            return Reply(digest(bytes(operands[3])), bytes(operands[3]))
        return None

    return instead


def everything_but(folder: Path) -> dict[str, Any]:
    return {name: what for name, what in tree_of(folder.parent).items() if not name.startswith(folder.name)}


entries = st.lists(
    st.tuples(
        st.one_of(
            st.lists(st.sampled_from(["..", "a", "b", "way", ".", "", "/", "outside"]), max_size=4).map("/".join),
            st.text(max_size=5),
        ),
        st.sampled_from(["file", "folder", "link"]),
        st.sampled_from([0, 3]),
        st.just(1),
        st.sampled_from([0o777, 0o4777]),
        st.sampled_from(["", "..", "../outside", "/tmp", "a", "a/../../outside", "b/.."]),
    ),
    max_size=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(entries, st.one_of(st.just("n"), st.sampled_from(["..", "../x", "/x", "", "way", "outside"])), st.booleans())
def test_a_hostile_source_writes_nothing_outside(
    tmp_path_factory: pytest.TempPathFactory, told: list[Any], name: str, slash: bool
) -> None:
    place = tmp_path_factory.mktemp("hostile")
    (place / "outside").mkdir()
    (place / "outside" / "precious").write_text("precious")
    target = place / "target"
    target.mkdir()
    (target / "way").symlink_to(place / "outside")
    before = everything_but(target)
    source = Spy(listing(entries=[list(one) for one in told], name=name, slash=slash))
    for _ in range(2):  # the second time what the first one made is in the way
        with contextlib.suppress(FlameError, OSError):
            go(place / "x", f"{target}/", source=source)
    assert everything_but(target) == before
    for path in target.rglob("*"):
        if path.is_symlink() and path.name != "way":
            assert not os.path.isabs(os.readlink(path))
        assert path.is_symlink() or not path.stat().st_mode & stat.S_ISUID


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x"])
def test_a_name_that_leads_out_is_refused_loudly(tmp_path: Path, name: str) -> None:
    told = listing(entries=[[name, "file", 3, 1, 0o600, ""]])
    with pytest.raises(UnsafePath, match="lead out"):
        go(tmp_path / "x", tmp_path / "t", source=Spy(told))


def test_a_folder_that_is_a_link_at_the_destination_is_not_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "way").symlink_to(outside)
    told = listing(entries=[["", "folder", 0, 1, 0o777, ""], ["way", "folder", 0, 1, 0o777, ""]])
    with pytest.raises(UnsafePath, match="is a link"):
        go(tmp_path / "x", tmp_path / "t", source=Spy(told))
    with pytest.raises(UnsafePath, match="is a link"):
        landing.folders(str(tmp_path / "t"), ["way"])
    with pytest.raises(UnsafePath, match="is a link"):
        landing.settle(str(tmp_path / "t"), [["way", 0o777, 1]])
    assert stat.S_IMODE(outside.stat().st_mode) == 0o700


def test_a_name_of_a_single_file_that_leads_out_is_refused(tmp_path: Path) -> None:
    told = listing(kind="file", name="../../x", entries=[["x", "file", 3, 1, 0o600, ""]])
    with pytest.raises(UnsafePath):
        go(tmp_path / "x", f"{tmp_path}/t/", source=Spy(told))


@pytest.mark.parametrize(
    "told",
    [
        {"entries": None},
        {"entries": [["a", "file"]]},
        {"entries": [["a", "file", -1, 1, 1, ""]]},
        {"entries": [["a", "file", "many", 1, 1, ""]]},
        {"kind": "file", "entries": []},
        {"entries": 3, "name": None},
    ],
)
def test_a_listing_that_makes_no_sense_is_an_error(tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        go(tmp_path / "x", tmp_path / "t", source=Spy(listing(**told)))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [Operation.FIND, Operation.WHERE, Operation.BEGIN, Operation.SUMS, Operation.FOLDERS, Operation.READ]
    ),
    json,
    st.booleans(),
)
def test_nonsense_from_either_end_is_an_error_and_nothing_else(
    tmp_path: Path, operation: Operation, nonsense: Any, at_source: bool
) -> None:
    tree = tmp_path / "s"
    if not tree.exists():
        tree.mkdir()
        (tree / "large").write_bytes(bytes(2 * CHUNK))
    end = Spy(lambda asked, operands: Reply(nonsense, b"x") if asked is operation else None)
    with contextlib.suppress(FlameError, OSError):
        go(tree, tmp_path / "t", **{"source" if at_source else "sink": end})


@given(json, st.lists(st.binary(max_size=3), max_size=2))
def test_an_answer_that_is_none_is_an_error(nonsense: Any, buffers: list[bytes]) -> None:
    with contextlib.suppress(ProtocolError, OSError, FlameError):
        assert isinstance(reply(Parts(nonsense, buffers), "there"), Reply)
    with pytest.raises(ProtocolError):
        reply(nonsense, "there")


def test_a_piece_of_another_length_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"abc")

    def longer(operation: Operation, operands: Any) -> Reply | None:
        return Reply(digest(b"longer"), b"longer") if operation is Operation.READ else None

    with pytest.raises(TransferError, match="another length"):
        go(tmp_path / "s", tmp_path / "t", source=Spy(longer))
