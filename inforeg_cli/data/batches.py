"""From the store to the model: batches of clips in a given order, transformed, on the device, read ahead of their use."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from inforeg_cli.data.store import Store

#: A modality of up to this size is kept on the device whole, after its transform where that is not random:
#: then a batch is one gather, and spectrograms are computed once instead of every epoch.
RESIDENT_BYTES = 1 << 30
#: Statistics for normalisation are taken over at most this many train clips, evenly spaced.
MOST_CLIPS_FOR_STATISTICS = 4096
_CHUNK = 256


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
        self.store, self.transforms, self.device = store, transforms, device
        self._target = torch.from_numpy(store.labels(label)).to(device)
        self._lengths = {
            name: torch.from_numpy(store.lengths(name)).to(device)
            for name in transforms
            if store.modalities[name].sequence
        }
        self._ready: dict[str, Tensor] = {}  # transformed once and for all
        self._raw: dict[str, Tensor] = {}  # as stored, on the device
        for name, transform in transforms.items():
            raw_bytes = store.array(name).nbytes
            ready_bytes = 4 * len(store) * int(np.prod(transform.shape))
            if not transform.random and ready_bytes <= RESIDENT_BYTES:
                self._ready[name] = self._transform_all(name)
            elif raw_bytes <= RESIDENT_BYTES:
                self._raw[name] = torch.from_numpy(np.array(store.array(name))).to(device)

    def batches(
        self, indices: Tensor, batch_size: int, *, augment: tuple[str | int, ...] | None = None, start: int = 0
    ) -> Iterator[Batch]:
        """Batches of `indices` (int64, CPU) in the order given, from batch `start` on.

        augment: what random crops and flips are a function of, besides the clip; None, in evaluation, for none. In
            training (`augment` given) a last batch of one clip is dropped (see `steps_per_epoch`).
        """
        chunks = list(indices.split(batch_size))
        if augment is not None:
            chunks = chunks[: steps_per_epoch(len(indices), batch_size)]
        for index, raw in _read_ahead(chunks[start:], self._read, self._streamed()):
            index = index.to(self.device, non_blocking=True)
            lengths = {name: values[index] for name, values in self._lengths.items()}
            inputs = {}
            for name, transform in self.transforms.items():
                if name in self._ready:
                    inputs[name] = self._ready[name][index]
                else:
                    clips = (
                        self._raw[name][index] if name in self._raw else raw[name].to(self.device, non_blocking=True)
                    )
                    transform.train(augment is not None)
                    seed_parts = (*(augment or ()), name)
                    inputs[name] = transform(clips, lengths.get(name), keys=index, seed_parts=seed_parts)
            yield Batch(inputs, lengths, self._target[index], index)

    def _streamed(self) -> list[str]:
        return [name for name in self.transforms if name not in self._ready and name not in self._raw]

    def _read(self, index: Tensor) -> dict[str, Tensor]:
        """The clips that are not resident, from the store's files; in page-locked memory where a copy can then overlap."""
        read = {name: torch.from_numpy(self.store.array(name)[index.numpy()]) for name in self._streamed()}
        return {name: clips.pin_memory() for name, clips in read.items()} if self.device.type == "cuda" else read

    def _transform_all(self, name: str) -> Tensor:
        transform, array = self.transforms[name].eval(), self.store.array(name)
        done = []
        for start in range(0, len(self.store), _CHUNK):
            clips = torch.from_numpy(np.array(array[start : start + _CHUNK])).to(self.device)
            lengths = self._lengths[name][start : start + _CHUNK] if name in self._lengths else None
            done.append(transform(clips, lengths))
        return torch.cat(done)


def fit_transforms(transforms: nn.ModuleDict, store: Store, train: np.ndarray) -> None:
    """Compute each transform's statistics on (evenly spaced) train clips, never on any other split."""
    step = -(-len(train) // MOST_CLIPS_FOR_STATISTICS)
    chosen = train[::step]
    for name, transform in transforms.items():
        array = store.array(name)
        lengths = store.lengths(name) if store.modalities[name].sequence else None
        parts = [chosen[start : start + _CHUNK] for start in range(0, len(chosen), _CHUNK)]
        transform.fit(
            (torch.from_numpy(array[part]), None if lengths is None else torch.from_numpy(lengths[part]))
            for part in parts
        )


def _read_ahead(
    chunks: list[Tensor], read: Callable[[Tensor], dict[str, Tensor]], streamed: list[str], depth: int = 2
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """Each chunk with what is read for it, `depth` chunks ahead in a thread of its own."""
    if not streamed:  # nothing to wait for: a thread would only cost its hand-over
        yield from ((chunk, {}) for chunk in chunks)
        return
    pool, pending = ThreadPoolExecutor(1, thread_name_prefix="read-ahead"), deque()
    try:
        for chunk in chunks:
            pending.append((chunk, pool.submit(read, chunk)))
            if len(pending) > depth:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
