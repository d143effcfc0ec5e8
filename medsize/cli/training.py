"""Commands that train, and that prepare or check a training."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from medsize.cli.messages import echo, refusals
from medsize.cli.options import Bundle, DatasetDir, FittingBundle

__all__ = ["adapt", "check", "fit", "train"]


def fit(
    cohort: Annotated[
        Path, typer.Argument(help="Folder that medsize init wrote, its cohort.yaml, or a data list.", exists=True)
    ],
    dataset_dir: DatasetDir = None,
    bundle: FittingBundle = None,
    network: Annotated[
        str | None,
        typer.Option(help="Network to share: unet, segresnet or, in 2D, lean_unet. Default: lean_unet; unet in 3D."),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="Folder of the fit. Finished stages in it are kept.")] = Path(
        "runs/fit"
    ),
    time_limit: Annotated[
        str | None, typer.Option(help="Time for all trainings, such as 2h or 90m: teachers and epochs are cut to fit.")
    ] = None,
    supervision: Annotated[
        str | None,
        typer.Option(help="Labels to train from: size, mask, scribble, or several joined by +. Default: see the plan."),
    ] = None,
    fold: Annotated[str, typer.Option(help="Fold to validate on, or all for cross-validation.")] = "0",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="With --fold all: share all networks as one, which averages them.")
    ] = False,
    look_closer: Annotated[
        bool | None,
        typer.Option(
            "--look-closer/--whole-scans",
            help="First locate the structures, then train around them; or train on whole scans. Default: see the plan.",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Value of a key of train.yaml, in all trainings. May be repeated."),
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show the plan, and run nothing.")] = False,
) -> None:
    """
    Train on a prepared cohort as its labels allow: plan, train, evaluate, export and report.

    The plan is shown first, with its reasons and MONAI's commands. After a stop, call it again: it goes on where it
    stopped. All logs are in the folder of the fit.
    """
    from medsize.fit import StageFailed, Wishes, fit_cohort
    from medsize.fit.duration import parse_time
    from medsize.fit.plan import override_option

    with refusals():
        wishes = Wishes(
            bundle=bundle,
            network=network,
            supervision=supervision,
            fold=fold,
            ensemble=ensemble,
            time_limit=None if time_limit is None else parse_time(time_limit),
            look_closer=look_closer,
            overrides=override_option(override or ()),
        )
        try:
            fit_cohort(cohort, output_dir, wishes, plan_only, report=echo, dataset_dir=dataset_dir)
        except StageFailed as e:
            raise SystemExit(str(e)) from e
        except KeyboardInterrupt as e:
            typer.echo("Stopped. The same command goes on from here.", err=True)
            raise typer.Exit(130) from e


def adapt(
    zoo_bundle: Annotated[
        Path, typer.Argument(help="Folder of a bundle that segments, with its weights.", exists=True, file_okay=False)
    ],
    cohort: Annotated[
        Path, typer.Argument(help="Folder that medsize init wrote, its cohort.yaml, or a data list.", exists=True)
    ],
    output: Annotated[Path, typer.Option(help="Overlay of train.yaml to write; the weights are put beside it.")],
    dataset_dir: DatasetDir = None,
    repeat_grey: Annotated[
        bool, typer.Option("--repeat-grey", help="Let a network of several channels see a grey scan in each.")
    ] = False,
) -> None:
    """
    Start from a bundle of the MONAI model zoo: its network, weights and preprocessing, trained from your sizes.

    Structures with the name of one of its classes keep that class's output; others are new. The command of the training
    is shown.
    """
    from medsize.fit.adapt import adapt_bundle

    with refusals():
        adapted = adapt_bundle(zoo_bundle, cohort, output, repeat_grey, dataset_dir)
    for note in adapted.notes:
        echo(f"{note}.")
    echo(f"{adapted.overlay}, {adapted.weights.name}: overlay and weights. Read it, then:\n  {adapted.command}")


def train(
    context: typer.Context,
    bundle: Bundle,
    overlay: Annotated[
        list[str] | None,
        typer.Option(
            help="Config to put over train.yaml: its name in the bundle, or a path. Repeated ones are merged in order."
        ),
    ] = None,
    processes: Annotated[int, typer.Option(help="Number of processes to train by, one for each GPU.", min=1)] = 1,
) -> None:
    """
    Train a bundle: show MONAI's command for it, and run that.

    The options after BUNDLE are passed on to it: --dataset_dir DATA --output_dir RUN --max_epochs 50
    """
    from medsize.bundle.run.command import as_typed, training_command

    with refusals():
        command = training_command(bundle, overlay or [], context.args, processes)
    typer.echo(as_typed(command))
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def check(
    context: typer.Context,
    bundle: Bundle,
    config: Annotated[
        list[str] | None,
        typer.Option(
            help="Config: its name in the bundle, or a path. Repeated ones are merged in order. Default: train.yaml"
        ),
    ] = None,
) -> None:
    """
    Find problems of a run before it starts: misspelled keys, missing files, faulty scans, and more.

    The options after BUNDLE are those of python -m monai.bundle run: --dataset_dir DATA --max_epochs 50
    """
    import fire

    from medsize.checks import check_bundle

    def check_with(run_id: str | None = None, **arguments: Any) -> None:
        check_bundle(bundle, config or ["train.yaml"], run_id=run_id, **arguments)

    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)
    fire.Fire(check_with, command=context.args, name=f"medsize check {bundle}")  # it parses values as MONAI does
    typer.echo("Nothing was found that would stop this run.")
