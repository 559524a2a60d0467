"""`imprimatur completion`: what a shell needs to complete commands and options."""

import click

from imprimatur.cli.options import json_option
from imprimatur.cli.result import Result

SHELLS = ("bash", "zsh", "fish")
LINES = {
    "bash": 'eval "$(imprimatur completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(imprimatur completion zsh)" in ~/.zshrc',
    "fish": "imprimatur completion fish | source in ~/.config/fish/config.fish",
}


@click.command(short_help="Completion for bash, zsh, fish.", epilog="Use: " + "; ".join(LINES.values()) + ".")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
@click.pass_context
def completion(context: click.Context, shell: str) -> Result:
    """Print the completion script for a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"This version of click can't complete {shell}.")
    script = kind(context.find_root().command, {}, "imprimatur", "_IMPRIMATUR_COMPLETE").source()
    return Result({"shell": shell, "script": script}, script)
