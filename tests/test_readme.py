"""The README's code runs as it is printed there, and its commands exist."""

import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).resolve().parents[1] / "README.md"


def own_loop() -> str:
    return re.search(r"<!-- loop -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]


def problem(batches: int = 8, size: int = 16) -> list[tuple[torch.Tensor, ...]]:
    """Three classes that `a` tells at once and `b` barely."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(3, (batches, size), generator=random)
    centres = [torch.randn(3, width, generator=random) for width in (20, 5)]
    a, b = (
        scale * centre[target] + torch.randn(batches, size, centre.shape[1], generator=random)
        for scale, centre in zip((2, 0.5), centres, strict=True)
    )
    return list(zip(a, b, target, strict=True))


@pytest.mark.parametrize("method", ["InfoReg(beta=0.9)", "OGM(alpha=0.3)", "OGM(alpha=0.3, noise=True)"])
def test_the_loop_of_ones_own_trains_and_the_method_acts(method):
    code = own_loop().replace("InfoReg(beta=0.9)", method).replace("import InfoReg", "import InfoReg, OGM")
    code = code.replace('Window(when="prime", K=0.04)', 'Window(when="whole")')
    torch.manual_seed(0)
    names = {"batches": problem()}
    exec(code, names)
    a, b, target = names["batches"][0]
    logits = names["heads"]["a"](names["encoders"]["a"](a)) + names["heads"]["b"](names["encoders"]["b"](b))
    assert (logits.argmax(1) == target).float().mean() > 0.8
    assert sum(value for key, value in names["method"].diagnostics().items() if key.startswith("regulated.")) > 0


def test_the_loop_runs_as_printed():
    names = {"batches": problem()}
    exec(own_loop(), names)
    assert all(len(past) == 10 for past in names["history"].values())


def test_every_command_in_the_readme_exists():
    from typer.main import get_command

    from inforeg_cli.app import app

    known = get_command(app)
    for words in re.findall(r"^    inforeg (\S.*)$", README.read_text(encoding="utf-8"), re.MULTILINE):
        command = known
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            command = command.commands[word]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words.split() if word.startswith("--")} <= options, words


def test_the_recipe_in_the_readme_is_sound(tmp_path):
    from inforeg_cli.data.recipe_file import load

    path = tmp_path / "recipe.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1], encoding="utf-8")
    kinds = {settings.kind for settings in load(path).modalities.values()}
    assert kinds == {"audio", "video", "text", "features"}


def test_every_dataset_and_method_in_the_readme_exists():
    from inforeg_cli import paths
    from inforeg_cli.methods import METHODS

    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert named == {path.parent.name for path in paths.shipped("datasets").glob("*/recipe.toml")}
    assert all(f"`{name}`" in text for name in [*METHODS, "uniform"])
