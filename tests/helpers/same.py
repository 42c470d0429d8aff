"""What two runs that should have ended alike must have in common."""

import json

import torch

TIMES = ("train_seconds", "seconds_per_epoch", "peak_memory_mb")


def summary(folder):
    """summary.json without what a clock or the process decides."""
    content = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key not in TIMES}


def assert_same_end(whole, other):
    """metrics.csv, best.pt, summary.json, recommendations and the metrics of users: all bit for bit."""
    for name in ("metrics.csv", "recommendations.csv", "per_user.csv"):
        assert (whole / name).read_bytes() == (other / name).read_bytes(), name
    best = [torch.load(folder / "best.pt", weights_only=True) for folder in (whole, other)]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert all(torch.equal(tensor, best[1]["model"][name]) for name, tensor in best[0]["model"].items())
    assert summary(whole) == summary(other)
