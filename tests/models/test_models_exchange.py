"""The exchange between encoders: where its blocks stand, what they gate, and when a modality is cared for."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from inforeg_cli.models.encoders import Cnn, Mlp, ResNet18, Transformer, build_encoder
from inforeg_cli.models.exchange import Exchange
from inforeg_cli.models.fusion import Concat
from inforeg_cli.models.late_fusion import LateFusion, build

SHAPES = {"picture": (1, 8, 8), "film": (3, 2, 6, 6), "words": (5, 7), "tone": (6,)}
CNN = Cnn.Config(channels=(3, 4, 5))


def network(exchange: bool = True, **encoders) -> LateFusion:
    return build(encoders, Concat.Config(), SHAPES, 4, False, seed=0, exchange=exchange)


def inputs_for(*names: str, clips: int = 4, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(clips, *SHAPES[name], generator=generator) for name in names}


def channels(exchange: Exchange) -> list[dict[str, int]]:
    return [{name: gate.out_features for name, gate in block.gates.items()} for block in exchange.blocks]


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ((ResNet18.Config(), ResNet18.Config()), [(128, 128), (256, 256), (512, 512)]),
        ((CNN, CNN), [(4, 4), (5, 5)]),
        ((CNN, ResNet18.Config()), [(4, 256), (5, 512)]),
        ((Cnn.Config(channels=(6,)), CNN), [(6, 5)]),
        ((Cnn.Config(channels=(1, 2, 3, 4, 5, 6)), Cnn.Config(channels=(1, 2, 3, 4, 5))), [(4, 3), (5, 4), (6, 5)]),
        ((CNN, Mlp.Config(dim=7)), [(5, 7)]),
    ],
)
def test_blocks_stand_after_the_last_stages_and_of_several_never_after_the_first(encoders, expected) -> None:
    with torch.device("meta"):
        pairs = zip(("picture", "film"), encoders, strict=True)
        exchange = Exchange({name: build_encoder(config, SHAPES[name]) for name, config in pairs})
    assert [tuple(widths.values()) for widths in channels(exchange)] == expected


def test_without_stages_a_single_block_gates_the_features() -> None:
    model = network(picture=CNN, words=Transformer.Config(dim=8, heads=2), tone=Mlp.Config(dim=6)).eval()
    inputs, lengths = inputs_for("picture", "words", "tone"), {"words": torch.tensor([5, 1, 2, 3])}
    plain = {name: model.encoders[name](inputs[name], lengths.get(name)) for name in inputs}
    gates = model.exchange.blocks[0](plain)
    found = model.encode(inputs, lengths)
    assert channels(model.exchange) == [{"picture": 5, "words": 8, "tone": 6}]
    for name in inputs:
        torch.testing.assert_close(found[name], plain[name] * gates[name])


def test_a_single_encoder_has_nobody_to_exchange_with() -> None:
    for config in (CNN, Mlp.Config()):
        alone, plain = network(picture=config), network(False, picture=config)
        assert len(alone.exchange.blocks) == 0
        assert alone.exchange.bypass_of("picture") == []
        inputs = inputs_for("picture")
        assert torch.equal(alone(inputs).fused, plain(inputs).fused)
        assert list(alone.state_dict()) == list(plain.state_dict())


def test_encoders_start_from_the_same_bits_with_and_without_it() -> None:
    with_it, without = (network(each, picture=CNN, film=CNN).encoders.state_dict() for each in (True, False))
    assert all(torch.equal(with_it[key], without[key]) for key in without)


@torch.no_grad()
def test_frames_of_a_clip_are_gated_alike_by_the_mean_of_its_valid_frames() -> None:
    """Clip by clip and stage by stage, with loops."""
    model = network(picture=CNN, film=CNN).eval()
    inputs, lengths = inputs_for("picture", "film"), {"film": torch.tensor([3, 1, 2, 3])}
    found = model.encode(inputs, lengths)
    stages = {name: list(model.encoders[name].stages) for name in inputs}
    for clip in range(4):
        maps = {"picture": inputs["picture"][clip][None], "film": inputs["film"][clip]}
        valid = {"picture": 1, "film": int(lengths["film"][clip])}
        maps = {name: stages[name][0](x) for name, x in maps.items()}
        for level, block in enumerate(model.exchange.blocks):
            maps = {name: stages[name][1 + level](x) for name, x in maps.items()}
            pooled = {name: x[: valid[name]].mean(dim=(0, 2, 3)) for name, x in maps.items()}
            shown = torch.relu(block.squeeze(torch.cat(list(pooled.values()))))
            maps = {name: x * torch.sigmoid(block.gates[name](shown))[:, None, None] for name, x in maps.items()}
        for name, x in maps.items():
            torch.testing.assert_close(found[name][clip], x[: valid[name]].mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("encoder", [CNN, Mlp.Config(dim=5)], ids=["stages", "features"])
def test_a_modality_that_is_cared_for_sees_nothing_of_the_others(encoder) -> None:
    for index, cared in enumerate(("picture", "film", "tone")):
        configs = {"picture": encoder, "film": encoder, "tone": Mlp.Config(dim=6)}
        model = network(**configs)
        model.exchange.caring.fill_(index)
        inputs = {name: x.requires_grad_() for name, x in inputs_for(*configs).items()}
        features = model.encode(inputs, {})
        for name in configs:
            gradients = torch.autograd.grad(
                features[name].square().sum(), list(inputs.values()), retain_graph=True, allow_unused=True
            )
            for other, gradient in zip(configs, gradients, strict=True):
                reached = gradient is not None and bool(gradient.any())
                assert reached == (other == name or name != cared), (cared, name, other)


def test_nobody_is_cared_for_in_evaluation_and_who_is_is_no_state() -> None:
    model, inputs = network(picture=CNN, film=CNN), inputs_for("picture", "film")
    model(inputs)
    model.eval()
    live = model(inputs).fused
    model.exchange.caring.fill_(1)
    assert torch.equal(model(inputs).fused, live)
    assert not [key for key in model.state_dict() if "caring" in key]
    assert model.to(torch.float64).exchange.caring.dtype == torch.int64


def test_the_bypass_of_a_modality_stands_in_every_block() -> None:
    model = network(picture=CNN, film=CNN)
    names = {parameter: name for name, parameter in model.exchange.named_parameters()}
    found = {names[parameter] for parameter in model.exchange.bypass_of("film")}
    parts = ("gates.film", "squeeze")
    assert found == {f"blocks.{b}.{part}.{each}" for b in (0, 1) for part in parts for each in ("weight", "bias")}


def test_per_sample_gradients() -> None:
    model, inputs = network(picture=CNN, film=CNN).eval(), inputs_for("picture", "film", clips=2)
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    def loss(parameters, inputs):
        one = {name: value[None] for name, value in inputs.items()}
        return functional_call(model, (parameters, buffers), (one,)).fused.square().sum()

    found = vmap(grad(loss), in_dims=(None, 0))(parameters, inputs)
    model(inputs).fused.square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name].sum(0), parameter.grad, rtol=1e-3, atol=1e-5)
