"""What the settings with extra photos have in common: the union with the target set, audited before anybody uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from settings.aliases import Aliases
from settings.audit import Audit, AuditOptions, audit
from settings.components import ComponentSpec, build_component, validated_options
from settings.discovery import SETTINGS, SOURCES
from settings.errors import UserError
from settings.noise import NoiseOptions, with_noise
from settings.options import Options
from settings.records import LabelSpace, Photo, WeakSet
from settings.setting import Filtering, Offer, Target
from settings.source import ExtraSource, Kind
from settings.truth import read_truth

__all__ = ["ExtraOptions", "offer_with_extra", "truth_of"]


class ExtraOptions(Options):
    """Where extra photos come from, and what becomes of them."""

    source: Annotated[ComponentSpec, SOURCES] = Field(description="class_folders, folder, scenes: see settings/sources")
    aliases: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="further names of classes, beside those of settings/aliases.yaml"
    )
    noise: NoiseOptions = Field(NoiseOptions(), description="made on purpose, on top of what the source has")
    audit: AuditOptions = AuditOptions()
    stage_2: bool | None = Field(None, description="whether extra photos get pseudo labels and enter stage 2")


def offer_with_extra(
    kind: Kind,
    target: Target,
    options: ExtraOptions,
    in_stage_2: bool,
    filtering: Filtering | None = None,
) -> Offer:
    """The target's photos and the extra ones that pass the audit; raises UserError where none does."""
    source: ExtraSource = build_component(SOURCES, options.source, f"settings.{kind}.source")
    found = source.photos(kind, target.label_space, Aliases(options.aliases))
    declared, _ = with_noise(found, target.label_space, options.noise)
    report = audit(declared, target.evaluation, options.audit)
    kept = _without(declared, report)
    if not kept:
        raise UserError(
            f"settings.{kind}.source", f"{len(declared)} photos, each dropped by the audit", "one that passes it"
        )
    return Offer(
        WeakSet((*target.photos, *kept), target.label_space),
        (*target.photos, *declared),
        identity=_identity(options, source, report),
        audit=report,
        passed_over=source.passed_over(),
        filtering=filtering,
        extra_in_stage_2=in_stage_2 if options.stage_2 is None else options.stage_2,
        noise_rate=_rate(source.noise_rate(kind), options.noise.wrong_class + options.noise.off_topic),
    )


def _without(photos: Sequence[Photo], report: Audit) -> tuple[Photo, ...]:
    dropped = {drop.photo_id for drop in report.drops}
    return tuple(photo for photo in photos if photo.id not in dropped)


def _identity(options: ExtraOptions, source: ExtraSource, report: Audit) -> dict[str, Any]:
    return {
        "source": {"name": options.source.name, "version": source.version, **source.identity()},
        "noise": options.noise.model_dump(mode="json"),
        "audit": options.audit.model_dump(mode="json"),
        "drops": [drop.photo_id for drop in report.drops],
    }


def _rate(known: float | None, made: float) -> float | None:
    """The share of photos that do not show their label, where noise was made on top of what is known of the source."""
    if known is None:
        return made or None
    return 1 - (1 - known) * (1 - made)


def truth_of(setting: ComponentSpec, space: LabelSpace, csv: Path | None) -> Mapping[str, tuple[int, ...]] | None:
    """What the extra photos of a setting really show, by photo id; None where neither file nor source knows.

    For `seedbed data audit --truth` alone: it is asked after a filter has decided. Raises UserError for an odd file.
    """
    kind: Kind = SETTINGS.load(setting.name).kind
    options: ExtraOptions = validated_options(
        SETTINGS.load(setting.name).options_model, setting.options, f"settings.{setting.name}"
    )
    source: ExtraSource = build_component(SOURCES, options.source, f"settings.{kind}.source")
    aliases = Aliases(options.aliases)
    photos = source.photos(kind, space, aliases)
    known = read_truth(csv, photos, space, aliases) if csv else source.truth(kind, space, aliases)
    return None if known is None else with_noise(photos, space, options.noise, known)[1]
