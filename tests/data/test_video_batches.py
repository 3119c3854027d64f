"""Frames of a clip reach the encoder the same way whatever else is in the batch, and wherever the clip lies."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kinds_factory import make_kinds, raw_frames
from pydantic import TypeAdapter
from torch import nn

from inforeg_cli.data import batches
from inforeg_cli.data.batches import Clips, fit_transforms
from inforeg_cli.data.transforms import InputConfig, build_transform, transform_of
from inforeg_cli.errors import InforegError, Misuse

CPU = torch.device("cpu")
TRAINING = (0, "augment", 2)
VIDEOS = ("scene", "film", "flow")


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "varying", *VIDEOS)


@pytest.fixture(scope="module")
def uniform(tmp_path_factory):
    return make_kinds(tmp_path_factory.mktemp("stores") / "uniform", *VIDEOS, varying=False)


def transform(store, name, **options):
    config = {"kind": store.modalities[name].kind, **options}
    return transform_of(store, name, TypeAdapter(InputConfig).validate_python(config))


def clips_of(store, names=VIDEOS, **options) -> Clips:
    transforms = nn.ModuleDict({name: transform(store, name, **options) for name in names})
    fit_transforms(transforms, store, store.split("split", "train"))
    return Clips(store, transforms, "label", CPU)


def collected(clips, indices, size, **options):
    found = list(clips.batches(torch.as_tensor(indices), size, **options))
    return {name: torch.cat([batch.inputs[name] for batch in found]) for name in clips.transforms}


def test_evaluation_is_the_middle_frames_whole_and_scaled(varying):
    found = collected(clips_of(varying, size=9, normalise="none"), range(20), 6)
    for name in VIDEOS:
        for clip in range(20):
            frames = torch.from_numpy(np.array(raw_frames(varying, name, clip))).float()
            chosen = frames[[(2 * k + 1) * len(frames) // 6 for k in range(3)]]
            expected = F.interpolate(chosen, (9, 9), mode="bilinear", antialias=True)
            expected = expected if name == "flow" else expected / 255
            torch.testing.assert_close(found[name][clip], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("augment", [None, TRAINING], ids=["evaluation", "training"])
@pytest.mark.parametrize("sampling", ["random", "segments"])
def test_a_clip_does_not_depend_on_the_others_of_its_batch(augment, sampling, varying):
    clips = clips_of(varying, crop=True, flip=True, sampling=sampling)
    order = np.random.default_rng(0).permutation(60)
    whole = collected(clips, order, 60, augment=augment)
    part = collected(clips, order[17:40], 5, augment=augment)
    for name in VIDEOS:
        torch.testing.assert_close(part[name], whole[name][17:40], atol=1e-5, rtol=0)


def test_training_draws_other_frames_in_every_epoch(varying):
    clips = clips_of(varying)
    assert all(transform.random for transform in clips.transforms.values())
    first = collected(clips, range(60), 60, augment=TRAINING)
    again = collected(clips, range(60), 60, augment=TRAINING)
    other = collected(clips, range(60), 60, augment=(0, "augment", 3))
    for name in VIDEOS:
        assert torch.equal(first[name], again[name])
        changed = (first[name] != other[name]).flatten(1).any(dim=1)
        lengths = varying.shapes(name)[:, 0]
        assert not changed[lengths <= 3].any() and changed[lengths > 3].any()


@pytest.mark.parametrize("augment", [None, TRAINING], ids=["evaluation", "training"])
def test_resident_and_streamed_frames_are_the_same(augment, uniform, monkeypatch):
    resident = clips_of(uniform, crop=True, flip=True)
    assert resident._streamed == ["film"] and list(resident._raw) == ["scene", "flow"]
    found = collected(resident, range(60), 8, augment=augment)
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    streamed = clips_of(uniform, crop=True, flip=True)
    assert streamed._streamed == list(VIDEOS)
    other = collected(streamed, range(60), 8, augment=augment)
    assert all(torch.equal(found[name], other[name]) for name in VIDEOS)


@pytest.mark.parametrize("which", ["varying", "uniform"])
def test_what_does_not_change_is_transformed_once(which, request, monkeypatch):
    """Six frames are all that any of these clips has, so that training draws none."""
    store = request.getfixturevalue(which)
    clips = clips_of(store, frames=6)
    assert list(clips._ready) == list(VIDEOS)
    found = collected(clips, range(60), 7, augment=TRAINING)
    monkeypatch.setattr(batches, "RESIDENT_BYTES", 0)
    other = collected(clips_of(store, frames=6), range(60), 7)
    for name in VIDEOS:
        torch.testing.assert_close(found[name], other[name], atol=1e-5, rtol=0)


def test_the_shape_is_known_before_any_clip_is_read(varying, uniform):
    assert transform(uniform, "scene").shape == (3, 3, 10, 12)  # as stored
    assert transform(varying, "scene").shape == (3, 3, 10, 10)  # the shortest side of all
    assert transform(varying, "film", size=20, frames=5).shape == (5, 3, 20, 20)
    assert transform(varying, "flow").shape == (3, 2, 4, 5)
    for store in (varying, uniform):
        found = collected(clips_of(store), range(9), 4)
        assert all(value.shape[1:] == transform(store, name).shape for name, value in found.items())


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_of_one_size_are_not_resampled(name, uniform):
    plain = transform(uniform, name, normalise="none").train()
    raw = torch.from_numpy(np.array(raw_frames(uniform, name, 0)))[None, :3]
    scale = 1 if name == "flow" else 255
    assert torch.equal(plain(raw, keys=torch.tensor([0])), raw.float() / scale)


def test_statistics_are_those_of_the_evaluated_frames_of_train(varying):
    clips = clips_of(varying, crop=True, flip=True)
    found = collected(clips, varying.split("split", "train"), 7)
    for name in VIDEOS:
        dimensions = (0, 1, 3, 4)
        torch.testing.assert_close(found[name].mean(dimensions), torch.zeros(found[name].shape[2]), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            found[name].std(dimensions, correction=0), torch.ones(found[name].shape[2]), atol=1e-5, rtol=0
        )


def test_a_mirrored_field_of_motion_moves_the_other_way(uniform):
    flow = transform(uniform, "flow", flip=True, normalise="none").train()
    raw = torch.from_numpy(np.stack([uniform.clip("flow", 0)[:3]] * 40))
    out = flow(raw, keys=torch.arange(40), seed_parts=TRAINING)
    right, down = raw.float().unbind(2)
    turned = torch.stack([-right.flip(-1), down.flip(-1)], dim=2)
    same = (out == raw.float()).flatten(2).all(dim=2)
    mirrored = (out == turned).flatten(2).all(dim=2)
    assert (same ^ mirrored).all() and 30 < mirrored.sum() < 90


def test_other_numbers_of_components_or_channels_are_refused():
    def built(kind, shapes):
        config = TypeAdapter(InputConfig).validate_python({"kind": kind})
        return build_transform(config, SimpleNamespace(kind=kind, shape=None, settings={}), np.array(shapes))

    with pytest.raises(Misuse, match="3 components"):
        built("motion", [(4, 3, 5, 5)])
    with pytest.raises(Misuse, match="some have 1, others 3"):
        built("video", [(4, 3, 5, 5), (4, 1, 5, 5)])
    with pytest.raises(Misuse, match="takes frames"):
        built("video", [(4, 3, 5)])


def test_damaged_frames_are_named(varying, monkeypatch):
    stored = varying.clip
    monkeypatch.setattr(varying, "clip", lambda name, row: stored(name, row)[: 60 if row == 7 else None])
    clips = clips_of(varying, ("film",), normalise="none")
    with pytest.raises(InforegError, match="film of clip clip-007 cannot be decoded"):
        collected(clips, range(12), 4)
    assert not any(thread.name.startswith("read-ahead") for thread in threading.enumerate())
