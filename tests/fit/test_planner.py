"""The plan follows from the cohort's labels, and says why."""

from __future__ import annotations

import ast
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from medsize.fit.cohort_facts import CohortFacts, CohortSource
from medsize.fit.duration import LEAST_EPOCHS, Machine
from medsize.fit.plan import Plan, Stage, Wishes, override_option
from medsize.fit.planner import plan_fit
from tests.conftest import BUNDLE_2D, BUNDLE_3D

FACTS = CohortFacts(
    scans=90,
    subjects=45,
    structures=("left", "wall", "right"),
    with_volume=90,
    with_slice_sizes=90,
    with_mask=0,
    with_scribble=0,
    folds=(0, 1, 2),
    training_scans=60,
    dimensions=2,
    why_dimensions="sizes of slices are known",
    window=(96, 96),
    slices=10,
)
VOLUMES = {"with_slice_sizes": 0}
THIN = {**VOLUMES, "dimensions": 3, "window": (64, 64, 32), "slices": 32}
LIST = CohortSource(data_list=Path("/data/datalist.json"), dataset_dir=Path("/data"))


def plan(
    facts: dict[str, Any] | None = None, memory_gib: float = 64, source: CohortSource = LIST, **wishes: Any
) -> Plan:
    found = FACTS.model_copy(update=facts or {})
    bundle = BUNDLE_3D if found.dimensions == 3 else BUNDLE_2D
    machine = Machine(memory_bytes=int(memory_gib * 2**30))
    return plan_fit(found, source, bundle, Wishes(**wishes), machine, Path("/out"))


def overlays(stage: Stage) -> list[str]:
    files = ast.literal_eval(stage.command[stage.command.index("--config_file") + 1])
    return [Path(file).name for file in files[1:]]


def option(stage: Stage, key: str) -> str | None:
    return stage.command[stage.command.index(f"--{key}") + 1] if f"--{key}" in stage.command else None


def decisions(made: Plan) -> str:
    return "\n".join(map(str, made.decisions))


def test_sizes_of_slices_are_learnt_in_rounds_each_taught_by_the_one_before() -> None:
    made = plan()
    first, second = made.trainings
    assert [stage.title for stage in made.trainings] == ["teacher 1, LeanUNet", "LeanUNet"]
    assert overlays(first) == ["imagenet.yaml"]
    assert overlays(second) == ["imagenet.yaml", "teacher.yaml", "second_round.yaml"]
    assert option(second, "teacher_checkpoint") == f"/out/{first.folder}/model.pt"
    assert option(second, "save_masks") == "True"
    kinds = [stage.kind for stage in made.stages if stage.kind != "first labels"]
    assert kinds == ["check", *["training"] * 2, "export", "report"]
    assert {option(stage, "size_level") for stage in made.trainings} == {"slice"}
    assert all(decision.reason for decision in made.decisions)
    assert "90 have sizes of slices" in decisions(made)


def test_another_network_is_taught_by_these_rounds() -> None:
    made = plan(network="unet")
    assert [stage.title for stage in made.trainings] == ["teacher 1, LeanUNet", "teacher 2, LeanUNet", "UNet"]
    *_, teacher, student = made.trainings
    assert overlays(student) == ["teacher.yaml"]
    assert option(student, "teacher_checkpoint") == f"/out/{teacher.folder}/model.pt"
    assert made.results == [student]


@pytest.mark.parametrize("facts", [VOLUMES | {"with_scribble": 3}, {"slices": 1, "are_pictures": True}])
def test_one_round_is_enough_for_clicks_in_whole_scans_and_for_pictures(facts: dict[str, Any]) -> None:
    assert [stage.title for stage in plan(facts).trainings] == ["LeanUNet"]
    assert [stage.title for stage in plan(facts, network="segresnet").trainings] == ["teacher 1, LeanUNet", "SegResNet"]


