"""From text to token ids: words, or byte pairs, as a vocabulary knows them that is built on train texts alone."""

import base64
import io
import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from inforeg_cli.data.kinds import TextSettings
from inforeg_cli.errors import Misuse, first_line
from inforeg_cli.files import canonical_json

#: The name of a text modality's vocabulary in its store, after the modality's own.
VOCABULARY = "vocabulary.json"
#: Of the bytes that a vocabulary is written as; raised when they mean something else.
FORMAT_VERSION = 1

#: SentencePiece writes a space as this letter, and a boundary that it needs itself as the other.
_SPACE, _BOUNDARY = "\u2581", "\u2585"
#: Up to release 0.2.0 its trainer ends the process at a word of more characters than 16 bits can number.
_LONGEST_WORD = 1000
#: Says nothing: the levels end at 3, for what stops the process.
_SILENT = 4

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Vocabulary(ABC):
    """The tokens of a text modality: id 0 pads, id 1 stands for whatever is not known.

    Texts are put into Unicode's compatibility form (NFKC), so that full-width letters, ligatures and composed accents
    count as what they look like; in lower case, if so asked; control characters count as spaces, and invisible
    ones (soft hyphens, joiners) as nothing.

    The bytes of a vocabulary are a function of the settings and of which texts there are, not of their order.
    """

    PAD: ClassVar[int] = 0
    UNKNOWN: ClassVar[int] = 1

    lowercase: bool

    @staticmethod
    def build(texts: Sequence[str], settings: TextSettings) -> "Vocabulary":
        """Learn `settings.vocabulary` tokens at most from `texts`. Raises Misuse where they hold none."""
        kind = _KINDS[settings.tokens]
        return kind.learn([normalised(text, settings.lowercase) for text in texts], settings)

    @staticmethod
    def from_bytes(data: bytes) -> "Vocabulary":
        """The vocabulary that `to_bytes` wrote. Raises Misuse where it did not."""
        try:
            entry = json.loads(data)
            if entry["format"] != FORMAT_VERSION:
                raise Misuse(f"the vocabulary has format {entry['format']}, this version reads {FORMAT_VERSION}")
            if not isinstance(entry["lowercase"], bool):
                raise ValueError("lowercase is neither true nor false")
            vocabulary = _KINDS[entry["tokens"]].restore(entry)
            if vocabulary.size != entry["size"]:
                raise ValueError(f"{vocabulary.size} tokens instead of {entry['size']}")
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise Misuse(f"the vocabulary is damaged ({first_line(error)}): prepare the dataset again") from None
        return vocabulary

    def to_bytes(self) -> bytes:
        """UTF-8 JSON with sorted keys."""
        content = {"format": FORMAT_VERSION, "lowercase": self.lowercase, "size": self.size, **self._content()}
        return canonical_json(content).encode()

    def encode(self, text: str) -> list[int]:
        """The ids of the tokens of `text`, none of them `PAD`; an empty list for a text without a visible character."""
        return self._encode(normalised(text, self.lowercase))

    @property
    def size(self) -> int:
        """Ids reach from 0 to one less; the two special ones count."""
        return len(self.tokens)

    @property
    @abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """What each id stands for."""

    @classmethod
    @abstractmethod
    def learn(cls, texts: Sequence[str], settings: TextSettings) -> "Vocabulary":
        """From normalised texts."""

    @classmethod
    @abstractmethod
    def restore(cls, entry: Mapping[str, Any]) -> "Vocabulary":
        """From what `_content` made."""

    @abstractmethod
    def _content(self) -> dict[str, Any]: ...

    @abstractmethod
    def _encode(self, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Words(Vocabulary):
    """Whole words, the most frequent first, equally frequent ones by alphabet.

    A word is a run of letters and digits, or one other visible character, each with its combining marks: "don't" is
    three words, and an emoji is one.
    """

    lowercase: bool
    words: tuple[str, ...]

    @classmethod
    def learn(cls, texts: Sequence[str], settings: TextSettings) -> "Words":
        counts = Counter(word for text in texts for word in words(text))
        if not counts:
            raise Misuse("the texts in train hold no word")
        frequent = [(-times, word) for word, times in counts.items() if times >= settings.least]
        if not frequent:
            raise Misuse(f"no word occurs {settings.least} times in the texts in train: lower `least`")
        return cls(settings.lowercase, tuple(word for _, word in sorted(frequent)[: settings.vocabulary - 2]))

    @classmethod
    def restore(cls, entry: Mapping[str, Any]) -> "Words":
        found = entry["words"]
        if not isinstance(found, list) or not all(isinstance(word, str) and word for word in found):
            raise ValueError("a word is no text")
        if len(set(found)) < len(found):
            raise ValueError("a word stands in it twice")
        return cls(entry["lowercase"], tuple(found))

    @property
    def tokens(self) -> tuple[str, ...]:
        return ("<pad>", "<unknown>", *self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, start=2)}

    def _content(self) -> dict[str, Any]:
        return {"tokens": "word", "words": list(self.words)}

    def _encode(self, text: str) -> list[int]:
        return [self._ids.get(word, self.UNKNOWN) for word in words(text)]


