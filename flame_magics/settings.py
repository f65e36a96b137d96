"""What can be configured, in ``ipython_config.py`` or with ``%config FlameMagics``."""

from __future__ import annotations

from traitlets import Bool, Int
from traitlets.config import Configurable


class FlameMagics(Configurable):
    """The settings of the magics.

    Example:
        >>> settings = FlameMagics(embedded=True)
        >>> settings.embedded
        True
    """

    embedded = Bool(
        False, help="Whether a %%flame cell without a connection uses a server on this machine, started for it."
    ).tag(config=True)

    pull_limit = Int(
        256 * 1024 * 1024,
        help="Values of more bytes than this stay over there when a variable is pulled; the notebook gets a handle.",
    ).tag(config=True)
