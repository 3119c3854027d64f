"""What an experiment is: one frozen record of everything that can change a result, resolved against the data it runs on."""

from math import cos, pi
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, TypeAdapter, field_validator, model_validator

from inforeg_cli.data.transforms import InputConfig
from inforeg_cli.files import canonical_json, digest
from inforeg_cli.methods import METHODS, Joint, MethodConfig
from inforeg_cli.models.encoders import Encoder
from inforeg_cli.models.fusion import FusionConfig, fusion_class
from inforeg_cli.settings import Settings
from inforeg_cli.window import Window


class SGD(Settings):
    name: Literal["sgd"] = "sgd"
    lr: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0)
    encoder_lr_factor: float = Field(1.0, ge=0)


class AdamW(Settings):
    name: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    encoder_lr_factor: float = Field(1.0, ge=0)


class StepSchedule(Settings):
    """Times `gamma` every `step_size` epochs."""

    name: Literal["step"] = "step"
    step_size: PositiveInt = 30
    gamma: float = Field(0.1, ge=0)

    def factor(self, epoch: int, epochs: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class CosineSchedule(Settings):
    """From the full rate in epoch 0 towards zero after the last."""

    name: Literal["cosine"] = "cosine"

    def factor(self, epoch: int, epochs: int) -> float:
        return (1 + cos(pi * epoch / epochs)) / 2


class ConstantSchedule(Settings):
    name: Literal["constant"] = "constant"

    def factor(self, epoch: int, epochs: int) -> float:
        return 1.0


class Data(Settings):
    """Which split scheme and which label column of the store; without one, its first."""

    scheme: str
    label: str


class Trace(Settings):
    """The trace that drives windows. The defaults are the paper's surrogate; the rest are the released code's choices."""

    reduction: Literal["sum", "layer-mean"] = "sum"
    after_adjust: bool = False


class Record(Settings):
    """What is recorded besides what training needs.

    test_curve: score the test split every epoch. It chooses nothing.
    trace: squared gradient norms; without them there is no prime window.
    fisher: per-sample squared gradient norms of the fused loss over `fisher_clips` train clips, every epoch (eq. 7).
    gradient_cosines: cosine similarities between the gradients of an epoch's batches, an encoder at a time (figure 4).
    """

    test_curve: bool = True
    trace: bool = True
    fisher: bool = False
    fisher_clips: PositiveInt = 256
    gradient_cosines: bool = False


class Experiment(Settings):
    dataset: str
    data: Data
    modalities: tuple[str, ...] = Field(min_length=1)
    inputs: dict[str, InputConfig]
    encoders: dict[str, Encoder]
    fusion: FusionConfig = Field(default_factory=lambda: TypeAdapter(FusionConfig).validate_python({"name": "concat"}))
    method: MethodConfig = Joint.Config()
    unimodal_losses: Literal["none", "own", "slice"] = "none"
    window: Window
    trace: Trace = Trace()
    optimizer: Annotated[SGD | AdamW, Field(discriminator="name")] = SGD()
    schedule: Annotated[StepSchedule | CosineSchedule | ConstantSchedule, Field(discriminator="name")] = StepSchedule()
    epochs: PositiveInt = 50
    batch_size: int = Field(64, ge=2)
    seed: int = Field(0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    deterministic: bool = False
    #: Of the CPU; without a number, as many as torch takes. Part of the experiment, because the last bits depend on it.
    threads: PositiveInt | None = None
    record: Record = Record()

    @field_validator("modalities", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        if not self.is_baseline:
            self.method_class.check(self.method, self.modalities)
        if self.window.leader and self.window.leader not in self.modalities:
            raise ValueError(
                f"window.leader '{self.window.leader}' is none of the modalities {', '.join(self.modalities)}"
            )
        if self.window.when in ("prime", "other") and not self.record.trace:
            raise ValueError(f"window.when = '{self.window.when}' needs traces: leave record.trace on")
        if "own heads" in self.method.requires and self.unimodal_losses != "own":
            raise ValueError(f"method '{self.method.name}' trains own heads: unimodal_losses must be 'own'")
        if self.fusion.name != (self.method.fusion or self.fusion.name):
            raise ValueError(f"method '{self.method.name}' brings the fusion '{self.method.fusion}': leave fusion out")
        if fusion_class(self.fusion).over_heads and self.method.fusion != self.fusion.name:
            raise ValueError(f"the fusion '{self.fusion.name}' comes with a method, and '{self.method.name}' has none")
        if self.unimodal_losses == "slice" and not fusion_class(self.fusion).additive:
            raise ValueError(
                f"unimodal_losses = slice needs fused logits that are a sum of parts, which '{self.fusion.name}' does not "
                "give: choose --fusion concat or sum, or --unimodal-losses own"
            )
        return self

    @property
    def method_class(self) -> type:
        return METHODS[self.method.name]

    @property
    def is_baseline(self) -> bool:
        """Whether no method acts: by choice, or because a single modality leaves nothing to balance."""
        return self.method.name == "joint" or self.method == self.method.off or len(self.modalities) == 1

    @property
    def label(self) -> str:
        """What tables and folders call it: the method, its unimodal losses, and its window where that is not its usual one."""
        if len(self.modalities) == 1:
            return f"{self.modalities[0]} alone"
        name = getattr(self.method, "label", self.method.name)
        if self.method.name == "joint" and self.unimodal_losses == "own":
            name = "uniform"
        elif self.unimodal_losses != "none" and "own heads" not in self.method.requires:
            name += f"+{self.unimodal_losses}"
        usual = self.method_class.default_window
        return name if self.window.when == usual or self.method.name == "joint" else f"{name}@{self.window.when}"

    @property
    def baseline(self) -> str | None:
        """The label of the run that this one is compared with: the same losses without the method; joint for uniform."""
        if len(self.modalities) == 1:
            return None
        if self.method.name != "joint":
            losses = self.method.baseline_losses or self.unimodal_losses
            without = {"method": self.method.off or Joint.Config(), "unimodal_losses": losses}
            baseline = self.model_copy(update=without).label
            return None if baseline == self.label else baseline
        return None if self.unimodal_losses == "none" else "joint"

    def id(self, data_digest: str) -> str:
        """64 hexadecimal digits over all that can change the result: configuration, data, and the method's version."""
        return digest(canonical_json(self.model_dump(mode="json")), data_digest, str(self.method_class.version))