@dataclass(frozen=True)
class Pieces(Vocabulary):
    """Parts of words, learnt by merging the most frequent pair again and again: byte-pair encoding (Sennrich et al.,
    2016, https://arxiv.org/abs/1508.07909), by SentencePiece. A token that begins a word begins with "▁".

    Characters that did not occur in training are unknown; so are the rarest, where there are more than the vocabulary
    has room for.
    """

    lowercase: bool
    model: bytes

    @classmethod
    def learn(cls, texts: Sequence[str], settings: TextSettings) -> "Pieces":
        counts = Counter(part for text in texts for part in text.replace(_SPACE, " ").split())
        known = _frequent_characters(counts, settings.vocabulary - 3)  # besides the special tokens and the space
        parts: Counter[str] = Counter()
        for word, times in counts.items():
            for part in "".join(letter if letter in known else " " for letter in word).split():
                for start in range(0, len(part), _LONGEST_WORD):
                    parts[part[start : start + _LONGEST_WORD]] += times
        if not parts:
            raise Misuse("the texts in train hold no word")
        return cls(settings.lowercase, _trained(parts, settings.vocabulary))

    @classmethod
    def restore(cls, entry: Mapping[str, Any]) -> "Pieces":
        model = base64.b64decode(entry["model"], validate=True)
        if not model:  # which the processor takes for none given, and older releases then crash
            raise ValueError("the model is empty")
        restored = cls(entry["lowercase"], model)
        if (restored._processor.pad_id(), restored._processor.unk_id()) != (cls.PAD, cls.UNKNOWN):
            raise ValueError("other ids than 0 and 1 pad and stand for the unknown")
        return restored

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        return tuple(self._processor.id_to_piece(number) for number in range(self._processor.get_piece_size()))

    @cached_property
    def _processor(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.model)

    def _content(self) -> dict[str, Any]:
        return {"tokens": "bpe", "model": base64.b64encode(self.model).decode()}

    def _encode(self, text: str) -> list[int]:
        return self._processor.encode(" ".join(text.replace(_SPACE, " ").split()))


_KINDS: dict[str, type[Vocabulary]] = {"word": Words, "bpe": Pieces}


def normalised(text: str, lowercase: bool) -> str:
    """`text` as vocabularies see it: see `Vocabulary`."""
    # JSON can hold halves of characters, which no file can be written with.
    text = unicodedata.normalize("NFKC", _LONE_SURROGATE.sub("\ufffd", text))
    if lowercase:
        text = unicodedata.normalize("NFKC", text.lower())
    # Zero-width space is invisible too, but parts words.
    replaced = {ord(letter): None for letter in set(text) if unicodedata.category(letter) == "Cf"} | {0x200B: " "}
    replaced |= {ord(letter): " " for letter in set(text) if unicodedata.category(letter) == "Cc"}
    return text.translate(replaced)


def words(text: str) -> list[str]:
    """Runs of letters and digits, and single other visible characters, each with its combining marks."""
    # Only marks that occur are listed: `re` has no class for the category, and all of them would slow every match.
    marks = "".join(sorted(letter for letter in set(text) if unicodedata.category(letter)[0] == "M"))
    follow = f"[{re.escape(marks)}]*" if marks else ""
    return re.findall(rf"(?:[^\W_]{follow})+|\S{follow}", text)


def _frequent_characters(counts: Mapping[str, int], most: int) -> set[str]:
    letters: Counter[str] = Counter()
    for word, times in counts.items():
        for letter in word:
            letters[letter] += times
    del letters[_BOUNDARY]
    return set(sorted(letters, key=lambda letter: (-letters[letter], letter))[:most])


def _trained(counts: Mapping[str, int], size: int) -> bytes:
    """SentencePiece's model of byte pairs within the words."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([f"{word}\t{times}" for word, times in sorted(counts.items())]),
        input_format="tsv",
        model_writer=model,
        model_type="bpe",
        vocab_size=size,
        hard_vocab_limit=False,  # a small corpus has fewer pairs than there is room for
        pad_id=Vocabulary.PAD,
        unk_id=Vocabulary.UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        normalization_rule_name="identity",
        character_coverage=1.0,
        max_sentence_length=8 * _LONGEST_WORD,
        shuffle_input_sentence=False,
        num_threads=1,
        minloglevel=_SILENT,
    )
    return model.getvalue()
