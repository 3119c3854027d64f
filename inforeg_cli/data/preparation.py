"""How a store's clips were made of their raw files: all that it takes to treat further recordings in the same way."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from inforeg_cli.data.kinds import AudioSettings, ImageSettings, ModalitySettings
from inforeg_cli.data.store import Modality, Store
from inforeg_cli.data.vocabulary import VOCABULARY, Vocabulary
from inforeg_cli.errors import InforegError, Misuse, first_line
from inforeg_cli.files import write_json

FORMAT_VERSION = 1
_SETTINGS = TypeAdapter(dict[str, ModalitySettings])


@dataclass(frozen=True)
class Preparation:
    """By modality, in the store's order.

    modalities:   how clips lie in the store.
    settings:     how they were decoded, as the recipe says.
    classes:      of each label column.
    frames:       of video and motion, the sizes that clips have: int64 ``[K, 4]``, one row for each C, H and W, with
                  the largest T.
    vocabularies: of text.
    """

    modalities: Mapping[str, Modality]
    settings: Mapping[str, ModalitySettings]
    label_classes: Mapping[str, tuple[str, ...]]
    frames: Mapping[str, np.ndarray] = field(default_factory=dict)
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @classmethod
    def of(cls, store: Store, settings: Mapping[str, ModalitySettings] | None = None) -> "Preparation | None":
        """`settings` stand in for those that a store of an earlier version has not kept; None where there are none."""
        if store.decoding is not None:
            try:
                settings = _SETTINGS.validate_python(store.decoding)
            except ValidationError as error:
                raise Misuse(
                    f"{store.path / 'store.json'} tells of decoding what this version of inforeg does not know "
                    f"({error.error_count()} settings): inforeg prepare {store.name} --force"
                ) from None
        elif store.source == "digits":
            settings = {name: _implied(name, modality) for name, modality in store.modalities.items()}
        if settings is None:
            return None
        return cls(
            modalities=store.modalities,
            settings=settings,
            label_classes={label: store.classes(label) for label in store.label_columns},
            frames={
                name: _distinct(store.shapes(name))
                for name, modality in store.modalities.items()
                if modality.kind in ("video", "motion")
            },
            vocabularies={
                name: Vocabulary.from_bytes(store.attachment(f"{name}.{VOCABULARY}"))
                for name, modality in store.modalities.items()
                if modality.kind == "text"
            },
        )

    def classes(self, label: str) -> tuple[str, ...]:
        return self.label_classes[label]

    def shapes(self, modality: str) -> np.ndarray:
        """What a transform must know of the clips of video or motion: see `frames`."""
        return self.frames[modality]

    def write(self, path: Path) -> None:
        described = {
            "format": FORMAT_VERSION,
            "modalities": {name: modality.to_json() for name, modality in self.modalities.items()},
            "settings": {name: settings.model_dump(mode="json") for name, settings in self.settings.items()},
            "classes": {label: list(names) for label, names in self.label_classes.items()},
            "frames": {name: sizes.tolist() for name, sizes in self.frames.items()},
            "vocabularies": {name: json.loads(words.to_bytes()) for name, words in self.vocabularies.items()},
        }
        write_json(path, described)

    @classmethod
    def read(cls, path: Path) -> "Preparation":
        """What `write` wrote. Raises InforegError where the file is damaged or of another format."""
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            if (version := described["format"]) != FORMAT_VERSION:
                raise InforegError(f"{path} has format {version}, this version of inforeg reads {FORMAT_VERSION}")
            return cls(
                {name: Modality.from_json(entry) for name, entry in described["modalities"].items()},
                _SETTINGS.validate_python(described["settings"]),
                {label: tuple(names) for label, names in described["classes"].items()},
                {name: np.array(sizes, np.int64).reshape(-1, 4) for name, sizes in described["frames"].items()},
                {
                    name: Vocabulary.from_bytes(json.dumps(entry).encode())
                    for name, entry in described["vocabularies"].items()
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InforegError(f"{path} is damaged ({first_line(error)})") from None


def _implied(name: str, modality: Modality) -> AudioSettings | ImageSettings:
    """The embedded dataset is generated, not decoded: recordings for it are brought into the form of its clips."""
    if modality.kind == "audio":
        rate = modality.settings["sample_rate"]
        return AudioSettings(column=name, sample_rate=rate, seconds=modality.shape[0] / rate)
    return ImageSettings(column=name, mode=modality.settings["mode"], size=modality.shape[1:])


def _distinct(shapes: np.ndarray) -> np.ndarray:
    sizes, which = np.unique(shapes[:, 1:], axis=0, return_inverse=True)
    most = np.zeros(len(sizes), np.int64)
    np.maximum.at(most, which.reshape(-1), shapes[:, 0])
    return np.column_stack([most, sizes])
