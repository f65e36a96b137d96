"""A Dask cluster over two servers, as a user works with it. The tests share it, and the last ones break it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import dask.array
import dask.config
import dask.dataframe
import pandas
import psutil
import pytest
from distributed import Client, Security
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface

from flame_kernel import Host
from flame_kernel.cluster import FlameCluster
from flame_kernel.errors import SessionError
from flame_kernel.security.folders import private
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, processes_of, run_script, short_folder, until
from tests.integration.work import in_thread
from tests.ports import free_port

# Each session and worker is a process that imports Dask, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)

HERE = {"host": "127.0.0.1"}
LIMITS = "[limits]\nwarm = 0\nsilence_s = 3.0\n"

# How long a worker or a cluster may take to be there, in seconds: a process that imports a lot, on a busy machine.
START_S = 60.0

COME_BACK = """
import sys
from flame_kernel.cluster import FlameCluster
cluster = FlameCluster.from_name(sys.argv[1])
with cluster.get_client() as client:
    same = sorted(cluster.worker_spec) == sorted(cluster.workers)
    print(client.get_dataset("squares").result(), len(cluster.workers), same)
"""

# Forgets to close its cluster.
FORGETFUL = """
import sys
from flame_kernel.cluster import FlameCluster
here = {"host": "127.0.0.1"}
cluster = FlameCluster(sys.argv[1], scheduler_options=here, worker_options=here)
print(cluster.get_client().submit(lambda: 8).result())
"""

# Begins a cluster, and is killed.
KILLED = """
import os, sys, warnings
from flame_kernel.cluster import FlameCluster
here = {"host": "127.0.0.1"}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    cluster = FlameCluster(sys.argv[1], name="left", lease=2, kernel="odd", scheduler_options=here, worker_options=here)
client = cluster.get_client()
print(client.submit(os.getpid).result())
print(*{str(warning.message) for warning in caught}, sep="\\n", flush=True)
os.kill(os.getpid(), 9)
"""


# A notebook's cells, as IPython runs them.
NOTEBOOK = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
def run(code):
    shell.run_cell(code).raise_error()
run("%load_ext flame_magics")
run(f"client = %flame_cluster {sys.argv[1]} {sys.argv[2]} -n notebook")
run("import dask; print('sum', dask.delayed(sum)([1, 2, 3]).compute(), len(client.scheduler_info()['workers']))")
run("again = %flame_cluster -n notebook")
run("print('again', again.submit(lambda: 7).result())")
run("%flame_cluster --close")
shell.run_cell("%flame_cluster --close")
"""


