"""How many more candidates a search tries for the same stage-seconds: ours, without each of its parts, and Ray Tune's.

On `scenes`, where the localizer (CAM with a wide hidden layer) costs at least three times what follows it
(PAMR and a sweep on 32 masks of dev). All arms have the same budget of stage-seconds: what stages took by their
records, without the start of processes, which Tune pays for every trial and we once. What is common to all trials
(features, weak set) is made beforehand and counts for nobody. Our arms begin with the default configuration, as every
search does, and pay for it; Tune draws from its first trial on. Arms: whole; without sharing; without ASHA; without
TPE (prefixes are kept, the rest is drawn evenly); without kept prefixes (plain TPE); plain random (neither); and Ray
Tune's random search, whose trials each have a store of their own and share nothing.
"Without sharing" is not run: it is the whole arm's trials, each paid as if it had computed all of its stages at their
median cost, and cut at the budget.
Printed: candidates and best score of each arm; candidates of the whole arm against Tune's (aim: 4 times); the share of
Tune's cost at which it has Tune's best value (aim: 1/3); what sharing brought of the bound that `seedbed plan` prints
(aim: 80 %); how busy the slots were between the first stage's start and the last one's end (aim: 90 %). Then 2,000
trials all of whose stages exist, aim 20 s, and 1,000 replayed searches, aim 60 s of one core. Few repetitions of a
short budget tell factors, not the order of arms that lie near each other: `--stage-seconds 300 --repetitions 5` does.
A budget of few default trials tells nothing: with 40 epochs and 45 s, no arm came to more than three candidates.
Writes search.csv and search.png beside this file, or into `--output`, after each repetition, which takes some nine
minutes on two idle cores.
Run: python -m benchmarks.search [--stage-seconds 90] [--repetitions 3] [--epochs 8] [--existing 2000] [--without-tune]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml

from harness.execution.workers import Workers
from harness.searching.bound import bounds_of
from harness.searching.conduct import Asked, Outcome, conduct
from harness.searching.replay import replayed
from harness.stages.numerics import usable_cores
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError

FOLDER = Path(__file__).parent
EPOCHS = "recipes.cam+pamr.localizer.training.epochs"
RATE, ITERATIONS = "localizer.training.learning_rate", "refiners.0.iterations"
RANGES = {
    RATE: {"log_uniform": [0.002, 0.5]},
    "localizer.hidden": {"choice": [64, 128, 256]},
    ITERATIONS: {"int": [1, 24]},
    "refiners.0.size": {"choice": [64, 96, 128]},
}
ARMS: Mapping[str, tuple[str, ...]] = {
    "whole": (),
    "without ASHA": ("search.stopping=none",),
    "without TPE": (),
    "without prefixes": ("search.sampler=tpe",),
    "plain random": ("search.sampler=random",),
}
EVENLY = "without TPE"
"""The arm that keeps prefixes and draws the rest evenly, which no option of a suite asks for."""
TUNE, UNSHARED = "Ray Tune, random", "without sharing"
SEARCHES = 1000


def write_suite(folder: Path, epochs: int) -> Path:
    """The suite that all arms search."""
    recipe = {
        "localizer": {"name": "cam", "hidden": 256, "training": {"epochs": epochs}},
        "refiners": [{"name": "pamr", "size": 96}],
        "labeler": {"name": "threshold", "threshold": 0.3},
    }
    search = {"ranges": RANGES, "objective": {"policy": "held_out(32)"}, "budget": {"trials": 1}, "parallel": 5}
    content = {
        "dataset": {"name": "scenes", "size": 96, "train": 128, "dev": 32, "val": 16},
        "backbone": {"size": 224},
        "recipes": {"cam+pamr": recipe},
        "search": search,
    }
    path = folder / "searched.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def ours(arm: str, suite: Path, base: Path, folder: Path, seconds: float, rng_seed: int) -> Outcome:
    """A search on a copy of the store that has what all trials have in common."""
    shutil.copytree(base, folder)
    budget = f"search.budget={{stage_seconds: {seconds}}}"
    overrides = (*ARMS[arm], budget, f"search.rng_seed={rng_seed}")
    never = patch("harness.searching.proposals.START", 10**9) if arm == EVENLY else nullcontext()
    with never:
        return conduct(str(suite), overrides, folder, Workers(), Asked(), lambda *_: None)


def curve(outcome: Outcome, is_shared: bool = True) -> Iterator[tuple[float, float]]:
    """Stage-seconds spent and score, trial by trial; not shared: as if each had computed all."""
    trials = list(outcome.findings[0].search.trials.values())
    paid: dict[int, list[float]] = {}
    for trial in trials:
        for place, rung in enumerate(trial.rungs):
            if rung.spent:
                paid.setdefault(place, []).append(rung.spent)
    for trial in trials:
        spent = trial.spent
        if not is_shared:
            spent = sum(rung.spent or float(np.median(paid.get(n, [0.0]))) for n, rung in enumerate(trial.rungs))
        yield spent, float("-inf") if trial.score is None else trial.score


def tunes(suite: Path, base: Path, folder: Path, seconds: float, rng_seed: int) -> list[tuple[float, float]]:
    """Ray Tune's random search: stage-seconds and score of each trial, until the budget is used up."""
    import ray
    from ray import tune

    def trial(config: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as own:
            shutil.copytree(base, Path(own) / "store")
            parts = [f"recipes.cam+pamr.localizer.training.learning_rate={config['rate']}"]
            parts.append(f"recipes.cam+pamr.localizer.hidden={config['hidden']}")
            chain = [{"name": "pamr", "iterations": config["iterations"], "size": config["size"]}]
            parts += [f"recipes.cam+pamr.refiners={json.dumps(chain)}", "search.budget.trials=1"]
            parts.append(f"search.ranges={json.dumps(RANGES)}")
            found = conduct(str(suite), parts, Path(own) / "store", Workers("serial"), Asked(), lambda *_: None)
            (one,) = found.findings[0].search.trials.values()
            tune.report({"score": one.score, "spent": one.spent})

    class Budget(tune.Stopper):
        spent: ClassVar[dict[str, float]] = {}

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
            # Tune comes twice with a result that is a trial's last one.
            Budget.spent[trial_id] = result["spent"]
            return False

        def stop_all(self) -> bool:
            return sum(Budget.spent.values()) >= seconds

    space = {
        "rate": tune.loguniform(0.002, 0.5),
        "hidden": tune.choice([64, 128, 256]),
        "iterations": tune.randint(1, 25),
        "size": tune.choice([64, 96, 128]),
    }
    ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        Budget.spent.clear()
        np.random.seed(rng_seed)  # Tune's random search draws from numpy's global state.
        tuner = tune.Tuner(
            trial,
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=10_000, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=str(folder.absolute()), stop=Budget(), verbose=0),
        )
        results = [result.metrics for result in tuner.fit() if result.metrics and "spent" in result.metrics]
    finally:
        ray.shutdown()
    return [(one["spent"], one["score"]) for one in results]


