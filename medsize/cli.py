"""The command line, ``medsize``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from medsize import __version__

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


@app.command()
def phantom(
    output_dir: Annotated[Path, typer.Argument(help="Folder to write the cohort to.")],
    scans: Annotated[int, typer.Option(help="How many scans.", min=1)] = 24,
    shape: Annotated[tuple[int, int, int], typer.Option(help="Voxels along each axis.")] = (64, 64, 12),
    spacing: Annotated[tuple[float, float, float], typer.Option(help="mm along each axis.")] = (
        3.0,
        3.0,
        8.0,
    ),
    folds: Annotated[int, typer.Option(help="Number of folds.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="The same seed gives the same cohort.")] = 0,
) -> None:
    """Write a phantom cohort: synthetic scans, masks, clicks, and a data list with sizes."""
    from medsize.data import write_phantom_cohort

    data_list = write_phantom_cohort(output_dir, scans, shape, spacing, folds, seed)
    typer.echo(f"{data_list}: {scans} phantom scans")


@app.command()
def ladder(
    study: Annotated[Path, typer.Argument(help="What to run: a YAML file such as benchmarks/ladder_2d.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the cohorts.")],
    work_dir: Annotated[Path, typer.Option(help="Folder for the runs. Finished ones in it are kept.")],
    workers: Annotated[int, typer.Option(help="Runs at a time, of one thread each.", min=1)] = 2,
    only: Annotated[str | None, typer.Option(help="Run only cells whose name matches this regular expression.")] = None,
) -> None:
    """Train and evaluate a bundle under every kind of supervision that a study names, and write its tables."""
    from medsize.studies import run_study

    try:
        succeeded = run_study(study, data.resolve(), work_dir.resolve(), workers, only, report=typer.echo)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    raise typer.Exit(0 if succeeded else 1)


@app.command()
def robustness(
    study: Annotated[Path, typer.Argument(help="What to run: a YAML file such as benchmarks/robustness_acdc.yaml.")],
    data: Annotated[Path, typer.Option(help="Folder that holds the cohorts.")],
    work_dir: Annotated[Path, typer.Option(help="Folder for the runs. Finished ones in it are kept.")],
    workers: Annotated[
        int | None, typer.Option(help="Cells at a time. Default: one for each GPU, else one for each core.", min=1)
    ] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler to run on.")] = None,
    only: Annotated[str | None, typer.Option(help="Run only cells whose name matches this regular expression.")] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Run nothing; report what is finished.")] = False,
) -> None:
    """
    Train a bundle under labels that are wrong in many ways, and write a report.

    Stopped or killed, it goes on when it is called again.
    """
    import subprocess

    from medsize.robustness import run_robustness

    try:
        result = run_robustness(
            study, data.resolve(), work_dir.resolve(), workers, scheduler, only, report_only=report_only
        )
    except (ValueError, ConnectionError) as e:
        raise typer.BadParameter(str(e)) from e
    except subprocess.CalledProcessError as e:
        raise typer.Exit(e.returncode) from e
    typer.echo(f"{result.report}: the report" if result.report else "No cell is finished: there is no report yet.")
    raise typer.Exit(1 if result.failed else 0)


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Output folder of a run.", exists=True, file_okay=False)],
    scans: Annotated[Path, typer.Argument(help="An image file, or a folder of image files or DICOM.", exists=True)],
    output: Annotated[Path, typer.Option(help="Folder to write masks, volumes and a picture to; new or empty.")],
    sizes: Annotated[
        Path | None, typer.Option(help="Size table, CSV or XLSX, to compare with.", exists=True, dir_okay=False)
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle of the run. Default: where the run found it.")] = None,
) -> None:
    """Segment scans with the network of a run: shows the command of MONAI that does it, and runs that."""
    import subprocess

    from medsize.data.size_table import read_size_table
    from medsize.predict import predict as segment

    try:
        table = None if sizes is None else read_size_table(sizes)
        problems = segment(run, scans, output, table, bundle, report=typer.echo)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    except subprocess.CalledProcessError as e:
        raise typer.Exit(e.returncode) from e
    typer.echo(f"{output}: masks, predictions.csv, montage.png")
    for problem in problems:
        typer.echo(f"left out: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, such as bundles/size_seg_2d.")],
    output: Annotated[Path, typer.Option(help="Folder to write the exported bundle to; new or empty.")],
    run: Annotated[
        Path | None, typer.Option(help="Output folder of the run whose weights, classes and figures go in.")
    ] = None,
    network: Annotated[str, typer.Option(help="unet, or an overlay with another network: segresnet.")] = "unet",
    vendor: Annotated[bool, typer.Option(help="Add medsize's code, so that training needs no installation.")] = False,
) -> None:
    """Write a self-contained bundle in the layout of the MONAI model zoo."""
    from medsize.export import export_bundle

    try:
        export_bundle(bundle, output, run, network, vendor)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    typer.echo(f"{output}: a bundle with {network}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)],
    overlay: Annotated[
        list[str] | None,
        typer.Option(help="A config to put over train.yaml, of the bundle or a path; several are merged in order."),
    ] = None,
    processes: Annotated[int, typer.Option(help="Train by several processes, one for each GPU.", min=1)] = 1,
) -> None:
    """
    Train a bundle: shows the command of MONAI that does it, and runs that.

    All that follows BUNDLE is given to it: --dataset_dir DATA --output_dir RUN --max_epochs 50
    """
    import shlex
    import subprocess

    from medsize.bundle import training_command

    try:
        command = training_command(bundle, overlay or [], context.args, processes)
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    typer.echo(shlex.join(["python", *command[1:]]))
    raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def check(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.", exists=True, file_okay=False)],
    config: Annotated[
        list[str] | None,
        typer.Option(help="A config of the bundle, or a path; several are merged in order. Default: train.yaml"),
    ] = None,
) -> None:
    """
    Find what would spoil a run, without running: misspelled keys, missing files, faulty scans, and more.

    All that follows BUNDLE is given as to python -m monai.bundle run: --dataset_dir DATA --max_epochs 50
    """
    import fire

    from medsize.bundle import check_bundle

    def check_with(run_id: str | None = None, **arguments: Any) -> None:
        check_bundle(bundle, config or ["train.yaml"], run_id=run_id, **arguments)

    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    fire.Fire(check_with, command=context.args, name=f"medsize check {bundle}")  # it parses values as MONAI does
    typer.echo("Nothing was found that would stop this run.")


if __name__ == "__main__":
    app()
