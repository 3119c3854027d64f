"""How fast training gets its batches from a store, beside decoding the files in each epoch as the released loaders do."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import torch
from av.audio.resampler import AudioResampler
from PIL import Image
from torch import Tensor, nn

from inforeg_cli.benchmarks.tree import FPS, Pair
from inforeg_cli.benchmarks.turns import interleaved
from inforeg_cli.data import batches
from inforeg_cli.data.batches import Clips, fit_transforms
from inforeg_cli.data.store import Store
from inforeg_cli.data.transforms import Audio, Video, transform_of
from inforeg_cli.seeds import permutation

BATCH, FRAMES, SIDE = 64, 3, 224
RELEASED, DECODED = "files, as released", "files, decoded only"
TRANSFORMED, FETCHED = "store, transformed", "store, as stored"
#: Batches timed together, so that each row takes a second or two.
BATCHES = {RELEASED: 1, DECODED: 1, TRANSFORMED: 2, FETCHED: 32}

#: Of the released code: frames a second that were extracted beforehand; rate and samples of the sound; its spectrogram.
_EXTRACTED_FPS, _RATE, _SAMPLES, _FFT, _HOP = 3, 22_050, 66_150, 512, 353


def time_reading(store: Store, pairs: Sequence[Pair], folder: Path, turns: int) -> dict[str, list[float]]:
    """Seconds a batch, by row and turn. `store` was prepared from `pairs`; extracted frames go to `folder`."""
    with _one_thread():
        with _nothing_resident():
            transformed = _Transformed(store)
        released = Released(pairs, folder)
        rows = {
            RELEASED: released.read,
            DECODED: released.decode,
            TRANSFORMED: transformed.read,
            FETCHED: _Fetched(store).read,
        }
        seconds = interleaved(rows, turns)
    return {row: [each / BATCHES[row] for each in times] for row, times in seconds.items()}


class Released:
    """A batch as the released CREMA-D loaders make it, in one process: WAV files decoded and resampled, spectrograms on
    the CPU, three of the frames that were extracted as JPEG files at 3 a second, cropped and flipped one by one."""

    def __init__(self, pairs: Sequence[Pair], folder: Path):
        from torchvision import transforms

        self._random = random.Random(0)
        self._augment = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIDE),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )
        originals = sorted({pair.original for pair in pairs})
        frames = {number: _extract(pairs[number].video, folder / pairs[number].video.stem) for number in originals}
        self._clips = [(pair.audio, frames[pair.original]) for pair in pairs]

    def read(self) -> tuple[Tensor, Tensor]:
        """Spectrograms ``[B, 1, 257, 188]`` and frames ``[B, 3, 3, 224, 224]``."""
        sounds, frames = [], []
        for samples, pictures in self._decoded():
            sounds.append(_spectrogram(samples))
            frames.append(torch.stack([self._augment(picture) for picture in pictures], dim=1))
        return torch.stack(sounds), torch.stack(frames)

    def decode(self) -> None:
        """As much of it as no training can leave to the device."""
        for _ in self._decoded():
            pass

    def _decoded(self) -> Iterator[tuple[Tensor, list[Image.Image]]]:
        for _ in range(BATCH):
            audio, frames = self._random.choice(self._clips)
            chosen = sorted(self._random.sample(range(len(frames)), FRAMES))
            yield _sound(audio), [Image.open(frames[which]).convert("RGB") for which in chosen]


class _Transformed:
    """Batches as the model receives them: frames read, cropped, flipped and normalised, spectrograms computed."""

    def __init__(self, store: Store):
        configs = {
            "audio": Audio.Config(representation="log-spectrogram", n_fft=_FFT, hop=_HOP, normalise="none"),
            "video": Video.Config(frames=FRAMES, size=SIDE, crop=True, flip=True, normalise="imagenet"),
        }
        transforms = nn.ModuleDict({name: transform_of(store, name, config) for name, config in configs.items()})
        fit_transforms(transforms, store, np.arange(len(store)))
        self._clips = Clips(store, transforms, store.label_columns[0], torch.device("cpu"))
        self._order, self._epoch = _Order(len(store)), 0

    def read(self) -> None:
        self._epoch += 1
        for _ in self._clips.batches(self._order.next(TRANSFORMED), BATCH, augment=("bench", self._epoch)):
            pass


class _Fetched:
    """The same clips and frames as they lie in the store: all that a device with transforms of its own must be sent."""

    def __init__(self, store: Store):
        self._store, self._random, self._order = store, np.random.default_rng(0), _Order(len(store))

    def read(self) -> None:
        for part in self._order.next(FETCHED).split(BATCH):
            rows = part.numpy()
            _ = self._store.array("audio")[rows]
            _ = np.stack([self._frames(row) for row in rows.tolist()])

    def _frames(self, row: int) -> np.ndarray:
        clip = self._store.clip("video", row)
        return clip[np.sort(self._random.choice(len(clip), FRAMES, replace=False))]


class _Order:
    """One random order of the clips after the other, in as many whole batches as are timed together."""

    def __init__(self, clips: int):
        self._clips, self._epoch, self._left = clips, 0, torch.empty(0, dtype=torch.int64)

    def next(self, row: str) -> Tensor:
        needed = BATCHES[row] * BATCH
        while len(self._left) < needed:
            self._left = torch.cat([self._left, permutation(self._clips, "bench", self._epoch)])
            self._epoch += 1
        chosen, self._left = self._left[:needed], self._left[needed:]
        return chosen


@contextmanager
def _one_thread() -> Iterator[None]:
    """As in a data loader's process. The released loaders work on one clip at a time, which more threads only slow."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@contextmanager
def _nothing_resident() -> Iterator[None]:
    """So small a store would be kept in memory whole, with its spectrograms; a dataset's frames are not."""
    usual, batches.RESIDENT_BYTES = batches.RESIDENT_BYTES, 0
    try:
        yield
    finally:
        batches.RESIDENT_BYTES = usual


def _extract(video: Path, folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    paths = []
    with av.open(str(video)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % (FPS // _EXTRACTED_FPS) == 0:
                paths.append(folder / f"{len(paths):02}.jpg")
                frame.to_image().save(paths[-1], quality=95)
    return paths


def _sound(path: Path) -> Tensor:
    resampler = AudioResampler("flt", "mono", _RATE)
    with av.open(str(path)) as container:
        pieces = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    pieces += resampler.resample(None)
    return torch.from_numpy(np.concatenate([piece.to_ndarray()[0] for piece in pieces]))


def _spectrogram(samples: Tensor) -> Tensor:
    samples = samples.repeat(-(-_SAMPLES // len(samples)))[:_SAMPLES].clamp(-1, 1)
    window = torch.hann_window(_FFT)
    spectrum = torch.stft(samples, _FFT, _HOP, window=window, pad_mode="constant", return_complex=True)
    return torch.log(spectrum.abs() + 1e-7)[None]
