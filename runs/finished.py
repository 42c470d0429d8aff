"""Whether a run folder holds the finished run of these settings, made from the files that are there now.

A file that is gone since is no contradiction: results may be looked at without the data.  One that is another now is.
Nothing is written but .hashes beside large files (utils.remembered_sha256), so that asking again takes no time.
"""

from pathlib import Path

from options.refinement import DEFAULT_LLM
from options.run import READING
from preparation.locate import folder_of_found, folder_of_splits
from preparation.sources import DATASETS
from preparation.stamp import read_stamp
from runs.run_folder import FREE, read_config
from utils import InputError, git_blob_id, read_json, remembered_sha256

# preparation.splits imports pandas, which takes a second: where a finished run is found.
NOT_COMPARED = {"dataset", "path_name", *FREE}  # which files --dataset stands for is told by their hashes
HOW = {"rules": "version of the rules of preparation", **{name: f"--{name}" for name in READING}}  # beside files


def is_finished(folder, options, where):
    """Whether the folder holds this run, and it is finished.

    options: command_line.Options.  where: what preparation.locate says of its data set.
    Raises InputError where the folder holds a finished run of other settings or files.
    """
    if not (folder / "summary.json").exists():
        return False
    try:
        summary = dict(read_json(folder / "summary.json"))
        config = read_config(folder)
    except (ValueError, TypeError, InputError, OSError):
        other = "holds a finished run whose summary.json or config.json cannot be read"
    else:
        other = of_settings(config["settings"], options) or of_flags(summary.get("flags", {}), options, where[0])
        other = other or of_files(config, options, where)
    if other:
        raise InputError(f"{folder}: {other}; delete {folder} to have it run anew, or give another --result_dir")
    return True


def of_settings(before, options):
    """The settings that differ, but for those that were left open for the run to settle (auto, or None)."""
    for flag, value in options.effective().items():
        if flag in NOT_COMPARED or flag not in before or value in (None, "auto"):
            continue
        if value != before[flag]:
            return f"holds a finished run with --{flag} {in_words(before[flag])}, not {in_words(value)}"
    return None


def of_flags(had, options, name):
    """The flags of the experiment that differ, also one that is now left open.  had: "flags" of the summary."""
    if options.run.model == "Blend":  # they name its parts, of which the files are compared
        return None
    asked = options.ablation(name)
    for flag in sorted(had.keys() | asked.keys()):
        before, now = had.get(flag), asked.get(flag)
        if flag == "conrec_embeddings":  # a summary keeps the name of the file alone
            now = now and Path(now).name
        if before != now:
            return f"holds a finished run with --{flag} {in_words(before)}, not {in_words(now)}"
    return None


def in_words(value):
    if value is None:
        return "at its default"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def of_files(config, options, where):
    name, raw, folder = where
    made_from = config["made_from"]
    if options.run.model == "CoNRec":
        return of_events(made_from, options, name, raw)
    if not {"raw", "train_original"} <= made_from.keys():
        return "holds a finished run of an older version, which does not say which raw files it was made from"
    # blends of older versions do not know the hashes of their runs
    blended = zip(getattr(options.recommender, "blend", []), made_from.get("blended", []), strict=False)
    return (
        of_splits(made_from, options, name, raw, folder)
        or of_labels(config, options, name, folder)
        or of_vectors(made_from, options.recommender)
        or of_digests({Path(run) / "summary.json": digest for run, digest in blended})
    )


def changed(path):
    return f"holds a finished run that was made from another {path} than the one there now"


def of_digests(digests):
    """The first of {path: SHA-256, None where it is not known} that is another file now."""
    for path, digest in digests.items():
        if digest and path.exists() and remembered_sha256(path) != digest:
            return changed(path)
    return None


# ------------------------------ raw files and splits


def of_splits(made_from, options, name, raw, folder):
    """Prepared splits are known by their raw files, those that were put there by hand by what they hold."""
    from preparation import dislikes, splits

    protocol, reading, had = options.run.protocol, options.run.reading, made_from["raw"]
    if protocol and options.run.split == "time":  # made of the raw files
        now = had
        if are_here(name, raw):
            now = splits.fingerprint(name, raw, reading, remembered_sha256)
            now |= {"rules": dislikes.RULES_VERSION} | reading
        own = folder_of_splits(folder, protocol)
        return of_raw(had, now, raw) or of_parts(made_from, name, own, dislikes.ALL_PARTS)

    # What main.py would make the splits from now, what those there are made from, and what the run's were made from.
    by_hand, now = splits.by_hand(name, folder), None
    if by_hand or are_here(name, raw):
        now = splits.origin(name, raw, folder, reading, remembered_sha256)
    up_to_date = by_hand or now is None or read_stamp(folder / "prepared.json").get("made_from") == now
    if by_hand:
        had = {file: had.get(file) for file in now}  # the titles: the ratings are not read
    elif "rules" not in had:  # the run's were put there by hand
        if not up_to_date:
            return f"holds a finished run on splits of which it is not known whether they were made of {raw}"
        had = now
    other = now is not None and of_raw(had, now, raw)
    if other:
        return other

    # Where the splits there are of other files they are made anew, and those of the same files are the same.
    if not up_to_date:
        return None
    if protocol:
        return of_held_out(made_from, options, name, folder)
    return of_parts(made_from, name, folder, splits.PARTS)


