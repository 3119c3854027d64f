"""One table of settings: every method in every variant that trains differently. Tests of the loop run over all of it."""

import pytest

SETTINGS = {
    "joint": {"method": "joint"},
    "uniform": {"method": "uniform"},
    "joint-slice": {"method": "joint", "unimodal_losses": "slice"},
    "inforeg-adamw-cosine": {
        "method": "inforeg",
        "window": {"when": "whole"},
        "optimizer": {"name": "adamw", "lr": 0.003},
        "schedule": {"name": "cosine"},
    },
    "ogm": {"method": {"name": "ogm", "alpha": 0.5}},
    "ogm-ge": {"method": {"name": "ogm", "noise": True}},
    "inforeg-whole": {"method": "inforeg", "window": {"when": "whole"}},
    "inforeg-prime": {"method": "inforeg", "window": {"when": "prime", "K": -10.0}},
    "inforeg-own": {"method": "inforeg", "window": {"when": "whole"}, "unimodal_losses": "own"},
    "inforeg-slice-official": {
        "method": {"name": "inforeg", "beta": 1.0, "score": "sum_p"},
        "window": {"when": "prime", "smooth": 10, "zero_padded": True, "warmup": "open", "K": 0.05, "leader": "vector"},
        "trace": {"reduction": "layer-mean", "after_adjust": True},
        "unimodal_losses": "slice",
    },
    "greedy": {"method": {"name": "greedy", "epsilon": 0.0, "burn_in": 0}},
    "greedy-fused": {"method": {"name": "greedy", "heads": "fused", "epsilon": 0.0, "burn_in": 0}},
    "greedy-random": {"method": {"name": "greedy", "random": True, "burn_in": 0}},
    "pmr": {"method": {"name": "pmr", "share": 0.5}},
    "pmr-clip-entropy": {"method": {"name": "pmr", "weights": "clip", "entropy": 0.1, "share": 0.5}},
    "agm": {"method": "agm"},
    "agm-clip": {"method": {"name": "agm", "clip": 1.0}, "unimodal_losses": "own"},
    "g-blending": {"method": "g-blending"},
    "g-blending-online": {"method": {"name": "g-blending", "estimate": "online", "super_epoch": 2}},
    "mmpareto": {"method": "mmpareto"},
}

every_setting = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())

#: Methods that act, with what they fall back to where their window is closed.
WITH_BASELINE = {
    "ogm": ({"method": {"name": "ogm", "alpha": 0.5}}, {"method": "joint"}),
    "ogm-ge": ({"method": {"name": "ogm", "noise": True}}, {"method": "joint"}),
    "inforeg": ({"method": "inforeg"}, {"method": "joint"}),
    "inforeg-own": ({"method": "inforeg", "unimodal_losses": "own"}, {"method": "uniform"}),
    "inforeg-slice": (
        {"method": "inforeg", "unimodal_losses": "slice"},
        {"method": "joint", "unimodal_losses": "slice"},
    ),
    "greedy": (
        {"method": {"name": "greedy", "epsilon": 0.0, "burn_in": 0}},
        {"method": {"name": "greedy", "curate": False}},
    ),
    "greedy-fused": (
        {"method": {"name": "greedy", "heads": "fused", "epsilon": 0.0, "burn_in": 0}},
        {"method": {"name": "greedy", "heads": "fused", "curate": False}},
    ),
    "pmr": ({"method": {"name": "pmr", "share": 0.5}}, {"method": "joint"}),
    "agm": ({"method": "agm"}, {"method": "joint"}),
    "mmpareto": ({"method": "mmpareto"}, {"method": "uniform"}),
}

every_method_and_baseline = pytest.mark.parametrize(
    ("settings", "baseline"), WITH_BASELINE.values(), ids=WITH_BASELINE.keys()
)

#: Settings that leave a method without its action, where there are such, and what is then trained.
OFF = {
    "ogm": ({"method": {"name": "ogm", "alpha": 0.0}}, {"method": "joint"}),
    "inforeg": ({"method": {"name": "inforeg", "strength": 0.0}}, {"method": "joint"}),
    "pmr": ({"method": {"name": "pmr", "alpha": 0.0, "share": 0.5}}, {"method": "joint"}),
    "agm": ({"method": {"name": "agm", "alpha": 0.0}}, {"method": "joint"}),
    "agm-own": ({"method": {"name": "agm", "alpha": 0.0}, "unimodal_losses": "own"}, {"method": "uniform"}),
    "greedy": ({"method": {"name": "greedy", "epsilon": 1e30}}, {"method": {"name": "greedy", "curate": False}}),
    "g-blending": (
        {"method": {"name": "g-blending", "weights": {"vector": 0, "picture": 0, "series": 0, "fused": 1}}},
        {"method": "joint"},
    ),
}

every_off_setting = pytest.mark.parametrize(("settings", "baseline"), OFF.values(), ids=OFF.keys())

#: One setting a method, acting in every epoch. The noise of ogm-ge and the choices of greedy-random, which are not here,
#: are drawn by position, so another order of the modalities is another draw.
PLAIN = [
    "uniform", "ogm", "greedy", "greedy-fused", "pmr-clip-entropy", "agm", "g-blending-online", "mmpareto", "inforeg-whole",
]  # fmt: skip

each_method = pytest.mark.parametrize("settings", [SETTINGS[name] for name in PLAIN], ids=PLAIN)