def test_a_cohort_with_a_network_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "cohort.yaml").write_text("network_def: {_target_: UNet}\n")
    own = {"overlay": tmp_path / "cohort.yaml", "proposed": {"network_def": {"_target_": "UNet"}}}
    assert overlays(plan(source=LIST.model_copy(update=own)).trainings[-1]) == ["teacher.yaml", "cohort.yaml"]


def test_first_labels_come_first_where_volumes_need_them() -> None:
    made = plan(VOLUMES, fold="all")
    assert [stage.kind for stage in made.stages[1:4]] == ["first labels", *["training"] * 2]
    for stage in made.stages[1:-2]:
        assert option(stage, "first_labels_dir") == f"/out/fold_{stage.fold}/first_labels"
    first = made.stages[1]
    assert (first.folder, option(first, "run_id")) == ("fold_0/first_labels", "make_first_labels")
    assert "first labels" in made.trainings[0].reason
    masks = plan({"with_mask": 90, "with_volume": 0, "with_slice_sizes": 0})
    assert "first labels" not in [stage.kind for stage in masks.stages]


@pytest.mark.parametrize(
    ("facts", "size_level"), [(VOLUMES, "volume"), ({}, "slice"), ({"slices": 1, "are_pictures": True}, "slice")]
)
def test_sizes_of_all_levels_go_through_first_labels(facts: dict[str, Any], size_level: str) -> None:
    made = plan(facts)
    assert [stage.kind for stage in made.stages[1:3]] == ["first labels", "training"]
    first, *_ = made.trainings
    assert overlays(first) == ["imagenet.yaml"]
    assert {option(stage, "size_level") for stage in made.trainings} == {size_level}
    assert "learns from size and first labels" in first.reason


def test_clicks_beside_sizes_of_slices_tell_the_place_without_first_labels() -> None:
    clicked = {"with_scribble": 90}
    assert "first labels" not in [stage.kind for stage in plan(clicked).stages]
    assert "first labels" in [stage.kind for stage in plan(VOLUMES | clicked).stages]


def test_first_labels_can_be_left_out() -> None:
    made = plan({"slices": 1, "are_pictures": True}, overrides={"use_first_labels": "false"})
    assert "first labels" not in [stage.kind for stage in made.stages]
    assert made.trainings[0].reason.startswith("it starts from ImageNet features and learns from size;")
    assert {option(stage, "use_first_labels") for stage in made.trainings} == {"False"}, "MONAI takes false for a text"


@pytest.mark.parametrize("stated", ["use_first_labels: false", "first_labels_for: [volume]"])
def test_first_labels_are_left_out_however_the_config_says_so(stated: str, tmp_path: Path) -> None:
    pictures = {"slices": 1, "are_pictures": True}
    overlay = tmp_path / "cohort.yaml"
    overlay.write_text(f"{stated}\n")
    made = plan(pictures, source=LIST.model_copy(update={"overlay": overlay}))
    assert "first labels" not in [stage.kind for stage in made.stages]
    key, value = stated.split(": ")
    assert "first labels" not in [stage.kind for stage in plan(pictures, overrides={key: value}).stages]


@pytest.mark.parametrize(
    ("stated", "planned", "known"),
    [
        ("$@size_level == 'slice'", True, True),
        ("$'mask' in @supervision", False, True),
        ("$@proposal.first_label_level(@size_level) == 'picture'", False, True),
        ("$@cohort.num_classes > 2", False, False),  # there is no such cohort here
    ],
)
def test_an_expression_for_first_labels_is_evaluated_or_said_to_be_unknown(
    stated: str, planned: bool, known: bool, tmp_path: Path
) -> None:
    (tmp_path / "cohort.yaml").write_text(f'use_first_labels: "{stated}"\n')
    made = plan(source=LIST.model_copy(update={"overlay": tmp_path / "cohort.yaml"}))
    assert ("first labels" in [stage.kind for stage in made.stages]) == planned
    assert ("first labels not known: only the training can" in decisions(made)) == (not known)


