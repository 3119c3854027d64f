"""Decoding: audio with PyAV, images with Pillow, arrays with NumPy; nothing else opens media.

`look` reads no more than headers, `read` decodes. Both raise MediaError, in words for the person whose file it is.
"""

import io
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

from inforeg_cli.data.recipe import AudioSettings, FeatureSettings, ImageSettings
from inforeg_cli.data.store import Modality

#: A peak below this, -80 dB of full scale, counts as silence.
SILENCE = 10 ** (-80 / 20)

#: Containers whose header says exactly how long each stream is, so that a shorter one was cut.
_EXACT_CONTAINERS = frozenset({"flac", "mov,mp4,m4a,3gp,3g2,mj2"})
#: Sample formats that need no conversion, and the number that is full scale in them.
_FULL_SCALE = {"s16": 32768, "s16p": 32768, "flt": 1, "fltp": 1}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what a program writes that streams a WAV into a pipe
_ORIENTATION, _ROTATED = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and those of its values that swap height and width

# An image of more pixels than Pillow thinks honest is refused by `_open_image`, so the warning would say it twice.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class MediaError(Exception):
    """`what` is wrong with a file, in words that are the same for every such file, and the `detail` of this one."""

    def __init__(self, what: str, detail: str = ""):
        super().__init__(what, detail)
        self.what, self.detail = what, detail


class Unreadable(MediaError):
    """The file is absent, empty, cut short or cannot be decoded: `--allow-missing` may leave its clip out."""


def look(settings: AudioSettings | ImageSettings | FeatureSettings, path: Path) -> tuple[int, ...]:
    """Check a file's header, and tell the shape that its clip will have (of a sequence, before it is cut or padded)."""
    check_whole(path)
    match settings:
        case AudioSettings():
            _look_wav(path)
            return (settings.samples,)
        case ImageSettings():
            return _look_image(path, settings)
        case FeatureSettings():
            shape = open_array(path).shape
            check_form(shape, str(list(shape)))
            return shape


def check_whole(path: Path) -> None:
    """Raises Unreadable for an empty file and for what Git LFS leaves where it has not fetched the file."""
    with path.open("rb") as handle:
        start = handle.read(len(_LFS_POINTER))
    if not start:
        raise Unreadable("the file is empty")
    if is_lfs_pointer(start):
        raise Unreadable("the file is a Git LFS pointer, not the recording itself: fetch it with `git lfs pull`")


def is_lfs_pointer(content: bytes) -> bool:
    return content.startswith(_LFS_POINTER)


def check_form(shape: tuple[int, ...], shown: str) -> None:
    """Raises MediaError unless a clip's features are a vector ``[D]`` or a sequence ``[T, D]``."""
    if len(shape) not in (1, 2):
        raise MediaError("the features are neither vectors [D] nor sequences [T, D]", f"shape {shown}")
    if 0 in shape:
        raise MediaError("the array is empty", f"shape {shown}")


def read(settings: AudioSettings | ImageSettings | FeatureSettings, source: Path | np.ndarray) -> np.ndarray:
    """The clip as it is stored: audio int16 ``[samples]``, image uint8 ``[C, H, W]``, features float32."""
    match settings:
        case AudioSettings():
            return to_int16(audio(source, settings))
        case ImageSettings():
            return image(source, settings)
        case FeatureSettings():
            return features(source if isinstance(source, np.ndarray) else open_array(source), settings)


def audio(path: Path, settings: AudioSettings) -> np.ndarray:
    """Mono float32 in [-1, 1], ``[samples]``: the channels' mean, at the recipe's rate and of the recipe's length."""
    wanted, pieces, found = settings.samples, [], 0
    with _decoding(), av.open(str(path), options={"protocol_whitelist": "file"}) as container:
        if not container.streams.audio:
            raise Unreadable("the file holds no audio")
        stream = container.streams.audio[0]
        for piece in _resampled(container, stream, settings.sample_rate):
            pieces.append(piece)
            found += len(piece)
            if found >= wanted:
                break
        promised = _promised_seconds(container, stream) * settings.sample_rate
    if not found:
        raise Unreadable("the file holds no audio")
    # A codec's first and last frames may be trimmed: two hundredths and a tenth of a second are no cut.
    if found < wanted and found < 0.98 * promised - 0.1 * settings.sample_rate:
        rate = settings.sample_rate
        raise Unreadable("the file is cut short", f"{found / rate:.2f} s of the {promised / rate:.2f} s in its header")
    samples = np.concatenate(pieces)[:wanted]
    if not np.isfinite(samples).all():
        raise MediaError("NaN or infinite values")
    if settings.fit == "tile":
        return np.resize(samples, wanted)
    return np.pad(samples, (0, wanted - len(samples)))


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Full scale is 32768, so that 16-bit recordings come back exactly; what is louder is clipped."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def check_shape(array: np.ndarray, modality: Modality) -> None:
    """Raises MediaError where a decoded clip is not as its header said."""
    expected = (len(array), *modality.shape[1:]) if modality.sequence else modality.shape
    if array.shape != expected or (modality.sequence and len(array) > modality.length):
        raise MediaError("the shape differs", f"{list(array.shape)} instead of {list(modality.shape)}")


