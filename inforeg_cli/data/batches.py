"""From the store to the model: batches of clips in a given order, transformed, on the device, read ahead of their use."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from inforeg_cli.data.store import RAW, Store
from inforeg_cli.data.transforms import Transform, Video
from inforeg_cli.errors import InforegError

#: A modality of up to this size is kept on the device whole, after its transform where that is not random:
#: then a batch is one gather, and spectrograms are computed once instead of every epoch.
RESIDENT_BYTES = 1 << 30
#: Statistics for normalisation are taken over at most this many train clips, evenly spaced.
MOST_CLIPS_FOR_STATISTICS = 4096
#: What is read for all clips, or for statistics, is read in parts of this many clips and bytes at most.
_CHUNK = 256
_CHUNK_BYTES = 1 << 24
#: Threads that read ahead. Copying and decoding leave the interpreter to others.
_READERS = min(4, os.cpu_count() or 1)

Part = TypeVar("Part")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Batch:
    """B clips: `inputs` as the encoders receive them, `lengths` of sequences ``[B]``, classes `target` ``[B]``, and
    `index`, each clip's row in the store ``[B]``. All on the device."""

    inputs: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    target: Tensor
    index: Tensor


def steps_per_epoch(clips: int, batch_size: int) -> int:
    """Batches in a training epoch: a last batch of one clip is dropped, since batch norm has no variance over it."""
    return clips // batch_size + (clips % batch_size > 1)


