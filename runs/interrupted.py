"""What --resume meant where its flags name no run: a run beside it that can go on and differs in few flags."""

from runs.finished import NOT_COMPARED, in_words
from runs.run_folder import Run, read_config
from utils import InputError

FEW = 3  # flags that a run may differ in to be the one that was meant


def refuse_where_another_is_meant(run, options):
    """Raises InputError where there is no run to resume and one beside it may be meant."""
    if not options.run.resume or (run.folder / "config.json").exists():
        return
    settings, found = options.effective(), []
    for config in run.folder.parent.glob("*/config.json"):
        try:
            Run(config.parent).check(True, settings.get("epochs"))
            before = read_config(config.parent)["settings"]
        except InputError:  # it is finished, or cannot be read
            continue
        differing = []
        for name in sorted(settings.keys() & before.keys() - NOT_COMPARED):
            if settings[name] not in (None, "auto", before[name]):
                differing.append(f"--{name} {in_words(before[name])}, not {in_words(settings[name])}")
        if settings["model"] == before["model"] and len(differing) <= FEW:
            found.append((len(differing), -config.stat().st_mtime, config.parent, "; ".join(differing)))
    if found:
        _, _, folder, differing = min(found)
        with_flags = f" with {differing}" if differing else ""
        raise InputError(
            f"{run.folder}: holds no run to resume; {folder} does{with_flags}; its flags and --path_name "
            f"{folder.name} --resume go on with it"
        )