def silent(samples: np.ndarray) -> bool:
    """Whether a clip as stored, int16, never rises above -80 dB of full scale."""
    return bool(np.abs(samples.astype(np.int32)).max() < SILENCE * 32768)


def image(path: Path, settings: ImageSettings) -> np.ndarray:
    """uint8 ``[C, H, W]``, turned upright as its EXIF says; transparency is ignored."""
    with _decoding(), _open_image(path) as opened:
        opened.load()
        picture = _eight_bit(ImageOps.exif_transpose(opened)).convert(settings.mode)
        if settings.size and picture.size != settings.size[::-1]:
            picture = picture.resize(settings.size[::-1], Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def features(array: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """float32 ``[D]`` or, cut to the recipe's length, ``[T, D]``."""
    values = array[: settings.length] if array.ndim == 2 else array
    with np.errstate(over="ignore"), _decoding():
        values = np.ascontiguousarray(values, dtype=np.float32)
    wrong = values.size - int(np.count_nonzero(np.isfinite(values)))
    if wrong:
        raise MediaError("NaN or infinite values", f"{wrong} of {values.size}")
    return values


def open_array(path: Path) -> np.ndarray:
    """The numbers in a .npy file, memory-mapped, not read."""
    with _decoding():
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise MediaError("not a .npy file of one array")
    if array.dtype.kind not in "fiub":
        raise MediaError("the array does not hold real numbers", f"dtype {array.dtype}")
    return array


@contextmanager
def _decoding() -> Iterator[None]:
    """Decoders meet damaged and hostile files and raise whatever their parsing runs into, not only their own errors."""
    try:
        yield
    except MediaError:
        raise
    except UnidentifiedImageError:
        raise Unreadable("the file cannot be decoded", "Pillow knows no such format") from None
    except Exception as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreadable("the file cannot be decoded", said) from error


def _resampled(container: av.container.InputContainer, stream: av.AudioStream, rate: int) -> Iterator[np.ndarray]:
    # The layout is kept and the channels averaged here: FFmpeg's own mix to mono lets equal channels grow by 3 dB.
    resampler = av.AudioResampler(format="fltp", rate=rate)
    for frame in container.decode(stream):
        if frame.sample_rate == rate and frame.format.name in _FULL_SCALE:
            yield _mono(frame)  # a resampler costs as much as all the rest of decoding a short recording
        else:
            yield from map(_mono, resampler.resample(frame))
    yield from map(_mono, resampler.resample(None))


def _mono(frame: av.AudioFrame) -> np.ndarray:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    return samples.mean(axis=0, dtype=np.float32) / np.float32(_FULL_SCALE[frame.format.name])


def _promised_seconds(container: av.container.InputContainer, stream: av.AudioStream) -> float:
    if container.format.name not in _EXACT_CONTAINERS or not stream.duration:
        return 0.0
    return float(stream.duration * stream.time_base)


def _look_wav(path: Path) -> None:
    """FFmpeg reads a WAV that was cut as a shorter one; its header still says how many bytes of samples there were."""
    with path.open("rb") as handle:
        head = handle.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:12] != b"WAVE":
            return
        size, large = handle.seek(0, io.SEEK_END), None
        handle.seek(12)
        while len(chunk := handle.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"ds64" and length >= 16:  # RF64 keeps the true sizes here
                large = struct.unpack("<8xQ", handle.read(16))[0]
                length -= 16
            if name == b"data":
                promised = large if large is not None and length == _UNKNOWN_SIZES[1] else length
                there = size - handle.tell()
                if promised not in _UNKNOWN_SIZES and there < promised:
                    raise Unreadable("the file is cut short", f"{there} of the {promised} bytes in its header")
                return
            handle.seek(length + length % 2, io.SEEK_CUR)
    raise Unreadable("the file is cut short", "a WAV header without samples")


def _open_image(path: Path) -> Image.Image:
    opened = Image.open(path)
    if opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
        opened.close()
        raise Unreadable("the image is too large", f"{opened.width} x {opened.height} pixels")
    return opened


def _look_image(path: Path, settings: ImageSettings) -> tuple[int, ...]:
    with _decoding(), _open_image(path) as opened:
        size = settings.size or opened.size[::-1]
        # Asked only where it matters, since for the EXIF data of a PNG Pillow reads the whole file.
        if settings.size is None and opened.getexif().get(_ORIENTATION) in _ROTATED:
            size = size[::-1]
    return (1 if settings.mode == "L" else 3, *size)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Sixteen bits a pixel become eight; Pillow's own conversion would clip everything above 255 to white."""
    if picture.mode == "F":
        raise MediaError("the image holds floating-point numbers: save it as 8 or 16 bits a pixel")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    if values.min() < 0 or values.max() > 65535:
        raise MediaError("the image holds numbers of more than 16 bits: save it as 8 or 16 bits a pixel")
    return Image.fromarray((values >> 8).astype(np.uint8))


def versions(kinds: Iterable[str]) -> dict[str, str]:
    """Of what decodes these kinds, so that a store says what made it."""
    libraries = {name: ".".join(map(str, version)) for name, version in sorted(av.library_versions.items())}
    decoders = {"audio": {"av": av.__version__, **libraries}, "image": {"pillow": PIL.__version__}}
    found = {"numpy": np.__version__}
    for kind in kinds:
        found |= decoders.get(kind, {})
    return found
