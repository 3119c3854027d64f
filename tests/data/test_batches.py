"""Batches are the same wherever the clips lie: ready on the device, raw on the device, or read ahead from the files."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from inforeg_cli.data import batches
from inforeg_cli.data.batches import Clips, fit_transforms, steps_per_epoch
from inforeg_cli.data.transforms import InputConfig, build_transform

CPU = torch.device("cpu")


def clips_of(store, **picture) -> Clips:
    from pydantic import TypeAdapter

    configs = {name: {"kind": modality.kind} for name, modality in store.modalities.items()}
    configs["picture"] |= picture
    transforms = nn.ModuleDict(
        {
            name: build_transform(TypeAdapter(InputConfig).validate_python(config), store.modalities[name])
            for name, config in configs.items()
        }
    )
    fit_transforms(transforms, store, store.split("split", "train"))
    return Clips(store, transforms, "label", CPU)


def collected(clips: Clips, indices: torch.Tensor, size: int, **options) -> dict[str, torch.Tensor]:
    found = list(clips.batches(indices, size, **options))
    inputs = {name: torch.cat([batch.inputs[name] for batch in found]) for name in found[0].inputs}
    lengths = {f"{name} lengths": torch.cat([batch.lengths[name] for batch in found]) for name in found[0].lengths}
    rest = {key: torch.cat([getattr(batch, key) for batch in found]) for key in ("target", "index")}
    return {**inputs, **lengths, **rest}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("augment", [None, (0, "augment", 3)], ids=["evaluation", "training"])
def test_resident_and_streamed_clips_are_the_same(augment, make_store, monkeypatch):
    store = make_store(modalities=3)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(store)))
    resident = collected(clips_of(store, crop=True, flip=True), order, 8, augment=augment)
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    streamed = clips_of(store, crop=True, flip=True)
    assert streamed._streamed == list(store.modalities)
    assert same(resident, collected(streamed, order, 8, augment=augment))


def test_order_and_labels_are_those_asked_for(make_store):
    store = make_store(modalities=3)
    order = torch.tensor([5, 3, 59, 0])
    found = collected(clips_of(store), order, 3)
    assert torch.equal(found["index"], order)
    assert found["target"].tolist() == store.labels("label")[order.numpy()].tolist()
    assert found["series lengths"].tolist() == store.lengths("series")[order.numpy()].tolist()


def test_augmentation_belongs_to_the_clip_and_the_epoch(make_store):
    store = make_store()
    clips = clips_of(store, crop=True, flip=True)
    order = torch.arange(40)
    first = collected(clips, order, 8, augment=(0, "augment", 0))
    assert same(first, collected(clips, order, 20, augment=(0, "augment", 0)))
    assert not torch.equal(first["picture"], collected(clips, order, 8, augment=(0, "augment", 1))["picture"])
    assert not torch.equal(first["picture"], collected(clips, order, 8)["picture"])
    assert torch.equal(first["vector"], collected(clips, order, 8)["vector"])


@pytest.mark.parametrize(
    ("clips", "size", "steps"), [(36, 7, 5), (36, 8, 5), (36, 9, 4), (36, 36, 1), (2, 64, 1), (3, 2, 1)]
)
def test_a_single_last_clip_is_dropped_in_training_only(clips, size, steps, make_store):
    store = make_store()
    loader, order = clips_of(store), torch.arange(clips)
    assert steps_per_epoch(clips, size) == steps == len(list(loader.batches(order, size, augment=(0,))))
    assert sum(len(batch.index) for batch in loader.batches(order, size)) == clips


def test_starting_later_gives_the_rest(make_store):
    store = make_store()
    clips, order = clips_of(store), torch.arange(30)
    every = [batch.index.tolist() for batch in clips.batches(order, 8, augment=(0,))]
    assert [batch.index.tolist() for batch in clips.batches(order, 8, augment=(0,), start=2)] == every[2:]


def test_leaving_early_leaves_no_thread(make_store, monkeypatch):
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    reader = clips_of(make_store()).batches(torch.arange(60), 4)
    next(reader)
    assert any(thread.name.startswith("read-ahead") for thread in threading.enumerate())
    reader.close()
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())


def test_statistics_are_those_of_train(make_store):
    store = make_store()
    clips = clips_of(store)
    train = torch.from_numpy(store.split("split", "train"))
    vectors = collected(clips, train, 8)["vector"]
    assert torch.allclose(vectors.mean(0), torch.zeros(6), atol=1e-5)
    assert torch.allclose(vectors.std(0, correction=0), torch.ones(6), atol=1e-5)
