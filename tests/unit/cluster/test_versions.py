from __future__ import annotations

from flame_kernel.cluster.node import versions
from flame_kernel.cluster.versions import differences


def test_nothing_is_said_of_what_is_the_same() -> None:
    assert differences("gpu1", versions(), versions()) == ""
    assert set(versions()) == {"Python", "dask", "distributed", "cloudpickle"}


def test_one_line_names_host_packages_and_both_versions() -> None:
    ours = {"Python": "3.11", "dask": "2026.8.0", "cloudpickle": "3.1.2"}
    theirs = {"Python": "3.12", "dask": "2026.8.0"}
    assert differences("gpu1", theirs, ours) == (
        "gpu1 has other versions than this process: Python 3.12 there, 3.11 here; cloudpickle none there, 3.1.2 here"
    )
