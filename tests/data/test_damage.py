"""Damage is as strong as it says, belongs to the clip, grows by adding to what was there, and is none at strength none."""

from functools import partial

import numpy as np
import pytest
import torch

from inforeg_cli.data.transforms.damage import Chance, arrays, pictures, sound, words

ARRAYS_MEAN, ARRAYS_STD = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5, 1.0, 2.0, 0.0])


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype("f4"))


def waves(clips: int = 12) -> torch.Tensor:
    return (random(clips, 1600) * torch.linspace(300, 6000, clips)[:, None]).to(torch.int16)


def images(clips: int = 12) -> torch.Tensor:
    return (random(clips, 3, 20, 24) * 60 + 128).clamp(0, 255).to(torch.uint8)


def sizes(clips: int = 12) -> torch.Tensor:
    return torch.stack([torch.arange(clips) % 6 + 9, torch.arange(clips) % 4 + 11], dim=1)


def films(clips: int = 12) -> torch.Tensor:
    """Of differing sizes, in the upper left of what holds the largest, and zero beyond."""
    raw = (random(clips, 2, 3, 14, 14) * 60 + 128).clamp(1, 255).to(torch.uint8)
    for clip, (height, width) in zip(raw, sizes(clips).tolist(), strict=True):
        clip[..., height:, :] = 0
        clip[..., width:] = 0
    return raw


def texts(clips: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.arange(clips) % 9 + 1
    ids = 2 + torch.arange(9).expand(clips, 9) + 20 * torch.arange(clips)[:, None]  # no two alike
    return torch.where(torch.arange(9) < lengths[:, None], ids, 0).int(), lengths


def series(clips: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    return random(clips, 5, 4), torch.arange(clips) % 5 + 1


def flows(clips: int = 12) -> torch.Tensor:
    return (random(clips, 3, 2, 14, 14) + 1).half()


#: What each damage is tried on, a strength of it, and the strength that is none.
CASES = {
    "sound noise": (sound.noise, waves(), None, 5, float("inf")),
    "sound dropped": (sound.dropped, waves(), None, 0.4, 0.0),
    "low-pass": (sound.low_pass, waves(), None, 0.3, 1.0),
    "image noise": (pictures.noise, images(), None, 0.2, 0.0),
    "image blur": (pictures.blur, images(), None, 0.1, 0.0),
    "occlusion": (pictures.occlusion, images(), None, 0.4, 0.0),
    "jpeg": (pictures.jpeg, images(), None, 20, None),
    "film noise": (pictures.noise, films(), sizes(), 0.2, 0.0),
    "film blur": (pictures.blur, films(), sizes(), 0.1, 0.0),
    "film occlusion": (pictures.occlusion, films(), sizes(), 0.4, 0.0),
    "film jpeg": (pictures.jpeg, films(), sizes(), 20, None),
    "words dropped": (words.dropped, *texts(), 0.4, 0.0),
    "words shuffled": (words.shuffled, *texts(), 0.6, 0.0),
    "series noise": (partial(arrays.noise, deviation=ARRAYS_STD), *series(), 1.0, 0.0),
    "series dropped": (partial(arrays.dropped, mean=ARRAYS_MEAN), *series(), 0.5, 0.0),
    "vector noise": (partial(arrays.noise, deviation=ARRAYS_STD), random(12, 4), None, 1.0, 0.0),
    "vector dropped": (partial(arrays.dropped, mean=ARRAYS_MEAN), random(12, 4), None, 0.5, 0.0),
    "flow noise": (partial(arrays.motion_noise, deviation=torch.ones(2, 1, 1)), flows(), sizes(), 1.0, 0.0),
    "flow still": (arrays.still, flows(), sizes(), 0.4, 0.0),
}
DRAWN = [name for name in CASES if not any(fixed in name for fixed in ("blur", "jpeg", "low-pass"))]


def damaged(name, strength, rows=slice(None), keys=None, seed=0):
    damage, raw, extent, _, _ = CASES[name]
    keys = torch.arange(100, 100 + len(raw))[rows] if keys is None else keys
    return damage(raw[rows], None if extent is None else extent[rows], Chance(keys, (seed, name)))(strength)


def cut(x: torch.Tensor, clip: int, extent: torch.Tensor | None) -> torch.Tensor:
    """What of a clip counts."""
    if extent is None:
        return x[clip]
    return x[clip, : extent[clip]] if extent.dim() == 1 else x[clip][..., : extent[clip, 0], : extent[clip, 1]]


@pytest.mark.parametrize("name", CASES)
def test_damage_belongs_to_the_clip_whatever_batch_it_stands_in(name):
    strength, raw = CASES[name][3], CASES[name][1]
    whole, extent = damaged(name, strength)
    assert not torch.equal(whole.float(), raw.float())
    for clip in range(len(raw)):
        alone, own = damaged(name, strength, rows=slice(clip, clip + 1))
        assert torch.equal(cut(alone, 0, own), cut(whole, clip, extent))


def test_a_frame_is_damaged_alike_in_the_upper_left_of_larger_batches():
    """Batches are as large as their largest clip."""
    raw, extent = films(), sizes()
    keys = torch.arange(len(raw))
    for name, strength in (("noise", 0.2), ("blur", 0.1), ("occlusion", 0.4), ("jpeg", 20)):
        damage = getattr(pictures, name)
        roomy = torch.nn.functional.pad(raw, (0, 6, 0, 3))
        tight, loose = (damage(x, extent, Chance(keys, (0,)))(strength)[0] for x in (raw, roomy))
        assert all(torch.equal(cut(tight, clip, extent), cut(loose, clip, extent)) for clip in range(len(raw))), name
    flow = flows()
    roomy = torch.nn.functional.pad(flow, (0, 6, 0, 3))
    for damage in (arrays.still, partial(arrays.motion_noise, deviation=torch.ones(2, 1, 1))):
        tight, loose = (damage(x, extent, Chance(keys, (0,)))(0.4)[0] for x in (flow, roomy))
        assert all(torch.equal(cut(tight, clip, extent), cut(loose, clip, extent)) for clip in range(len(raw)))


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][4] is not None])
def test_strength_none_leaves_every_bit(name):
    _, raw, extent, _, none = CASES[name]
    found, left = damaged(name, none)
    if found.dtype != raw.dtype:  # a waveform, in the scale of floats
        found = found * 32768 if raw.dtype == torch.int16 else found
        raw = raw.float()
    assert torch.equal(found, raw)
    assert left is None if extent is None else torch.equal(left, extent)


