"""Command line: ``medsize``. Each command parses its options and calls the room that does the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from medsize import __version__
from medsize.cli.cohorts import convert, init, phantom
from medsize.cli.prediction import compare, locate, predict
from medsize.cli.sharing import export
from medsize.cli.sizes import diameters, measure, measurements, readers
from medsize.cli.studies import ladder, robustness
from medsize.cli.training import adapt, check, fit, train

__all__ = ["app"]

COMMANDS: tuple[Callable[..., None], ...] = (
    *(phantom, init, convert),
    *(measure, readers, diameters, measurements),
    *(ladder, robustness),
    *(fit, predict, compare, locate, export, adapt),
)
"""Commands in the order of the help."""
COMMANDS_OF_MONAI: tuple[Callable[..., None], ...] = (train, check)
"""Commands whose further options are those of ``python -m monai.bundle run``."""

app = typer.Typer(help="Train medical image segmenters from approximate sizes.", no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train medical image segmenters from approximate sizes."""


for command in COMMANDS:
    app.command()(command)
for command in COMMANDS_OF_MONAI:
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(command)
