"""Decoding: every accepted form of sound, image and array, and every way in which a file can be bad."""

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raw_factory import RATE, cut, encode_audio, tone, write_image, write_wav

from inforeg_cli.data import media
from inforeg_cli.data.kinds import AudioSettings, FeatureSettings, ImageSettings
from inforeg_cli.data.media import MediaError, Unreadable


def sound(seconds: float = 0.1, rate: int = RATE, **more) -> AudioSettings:
    return AudioSettings(column="audio", sample_rate=rate, seconds=seconds, **more)


def picture(**more) -> ImageSettings:
    return ImageSettings(column="picture", **more)


FACE = FeatureSettings(column="face")


def frequency(samples: np.ndarray, rate: int) -> float:
    return np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * rate / len(samples)


def test_sixteen_bit_recordings_come_back_exactly(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 800).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", samples)
    assert media.look(sound(), path) == (800,)
    assert np.array_equal(media.read(sound(), path), samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_recordings_of_other_depths_come_back_exactly(tmp_path, dtype):
    import scipy.io.wavfile

    expected = np.random.default_rng(0).integers(-128, 128, 800) * 256
    values = {
        np.uint8: expected // 256 + 128,
        np.int32: expected * 65536,
        np.float32: expected / 32768,
        np.float64: expected / 32768,
    }[dtype]
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, values.astype(dtype))
    assert np.array_equal(media.read(sound(), tmp_path / "a.wav"), expected)
    assert np.array_equal(media.audio(tmp_path / "a.wav", sound()), (expected / 32768).astype(np.float32))


