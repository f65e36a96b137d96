"""``%flame_cluster``: a Dask cluster on Flame hosts, for a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel.errors import ConfigurationError
from flame_magics.base import FlameMagic, Loaded
from flame_magics.usage import parse, say, short_errors, shorten

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from flame_kernel.cluster import FlameCluster


@magics_class
class ClusterMagics(FlameMagic):
    """Registers the magic, and knows the notebook's latest cluster."""

    def __init__(self, shell: InteractiveShell, extension: Loaded) -> None:
        super().__init__(shell, extension)
        self._cluster: FlameCluster | None = None

    @magic_arguments()
    @argument(
        "hosts",
        metavar="HOST",
        nargs="*",
        help="the hosts, as for %%flame_connect; none to come back to the cluster of a name",
    )
    @argument("-w", "--workers", type=int, default=1, help="how many workers to begin with on each host")
    @argument("-n", "--name", help="the cluster's name; one with a name stays when the notebook ends")
    @argument("-k", "--kernel", help="the kernelspec or environment that scheduler and workers run in")
    @argument("-l", "--lease", default="1 hour", help="how long it stays when nobody is there, such as 8h")
    @argument("-c", "--close", action="store_true", help="end the notebook's cluster, or the one of that name")
    @line_magic
    def flame_cluster(self, line: str) -> Any:
        """Begin a Dask cluster on these hosts, and return its Client, on which Dask computes from now on.

        Its twin is ``flame_kernel.cluster.FlameCluster``.

        Example::

            client = %flame_cluster gpu1 gpu2 -w 2
            client.submit(sum, range(10)).result()
            %flame_cluster --close
        """
        arguments = parse(self.flame_cluster, line)
        if not arguments.hosts and not arguments.name and not arguments.close:
            raise UsageError("which hosts? %flame_cluster gpu1 gpu2, or -n NAME to come back to a cluster")
        try:
            from flame_kernel.cluster import FlameCluster
        except ImportError as error:  # Dask is an extra
            raise shorten(error) from None
        with short_errors():
            if arguments.close:
                self._close(FlameCluster.from_name(arguments.name) if arguments.name else self._cluster)
                return None
            if arguments.hosts:
                self._cluster = FlameCluster(
                    arguments.hosts,
                    workers_per_host=arguments.workers,
                    name=arguments.name,
                    kernel=arguments.kernel,
                    lease=arguments.lease,
                )
            else:
                self._cluster = FlameCluster.from_name(arguments.name)
        cluster = self._cluster
        say(f"cluster {cluster.name}: {len(cluster.workers)} workers, dashboard {cluster.dashboard_link}")
        return cluster.get_client()

    def _close(self, cluster: FlameCluster | None) -> None:
        if cluster is None:
            raise ConfigurationError("this notebook has no cluster; -n NAME --close ends one by its name")
        cluster.close()
        if self._cluster is not None and self._cluster.name == cluster.name:
            self._cluster.close()
            self._cluster = None
        say(f"cluster {cluster.name} has ended")
