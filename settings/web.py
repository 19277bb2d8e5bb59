"""The setting `web`: the target set, and what a web query for each class returned, noise included."""

from typing import Annotated, ClassVar

from pydantic import Field

from settings.components import ComponentSpec
from settings.discovery import CLASSIFIERS, FILTERS
from settings.extra import ExtraOptions, offer_with_extra
from settings.setting import Filtering, Offer, Setting, Target
from settings.source import Kind

__all__ = ["Web", "WebOptions"]


class WebOptions(ExtraOptions):
    """Where extra photos come from, what becomes of them, and who decides which of them show what was asked for."""

    filter: Annotated[ComponentSpec, FILTERS] = Field(
        ComponentSpec(name="none"), description="none, classifier, small_loss: see settings/filters"
    )
    classifier: Annotated[ComponentSpec, CLASSIFIERS] = Field(
        ComponentSpec(name="logistic"), description="gives the filter its probabilities"
    )


class Web(Setting):
    """Extra photos are not trusted: only filtered ones enter stage 2, unless told otherwise."""

    options_model = WebOptions
    kind: ClassVar[Kind] = "web"
    options: WebOptions

    def offer(self, target: Target) -> Offer:
        """Target photos, then the extra ones that passed the audit; a filter drops more of them while a suite runs."""
        is_filtered = self.options.filter.name != "none"
        filtering = Filtering(self.options.classifier, self.options.filter) if is_filtered else None
        return offer_with_extra(self.kind, target, self.options, in_stage_2=is_filtered, filtering=filtering)
