"""Checkpoints come back as they were saved, and a file that is anything else is refused with one clear line."""

import os
import pickle

import pytest
import torch

from inforeg_cli.engine import checkpoint
from inforeg_cli.errors import InforegError


def test_round_trip(tmp_path):
    state = {
        "epoch": 3,
        "rows": [{"loss": 0.5, "open": True, "name": "a"}],
        "model": {"w": torch.randn(3)},
        "none": None,
    }
    checkpoint.save(tmp_path / "last.pt", state)
    loaded = checkpoint.load(tmp_path / "last.pt")
    assert loaded["rows"] == state["rows"] and loaded["none"] is None
    assert torch.equal(loaded["model"]["w"], state["model"]["w"])


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"epoch": 1})

    def half(state, file):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"epoch": 2})
    assert checkpoint.load(path)["epoch"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"format": checkpoint.FORMAT, "x": Attack()}))
    torch.save({"format": checkpoint.FORMAT, "x": Attack()}, tmp_path / "zip.pt")
    for name in ("plain.pt", "zip.pt"):
        with pytest.raises(InforegError, match="refused to load"):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_checkpoint_cut_short_is_named(tmp_path, keep):
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"model": {"w": torch.randn(1000)}})
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(InforegError, match=r"last\.pt (is damaged|is not a checkpoint)"):
        checkpoint.load(path)


def test_absent_and_of_another_format(tmp_path):
    with pytest.raises(InforegError, match="does not exist"):
        checkpoint.load(tmp_path / "none.pt")
    torch.save({"format": 99}, tmp_path / "new.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("new.pt", "list.pt"):
        with pytest.raises(InforegError, match="format"):
            checkpoint.load(tmp_path / name)
