"""The embedded default: real handwritten digits, each with the telephone tone pair of its digit, both under noise.

The images are scikit-learn's 1,797 digits of 8 x 8 pixels (UCI, Optical Recognition of Handwritten Digits; CC BY 4.0);
the tones are those of a telephone keypad (DTMF, ITU-T Recommendation Q.23), so sound and image are independent given
the digit. Everything drawn comes from the recipe's seed.
"""

import numpy as np

from inforeg_cli.data import media
from inforeg_cli.data.recipe import DigitsRecipe
from inforeg_cli.data.sources import Clip, Plan
from inforeg_cli.data.splits import complete
from inforeg_cli.data.store import Modality

SAMPLE_RATE = 8000
#: Low and high tone of each key in Hz (Q.23): the keypad's row and column.
TONES = {
    0: (941, 1336),
    **{digit: ((697, 770, 852)[(digit - 1) // 3], (1209, 1336, 1477)[(digit - 1) % 3]) for digit in range(1, 10)},
}
#: Root mean square of a waveform, of full scale: ten standard deviations of head room, so nothing is ever clipped.
_LEVEL = 0.1
#: Pixels are stored so that 0 to 16 and this many standard deviations of the noise on either side fit into a byte.
_IMAGE_MARGIN = 4.0
_WHITE = 16.0


def look(recipe: DigitsRecipe) -> Plan:
    """All clips, ready made: `sound` int16 ``[samples]`` and `image` uint8 ``[1, 8, 8]``."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    sounds, images = _sounds(recipe, digits.target), _images(recipe, digits.images)
    ids = [f"digit-{index:04d}" for index in range(len(digits.target))]
    labels = [str(digit) for digit in digits.target]
    splits = complete([None] * len(ids), labels, None, recipe.splits, "split", ids)
    return Plan(
        clips=[
            Clip(
                ids[i], {"label": labels[i]}, {"split": str(splits[i])}, media={"sound": sounds[i], "image": images[i]}
            )
            for i in range(len(ids))
        ],
        modalities={
            "sound": Modality("audio", sounds.dtype, sounds.shape[1:], settings={"sample_rate": SAMPLE_RATE}),
            "image": Modality("image", images.dtype, images.shape[1:], settings={"mode": "L"}),
        },
        decoding={},
        inputs="",
        decoders={**media.versions(()), "scikit-learn": sklearn.__version__},
    )


def _sounds(recipe: DigitsRecipe, digits: np.ndarray) -> np.ndarray:
    """int16 ``[N, samples]``: two tones of equal power, each with a phase of its own, in white Gaussian noise."""
    samples = round(SAMPLE_RATE * recipe.seconds)
    random = np.random.default_rng([recipe.seed, 0])
    phases = random.uniform(0, 2 * np.pi, (len(digits), 2, 1))
    noise = random.standard_normal((len(digits), samples))
    frequencies = np.array([TONES[int(digit)] for digit in digits])[:, :, None]
    waves = np.sin(2 * np.pi * frequencies * np.arange(samples) / SAMPLE_RATE + phases)
    ratio = 10 ** (recipe.tone_to_noise_db / 10)  # of powers; two sines of amplitude a have the power a^2
    mixed = np.sqrt(ratio) * waves.sum(axis=1) + noise
    return media.to_int16(mixed * (_LEVEL / np.sqrt(1 + ratio)))


def _images(recipe: DigitsRecipe, images: np.ndarray) -> np.ndarray:
    """uint8 ``[N, 1, 8, 8]``. With noise, what lies beyond four of its standard deviations is clipped."""
    random = np.random.default_rng([recipe.seed, 1])
    deviation = recipe.image_noise * images.std()
    noisy = images + deviation * random.standard_normal(images.shape)
    low, high = -_IMAGE_MARGIN * deviation, _WHITE + _IMAGE_MARGIN * deviation
    scaled = (noisy - low) * (255 / (high - low))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)[:, None]
