"""The methods: one file each; this is the one list of them."""

from typing import Annotated

from pydantic import Field

from inforeg_cli.methods.base import Method
from inforeg_cli.methods.inforeg import InfoReg
from inforeg_cli.methods.joint import Joint
from inforeg_cli.methods.ogm import OGM

METHODS: dict[str, type[Method]] = {"joint": Joint, "ogm": OGM, "inforeg": InfoReg}

#: The options of whichever method `name` says.
MethodConfig = Annotated[Joint.Config | OGM.Config | InfoReg.Config, Field(discriminator="name")]

__all__ = ["METHODS", "OGM", "InfoReg", "Joint", "Method", "MethodConfig"]
