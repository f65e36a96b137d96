"""Names that come from the other end: whatever they are, nothing is written outside of the folder they belong to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flame_kernel.errors import UnsafePath
from flame_kernel.files.names import PARTIAL, inside, is_partial_of, leads_out, partial, resolve, tag

# Paths as somebody would write them who means harm, and any text at all.
nasty = st.lists(st.sampled_from(["..", ".", "", "a", "b c", "ü", "~", "C:", "a\\b", "\0", "-rf", "\n", "CON"])).map(
    "/".join
)
names = st.one_of(nasty, st.text())


@given(names)
def test_a_name_stays_inside_or_is_refused(name: str) -> None:
    root = "/srv/folder"
    try:
        parts = inside(name)
    except UnsafePath:
        return
    path = os.path.normpath(os.path.join(root, *parts))
    assert path == root or path.startswith(root + "/")
    assert "\0" not in path


@given(names)
def test_what_is_refused_has_a_reason(name: str) -> None:
    assume(name)
    ordinary = all(part not in ("", ".", "..") and "\0" not in part for part in name.split("/"))
    try:
        inside(name)
    except UnsafePath:
        assert not ordinary
    else:
        assert ordinary


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "a//b", "..", ".", "a/", "a\0b", "./a"])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(UnsafePath):
        inside(name)


@pytest.mark.parametrize(
    "name", ["C:x", "a\\..\\b", "a/b:stream", "NUL", "com1.txt", "trailing.", "trailing ", "a\x01b", "what?"]
)
def test_windows_has_more_names_that_mean_something_else(name: str) -> None:
    inside(name, windows=False)
    with pytest.raises(UnsafePath):
        inside(name, windows=True)


@pytest.mark.parametrize("name", ["a", "with space/ü", "...", "..a", "a..", "~", "-rf", "a\nb", "\udcff"])
def test_odd_names_are_names(name: str) -> None:
    assert "/".join(inside(name)) == name


@given(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4), nasty)
def test_a_link_leads_out_if_the_file_system_would(link: list[str], target: str) -> None:
    assume("\0" not in target and "\\" not in target and "C:" not in target)
    # Step by step, as the system goes: a path that leaves the tree and comes back has left it.
    steps = ["r", *link[:-1]]
    left = not target or target.startswith("/")
    for part in target.split("/"):
        if part == "..":
            steps = steps[:-1]
        elif part not in ("", "."):
            steps.append(part)
        left = left or not steps
    assert leads_out(link, target) is left


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    outside.mkdir()
    (root / "deep" / "way").symlink_to(outside)
    with pytest.raises(UnsafePath, match="is a link"):
        resolve(str(root), "deep/way/x")
    # A link is replaced, so its own name is no way out; and what the user named may be a link.
    assert resolve(str(root), "deep/way") == str(root / "deep" / "way")
    assert resolve(str(root / "deep" / "way"), "x") == str(root / "deep" / "way" / "x")


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=255))
def test_a_partial_file_is_found_by_its_name_and_stands_beside_it(name: str) -> None:
    assume(name not in (".", "..") and len(os.fsencode(name)) <= 255)
    path = partial(f"/srv/{name}", "0123456789abcdef")
    folder, last = os.path.split(path)
    assert folder == "/srv"
    assert len(os.fsencode(last)) <= 255
    assert last.endswith(PARTIAL)
    assert is_partial_of(last, name)
    assert last != name


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "x" * 65, "ü"])
def test_a_tag_is_no_way_out(bad: str) -> None:
    with pytest.raises(UnsafePath):
        partial("/srv/x", bad)


def test_a_tag_tells_sources_apart() -> None:
    assert tag("host", "/a", 1) != tag("host", "/a", 2)
    assert tag("host", "\udcff") == tag("host", "\udcff")