def test_first_labels_can_be_asked_for() -> None:
    made = plan({"with_scribble": 90}, overrides={"first_labels_for": "[clicked slice]"})
    assert [stage.kind for stage in made.stages[1:3]] == ["first labels", "training"]
    assert "learns from size and scribble and first labels" in made.trainings[0].reason
    masks = {"with_mask": 90, "with_volume": 0, "with_slice_sizes": 0}
    made = plan(masks, overrides={"first_labels_for": "[slice]"})
    assert "first labels" not in [stage.kind for stage in made.stages]


def test_the_second_training_from_volumes_learns_from_sizes_of_slices() -> None:
    assert "sizes of slices" in plan(VOLUMES).trainings[1].reason
    assert "soft labels" in plan().trainings[1].reason


def test_clicks_of_scans_that_only_validate_are_named() -> None:
    few = VOLUMES | {"with_scribble": 3, "scribbles_of_folds": {0: 0, 1: 2, 2: 1}}
    assert "3 have clicks or scribbles" in decisions(plan(few))
    assert "only to validate" not in decisions(plan(few))
    assert "3 have clicks or scribbles (2 of them only to validate)" in decisions(plan(few, fold="1"))


def test_a_3d_network_learns_from_whole_scans() -> None:
    (training,) = plan(THIN, network="segresnet").trainings
    assert overlays(training) == ["segresnet.yaml"]
    assert training.is_result
    assert option(training, "size_level") is None
    with pytest.raises(ValueError, match="lean_unet, which is a 2D network"):
        plan(THIN, network="lean_unet")


def test_labels_that_some_scans_have_are_used_and_masks_of_all_are_for_evaluation() -> None:
    some = plan({"with_mask": 3, "with_scribble": 2})
    assert {option(stage, "supervision") for stage in some.trainings} == {"size+scribble+mask"}
    every = plan({"with_mask": 90})
    assert {option(stage, "supervision") for stage in every.trainings} == {"size"}
    assert "--supervision size+mask" in decisions(every)
    (masks,) = plan({"with_mask": 90, "with_volume": 0, "with_slice_sizes": 0}).trainings
    assert overlays(masks) == ["imagenet.yaml", "mask_supervision.yaml"]
    assert option(masks, "supervision") == "mask"


def test_what_the_overlay_of_a_cohort_states_holds(tmp_path: Path) -> None:
    (tmp_path / "cohort.yaml").write_text("max_epochs: 70\n")
    proposed = {"supervision": "size", "size_level": "volume", "roi_size": [96, 96]}
    source = LIST.model_copy(update={"overlay": tmp_path / "cohort.yaml", "proposed": proposed})
    made = plan({"with_mask": 3}, source=source)
    for stage in made.trainings:
        assert overlays(stage)[-1] == "cohort.yaml"
        assert option(stage, "supervision") == "size"
        assert option(stage, "dataset_dir") is None
        assert stage.epochs == 70
    assert (
        option(plan({"with_mask": 3}, source=source, supervision="size+mask").trainings[0], "supervision")
        == "size+mask"
    )


SMALL: dict[str, Any] = {**VOLUMES, "shares": {"left": 0.015, "right": 0.008}, "spacing": (1.5, 1.5)}


def test_small_organs_are_located_by_a_short_training_and_looked_at_closer() -> None:
    made = plan({**SMALL, "window": (256, 224)})
    kinds = [stage.kind for stage in made.stages]
    assert kinds == [
        "check",
        "first labels",
        "training",
        "locate",
        "first labels",
        *["training"] * 2,
        "export",
        "report",
    ]
    assert "right fills 0.8% of the view, all structures 2.3%" in decisions(made)
    coarse, *closer = made.trainings
    assert (option(coarse, "spacing"), option(coarse, "roi_size")) == ("[3.0, 3.0]", "[128, 128]")
    assert coarse.epochs == coarse.all_epochs == 22
    locate = made.stages[3]
    assert f"/out/{coarse.folder}" in locate.command
    for stage in closer:
        files = ast.literal_eval(stage.command[stage.command.index("--config_file") + 1])
        assert files[-1] == f"/out/{locate.folder}/{locate.result}"
        assert option(stage, "data_list") is None, "the overlay names it"
        assert option(stage, "dataset_dir") == "/data"
    assert {option(stage, "first_labels_dir") for stage in closer} == {"/out/fold_0/first_labels"}
    assert option(coarse, "first_labels_dir") == "/out/fold_0/coarse_first_labels"
    least = plan({**SMALL, "window": (256, 224)}, time_limit=60.0)
    assert {stage.epochs for stage in least.trainings} == {LEAST_EPOCHS}


