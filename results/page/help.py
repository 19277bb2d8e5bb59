"""What the columns of a board's table say, in a sentence each, for readers who do not know the field."""

from results.tables import VARIANTS

__all__ = ["ABOVE_FLOOR", "help_of"]

ABOVE_FLOOR = "above the floor"
"""A column that the page alone has."""
HELP = {
    "rank": "One more than the number of lines that are better by a test. Lines with = share it: the test cannot tell "
    "them apart. A dash: the line is not ranked.",
    "recipe": "The method: the name of its localizer, then of what refines its maps. † marks what is not ranked, ‡ "
    "what was made elsewhere and scored here, § what was only published.",
    "setting": "Which photos and labels the method was given.",
    "backbone": "The network whose features are read, and the side of the photos that it sees.",
    "precision": "Of the pixels that pseudo labels give a class, the share that is right, as a mean over classes.",
    "coverage": "The share of pixels that pseudo labels decide.",
    "covered only": "mIoU of pseudo labels on the decided pixels alone.",
    "95 % interval": "Where the mean would lie with other rng seeds and other photos, in 95 of 100 cases.",
    "Δ": "The difference to the yardstick (cam) of the same setting, and whether a test can tell the two apart; ° from "
    "a single rng seed, which says nothing of another training.",
    ABOVE_FLOOR: "The value less that of all-background, which says background everywhere and trains nothing.",
    "threshold": "Where maps are cut: below it a pixel is background.",
    "rng seeds": "How often everything random was drawn anew: three at least are needed for a rank.",
    "masks (choose+train)": "How many true masks were used to choose options, and how many to train on.",
    "oracle gap": "What the best threshold on the reported masks themselves would add to the mIoU of the maps.",
    "label hours": "An estimate of the work of those who made the labels and masks that the method used, in hours.",
    "seconds": "How long all stages behind the line took together, as a mean over rng seeds.",
}
STAGES = {
    "maps": "mIoU (0..1, more is better) of the localization maps, cut at the threshold.",
    "refined": "mIoU (0..1, more is better) of the refined maps, cut at the threshold.",
    "pseudo labels": "mIoU (0..1, more is better) of the masks that the segmentation network learns from.",
    "segmentation": "mIoU (0..1, more is better) of what the trained network says of photos it has not seen.",
}


def help_of(title: str) -> str:
    """What a column says, by its title; empty for one that is not known here."""
    if title in HELP:
        return HELP[title]
    if title.endswith(" epochs"):
        return f"For how many epochs the {title.removesuffix(' epochs')} was trained."
    told = next((text for stage, text in STAGES.items() if title.startswith(stage)), "")
    _, _, variant = title.partition("segmentation ")
    ways = [f"{way}: {VARIANTS[way]}" for way in variant.split("+") if way in VARIANTS]
    return f"{told} {', '.join(ways)}." if ways else told
