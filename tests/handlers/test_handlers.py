"""Handlers keep what a run did, and let it go on."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import MetaTensor
from monai.metrics import compute_hausdorff_distance

from medsize.bundle.run.folder import is_finished
from medsize.handlers import (
    CaseTable,
    OverlayHandler,
    RunCheckpoint,
    RunRecord,
    SeedEpochs,
    WeightSchedule,
    calibrate_volumes,
    overlay,
    summarise,
)
from medsize.losses import CompositeLoss


def evaluator_of(scores: list[float]) -> Engine:
    """An evaluator whose key metric takes these values one run after the other."""
    engine = Engine(lambda *_: None)
    engine.state.metrics = {}
    remaining = iter(scores)

    @engine.on(Events.EPOCH_COMPLETED)
    def score(engine: Engine) -> None:
        engine.state.key_metric_name = "size_error"
        engine.state.metrics["size_error"] = next(remaining)

    return engine


def train(folder: Path, scores: list[float], resume: bool = False, epochs: int = 3) -> torch.nn.Module:
    network = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)

    def step(engine: Engine, batch: torch.Tensor) -> float:
        optimizer.zero_grad()
        loss = network(batch).square().sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    trainer, evaluator = Engine(step), evaluator_of(scores)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run([0]))
    RunCheckpoint(str(folder), {"network": network, "optimizer": optimizer}, evaluator, resume=resume).attach(trainer)
    trainer.run(torch.ones(4, 1, 2), max_epochs=epochs)
    return network


def test_best_weights_are_those_of_the_lowest_error(tmp_path: Path) -> None:
    train(tmp_path, [0.5, 0.2, 0.4])
    last = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    assert last["progress"]["epoch"] == 3
    assert last["progress"]["best_score"] == 0.2
    assert not torch.equal(best["weight"], last["network"]["weight"])


def test_a_worse_score_after_resuming_does_not_replace_the_best(tmp_path: Path) -> None:
    torch.manual_seed(0)
    train(tmp_path, [0.5, 0.2, 0.4])
    best = torch.load(tmp_path / "model.pt", weights_only=True)
    train(tmp_path, [0.3], resume=True, epochs=4)
    assert torch.equal(best["weight"], torch.load(tmp_path / "model.pt", weights_only=True)["weight"])


def test_resumed_weights_equal_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = train(tmp_path / "whole", [0.5] * 6, epochs=6)
    torch.manual_seed(0)
    train(tmp_path / "parts", [0.5] * 3, epochs=3)
    parts = train(tmp_path / "parts", [0.5] * 3, resume=True, epochs=6)
    torch.testing.assert_close(parts.weight, whole.weight, rtol=0, atol=0)


def test_without_a_score_the_last_weights_are_kept_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = train(tmp_path, [math.nan] * 3)
    torch.testing.assert_close(torch.load(tmp_path / "model.pt", weights_only=True)["weight"], network.weight.detach())
    assert "holds the last ones" in caplog.text


def test_the_scale_of_gradients_is_resumed_and_a_run_without_one_may_go_on_with_it(tmp_path: Path) -> None:
    def scale_after(resume: bool, start: float | None) -> float | None:
        trainer, network = Engine(lambda *_: None), torch.nn.Linear(2, 1)
        evaluator = evaluator_of([0.1] * 9)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run([0]))
        RunCheckpoint(str(tmp_path), {"network": network}, evaluator, resume=resume).attach(trainer)
        trainer.scaler = None if start is None else torch.amp.GradScaler("cpu", init_scale=start)
        trainer.run([0], max_epochs=2 if resume else 1)
        return None if start is None else trainer.scaler.get_scale()

    scale_after(resume=False, start=64.0)
    assert scale_after(resume=True, start=2.0) == 64.0
    scale_after(resume=False, start=None)
    assert scale_after(resume=True, start=2.0) == 2.0


def test_a_checkpoint_of_another_epoch_length_is_refused(tmp_path: Path) -> None:
    train(tmp_path, [0.1] * 3)
    trainer, network = Engine(lambda *_: None), torch.nn.Linear(2, 1)
    RunCheckpoint(str(tmp_path), {"network": network}, evaluator_of([]), resume=True).attach(trainer)
    with pytest.raises(ValueError, match="a run of 4 iterations an epoch, this one has 7"):
        trainer.run(range(7), max_epochs=4)


def test_every_epoch_has_randomness_of_its_own(tmp_path: Path) -> None:
    drawn: dict[int, list[float]] = {}
    generator = torch.Generator()

    def engine() -> Engine:
        made = Engine(
            lambda e, _: drawn.setdefault(e.state.epoch, []).append(torch.rand(1, generator=generator).item())
        )
        SeedEpochs(5, None, generator).attach(made)
        return made

    engine().run(range(2), max_epochs=3)
    first = dict(drawn)
    drawn.clear()
    resumed = engine()
    resumed.state.epoch, resumed.state.iteration = 2, 4
    resumed.state.max_epochs, resumed.state.epoch_length = 3, 2
    resumed.run(range(2))
    assert drawn == {3: first[3]}
    assert len({tuple(values) for values in first.values()}) == 3


class Terms:
    terms = {"size": torch.tensor(0.5)}


def test_weights_change_linearly_between_two_points_of_the_training() -> None:
    loss = CompositeLoss()
    trainer = Engine(lambda engine, batch: (loss.potts_weight, loss.soft_label_weight))
    seen: list[tuple[float, float]] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    weights = {"potts_weight": (0.0, 0.4, [0.0, 0.4]), "soft_label_weight": (1.0, 0.0, [0.5, 0.5])}
    WeightSchedule(loss, 10, weights).attach(trainer)
    assert loss.potts_weight == 0.0
    trainer.run([0] * 5, max_epochs=2)
    potts, soft = zip(*seen, strict=True)
    assert potts == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    assert soft == pytest.approx([1.0] * 5 + [0.0] * 5)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"pots_weight": (0.0, 1.0, [0.0, 0.2])}, "CompositeLoss has no weight 'pots_weight'"),
        (
            {"potts_weight": (0.0, 1.0, [0.3, 0.2])},
            r"potts_weight changes between \[0.3, 0.2\], expected two ascending",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(weights: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightSchedule(CompositeLoss(), 10, weights)


def test_record_keeps_epochs_and_summary(tmp_path: Path) -> None:
    record = RunRecord(str(tmp_path), {"seed": 3}, Terms(), inference={"num_classes": 2})
    trainer = Engine(lambda *_: {"loss": torch.tensor(2.0)})
    record.attach(trainer)
    trainer.run(range(3), max_epochs=2)
    record.write_summary(cases=1)
    rows = list(csv.DictReader((tmp_path / "epochs.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {float(row["loss"]) for row in rows} == {2.0}
    assert {float(row["size"]) for row in rows} == {0.5}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["seed"] == 3
    assert summary["epochs"] == 2
    assert summary["versions"]["monai"]
    assert summary["peak_memory_mb"] > 0
    assert json.loads((tmp_path / "inference.json").read_text()) == {"num_classes": 2}


def test_record_of_a_run_resumed_after_its_last_epoch_keeps_its_epochs(tmp_path: Path) -> None:
    for resumed in (False, True):
        record = RunRecord(str(tmp_path), {})
        trainer = Engine(lambda *_: {"loss": torch.tensor(2.0)})
        record.attach(trainer)
        if resumed:
            trainer.state.epoch_length, trainer.state.max_epochs = 3, 2
            trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", 2))
        trainer.run(range(3), max_epochs=2)
        record.write_summary()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["epochs"] == 2
    assert summary["training_seconds"] is not None


def test_a_run_goes_on_after_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    """Under AMP a step overflows now and then; its loss is in the table, and the step is skipped."""
    for resumed in (False, True):
        trainer = Engine(lambda engine, _: {"loss": torch.tensor(math.nan if engine.state.epoch < 2 else 2.0)})
        RunRecord(str(tmp_path), {}).attach(trainer)
        if resumed:
            trainer.state.epoch_length, trainer.state.max_epochs = 3, 2
            trainer.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "epoch", 1))
        trainer.run(range(3), max_epochs=2)
    rows = list(csv.DictReader((tmp_path / "epochs.csv").open()))
    assert [(row["epoch"], float(row["loss"])) for row in rows] == [
        ("1", pytest.approx(math.nan, nan_ok=True)),
        ("2", 2.0),
    ]


def test_a_run_that_is_being_replaced_is_not_finished_any_more(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("of the training before")
    RunRecord(str(tmp_path), {}).write_summary()
    assert is_finished(tmp_path)
    trainer = Engine(lambda *_: {"loss": torch.tensor(2.0)})
    RunRecord(str(tmp_path), {}).attach(trainer)
    found = []
    trainer.add_event_handler(Events.EPOCH_STARTED, lambda: found.append(is_finished(tmp_path)))
    trainer.run(range(3), max_epochs=1)
    assert found == [False]
    assert not (tmp_path / "metrics.csv").exists()


AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0]))


def onehot(labels: torch.Tensor, num_classes: int = 3) -> MetaTensor:
    return MetaTensor(torch.stack([(labels == k).float() for k in range(num_classes)]), affine=AFFINE)


def test_case_table_holds_the_figures_of_every_case(tmp_path: Path) -> None:
    label = torch.zeros(12, 12, 4)
    label[2:8, 2:8, 1:3] = 1
    predicted = torch.zeros(12, 12, 4)
    predicted[3:9, 2:8, 1:3] = 1
    image = MetaTensor(torch.zeros(1, 12, 12, 4), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    size = torch.tensor([[1000.0, 0.0], [1000.0, math.inf]])
    batch = [
        {"image": image, "true_label": MetaTensor(label[None], affine=AFFINE), "subject": "a"},
        {"image": image, "true_volume_mm3": size, "subject": "b"},
    ]
    engine = Engine(lambda engine, batch: [onehot(predicted), onehot(predicted)])
    CaseTable(str(tmp_path), ["liver", "kidney"], lambda x: x, record=RunRecord(str(tmp_path), {})).attach(engine)
    engine.run([batch])
    table = pd.read_csv(tmp_path / "metrics.csv").set_index(["subject", "structure"])
    row = table.loc[("a", "liver")]
    assert row["dice"] == pytest.approx(2 * 60 / 144, rel=1e-5)
    expected = compute_hausdorff_distance(
        onehot(predicted)[None, 1:2].as_tensor(),
        onehot(label)[None, 1:2].as_tensor(),
        include_background=True,
        percentile=95,
        spacing=[2, 2, 5],
    )
    assert row["hd95_mm"] == pytest.approx(float(expected))
    assert row["volume_ml"] == pytest.approx(72 * 20 / 1000)
    assert row["relative_size_error"] == 0
    assert table.loc[("a", "kidney"), ["dice", "hd95_mm", "relative_size_error"]].isna().all()
    assert table.loc[("b", "liver"), "true_volume_ml"] == 1
    assert table.loc[("b", "liver"), "volume_error_ml"] == pytest.approx(0.44)
    assert table.loc[("b", "liver"), "relative_size_error"] == pytest.approx(0.44)
    assert table.loc[("b", "kidney"), ["dice", "true_volume_ml"]].isna().all()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["cases"] == 1
    assert summary["results"]["dice"]["structures"]["liver"]["cases"] == 1


def test_errors_of_intervals_are_the_distances_to_them(tmp_path: Path) -> None:
    predicted = torch.zeros(12, 12, 4)
    predicted[3:9, 2:8, 1:3] = 1  # 1440 mm³
    image = MetaTensor(torch.zeros(1, 12, 12, 4), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    for ends, error, relative in (([1000.0, 2000.0], 0.0, 0.0), ([600.0, 1000.0], 0.44, 0.55)):
        size = torch.tensor(ends, dtype=torch.float64).unsqueeze(-1)
        engine = Engine(lambda engine, batch: [onehot(predicted)[:2]])
        CaseTable(str(tmp_path), ["liver"], lambda x: x).attach(engine)
        engine.run([[{"image": image, "true_volume_mm3": size, "subject": "a"}]])
        (row,) = pd.read_csv(tmp_path / "metrics.csv").to_dict("records")
        assert row["true_volume_ml"] == pytest.approx(sum(ends) / 2000)
        assert (row["volume_error_ml"], row["relative_size_error"]) == pytest.approx((error, relative))


def test_volumes_are_calibrated_by_given_sizes(tmp_path: Path) -> None:
    (tmp_path / "inference.json").write_text('{"num_classes": 3}')
    predicted = torch.zeros(12, 12, 4)
    predicted[3:9, 2:8, 1:3] = 1  # 1440 mm³
    sizes = [torch.tensor([[v, 0.0], [1.5 * v if v > 1500 else v, 0.0]]).double() for v in (1400, 1500, 1600)]
    batch = [
        {
            "image": MetaTensor(torch.zeros(1, 12, 12, 4), affine=AFFINE, meta={"filename_or_obj": f"{k}.nii.gz"}),
            "true_volume_mm3": size,
            "subject": None if k else "a",
        }
        for k, size in enumerate(sizes)
    ]
    engine = Engine(lambda engine, batch: [onehot(predicted)] * 3)
    CaseTable(str(tmp_path), ["liver", "kidney"], lambda x: x, record=RunRecord(str(tmp_path))).attach(engine)
    engine.run([batch])
    summary, inference = (json.loads((tmp_path / name).read_text()) for name in ("summary.json", "inference.json"))
    assert inference.pop("cohort_facts")["scans"] == 3
    assert inference == {"num_classes": 3, "calibration": summary["calibration"]}
    liver, kidney = summary["calibration"]["liver"], summary["calibration"]["kidney"]
    assert (liver["subjects"], liver["scans"], liver["level"]) == (3, 3, 0.75)
    assert liver["note"].startswith("3 subjects allow 75 %, not 90 %; given as intervals")
    assert liver["low"] < 1500 / 1440 < liver["high"]
    assert kidney["low"] is None
    assert "absent in all" in kidney["note"]
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert asdict(calibrate_volumes(table)["liver"]) == pytest.approx(liver)
    older = calibrate_volumes(table.drop(columns=["true_low_ml", "true_high_ml"]))["liver"]
    assert older.note == "3 subjects allow 75 %, not 90 %"


def test_what_is_predicted_but_not_there_has_dice_0(tmp_path: Path) -> None:
    predicted = torch.zeros(12, 12, 4)
    predicted[3:9, 2:8, 1:3] = 2
    image = MetaTensor(torch.zeros(1, 12, 12, 4), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    batch = [{"image": image, "true_label": MetaTensor(torch.zeros(1, 12, 12, 4), affine=AFFINE), "subject": "a"}]
    engine = Engine(lambda engine, batch: [onehot(predicted)])
    CaseTable(str(tmp_path), ["liver", "kidney"], lambda x: x).attach(engine)
    engine.run([batch])
    dice = pd.read_csv(tmp_path / "metrics.csv").set_index("structure")["dice"]
    assert dice["kidney"] == 0
    assert math.isnan(dice["liver"])


def test_false_findings_are_counted_in_scans_without_the_structure(tmp_path: Path) -> None:
    image = MetaTensor(torch.zeros(1, 12, 12, 1), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    size = {
        "absent": torch.zeros(2, 1),
        "present": torch.full((2, 1), 400.0),
        "unknown": torch.tensor([[0], [math.inf]]),
    }
    batch, predicted = [], []
    for kind, pixels in (("absent", 36), ("absent", 9), ("absent", 0), ("present", 36), ("unknown", 36)):
        labels = torch.zeros(144)
        labels[:pixels] = 1
        predicted.append(onehot(labels.reshape(12, 12, 1), 2))
        batch.append({"image": image, "true_volume_mm3": size[kind], "subject": kind})
    engine = Engine(lambda engine, batch: predicted)
    CaseTable(str(tmp_path), ["lesion"], lambda x: x, record=RunRecord(str(tmp_path), {})).attach(engine)
    engine.run([batch])
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["false_finding"].fillna(-1).tolist() == [1, 0, 0, -1, -1]
    assert table["false_fraction"].fillna(-1).tolist() == [0.25, 0.0625, 0, -1, -1]
    results = json.loads((tmp_path / "summary.json").read_text())["results"]
    assert results["false_finding"]["structures"]["lesion"]["cases"] == 3
    assert results["false_finding"]["mean"] == pytest.approx(1 / 3, abs=1e-4)


def test_circumferences_are_compared_with_measured_ones(tmp_path: Path) -> None:
    x, y = torch.meshgrid(torch.arange(40.0) - 20, torch.arange(40.0) - 20, indexing="ij")
    disc = (torch.hypot(x, y) <= 15).float().unsqueeze(-1)
    image = MetaTensor(torch.zeros(1, 40, 40, 1), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    stated = {"true_circumference_mm": torch.tensor([200.0, 100.0, torch.nan]).double()}
    engine = Engine(lambda engine, batch: [onehot(disc, 4)])
    CaseTable(str(tmp_path), ["head", "femur", "arm"], lambda x: x).attach(engine)
    engine.run([[{"image": image, "subject": "a", **stated}]])
    head, femur, arm = pd.read_csv(tmp_path / "metrics.csv").to_dict("records")
    assert head["circumference_mm"] == pytest.approx(2 * math.pi * 30, rel=0.01)
    assert head["circumference_error_mm"] == pytest.approx(200 - 2 * math.pi * 30, abs=2)
    assert (femur["circumference_mm"], femur["circumference_error_mm"]) == (0, 100)  # it is not found
    assert math.isnan(arm["circumference_mm"])


def test_summary_means_are_over_structures() -> None:
    rows = {
        "structure": ["a", "b", "a", "b"],
        "dice": [0.5, 0.9, 0.7, math.nan],
        "hd95_mm": [math.nan] * 4,
        "volume_error_ml": [1.0, 2.0, 3.0, 4.0],
        "relative_size_error": [0.1, 0.2, 0.3, 0.4],
    }
    result = summarise(pd.DataFrame(rows))
    assert result["dice"]["mean"] == pytest.approx((0.6 + 0.9) / 2)
    assert result["dice"]["structures"]["a"] == {"mean": 0.6, "std": 0.1, "cases": 2}
    assert result["hd95_mm"]["mean"] is None


def test_overlay_shows_the_slice_with_most_of_the_prediction() -> None:
    image = torch.zeros(1, 6, 6, 3)
    image[..., 2] = 0.5
    labels = torch.zeros(6, 6, 3)
    labels[1:5, 1:5, 2] = 1
    picture = overlay(image, onehot(labels))
    assert picture.shape == (3, 6, 6)
    assert picture[:, 0, 0].tolist() == pytest.approx([0.5] * 3, abs=1e-2)
    assert picture[:, 2, 2].std() > 0.05


def test_overlays_reach_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    engine = Engine(lambda *_: [{"image": torch.rand(1, 6, 6, 3), "pred": onehot(torch.ones(6, 6, 3))}])
    OverlayHandler(str(tmp_path), epoch=lambda: 4, num_cases=2).attach(engine)
    engine.run(range(3))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert sorted(events.Tags()["images"]) == ["overlay/0", "overlay/1"]
    assert events.Images("overlay/0")[0].step == 4
