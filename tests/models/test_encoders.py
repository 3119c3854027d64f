import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from inforeg_cli.errors import Misuse
from inforeg_cli.models.encoders import Encoder, build_encoder, default_encoder, masked_mean
from inforeg_cli.models.initialise import initialised

FITS = [
    ("resnet18", (1, 33, 40)),
    ("resnet18", (2, 3, 32, 32)),
    ("cnn", (1, 8, 8)),
    ("cnn", (1, 64, 10)),
    ("cnn", (3, 1, 1)),
    ("cnn", (2, 3, 16, 16)),
    ("mlp", (7,)),
    ("mlp", (5, 7)),
    ("mlp", (1, 8, 8)),
    ("transformer", (5, 7)),
]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def config(name, **options):
    return TypeAdapter(Encoder).validate_python({"name": name, **options})


def encoder(name, shape, **options):
    return initialised(lambda: build_encoder(config(name, **options), shape), seed=0)


@pytest.mark.parametrize(("name", "shape"), FITS)
def test_maps_a_batch_of_clips_to_features_that_depend_on_each_clip_alone(name, shape):
    module = encoder(name, shape).eval()
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    features = module(x)
    assert features.shape == (3, module.dim)
    assert features.std(dim=0).max() > 0
    torch.testing.assert_close(module(x[1:2]), features[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("channels", "parameters"), [(1, 11_170_240), (3, 11_176_512)])
def test_resnet18_has_the_parameters_of_the_papers(channels, parameters):
    module = encoder("resnet18", (channels, 64, 64))
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    assert module.dim == 512
    assert sum(parameter.ndim == 4 for parameter in module.parameters()) == 20


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_the_feature_of_frames_is_the_mean_of_the_frames_features(name):
    module = encoder(name, (3, 3, 16, 16)).eval()
    frames = torch.randn(2, 3, 3, 16, 16)
    separate = torch.stack([module(frames[:, index]) for index in range(3)])
    torch.testing.assert_close(module(frames), separate.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        module(frames, torch.tensor([1, 2]))[1], separate[:2, 1].mean(dim=0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_stages_and_pool_make_up_a_convolutional_encoder(name):
    module = encoder(name, (1, 16, 16)).eval()
    x = y = torch.randn(2, 1, 16, 16)
    for stage in module.stages:
        y = stage(y)
    assert torch.equal(module.pool(y), module(x))
    assert len(list(module.parameters())) == len(list(module.stages.parameters()))


def test_cnn_has_no_matrix_that_ogm_would_leave_out():
    assert {parameter.ndim for parameter in encoder("cnn", (1, 8, 8)).parameters()} == {1, 4}


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_padding_has_no_influence(name):
    module = encoder(name, (6, 4)).eval()
    x, lengths = torch.randn(3, 6, 4), torch.tensor([6, 2, 1])
    features = module(x, lengths)
    spoilt = x.clone()
    spoilt[1, 2:], spoilt[2, 1:] = torch.nan, torch.inf
    assert torch.equal(module(spoilt, lengths), features)
    torch.testing.assert_close(module(x[1:2, :2]), features[1:2])
    assert not torch.allclose(module(x)[1], features[1])


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_an_empty_sequence_is_finite_and_does_not_depend_on_its_content(name):
    module = encoder(name, (6, 4))
    x = torch.randn(2, 6, 4)
    features = module.eval()(x, torch.tensor([0, 3]))
    assert torch.equal(features[0], module(torch.zeros(1, 6, 4), torch.tensor([0]))[0])
    module.train()(x, torch.tensor([0, 3])).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_the_transformer_sees_the_order_of_steps_and_the_mlp_does_not():
    x = torch.randn(1, 5, 4)
    transformer, mlp = encoder("transformer", (5, 4)).eval(), encoder("mlp", (5, 4)).eval()
    assert not torch.allclose(transformer(x), transformer(x.flip(1)), atol=1e-4)
    torch.testing.assert_close(mlp(x), mlp(x.flip(1)))


def test_dropout_acts_in_training_only():
    module, x = encoder("transformer", (5, 4), dropout=0.5), torch.randn(2, 5, 4)
    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


@pytest.mark.parametrize(("name", "shape"), [("resnet18", (2, 1, 32, 32)), *FITS[2:]])
def test_per_sample_gradients_by_vmap_are_those_of_single_clips(name, shape):
    module = encoder(name, shape).eval()
    lengths = torch.tensor([1, 2, shape[0]]) if len(shape) == 2 else torch.ones(3)
    x, parameters, buffers = torch.randn(3, *shape), dict(module.named_parameters()), dict(module.named_buffers())

    def loss(parameters, clip, length):
        length = length[None] if len(shape) == 2 else None
        return functional_call(module, (parameters, buffers), (clip[None], length)).square().sum()

    with sdpa_kernel(SDPBackend.MATH):
        batched = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, lengths)
        single = grad(loss)(parameters, x[1], lengths[1])
    for key, gradient in single.items():
        torch.testing.assert_close(
            batched[key][1], gradient, rtol=1e-3, atol=1e-4 * float(1 + gradient.detach().abs().max())
        )


@pytest.mark.parametrize(
    ("name", "shape", "fitting"),
    [
        ("resnet18", (7,), "mlp"),
        ("cnn", (5, 7), "mlp, transformer"),
        ("transformer", (1, 8, 8), "resnet18, cnn, mlp"),
        ("mlp", (1, 2, 3, 4, 5), "none"),
    ],
)
def test_clips_that_do_not_fit_are_refused_with_what_fits(name, shape, fitting):
    with pytest.raises(Misuse) as refused:
        build_encoder(config(name), shape)
    assert name in str(refused.value) and str(shape) in str(refused.value)
    assert str(refused.value).endswith(f"Encoders that fit: {fitting}.")


@pytest.mark.parametrize(
    ("kind", "shape", "sequence", "name"),
    [
        ("features", (73,), False, "mlp"),
        ("features", (50, 73), True, "transformer"),
        ("audio", (1, 257, 188), False, "cnn"),
        ("audio", (16000,), False, "mlp"),
        ("image", (1, 8, 8), False, "cnn"),
        ("image", (3, 64, 64), False, "cnn"),
        ("image", (3, 64, 65), False, "resnet18"),
        ("video", (3, 3, 224, 224), False, "resnet18"),
        ("video", (3, 3, 32, 32), False, "cnn"),
    ],
)
def test_the_default_encoder_takes_its_clips(kind, shape, sequence, name):
    chosen = default_encoder(kind, shape, sequence)
    assert chosen.name == name
    with torch.device("meta"):
        build_encoder(chosen, shape)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "transformer", "dim": 10, "heads": 4},
        {"name": "cnn", "channels": []},
        {"name": "mlp", "dropout": 1.0},
        {"name": "mlp", "widht": 3},
        {"name": "vgg"},
    ],
)
def test_impossible_configurations_are_refused(options):
    with pytest.raises(ValidationError):
        config(**options)