@pytest.mark.parametrize(
    ("facts", "wishes", "locates"),
    [
        ({}, {}, True),
        ({}, {"look_closer": False}, False),
        ({}, {"overrides": {"use_roi": "True"}}, False),
        ({"with_roi": 90}, {}, False),
        ({"slices": 1, "are_pictures": True}, {}, False),
        ({"slices": 1, "are_pictures": True}, {"look_closer": True}, True),
        ({"with_roi": 90}, {"look_closer": True}, True),
        ({"shares": {"left": 0.02, "right": 0.011}}, {}, False),
        ({"shares": {"left": 0.1, "right": 0.002}}, {}, False),
        ({"shares": {}, "with_mask": 90, "with_volume": 0, "with_slice_sizes": 0}, {}, False),
    ],
)
def test_whole_scans_are_trained_on_where_nothing_is_gained(
    facts: dict[str, Any], wishes: dict[str, Any], locates: bool
) -> None:
    assert plan({**SMALL, **facts}, **wishes).locates == locates


def test_a_window_that_is_asked_for_and_one_that_is_located_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="--override spacing: found it with --look-closer"):
        plan(SMALL, look_closer=True, overrides={"spacing": "[1.0,1.0]"})


def test_networks_of_several_windows_are_not_averaged() -> None:
    with pytest.raises(ValueError, match=r"--ensemble: found that fit looks closer.*Add --whole-scans"):
        plan(SMALL, fold="all", ensemble=True)
    assert not plan(SMALL, fold="all", ensemble=True, look_closer=False).locates


def test_few_scans_are_trained_on_longer_and_told_of() -> None:
    few = {"training_scans": 8, "scans": 12}
    assert {stage.epochs for stage in plan(few).trainings} == {500}, (
        "1000 steps, 2 an epoch: 8 × 4 slices in batches of 16"
    )
    caution = "few scans, 8 to train on: sizes may not tell 3 structures apart"
    assert caution in decisions(plan(few | VOLUMES))
    one = few | VOLUMES | {"structures": ("left",), "shares": {"left": 0.1}, "training_scans": 4}
    assert "sizes may not tell the structure from the rest" in decisions(plan(one))
    assert "few scans, " not in decisions(plan(few)), "each slice has sizes of its own"
    assert "few scans, " not in decisions(plan(VOLUMES))
    assert "few scans, " not in decisions(plan(few | VOLUMES | {"with_scribble": 3}))


def test_a_time_limit_shortens_trainings_then_leaves_rounds_out_and_says_so() -> None:
    full = plan(network="unet")
    total = sum(stage.seconds for stage in full.trainings)
    shorter = plan(network="unet", time_limit=0.7 * total)
    assert len(shorter.trainings) == 3
    assert all(a.epochs < b.epochs for a, b in zip(shorter.trainings, full.trainings, strict=True))
    fewer = plan(network="unet", time_limit=0.4 * total)
    assert [stage.title for stage in fewer.trainings] == ["teacher 1, LeanUNet", "UNet"]
    assert "1 of 2 teachers" in decisions(fewer)
    assert "by a rough guess" in decisions(fewer)
    least = plan(network="unet", time_limit=1)
    assert {option(stage, "max_epochs") for stage in least.trainings} == {str(LEAST_EPOCHS)}
    assert [stage.title for stage in plan(time_limit=1).trainings] == ["LeanUNet"]


def test_scans_that_do_not_fit_into_memory_are_kept_in_part() -> None:
    assert {option(stage, "cache_rate") for stage in plan().trainings} == {None}
    rates = {option(stage, "cache_rate") for stage in plan(memory_gib=0.1).trainings}
    assert len(rates) == 1
    assert 0 < float(rates.pop() or 1) < 1


