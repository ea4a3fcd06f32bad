"""`fasttree completion`: what a shell runs so that it can complete our words; made from the commands themselves."""

from __future__ import annotations

from typing import TypedDict

import click
from click.shell_completion import get_completion_class

from fasttree.command.output import print_json
from fasttree.command.session import Session, json_option
from fasttree.command.shapes import prints

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "fasttree"
#: By which click knows that a shell asks.
_VARIABLE = "_FASTTREE_COMPLETE"


class CompletionJson(TypedDict):
    """What a shell runs."""

    shell: str
    script: str


@click.command()
@prints(CompletionJson)
@click.argument("shell", type=click.Choice(_SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, session: Session, shell: str) -> None:
    """Prints what completes commands, options and their values in a shell.

    \b
    bash, in ~/.bashrc:  eval "$(fasttree completion bash)"
    zsh, in ~/.zshrc:    eval "$(fasttree completion zsh)"
    fish:                fasttree completion fish > ~/.config/fish/completions/fasttree.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # each of them is one of click's own
    script = made(context.find_root().command, {}, _PROGRAM, _VARIABLE).source()
    if session.json:
        print_json(CompletionJson(shell=shell, script=script))
    else:
        click.echo(script)
