"""The embedded digits: real images, the right tones, the noise that the recipe asks for."""

import numpy as np
import pytest

from inforeg_cli import paths
from inforeg_cli.data import recipe, recipe_file
from inforeg_cli.data.sources import digits


def look(**changes):
    shipped = recipe_file.load(paths.shipped("datasets") / "digits" / "recipe.toml")
    return digits.look(shipped.model_copy(update=changes))


def stacked(plan, modality: str) -> np.ndarray:
    return np.stack([clip.media[modality] for clip in plan.clips])


@pytest.fixture(scope="module")
def shipped():
    return look()


def test_shapes_and_splits(shipped):
    assert len(shipped.clips) == 1797
    assert shipped.modalities["sound"].shape == (800,)
    assert shipped.modalities["image"].shape == (1, 8, 8)
    for name, modality in shipped.modalities.items():
        assert all(clip.media[name].shape == modality.shape for clip in shipped.clips)
        assert all(clip.media[name].dtype == modality.dtype for clip in shipped.clips)
    splits = [clip.splits["split"] for clip in shipped.clips]
    assert [round(splits.count(name) / 1797, 2) for name in ("train", "val", "test")] == [0.6, 0.2, 0.2]
    for label in map(str, range(10)):
        own = [split for clip, split in zip(shipped.clips, splits, strict=True) if clip.labels["label"] == label]
        assert own.count("test") / len(own) == pytest.approx(0.2, abs=0.01)


def sounds(number: int, **changes) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms of one second, whose spectra have a bin a Hertz, and their digits."""
    wanted = np.arange(number) % 10
    return digits._sounds(recipe.DigitsRecipe(name="digits", source="digits", seconds=1.0, **changes), wanted), wanted


def test_each_digit_has_the_tones_of_its_key():
    # ITU-T Q.23: the keypad's rows are 697, 770, 852 and 941 Hz, its columns 1209, 1336 and 1477 Hz.
    keypad = {"123": 697, "456": 770, "789": 852, "0": 941, "147": 1209, "2580": 1336, "369": 1477}
    for wave, digit in zip(*sounds(10, tone_to_noise_db=40.0), strict=True):
        loudest = np.argsort(np.abs(np.fft.rfft(wave.astype(float))))[-2:]
        assert set(loudest) == {tone for keys, tone in keypad.items() if str(digit) in keys}


@pytest.mark.parametrize("ratio", [-12.0, -6.0, 0.0, 6.0])
def test_the_tones_stand_so_far_above_the_noise(ratio):
    waves, wanted = sounds(100, tone_to_noise_db=ratio)
    spectra = np.abs(np.fft.rfft(waves.astype(float))) ** 2
    tones = np.take_along_axis(spectra, np.array([digits.TONES[digit] for digit in wanted]), axis=1).sum()
    noise = spectra[:, 1:].sum() - tones
    assert 10 * np.log10(tones / noise) == pytest.approx(ratio, abs=0.1)
    assert np.sqrt(np.mean((waves / 32768) ** 2)) == pytest.approx(0.1, rel=0.01)


def test_phases_differ_from_clip_to_clip():
    plan = look(tone_to_noise_db=40.0)
    zeros = [clip.media["sound"] for clip in plan.clips if clip.labels["label"] == "0"][:10]
    assert max(np.corrcoef(zeros)[np.triu_indices(10, 1)]) < 0.999


def test_without_noise_the_images_are_the_real_ones():
    from sklearn.datasets import load_digits

    images = stacked(look(image_noise=0.0), "image")[:, 0].astype(float)
    assert np.array_equal(np.rint(images * 16 / 255), load_digits().images)


def test_image_noise_is_as_large_as_asked_for_and_hardly_clipped():
    from sklearn.datasets import load_digits

    real = load_digits().images
    images = stacked(look(image_noise=2.0), "image")[:, 0].astype(float)
    step = (16 + 8 * 2.0 * real.std()) / 255
    noise = images * step - 4 * 2.0 * real.std() - real
    assert noise.std() == pytest.approx(2.0 * real.std(), rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.05)
    assert np.mean((images == 0) | (images == 255)) < 1e-3


def test_the_seed_draws_everything_and_one_noise_does_not_move_the_other(shipped):
    assert np.array_equal(stacked(look(), "sound"), stacked(shipped, "sound"))
    assert not np.array_equal(stacked(look(seed=1), "sound"), stacked(shipped, "sound"))
    louder = look(tone_to_noise_db=0.0)
    assert np.array_equal(stacked(louder, "image"), stacked(shipped, "image"))
    blurred = look(image_noise=1.0)
    assert np.array_equal(stacked(blurred, "sound"), stacked(shipped, "sound"))