class Clips:
    """The clips of a store, for some of its modalities and one label, as batches on a device.

    transforms: one a modality, already fitted (see `fit_transforms`), on the device.
    """

    def __init__(self, store: Store, transforms: nn.ModuleDict, label: str, device: torch.device):
        self.transforms, self.device = transforms, device
        self._target = torch.from_numpy(store.labels(label)).to(device)
        self._files = {name: _Files(store, name, transform) for name, transform in transforms.items()}
        self._lengths = {
            name: torch.from_numpy(files.lengths).to(device)
            for name, files in self._files.items()
            if files.lengths is not None
        }
        self._ready: dict[str, Tensor] = {}  # transformed once and for all
        self._raw: dict[str, Tensor] = {}  # as stored, on the device
        for name, transform in transforms.items():
            files, ready_bytes = self._files[name], 4 * len(store) * int(np.prod(transform.shape))
            if not transform.random and ready_bytes <= RESIDENT_BYTES:
                self._ready[name] = self._transform_all(name)
            elif files.uniform and files.bytes <= RESIDENT_BYTES:
                self._raw[name] = torch.from_numpy(files.everything()).to(device)
        self._streamed = [name for name in transforms if name not in self._ready and name not in self._raw]

    def only(self, modalities: Sequence[str]) -> "Clips":
        """The same clips with fewer modalities; nothing is read or kept twice."""
        view = copy(self)
        view.transforms = nn.ModuleDict({name: self.transforms[name] for name in modalities})
        view._lengths = {name: lengths for name, lengths in self._lengths.items() if name in modalities}
        view._streamed = [name for name in self._streamed if name in modalities]
        return view

    def batches(
        self, indices: Tensor, batch_size: int, *, augment: tuple[str | int, ...] | None = None, start: int = 0
    ) -> Iterator[Batch]:
        """Batches of `indices` (int64, CPU) in the order given, from batch `start` on.

        augment: what frames, crops and flips at random are a function of, besides the clip; None, in evaluation, for
            none. In training (`augment` given) a last batch of one clip is dropped (see `steps_per_epoch`).
        """
        steps = -(-len(indices) // batch_size) if augment is None else steps_per_epoch(len(indices), batch_size)
        # All at once and before the first step, which then needs no number from the host.
        frames = {
            name: self._files[name].choose(indices, None if augment is None else (*augment, name))
            for name in self.transforms
            if name not in self._ready
        }
        order = indices.numpy()
        plans = [
            _Plan(order[part], {name: which[part] for name, which in frames.items() if which is not None})
            for part in (slice(step * batch_size, (step + 1) * batch_size) for step in range(start, steps))
        ]
        for plan, read in _read_ahead(plans, self._read) if self._streamed else ((plan, {}) for plan in plans):
            index = self._sent(torch.from_numpy(plan.rows))
            lengths = {name: values[index] for name, values in self._lengths.items()}
            inputs = {}
            for name, transform in self.transforms.items():
                if name in self._ready:
                    inputs[name] = self._ready[name][index]
                    continue
                if name in read:
                    clips, sizes = map(self._sent, read[name])
                elif name in plan.frames:
                    clips, sizes = (
                        self._raw[name][index[:, None], self._sent(torch.from_numpy(plan.frames[name]))],
                        None,
                    )
                else:
                    clips, sizes = self._raw[name][index], None
                transform.train(augment is not None)
                extent = lengths.get(name) if sizes is None else sizes
                inputs[name] = transform(clips, extent, keys=index, seed_parts=(*(augment or ()), name))
            yield Batch(inputs, lengths, self._target[index], index)

    def stored(self, modality: str, indices: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """What evaluation's batches of `indices` are made of, before the modality's transform: the clips as the store
        holds them ``[B, *stored shape]``, of videos the frames to see, and the extent of each (see `Transform`)."""
        for raw, extent in self._files[modality].chunks(indices.numpy(), batch_size):
            yield self._sent(raw), self._sent(extent)

    def _sent(self, tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None else tensor.to(self.device, non_blocking=True)

    def _read(self, plan: "_Plan") -> dict[str, tuple[Tensor, Tensor | None]]:
        """The clips that are not resident, from the store's files; in page-locked memory where a copy can then overlap."""
        read = {name: self._files[name].read(plan.rows, plan.frames.get(name)) for name in self._streamed}
        if self.device.type != "cuda":
            return read
        return {
            name: tuple(part if part is None else part.pin_memory() for part in parts) for name, parts in read.items()
        }

    def _transform_all(self, name: str) -> Tensor:
        transform, files = self.transforms[name].eval(), self._files[name]
        chunks = files.chunks(np.arange(len(self._target)))
        return torch.cat([transform(self._sent(raw), self._sent(extent)) for raw, extent in chunks])


@dataclass(frozen=True)
class _Plan:
    """What a batch is made of: rows of the store ``[B]``, and by modality the frames to see of each ``[B, K]``."""

    rows: np.ndarray
    frames: Mapping[str, np.ndarray]


class _Files:
    """One modality in its store's files: clips of one shape, or chosen frames of clips that may differ in shape.

    lengths: of sequences, int64 ``[N]``. uniform: whether all clips lie there in one shape, as plain numbers.
    """

    def __init__(self, store: Store, name: str, transform: Transform):
        self._store, self._name, self._transform = store, name, transform
        self._modality = modality = store.modalities[name]
        self.lengths = store.lengths(name) if modality.sequence else None
        self._shapes = store.shapes(name) if isinstance(transform, Video) else None
        if self._shapes is None:
            self.uniform, largest, clip = True, modality.shape, modality.shape
        else:
            largest = self._shapes.max(axis=0)
            self._varying = bool((self._shapes[:, 2:] != largest[2:]).any())
            self.uniform = modality.codec == RAW and bool((self._shapes == largest).all())
            clip = (transform.frames, *largest[1:])
        self.bytes = len(store) * int(np.prod(largest, dtype=np.int64)) * modality.dtype.itemsize
        self._chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (int(np.prod(clip)) * modality.dtype.itemsize)))

    def everything(self) -> np.ndarray:
        """All clips ``[N, *shape]``, copied into memory; only where they are uniform."""
        if self._shapes is None:
            return np.array(self._store.array(self._name))
        return np.stack([self._store.clip(self._name, row) for row in range(len(self._store))])

    def choose(self, rows: Tensor, seed_parts: tuple[str | int, ...] | None = None) -> np.ndarray | None:
        """The frames to see of each clip, ``[B, K]``; None where clips are read whole."""
        if self._shapes is None:
            return None
        return self._transform.choose(self._shapes[rows.numpy(), 0], rows, seed_parts)

    def read(self, rows: np.ndarray, frames: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
        """The clips ``[B, *shape]``; or their frames ``[B, K, C, H, W]`` in the upper left of what holds the largest,
        and then, where sizes differ anywhere, the height and width of each ``[B, 2]``."""
        if frames is None:
            return torch.from_numpy(self._store.array(self._name)[rows]), None
        sizes = self._shapes[rows, 2:]
        shape = (*frames.shape, self._shapes[0, 1], *sizes.max(axis=0))
        read = (np.zeros if self._varying else np.empty)(shape, self._modality.dtype)
        for clip, row, which, (height, width) in zip(read, rows.tolist(), frames, sizes, strict=True):
            clip[..., :height, :width] = self._frames(row, which)
        return torch.from_numpy(read), torch.from_numpy(sizes) if self._varying else None

    def chunks(self, rows: np.ndarray, size: int | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The clips `rows` as they are evaluated, with the extent of each, `size` at a time (default: what is little)."""
        size = size or self._chunk
        parts = [rows[first : first + size] for first in range(0, len(rows), size)]

        def read(part: np.ndarray) -> tuple[Tensor, Tensor | None]:
            raw, sizes = self.read(part, self.choose(torch.from_numpy(part)))
            return raw, sizes if self.lengths is None else torch.from_numpy(self.lengths[part])

        return (found for _, found in _read_ahead(parts, read))

    def _frames(self, row: int, which: np.ndarray) -> np.ndarray:
        clip = self._store.clip(self._name, row)
        if self._store.codec(self._name, row) == RAW:
            return clip[which]
        from inforeg_cli.data.media import MediaError, jpeg  # with all decoders, which other stores do without

        try:
            return jpeg.decode(clip, which.tolist())
        except (MediaError, IndexError) as error:
            raise InforegError(
                f"{self._store.path} is damaged: {self._name} of clip {self._store.ids[row]} cannot be decoded "
                f"({error}); check it with inforeg prepare --verify, or prepare the dataset again with --force"
            ) from None


def fit_transforms(transforms: nn.ModuleDict, store: Store, train: np.ndarray) -> None:
    """Compute each transform's statistics on (evenly spaced) train clips, never on any other split."""
    for name, transform in transforms.items():
        transform.fit(_for_statistics(transform, store, name, train))


def statistics_of(transform: Transform, store: Store, name: str, train: np.ndarray) -> tuple[Tensor, Tensor]:
    """What `fit_transforms` would give the transform of modality `name` (see `Transform.statistics`)."""
    return transform.statistics(_for_statistics(transform, store, name, train))


def _for_statistics(
    transform: Transform, store: Store, name: str, train: np.ndarray
) -> Iterator[tuple[Tensor, Tensor | None]]:
    step = -(-len(train) // MOST_CLIPS_FOR_STATISTICS)
    return _Files(store, name, transform).chunks(train[::step])


def _read_ahead(parts: Sequence[Part], read: Callable[[Part], Read]) -> Iterator[tuple[Part, Read]]:
    """Each part with what is read for it, in order, a few parts ahead in threads of their own."""
    pool, pending = ThreadPoolExecutor(_READERS, thread_name_prefix="read-ahead"), deque()
    try:
        for part in parts:
            pending.append((part, pool.submit(read, part)))
            if len(pending) > _READERS + 1:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
