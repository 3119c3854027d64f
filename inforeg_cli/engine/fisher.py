"""Fisher traces proper (InfoReg, eq. 7): mean per-sample squared gradient norms, for the figures; windows use a surrogate."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from inforeg_cli.data.batches import Clips
from inforeg_cli.models.late_fusion import LateFusion

_CHUNK = 16  # clips whose gradients are held at a time, each as large as the model


def fisher_traces(model: LateFusion, clips: Clips, indices: np.ndarray) -> dict[str, float]:
    """E_x ||grad_m L(x)||^2 of the fused loss in eval mode, over the encoder of each modality and over ``all`` parameters."""
    was_training = model.training
    model.eval()
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(
        parameters: dict[str, Tensor], inputs: dict[str, Tensor], lengths: dict[str, Tensor], target: Tensor
    ) -> Tensor:
        one = (
            {name: value[None] for name, value in inputs.items()},
            {name: value[None] for name, value in lengths.items()},
        )
        outputs = functional_call(model, (parameters, buffers), one)
        return F.cross_entropy(outputs.fused, target[None])

    per_sample = vmap(grad(loss), in_dims=(None, 0, 0, 0))
    squares = {name: torch.zeros((), device=clips.device) for name in parameters}
    with sdpa_kernel(SDPBackend.MATH):  # the only attention kernel that vmap can batch
        for batch in clips.batches(torch.from_numpy(indices), _CHUNK):
            for name, gradient in per_sample(parameters, dict(batch.inputs), dict(batch.lengths), batch.target).items():
                squares[name] += gradient.square().sum()
    model.train(was_training)
    owner = {parameter: name for name, parameter in model.named_parameters()}
    groups = {**model.encoder_parameters(), "all": list(model.parameters())}
    return {
        name: float(torch.stack([squares[owner[parameter]] for parameter in group]).sum()) / len(indices)
        for name, group in groups.items()
    }
