"""The prepared data on disk: opened without decoding, read without copying, written whole or not at all.

    store.json             format version, recipe digest, classes, counts, modalities, digests; no time, host or path
    clips.parquet          one row a clip: id, label.<column>, split.<scheme>, group, source (digest of its raw files),
                           digest.<modality> (of its bytes in the store)
    <modality>.bin         the clips' bytes, one after the other
    <modality>.lengths.npy valid steps of each clip, for sequences
    <modality>.index.npy   offset, bytes, shape, dtype and codec of each clip, where they are not all the same
    anything else          an attachment, such as a vocabulary

A modality of one fixed shape needs no index: its file is one memory-mapped array ``[N, *shape]``.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.files import canonical_json, digest, file_digest
from inforeg_cli.naming import nearest

FORMAT_VERSION = 2
SPLITS = ("train", "val", "test")
RAW = "raw"
#: Damaged clips told by name.
_EXAMPLES = 3


@dataclass(frozen=True)
class Modality:
    """How a modality lies in a store.

    kind:     audio, image, video, motion, features or text.
    dtype:    of the stored numbers. Audio is int16 (full scale 32768: exact for 16-bit sources), images and video are
              uint8, motion float16, features float32, text int32.
    shape:    of one clip: audio ``(samples,)``, image ``(C, H, W)``, features ``(D,)`` or, padded with zeros at the
              end, ``(length, D)``, text ``(length,)``. None where shape, dtype or codec differ from clip to clip, as
              those of video ``[T, C, H, W]`` and motion ``[T, 2, H, W]``: there is an index then.
    codec:    ``raw`` for the numbers themselves, else the name of the encoding that `Store.clip` hands out as bytes.
    sequence: the first dimension is time, and `Store.lengths` says how much of it is valid; `length` is its size.
    settings: what the numbers mean, e.g. ``{"sample_rate": 16000}``.
    """

    kind: str
    dtype: np.dtype
    shape: tuple[int, ...] | None
    codec: str = RAW
    sequence: bool = False
    length: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        shape = None if self.shape is None else list(self.shape)
        return {**vars(self), "dtype": self.dtype.str, "shape": shape, "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Modality":
        shape = None if entry["shape"] is None else tuple(entry["shape"])
        return cls(**{**entry, "dtype": np.dtype(entry["dtype"]), "shape": shape})

    @property
    def clip_bytes(self) -> int:
        """Of one clip; a modality of varying shape has no such number."""
        if self.shape is None:
            raise ValueError("clips of varying shape have no common size")
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Encoded:
    """A clip as encoded bytes, `codec` naming the encoding; `shape` and `dtype` are those of the decoded numbers."""

    data: bytes
    codec: str
    shape: tuple[int, ...]
    dtype: np.dtype


class Store:
    """A prepared dataset, read-only. Numbers and text are read when first asked for and kept; clips never are."""

    def __init__(self, path: Path, described: Mapping[str, Any]):
        self.path = path
        self.name: str = described["name"]
        self.source: str = described["source"]
        self.recipe_digest: str = described["recipe"]
        self.inputs_digest: str = described["inputs"]
        self.digest: str = described["content"]
        self.size: int = sum(entry["bytes"] for entry in described["files"].values())
        self.modalities = {name: Modality.from_json(entry) for name, entry in described["modalities"].items()}
        self.label_columns: tuple[str, ...] = tuple(described["classes"])
        self.schemes: tuple[str, ...] = tuple(described["schemes"])
        #: Clips by scheme, split, label column and class.
        self.counts: dict[str, dict[str, dict[str, dict[str, int]]]] = described["counts"]
        #: Clips that `--allow-missing` left out, by reason.
        self.dropped: dict[str, int] = described["dropped"]
        #: The codec of video frames that was asked for in place of the recipe's.
        self.frames: str | None = described.get("frames")
        #: By modality the recipe's settings, as JSON; None in stores of versions that did not keep them.
        self.decoding: dict[str, Any] | None = described.get("decoding")
        #: The recipe's seed of the splits; what else is set aside of train is drawn from it, too.
        self.splits_seed: int = described.get("splits_seed", 0)
        #: Versions of what decoded the raw files.
        self.decoders: dict[str, str] = described["decoders"]
        self._classes = {label: tuple(names) for label, names in described["classes"].items()}
        self._indexes: dict[str, dict[str, list[str]]] = described["indexes"]
        self._files: dict[str, dict[str, Any]] = described["files"]
        self._attachments: tuple[str, ...] = tuple(described["attachments"])
        self._clips: int = described["clips"]
        self._arrays: dict[str, np.memmap] = {}
        self._tables: dict[str, np.ndarray] = {}

    @classmethod
    def open(cls, path: Path) -> "Store":
        """Raises Misuse where there is no store, one of another format, or one whose files are not all there whole."""
        path = Path(path).absolute()
        description = path / "store.json"
        if not description.is_file():
            more = "goes on making it" if work_folder(path).is_dir() else "makes one"
            raise Misuse(f"{path} is not a prepared dataset: it has no store.json; inforeg prepare NAME {more}")
        try:
            described = json.loads(description.read_text(encoding="utf-8"))
            version = described["format"]
            if version != FORMAT_VERSION:
                said = f"has store format {version}, this version of inforeg reads {FORMAT_VERSION}"
                raise Misuse(f"{path} {said}: {_again(described.get('name'))}")
            store = cls(path, described)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misuse(f"{description} is damaged ({error!r}): {_again()}") from None
        for name, entry in store._files.items():
            found = (path / name).stat().st_size if (path / name).is_file() else None
            if found != entry["bytes"]:
                said = "is missing" if found is None else f"has {found} bytes instead of {entry['bytes']}"
                raise Misuse(f"{path} is damaged: {name} {said}; {_again(store.name)}")
        return store

    def __len__(self) -> int:
        return self._clips

    def classes(self, label: str) -> tuple[str, ...]:
        self._known("label column", label, self.label_columns)
        return self._classes[label]

    def labels(self, label: str) -> np.ndarray:
        """Class indices, int64 ``[N]``."""
        codes = {name: code for code, name in enumerate(self.classes(label))}
        return np.array([codes[value] for value in self._table[f"label.{label}"]], dtype=np.int64)

    def split(self, scheme: str, split: str) -> np.ndarray:
        """The clips of a split, ascending, int64."""
        self._known("split scheme", scheme, self.schemes)
        self._known("split", split, SPLITS)
        return np.flatnonzero(np.array(self._table[f"split.{scheme}"], dtype=object) == split).astype(np.int64)

    @property
    def ids(self) -> np.ndarray:
        """The clips' names, str ``[N]``."""
        return np.array(self._table["id"], dtype=np.str_)

    @property
    def groups(self) -> np.ndarray | None:
        """Each clip's group, str ``[N]``, where the recipe names a group column."""
        return np.array(self._table["group"], dtype=np.str_) if "group" in self._table else None

    def array(self, modality: str) -> np.memmap:
        """All clips of a modality of fixed shape, ``[N, *shape]``: a view of the file, read-only."""
        described = self._modality(modality)
        if described.shape is None:
            raise Misuse(f"{self.name}: the clips of {modality!r} differ in shape: read them one by one")
        if modality not in self._arrays:
            shape = (len(self), *described.shape)
            self._arrays[modality] = np.memmap(self.path / f"{modality}.bin", described.dtype, mode="r", shape=shape)
        return self._arrays[modality]

    def clip(self, modality: str, index: int) -> np.ndarray:
        """One clip without a copy: its numbers for codec ``raw``, else its encoded bytes (uint8)."""
        if self._modality(modality).shape is not None:
            return self.array(modality)[index]
        row = self._index(modality)[index]
        if modality not in self._arrays:
            self._arrays[modality] = np.memmap(self.path / f"{modality}.bin", np.uint8, mode="r")
        encoded = self._arrays[modality][row["offset"] : row["offset"] + row["bytes"]]
        if self.codec(modality, index) != RAW:
            return encoded
        dtype = self._indexes[modality]["dtypes"][row["dtype"]]
        return encoded.view(dtype).reshape(row["shape"][: row["dimensions"]])

    def codec(self, modality: str, index: int) -> str:
        """How one clip is encoded."""
        if self._modality(modality).shape is not None:
            return self.modalities[modality].codec
        return self._indexes[modality]["codecs"][self._index(modality)[index]["codec"]]

    def shapes(self, modality: str) -> np.ndarray:
        """Every clip's shape, int64 ``[N, dimensions]``; where some clips have fewer dimensions, ended with zeros."""
        described = self._modality(modality)
        if described.shape is not None:
            return np.tile(np.array(described.shape, dtype=np.int64), (len(self), 1))
        return self._index(modality)["shape"].astype(np.int64)

    def lengths(self, modality: str) -> np.ndarray:
        """Valid steps of each clip of a sequence, int64 ``[N]``."""
        if not self._modality(modality).sequence:
            raise Misuse(f"{self.name}: {modality!r} is no sequence, so it has no lengths")
        return self._numbers(f"{modality}.lengths.npy")

    def attachment(self, name: str) -> bytes:
        """A file that the source put beside the modalities, such as ``<modality>.vocabulary.json``."""
        self._known("attachment", name, self._attachments)
        try:
            return (self.path / name).read_bytes()
        except OSError:
            raise self._damaged(name) from None

    def verify(self) -> None:
        """Read everything and compare with the digests. Raises InforegError with the clips and files that differ."""
        hashed = {name: entry["sha256"] for name, entry in self._files.items() if "sha256" in entry}
        broken = [name for name, expected in hashed.items() if file_digest(self.path / name) != expected]
        if not broken:  # else what tells the clips' places and digests may be wrong itself
            broken = [f"{name}.bin ({said})" for name in self.modalities if (said := self._damaged_clips(name))]
        described = json.loads((self.path / "store.json").read_text(encoding="utf-8"))
        if not broken and content_digest(described, self._table) != self.digest:
            broken = ["store.json"]
        if broken:
            raise InforegError(
                f"{self.path}: the content of {', '.join(broken)} is not what was prepared; {_again(self.name)}"
            )

    def _damaged_clips(self, modality: str) -> str:
        """How many clips of a modality are not as they were stored, with the first of them; empty where all are."""
        found = (self.clip(modality, index).reshape(-1).view(np.uint8) for index in range(len(self)))
        stored = zip(self._table["id"], self._table[f"digest.{modality}"], found, strict=True)
        damaged = [name for name, expected, data in stored if hashlib.sha256(data).hexdigest() != expected]
        named = ", ".join(damaged[:_EXAMPLES]) + (", ..." if len(damaged) > _EXAMPLES else "")
        return f"{len(damaged):,} clip{'s' * (len(damaged) > 1)}: {named}" if damaged else ""

    @cached_property
    def _table(self) -> dict[str, list[str]]:
        import pyarrow.parquet

        try:
            return pyarrow.parquet.read_table(self.path / "clips.parquet").to_pydict()
        except (ValueError, OSError):  # pyarrow's errors are ValueErrors
            raise self._damaged("clips.parquet") from None

    def _index(self, modality: str) -> np.ndarray:
        return self._numbers(f"{modality}.index.npy")

    def _numbers(self, name: str) -> np.ndarray:
        if name not in self._tables:
            try:
                self._tables[name] = np.load(self.path / name, allow_pickle=False)
            except (ValueError, OSError):
                raise self._damaged(name) from None
        return self._tables[name]

    def _damaged(self, name: str) -> Misuse:
        return Misuse(f"{self.path} is damaged: {name} cannot be read; {_again(self.name)}")

    def _modality(self, name: str) -> Modality:
        self._known("modality", name, tuple(self.modalities))
        return self.modalities[name]

    def _known(self, what: str, name: str, known: tuple[str, ...]) -> None:
        if name not in known:
            raise Misuse(f"{self.name} has no {what} {name!r}; {nearest(name, known)}")


def work_folder(path: Path) -> Path:
    """Where the store that shall stand at `path` lies while it is made."""
    return path.parent / f".{path.name}.work"


def content_digest(described: Mapping[str, Any], table: Mapping[str, list[str]]) -> str:
    """Names what training sees: ids, classes, labels, splits, groups, attachments and every byte of the modalities.

    Neither the raw files' digests nor the parquet file's bytes count, so that the same clips from another packaging,
    or written by another version of pyarrow, have the same name.
    """
    meta = {key: described[key] for key in ("modalities", "classes", "schemes", "indexes", "attachments")}
    meta["order"] = list(described["modalities"])
    columns = {name: values for name, values in table.items() if name != "source"}
    entries = described["files"].items()
    files = {name: entry["sha256"] for name, entry in entries if "sha256" in entry and name != "clips.parquet"}
    return digest(canonical_json(meta), canonical_json(columns), canonical_json(files))


def _again(name: object = None) -> str:
    return f"prepare the dataset again with --force: inforeg prepare {name or 'NAME'} --force"
