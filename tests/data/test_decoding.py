"""One clip: every modality packed as it is stored, everything that is wrong with it, and what its files are known by."""

import hashlib
import os

import numpy as np
import pytest
from plan_factory import DECODING, MODALITIES, carry_out, make_plan
from raw_factory import write_wav

from inforeg_cli.data import decoding
from inforeg_cli.data.decoding import Decoder, Task, decode, signature
from inforeg_cli.data.preparing.report import Unusable
from inforeg_cli.files import digest, file_digest

DECODER = Decoder(DECODING, MODALITIES)


@pytest.fixture
def task(tmp_path) -> Task:
    clip = make_plan(tmp_path / "raw").clips[3]
    return Task(clip.media, clip.named)


def test_every_modality_is_packed_with_its_digest(task):
    result = decode(DECODER, task)
    assert result.flaws == []
    assert list(result.packed) == ["sound", "picture", "face", "path"]
    for packed in result.packed.values():
        assert packed.data.dtype == np.uint8
        assert packed.digest == hashlib.sha256(packed.data).hexdigest()
    stored = np.load(task.media["face"]).astype(np.float32)
    assert np.array_equal(result.packed["path"].data.view("<f4").reshape(4, 3), stored)
    padded = result.packed["face"]
    assert (padded.shape, padded.steps, padded.data.nbytes) == ((5, 3), 4, 60)
    assert not padded.data[48:].any()
    assert (result.packed["path"].shape, result.packed["path"].steps) == ((4, 3), None)


def test_a_file_of_several_modalities_is_hashed_once(task, monkeypatch):
    hashed = []
    monkeypatch.setattr(decoding, "file_digest", lambda path: hashed.append(path) or file_digest(path))
    result = decode(DECODER, task)
    assert sorted(hashed) == sorted(set(task.media.values()))
    parts = [part for name, path in task.media.items() for part in (name, file_digest(path))]
    assert result.source == digest(*parts)


def test_all_that_is_wrong_with_a_clip_is_found_and_nothing_of_it_packed(task):
    task.media["sound"].write_bytes(b"no sound")
    task.media["picture"].unlink()
    np.save(task.media["face"], np.array([[1.0, np.nan, 3.0]]))
    result = decode(DECODER, task)
    assert result.packed == {}
    assert [(flaw.modality, flaw.what, flaw.missing) for flaw in result.flaws] == [
        ("sound", "the file cannot be decoded", True),
        ("picture", "the file cannot be decoded", True),
        ("face", "NaN or infinite values", False),
        ("path", "NaN or infinite values", False),
    ]


def test_a_signature_changes_with_the_file_its_time_and_its_name(task):
    seen = [signature(task)]
    path = task.media["picture"]
    os.utime(path, ns=(0, 12345))
    seen.append(signature(task))
    path.write_bytes(path.read_bytes() + b"x")
    seen.append(signature(task))
    path.unlink()
    seen.append(signature(task))
    seen.append(signature(Task(task.media, {**task.named, "picture": "elsewhere.png"})))
    seen.append(signature(Task({**task.media, "picture": np.zeros(3)}, task.named)))
    seen.append(signature(Task({**task.media, "picture": np.ones(3)}, task.named)))
    assert len({str(each) for each in seen}) == len(seen)
    assert signature(task) == seen[3]


def test_audio_of_clips_known_to_be_odd_may_be_silent_or_nothing(tmp_path):
    def plan(**more):
        made = make_plan(tmp_path / "raw", **more)
        write_wav(tmp_path / "raw" / "wav" / "1.wav", np.zeros(0))
        write_wav(tmp_path / "raw" / "wav" / "2.wav", np.zeros(800))
        return made

    with pytest.raises(Unusable, match=r"line 3, sound wav/1\.wav: the file holds no audio"):
        carry_out(plan(), tmp_path / "out")
    odd = plan(odd={"clip-001": "empty", "clip-002": "near-silent"})
    store = carry_out(odd, tmp_path / "odd")
    assert not store.clip("sound", 1).any()
    assert len(store) == 8
    assert not odd.warnings
