"""THE training loop: one for every method, none of which it knows by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from inforeg_cli import seeds
from inforeg_cli.config import Experiment
from inforeg_cli.data.batches import Clips, steps_per_epoch
from inforeg_cli.engine.build import build_optimizer
from inforeg_cli.engine.evaluate import reported_logits
from inforeg_cli.engine.guard import FiniteLosses, Stopped, StopRequest
from inforeg_cli.engine.metrics import RunningScores
from inforeg_cli.engine.recording import GradientCosines
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.numerics.traces import GradientTrace
from inforeg_cli.progress import Silent
from inforeg_cli.step import Epoch, Losses, Services, Step

_CHECK_LOSSES_EVERY = 50  # steps; each check waits for the device


class Loop:
    """Model, optimiser and method, and the epochs that train them on the clips `train` (rows of the store)."""

    def __init__(
        self,
        experiment: Experiment,
        model: LateFusion,
        clips: Clips,
        train: np.ndarray,
        classes: int,
        stop: StopRequest | None = None,
    ):
        self.experiment, self.model, self.clips, self.device = experiment, model, clips, clips.device
        self.train = torch.from_numpy(train)
        self.stop = stop or StopRequest()
        self.steps = steps_per_epoch(len(train), experiment.batch_size)
        self.optimizer = build_optimizer(model, experiment)
        encoders = model.encoder_parameters()
        self.method = experiment.method_class(experiment.method, seed=experiment.seed)
        self.method.setup(encoders, **model.parts(experiment.method.requires))
        self.baseline = self.method.baseline()
        self.trace = GradientTrace({**encoders, "all": list(model.parameters())}, experiment.trace.reduction)
        self.cosines = (
            GradientCosines(encoders, self.steps, experiment.seed) if experiment.record.gradient_cosines else None
        )
        self.running = RunningScores(classes)
        self.epoch, self.step = 0, 0  # where training stands: `step` steps of `epoch` are done
        self.history: dict[str, list[float]] = {name: [] for name in encoders}  # each modality's traces

    def train_epoch(self, progress: Silent, services: Services | None = None) -> Epoch:
        """The rest of the current epoch, from step `self.step` on. Raises Stopped after the step in which that was
        asked for."""
        experiment, method, model = self.experiment, self.method, self.model
        opened = experiment.window.open_modalities(self.history, method.windows_per_modality)
        epoch = Epoch(self.epoch, frozenset() if experiment.is_baseline else opened, services)
        order = self.train[seeds.permutation(len(self.train), experiment.seed, "order", self.epoch)]
        factor = experiment.schedule.factor(self.epoch, experiment.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        if self.step == 0:  # in a resumed epoch this stands in the checkpoint
            self.trace.reset()
            self.running = RunningScores(self.running.classes)
            method.epoch_start(epoch)
        active = method if epoch.open else self.baseline
        guard = FiniteLosses(
            ("fused", *(experiment.modalities if experiment.unimodal_losses != "none" else ())), self.device
        )
        augment = (experiment.seed, "augment", self.epoch)
        model.train()
        for batch in self.clips.batches(order, experiment.batch_size, augment=augment, start=self.step):
            seeds.seed_global(self.device, experiment.seed, "dropout", self.epoch, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=experiment.precision == "bf16"):
                outputs = active.forward(model, batch.inputs, batch.lengths)
                losses = Losses.of(outputs, batch.target, experiment.unimodal_losses)
            step = Step(epoch, self.step, outputs, batch.target, losses)
            active.backward(step)
            if experiment.record.trace and not experiment.trace.after_adjust:
                self.trace.update()
            if self.cosines:
                self.cosines.update(self.step)
            active.adjust(step)
            if experiment.record.trace and experiment.trace.after_adjust:
                self.trace.update()
            self.optimizer.step()
            self.running.update(
                reported_logits(model, outputs),
                {"loss": losses.fused, **{f"loss.{name}": loss for name, loss in losses.unimodal.items()}},
                batch.target,
            )
            guard.update(self.step, {"fused": losses.fused, **losses.unimodal})
            self.step += 1
            progress.step(self.step - 1)
            stopping = self.stop.requested
            if self.step % _CHECK_LOSSES_EVERY == 0 or self.step == self.steps or stopping:
                guard.check(self.epoch)
            if stopping:
                raise Stopped
        return epoch

    def close_epoch(self, traces: Mapping[str, float]) -> None:
        """Move on to the next epoch, once everything about this one is recorded."""
        for name, past in self.history.items():
            past.append(traces[name])
        self.epoch, self.step = self.epoch + 1, 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "method": self.method.state_dict(),
            "trace": self.trace.state_dict(),
            "cosines": self.cosines and self.cosines.state_dict(),
            "running": self.running.state_dict(),
            "history": self.history,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.method.load_state_dict(state["method"])
        self.trace.load_state_dict(state["trace"])
        if self.cosines:
            self.cosines.load_state_dict(state["cosines"])
        self.running.load_state_dict(state["running"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.history = {name: list(past) for name, past in state["history"].items()}