def test_recordings_of_24_bits_come_back_exactly(tmp_path):
    values = np.random.default_rng(0).integers(-(2**23), 2**23, 800)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(RATE)
        file.writeframes(values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    assert np.array_equal(media.audio(tmp_path / "a.wav", sound()) * 2**23, values)


def test_a_long_recording_is_read_in_blocks(tmp_path, monkeypatch):
    samples = np.random.default_rng(0).integers(-9999, 9999, 20 * RATE).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", samples)
    whole = media.read(sound(19, 2 * RATE), path)
    monkeypatch.setattr("inforeg_cli.data.media.sound._BLOCK", 5000)
    assert np.array_equal(media.read(sound(19, 2 * RATE), path), whole)
    assert np.array_equal(media.read(sound(19), path), samples[: 19 * RATE])


def test_channels_are_averaged(tmp_path):
    left, right = tone(440), tone(1000)
    path = write_wav(tmp_path / "a.wav", np.stack([left, right], axis=1))
    assert np.allclose(media.audio(path, sound()), (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_equal_channels_keep_their_level_whatever_the_rate(tmp_path, channels):
    path = write_wav(tmp_path / "a.wav", np.stack([tone(440, 1.0, 44100)] * channels, axis=1), rate=44100)
    samples = media.audio(path, sound(1.0, 16000))
    assert samples.shape == (16000,)
    assert frequency(samples, 16000) == pytest.approx(440, abs=1)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("codec", "name"),
    [("mp3", "a.mp3"), ("vorbis", "a.ogg"), ("libopus", "a.opus"), ("flac", "a.flac"), ("aac", "a.m4a")],
)
def test_compressed_recordings(tmp_path, codec, name):
    path = encode_audio(tmp_path / name, codec, tone(440, 1.0, 48000), 48000)
    samples = media.read(sound(1.0, 16000), path)
    assert samples.shape == (16000,)
    assert frequency(samples.astype(float), 16000) == pytest.approx(440, abs=2)
    assert np.abs(samples[2000:-2000]).max() / 32768 == pytest.approx(0.5, abs=0.05)


def test_longer_is_cut_and_shorter_is_repeated_or_ended_with_silence(tmp_path):
    samples = (np.arange(300) + 1).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", samples)
    assert np.array_equal(media.read(sound(100 / RATE), path), samples[:100])
    assert np.array_equal(media.read(sound(700 / RATE), path), np.tile(samples, 3)[:700])
    padded = media.read(sound(700 / RATE, fit="pad"), path)
    assert np.array_equal(padded[:300], samples)
    assert not padded[300:].any()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_wav_that_was_cut_is_unreadable(tmp_path, share):
    path = cut(write_wav(tmp_path / "a.wav", tone(seconds=1.0)), share)
    with pytest.raises(Unreadable) as caught:
        media.look(sound(), path)
    assert caught.value.what in ("the file is cut short", "the file is empty")
    if share == 0.5:
        assert caught.value.detail == "7978 of the 16000 bytes in its header"


def test_chunks_before_and_after_the_samples_are_no_cut(tmp_path):
    plain = write_wav(tmp_path / "a.wav", tone()).read_bytes()
    extra = b"LIST\x05\x00\x00\x00abcde\x00"
    path = tmp_path / "b.wav"
    path.write_bytes(plain[:36] + extra + plain[36:] + extra)
    assert media.look(sound(), path) == (800,)
    assert len(media.read(sound(), path)) == 800


def test_a_wav_streamed_through_a_pipe_is_no_cut(tmp_path):
    path = write_wav(tmp_path / "a.wav", tone())
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert media.look(sound(), path) == (800,)
    assert np.abs(media.audio(path, sound()) - tone()).max() < 1e-4


@pytest.mark.parametrize(("codec", "name"), [("flac", "a.flac"), ("aac", "a.m4a")])
def test_compressed_recordings_that_were_cut_are_unreadable(tmp_path, codec, name):
    path = cut(encode_audio(tmp_path / name, codec, tone(440, 4.0, 16000), 16000))
    with pytest.raises(Unreadable):
        media.read(sound(4.0, 16000), path)


def test_what_is_no_sound_is_unreadable(tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "none.wav").write_bytes(b"")
    write_wav(tmp_path / "zero.wav", np.zeros(0, np.int16))
    write_image(tmp_path / "a.png")
    told = {}
    for name in ("text.wav", "none.wav", "zero.wav", "a.png"):
        with pytest.raises(Unreadable) as caught:
            media.look(sound(), tmp_path / name)
            media.read(sound(), tmp_path / name)
        told[name] = caught.value.what
    assert told == {
        "text.wav": "the file cannot be decoded",
        "none.wav": "the file is empty",
        "zero.wav": "the file holds no audio",
        "a.png": "the file holds no audio",
    }


def test_a_playlist_cannot_reach_the_network(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(Unreadable):
        media.read(sound(), path)


def test_git_lfs_pointers_are_told_apart(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    for settings in (sound(), picture(), FACE):
        with pytest.raises(Unreadable, match="Git LFS pointer"):
            media.look(settings, path)


POINTERS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "crema-d" / "lfs-pointers"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"0f" * 32)


@pytest.mark.skipif(not POINTERS.is_dir(), reason="the shared pointer files are not there")
def test_the_publishers_pointers_name_digest_and_size():
    found = {path.name: media.pointer(path.read_bytes()) for path in POINTERS.iterdir()}
    assert len(found) == 4
    for digest, size in found.values():
        assert len(digest) == 64
        assert 10_000 < size < 1_000_000
    assert found["1001_DFA_ANG_XX.flv"][1] == 265_922
    assert found["1001_DFA_ANG_XX.flv"][0].startswith("10dc3fd1f2bc8203")


def test_pointers_are_parsed_strictly():
    assert media.pointer(POINTER) == ("0f" * 32, 12345)
    extended = POINTER.replace(b"\noid", b"\next-0-clean sha256:" + b"a" * 64 + b"\noid")
    assert media.pointer(extended) == ("0f" * 32, 12345)
    for damaged in (
        b"",
        POINTER[:-1],
        POINTER[:60] + b"\n",
        POINTER.replace(b"spec/v1", b"spec/v2"),
        POINTER.replace(b"0f" * 32, b"0f" * 31),
        POINTER.replace(b"size 12345", b"size -1"),
        POINTER.replace(b"size 12345", b"size"),
        POINTER.replace(b"sha256:", b"md5:"),
        POINTER + bytes(2000),
        b"RIFF" + POINTER,
    ):
        assert media.pointer(damaged) is None
    assert media.is_lfs_pointer(POINTER.replace(b"spec/v1", b"spec/v2"))


def test_silence(tmp_path):
    assert media.silent(np.zeros(9, np.int16))
    assert media.silent(np.array([3, -3], np.int16))
    assert not media.silent(np.array([0, -4], np.int16))
    assert not media.silent(np.array([-32768], np.int16))


def test_not_a_number_in_a_float_recording_is_an_error(tmp_path):
    import scipy.io.wavfile

    samples = tone().astype(np.float32)
    samples[5] = np.nan
    scipy.io.wavfile.write(tmp_path / "a.wav", RATE, samples)
    with pytest.raises(MediaError, match="NaN or infinite values") as caught:
        media.read(sound(), tmp_path / "a.wav")
    assert not isinstance(caught.value, Unreadable)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize(("wanted", "channels"), [("L", 1), ("RGB", 3)])
def test_images_of_every_mode(tmp_path, mode, wanted, channels):
    name = "a.tif" if mode == "CMYK" else "a.png"
    path = write_image(tmp_path / name, mode=mode)
    pixels = media.read(picture(mode=wanted), path)
    assert media.look(picture(mode=wanted), path) == pixels.shape == (channels, 6, 5)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    if mode == wanted == "L":
        assert np.array_equal(pixels[0], np.asarray(Image.open(path)))
    if mode == wanted == "RGB":
        assert np.array_equal(pixels.transpose(1, 2, 0), np.asarray(Image.open(path)))


def test_sixteen_bit_images_keep_their_range(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert media.read(picture(mode="L"), tmp_path / "a.png").tolist() == [[[0, 0, 1, 128, 255]]]


def test_images_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 255  # right half white; orientation 6 turns it a quarter clockwise: then the lower half
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = media.read(picture(mode="L"), tmp_path / "a.png")
    assert media.look(picture(mode="L"), tmp_path / "a.png") == upright.shape == (1, 16, 8)
    assert upright[0, 0, 0] == 0
    assert upright[0, -1, -1] == 255


def test_images_are_stretched_to_the_size_asked_for(tmp_path):
    path = write_image(tmp_path / "a.png")
    settings = picture(size=(4, 7))
    assert media.look(settings, path) == media.read(settings, path).shape == (3, 4, 7)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_images_are_unreadable(tmp_path):
    whole = write_image(tmp_path / "a.jpg", size=(200, 200), mode="RGB")
    bomb = tmp_path / "bomb.png"
    Image.new("1", (10_000, 10_000)).save(bomb)
    (tmp_path / "text.png").write_text("no image")
    for path in (cut(whole), bomb, tmp_path / "text.png"):
        with pytest.raises(Unreadable, match="too large" if path == bomb else "cannot be decoded"):
            media.look(picture(), path)
            media.read(picture(), path)


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(MediaError, match="save it as 8 or 16 bits"):
        media.read(picture(), tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.bool_])
def test_arrays_of_every_real_type_become_float32(tmp_path, dtype):
    values = np.arange(12).reshape(4, 3).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    assert media.look(FACE, tmp_path / "a.npy") == (4, 3)
    read = media.read(FACE, tmp_path / "a.npy")
    assert read.dtype == np.float32
    assert np.array_equal(read, values)


def test_sequences_are_cut_to_the_length_asked_for(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(12.0).reshape(4, 3))
    assert media.read(FeatureSettings(column="face", length=2), tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_an_error(tmp_path, bad):
    np.save(tmp_path / "a.npy", np.array([1.0, bad, 3.0]))
    with pytest.raises(MediaError) as caught:
        media.read(FACE, tmp_path / "a.npy")
    assert (caught.value.what, caught.value.detail) == ("NaN or infinite values", "1 of 3")
    assert not isinstance(caught.value, Unreadable)


def test_bad_arrays(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.save(tmp_path / "complex.npy", np.array([1j]))
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    np.save(tmp_path / "scalar.npy", np.float64(3))
    np.save(tmp_path / "empty.npy", np.zeros((0, 3)))
    np.savez(tmp_path / "several.npy.npz", a=np.zeros(3))
    np.save(tmp_path / "cut.npy", np.zeros(1000))
    cut(tmp_path / "cut.npy")
    told = {}
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(MediaError) as caught:
            media.look(FACE, path)
        told[path.name.partition(".")[0]] = (caught.value.what, isinstance(caught.value, Unreadable))
    assert told == {
        "objects": ("the file cannot be decoded", True),
        "cut": ("the file cannot be decoded", True),
        "text": ("the array does not hold real numbers", False),
        "complex": ("the array does not hold real numbers", False),
        "several": ("not a .npy file of one array", False),
        "cube": ("the features are neither vectors [D] nor sequences [T, D]", False),
        "scalar": ("the features are neither vectors [D] nor sequences [T, D]", False),
        "empty": ("the array is empty", False),
    }
