"""Decoding of recordings, and what comes of it as batches are made of: clips in memory in place of a store."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inforeg_cli.data import media
from inforeg_cli.data.decoding import Decoded, Decoder, Flaw, Packed, Task, decode
from inforeg_cli.data.kinds import FeatureSettings
from inforeg_cli.data.media import MediaError, Unreadable
from inforeg_cli.data.parallel import FEWEST, Crash, ordered_map
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.sources import Clip, Failure
from inforeg_cli.data.store import RAW, Modality
from inforeg_cli.settings import Settings


class Loaded:
    """Clips that all have the same modalities, to be read like those of a `Store`; as they have no labels, all are of
    class 0."""

    path = Path("the recordings")

    def __init__(self, modalities: Mapping[str, Modality], ids: Sequence[str], clips: Sequence[Mapping[str, Packed]]):
        self.modalities = modalities
        self.ids = np.array(ids, dtype=np.str_)
        self._clips = clips
        self._arrays: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._clips)

    def labels(self, label: str) -> np.ndarray:
        return np.zeros(len(self), np.int64)

    def array(self, modality: str) -> np.ndarray:
        """``[N, *shape]``, of a modality of fixed shape."""
        if modality not in self._arrays:
            self._arrays[modality] = np.stack([self.clip(modality, index) for index in range(len(self))])
        return self._arrays[modality]

    def clip(self, modality: str, index: int) -> np.ndarray:
        """Its numbers for codec ``raw``, else its encoded bytes."""
        packed = self._clips[index][modality]
        return packed.data if packed.codec != RAW else packed.data.view(packed.dtype).reshape(packed.shape)

    def codec(self, modality: str, index: int) -> str:
        return self._clips[index][modality].codec

    def shapes(self, modality: str) -> np.ndarray:
        return np.array([clip[modality].shape for clip in self._clips], dtype=np.int64)

    def lengths(self, modality: str) -> np.ndarray:
        return np.array([clip[modality].steps for clip in self._clips], dtype=np.int64)


def decoded(
    clips: Sequence[Clip], preparation: Preparation, workers: int
) -> Iterator[tuple[Clip, dict[str, Packed], list[Failure]]]:
    """Each clip, in order, with its modalities as they would lie in the store, or with what is wrong with its files."""
    decoder = Decoder(
        {name: _settings(settings, preparation.modalities[name]) for name, settings in preparation.settings.items()},
        preparation.modalities,
    )
    tasks = [Task(clip.media, clip.named) for clip in clips]
    for clip, result in zip(clips, ordered_map(read, tasks, workers, decoder, fewest=FEWEST), strict=True):
        if isinstance(result, Crash):
            crash = Unreadable("decoding crashed the decoder", result.reason)
            yield clip, {}, [Failure.of(clip, "+".join(clip.media), crash)]
        else:
            # Where a result's arrays lie, those of a later one will.
            packed = {name: replace(each, data=each.data.copy()) for name, each in result.packed.items()}
            yield clip, packed, [Failure(clip, *flaw) for flaw in result.flaws]


def read(decoder: Decoder, task: Task) -> Decoded:
    """What a worker does: look at the headers, as preparing does, then decode."""
    flaws = []
    for name, raw in task.media.items():
        if isinstance(raw, Path):
            try:
                media.look(decoder.settings[name], raw)
            except MediaError as error:
                flaws.append(Flaw(name, error.what, error.detail, isinstance(error, Unreadable)))
            except OSError as error:
                flaws.append(Flaw(name, "the file cannot be read", error.strerror or "", True))
    return Decoded([], flaws=flaws) if flaws else decode(decoder, task)


def _settings(settings: Settings, modality: Modality) -> Settings | None:
    """None for texts, which are token ids by now. Sequences are cut to what the dataset's longest, at most, has."""
    if modality.kind == "text":
        return None
    sequence = isinstance(settings, FeatureSettings) and modality.sequence
    return settings.model_copy(update={"length": modality.length}) if sequence else settings
