"""What is carried between this machine and the session's: files, folders, and the source of modules."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from flame_kernel.buffers import Buffer
from flame_kernel.client import module_source
from flame_kernel.client.calling import Calling
from flame_kernel.client.connection import Connection
from flame_kernel.client.files import files
from flame_kernel.client.files.copying import CopyResult
from flame_kernel.client.local_modules import LocalModules


class Carrying(Calling):
    """The part of :class:`~flame_kernel.Flame` that carries files and modules.

    Args:
        connection: The connection to the session.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._modules = LocalModules(connection)

    def put(
        self,
        local: files.Path | Sequence[files.Path],
        remote: str = "./",
        *,
        links: str = "keep",
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> CopyResult:
        """Copy files and folders to the session's host.

        A file appears whole or not at all. A copy that was cut short is continued when it's made again; what is there
        already and the same is not sent. Permissions and times of change are kept.

        Args:
            local: What: a path or several, with ``~`` and wildcards.
            remote: Where to: with a ``/`` at its end, or for several things, the folder that they go into; else the
                file's new name, or the folder that gets a folder's content.
            links: Symbolic links in folders: ``keep`` copies them as links and refuses those that lead out of the
                folder, ``follow`` copies what they point to, ``skip`` leaves them out.
            progress: Whether a bar shows how it goes on; ``None`` for: where somebody looks, if it takes a while.
            timeout: How long it may take, in seconds; ``None`` for as long as it takes.

        Returns:
            What was copied.

        Raises:
            OSError: A file system refuses: not found, no permission, no space, is a directory; of the class that fits.
            TransferError: A file changed meanwhile, or would come to stand outside of the destination.
            FlameTimeout: It took too long; made again, it goes on.

        Example:
            >>> flame.put("data/*.csv", "~/incoming/")
            CopyResult(files=12, bytes=73400320, found=0, skipped=())
        """
        return files.put(self._connection, local, remote, links, progress, timeout)

    def get(
        self,
        remote: files.Path | Sequence[files.Path],
        local: files.Path = "./",
        *,
        links: str = "keep",
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> CopyResult:
        """Copy files and folders from the session's host; the twin of :meth:`put`, with the same rules.

        Nothing is written outside of the destination, whatever the host answers.

        Example:
            >>> flame.get("results/", "here/")
            CopyResult(files=3, bytes=1024, found=0, skipped=())
        """
        return files.get(self._connection, remote, local, links, progress, timeout)

    def sendfile(self, name: str, data: Buffer, *, timeout: float | None = None) -> None:
        """Write a file over there, whole or not at all.

        Args:
            name: Its path.
            data: Its content.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            OSError: The file system refuses; of the class that fits.

        Example:
            >>> flame.sendfile("r.bin", b"...")
        """
        files.send(self._connection, name, data, timeout)

    def getfile(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return the content of a file over there; the twin of :meth:`sendfile`.

        Example:
            >>> flame.getfile("r.bin")
            b'...'
        """
        return files.fetch(self._connection, name, timeout)

    def sendmodule(
        self,
        module: files.Path | ModuleType,
        source: str | None = None,
        *,
        follow: bool = False,
        timeout: float | None = None,
    ) -> str:
        """Send a module, so that code over there can import it.

        One of that name is replaced, and nothing of the old one is left; if the new one fails, it's as it was before.

        Args:
            module: A name for ``source``, which may be dotted; or a module or package of this machine, or its name, or
                the path of its file or folder. Of a package all modules are sent, as source: no data files, and nothing
                that is compiled.
            source: Python source.
            follow: Whether :meth:`resend` looks after it from now on.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Returns:
            The module's name.

        Raises:
            TransferError: It can't be sent as source, or stands for what can't be replaced.
            SyntaxError: It isn't Python.
            Exception: Whatever the module raises when it's imported.

        Example:
            >>> flame.sendmodule("tools.text", "def shout(text): return text.upper()")
            'tools.text'
            >>> flame.module("tools.text").shout("hello")
            'HELLO'
        """
        return self._modules.send(module, source, follow, timeout)

    def resend(self, *, timeout: float | None = None) -> list[str]:
        """Send the modules again that were sent with ``follow`` and have changed on disk since.

        Args:
            timeout: How long to wait for each, in seconds; ``None`` for as long as it takes.

        Returns:
            Their names.

        Raises:
            Exception: As for :meth:`sendmodule`; over there it's as it was before.
        """
        return self._modules.resend(timeout)

    def getmodule(self, name: str, *, timeout: float | None = None) -> str:
        """Return the source of a module over there, by its dotted name.

        Raises:
            ModuleNotFoundError: There's none of that name.
            TransferError: It has no source in Python, such as a C module.
        """
        return module_source.fetch(self._connection, name, timeout)
