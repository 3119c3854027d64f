import pytest
import torch
from torch import nn

from inforeg_cli.models.encoders import Cnn, Mlp, ResNet18, Transformer
from inforeg_cli.models.fusion import Concat, Film, Gated, Sum
from inforeg_cli.models.initialise import initialised
from inforeg_cli.models.late_fusion import build

CONFIGS = {"a": Cnn.Config(), "b": Transformer.Config(), "c": Mlp.Config()}
SHAPES = {"a": (1, 8, 8), "b": (5, 7), "c": (9,)}


def model(modalities="abc", fusion=None, own_heads=False, seed=0):
    configs = {name: CONFIGS[name] for name in modalities}
    return build(configs, fusion or Concat.Config(), SHAPES, 4, own_heads, seed)


def encoders(built, name="a"):
    return built.encoders[name].state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = model(fusion=Gated.Config(), own_heads=True)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(one.state_dict(), model(fusion=Gated.Config(), own_heads=True).state_dict())


@pytest.mark.parametrize(
    "other",
    [
        {"own_heads": True},
        {"fusion": Gated.Config()},
        {"fusion": Film.Config()},
        {"fusion": Sum.Config()},
        {"modalities": "ba"},
    ],
)
def test_an_encoder_starts_from_the_same_bits_whatever_else_the_model_holds(other):
    for name in "ab":
        assert same(encoders(model(), name), encoders(model(**other), name))


def test_another_seed_and_another_name_give_other_weights():
    twin = build({"a": Mlp.Config(), "b": Mlp.Config()}, Sum.Config(), {"a": (9,), "b": (9,)}, 4, True, 0)
    assert not same(encoders(twin, "a"), encoders(twin, "b"))
    assert not same(encoders(model()), encoders(model(seed=1)))
    first, second = (head.weight for head in twin.heads.values())
    assert not torch.equal(first, second)


def test_resnet18_is_initialised_as_in_the_papers():
    built = build({"a": ResNet18.Config()}, Concat.Config(), {"a": (3, 32, 32)}, 6, True, 0)
    for module in built.modules():
        if isinstance(module, nn.Conv2d):
            deviation = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert abs(module.weight.std() / deviation - 1) < 0.05
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
            assert (module.running_mean == 0).all() and (module.running_var == 1).all()
            assert module.num_batches_tracked == 0
        elif isinstance(module, nn.Linear):
            assert abs(module.weight.std() / (2 / (512 + 6)) ** 0.5 - 1) < 0.05
            assert (module.bias == 0).all()


def test_positions_are_small_and_normal_and_every_value_is_finite():
    built = model(fusion=Gated.Config(), own_heads=True)
    assert abs(built.encoders["b"].positions.std() / 0.02 - 1) < 0.1
    assert all(value.isfinite().all() for value in built.state_dict().values())
    assert {value.device.type for value in built.state_dict().values()} == {"cpu"}


def test_a_module_nobody_knows_how_to_fill_is_an_error():
    with pytest.raises(TypeError, match=r"1 \(Embedding\)"):
        initialised(lambda: nn.Sequential(nn.Linear(2, 2), nn.Embedding(3, 2)), seed=0)


def test_a_module_may_fill_its_own_parameters():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.empty(3))
            self.inner = nn.Linear(3, 3)

        def initialise(self, generator):
            self.scale.normal_(generator=generator)

    one, other = initialised(Scale, seed=0), initialised(Scale, seed=0)
    assert same(one.state_dict(), other.state_dict())
    assert not same(one.state_dict(), initialised(Scale, seed=1).state_dict())
    assert one.scale.std() > 0 and (one.inner.bias == 0).all()
