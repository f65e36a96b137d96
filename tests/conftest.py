"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# How long an example takes says what else the machine does; a test that hangs is ended by its own means.
settings.register_profile("flame", deadline=None)
settings.load_profile("flame")
