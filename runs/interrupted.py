"""What --resume meant where its flags name no run: a run beside it that can go on and differs in few flags."""

import shlex

from options import command_line
from options.refinement import FOUND
from options.run_name import flag_words
from runs.finished import NOT_COMPARED
from runs.run_folder import Run, check_epochs, read_config
from utils import InputError

FEW = 3  # flags that a run may differ in to be the one that was meant


def refuse_where_another_is_meant(run, options):
    """Raises InputError where the folder of the run to resume holds none and one beside it may be meant, with the
    command that goes on with that."""
    if not options.run.resume or (run.folder / "config.json").exists():
        return
    found = []
    for config in run.folder.parent.glob("*/config.json"):
        folder = config.parent
        try:
            Run(folder).check(True, getattr(options.run, "epochs", None))
            before = read_config(folder)["settings"]
            differing = differences(options.effective(), before)
            if "model" not in differing and len(differing) <= FEW:
                command = command_of(options, folder, before)
                found.append((len(differing), -config.stat().st_mtime, folder, differing, command))
        except InputError:  # it is finished, or cannot be read, or no flags lead to it
            continue
    if not found:
        return
    *_, folder, differing, command = min(found, key=lambda each: each[:2])
    words = ", ".join(f"{in_words(name, had)}, not {in_words(name, now)}" for name, (had, now) in differing.items())
    raise InputError(
        f"{run.folder}: holds no run to resume; {folder} does{', with ' if words else ''}{words}; this goes on with "
        f"it: {command}"
    )


def differences(settings, before):
    """{flag: (value before, value now)} of what both have and that differs, but for what is left open now."""
    differing = {}
    for name in sorted(settings.keys() & before.keys() - NOT_COMPARED):
        if settings[name] not in (None, "auto") and settings[name] != before[name]:
            differing[name] = before[name], settings[name]
    return differing


def in_words(name, value):
    if value is None or isinstance(value, bool):
        return f"--{name}" if value else f"no --{name}"
    return " ".join(flag_words({name: value}))


def command_of(options, folder, before):
    """The command that goes on with the run in a folder: as this one was given, but for what differs from `before`.
    Raises InputError where the flags do not lead to it."""
    given = {name: value for name, value in options.values().items() if name in options.given}
    for _ in range(2):  # a flag that is put back may bring others into use
        for name, (had, _) in differences(options.effective(), before).items():
            if name == "epochs" and can_do(folder, options.effective(), had):
                continue
            given[name] = had
            if had in (None, False) or (name == "llm" and had in FOUND):
                del given[name]
        options = command_line.make(given)
        options.fill_in_of_data_set(folder.parent.name)
    if differences(options.effective(), before).keys() - {"epochs"}:
        raise InputError(f"{folder}: was begun in another way")
    words = []
    for name, value in (given | {"path_name": folder.name, "resume": True}).items():
        words.append(f"--{name}")
        if value is not True:
            words += map(str, value if isinstance(value, list) else [value])
    return f"python main.py {shlex.join(words)}"


def can_do(folder, settings, had):
    """Whether a run that began with so many epochs can go on to those of the settings."""
    try:
        check_epochs(folder, settings, {"epochs": had})
    except InputError:
        return False
    return True
