"""Who trains a sweep's cells, as --engine, --jobs, --devices, --per-device and --address say."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from inforeg_cli.errors import Misuse

if TYPE_CHECKING:
    from inforeg_cli.sweep.run import Engine


class Engines(StrEnum):
    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Crew:
    """Who trains cells; on what device, and how many at once, as far as that is known before."""

    engine: "Engine"
    device: str
    jobs: int


def crew_of(engine: Engines, jobs: int | None, devices: str | None, per_device: int, address: str | None) -> Crew:
    """Raises Misuse for what there is not, and for options that belong to another engine."""
    if address is not None and engine is not Engines.ray:
        raise Misuse("--address is a Ray cluster's: add --engine ray")
    names = [] if devices is None else [name.strip() for name in devices.split(",")]
    for option, number in (("--jobs", jobs), ("--per-device", per_device)):
        if number is not None and number < 1:
            raise Misuse(f"{option} {number}: there is at least 1")
    if engine is Engines.local:
        from inforeg_cli.sweep.local import Local

        local = Local.of(jobs, names, per_device)
        return Crew(local, local.devices[0], len(local.devices))
    if len(names) > 1 or (names and names[0] not in ("auto", "cpu", "cuda")):
        raise Misuse(f"--devices {devices}: Ray hands out the GPUs itself; with --engine ray choose auto, cpu or cuda")
    from inforeg_cli.sweep.cluster import Cluster

    device = (names or ["auto"])[0]
    return Crew(Cluster(address=address, jobs=jobs, device=device, per_device=per_device), device, jobs or 1)
