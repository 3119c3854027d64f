"""What is installed works together, and the lock is what it should be."""

import re
import tomllib
from pathlib import Path

import torch
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def test_torch_torchvision_and_torchaudio_fit_each_other():
    """Pairs that do not fit import with an error, or lack torchvision's operators."""
    import torchaudio
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.9]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]
    assert torchaudio.transforms.Spectrogram(n_fft=16)(torch.zeros(32)).shape == (9, 5)


def test_the_ranges_leave_out_the_pairs_that_are_known_to_break():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = {requirement.name: requirement.specifier for requirement in map(Requirement, project["dependencies"])}
    assert "2.15.0" not in ranges["torch"] and "2.14.1" in ranges["torch"]
    assert (
        "0.29.2" in ranges["torchvision"] and "2.11.0" in ranges["torchaudio"] and "2.12.0" not in ranges["torchaudio"]
    )
    assert "0.30.0" not in ranges["typer"]


def test_the_lock_has_a_hash_for_everything_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z])", text.partition("\n#    make lock\n")[2])
    assert len(entries) > 50
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
