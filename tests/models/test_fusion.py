import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.func import functional_call, grad, vmap

from inforeg_cli.models.fusion import MOMENTUM, FusionConfig, build_fusion
from inforeg_cli.models.initialise import initialised

NAMES = ("concat", "sum", "gated", "film")
ADDITIVE, INTERACTING = NAMES[:2], NAMES[2:]
ALL = ("a", "b", "c", "d")
CLASSES = 5


def config(name, **options):
    options = {"dim": 6, **options} if name == "gated" else options
    return TypeAdapter(FusionConfig).validate_python({"name": name, **options})


def dims(count):
    return {name: 3 + index for index, name in enumerate(ALL[:count])}


def fusion(name, count=2, **options):
    """With biases that are not zero, and in evaluation mode."""
    module = initialised(lambda: build_fusion(config(name, **options), dims(count), CLASSES), seed=0).eval()
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            if key.endswith("bias"):
                parameter.copy_(torch.linspace(-1, 1, CLASSES) + len(key))
    return module


def features(count, batch=8):
    generator = torch.Generator().manual_seed(count)
    return {name: torch.randn(batch, dim, generator=generator) for name, dim in dims(count).items()}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_logits_and_shares_for_any_number_of_modalities(name, count):
    module, z = fusion(name, count), features(count)
    logits, shares = module(z)
    assert logits.shape == (8, CLASSES)
    assert list(shares) == list(z)
    assert all(share.shape == (8, CLASSES) for share in shares.values())
    assert module.additive == (name in ADDITIVE)
    assert list(module.alone(z, shares)) == list(z)
    for other in z:
        changed = module({**z, other: z[other] + 1})[0]
        assert not torch.allclose(changed, logits, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ADDITIVE)
def test_additive_shares_sum_to_the_logits_and_each_follows_its_own_feature(name, count):
    module, z = fusion(name, count), features(count)
    logits, shares = module(z)
    torch.testing.assert_close(sum(shares.values()), logits, rtol=0, atol=0)
    changed = module({**z, "a": z["a"] + 1})[1]
    assert all(torch.equal(changed[other], shares[other]) == (other != "a") for other in z)


def test_concat_is_one_linear_layer_over_all_features():
    module, z = fusion("concat", 3), features(3)
    weights = dict(module.named_parameters())
    assert [tuple(weight.shape) for weight in weights.values()] == [(CLASSES, 3 + 4 + 5), (CLASSES,)]
    torch.testing.assert_close(module(z)[0], module.head(torch.cat(list(z.values()), dim=1)))
    torch.testing.assert_close(module(z)[1]["b"], z["b"] @ module.head.weight[:, 3:7].T + module.head.bias / 3)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_alone_is_the_head_with_the_other_features_absent(name, count):
    module, z = fusion(name, count, **({"absent": "zero"} if name in INTERACTING else {})), features(count)
    alone = module.alone(z, module(z)[1])
    for kept in z:
        absent = {other: value if other == kept else torch.zeros_like(value) for other, value in z.items()}
        torch.testing.assert_close(alone[kept], module(absent)[0])


@pytest.mark.parametrize("name", ADDITIVE)
def test_permuting_the_modalities_permutes_the_shares(name):
    module, z = fusion(name, 3), features(3)
    order = ("c", "a", "b")
    permuted = build_fusion(config(name), {key: dims(3)[key] for key in order}, CLASSES)
    if name == "sum":
        permuted.load_state_dict(module.state_dict())
    else:
        columns = dict(zip("abc", module.head.weight.split([3, 4, 5], dim=1), strict=True))
        weight = torch.cat([columns[key] for key in order], dim=1)
        permuted.load_state_dict({"head.weight": weight, "head.bias": module.head.bias})
    logits, shares = module(z)
    permuted_logits, permuted_shares = permuted(z)
    assert list(permuted_shares) == list(order)
    assert all(torch.equal(permuted_shares[key], shares[key]) for key in order)
    torch.testing.assert_close(permuted_logits, logits)


def test_gated_is_the_product_of_gates_times_the_last_projection():
    module, z = fusion("gated", 3), features(3)
    a, b, c = (z[key] @ module.project[key].weight.T for key in "abc")
    torch.testing.assert_close(module(z)[0], module.head(a.sigmoid() * b.sigmoid() * c))
    single = fusion("gated", 1)
    torch.testing.assert_close(single(z)[0], single.head(z["a"] @ single.project["a"].weight.T))


def test_film_modulates_the_last_feature_in_turn():
    module, z = fusion("film", 3), features(3)
    x = z["c"]
    for key in "ab":
        gamma, beta = (z[key] @ module.condition[key].weight.T).split(5, dim=1)
        x = gamma * x + beta
    torch.testing.assert_close(module(z)[0], module.head(x))
    single = fusion("film", 1)
    torch.testing.assert_close(single(z)[0], single.head(z["a"]))


@pytest.mark.parametrize("name", INTERACTING)
def test_shares_put_running_training_means_in_the_place_of_absent_features(name):
    module, batches = fusion(name).train(), [features(2), {key: value + 3 for key, value in features(2).items()}]
    means = {key: torch.zeros(dim) for key, dim in dims(2).items()}
    for z in batches:
        shares = module(z)[1]
        means = {key: (1 - MOMENTUM) * mean + MOMENTUM * z[key].mean(dim=0) for key, mean in means.items()}
    module.eval()
    for key, mean in means.items():
        filled = {other: means[other].expand_as(z[other]) for other in means} | {key: z[key]}
        torch.testing.assert_close(shares[key], module(filled)[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module.absent[key].mean, mean)


@pytest.mark.parametrize("name", INTERACTING)
def test_running_means_move_in_training_only_and_are_saved(name):
    module = fusion(name).train()
    module(features(2))
    saved = {key: value.clone() for key, value in module.state_dict().items()}
    assert any(value.any() for key, value in saved.items() if key.startswith("absent"))
    module.eval()({key: value + 5 for key, value in features(2).items()})
    assert all(torch.equal(value, saved[key]) for key, value in module.state_dict().items())
    assert not any(key.startswith("absent") for key in fusion(name, absent="zero").state_dict())


@pytest.mark.parametrize("name", INTERACTING)
def test_shares_of_an_interacting_fusion_carry_no_gradient_and_leave_the_logits_alone(name):
    z = {key: value.requires_grad_() for key, value in features(2).items()}
    logits, shares = fusion(name).train()(z)
    assert logits.requires_grad and not any(share.requires_grad for share in shares.values())
    assert torch.equal(fusion(name, absent="zero")(z)[0], logits)


@pytest.mark.parametrize("name", NAMES)
def test_per_sample_gradients_by_vmap_are_those_of_single_clips(name):
    module, z = fusion(name, 3), features(3)
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())

    def loss(parameters, clip):
        one = {key: value[None] for key, value in clip.items()}
        return functional_call(module, (parameters, buffers), (one,))[0].square().sum()

    batched = vmap(grad(loss), in_dims=(None, 0))(parameters, z)
    single = grad(loss)(parameters, {key: value[2] for key, value in z.items()})
    for key, gradient in single.items():
        torch.testing.assert_close(batched[key][2], gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"name": "film", "dim": 3}, {"name": "concat", "absent": "zero"}, {"name": "max"}])
def test_options_that_a_fusion_does_not_have_are_refused(options):
    with pytest.raises(ValidationError):
        TypeAdapter(FusionConfig).validate_python(options)
