"""The setting `single_label`: the target set, and extra photos that show one class each, correctly labelled."""

from typing import ClassVar

from settings.extra import ExtraOptions, offer_with_extra
from settings.setting import Offer, Setting, Target
from settings.source import Kind

__all__ = ["SingleLabel"]


class SingleLabel(Setting):
    """Extra photos are trusted: they enter stage 2 too, unless told otherwise."""

    options_model = ExtraOptions
    kind: ClassVar[Kind] = "single_label"
    options: ExtraOptions

    def offer(self, target: Target) -> Offer:
        """Target photos, then the extra ones that passed the audit."""
        return offer_with_extra(self.kind, target, self.options, in_stage_2=True)
