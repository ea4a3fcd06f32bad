"""The command itself, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, NoReturn, cast

import click

from fasttree.client import FastTreeClientError
from fasttree.command.session import ASKING_OPTIONS, CommandError, Session, common_options
from fasttree.command.terminal import OutputError, guard_output, on_one_line

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


class ReaderGoneError(Exception):
    """Whoever read our output has enough."""


#: As `fasttree --help` and docs/commands.md have them: where each is, from this package on.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "Look": {
        "status": "status.commands:status",
        "top": "top.commands:top",
        "doctor": "doctor.commands:doctor",
        "follow": "cluster.commands:follow",
        "trace": "trace.commands:trace",
        "verify": "cluster.verify:verify",
        "logs": "local.logs:logs",
        "bundle": "bundle.commands:bundle",
    },
    "Cluster": {
        "up": "local.up:up",
        "switchover": "cluster.turns:switchover",
        "pause": "cluster.turns:pause",
        "resume": "cluster.turns:resume",
        "drill": "cluster.drill:drill",
        "node": "nodes.commands:node",
        "machine": "machines.commands:machine",
        "config": "settings.commands:config",
    },
    "Data": {
        "import": "imports.commands:import_group",
        "push": "log.push:push",
        "held": "reports.outcomes:held",
        "rejected": "reports.outcomes:rejected",
        "period": "log.periods:period",
        "volume-type": "log.periods:volume_type",
        "column": "log.columns:column",
        "erase": "log.erasing:erase",
        "rules": "log.rules:rules",
        "log": "log.commands:log",
    },
    "Reports": {
        name: f"reports.commands:{name.replace('-', '_')}"
        for name in (
            "member", "upline", "frontline", "downline", "summary", "largest", "holding-tank", "search", "describe",
        )
    },
    "Security": {
        "certs": "certs.commands:certs",
        "policy": "certs.policy_commands:policy",
        "token": "tokens.commands:token",
        "audit": "audit.commands:audit",
        "keys": "keys.commands:keys",
    },
    "DataTrax and messages": {"datatrax": "datatrax.commands:datatrax", "message": "messages.commands:message"},
    "Shell": {"completion": "completion:completion"},
}  # fmt: skip


class CommandsByPlace(MutableMapping[str, click.Command]):
    """Each command, imported when somebody asks for it: with what all of them need, none would begin to work within the
    first second."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._imported: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._imported:
            module, _, attribute = self._places[name].partition(":")
            self._imported[name] = getattr(importlib.import_module(f"fasttree.command.{module}"), attribute)
        return self._imported[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name], self._imported[name] = "", command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._imported.pop(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class Commands(click.Group):
    """The commands. An option before a command's name is one of that command, or refused: in silence it would do
    nothing."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        path, leaf = f"{ctx.command_path} {name}", command
        for word in rest:
            if isinstance(leaf, click.Group) and word in leaf.commands:
                path, leaf = f"{path} {word}", leaf.commands[word]
        if leaf is not None and "--help" not in rest and "-h" not in rest:
            known = {option for parameter in leaf.params for option in parameter.opts}
            ctx.ensure_object(Session).refuse(
                *sorted({*ASKING_OPTIONS, "--json"} - known),
                why=f"it means nothing to `{path}`",
            )
        return name, command, rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By what they are for: one list of all would be of no help."""
        width = max(len(name) for name in self.commands)
        limit = formatter.width - width - 6
        for group, names in GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click itself would call that a failure
            raise ReaderGoneError from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="ha-fasttree", message="%(prog)s %(version)s")
@common_options
def cli(session: Session) -> None:
    """A direct-selling genealogy in memory on two or more servers.

    Where the cluster is: --endpoints FILE, or FASTTREE_ENDPOINTS, or .fasttree/ or .demo/ here; or --context NAME, by
    kubectl. Exit code: 0 done, 1 not done, 2 wrong use.
    """


cli.commands = CommandsByPlace({name: place for group in GROUPS.values() for name, place in group.items()})


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs the command and ends the process: errors are one line on standard error, never a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see fasttree.command
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(0o077)  # what a command writes has members in it: for its owner alone, as what the services write
    _need_streams()
    guard_output()
    try:
        _check_text(sys.argv[1:] if arguments is None else arguments)
        outcome = cli.main(args=arguments, prog_name="fasttree", standalone_mode=False, obj=Session())
        sys.stdout.flush()
        sys.exit(outcome if isinstance(outcome, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        said = error.format_message().rstrip(".")
        _say(f"{said}{'' if said.endswith('?') else '.'} Try `{_typed(error.ctx, arguments)} --help`.")
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(error.format_message())
        sys.exit(error.exit_code)
    except (FastTreeClientError, CommandError) as error:
        _say(str(error))
        sys.exit(EXIT_FAILED)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except (ReaderGoneError, BrokenPipeError):
        _print_no_more()
        sys.exit(0)
    except OutputError as error:
        _print_no_more()
        _say(str(error))
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.filename is None:  # not what a file's name can mend
            raise
        _say(f"{error.filename}: {error.strerror}")
        sys.exit(EXIT_FAILED)


def _need_streams() -> None:
    """Whoever closed standard output gets no answer, so nothing is done; in the place of the others stands nothing."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened would be taken for it
            os.open(os.devnull, os.O_RDWR)
    sys.stdin, sys.stderr = sys.stdin or io.StringIO(), sys.stderr or io.StringIO()
    if not sys.stdout:
        _say("standard output is closed: nothing was done")
        sys.exit(EXIT_FAILED)


def _print_no_more() -> None:
    """Nothing may be written at exit any more either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _typed(context: click.Context | None, arguments: list[str] | None) -> str:
    """The command whose help says more, as people type it."""
    if context is not None:
        shown = context.parent if context.command.hidden and context.parent is not None else context
        return shown.command_path
    # An option that lacks a value is told without its command.
    path, command = ["fasttree"], cast("click.Command", cli)
    for word in sys.argv[1:] if arguments is None else arguments:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
            path += [] if command.hidden else [word]
    return " ".join(path)


def _check_text(arguments: list[str]) -> None:
    """Raises UsageError where an argument is no text: nothing that it could become part of takes it."""
    for number, argument in enumerate(arguments, 1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(
                f"argument {number} ({on_one_line(argument)}) is no UTF-8: rename it if it is a file, else write it so"
            ) from None


def _say(message: str) -> None:
    with contextlib.suppress(OSError, OutputError):  # standard error may be as full as standard output
        sys.stderr.write(f"error: {on_one_line(' '.join(message.split()))}\n")
