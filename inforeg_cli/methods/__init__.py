"""The methods: one file each; this is the one list of them."""

from typing import Annotated

from pydantic import Field

from inforeg_cli.methods.agm import AGM
from inforeg_cli.methods.base import Method
from inforeg_cli.methods.g_blending import GBlending
from inforeg_cli.methods.greedy import Greedy
from inforeg_cli.methods.inforeg import InfoReg
from inforeg_cli.methods.joint import Joint
from inforeg_cli.methods.mmpareto import MMPareto
from inforeg_cli.methods.ogm import OGM
from inforeg_cli.methods.pmr import PMR

METHODS: dict[str, type[Method]] = {
    "joint": Joint,
    "ogm": OGM,
    "greedy": Greedy,
    "pmr": PMR,
    "agm": AGM,
    "g-blending": GBlending,
    "mmpareto": MMPareto,
    "inforeg": InfoReg,
}

#: The options of whichever method `name` says.
MethodConfig = Annotated[
    Joint.Config
    | OGM.Config
    | Greedy.Config
    | PMR.Config
    | AGM.Config
    | GBlending.Config
    | MMPareto.Config
    | InfoReg.Config,
    Field(discriminator="name"),
]

__all__ = [
    "AGM",
    "METHODS",
    "OGM",
    "PMR",
    "GBlending",
    "Greedy",
    "InfoReg",
    "Joint",
    "MMPareto",
    "Method",
    "MethodConfig",
]
