"""Vocabularies: what they hold, that order does not matter, what they make of odd texts, what they refuse."""

import json
import os
import pickle
import random
import re
import subprocess
import sys

import pytest

from inforeg_cli.data.kinds import TextSettings
from inforeg_cli.data.vocabulary import Vocabulary
from inforeg_cli.errors import Misuse

TEXTS = [
    "The cat sat on the mat.",
    "A cat and a dog sat on the log!",
    "Dogs chase cats; cats chase mice.",
    "“Élan vital”, she said — twice.",
    "नमस्ते दुनिया 👍",
]
KINDS = ("word", "bpe")


def settings(tokens: str = "word", **given: object) -> TextSettings:
    return TextSettings(column="text", tokens=tokens, **given)


def built(texts: list[str], tokens: str = "word", **given: object) -> Vocabulary:
    return Vocabulary.build(texts, settings(tokens, **given))


def spelt(vocabulary: Vocabulary, ids: list[int]) -> list[str]:
    return [vocabulary.tokens[number] for number in ids]


def decoded(vocabulary: Vocabulary, ids: list[int]) -> str:
    return "".join(spelt(vocabulary, ids)).replace("▁", " ").strip()


def test_words_are_ordered_by_count_then_alphabet_after_the_special_ones():
    vocabulary = built(["b a c", "c b", "c d"])
    assert vocabulary.tokens[2:] == ("c", "b", "a", "d")
    assert vocabulary.size == 6
    assert vocabulary.encode("a b c d") == [4, 3, 2, 5]
    assert (Vocabulary.PAD, Vocabulary.UNKNOWN) == (0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop", ["don", "'", "t", "stop"]),
        ("snake_case v2.0", ["snake", "_", "case", "v2", ".", "0"]),
        ("e\u0301te\u0301", ["été"]),
        ("नमस्ते", ["नमस्ते"]),
        ("\ufb01ne １２", ["fine", "12"]),
        ("soft\u00adly zero\u200bwidth", ["softly", "zero", "width"]),
        ("a\0b\nc\td\x1be", ["a", "b", "c", "d", "e"]),
        ("ok👍👍", ["ok", "👍", "👍"]),
        ("half \ud83d", ["half", "\ufffd"]),
        ("İstanbul", ["i̇stanbul"]),
    ],
)
def test_words_are_runs_of_letters_and_digits_or_one_other_character(text, words):
    vocabulary = built([text])
    assert spelt(vocabulary, vocabulary.encode(text)) == words


@pytest.mark.parametrize("tokens", KINDS)
def test_case_is_kept_on_request(tokens):
    assert built(["Cat"], tokens).encode("cAT") == built(["Cat"], tokens).encode("cat")
    kept = built(["Cat cat"], tokens, lowercase=False)
    assert kept.encode("Cat") != kept.encode("cat")
    assert Vocabulary.UNKNOWN in kept.encode("CAT")


def test_the_least_and_the_most_limit_what_is_known():
    vocabulary = built(["a a a b b c"], least=2)
    assert vocabulary.tokens[2:] == ("a", "b")
    assert vocabulary.encode("c a") == [Vocabulary.UNKNOWN, 2]
    many = built([" ".join(f"w{n}" for n in range(100))], vocabulary=20)
    assert many.size == 20
    with pytest.raises(Misuse, match="no word occurs 5 times"):
        built(["a b c"], least=5)


@pytest.mark.parametrize("tokens", KINDS)
def test_what_only_other_texts_hold_is_unknown(tokens):
    train, test = TEXTS[:3], "ζώα 象"
    vocabulary = built(train, tokens)
    unseen = {letter for letter in test if not letter.isspace()}
    assert not unseen & set("".join(vocabulary.tokens[2:]))
    assert set(spelt(vocabulary, vocabulary.encode(test))) <= {vocabulary.tokens[Vocabulary.UNKNOWN], "▁"}
    assert Vocabulary.UNKNOWN in vocabulary.encode(test)
    if tokens == "word":
        learnt = set(re.findall(r"\w+|\S", " ".join(train).lower()))
        assert set(vocabulary.tokens[2:]) == learnt
        assert vocabulary.encode("elephant") == [Vocabulary.UNKNOWN]


@pytest.mark.parametrize("tokens", KINDS)
def test_the_order_of_the_texts_and_where_they_are_cut_do_not_matter(tokens):
    words = [f"{a}{b}{c}" for a in "abcdefg" for b in "hijklmn" for c in "opqrstu"]
    texts = [" ".join(random.Random(seed).choices(words, k=30)) for seed in range(60)] + TEXTS
    first = built(texts, tokens, vocabulary=150).to_bytes()
    for seed in range(3):
        shuffled = random.Random(seed).sample(texts, len(texts))
        assert built(shuffled, tokens, vocabulary=150).to_bytes() == first
    assert built(["\n".join(texts)], tokens, vocabulary=150).to_bytes() == first
    assert built([*texts, "abc " * 40], tokens, vocabulary=150).to_bytes() != first


