"""Joint training: the fused loss alone, the baseline of every other method."""

from typing import Literal

from inforeg_cli.methods.base import Method, Options


class Joint(Method):
    """One loss on the fused logits; with unimodal losses (own heads) it is the uniform sum, `uniform` for short."""

    class Config(Options):
        name: Literal["joint"] = "joint"