@pytest.mark.parametrize("name", DRAWN)
def test_damage_is_drawn_from_the_seed(name):
    strength = CASES[name][3]
    assert torch.equal(damaged(name, strength)[0], damaged(name, strength)[0])
    assert not torch.equal(damaged(name, strength)[0], damaged(name, strength, seed=1)[0])


def test_the_signal_to_noise_ratio_is_that_of_each_clip():
    raw = waves().index_fill(0, torch.tensor([3]), 0)
    at = sound.noise(raw, None, Chance(torch.arange(12), (0,)))
    wave = raw.float() / 32768
    for decibels in (20, 0, -5):
        noise = at(decibels)[0] - wave
        loud = wave.square().mean(1) > 0
        found = 10 * torch.log10(wave.square().mean(1) / noise.square().mean(1))[loud]
        assert torch.allclose(found, torch.full_like(found, decibels), atol=0.5)
        assert (noise[3] == 0).all()
    noise = (at(0)[0] - wave)[[0, 11]] / wave[[0, 11]].square().mean(1, keepdim=True).sqrt()
    assert abs(float((noise[0] * noise[1]).mean())) < 0.1  # of different clips
    assert abs(float(torch.fft.rfft(noise).abs().square().log().std()) - 1.28) < 0.15  # white: pi / sqrt(6)


