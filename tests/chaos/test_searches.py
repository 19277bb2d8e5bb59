"""`seedbed search`, killed at random moments and started again, ends with the trials of one that was not.

`make chaos` kills it ten times with each sampler.
"""

import os
import random
import shutil
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
import yaml

from harness.store.store import Store
from tests.chaos.evidence import flaws
from tests.chaos.moments import After, During, Moment
from tests.chaos.runs import Run
from tests.chaos.telling import tell

KILLS = int(os.environ.get("SEEDBED_CHAOS_KILLS", "1"))
SEED = int(os.environ.get("SEEDBED_CHAOS_SEED", "0"))
LATEST_S = 12.5
"""No kill comes later after a start: a search that is let go on for so long may end."""
TRIALS = 16
SEARCH = {
    "include": "smoke",
    "segmenter": "none",
    "recipes": {"coattention": None, "cam+saliency": None, "cam": {"localizer": "cam", "refiners": ["pamr"]}},
    "search": {
        "recipes": ["cam"],
        "ranges": {
            "localizer.training.learning_rate": {"log_uniform": [0.002, 0.5]},
            "localizer.hidden": {"choice": [0, 16]},
            "refiners.0.iterations": {"int": [1, 24]},
            "labeler.threshold": "free",
        },
        "objective": {"policy": "held_out(4)"},
        "budget": {"trials": TRIALS},
        "parallel": 4,
    },
}


@pytest.mark.skipif("SEEDBED_CHAOS_KILLS" not in os.environ, reason="takes a minute: `make chaos`")
@pytest.mark.parametrize("sampler", ["prefix", "tpe"])
def test_a_search_that_is_killed_ends_with_the_same_trials(sampler: Literal["prefix", "tpe"], tmp_path: Path) -> None:
    suite = tmp_path / "searched.yaml"
    suite.write_text(yaml.safe_dump(SEARCH | {"search": SEARCH["search"] | {"sampler": sampler}}))
    rng, store = random.Random(f"{SEED}, {sampler}"), Store(tmp_path / "killed")
    came: list[Moment] = []
    while len(came) < KILLS:
        moment = drawn(rng)
        with Run(store.root, suite=suite, command="search") as run:
            moment.wait(run)
            run.kill()
            if not run.was_killed():
                break
        came.append(moment)
    killed = ended(store, suite)
    wrong = flaws(store)
    # Kept prefixes depend on what stages took, which the same store tells alike; TPE does not.
    if sampler == "prefix":
        shutil.rmtree(store.root / "searches")
    else:
        store = Store(tmp_path / "undisturbed")
    undisturbed = ended(store, suite)
    measured = ["spent"] if sampler == "prefix" else [name for name in killed if name.startswith(("spent", "seconds"))]
    different = killed.drop(columns=measured).compare(undisturbed.drop(columns=measured))
    wrong += [f"different trials: {list(different.index)}"] * (not different.empty)
    tell([came], wrong)
    assert wrong == []
    assert len(killed) == TRIALS
    assert len(came) == KILLS, "it ended before all kills came"


def drawn(rng: random.Random) -> Moment:
    """After some seconds, or while a localizer is trained."""
    if rng.random() < 0.5:
        return During("localizer_fit", rng.uniform(0, 0.2))
    return After(rng.uniform(0, LATEST_S))


def ended(store: Store, suite: Path) -> pd.DataFrame:
    """The trials of a search that is let come to its end."""
    with Run(store.root, suite=suite, command="search") as run:
        assert not run.was_killed()
    return pd.read_csv(store.root / "searches" / "searched" / "trials.csv")
