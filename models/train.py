"""Trains the built-in demo model on drawn streets and exports it to `models/street.onnx`.

Needs the extra `model`. `make demo-model` runs it; the figures in `models/README.md` come from it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from models.drawings import HELD_OUT_SEED, write_dataset
from models.export import export
from producer.street import CLASSES

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drawings", type=int, default=2400)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=HERE / "street.onnx")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        weights = train(Path(folder), args.drawings, args.epochs, args.seed)
        print(f"trained in {(time.monotonic() - started) / 60:.1f} minutes")
        export(weights, args.output, half=True)


def train(folder: Path, drawings: int, epochs: int, seed: int) -> Path:
    """Draws the pictures, trains, and returns the best weights."""
    from ultralytics import YOLO

    write_dataset(folder / "train", range(drawings))
    write_dataset(folder / "val", range(HELD_OUT_SEED - 200, HELD_OUT_SEED))
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(CLASSES))
    data = folder / "street.yaml"
    data.write_text(f"path: {folder}\ntrain: train/images\nval: val/images\nnames:\n{names}\n")
    model = YOLO(HERE / "street.yaml", task="detect")
    # The drawings vary by themselves, so the augmentations that distort them are off; `rect` trains
    # at the 384x640 that a 16:9 camera is letterboxed to.
    model.train(
        data=str(data), epochs=epochs, imgsz=640, rect=True, batch=16, device="cpu", seed=seed,
        optimizer="AdamW", lr0=0.002, cos_lr=True, warmup_epochs=1, mosaic=0, scale=0, translate=0,
        erasing=0, hsv_h=0.02, hsv_s=0.4, hsv_v=0.3, workers=2, plots=False,
        project=str(folder), name="run", patience=0,
    )  # fmt: skip
    return folder / "run" / "weights" / "best.pt"


if __name__ == "__main__":
    main()
