"""`fasttree up`: a whole cluster on this machine, under one process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path

import click

from fasttree.client import Endpoints
from fasttree.client.endpoints import EndpointsJson
from fasttree.command.local.certificates import certificates_of, cluster_name
from fasttree.command.local.cluster_folder import NODES_MAX, ClusterFolder, node_names
from fasttree.command.local.console_place import CONSOLE_PORT, console_place
from fasttree.command.local.datatrax_place import INSTANT_PORT, VIP_PORT, DataTraxPlace, place_of
from fasttree.command.local.free_ports import is_address, is_free
from fasttree.command.local.import_sample import import_sample, try_next
from fasttree.command.local.parts import CONSOLE, DATATRAX, VIP, ClusterPlan
from fasttree.command.local.starting.counts import Counts, counts_of, counts_options, keep_counts
from fasttree.command.local.starting.pushes import refused_because
from fasttree.command.local.starting.waiting import wait_until_ready
from fasttree.command.local.supervisor import Supervisor
from fasttree.command.machines.asking import MachineFiles
from fasttree.command.machines.keeping import MachineKeeper
from fasttree.command.machines.plan import machines_of, machines_options
from fasttree.command.machines.server import check_server
from fasttree.command.processes import die_with_parent, inherited_environment, process_environment, python_command
from fasttree.command.ranges import SecondsRange, WholeRange
from fasttree.command.session import CommandError, Session, json_option, run
from fasttree.command.shapes import prints
from fasttree.command.tokens.cluster_tokens import token_settings

_NODES_AT_FIRST = 2
VIP_THREADS_MAX = 64
#: How often the file that names the nodes is looked at.
_NODES_POLL_S = 0.5
#: How often certificates are looked at: whether one is due.
_RENEW_S = 600.0


@click.command()
@prints(EndpointsJson)
@click.option("--nodes", type=WholeRange(1, NODES_MAX), help="Tree nodes; as many as at the last start, 2 at first.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".fasttree"),
    show_default=True,
    help="Settings and state; a cluster started here again goes on where it was.",
)
@counts_options
@machines_options
@click.option("--vip-port", type=WholeRange(1, 65535), help=f"Reports; {VIP_PORT} where CBLDATATRAX says nothing else.")
@click.option(
    "--vip-threads",
    type=WholeRange(1, VIP_THREADS_MAX),
    default=1,
    show_default=True,
    help="Threads of the VIP, where this machine has processors to spare for it.",
)
@click.option("--console-port", type=WholeRange(1, 65535), help=f"Pages for a browser; {CONSOLE_PORT}, or a free one.")
@click.option("--no-console", is_flag=True, help="Without those pages.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that everything listens on.")
@click.option("--sample", is_flag=True, help="At the first start, import a sample tree of 800 members.")
@click.option(
    "--datatrax",
    "datatrax_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder as /datatrax/fasttree was in 2016: spool, host file, nodes' progress; with the local instant port.",
)
@click.option(
    "--datatrax-port",
    type=WholeRange(1, 65535),
    help=f"With --datatrax: the local instant port; {INSTANT_PORT} where CBLDATATRAX says nothing else.",
)
@click.option(
    "--cbldatatrax",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --datatrax: DataTrax's configuration; CBLDATATRAX in that folder where not given and there.",
)
@click.option("--environment", default="", help="Whose cluster of it is started, such as live.")
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False), help="A folder that stands for / in its paths."
)
@click.option(
    "--tls/--no-tls",
    "by_tls",
    default=None,
    help="By certificates of its own in DIR/certs, for each part and each role; where not given, if there are some.",
)
@click.option(
    "--tokens",
    is_flag=True,
    help="People and pages may call with tokens of an issuer of its own in DIR/tokens: `fasttree token issue`.",
)
@click.option("--no-restart", is_flag=True, help="A process that dies is not started again.")
@click.option("--set", "assignments", multiple=True, metavar="SECTION.FIELD=VALUE", help="A setting for all processes.")
@click.option(
    "--start-timeout",
    type=SecondsRange(1.0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Until all is ready.",
)
@json_option
def up(
    session: Session,
    nodes: int | None,
    folder: Path,
    coordinators: int | None,
    pushers: int | None,
    machine_count: int | None,
    postgresql: str,
    postgresql_password_file: str,
    vip_port: int | None,
    vip_threads: int,
    console_port: int | None,
    no_console: bool,
    host: str,
    sample: bool,
    datatrax_folder: Path | None,
    datatrax_port: int | None,
    cbldatatrax: Path | None,
    environment: str,
    root: Path | None,
    by_tls: bool | None,
    tokens: bool,
    no_restart: bool,
    assignments: tuple[str, ...],
    start_timeout: float,
) -> None:
    """Starts a whole cluster here: coordinator, pusher, tree nodes and the VIP. Ends with Ctrl-C.

    DIR/endpoints.json says where everything is, once all is ready. Where all is and pushes are refused all the same,
    the last line says why.
    """
    os.umask(0o077)  # what stands in the folder is for its owner alone, as what the services write
    home = ClusterFolder(folder)
    datatrax = place_of(datatrax_folder, datatrax_port, cbldatatrax, environment, root)
    machines = machines_of(machine_count, postgresql, postgresql_password_file, home.state("imports"))
    if machines is not None and (nodes or coordinators or pushers or by_tls or home.certs.exists()):
        raise click.UsageError("--machines says how many of everything there are, without TLS: leave the others out")
    if machines is not None:
        check_server(machines)
    if vip_port is None:
        vip_port = datatrax.configured.vip_port if datatrax and datatrax.configured else VIP_PORT
    home.check_settings(assignments, tokens=tokens)
    counts = counts_of(home, coordinators, pushers, assignments) if machines is None else Counts.of(machines)
    if not folder.exists():  # what can't start leaves nothing behind
        _check_free(host, vip_port)
        _check_datatrax(host, datatrax)
    home.take()
    _check_free(host, vip_port)
    _check_datatrax(host, datatrax)
    nodes = machines.count if machines else nodes
    names = node_names(nodes) if nodes else home.read_nodes() or node_names(_NODES_AT_FIRST)
    home.write_nodes(names)
    if machines is None:
        keep_counts(home, counts)
    configured = datatrax.configured if datatrax else None
    name = cluster_name(home, configured.name if configured else "", assignments)
    if tokens or home.tokens.exists():
        assignments = (*token_settings(home.tokens, name), *assignments)
    certificates = certificates_of(home, by_tls, host, name)
    by_tls = certificates is not None
    console = None if no_console else console_place(host, console_port, home.state(CONSOLE), by_tls=by_tls)
    plan = ClusterPlan(
        home, host=host, vip_port=vip_port, nodes=names, assignments=assignments, vip_threads=vip_threads,
        datatrax=datatrax, certificates=certificates, console=console, machines=machines,
        coordinators=counts.coordinators, pushers=counts.pushers,
    )  # fmt: skip
    cluster = LocalCluster(home, plan, restart=not no_restart, as_json=session.json, sample=sample)
    run(cluster.serve(start_timeout))


def _check_free(host: str, vip_port: int) -> None:
    if not is_address(host):
        raise CommandError(f"{host} is no address of this machine: give one of its own with --host")
    if not is_free(host, vip_port):
        with_make = (
            f' (with make: make demo DEMO_FLAGS="--vip-port {vip_port + 1}")' if "MAKELEVEL" in os.environ else ""
        )
        raise CommandError(f"port {vip_port} on {host} is in use; give another one with --vip-port{with_make}")


def _check_datatrax(host: str, datatrax: DataTraxPlace | None) -> None:
    if datatrax is not None and not is_free(host, datatrax.port):
        raise CommandError(f"port {datatrax.port} on {host} is in use; give another one with --datatrax-port")


class LocalCluster:
    """The processes of one cluster, and the file that says where they are."""

    def __init__(
        self,
        home: ClusterFolder,
        plan: ClusterPlan,
        *,
        restart: bool,
        as_json: bool = False,
        sample: bool = False,
    ) -> None:
        self._home = home
        self._plan = plan
        self._as_json = as_json
        self._sample = sample
        self._supervisor = Supervisor(self._pids_changed, self._say, restart=restart)
        self._ready = False
        self._machines = MachineFiles(home.path)
        self._keeper: MachineKeeper | None = None

    async def serve(self, start_timeout_s: float) -> None:
        """Starts everything and runs until SIGINT or SIGTERM. Raises CommandError where a part can't start."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        start = asyncio.create_task(self._run(start_timeout_s))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({start, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()
        finally:
            start.cancel()
            stopped.cancel()
            await asyncio.gather(start, stopped, return_exceptions=True)
            self._say("ending")
            self._home.forget_endpoints()
            # What gives work ends before what does it; the VIP stays until the last report is answered.
            self._machines.forget()
            if self._keeper is not None:
                self._keeper.thaw()
            plan = self._plan
            servers = [*plan.node_names, *plan.coordinator_names]
            await self._supervisor.stop([[DATATRAX, CONSOLE], plan.pusher_names, servers, [VIP]])

    async def _run(self, start_timeout_s: float) -> None:
        """Starts everything; then nodes come and go as the file in the folder says."""
        await self._start(start_timeout_s)
        if self._plan.machines is not None:
            self._keeper = MachineKeeper(self._machines, self._supervisor, self._plan, self._home.state, self._say)
            await self._keeper.run(self._plan.machines.names)
        told = ""
        renew_s = time.monotonic() + _RENEW_S
        while True:
            await asyncio.sleep(_NODES_POLL_S)
            try:
                if self._plan.certificates is not None and time.monotonic() > renew_s:
                    renew_s = time.monotonic() + _RENEW_S
                    await asyncio.to_thread(self._plan.certificates.renew)
                names = await asyncio.to_thread(self._home.read_nodes)
                if names and names != self._plan.node_names:
                    await self._change_nodes(names)
                told = ""
            except (CommandError, OSError) as error:
                if str(error) != told:
                    self._say(f"the nodes and their certificates stay as they are: {error}")
                told = str(error)

    async def _change_nodes(self, names: list[str]) -> None:
        """The VIP follows: it asks one that comes for nothing before that says that it is ready. One that goes is first
        unknown to the election and the VIP, then ended."""
        before = self._plan.node_names
        self._ready = False  # the file that says where all is changes once, when all is so
        try:
            self._plan.set_nodes(names)
            await asyncio.to_thread(self._plan.write_files)
            children = {child.name: child for child in self._plan.children()}
            for name in names:
                if name not in before:
                    await self._supervisor.start(children[name])
            for name in before:
                if name not in names:
                    await self._supervisor.end(name)
        finally:
            self._ready = True
        self._write_endpoints()
        self._say(f"nodes: {', '.join(names)}")

    async def _start(self, timeout_s: float) -> None:
        if said := await asyncio.to_thread(self._plan.write_files):
            self._say(said)
        await self._compile_kernels()
        _check_free(*self._plan.vip_place)  # that may have taken minutes
        if self._plan.console is not None:
            self._plan.console = self._plan.console.when_starting()
        try:
            for child in self._plan.children():
                await self._supervisor.start(child)
        except OSError as error:
            raise CommandError(
                f"can't start: {error.strerror or error}; install the package with its extra `demo` "
                "(pip install 'ha-fasttree[demo]')"
            ) from None
        await wait_until_ready(self._home, self._plan, self._supervisor, self._say, timeout_s)
        endpoints = self._endpoints()
        refused = await refused_because(endpoints)
        if self._sample and not refused:
            await import_sample(endpoints, self._home.path / "sample", self._say)
        self._supervisor.all_started()
        self._ready = True
        self._write_endpoints()
        if self._as_json:
            click.echo(json.dumps(endpoints.content()))
        else:
            if (datatrax := self._plan.datatrax) is not None:
                host = self._plan.vip_place[0]
                self._say(f"lines of updates at {host}:{datatrax.port}, files of updates into {datatrax.spool}")
                self._say(f"import files into {self._plan.upload}, status at http://{self._plan.pages}/status")
            if self._plan.console is not None:
                self._say(f"console: {await asyncio.to_thread(self._plan.console.page)}")
            if not refused:
                self._say(f"ready: reports at {endpoints.vip}, updates at {endpoints.pusher}; {self._home.endpoints}")
            if self._sample:
                self._say(try_next(self._home.endpoints))
        if refused:
            mend = f"settings are given by --set at the next start, or in {self._home.settings}"
            self._say(f"ready for reports alone, at {endpoints.vip}; {self._home.endpoints}; {refused}; {mend}")

    async def _compile_kernels(self) -> None:
        """Once for each version on this machine, and told as it goes; no process has to wait for it later."""
        process = await asyncio.create_subprocess_exec(
            *python_command("services.treenode.kernels.warm_up"),
            env=inherited_environment() | process_environment(),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent(),
        )
        assert process.stderr is not None
        line = ""
        try:
            async for text in process.stderr:
                line = text.decode(errors="replace").rstrip()
                self._say(line)
            code = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code:
            raise CommandError(f"the tree's kernels can't be compiled: {line}")

    def _endpoints(self) -> Endpoints:
        return self._plan.endpoints(self._supervisor.pid)

    def _pids_changed(self) -> None:
        if self._ready:
            self._write_endpoints()

    def _write_endpoints(self) -> None:
        self._endpoints().write(self._home.endpoints)

    def _say(self, text: str) -> None:
        click.echo(text, err=self._as_json)
