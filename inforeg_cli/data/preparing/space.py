"""How many bytes a store will have, and whether the disk has room for them."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from inforeg_cli.data.decoding import Decoded, Decoder, Packed, Task, decode
from inforeg_cli.data.parallel import FEWEST, ordered_map
from inforeg_cli.data.sources import Plan
from inforeg_cli.data.store import RAW
from inforeg_cli.data.writer import Part
from inforeg_cli.errors import InforegError
from inforeg_cli.naming import size

#: Clips that are decoded to know the size of the others.
_SAMPLES = 6


def estimate(plan: Plan) -> int:
    """Bytes of the store that the plan will make: exact for fixed shapes, for the others from a few clips that are
    decoded for it, once a plan."""
    if plan.size is None:
        # What may crash a decoder is decoded in a process of its own, where starting one is worth while.
        fewest = FEWEST if len(plan.clips) < FEWEST else 0
        setup = Decoder(plan.decoding, plan.modalities)
        results = ordered_map(decode, samples(plan), 1, setup, fewest=fewest)
        weigh(plan, (result.packed for result in results if isinstance(result, Decoded)))
    return plan.size


def samples(plan: Plan) -> list[Task]:
    """A few clips, with no more of them than has no fixed shape, that tell the size of the others; none where it is
    known."""
    varying = _varying(plan)
    if plan.size is not None or not varying or not plan.clips:
        return []
    chosen = np.linspace(0, len(plan.clips) - 1, _SAMPLES).round().astype(int)
    clips = [plan.clips[index] for index in sorted(set(chosen.tolist()))]
    return [Task({name: clip.media[name] for name in varying}, clip.named) for clip in clips]


def weigh(plan: Plan, clips: Iterable[Mapping[str, Packed | Part]]) -> None:
    """Estimate the store's size, where that is still to be done, from these clips of it; empty ones failed."""
    if plan.size is None:
        varying = _varying(plan)
        sizes = [sum(clip[name].bytes for name in varying) for clip in clips if clip]
        fixed = sum(modality.clip_bytes for modality in plan.modalities.values() if modality.shape is not None)
        plan.size = len(plan.clips) * (fixed + round(sum(sizes) / max(len(sizes), 1)))


def check_space(plan: Plan, out: Path, held: int) -> tuple[int, int]:
    """Bytes still to be written beside the `held` ones, and those that the disk has free.

    Raises InforegError where that is not enough.
    """
    needed, free = estimate(plan) - held, shutil.disk_usage(out.parent).free
    if needed > free:
        frames = any(modality.kind == "video" and modality.codec == RAW for modality in plan.modalities.values())
        hint = "; with --frames jpeg video frames take about a tenth" if frames else ""
        raise InforegError(f"{out} would need {size(needed)} more, and the disk has {size(free)} left{hint}")
    return max(needed, 0), free


def _varying(plan: Plan) -> list[str]:
    return [name for name, modality in plan.modalities.items() if modality.shape is None]
