"""What a method is: a few hooks around the training step, whose defaults are joint training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import Parameter

from inforeg_cli.errors import Misuse
from inforeg_cli.settings import Settings
from inforeg_cli.step import Epoch, Outputs, Services, Step


def option(default: Any, meaning: str, source: str, **bounds: Any) -> Any:
    """A field of a method's options: what it means and where its default comes from; `bounds` are those of pydantic."""
    return Field(default, description=meaning, json_schema_extra={"source": source}, **bounds)


class Options(Settings):
    """A method's options, with the defaults of its paper."""

    @property
    def requires(self) -> frozenset[str]:
        """What must exist before model and optimiser do: "own heads"; an "exchange" between the encoders; a "held out"
        share of train."""
        return frozenset()

    @property
    def fusion(self) -> str | None:
        """The fusion that the method brings along, in place of a chosen one."""
        return None

    @property
    def off(self) -> "Options | None":
        """These options without the method's action, where that is not joint training of the same model."""
        return None

    @property
    def baseline_losses(self) -> str | None:
        """The unimodal losses of what the method is compared with, where they are not its own."""
        return None


class Method:
    """Joint training: every hook does what plain training does; a method overrides the ones in which it differs.

    Hooks take records, parameters and plain functions, never the engine, so a training loop of one's own can call them:
    `setup` once, then for every epoch `epoch_start`, for every step `adjust` between backward and optimiser step
    (or `backward` instead of ``loss.backward()``), and `epoch_end`.
    """

    Config: ClassVar[type[Options]] = Options
    #: For people: where the paper is; what of training is changed (loss, gradient, forward, schedule), and how; what a
    #: step and a training cost; and the functions in which the equations stand.
    paper: ClassVar[str | None] = None
    changes: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 forward, 1 backward"
    equations: ClassVar[tuple[Callable[..., Any], ...]] = ()

    #: Raised when the method's numbers would change: part of a run's id.
    version: ClassVar[int] = 1
    #: The window where the experiment names none.
    default_window: ClassVar[str] = "whole"
    #: Whether each modality has a window of its own; otherwise the method acts on all while any modality's is open.
    windows_per_modality: ClassVar[bool] = False

    def __init__(self, config: Options | None = None, *, seed: int = 0, **options: Any):
        self.config = config if config is not None else self.Config(**options)
        self.seed = seed
        self.parameters: dict[str, list[Parameter]] = {}
        self._tally: dict[str, Tensor] = {}

    def baseline(self) -> "Method":
        """What trains while the window is closed: the same model without the method."""
        return Method()

    @classmethod
    def check(cls, config: Options, modalities: Sequence[str]) -> None:
        """Raise Misuse where these options make no sense for these modalities, before anything is built."""

    def setup(self, parameters: Mapping[str, Sequence[Parameter]], **required: Any) -> None:
        """Once, before training: the encoder parameters of each modality, as they will be trained; and by name what
        the options require of the model (``heads``: each own head's parameters, ``exchange``: the module)."""
        self.parameters = {name: list(group) for name, group in parameters.items()}

    def epoch_start(self, epoch: Epoch) -> None:
        """Before the first step of an epoch."""
        self._tally = {}

    def forward(
        self, model: Callable[..., Outputs], inputs: Mapping[str, Tensor], lengths: Mapping[str, Tensor]
    ) -> Outputs:
        """The model, in training mode, on a batch."""
        return model(inputs, lengths)

    def objective(self, step: Step) -> Tensor:
        """The loss that is trained: the fused one plus the unimodal ones where the experiment asks for them."""
        return sum(step.losses.unimodal.values(), step.losses.fused)

    def backward(self, step: Step) -> None:
        """Afterwards ``.grad`` holds the plain gradient of what is trained."""
        self.objective(step).backward()

    def adjust(self, step: Step) -> None:
        """Change gradients, which are final and unscaled here, or leave them."""

    def epoch_end(self, epoch: Epoch) -> None:
        """After the last step of an epoch."""

    def diagnostics(self) -> dict[str, float]:
        """What to log of the epoch so far: ``regulated.<modality>`` counts the steps in which its gradient was changed,
        everything else is the mean over the steps in which the method was active. Waits for the device."""
        steps = self._tally.get("steps")
        found = {}
        for name, total in self._tally.items():
            if name != "steps":
                values = total if name == "regulated" else total / steps
                found |= {f"{name}.{key}": value for key, value in zip(self.parameters, values.tolist(), strict=True)}
        return found

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only: all that the next step depends on, in the middle of an epoch too."""
        return {"tally": dict(self._tally)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._tally = dict(state["tally"])

    def tally(self, **values: Tensor) -> None:
        """Add one step's values, each ``[M]`` in the order of the modalities, to the epoch's diagnostics, on the device."""
        first = next(iter(values.values()))
        for name, value in {"steps": torch.ones_like(first), **values}.items():
            self._tally[name] = self._tally[name] + value if name in self._tally else value.clone()


def services_of(epoch: Epoch, why: str) -> Services:
    """What the loop offers a method before an epoch; Misuse where a loop of one's own offers nothing."""
    if epoch.services is None:
        raise Misuse(f"{why}: give Epoch(..., services=...) an object with the methods of inforeg_cli.step.Services")
    return epoch.services


def unimodal_losses(step: Step, modalities: Iterable[str], why: str) -> list[Tensor]:
    """The modalities' own losses in this order; Misuse where the loop computes none."""
    losses = {} if step.losses is None else step.losses.unimodal
    if missing := [name for name in modalities if name not in losses]:
        raise Misuse(f"{why}: give Step.losses.unimodal a loss for {', '.join(missing)}")
    return [losses[name] for name in modalities]


def true_class_log_probabilities(step: Step, modalities: Sequence[str]) -> Tensor:
    """log p of the true class by each modality's share of the fused logits, ``[B, M]``, detached, in float32 or wider."""
    logits = torch.stack([step.outputs.shares[name].detach() for name in modalities], dim=1)
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    target = step.target.view(-1, 1, 1).expand(-1, len(modalities), 1)
    return logits.log_softmax(dim=-1).gather(-1, target).squeeze(-1)
