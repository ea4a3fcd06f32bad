"""What every command shares: where the cluster is, whether JSON is wanted, and how a coroutine is run."""

from __future__ import annotations

import asyncio
import difflib
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from fasttree.client import Client, Endpoints, Retries, TlsFiles, TokenFile
from fasttree.command.ranges import SecondsRange
from fasttree.command.terminal import on_one_line

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

#: Where to look when neither --endpoints nor FASTTREE_ENDPOINTS says: `fasttree up` and `make demo` started here.
DEFAULT_PLACES = (Path(".fasttree/endpoints.json"), Path(".demo/endpoints.json"))


#: Nothing is wrong, and what is asked for is not there yet: ask again.
EXIT_WAITS = 3
_VARIABLE = "FASTTREE_ENDPOINTS"
#: Of a cluster in Kubernetes, where --namespace does not say another one.
DEFAULT_NAMESPACE = "fasttree"
#: A name in the certificate of each part there: a way into Kubernetes leads by 127.0.0.1, which none of them names.
EVERY_PART = "fasttree-part"
#: What says where a cluster is, or how long it is waited for: nothing to what asks none.
ASKING_OPTIONS = ("--context", "--endpoints", "--namespace", "--timeout", "--tls-dir", "--token-file")


class CommandError(Exception):
    """Why a command can't do its job: one line with the way out."""


@dataclass
class Session:
    """One run of the command.

    An option may stand before or after the command's name (`fasttree --json status`, `fasttree status --json`).
    """

    endpoints_path: Path | None = None
    #: Of kubectl: where the cluster is, and in which namespace there; None: not in Kubernetes.
    context: str | None = None
    namespace: str | None = None
    #: The folder of the certificate to show; None: that of the environment, or of the endpoints, or none.
    tls_dir: Path | None = None
    #: The file of the token to send; None: that of the environment, or of the endpoints, or none.
    token_file: Path | None = None
    json: bool = False
    timeout_s: float = 30.0
    #: Those of the options that every command may have which were given.
    given: set[str] = field(default_factory=set)

    def refuse(self, *options: str, why: str) -> None:
        """For what would do nothing: nobody should think that it does. Raises UsageError."""
        if unread := [option for option in options if option in self.given]:
            raise click.UsageError(f"{why}: leave out {' and '.join(unread)}.")

    def endpoints(self) -> Endpoints:
        """Where the cluster is. Raises EndpointsError."""
        return Endpoints.read(self.endpoints_file())

    def endpoints_file(self) -> Path:
        """The file that says so. Raises CommandError where none is named, and none lies here."""
        if self.context is None and self.namespace is not None:
            raise CommandError("--namespace says where in a cluster of Kubernetes: name that by --context")
        if self.context is not None and self.endpoints_path is None:
            self.endpoints_path = self._forwarded(self.context, self.namespace or DEFAULT_NAMESPACE)
        named = self.endpoints_path or os.environ.get(_VARIABLE)
        if not named:
            _check_variables()
        return Path(named) if named else self._default_place()

    def homes(self) -> list[Path]:
        """Where the folder of a cluster of `fasttree up` may be: around the endpoints file, or here."""
        named = self.endpoints_path or os.environ.get(_VARIABLE)
        return [Path(named).parent] if named else [place.parent for place in DEFAULT_PLACES]

    def client(self, *, timeout_s: float | None = None) -> Client:
        """A client of that cluster, whose calls and streams all mean the same by a time-out."""
        patient_s = timeout_s or self.timeout_s
        endpoints = self.endpoints()
        retries = Retries(timeout_s=patient_s, patience_s=patient_s)
        return Client(endpoints, retries=retries, tls=self.tls(endpoints), token=self.token(endpoints))

    def tls(self, endpoints: Endpoints) -> TlsFiles | None:
        """The certificate to show; None: no TLS. Raises TlsFilesError."""
        server_name = endpoints.tls.server_name if endpoints.tls else ""
        if self.context is not None:
            server_name = EVERY_PART
        if self.tls_dir is not None:
            return TlsFiles.in_folder(self.tls_dir, server_name)
        return TlsFiles.of_environment(server_name) or endpoints.tls

    def token(self, endpoints: Endpoints) -> TokenFile | None:
        """The token to send; None: none."""
        if self.token_file is not None:
            return TokenFile(
                path=str(self.token_file), in_clear=endpoints.token is not None and endpoints.token.in_clear
            )
        return TokenFile.of_environment() or endpoints.token

    def _forwarded(self, context: str, namespace: str) -> Path:
        """Opens ways into that cluster, for as long as the command runs. Raises CommandError."""
        from fasttree.command.port_forwards import ForwardError, PortForwards

        root = click.get_current_context().find_root()
        opened = root.with_resource(PortForwards(context, namespace))
        folder = root.with_resource(tempfile.TemporaryDirectory(prefix="fasttree-"))
        try:
            endpoints = opened.open()
        except ForwardError as error:
            raise CommandError(f"context {context}, namespace {namespace}: {error}") from None
        for problem in opened.problems:
            click.echo(f"warning: context {context}, namespace {namespace}: {on_one_line(problem)}", err=True)
        path = Path(folder) / "endpoints.json"
        endpoints.write(path)
        return path

    @staticmethod
    def _default_place() -> Path:
        for place in DEFAULT_PLACES:
            if place.exists():
                return place
        starting = [place.parent for place in DEFAULT_PLACES if (place.parent / "lock").exists()]
        if starting:
            raise CommandError(
                f"the cluster in {starting[0]} is not ready, or has ended: look at the terminal that it was started in"
            )
        raise CommandError(
            "no cluster named: give --endpoints FILE, set FASTTREE_ENDPOINTS, or start one here with `fasttree up`"
        )


