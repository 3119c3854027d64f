"""What a file holds: sound, pictures, both, or nothing that is known."""

import numpy as np
import pytest
from PIL import Image
from raw_factory import encode_audio, tone, write_image, write_wav
from video_factory import write_video

from inforeg_cli.data.media import Unreadable, contents


def test_kinds_by_header_and_not_by_name(tmp_path):
    wav = write_wav(tmp_path / "a.bin", tone())
    image = write_image(tmp_path / "b.wav.png").rename(tmp_path / "b.wav")
    assert contents(wav) == {"audio"}
    assert contents(image) == {"image"}
    assert contents(encode_audio(tmp_path / "c.mp3", "libmp3lame", tone(seconds=0.5), 16000)) == {"audio"}


def test_a_video_is_frames_and_motion_and_perhaps_sound(tmp_path):
    mute = write_video(tmp_path / "mute.mp4", seconds=0.3, video="h264")
    loud = write_video(tmp_path / "loud.mp4", seconds=0.3, video="h264", audio="aac", rate=16000)
    heard = write_video(tmp_path / "heard.mp4", seconds=0.3, video=None, audio="aac", rate=16000)
    assert contents(mute) == {"video", "motion"}
    assert contents(loud) == {"video", "motion", "audio"}
    assert contents(heard) == {"audio"}


def test_arrays_and_texts_go_by_their_endings(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "b.TXT").write_text("words")
    assert contents(tmp_path / "a.npy") == {"features"}
    assert contents(tmp_path / "b.TXT") == {"text"}


@pytest.mark.parametrize("mode", ["jpg", "webp", "bmp"])
def test_a_still_image_is_no_video(mode, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / f"a.{mode}")
    assert contents(tmp_path / f"a.{mode}") == {"image"}


def test_anything_else_is_told(tmp_path):
    (tmp_path / "a.md").write_text("# neither sound nor image")
    with pytest.raises(Unreadable):
        contents(tmp_path / "a.md")
