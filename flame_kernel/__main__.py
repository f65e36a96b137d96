"""``python -m flame_kernel`` is the ``flame`` command."""

from __future__ import annotations

from flame_kernel.cli import main

if __name__ == "__main__":
    main()
