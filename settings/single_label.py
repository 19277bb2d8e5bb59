"""The setting `single_label`: the target set, and extra photos that show one class each, correctly labelled."""

from settings.extra import ExtraOptions, offer_with_extra
from settings.setting import Offer, Setting, Target


class SingleLabel(Setting):
    """Extra photos are trusted: they enter stage 2 too, unless told otherwise."""

    options_model = ExtraOptions
    options: ExtraOptions

    def offer(self, target: Target) -> Offer:
        """Target photos, then the extra ones that passed the audit."""
        return offer_with_extra("single_label", target, self.options, in_stage_2=True)
