"""Which code this is: the project's version, and the commit of a git checkout."""

import re
import subprocess
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def in_words():
    """ReFINe++ 1.0.0, commit 1a2b3c4d5e6f, torch 2.13.0.  The version stands in CITATION.cff alone."""
    (own,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    words, code = [f"ReFINe++ {own}"], commit()
    if code:
        words.append(f"commit {code}")
    return ", ".join([*words, f"torch {version('torch')}"])


def commit():
    """The commit of this code, "-dirty" behind it when files differ from it, None outside a git checkout."""
    git = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("-dirty" if dirty.stdout.strip() else "")