def of_parts(made_from, name, folder, parts):
    """The CSVs of a folder of splits."""
    return of_digests({folder / f"{name}_{part}.csv": made_from[part] for part in parts})


def of_held_out(made_from, options, name, folder):
    """The CSVs of --hold_out, which are made of the published ones: where these are others now, or the rules are,
    main.py would make them anew."""
    from preparation import dislikes

    own = folder_of_splits(folder, options.run.protocol)
    had = read_stamp(own / "prepared.json").get("made_from", {})
    if had.get("rules", dislikes.RULES_VERSION) != dislikes.RULES_VERSION:
        return "holds a finished run on dislikes that were held out by other rules"
    published = {folder / file: digest for file, digest in had.items() if file != "rules"}
    return of_digests(published) or of_parts(made_from, name, own, dislikes.ALL_PARTS)


def are_here(name, raw):
    """Whether the raw files are: those of a known data set need not be."""
    from preparation import fetch

    return name not in DATASETS or not fetch.missing_files(DATASETS[name], raw)


def of_raw(had, now, raw):
    """The first raw file, or flag, that is another.  had, now: {name: SHA-256, or value}."""
    for file in sorted(had.keys() | now.keys(), key=lambda file: (file in HOW, file)):
        if had.get(file) != now.get(file):
            return changed(HOW.get(file, raw / file if raw.is_dir() else raw.parent / file))
    return None


def of_events(made_from, options, name, raw):
    """CoNRec reads the raw files themselves, vectors or an encoder, and a language model."""
    from preparation import splits

    if are_here(name, raw):
        now = splits.fingerprint(name, raw, options.run.reading, remembered_sha256)
        had = {made_from["train_csv"]: made_from["sha256"]}
        if made_from["item_file"]:
            had[made_from["item_file"]] = made_from["items"]
        other = of_raw(had, now, raw)
        if other:
            return other
    settings, of_items, digests = options.recommender, made_from.get("vectors", {}), {}
    if settings.conrec_embeddings:
        digests[Path(settings.conrec_embeddings)] = of_items.get("embeddings")
    for model, had in ((settings.conrec_encoder, of_items.get("encoder")), (settings.llm, made_from.get("backbone"))):
        if isinstance(had, dict):  # else the version of a public model
            digests |= {Path(model) / file: digest for file, digest in had.items()}
    return of_digests(digests)


# ------------------------------ labels, vectors and runs


def of_labels(config, options, name, folder):
    """Refined ratings: somebody's, in the data folder, or those of a language model below it."""
    if options.run.dataset_augment != "augment":
        return None
    wanted = config["made_from"]["sha256"]
    labels = folder / f"{name}_train_augment.csv"
    if options.refinement.llm == "auto" and not options.refinement.llm_url:
        if labels.exists():
            same = remembered_sha256(labels) == wanted
            if options.run.protocol:  # then trained on what remains of them
                same = config["made_from"].get("labels") == folder_of_found(labels)
            return None if same else changed(labels)
        if config["settings"].get("llm") != DEFAULT_LLM:
            return f"holds a finished run on the labels of {config['settings'].get('llm')}, not of {DEFAULT_LLM}"
    folder = folder_of_splits(folder, options.run.protocol)
    own = config["made_from"].get("labels")
    source = Path(options.refinement.llm_labels or "") / f"{name}_train_augment.csv"
    if options.refinement.llm_labels and own and source.exists() and git_blob_id(source)[:8] not in own:
        return changed(source)
    return of_digests({folder / "feedback" / str(own) / f"{name}_train_augment.csv": wanted})


def of_vectors(made_from, settings):
    """Hard negatives, which HNLMRec was trained with."""
    had = made_from.get("negatives")
    if not had:
        return None
    folder = Path(settings.hn_folder or had["folder"])
    return of_digests({folder / file: digest for file, digest in had["sha256"].items()})
