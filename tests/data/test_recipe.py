"""Recipes: what they accept, what they say about a mistake, and what their digest depends on."""

from pathlib import Path

import pytest
import torch

from inforeg_cli.data import recipe, recipe_file
from inforeg_cli.errors import BadInput, Misuse

SOUND = '[modalities.sound]\nkind = "audio"\nsample_rate = 16000\nseconds = 3.0\n'
PLAIN = 'name = "my-set"\n' + SOUND


def load(folder: Path, text: str) -> recipe.Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return recipe_file.load(path)


def problems(folder: Path, text: str) -> str:
    with pytest.raises(BadInput) as caught:
        load(folder, text)
    assert str(folder / "recipe.toml") in str(caught.value)
    return "\n".join(caught.value.problems)


def test_defaults(tmp_path):
    loaded = load(tmp_path, PLAIN)
    assert loaded.manifest == "manifest.csv"
    assert loaded.labels == ["label"]
    assert loaded.columns == {"sound": "sound"}
    assert loaded.modalities["sound"].samples == 48000
    assert loaded.modalities["sound"].fit == "tile"


def test_modalities_keep_their_order_and_the_digest_depends_on_it(tmp_path):
    face = '[modalities.face]\nkind = "features"\narray = "face.npy"\n'
    one, other = (load(tmp_path, 'name = "x"\n' + text) for text in (SOUND + face, face + SOUND))
    assert list(one.modalities) == ["sound", "face"]
    assert list(other.modalities) == ["face", "sound"]
    assert one.digest != other.digest


def test_digest_follows_what_changes_the_bytes_only(tmp_path):
    base = load(tmp_path, PLAIN).digest
    for neutral in (
        'origin = "somewhere"\n' + PLAIN,
        PLAIN.replace("my-set", "your-set"),
        'manifest = "other.csv"\n' + PLAIN,
        PLAIN + 'column = "sound"\n',
    ):
        assert load(tmp_path, neutral).digest == base
    for other in (PLAIN.replace("3.0", "2.0"), PLAIN + 'fit = "pad"\n', 'group = "speaker"\n' + PLAIN):
        assert load(tmp_path, other).digest != base


def test_an_image_side_alone_means_a_square(tmp_path):
    loaded = load(tmp_path, 'name = "x"\n[modalities.face]\nkind = "image"\nsize = 32\n')
    assert loaded.modalities["face"].size == (32, 32)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PLAIN.replace("sample_rate", "sample_rat"), "modalities.sound.sample_rat: unknown key (did you mean 'sample_rate'?)"),
        (PLAIN.replace("sample_rate = 16000", ""), "modalities.sound.sample_rate: missing"),
        (PLAIN.replace("16000", '"fast"'), "modalities.sound.sample_rate: Input should be a valid integer"),
        (PLAIN.replace('"audio"', '"sounds"'), "modalities.sound.kind: the kind is not known ('sounds'; there is: audio"),
        (PLAIN.replace('"audio"', '"video"'), "modalities.sound.sample_rate: unknown key"),
        (PLAIN.replace('"audio"', '"text"'), "modalities.sound.seconds: unknown key"),
        (PLAIN.replace('kind = "audio"', ""), "modalities.sound.kind: missing"),
        ("nmae = 'x'\n" + PLAIN, "nmae: unknown key (did you mean 'name'?)"),
        (PLAIN + "[splits]\nvall = 0.2\n", "splits.vall: unknown key (did you mean 'val'?)"),
        (PLAIN + "[splits]\nval = 0.6\ntest = 0.4\n", "leave nothing to train on"),
        ("sound = 3\n" + PLAIN.replace("my-set", "My Set"), "name: use lower-case letters"),
        (PLAIN.replace("my-set", "digits"), "belongs to the embedded dataset"),
        ('name = "x"\n', "modalities: missing"),
        ('name = "x"\nmodalities = 3\n', "modalities: "),
        ('name = "x"\n[modalities]\nsound = 3\n', "modalities.sound: a modality is a table"),
        ('name = "x"\nsource = "manifests"\n', "source: the source is not known ('manifests'; there is: manifest, digits, "),
        ('name = "x"\nsource = ["manifest"]\n', "source: the source is not known"),
        ('name = "x"\n[modalities.f]\nkind = "features"\ncolumn = "a"\narray = "b"\n', "give either column or array"),
        ('name = "x"\nlabels = ["a"]\nsplit = "a"\n' + SOUND, "a column is named twice"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(tmp_path, text, told):
    assert told in problems(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path):
    told = problems(
        tmp_path,
        'nmae = "x"\n[modalities.a]\nkind = "sounds"\n[modalities.keys]\nkind = "image"\nsizes = 3\n[splits]\nval = 2\n',
    )
    for place in (
        "nmae:",
        "name: missing",
        "modalities.a.kind:",
        "modalities.keys:",
        "modalities.keys.sizes:",
        "splits.val:",
    ):
        assert place in told


@pytest.mark.parametrize(
    "name", ["keys", "type", "train", "fused", "all", "id", "label", "Sound", "2nd", "a.b", "a b", ""]
)
def test_names_that_a_modality_cannot_have(tmp_path, name):
    assert "the modality cannot be called this" in problems(tmp_path, PLAIN.replace("sound", f'"{name}"'))


def test_no_accepted_name_is_an_attribute_of_the_container_of_encoders():
    attributes = {name for name in dir(torch.nn.ModuleDict()) if recipe_file._MODALITY.fullmatch(name)}
    assert attributes <= recipe_file._ATTRIBUTES


@pytest.mark.parametrize("content", [b"name = \n", b"name = 'x'\nname = 'y'\n", b"\xff\xfe"])
def test_what_is_not_toml_is_misuse_with_the_file(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(Misuse, match=r"recipe\.toml: not valid TOML"):
        recipe_file.load(path)


def test_a_missing_recipe_is_misuse(tmp_path):
    with pytest.raises(Misuse, match=r"absent\.toml: cannot read the recipe"):
        recipe_file.load(tmp_path / "absent.toml")


def test_what_is_sound_is_kept_beside_the_problems(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(PLAIN + '[modalities.face]\nkind = "picture"\n', encoding="utf-8")
    loaded, found = recipe_file.examine(path)
    assert list(loaded.modalities) == ["sound"]
    assert len(found) == 1
