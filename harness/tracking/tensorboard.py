"""TensorBoard: event files in a folder, one folder a line and rng seed. Needs neither TensorFlow nor torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.tracking.tracker import Subject, Track, Tracker
from settings.errors import UserError

__all__ = ["Tensorboard"]

DEFAULT = "tensorboard"
NOTE = "facts"
"""The series whose description tells what a subject is: a scalar has the only text that the writer takes."""


class Tensorboard(Tracker):
    """`where` is the folder for `tensorboard --logdir`."""

    package = "tensorboard"

    def open(self, subject: Subject) -> Track:
        """The folder `<suite>/<recipe>/<setting>/<rng seed>-<key>`."""
        line = Path(subject.suite) / subject.recipe / subject.setting / f"{subject.rng_seed}-{subject.key[:8]}"
        try:
            return _Folder(Path(self.where or DEFAULT) / line)
        except OSError as error:
            expected = "a folder that can be written"
            raise UserError("--where", f"'{error.filename}' ({error.strerror})", expected) from None

    def place(self) -> str:
        """The command that shows it."""
        return f"tensorboard --logdir {self.where or DEFAULT}"


class _Folder(Track):
    def __init__(self, folder: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._last: dict[str, int] = {}
        read = EventAccumulator(str(folder), size_guidance={"tensors": 0})
        read.Reload()
        for series in read.Tags()["tensors"]:
            self._last[series] = max(event.step for event in read.Tensors(series))
        # Any: the package has no types. None while there is nothing to write: each writer makes a file of its own.
        self._writer: Any = None

    def last_step(self, series: str) -> int:
        return self._last.get(series, -1)

    def log(self, series: str, step: int, value: float) -> None:
        self._write(series, step, value, None)

    def tell(self, facts: Mapping[str, str]) -> None:
        if self.last_step(NOTE) < 0:
            told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
            self._write(NOTE, 0, 0.0, told)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self, is_over: bool) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, series: str, step: int, value: float, description: str | None) -> None:
        from tensorboard.summary import Writer

        if self._writer is None:
            self._writer = Writer(str(self._folder))
        self._writer.add_scalar(series, value, step, description=description)
        self._last[series] = step
