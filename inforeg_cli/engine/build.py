"""From an experiment to what training needs: transforms, model, optimiser; and back from a run's folder."""

import torch
from torch import nn

from inforeg_cli.config import Experiment
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms import transform_of
from inforeg_cli.engine import checkpoint
from inforeg_cli.errors import InforegError
from inforeg_cli.models.late_fusion import LateFusion, build
from inforeg_cli.resolve import restored
from inforeg_cli.run_folder import RunFolder


def build_model(
    experiment: Experiment, store: Store | Preparation, device: torch.device
) -> tuple[nn.ModuleDict, LateFusion]:
    """The transforms (not fitted yet) and the model with its initial weights, on the device."""
    transforms = nn.ModuleDict(
        {name: transform_of(store, name, experiment.inputs[name]) for name in experiment.modalities}
    )
    texts = [name for name in experiment.modalities if store.modalities[name].kind == "text"]
    model = build(
        experiment.encoders,
        experiment.fusion,
        {name: transform.shape for name, transform in transforms.items()},
        len(store.classes(experiment.data.label)),
        own_heads=experiment.unimodal_losses == "own",
        seed=experiment.seed,
        exchange="exchange" in experiment.method.requires,
        vocabularies={name: store.modalities[name].settings["vocabulary"] for name in texts},
    )
    # Convolutions are faster with the channels innermost: on two CPU cores a step of `cnn` takes a tenth to a third less.
    layout = torch.preserve_format if device.type == "mps" else torch.channels_last
    return transforms.to(device), model.to(device, memory_format=layout)


def build_optimizer(model: LateFusion, experiment: Experiment) -> torch.optim.Optimizer:
    """One parameter group an encoder, and one for the rest; `base_lr` is the rate that the schedule multiplies."""
    settings = experiment.optimizer
    groups = [
        {"name": name, "params": group, "base_lr": settings.lr * settings.encoder_lr_factor}
        for name, group in model.encoder_parameters().items()
    ]
    encoders = {parameter for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in model.parameters() if parameter not in encoders]
    groups.append({"name": "fusion and heads", "params": rest, "base_lr": settings.lr})
    fused = next(model.parameters()).device.type in ("cpu", "cuda")  # one kernel over all tensors
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=fused
        )
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)


def restore(
    folder: RunFolder, store: Store, which: str, device: torch.device
) -> tuple[Experiment, nn.ModuleDict, LateFusion]:
    """A run's experiment, its fitted transforms, and its model with the weights of checkpoint `which` (best or last).

    Raises InforegError if the store is not the one that the run was trained on, or the checkpoint cannot be read.
    """
    config = folder.read_config()
    if store.digest != config["data"]["digest"]:
        raise InforegError(
            f"{store.path} has changed since {folder.path.name} was trained on it "
            f"(digest {store.digest[:8]}, then {config['data']['digest'][:8]}); prepare the same data again"
        )
    return loaded(folder, store, which, device)


def loaded(
    folder: RunFolder, described: Store | Preparation, which: str, device: torch.device
) -> tuple[Experiment, nn.ModuleDict, LateFusion]:
    """`restore` by a description of the data, from a store or without one; that it fits the run is the caller's to know.

    Raises InforegError if the checkpoint cannot be read.
    """
    experiment = restored(folder.read_config()["experiment"], folder.path)
    transforms, model = build_model(experiment, described, device)
    path = folder.best if which == "best" else folder.last
    state = checkpoint.load(path, device)
    with checkpoint.fitting(path):
        transforms.load_state_dict(state["transforms"])
        model.load_state_dict(state["model"])
    return experiment, transforms, model
