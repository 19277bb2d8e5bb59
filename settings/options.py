"""The base of everything that users write: options of components, suites, configuration."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
