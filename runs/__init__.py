"""Run folders: what a run leaves behind, and many runs side by side."""
