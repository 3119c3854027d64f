"""How many bytes a store will have, and whether the disk has room for them."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from inforeg_cli.data import decoding
from inforeg_cli.data.decoding import Decoded, Decoder, Task
from inforeg_cli.data.journal import Record
from inforeg_cli.data.parallel import FEWEST, ordered_map
from inforeg_cli.data.sources import Plan
from inforeg_cli.data.store import RAW
from inforeg_cli.errors import InforegError

#: Clips that are decoded to know the size of the others.
_SAMPLES = 6


def estimate(plan: Plan, decode: Callable[[Decoder, Task], Decoded] = decoding.decode) -> int:
    """Bytes of the store that the plan will make: exact for fixed shapes, for the others from a few clips that are
    decoded for it, once a plan."""
    if plan.size is None:
        plan.size = len(plan.clips) * (_fixed(plan) + round(_mean_of_samples(plan, decode)))
    return plan.size


def check_space(plan: Plan, out: Path, records: Mapping[str, Record], held: int) -> tuple[int, int]:
    """Bytes still to be written beside the `held` ones, and those that the disk has free.

    Raises InforegError where that is not enough. The records of clips that are done already tell the size of the others.
    """
    varying = _varying(plan)
    known = [sum(record.parts[name].bytes for name in varying) for record in records.values() if record.parts]
    if known and plan.size is None:
        plan.size = len(plan.clips) * (_fixed(plan) + round(sum(known) / len(known)))
    needed, free = estimate(plan) - held, shutil.disk_usage(out.parent).free
    if needed > free:
        frames = any(modality.kind == "video" and modality.codec == RAW for modality in plan.modalities.values())
        hint = "; with --frames jpeg video frames take about a tenth" if frames else ""
        raise InforegError(
            f"{out} would need {needed / 1e9:.1f} GB more, and the disk has {free / 1e9:.1f} GB left{hint}"
        )
    return max(needed, 0), free


def _varying(plan: Plan) -> list[str]:
    return [name for name, modality in plan.modalities.items() if modality.shape is None]


def _fixed(plan: Plan) -> int:
    return sum(modality.clip_bytes for modality in plan.modalities.values() if modality.shape is not None)


def _mean_of_samples(plan: Plan, decode: Callable[[Decoder, Task], Decoded]) -> float:
    varying = _varying(plan)
    if not varying or not plan.clips:
        return 0.0
    chosen = np.linspace(0, len(plan.clips) - 1, _SAMPLES).round().astype(int)
    clips = [plan.clips[index] for index in sorted(set(chosen.tolist()))]
    tasks = [Task({name: clip.media[name] for name in varying}, clip.named) for clip in clips]
    # What may crash a decoder is decoded in a process of its own, where starting one is worth while.
    fewest = FEWEST if len(plan.clips) < FEWEST else 0
    decoded = ordered_map(decode, tasks, 1, Decoder(plan.decoding, plan.modalities), fewest=fewest)
    found = [result for result in decoded if isinstance(result, Decoded) and not result.flaws]
    sizes = [sum(packed.data.nbytes for packed in result.packed.values()) for result in found]
    return sum(sizes) / len(sizes) if sizes else 0.0
