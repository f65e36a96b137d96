"""The ``%flame`` magics: remote machines at hand in an ordinary local notebook.

``%load_ext flame_magics`` loads them; ``c.InteractiveShellApp.extensions = ["flame_magics"]`` in ``ipython_config.py``
loads them in every notebook. Each is a thin layer over ``flame_kernel``'s public API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics; what ``%load_ext flame_magics`` calls.

    Args:
        shell: The running IPython.
    """
    from flame_magics.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Close all connections and take the magics away; what ``%unload_ext flame_magics`` calls.

    Args:
        shell: The running IPython.
    """
    from flame_magics.extension import unload

    unload(shell)
