"""Finding datasets: by tolerant names, by folder, and the embedded one that prepares itself."""

import shutil
from pathlib import Path

import pytest
from raw_factory import RECIPE, make_raw

from inforeg_cli import paths
from inforeg_cli.data import catalogue
from inforeg_cli.data.preparing.prepare import prepare
from inforeg_cli.errors import Misuse


@pytest.fixture(scope="module")
def digits_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("root")
    catalogue.open_store("digits", root)
    return root


def add(root: Path, name: str = "tiny", recipe: str = RECIPE) -> Path:
    folder = root / "datasets" / name
    make_raw(folder, recipe=recipe.replace('"tiny"', f'"{name}"'))
    return folder / "recipe.toml"


def test_shipped_and_own_recipes_are_listed(tmp_path):
    add(tmp_path)
    assert {"digits", "tiny"} <= set(catalogue.datasets(tmp_path))
    assert catalogue.datasets(tmp_path)["tiny"].out == tmp_path / "datasets" / "tiny" / "prepared"
    assert catalogue.datasets(tmp_path)["tiny"].state()[0] == "not prepared"


def test_the_own_recipe_wins_over_the_shipped_one(tmp_path):
    own = tmp_path / "datasets" / "digits" / "recipe.toml"
    own.parent.mkdir(parents=True)
    shutil.copy(paths.shipped("datasets") / "digits" / "recipe.toml", own)
    assert catalogue.find("digits", tmp_path).recipe == own


@pytest.mark.parametrize("name", ["crema-d", "CREMA-D", "cremad", "crema_d", "Crema D"])
def test_names_are_tolerant(tmp_path, name):
    add(tmp_path, "crema-d")
    assert catalogue.find(name, tmp_path).name == "crema-d"


def test_a_wrong_name_is_told_with_the_nearest_one(tmp_path):
    with pytest.raises(Misuse, match="there is no dataset 'digts'; did you mean 'digits'"):
        catalogue.find("digts", tmp_path)


def test_a_dataset_that_is_not_prepared_tells_the_command(tmp_path):
    add(tmp_path)
    with pytest.raises(Misuse, match="tiny is not prepared yet: inforeg prepare tiny"):
        catalogue.open_store("tiny", tmp_path)


def test_a_recipe_elsewhere_is_found_by_its_name_afterwards(tmp_path):
    make_raw(tmp_path / "far" / "away")
    store, _ = prepare(catalogue.job(str(tmp_path / "far" / "away" / "recipe.toml"), tmp_path))
    assert store.path == tmp_path / "datasets" / "tiny" / "prepared"
    assert catalogue.open_store("tiny", tmp_path).digest == store.digest
    assert catalogue.datasets(tmp_path)["tiny"].state()[0] == "prepared"
    with pytest.raises(Misuse, match="the recipe of tiny lies elsewhere"):
        catalogue.job("tiny", tmp_path)


def test_a_store_is_found_by_its_folder(tmp_path):
    add(tmp_path)
    store, _ = prepare(catalogue.job("tiny", tmp_path, out=tmp_path / "mine"))
    assert catalogue.open_store(str(tmp_path / "mine"), tmp_path).digest == store.digest
    prepare(catalogue.job("tiny", tmp_path))
    assert catalogue.open_store(str(tmp_path / "datasets" / "tiny"), tmp_path).digest == store.digest
    with pytest.raises(Misuse, match="there is no prepared dataset in"):
        catalogue.open_store(str(tmp_path / "absent" / "folder"), tmp_path)


def test_a_recipe_whose_name_is_not_its_folders_is_refused(tmp_path):
    path = add(tmp_path)
    path.parent.rename(tmp_path / "datasets" / "other")
    with pytest.raises(Misuse, match="the name 'tiny' must be that of its folder, 'other'"):
        catalogue.job("other", tmp_path)


def test_a_store_from_another_recipe_is_refused(tmp_path):
    path = add(tmp_path)
    prepare(catalogue.job("tiny", tmp_path))
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(Misuse, match="prepared from another recipe: inforeg prepare tiny --force"):
        catalogue.open_store("tiny", tmp_path)
    assert catalogue.datasets(tmp_path)["tiny"].state()[0] == "prepared from another recipe"


def test_a_broken_recipe_or_store_does_not_hide_the_list(tmp_path):
    path = add(tmp_path)
    prepare(catalogue.job("tiny", tmp_path))
    (tmp_path / "datasets" / "tiny" / "prepared" / "sound.bin").unlink()
    assert catalogue.datasets(tmp_path)["tiny"].state()[0] == "damaged"
    path.write_text('nmae = "tiny"')
    assert catalogue.datasets(tmp_path)["tiny"].state()[0].endswith("problems in the recipe")
    path.write_text("nmae =")
    assert catalogue.datasets(tmp_path)["tiny"].state()[0] == "the recipe cannot be read"


def test_digits_prepare_themselves_once(digits_root):
    before = (digits_root / "datasets" / "digits" / "prepared" / "store.json").stat().st_mtime_ns
    assert len(catalogue.open_store("Digits", digits_root)) == 1797
    assert (digits_root / "datasets" / "digits" / "prepared" / "store.json").stat().st_mtime_ns == before


def test_digits_from_another_recipe_are_prepared_anew(digits_root, tmp_path, capsys):
    shutil.copytree(digits_root, tmp_path, dirs_exist_ok=True)
    own = tmp_path / "datasets" / "digits" / "recipe.toml"
    text = (paths.shipped("datasets") / "digits" / "recipe.toml").read_text()
    own.write_text(text.replace('name = "digits"', 'name = "digits"\nseconds = 0.05').replace("seconds = 0.1", "#"))
    store = catalogue.open_store("digits", tmp_path)
    assert store.modalities["sound"].shape == (400,)
    assert "digits was prepared from another recipe: preparing it anew" in capsys.readouterr().err


def test_temporary_digits_leave_nothing_under_the_root(digits_root, tmp_path):
    store = catalogue.open_store("digits", tmp_path, temporary=True)
    assert list(tmp_path.iterdir()) == []
    assert len(store) == 1797
    assert catalogue.open_store("digits", digits_root, temporary=True).path.is_relative_to(digits_root)


def test_the_default_dataset_is_crema_d_where_it_is_prepared(tmp_path):
    assert catalogue.default_dataset(tmp_path) == "digits"
    add(tmp_path, "crema-d")
    assert catalogue.default_dataset(tmp_path) == "digits"
    prepare(catalogue.job("crema-d", tmp_path))
    assert catalogue.default_dataset(tmp_path) == "crema-d"


def test_of_data_that_are_gone_it_is_said_where_they_lay(tmp_path):
    lost = tmp_path / "lost"
    with pytest.raises(
        Misuse, match=rf"the run's data, mine, lay in {lost} and are there no more; there is no dataset"
    ):
        catalogue.store_of_run({"data": {"name": "mine", "path": str(lost)}})
