"""A secret that two programs share as a line of text, in a file that only its owner may read."""

from __future__ import annotations

import secrets
from pathlib import Path

from flame_kernel.errors import KeyFileError
from flame_kernel.security import text_files

_BYTES = 32


def load_or_create(path: Path) -> str:
    """Return the secret in a file, which is made if it isn't there.

    Args:
        path: The file; its folder exists.

    Returns:
        The secret: letters, digits, ``-`` and ``_``, unless somebody wrote another one into the file.

    Raises:
        KeyFileError: The file is open to others, empty, or can't be read or made.

    Example:
        ``load_or_create(folders.config / "pyro4.key")``
    """
    with text_files.locked(path):
        found = text_files.read(path)
        if found is None:
            secret = secrets.token_urlsafe(_BYTES)
            text_files.write(path, secret + "\n")
            return secret
    secret = found.text.strip()
    if not secret:
        raise KeyFileError(f"{path} holds no key: remove it to have a new one made")
    return secret
