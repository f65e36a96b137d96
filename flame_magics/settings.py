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
        100 * 2**20, min=0, help="Up to which size, in bytes, a variable is pulled; a larger one comes as a handle."
    ).tag(config=True)
