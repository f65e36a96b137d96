"""What has to be the same on all nodes, and the line that says where it isn't."""

from __future__ import annotations

from collections.abc import Mapping


def differences(host: str, theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Return one line on what differs between a host and this process; empty when nothing does.

    Args:
        host: What to call the host.
        theirs: Its versions, by package.
        ours: Those of this process.

    Example:
        >>> differences("gpu1", {"Python": "3.11", "dask": "2026.8.0"}, {"Python": "3.11", "dask": "2025.1.0"})
        'gpu1 has other versions than this process: dask 2026.8.0 there, 2025.1.0 here'
    """
    unlike = [
        f"{package} {theirs.get(package, 'none')} there, {version} here"
        for package, version in ours.items()
        if theirs.get(package) != version
    ]
    return f"{host} has other versions than this process: {'; '.join(unlike)}" if unlike else ""
