"""`fasttree policy`: the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import click

from fasttree.command.output import print_json, print_table
from fasttree.command.session import CommandError, Session, json_option
from fasttree.command.shapes import Later, prints

Command = TypeVar("Command", bound=Callable[..., Any])


class VerdictJson(TypedDict):
    """Whether somebody may call something, and by which rule; an empty one: none allows it."""

    principal: str
    path: str
    allowed: bool
    rule: str


def _policy() -> Any:
    from fasttree.command.certs.policy import form

    return form()


@click.group()
def policy() -> None:
    """Who may call what of a cluster with certificates."""


def _options(command: Command) -> Command:
    options = [
        click.option(
            "--policy",
            "file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="A file as tls.policy names one; the shipped roles where not given.",
        ),
        click.option(
            "--cluster", default="dot-live", show_default=True, help="The cluster's name in its certificates."
        ),
        json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@policy.command()
@prints(Later(_policy))
@_options
def show(session: Session, file: Path | None, cluster: str) -> None:
    """The policy as a file has it, in the form of gRFC A43: one to begin a file of your own with.

    --policy FILE: that one, once it is known to be good.
    """
    from fasttree.command.certs.policy import policy_of, text_of

    del session  # it is JSON in any case
    click.echo(text_of(policy_of(file, cluster)))


@policy.command()
@prints(list[VerdictJson])
@click.argument("who")
@click.argument("call", required=False, default="")
@_options
def test(session: Session, who: str, call: str, file: Path | None, cluster: str) -> None:
    """Whether WHO (a role, ROLE/NAME, or a name as certificates have it) may make CALL (PushUpdates, or a path as
    /metrics); without CALL, every call of the API. Exit code 1 where the one may not.

    It asks no server: it judges as each of them does.
    """
    from fasttree.command.certs.policy import calls, judge, path_of, policy_of, principal_of

    found, principal = policy_of(file, cluster), principal_of(who, cluster)
    verdicts = {path: judge(found, principal, path) for path in ([path_of(call)] if call else calls())}
    if session.json:
        print_json(
            [
                VerdictJson(principal=principal, path=path, allowed=verdict.allowed, rule=verdict.rule)
                for path, verdict in verdicts.items()
            ]
        )
    else:
        words = {True: "allowed", False: "refused"}
        print_table(
            ("call", "verdict", "by the rule"),
            [(path, words[verdict.allowed], verdict.rule or "(none allows it)") for path, verdict in verdicts.items()],
        )
    if call and not all(verdict.allowed for verdict in verdicts.values()):
        raise CommandError(f"{principal} may not call {path_of(call)}")
