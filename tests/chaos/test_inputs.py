"""Photos, masks and lists that change while a run reads them, and are put back: nothing is poisoned by them.

`make chaos` does it to one round in ten.
"""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.store.care.usage import verify
from harness.store.store import Store
from tests.chaos.evidence import differences
from tests.chaos.faults import Scene, wait_for
from tests.chaos.runs import Run
from tests.chaos.telling import told

ROUNDS = int(os.environ.get("SEEDBED_CHAOS_ROUNDS", "0"))
FIRST = int(os.environ.get("SEEDBED_CHAOS_FIRST", "0"))
SPLITS = {"train": range(8), "dev": range(8, 12), "val": range(12, 18)}
SUITE = """
dataset: {{name: folder, root: {root}}}
backbone: {{name: test_efficientnet, weights: random, size: 64}}
segmenter: none
gallery: 0
recipes:
  cam:
    localizer: {{name: cam, hidden: 8, training: {{epochs: 2, batch: 4}}}}
    labeler: {{name: threshold, threshold: 0.3}}
"""


def filled(root: Path) -> Path:
    """A folder of squares of two colours, on grounds of noise, with masks and a suite beside."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    rows = ["id,labels"]
    for number in range(18):
        photo_HWC = rng.integers(0, 90, (48, 48, 3)).astype(np.uint8)
        mask_HW = np.zeros((48, 48), np.uint8)
        top, left = rng.integers(2, 26, 2)
        photo_HWC[top : top + 20, left : left + 20, number % 2] = 250
        mask_HW[top : top + 20, left : left + 20] = 1 + number % 2
        Image.fromarray(photo_HWC).save(root / "images" / f"p{number}.png")
        Image.fromarray(mask_HW).save(root / "masks" / f"p{number}.png")
        rows.append(f"p{number},{('red', 'green')[number % 2]}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    (root / "classes.txt").write_text("red\ngreen\n")
    for split, numbers in SPLITS.items():
        (root / f"{split}.txt").write_text("".join(f"p{number}\n" for number in numbers))
    suite = root.parent / "mine.yaml"
    suite.write_text(SUITE.format(root=json.dumps(str(root))))
    return suite


def ended(store: Path, suite: Path) -> int:
    with Run(store, suite=suite) as run:
        return run.process.wait()


@pytest.mark.parametrize("number", range(FIRST, FIRST + -(-ROUNDS // 10)))
def test_files_that_change_during_a_run_poison_nothing(number: int, tmp_path: Path) -> None:
    rng = random.Random(f"inputs {number}")
    suite = filled(tmp_path / "data")
    assert ended(tmp_path / "undisturbed", suite) == 0
    store = tmp_path / "store"
    done = []
    for _ in range(2):
        path = rng.choice(sorted(path for path in (tmp_path / "data").rglob("*") if path.is_file()))
        content, other = path.read_bytes(), rng.choice(sorted(path.parent.glob(f"*{path.suffix}"))).read_bytes()
        with Run(store, suite=suite) as run:
            wait_for(Scene(run, rng), rng.uniform(0, 2))
            path.write_bytes(rng.choice([other, content[: len(content) // 2], b""]))
            code = run.process.wait()
        done.append(f"{path.relative_to(tmp_path)} changed: {code}")
        assert code in (0, 1, 2), done
        time.sleep(rng.uniform(0, 0.1))
        path.write_bytes(content)
    assert ended(store, suite) == 0
    wrong = differences(store / "leaderboards" / "mine", tmp_path / "undisturbed" / "leaderboards" / "mine")
    wrong += [f"damaged: {ref}" for ref in verify(Store(store))[1]]
    told.append(f"inputs {number}: {', '.join(done)}: {'; '.join(wrong) or 'as if nothing had happened'}")
    assert wrong == []