def busy(outcome: Outcome, folder: Path, base: Path) -> float:
    """The share of the slots' time that stages took, from the first one's start to the last one's end; nan of none."""
    (finding,) = outcome.findings
    claimed = [ref for trial in finding.search.trials.values() for ref in trial.claimed]
    before = Store.at(base).present(claimed)
    records = list(Store.at(folder).records([ref for ref in claimed if ref not in before]).values())
    if not records:
        return float("nan")
    ends = [datetime.fromisoformat(record.finished).timestamp() for record in records]
    starts = [end - record.seconds for end, record in zip(ends, records, strict=True)]
    slots = Workers().known_slots or usable_cores()
    return sum(record.seconds for record in records) / slots / (max(ends) - min(starts))


def told(rows: pd.DataFrame, most: float) -> None:
    """Print, arm by arm, the candidates and the best score, and how the whole arm stands beside others.

    `most`: how many times as many trials sharing allows, by the bound.
    """
    for arm, runs in rows.groupby("arm", sort=False):
        each = runs.groupby("rng_seed")
        counts, best = each.size(), each["score"].max()
        print(f"{arm:18} {counts.mean():6.1f} candidates ({counts.min()} to {counts.max()}), best {best.mean():.4f}")
    counts = rows.groupby("arm").size()
    shared = counts["whole"] / counts[UNSHARED]
    print(f"sharing: {shared:.2f} times as many candidates, {shared / most:.0%} of the bound {most:.2f}, aim 80 %")
    tune = rows[rows["arm"] == TUNE]
    if tune.empty:
        return
    print(f"candidates against Ray Tune's: {counts['whole'] / counts[TUNE]:.2f} times, aim 4")
    shares = []
    for rng_seed, runs in tune.groupby("rng_seed"):
        whole = rows[(rows["arm"] == "whole") & (rows["rng_seed"] == rng_seed)]
        came = whole[whole["score"].cummax() >= runs["score"].max()]
        shares.append(came["total"].min() / runs["total"].max() if len(came) else float("nan"))
    reached = [share for share in shares if np.isfinite(share)]
    mean = f"{np.mean(reached):.2f} of its cost, aim 0.33" if reached else "no cost"
    print(f"Tune's best value on dev at {mean} (reached in {len(reached)} of {len(shares)} repetitions)")