def test_the_silenced_share_of_the_time_is_exact_and_grows():
    raw = torch.ones(12, 2000, dtype=torch.int16)
    at = sound.dropped(raw, None, Chance(torch.arange(12), (0,)))
    before = torch.zeros(12, 2000, dtype=torch.bool)
    for share in (0.1, 0.25, 0.7):
        silent = at(share)[0] == 0
        assert (silent.sum(1) == 2000 * share).all()
        assert (silent | ~before).all()
        before = silent


def test_nothing_but_rounding_is_left_above_the_cut_off():
    found, _ = sound.low_pass(waves(), None, Chance(torch.arange(12), (0,)))(0.25)
    assert found.dtype == torch.int16
    before, after = (torch.fft.rfft(x.double()).abs().square() for x in (waves(), found))
    assert torch.allclose(after[:, :200].sum(1), before[:, :200].sum(1), rtol=0.02)
    assert (after[:, 201:].mean(1) < 2 * 1600 / 12).all()


def test_frames_are_noisy_by_parts_of_the_full_range_and_stay_in_it():
    raw = torch.full((4, 3, 3, 40, 40), 128, dtype=torch.uint8)
    at = pictures.noise(raw, None, Chance(torch.arange(4), (0,)))
    weak, strong = (at(std)[0].float() for std in (0.05, 0.64))
    assert float(weak.std()) == pytest.approx(0.05 * 255, rel=0.03)
    assert float(weak.mean()) == pytest.approx(128, abs=0.5)
    assert strong.min() == 0 and strong.max() == 255
    between = torch.corrcoef(weak.flatten(2).transpose(0, 1).reshape(3, -1))
    assert (between.triu(1).abs() < 0.05).all()  # each frame has its own


def test_blur_keeps_what_is_even_and_narrows_what_is_not():
    even = torch.full((2, 1, 16, 12), 77, dtype=torch.uint8)
    assert torch.equal(pictures.blur(even, None, Chance(torch.arange(2), (0,)))(0.16)[0], even)
    point = torch.zeros(1, 1, 101, 151, dtype=torch.uint8)
    point[..., 48:53, 73:78] = 255
    x = pictures.blur(point, None, Chance(torch.arange(1), (0,)))(0.05)[0][0, 0].double()
    rows = x.sum(1) / x.sum()
    spread = ((torch.arange(101) - 50) ** 2 * rows).sum() - 2  # less the variance of five pixels
    assert float(spread) == pytest.approx((0.05 * 101) ** 2, rel=0.1)
    film = films()
    for clip, (height, width) in enumerate(sizes().tolist()):  # what is beyond the clip does not darken it
        film[clip, ..., :height, :width] = 200
    found, extent = pictures.blur(film, sizes(), Chance(torch.arange(12), (0,)))(0.16)
    assert all((cut(found, clip, extent) == 200).all() for clip in range(12))


def test_a_box_hides_its_share_at_one_place_in_all_frames_and_grows():
    raw, extent = torch.full((12, 3, 1, 60, 80), 10, dtype=torch.uint8), torch.tensor([[60, 80], [40, 50]] * 6)
    at = pictures.occlusion(raw, extent, Chance(torch.arange(12), (0,)))
    before = torch.zeros(raw.shape, dtype=torch.bool)
    for share in (0.1, 0.4, 0.7):
        hidden = at(share)[0] != 10
        assert (hidden == hidden[:, :1]).all()
        areas = hidden[:, 0, 0].sum((1, 2)) / extent.prod(1)
        assert torch.allclose(areas, torch.full((12,), share), atol=0.03)
        inside = [cut(hidden[:, 0], clip, extent).sum() for clip in range(12)]
        assert torch.stack(inside).tolist() == hidden[:, 0, 0].sum((1, 2)).tolist()
        assert (before & ~hidden).float().mean() < 0.01  # but for rounding
        before = hidden
    assert len({tuple(clip.nonzero()[0].tolist()) for clip in hidden[:, 0, 0]}) > 6