def test_each_fold_has_a_chain_and_the_ensemble_joins_them() -> None:
    made = plan(fold="all", ensemble=True)
    assert [stage.fold for stage in made.results] == [0, 1, 2]
    assert len({stage.folder for stage in made.trainings}) == len(made.trainings) == 6
    for stage in made.trainings:
        teacher = option(stage, "teacher_checkpoint")
        assert teacher is None or teacher.startswith(f"/out/fold_{stage.fold}/")
        assert option(stage, "val_fold") == str(stage.fold)
    assert [stage.kind for stage in made.stages[-3:]] == ["ensemble", "export", "report"]
    assert "/out/ensemble" in made.stages[-2].command


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"network": "vnet"}, "--network is vnet, expected one of unet, segresnet, lean_unet"),
        ({"fold": "7"}, "--fold is 7, expected one of the data list's: 0, 1, 2"),
        ({"fold": "first"}, "--fold is first, expected a number or 'all'"),
        ({"ensemble": True}, "--ensemble is given without --fold all"),
        ({"overrides": {"output_dir": "x"}}, "--override output_dir: found a key that fit sets itself"),
        ({"overrides": {"potts_wieght": "1"}}, "there is no key 'potts_wieght'. Did you mean 'potts_weight'"),
        ({"supervision": "size+clicks"}, r"--supervision is size\+clicks, expected size, mask, scribble, joined by \+"),
        ({"overrides": {"max_epochs": "few"}}, "expected a whole number"),
        ({"overrides": {"size_level": "organ"}}, "expected slice or volume"),
        ({"overrides": {"first_labels_for": "[volume"}}, r"--override first_labels_for=\[volume: found no value"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(**wishes)
    with pytest.raises(ValueError, match="found 0 folds, expected at least 2"):
        plan({"folds": ()}, fold="all")


def test_a_config_of_the_bundle_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    bundle = shutil.copytree(BUNDLE_2D, tmp_path / "own")
    (bundle / "configs" / "imagenet.yaml").write_text("[1, 2\n")
    with pytest.raises(ValueError, match=r"imagenet.yaml: found invalid YAML .* Correct it."):
        plan_fit(FACTS, LIST, bundle, Wishes(), Machine(memory_bytes=2**36), Path("/out"))


def test_an_override_without_a_value_is_refused() -> None:
    assert override_option(["roi_size=[32,32]", "init=a=b"]) == {"roi_size": "[32,32]", "init": "a=b"}
    with pytest.raises(ValueError, match="--override seed: found no value, expected KEY=VALUE"):
        override_option(["val_fold=1", "seed"])


def test_a_window_of_an_override_counts_in_the_guess_of_the_time() -> None:
    small, large = (
        sum(stage.seconds for stage in plan(overrides={"roi_size": side}).trainings) for side in ("[32,32]", "[64,64]")
    )
    assert large == pytest.approx(4 * small)


def test_commands_of_the_plan_are_shown_as_they_run(command: Callable, phantoms: Path, tmp_path: Path) -> None:
    options = ["--plan-only", "--output-dir", "out", "--override", "seed=3", "--network", "segresnet"]
    told = command("medsize.cli", "fit", phantoms, *options, cwd=tmp_path).stdout
    assert not (tmp_path / "out").exists()
    runs = [shlex.split(line) for line in told.splitlines() if "monai.bundle run" in line]
    assert len([words for words in runs if "--run_id" not in words]) == 3
    for words in runs:
        given = dict(zip(words[4::2], words[5::2], strict=True))
        parser = ConfigParser()
        parser.read_config(ast.literal_eval(given.pop("--config_file")))
        assert Path(given.pop("--bundle_root")).is_dir()
        keys = [given.pop("--run_id", "run"), *(option.removeprefix("--") for option in given)]
        assert [key for key in keys if key not in parser.config] == []
        assert given["--seed"] == "3"