def _check_variables() -> None:
    """Raises CommandError for a variable that is nearly FASTTREE_ENDPOINTS: the cluster of this folder is not meant."""
    for name in sorted(os.environ):
        if difflib.get_close_matches(name.upper(), [_VARIABLE], cutoff=0.85):
            raise CommandError(f"environment: {name} is read by nobody: did you mean {_VARIABLE}?")


def run(body: Awaitable[Result]) -> Result:
    """Runs a coroutine to its end on uvloop."""

    async def awaited() -> Result:
        return await body

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(awaited())


def _json_given(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Session).json = True
        context.ensure_object(Session).given.add("--json")


_json_option = click.option("--json", is_flag=True, expose_value=False, callback=_json_given, help="Print JSON.")


def json_option(command: Command) -> Command:
    """Adds --json alone, for what asks no cluster; the command gets the Session as its first argument."""
    return click.pass_obj(_json_option(command))  # type: ignore[return-value]


def home_options(command: Command) -> Command:
    """Adds --json, and --endpoints for what looks into the folder of a cluster and asks none; the command gets the
    Session first."""
    return click.pass_obj(_endpoints_option(_json_option(command)))  # type: ignore[return-value]


def _kept(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """What an option was given, as a field of the session."""

    def given(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None:
            session = context.ensure_object(Session)
            setattr(session, name, value)
            session.given.add(parameter.opts[0])
            if {"--context", "--endpoints"} <= session.given:
                raise click.UsageError("--context and --endpoints each say where the cluster is: leave one out.")

    return given


_endpoints_option = click.option(
    "--endpoints",
    type=click.Path(path_type=Path),
    expose_value=False,
    callback=_kept("endpoints_path"),
    help="The cluster's endpoints.json; FASTTREE_ENDPOINTS where not given.",
)


def common_options(command: Command) -> Command:
    """Adds the options that say where the cluster is, --json and --timeout; the command gets the Session first."""
    options = [
        _endpoints_option,
        click.option(
            "--context",
            metavar="NAME",
            expose_value=False,
            callback=_kept("context"),
            help="In place of endpoints: a cluster in Kubernetes, by kubectl's context and port-forward.",
        ),
        click.option(
            "--namespace",
            metavar="NAME",
            expose_value=False,
            callback=_kept("namespace"),
            help=f"Of that cluster; {DEFAULT_NAMESPACE} where not given.",
        ),
        click.option(
            "--tls-dir",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_kept("tls_dir"),
            help="tls.crt, tls.key and ca.crt to show; FASTTREE_TLS_DIR, or as the endpoints say, where not given.",
        ),
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_kept("token_file"),
            help="A token to send; FASTTREE_TOKEN_FILE, or as the endpoints say, where not given.",
        ),
        _json_option,
        click.option(
            "--timeout",
            type=SecondsRange(0.1),
            metavar="SECONDS",
            expose_value=False,
            callback=_kept("timeout_s"),
            help="For each call, with all its retries; 30 where not given.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return click.pass_obj(command)  # type: ignore[return-value]
