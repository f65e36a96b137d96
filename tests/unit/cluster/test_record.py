from __future__ import annotations

from pathlib import Path

import pytest

from flame_kernel.cluster import record
from flame_kernel.errors import ConfigurationError, SessionError


def test_a_cluster_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    environ = {"FLAME_HOME": str(tmp_path)}
    record.write("night", "gpu1:9999", environ)
    assert record.read("night", environ) == "gpu1:9999"
    assert (tmp_path / "state" / "clusters").stat().st_mode & 0o777 == 0o700
    record.remove("night", environ)
    record.remove("night", environ)
    with pytest.raises(SessionError, match="this client began no cluster named 'night'; there are: none"):
        record.read("night", environ)


def test_others_are_named_when_one_is_not_there(tmp_path: Path) -> None:
    environ = {"FLAME_HOME": str(tmp_path)}
    record.write("b.2", "gpu1", environ)
    record.write("a", "gpu1", environ)
    with pytest.raises(SessionError, match=r"there are: a, b\.2"):
        record.read("c", environ)


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 61, "a b"])
def test_what_can_not_be_a_file_and_a_session_is_no_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name for a cluster"):
        record.require_name(name)