def kernelspec(folder: Path, name: str, path: Path) -> None:
    """Make a kernelspec whose kernels import from a folder first."""
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": name,
        "language": "python",
        "env": {"PYTHONPATH": str(path)},
    }
    there = folder / "kernels" / name
    there.mkdir(parents=True)
    (there / "kernel.json").write_text(json.dumps(spec))


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels that are unlike this process: "odd" has another cloudpickle, "bare" has no Dask."""
    root = tmp_path_factory.mktemp("jupyter")
    odd = root / "odd" / "cloudpickle-0.1.dist-info"
    odd.mkdir(parents=True)
    (odd / "METADATA").write_text("Metadata-Version: 2.1\nName: cloudpickle\nVersion: 0.1\n")
    kernelspec(root, "odd", odd.parent)
    (root / "bare").mkdir()
    (root / "bare" / "dask.py").write_text("raise ModuleNotFoundError(\"No module named 'dask'\", name='dask')\n")
    kernelspec(root, "bare", root / "bare")
    return root


@pytest.fixture(scope="module")
def servers(environments: Path, module_environ: pytest.MonkeyPatch) -> Iterator[list[FlameServer]]:
    """Two hosts with homes of their own; this process is paired with both."""
    with ExitStack() as stack:
        found = []
        for _ in range(2):
            folder = stack.enter_context(short_folder())
            (private(private(folder / "s") / "config") / "server.toml").write_text(LIMITS)
            server = FlameServer(folder, "-p", str(free_port()), JUPYTER_PATH=str(environments))
            found.append(stack.enter_context(server))
        module_environ.setenv("FLAME_HOME", str(found[0].client_home))
        for server in found:
            Host(server.invite).close()
        yield found


@pytest.fixture(scope="module")
def targets(servers: list[FlameServer]) -> list[str]:
    return [server.address for server in servers]


@pytest.fixture(scope="module")
def cluster(targets: list[str]) -> Iterator[FlameCluster]:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "2s"}),
        FlameCluster(targets, threads_per_worker=1, scheduler_options=HERE, worker_options=HERE) as cluster,
    ):
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: FlameCluster) -> Iterator[Client]:
    with cluster.get_client() as client:
        yield client


def square_at_home(n: int) -> tuple[int, str]:
    return n * n, os.environ["FLAME_HOME"]


def workers_by_host(cluster: FlameCluster) -> list[int]:
    names = [worker["name"] for worker in cluster.scheduler_info["workers"].values()]
    return [sum(name.startswith(f"{host}-") for name in names) for host in cluster.hosts]


def test_map_runs_on_both_hosts(client: Client, servers: list[FlameServer]) -> None:
    found = client.gather(client.map(square_at_home, range(20)))
    assert [square for square, _ in found] == [n * n for n in range(20)]
    assert {where for _, where in found} == {str(server.home) for server in servers}


def test_an_array_and_a_data_frame_are_computed(client: Client) -> None:
    array = dask.array.arange(100_000, chunks=10_000)
    assert client.compute((array * 2).sum()).result() == 9_999_900_000

    table = pandas.DataFrame({"k": list("abab") * 50, "v": range(200)})
    sums = dask.dataframe.from_pandas(table, npartitions=4).groupby("k").v.sum()
    assert client.compute(sums).result().to_dict() == table.groupby("k").v.sum().to_dict()


def test_the_dashboard_is_found_here_and_only_on_loopback_there(
    cluster: FlameCluster, client: Client, servers: list[FlameServer]
) -> None:
    assert client.dashboard_link == cluster.dashboard_link
    with urlopen(cluster.dashboard_link.replace("/status", "/health"), timeout=20) as answer:
        assert answer.read() == b"ok"
    with urlopen(cluster.dashboard_link, timeout=20) as answer:
        assert b"Dask" in answer.read()
    ports = {
        connection.laddr
        for server in servers
        for process in processes_of(server.home)
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }
    assert {address.ip.removeprefix("::ffff:") for address in ports} == {"127.0.0.1"}


def test_nobody_gets_in_without_the_certificate_of_this_cluster(cluster: FlameCluster) -> None:
    address = cluster.scheduler.address
    assert address.startswith("tls://")
    with pytest.raises(OSError, match=r"reset|closed|Timed out|certificate"):
        Client(address.replace("tls", "tcp"), timeout=1)
    with pytest.raises(OSError, match=r"reset|closed|Timed out|certificate"):
        Client(address, security=Security.temporary(), timeout=1)


def test_the_key_is_in_no_command_no_environment_and_no_file(cluster: FlameCluster, servers: list[FlameServer]) -> None:
    secret = cluster.security.tls_worker_key.splitlines()[10]
    for server in servers:
        processes = processes_of(server.home)
        assert len(processes) >= 3  # server, session, worker
        for process in processes:
            assert secret not in " ".join([*process.cmdline(), *process.environ().values()])
    for folder in (*(server.home for server in servers), servers[0].client_home):
        for path in folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_it_scales_over_the_hosts_and_keeps_what_workers_hold(cluster: FlameCluster, client: Client) -> None:
    cluster.scale(4)
    client.wait_for_workers(4, timeout=START_S)
    until(lambda: workers_by_host(cluster) == [2, 2])
    drawn = client.map(lambda n: os.urandom(8), range(12), pure=False)
    before = client.gather(drawn)
    cluster.scale(2)
    until(lambda: workers_by_host(cluster) == [1, 1], START_S)
    assert client.gather(drawn) == before  # moved, not computed again


def test_it_adapts_to_the_work(cluster: FlameCluster, client: Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def wait(n: int) -> int:
        from threading import Event

        while not gate.exists():
            Event().wait(0.01)
        return n

    client.gather(client.map(lambda n: n, range(2), pure=False))
    adaptive = cluster.adapt(minimum=2, maximum=3, interval="100ms", wait_count=2, target_duration="10ms")
    try:
        work = client.map(wait, range(8))
        client.wait_for_workers(3, timeout=START_S)
        gate.touch()
        assert sorted(client.gather(work)) == list(range(8))
        del work
        until(lambda: len(cluster.plan) == len(cluster.requested) == len(cluster.observed) == 2, START_S)
    finally:
        adaptive.stop()
    cluster.scale(3)  # the third goes to the host that has fewest, whichever was left with how many
    client.wait_for_workers(3, timeout=START_S)
    assert min(workers_by_host(cluster)) == 1


def test_another_process_comes_back_to_it_by_name(
    cluster: FlameCluster, client: Client, servers: list[FlameServer]
) -> None:
    client.publish_dataset(squares=client.submit(sum, [1, 4, 9]))
    done = run_script(COME_BACK, servers[0].client_environ(), cluster.name, timeout=START_S)
    assert done.stdout.split() == ["14", "3", "True"], done.stderr
    assert client.submit(lambda: 1).result() == 1  # that process has ended, and the cluster goes on


def test_a_client_computes_on_over_cuts(
    cluster: FlameCluster, client: Client, servers: list[FlameServer], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    def wait() -> int:
        from threading import Event

        while not gate.exists():
            Event().wait(0.01)
        return 42

    with Relay(servers[0].port) as relay:
        Host(servers[0].fresh_invite(relay.port)).close()
        again = FlameCluster.from_name(cluster.name, scheduler=relay.address)
        with Client(again, set_as_default=False) as other:
            waiting = other.submit(wait)
            relay.cut()
            gate.touch()
            assert waiting.result(timeout=START_S) == 42
            relay.cut()
            assert other.submit(lambda: 43).result(timeout=START_S) == 43
        again.detach()


async def test_it_is_used_from_asyncio(cluster: FlameCluster) -> None:
    again = await FlameCluster.from_name(cluster.name, asynchronous=True)
    async with Client(again, asynchronous=True, set_as_default=False) as client:
        assert await client.submit(lambda: 7) == 7
    await again.detach()


def test_a_name_is_given_once(cluster: FlameCluster, client: Client, targets: list[str]) -> None:
    with pytest.raises(SessionError, match="from_name comes back to it"):
        FlameCluster(targets, name=cluster.name)
    assert client.submit(lambda: 2).result() == 2


def test_what_a_host_lacks_is_told_in_a_line(targets: list[str]) -> None:
    with pytest.raises(SessionError, match=r"has no dask in the environment of kernel 'bare'; pip install") as caught:
        FlameCluster(targets[0], kernel="bare")
    assert str(caught.value).startswith("127.0.0.1 has")
    assert "\n" not in str(caught.value)
    with Host(targets[0]) as host:
        until(lambda: not [session for session in host.sessions() if session.kernel == "bare"])


def test_names_that_lead_nowhere_are_told_in_a_line(targets: list[str]) -> None:
    with pytest.raises(SessionError, match="this client began no cluster named 'nope'"):
        FlameCluster.from_name("nope")
    with pytest.raises(SessionError, match="cluster 'nope' has ended"):
        FlameCluster.from_name("nope", scheduler=targets[0])


def test_a_magic_begins_a_cluster_comes_back_to_it_and_ends_it(servers: list[FlameServer], targets: list[str]) -> None:
    done = run_script(NOTEBOOK, servers[0].client_environ(), *targets, timeout=2 * START_S)
    assert "sum 6 2\n" in done.stdout, done.stderr
    assert "again 7\n" in done.stdout
    assert "[flame] cluster notebook has ended" in done.stdout
    assert "ConfigurationError: this notebook has no cluster" in done.stdout
    for target in targets:
        with Host(target) as host:
            assert not [session for session in host.sessions() if "notebook" in session.name]


def test_one_that_was_given_no_name_ends_with_its_process(servers: list[FlameServer], targets: list[str]) -> None:
    with Host(targets[0]) as host:
        before = {session.name for session in host.sessions()}
        done = run_script(FORGETFUL, servers[0].client_environ(), targets[0], timeout=3 * START_S)
        assert done.stdout.split() == ["8"], done.stderr
        assert "Traceback" not in done.stderr
        assert {session.name for session in host.sessions()} == before


def test_a_cluster_whose_client_was_killed_ends_with_its_lease(servers: list[FlameServer]) -> None:
    done = run_script(KILLED, servers[0].client_environ(), servers[0].address, timeout=2 * START_S)
    pid, *warned = done.stdout.splitlines()
    assert len(warned) == 1, done.stderr
    assert "127.0.0.1 has other versions than this process: cloudpickle 0.1 there, " in warned[0]
    with Host(servers[0].address) as host:
        assert sum("left" in session.name for session in host.sessions()) == 2
        until(lambda: not any("left" in session.name for session in host.sessions()), START_S)
    until(lambda: not psutil.pid_exists(int(pid)))
    with pytest.raises(SessionError, match="cluster 'left' has ended: it was closed, or its lease has run out"):
        FlameCluster.from_name("left")


def test_a_host_whose_session_dies_gets_a_new_one(
    cluster: FlameCluster, client: Client, servers: list[FlameServer]
) -> None:
    before = workers_by_host(cluster)
    (kernel,) = servers[1].kernels()
    kernel.kill()
    until(lambda: workers_by_host(cluster)[1] == 0)
    until(lambda: workers_by_host(cluster) == before, START_S)
    assert any("it's started again" in line for line in logs(cluster))
    assert set(client.run(lambda: os.environ["FLAME_HOME"]).values()) == {str(server.home) for server in servers}


def logs(cluster: FlameCluster) -> list[str]:
    return cluster.get_logs(scheduler=False, workers=False)["Cluster"].splitlines()


@pytest.fixture(scope="module")
def remembered() -> list[object]:
    """Worker processes of a cluster that somebody remembers, as a traceback may: closing it looks at all of them."""
    return []


def test_a_host_that_is_killed_in_mid_computation_costs_no_result(
    cluster: FlameCluster, client: Client, servers: list[FlameServer], tmp_path: Path, remembered: list[object]
) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    begun.mkdir()

    def slow(n: int) -> int:
        from threading import Event

        (begun / os.environ["FLAME_HOME"].replace("/", "_")).touch()
        while n > 10 and not gate.exists():
            Event().wait(0.01)
        return n * n

    squares = client.map(slow, range(40))
    total = client.submit(sum, squares)
    until(lambda: len(list(begun.iterdir())) == 2, START_S)
    lost, (here, there) = servers[1].address, workers_by_host(cluster)
    remembered.extend(cluster.workers.values())
    doomed = processes_of(servers[1].home)
    servers[1].kill()
    for process in doomed:
        if psutil.pid_exists(process.pid):
            process.send_signal(signal.SIGKILL)
    gate.touch()
    assert total.result(timeout=START_S) == sum(n * n for n in range(40))

    until(lambda: cluster.hosts[lost] != "", START_S)
    until(lambda: workers_by_host(cluster) == [here + there, 0], START_S)
    (line,) = [line for line in logs(cluster) if "is lost" in line]
    assert line.startswith(f"{lost} is lost: ")
    assert line.endswith(f"its {there} workers are started on {servers[0].address} instead")


def test_nothing_is_left_of_a_cluster_that_was_closed(
    cluster: FlameCluster, client: Client, servers: list[FlameServer]
) -> None:
    servers[1].start()  # it's back, and finds a session whose process is gone
    in_thread(client.close).result(START_S)
    cluster.close()
    for server in servers:
        with Host(server.address) as host:
            assert list(host.sessions()) == []
        until(lambda server=server: len(processes_of(server.home)) == 1)  # itself
    assert not list((servers[0].client_home / "state" / "clusters").iterdir())


# A scheduler that dies in the middle of a TLS handshake of Dask's: tornado leaves that socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_a_cluster_without_its_scheduler_says_so_and_can_be_closed(
    servers: list[FlameServer], targets: list[str]
) -> None:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "2s"}),
        FlameCluster(targets[0], scheduler_options=HERE, worker_options=HERE) as cluster,
    ):
        with Host(targets[0]) as host:
            (pid,) = [session.pid for session in host.sessions() if session.name.endswith("-scheduler")]
        psutil.Process(pid).kill()
        until(lambda: any("the scheduler on 127.0.0.1 is lost" in line for line in logs(cluster)), START_S)
    with Host(targets[0]) as host:
        assert list(host.sessions()) == []
    until(lambda: len(processes_of(servers[0].home)) == 1)


def test_a_cluster_in_which_dask_finds_fault_is_closed_all_the_same(
    servers: list[FlameServer], targets: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FlameCluster(targets[0], scheduler_options=HERE, worker_options=HERE)
    with ExitStack() as stack:
        stack.callback(cluster.close)  # closing it again is nothing, and waits for nothing
        stray = ProcessInterface()
        stray.status = Status.running
        cluster._created.add(stray)  # SpecCluster asserts that all it has created have ended
        cluster.close()
    assert "Dask could not close it: AssertionError" in capsys.readouterr().out
    with Host(targets[0]) as host:
        assert list(host.sessions()) == []
    until(lambda: len(processes_of(servers[0].home)) == 1)
