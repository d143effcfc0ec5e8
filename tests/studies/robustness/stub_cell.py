"""
Stands for a training: epochs with a checkpoint each, then ``metrics.csv`` and ``summary.json``, all written whole.

It waits as long as the work folder has a file ``hold``. Every epoch and every end is told in ``epochs.log``, so that
what was done twice can be seen. It needs no package, so that it starts at once.
"""

import csv
import json
import os
import random
import sys
import time
from pathlib import Path

folder, level, of_masks, seed, epochs, seconds, fails = sys.argv[1:8]
resume = sys.argv[9] == "True"
folder, level, of_masks = Path(folder), float(level), of_masks == "True"


def write(name: str, text: str) -> None:
    partial = folder / f".partial_{name}"
    partial.write_text(text)
    os.replace(partial, folder / name)


def tell(what: str) -> None:
    with (folder / "epochs.log").open("a") as log:
        log.write(f"{what} {os.getpid()}\n")


write("environment.json", json.dumps(dict(os.environ)))
if fails == "True":
    sys.exit("This cell is broken.")
while (folder.parent.parent / "hold").exists():
    time.sleep(0.05)
done = int((folder / "checkpoint.pt").read_text()) if resume else 0
for epoch in range(done + 1, int(epochs) + 1):
    time.sleep(float(seconds))
    tell(f"epoch {epoch}")
    write("checkpoint.pt", str(epoch))

rng = random.Random(f"{level} {of_masks} {seed}")
rows = []
for subject in range(8):
    for structure in ("liver", "kidney"):
        true = 100 + 10 * subject
        dice = 0.9 - (0.4 * level if of_masks else 0.1 + 0.05 * level) + 0.02 * rng.random()
        volume = true * (1 + level * (rng.random() - 0.5) / 2)
        rows.append(
            {
                "image": f"/data/scan_{subject}.nii.gz",
                "subject": f"S{subject}",
                "structure": structure,
                "dice": round(dice, 6),
                "hd95_mm": round(5 + 10 * level * rng.random(), 4),
                "volume_ml": round(volume, 4),
                "true_volume_ml": true,
                "volume_error_ml": round(abs(volume - true), 4),
                "relative_size_error": round(abs(volume - true) / true, 6),
            }
        )
with (folder / ".partial_metrics.csv").open("w", newline="") as file:
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
os.replace(folder / ".partial_metrics.csv", folder / "metrics.csv")
write(
    "summary.json",
    json.dumps(
        {
            "size_detail": "given",
            "noise_level": level,
            "size_change": None if of_masks else 1.01 * level,
            "expected_size_change": None if of_masks else level,
            "mask_change": level if of_masks else None,
            "training_scans": 10,
            "training_seconds": float(epochs) * float(seconds),
            "data_list_sha256": "0d3f",
            "versions": {"python": "3"},
            "results": {"dice": {"mean": sum(row["dice"] for row in rows) / len(rows)}},
        }
    ),
)
tell("end")
