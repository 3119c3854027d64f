"""How clips were made: written beside a run, read again, and enough to build what the store would have built."""

import json
import subprocess
import sys

import pytest
from kinds_factory import make_kinds
from raw_factory import make_raw
from test_own_five import make_five

from inforeg_cli.data.catalogue import ensure_digits
from inforeg_cli.data.kinds import FeatureSettings, VideoSettings
from inforeg_cli.data.preparation import Preparation
from inforeg_cli.data.preparing.plan import Job
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.data.recipe_file import load
from inforeg_cli.data.transforms import Motion, Video, build_transform, transform_of
from inforeg_cli.errors import InforegError, Misuse


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    folder = tmp_path_factory.mktemp("five") / "raw"
    make_five(folder)
    return prepare(Job(folder / "recipe.toml", folder.parent / "prepared", frames="jpeg", workers=2))[0]


def test_what_is_written_is_read(five, tmp_path):
    preparation = Preparation.of(five)
    preparation.write(tmp_path / "preparation.json")
    again = Preparation.read(tmp_path / "preparation.json")
    assert again.modalities == five.modalities
    assert again.settings == preparation.settings
    assert list(again.settings) == list(five.modalities)
    assert again.classes("label") == five.classes("label")
    assert again.shapes("scene").tolist() == [[6, 3, 24, 32]]
    text = "a merry day, surely"
    assert again.vocabularies["words"].encode(text) == preparation.vocabularies["words"].encode(text)


def test_it_says_what_the_recipe_says_and_how_frames_were_asked_for(five):
    settings = Preparation.of(five).settings
    assert settings["scene"] == VideoSettings(column="video", fps=5, size=24, codec="jpeg")
    assert settings["face"] == FeatureSettings(column="face", length=4)


def test_how_a_store_was_made_is_no_part_of_its_content(tmp_path):
    folder = tmp_path / "raw"
    make_raw(folder)
    store = prepare(Job(folder / "recipe.toml", tmp_path / "out"))[0]
    described = json.loads((store.path / "store.json").read_text())
    recipe = load(folder / "recipe.toml")
    assert described.pop("decoding") == recipe.model_dump(mode="json")["modalities"]
    (store.path / "store.json").write_text(json.dumps(described))
    older = type(store).open(store.path)
    older.verify()
    assert older.digest == store.digest
    assert Preparation.of(older) is None
    assert Preparation.of(older, recipe.modalities).settings == recipe.modalities


def test_a_transform_of_videos_needs_no_more_than_their_sizes(tmp_path):
    store = make_kinds(tmp_path / "varying", "scene", "flow")
    preparation = Preparation.of(store, {})
    for name, config in (("scene", Video.Config()), ("flow", Motion.Config())):
        ours = transform_of(preparation, name, config)
        theirs = build_transform(config, store.modalities[name], store.shapes(name))
        assert (ours.shape, ours.size, ours.drawing) == (theirs.shape, theirs.size, theirs.drawing)
        assert len(preparation.shapes(name)) < len(store)


def test_the_embedded_dataset_tells_the_form_of_its_clips():
    settings = Preparation.of(ensure_digits()).settings
    assert (settings["sound"].sample_rate, settings["sound"].samples) == (8000, 800)
    assert (settings["image"].mode, settings["image"].size) == ("L", (8, 8))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1, "modalities": {"a": 3}}', '{"format": 2}', "\xff"])
def test_damaged_files_are_told(text, tmp_path):
    (tmp_path / "preparation.json").write_text(text, encoding="latin-1")
    with pytest.raises(InforegError, match=r"preparation\.json"):
        Preparation.read(tmp_path / "preparation.json")


def test_settings_of_a_later_version_are_told(five, tmp_path):
    described = {**five.decoding, "voice": {**five.decoding["voice"], "loudness": 3}}
    later = type(five).open(five.path)
    later.decoding = described
    with pytest.raises(Misuse, match="prepare five --force"):
        Preparation.of(later)


def test_importing_it_needs_no_decoder():
    code = "import sys, inforeg_cli.data.preparation; sys.exit('av' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