def test_the_masked_mean_of_nothing_is_zero():
    steps = torch.tensor([[[2.0], [4.0], [torch.nan]], [[1.0], [1.0], [1.0]]])
    assert masked_mean(steps, torch.tensor([2, 0])).tolist() == [[3.0], [0.0]]
    assert masked_mean(steps[1:], None).tolist() == [[1.0]]


# texts

VOCABULARY = 11
IDS = torch.tensor([[3, 1, 10, 2, 2, 7], [5, 4, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0]])
LENGTHS = torch.tensor([6, 2, 0, 1])


def text_encoder(name, **options):
    return initialised(lambda: build_encoder(config(name, **options), (6,), VOCABULARY), seed=0)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_a_text_is_the_sequence_of_its_tokens_vectors(name):
    module = text_encoder(name, dim=8).eval()
    assert module.table.shape == (VOCABULARY - 1, 8) and module.dim == 8
    vectors = torch.cat([torch.zeros(1, 8), module.table])[IDS]
    assert torch.equal(module(IDS, LENGTHS), module.encoder(vectors, LENGTHS))
    assert module(IDS, LENGTHS).std(dim=0).max() > 0


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_an_absent_text_is_finite_and_to_the_transformer_zero(name):
    module = text_encoder(name)
    feature = module(torch.zeros_like(IDS), torch.zeros_like(LENGTHS))
    assert feature.isfinite().all()
    if name == "transformer":
        assert (feature == 0).all()
    (feature.sum() + module(IDS, LENGTHS).sum()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


def test_padding_is_no_parameter_and_only_tokens_that_occur_are_moved():
    module = text_encoder("mlp")
    module(IDS, LENGTHS).square().sum().backward()
    moved = {row + 1 for row in module.table.grad.abs().sum(dim=1).nonzero().flatten().tolist()}
    assert moved == {1, 2, 3, 4, 5, 7, 9, 10}
    module(torch.zeros_like(IDS), torch.full_like(LENGTHS, 6)).sum().backward()  # padding counted as steps
    assert module.table.grad.isfinite().all()
    with torch.no_grad():
        module.table.add_(100.0)
    zeros = module.encoder(torch.zeros(4, 6, module.dim), LENGTHS)
    assert torch.equal(module(torch.zeros_like(IDS), LENGTHS), zeros)


def test_vectors_of_tokens_are_a_function_of_the_seed():
    first, again = text_encoder("transformer"), text_encoder("transformer")
    assert torch.equal(first.table, again.table)
    assert 0.9 < float(first.table.detach().std()) < 1.1


def test_per_sample_gradients_of_texts_are_those_of_single_clips():
    module = text_encoder("transformer", dim=8).eval()
    parameters = dict(module.named_parameters())

    def loss(parameters, ids, length):
        return functional_call(module, parameters, (ids[None], length[None])).square().sum()

    with sdpa_kernel(SDPBackend.MATH):
        batched = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, IDS, LENGTHS)
        single = grad(loss)(parameters, IDS[1], LENGTHS[1])
    for key, gradient in single.items():
        torch.testing.assert_close(batched[key][1], gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_texts_are_for_encoders_of_sequences(name):
    with pytest.raises(Misuse, match=r"not texts\. Encoders that fit: mlp, transformer\."):
        build_encoder(config(name), (6,), VOCABULARY)


def test_the_default_encoder_of_texts_is_the_transformer():
    assert default_encoder("text", (6,), True).name == "transformer"
