import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from inforeg_cli.errors import Misuse
from inforeg_cli.models.encoders import Cnn, Mlp, Transformer
from inforeg_cli.models.fusion import Concat, Film, Gated, Sum
from inforeg_cli.models.late_fusion import build

CONFIGS = {"tone": Mlp.Config(), "face-1": Cnn.Config(), "words": Transformer.Config()}
SHAPES = {"tone": (6,), "face-1": (1, 8, 8), "words": (5, 7)}
FUSIONS = [Concat.Config(), Sum.Config(), Gated.Config(dim=16), Film.Config()]


def model(modalities=tuple(CONFIGS), fusion=FUSIONS[0], own_heads=False):
    return build({name: CONFIGS[name] for name in modalities}, fusion, SHAPES, 4, own_heads, seed=0)


def batch(size=6):
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(size, *shape, generator=generator) for name, shape in SHAPES.items()}
    return inputs, {"words": torch.tensor([5, 1, 2, 3, 4, 5])[:size]}


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda config: config.name)
@pytest.mark.parametrize("modalities", [("tone",), ("words", "tone"), ("face-1", "words", "tone")])
def test_outputs_by_modality_in_the_given_order(fusion, modalities):
    built = model(modalities, fusion)
    outputs = built(*batch())
    assert built.modalities == modalities
    assert outputs.fused.shape == (6, 4)
    assert list(outputs.shares) == list(outputs.features) == list(modalities)
    assert outputs.heads == {}


def test_own_heads_read_their_own_feature():
    built = model(own_heads=True)
    outputs = built(*batch())
    assert list(outputs.heads) == list(CONFIGS)
    for name, logits in outputs.heads.items():
        torch.testing.assert_close(logits, built.heads[name](outputs.features[name]))


def test_parameters_of_a_modality_are_its_encoders_and_no_others():
    built = model(own_heads=True)
    groups = built.encoder_parameters()
    assert list(groups) == list(CONFIGS)
    for name, group in groups.items():
        assert [id(p) for p in group] == [id(p) for p in built.encoders[name].parameters()]
        assert [id(p) for p in group] == [id(p) for p in built.parameters_of(name)]
    owned = {id(p) for group in groups.values() for p in group}
    rest = {key for key, p in built.named_parameters() if id(p) not in owned}
    assert all(key.startswith(("fusion.", "heads.")) for key in rest)
    assert sum(map(len, groups.values())) == len(owned)


def test_lengths_reach_the_encoders_and_padding_has_no_influence():
    built = model().eval()
    inputs, lengths = batch()
    outputs = built(inputs, lengths)
    spoilt = inputs["words"].clone()
    spoilt[1, 1:] = torch.nan
    assert torch.equal(built({**inputs, "words": spoilt}, lengths).fused, outputs.fused)


def test_an_absent_modality_is_zeros_to_its_encoder_and_an_empty_sequence():
    built = model().eval()
    inputs, lengths = batch()
    absent = built(inputs, lengths, absent=frozenset({"words", "face-1"}))
    zeros = {"tone": inputs["tone"], **{name: torch.zeros_like(inputs[name]) for name in ("words", "face-1")}}
    assert torch.equal(absent.fused, built(zeros, {"words": torch.zeros(6, dtype=torch.int64)}).fused)
    assert torch.equal(absent.features["tone"], built(inputs, lengths).features["tone"])


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda config: config.name)
def test_every_parameter_of_the_fused_path_is_trained(fusion):
    built = model(fusion=fusion)
    F.cross_entropy(built(*batch()).fused, torch.tensor([0, 1, 2, 3, 0, 1])).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda config: config.name)
def test_per_sample_gradients_of_the_whole_model(fusion):
    built = model(fusion=fusion, own_heads=True).eval()
    inputs, lengths = batch(3)
    parameters, buffers = dict(built.named_parameters()), dict(built.named_buffers())

    def loss(parameters, inputs, lengths):
        one = [{name: value[None] for name, value in part.items()} for part in (inputs, lengths)]
        return functional_call(built, (parameters, buffers), tuple(one)).fused.square().sum()

    with sdpa_kernel(SDPBackend.MATH):
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs, lengths)
    for index in range(3):
        built.zero_grad()
        one = [{name: value[index : index + 1] for name, value in part.items()} for part in (inputs, lengths)]
        built(*one).fused.square().sum().backward()
        for key, parameter in built.named_parameters():
            expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            scale = float(1 + expected.abs().max())
            torch.testing.assert_close(gradients[key][index], expected, rtol=1e-3, atol=1e-4 * scale)


def test_a_state_can_be_carried_over():
    one, other = model(fusion=Gated.Config(dim=16)), model(fusion=Gated.Config(dim=16))
    one(*batch())
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.eval()(*batch()).shares["tone"], other.eval()(*batch()).shares["tone"])


def test_an_encoder_that_does_not_fit_is_refused():
    with pytest.raises(Misuse, match="transformer"):
        build({"tone": Transformer.Config()}, Concat.Config(), SHAPES, 4, False, 0)
