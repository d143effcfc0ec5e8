"""The command that writes a bundle to share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import Bundle

__all__ = ["export"]


def export(
    bundle: Bundle,
    output: Annotated[Path, typer.Option(help="Folder to write the exported bundle to; new or empty.")],
    run: Annotated[
        Path | None,
        typer.Option(help="Output folder of the fit or run with the weights, classes and metrics to export."),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            help="Network: unet, lean_unet, or an overlay with another, such as segresnet. Default: the run's."
        ),
    ] = None,
    vendor: Annotated[bool, typer.Option(help="Add medsize's code, so that training does not need medsize.")] = False,
    image_type: Annotated[
        str | None, typer.Option(help="Type of the images for the metadata, such as natural, ultrasound or CT.")
    ] = None,
    zoo: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Write a contribution to the model zoo; OWNER/NAME: repository of the weights on Hugging Face.",
        ),
    ] = None,
    authors: Annotated[str, typer.Option(help="With --zoo: authors of the model.")] = "",
    licence: Annotated[
        str | None,
        typer.Option("--license", help="With --zoo: licence of the weights. Default: that of the data list."),
    ] = None,
    weights_url: Annotated[
        str | None, typer.Option(help="With --zoo: address of model.pt. Default: in the repository.")
    ] = None,
) -> None:
    """Write a self-contained bundle in the layout of the MONAI model zoo, or with --zoo a contribution to it."""
    from medsize.bundle.sharing.export import export_bundle
    from medsize.bundle.sharing.zoo import Contribution, export_for_zoo
    from medsize.fit import shared_run

    with refusals():
        run = None if run is None else shared_run(run)
        if zoo is None:
            export_bundle(bundle, output, run, network, vendor, image_type)
            echo(f"{output}: a bundle to share")
        else:
            contribution = Contribution(zoo, authors, licence, weights_url)
            echo(export_for_zoo(bundle, output, run, contribution, network, vendor, image_type).describe(output))
