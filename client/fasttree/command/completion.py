"""`fasttree completion`: what a shell runs so that it can complete our words; made from the commands themselves."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "fasttree"
#: By which click knows that a shell asks.
_VARIABLE = "_FASTTREE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Prints what completes commands, options and their values in a shell.

    \b
    bash, in ~/.bashrc:  eval "$(fasttree completion bash)"
    zsh, in ~/.zshrc:    eval "$(fasttree completion zsh)"
    fish:                fasttree completion fish > ~/.config/fish/completions/fasttree.fish
    """
    made = get_completion_class(shell)
    assert made is not None  # each of them is one of click's own
    click.echo(made(context.find_root().command, {}, _PROGRAM, _VARIABLE).source())
