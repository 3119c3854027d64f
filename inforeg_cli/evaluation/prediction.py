"""What a run says of recordings without labels, decoded as its dataset was, whatever modalities each of them has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import torch

from inforeg_cli.config import Experiment
from inforeg_cli.data import catalogue
from inforeg_cli.data.batches import Clips
from inforeg_cli.data.decoding import Packed
from inforeg_cli.data.kinds import ModalitySettings
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.recipe import TableRecipe
from inforeg_cli.data.recipe_file import examine
from inforeg_cli.data.sources import Clip, Failure
from inforeg_cli.data.store import Store
from inforeg_cli.data.unlabelled.loaded import Loaded, decoded
from inforeg_cli.engine.build import loaded, restore
from inforeg_cli.engine.evaluate import reported_logits
from inforeg_cli.errors import InforegError, Misuse
from inforeg_cli.evaluation.passes import measuring
from inforeg_cli.models.late_fusion import LateFusion
from inforeg_cli.run_folder import RunFolder

#: Clips are decoded and scored in parts of so many batches, and of so many bytes, at most.
_BATCHES_AT_ONCE = 4
_MOST_BYTES = 1 << 27


@dataclass(frozen=True)
class Prediction:
    """Of one clip: probabilities ``[C]`` by the fused output, and by the fused head of each modality that it has, with
    the other features absent."""

    id: str
    fused: np.ndarray
    alone: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Predicted:
    """In the order of the recordings. `failures`: of those that could not be decoded, which are not among the clips."""

    classes: tuple[str, ...]
    modalities: tuple[str, ...]
    clips: list[Prediction] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def columns(self) -> tuple[str, ...]:
        probabilities = [f"probability.{name}" for name in self.classes]
        alone = [f"{name}.{what}" for name in self.modalities for what in ("class", "probability")]
        return ("id", "class", "probability", *probabilities, "modalities", *alone)

    def rows(self) -> Iterator[tuple]:
        """As `columns` says: the class of the largest probability and that, every class's, the modalities that the clip
        has, joined by "+", and of each the class and probability that it gives alone, None where it is absent."""
        for clip in self.clips:
            alone = (self.best(clip.alone.get(name)) for name in self.modalities)
            yield (
                *(clip.id, *self.best(clip.fused), *map(float, clip.fused), "+".join(clip.alone)),
                *(cell for pair in alone for cell in pair),
            )

    def best(self, probabilities: np.ndarray | None) -> tuple[str | None, float | None]:
        if probabilities is None:
            return None, None
        index = int(probabilities.argmax())
        return self.classes[index], float(probabilities[index])


@dataclass(frozen=True)
class Predictor:
    """A trained model, and how recordings become what it takes."""

    experiment: Experiment
    preparation: Preparation
    transforms: torch.nn.ModuleDict
    model: LateFusion
    device: torch.device

    @classmethod
    def of(cls, folder: RunFolder, which: str, device: torch.device) -> "Predictor":
        """Of a run's checkpoint `which` (best or last). A run of an earlier version needs its store, too.

        Raises InforegError where the run or its store cannot be read, Misuse where the store is gone.
        """
        if not folder.finished and which == "best":
            name = folder.path.name
            raise InforegError(
                f"{name} has not finished, so its best epoch is not known yet: take its present state with "
                f"--checkpoint last, or go on with inforeg train --resume {name}"
            )
        if folder.preparation.is_file():
            preparation = Preparation.read(folder.preparation)
            return cls._made(preparation, loaded(folder, preparation, which, device), device)
        config = folder.read_config()
        try:
            store = catalogue.store_of_run(config)
        except Misuse as error:
            raise Misuse(
                f"{folder.path.name} was trained by a version that kept how to decode with the prepared data alone, and "
                f"{error}"
            ) from None
        parts = restore(folder, store, which, device)
        preparation = Preparation.of(store, _settings_of(store))
        if preparation is None:
            raise Misuse(
                f"{store.path} was prepared by a version that did not keep how it decoded: "
                f"prepare it again, inforeg prepare {store.name} --force; the run stays good"
            )
        return cls._made(preparation, parts, device)

    @classmethod
    def _made(cls, preparation: Preparation, parts: tuple, device: torch.device) -> "Predictor":
        experiment, transforms, model = parts
        return cls(experiment, preparation, transforms.eval(), model.eval(), device)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.experiment.modalities

    @property
    def spare_columns(self) -> set[str]:
        """Columns of a manifest that are no modality, and are known all the same: labels and splits."""
        return {"label", "split", self.experiment.data.scheme, *self.preparation.label_classes}

    def predict(
        self,
        clips: Sequence[Clip],
        batch_size: int | None = None,
        workers: int = 1,
        advanced: Callable[[int, int], None] = lambda done, failed: None,
    ) -> Predicted:
        """Decode and score clips; `advanced` is told how many are decoded and how many of these failed."""
        batch_size = batch_size or self.experiment.batch_size
        found = Predicted(self.preparation.classes(self.experiment.data.label), self.modalities)
        part: list[tuple[Clip, dict[str, Packed]]] = []
        size = 0
        with closing(decoded(clips, self.preparation, workers)) as results:
            for done, (clip, packed, failures) in enumerate(results, start=1):
                found.failures.extend(failures)
                if not failures:
                    part.append((clip, packed))
                    size += sum(each.bytes for each in packed.values())
                if len(part) >= _BATCHES_AT_ONCE * batch_size or size >= _MOST_BYTES:
                    found.clips.extend(self._scored(part, batch_size))
                    part, size = [], 0
                advanced(done, done - len(part) - len(found.clips))
        found.clips.extend(self._scored(part, batch_size))
        return found

    def _scored(self, part: Sequence[tuple[Clip, dict[str, Packed]]], batch_size: int) -> list[Prediction]:
        """Clips with the same modalities together, handed back in the order in which they came."""
        order = sorted(range(len(part)), key=lambda place: tuple(part[place][1]))
        scored: dict[int, Prediction] = {}
        for present, places in groupby(order, key=lambda place: tuple(part[place][1])):
            here = list(places)
            ids = [part[place][0].id for place in here]
            scored |= zip(here, self._same(present, ids, [part[place][1] for place in here], batch_size), strict=True)
        return [scored[place] for place in range(len(part))]

    def _same(
        self, present: tuple[str, ...], ids: Sequence[str], clips: Sequence[Mapping[str, Packed]], batch_size: int
    ) -> list[Prediction]:
        """Clips that all have the modalities `present`."""
        transforms = torch.nn.ModuleDict({name: self.transforms[name] for name in present})
        store = Loaded({name: self.preparation.modalities[name] for name in present}, ids, clips)
        absent = frozenset(self.modalities) - set(present)
        outputs = {"": "fused"} | {name: f"head.{name}" for name in self.modalities if name in present}
        found = []
        for batch in Clips(store, transforms, "", self.device).batches(torch.arange(len(ids)), batch_size):
            inputs, lengths = dict(batch.inputs), dict(batch.lengths)
            for name in absent:
                inputs[name] = self._nothing(name, len(batch.index))
                if self.preparation.modalities[name].sequence:
                    lengths[name] = torch.zeros_like(batch.index)
            with measuring(self.model, self.device, self.experiment.precision):
                logits = reported_logits(self.model, self.model(inputs, lengths, absent))
            rows = {name: logits[output].float().softmax(dim=-1).cpu().numpy() for name, output in outputs.items()}
            if not all(np.isfinite(values).all() for values in rows.values()):
                raise InforegError("the model gives no finite probabilities: its weights hold NaN or infinity")
            for place, row in enumerate(batch.index.tolist()):
                of_clip = {name: values[place] for name, values in rows.items()}
                found.append(Prediction(ids[row], of_clip.pop(""), of_clip))
        return found

    def _nothing(self, name: str, count: int) -> torch.Tensor:
        """Stands for an absent modality of `count` clips: the model makes zeros of whatever has its form."""
        dtype = torch.int64 if self.preparation.modalities[name].kind == "text" else torch.float32
        return torch.zeros(count, *self.transforms[name].shape, dtype=dtype, device=self.device)


def _settings_of(store: Store) -> Mapping[str, ModalitySettings] | None:
    """What the recipe says that a store of an earlier version was made by, if it is found and still the same."""
    dataset = catalogue.datasets().get(store.name)
    recipe = examine(dataset.recipe)[0] if dataset and dataset.recipe else None
    if not isinstance(recipe, TableRecipe):
        return None
    recipe = recipe.with_frames(store.frames) if store.frames else recipe
    return recipe.modalities if recipe.digest == store.recipe_digest else None