def existing(suite: Path, folder: Path, count: int) -> tuple[float, float]:
    """Seconds by the clock of a search of which every stage is there: until its last trial has ended, and of all of it.

    24 refined maps, and thresholds that are read from their sweeps. After the trials come the winner's rows on what is
    reported, whose stages are not there, and the plots.
    """
    last_trial = 0.0

    def ended(*_: object) -> None:
        nonlocal last_trial
        last_trial = time.perf_counter()

    none = dict.fromkeys(RANGES)
    few = none | {ITERATIONS: RANGES[ITERATIONS]}
    many = few | {"labeler.threshold": {"uniform": [0.05, 0.95], "step": 0.01}}

    def searched(ranges: Mapping[str, Any], trials: int) -> Outcome:
        overrides = (
            f"search.ranges={json.dumps(ranges)}",
            f"search.budget={{trials: {trials}}}",
            "search.stopping=none",
        )
        return conduct(str(suite), overrides, folder, Workers(), Asked(), ended)

    searched(few, count)
    shutil.rmtree(folder / "searches")
    start = time.perf_counter()
    trials = searched(many, count).findings[0].search.trials
    assert len(trials) == count
    assert sum(trial.spent for trial in trials.values()) == 0
    return last_trial - start, time.perf_counter() - start


def main() -> None:
    """Run the arms, print what they came to, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage-seconds", type=float, default=90.0)
    parser.add_argument("--repetitions", type=int, default=3, help="0: the trials whose stages exist alone")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--existing", type=int, default=2000, help="trials whose stages exist")
    parser.add_argument("--output", type=Path, default=FOLDER, help="the folder of search.csv and search.png")
    parser.add_argument("--without-tune", action="store_true")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []

    def add(arm: str, rng_seed: int, trials: Iterator[tuple[float, float]] | list[tuple[float, float]]) -> None:
        total = 0.0
        for spent, score in trials:
            total += spent
            # Of an arm that is paid otherwise than it ran, what lies beyond the budget was never tried.
            if total - spent < asked.stage_seconds:
                rows.append({"arm": arm, "rng_seed": rng_seed, "total": total, "score": score})

    shares: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite, base = write_suite(folder, asked.epochs), folder / "base"
        # Of one epoch, which no trial has: what is left is what all trials have in common.
        conduct(str(suite), (f"{EPOCHS}=1",), base, Workers(), Asked(), lambda *_: None)
        shutil.rmtree(base / "searches")
        whole = shutil.copytree(base, folder / "default")
        conduct(str(suite), (), whole, Workers(), Asked(), lambda *_: None)
        (bound,) = bounds_of(load_suite(suite), whole)
        print(bound.to_text(), flush=True)
        for rng_seed in range(asked.repetitions):
            for arm in ARMS:
                own = folder / f"{arm} {rng_seed}"
                outcome = ours(arm, suite, base, own, asked.stage_seconds, rng_seed)
                add(arm, rng_seed, curve(outcome))
                if arm == "whole":
                    add(UNSHARED, rng_seed, curve(outcome, is_shared=False))
                    shares.append(busy(outcome, own, base))
            if not asked.without_tune:
                found = tunes(suite, base, folder / f"tune {rng_seed}", asked.stage_seconds, rng_seed)
                add(TUNE, rng_seed, found)
            # After each repetition, so that one may stop it before the last.
            print(f"repetition {rng_seed}: slots were busy {np.nanmean(shares):.0%} of the whole arm's time, aim 90 %")
            frame = pd.DataFrame(rows)
            told(frame, bound.most)
            frame.to_csv(asked.output / "search.csv", index=False)
            draw(frame, asked.output)
        seconds, all_seconds = existing(suite, whole, asked.existing)
        took = f"{seconds:.1f} s, aim 20 s for 2,000; with the winner's rows and plots {all_seconds:.1f} s"
        print(f"{asked.existing} trials whose stages exist: {took}", flush=True)
        if not rows:
            return
        recorded = next(iter(sorted((folder / "without ASHA 0" / "searches").rglob("trials.csv"))))
        start = time.process_time()
        try:
            replayed(recorded, SEARCHES)
        except UserError as error:
            print(f"no replay: {error}")
            return
        print(f"{SEARCHES} replayed searches: {time.process_time() - start:.1f} s of one core, aim 60 s")


def draw(frame: pd.DataFrame, folder: Path) -> None:
    """The best score so far by stage-seconds, the mean over repetitions, an arm a line."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    grid = np.linspace(0, frame["total"].max(), 200)
    for arm, runs in frame.groupby("arm", sort=False):
        lines = []
        for _, run in runs.groupby("rng_seed"):
            best = run["score"].cummax().to_numpy()
            place = np.searchsorted(run["total"].to_numpy(), grid, side="right") - 1
            lines.append(np.where(place >= 0, best[np.maximum(place, 0)], np.nan))
        shown = np.stack(lines)
        # From where on all repetitions have a score.
        known = np.isfinite(shown).all(axis=0)
        axes.plot(grid[known], shown[:, known].mean(axis=0), label=f"{arm}: {len(runs) / len(lines):.0f} candidates")
    axes.set(xlabel="stage-seconds", ylabel="best mIoU on dev so far, mean over repetitions")
    axes.legend(loc="lower right")
    figure.savefig(folder / "search.png", dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