def test_jpeg_is_coarser_the_lower_the_quality():
    raw = films()[:, :, :1]  # of colours it keeps little at any
    errors = []
    for quality in (95, 40, 5):
        found, extent = pictures.jpeg(raw, sizes(), Chance(torch.arange(12), (0,)))(quality)
        gaps = [(cut(found, clip, extent).float() - cut(raw, clip, extent).float()).abs().mean() for clip in range(12)]
        errors.append(float(torch.stack(gaps).mean()))
        assert all((found[clip, ..., height:, :] == 0).all() for clip, (height, _) in enumerate(extent.tolist()))
    assert errors == sorted(errors) and errors[0] < errors[-1] / 2
    large = (random(2, 3, 120, 120) * 60 + 128).clamp(0, 255).to(torch.uint8)  # coded in threads
    found = pictures.jpeg(large, None, Chance(torch.arange(2), (0,)))(20)[0]
    alone = pictures.jpeg(large[1:], None, Chance(torch.arange(1, 2), (0,)))(20)[0]
    assert torch.equal(found[1:], alone)


def test_dropped_words_leave_the_others_in_order_and_one_at_least():
    raw, lengths = texts()
    at = words.dropped(raw, lengths, Chance(torch.arange(12), (0,)))
    before = [set(text.tolist()) for text in raw]
    for share in (0.25, 0.7, 0.99):
        found, left = at(share)
        assert left.tolist() == [max(1, n - int(share * n + 0.5)) for n in lengths.tolist()]
        for clip, count in enumerate(left.tolist()):
            text = found[clip, :count].tolist()
            assert text == sorted(text) and 0 not in text
            assert set(text) <= before[clip]
            before[clip] = set(text)


def test_shuffled_words_change_places_among_themselves():
    raw, lengths = texts()
    at = words.shuffled(raw, lengths, Chance(torch.arange(12), (0,)))
    for share in (0.25, 0.6, 1.0):
        found, left = at(share)
        assert torch.equal(left, lengths)
        assert torch.equal(found.sort(1).values, raw.sort(1).values)
        assert torch.equal(found == 0, raw == 0)
        assert ((found != raw).sum(1) <= (share * lengths + 0.5).floor()).all()
    assert (found != raw).sum() > lengths.sum() / 2


def test_features_are_noisy_in_units_of_each_dimension():
    raw = torch.zeros(400, 5, 4)
    at = arrays.noise(raw, None, Chance(torch.arange(400), (0,)), deviation=ARRAYS_STD)
    assert torch.allclose(at(2.0)[0].std((0, 1)), 2 * ARRAYS_STD, rtol=0.05)


def test_dropped_dimensions_are_at_their_mean_at_all_times():
    raw, lengths = series(200)
    found = arrays.dropped(raw, lengths, Chance(torch.arange(200), (0,)), mean=ARRAYS_MEAN)(0.5)[0]
    gone = found == ARRAYS_MEAN
    assert (gone.all(1).sum(1) == 2).all() and torch.equal(gone.all(1), gone.any(1))
    assert (gone.all(1).float().mean(0) - 0.5).abs().max() < 0.1
    assert torch.equal(found[~gone], raw[~gone])


def test_still_cells_are_those_of_the_clip_itself():
    raw, extent = flows(), sizes()
    found, _ = arrays.still(raw, extent, Chance(torch.arange(12), (0,)))(0.4)
    for clip in range(12):
        still = cut((found == 0).all(2).all(1), clip, extent)
        assert int(still.sum()) == int(0.4 * int(extent[clip].prod()) + 0.5)


def test_numbers_of_chance_are_normal():
    from inforeg_cli.data.transforms.damage.chance import normal

    found = normal(Chance(torch.arange(200), (0,)).numbers("x", 1000))
    assert float(found.mean()) == pytest.approx(0, abs=0.01) and float(found.std()) == pytest.approx(1, abs=0.01)
    assert float((found.abs() > 1.96).float().mean()) == pytest.approx(0.05, abs=0.003)
    assert normal(torch.tensor([0.0, 1 - 2**-24])).isfinite().all()