@pytest.mark.parametrize("tokens", KINDS)
def test_another_process_makes_the_same_bytes_and_says_nothing(tokens):
    code = (
        "import sys\n"
        "from inforeg_cli.data.kinds import TextSettings\n"
        "from inforeg_cli.data.vocabulary import Vocabulary\n"
        "texts = sys.stdin.buffer.read().decode().split('\\0')\n"
        "made = Vocabulary.build(texts, TextSettings(column='text', tokens=sys.argv[1], vocabulary=100))\n"
        "made.encode(texts[0])\n"
        "sys.stdout.buffer.write(made.to_bytes())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tokens],
        input="\0".join(reversed(TEXTS)).encode(),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert done.stderr == b""
    assert done.stdout == built(TEXTS, tokens, vocabulary=100).to_bytes()


@pytest.mark.parametrize("tokens", KINDS)
def test_what_is_written_is_read_back(tokens):
    vocabulary = built(TEXTS, tokens)
    data = vocabulary.to_bytes()
    assert json.loads(data.decode())["size"] == vocabulary.size
    for copy in (Vocabulary.from_bytes(data), pickle.loads(pickle.dumps(vocabulary))):
        assert copy == vocabulary
        assert copy.to_bytes() == data
        assert copy.tokens == vocabulary.tokens
        assert [copy.encode(text) for text in TEXTS] == [vocabulary.encode(text) for text in TEXTS]


@pytest.mark.parametrize("tokens", KINDS)
def test_ids_lie_below_the_size_and_never_pad(tokens):
    vocabulary = built(TEXTS, tokens, vocabulary=60)
    assert vocabulary.size <= 60
    for text in [*TEXTS, "", " \n", "ξένος"]:
        assert all(0 < number < vocabulary.size for number in vocabulary.encode(text))
    assert vocabulary.encode("") == vocabulary.encode(" \0\n") == []


def test_byte_pairs_decode_to_the_text():
    vocabulary = built(TEXTS, "bpe", vocabulary=120)
    for text in [*TEXTS[:4], "the dogs and mice  sat\non cats"]:
        ids = vocabulary.encode(text)
        assert Vocabulary.UNKNOWN not in ids
        assert decoded(vocabulary, ids) == " ".join(text.lower().split())


def test_frequent_words_become_one_byte_pair_token_each():
    vocabulary = built(["garden gardener"] * 50 + ["zq"], "bpe", vocabulary=40)
    assert spelt(vocabulary, vocabulary.encode("garden")) == ["▁garden"]
    assert len(vocabulary.encode("dangerg")) > 3


def test_with_more_characters_than_room_the_rarest_are_unknown():
    letters = [chr(0x4E00 + n) for n in range(50)]
    text = " ".join(letter * (50 - n) for n, letter in enumerate(letters))
    vocabulary = built([text], "bpe", vocabulary=20)
    assert vocabulary.size == 20
    known = [letter for letter in letters if Vocabulary.UNKNOWN not in vocabulary.encode(letter)]
    assert known == letters[:17]


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize(
    "text",
    ["a", "👍", "👩‍👩‍👧 🏳️‍🌈", "…", "\0a\0", "▁x▅", "x" * 1_000_000, "word \n" * 200_000, "7 " * 3, "日本語" * 5000],
    ids=["letter", "emoji", "joined", "mark", "nul", "reserved", "one long word", "long", "digits", "no spaces"],
)
def test_odd_corpora_work(tokens, text):
    vocabulary = built([text], tokens, vocabulary=30)
    ids = vocabulary.encode(text)
    assert ids
    assert max(ids) > Vocabulary.UNKNOWN
    assert Vocabulary.from_bytes(vocabulary.to_bytes()).encode(text) == ids


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize("texts", [[], [""], [" ", "\n\0", "\u200d"]])
def test_texts_without_a_word_are_refused(tokens, texts):
    with pytest.raises(Misuse, match="hold no word"):
        built(texts, tokens)


def changed(data: bytes, **entries: object) -> bytes:
    return json.dumps({**json.loads(data), **entries}).encode()


@pytest.mark.parametrize("tokens", KINDS)
def test_a_damaged_vocabulary_is_refused(tokens):
    data = built(TEXTS, tokens).to_bytes()
    damaged = [b"", b"null", b"[]", b"{}", b"\xff\xfe", data[: len(data) // 2], changed(data, tokens="letters")]
    damaged += [changed(data, size=1), changed(data, lowercase="yes"), changed(data, tokens=["word"]), b"[" * 100_000]
    if tokens == "word":
        damaged += [changed(data, words=["a", "a"], size=4), changed(data, words=["a", 1], size=4)]
        damaged += [changed(data, words="ab", size=4), changed(data, words=["", "a"], size=4)]
    else:
        model = json.loads(data)["model"]
        damaged += [changed(data, model=cut) for cut in ("", "%", "AAAA", model[:-8], model[8:], None, 5)]
    for broken in damaged:
        with pytest.raises(Misuse, match="vocabulary is damaged"):
            Vocabulary.from_bytes(broken)
    with pytest.raises(Misuse, match="has format 2"):
        Vocabulary.from_bytes(changed(data, format=2))
