"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or to make one, says what else the machine does. What hangs is ended by its own means.
settings.register_profile("flame", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flame")


@pytest.fixture(scope="session", autouse=True)
def own_ipython(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep IPython's profile and its database of history out of the user's home, and apart from other workers'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.delenv("VIRTUAL_ENV", raising=False)  # an IPython in another environment than that warns of it
        yield
