"""MLflow: an experiment a suite, a run a line and rng seed, which later calls find again by its tag.

MLflow 3 keeps runs in a database, SQLite where nobody says otherwise, and refuses folders such as `./mlruns`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.tracking.tracker import Subject, Track, Tracker
from settings.errors import UserError

__all__ = ["Mlflow"]

TAG = "seedbed.key"
UNKNOWN = re.compile(r"[^\w\-. :/]")
"""What MLflow allows in no name of a metric or parameter."""


class Mlflow(Tracker):
    """`where` is a tracking URI; default: MLflow's own, from MLFLOW_TRACKING_URI or `mlflow.db` in this folder."""

    package = "mlflow"

    def open(self, subject: Subject) -> Track:
        """The run with the subject's key, begun where the experiment has none."""
        from mlflow import MlflowClient

        with _told(self._uri()):
            client = MlflowClient(tracking_uri=self._uri())
            experiment = client.get_experiment_by_name(subject.suite)
            number = experiment.experiment_id if experiment else client.create_experiment(subject.suite)
            found = client.search_runs([number], f"tags.`{TAG}` = '{subject.key}'", max_results=1)
            run = found[0] if found else client.create_run(number, tags={TAG: subject.key}, run_name=subject.name)
            if found:
                client.update_run(run.info.run_id, status="RUNNING")
            return _Run(client, run, self._uri())

    def place(self) -> str:
        """The command that shows it."""
        return f"mlflow ui --backend-store-uri {self._uri()}"

    def _uri(self) -> str:
        import mlflow

        return self.where or mlflow.get_tracking_uri()


class _Run(Track):
    # Any: the package has no types.
    def __init__(self, client: Any, run: Any, uri: str) -> None:
        self._client, self._run, self._uri = client, run.info.run_id, uri
        self._params = dict(run.data.params)
        self._last: dict[str, int] = {}

    def last_step(self, series: str) -> int:
        if series not in self._last:
            with _told(self._uri):
                history = self._client.get_metric_history(self._run, _named(series))
            self._last[series] = max((metric.step for metric in history), default=-1)
        return self._last[series]

    def log(self, series: str, step: int, value: float) -> None:
        with _told(self._uri):
            self._client.log_metric(self._run, _named(series), value, step=step)
        self._last[series] = step

    def tell(self, facts: Mapping[str, str]) -> None:
        new = {_named(name): value for name, value in facts.items() if _named(name) not in self._params}
        with _told(self._uri):
            for name, value in new.items():
                self._client.log_param(self._run, name, value)
        # MLflow takes each once.
        self._params |= new

    def flush(self) -> None:
        """Nothing waits: each value is sent by itself."""

    def close(self, is_over: bool) -> None:
        with _told(self._uri):
            self._client.set_terminated(self._run, status="FINISHED" if is_over else "KILLED")


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """What MLflow, its database or its server refuse becomes one line."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first_sentence = str(error).partition("\n")[0].partition(". ")[0]
        raise UserError("--where", f"'{uri}' ({first_sentence})", "a URI such as sqlite:///mlflow.db") from None


def _named(name: str) -> str:
    return UNKNOWN.sub("_", name)
