"""``python -m flame_kernel.kernel -f CONNECTION_FILE``: what the kernelspec starts."""

from __future__ import annotations

from flame_kernel.kernel import lean

with lean.imports():
    from flame_kernel.kernel.main import main

if __name__ == "__main__":
    main()
