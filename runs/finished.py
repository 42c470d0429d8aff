"""Whether a run folder holds the finished run of these settings, made from the files that are there now.

A file that is gone since is no contradiction: results may be looked at without the data.  One that is another now is.
Nothing is written but .hashes beside large files (utils.remembered_sha256), so that asking again takes no time.
"""

import json
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
    other = what_is_other(folder, options, where)
    if other:
        raise InputError(f"{folder}: {other}; {cure(folder)}")
    return (folder / "summary.json").exists()


def cure(folder):
    return f"delete {folder} to have it run anew, or give another --result_dir"


def what_is_other(folder, options, where):
    """What tells a finished run from the one that is asked for, in words; None where nothing does, or none is there."""
    if not (folder / "summary.json").exists():
        return None
    try:
        summary = dict(read_json(folder / "summary.json"))
        config = read_config(folder)
    except (ValueError, TypeError, InputError, OSError):
        return "holds a finished run whose summary.json or config.json cannot be read"
    return (
        of_settings(config["settings"], options)
        or of_flags(summary.get("flags", {}), options, where[0])
        or of_files(config, options, where)
    )


def of_settings(before, options):
    """The settings that differ, but for those that were left open for the run to settle (auto, or None)."""
    for flag, value in options.effective().items():
        if flag in NOT_COMPARED or flag not in before or value in (None, "auto"):
            continue
        if value != before[flag]:
            return f"holds a finished run with --{flag} {in_words(before[flag])}, not {in_words(value)}"
    return None


def of_flags(had, options, name):
    """The flags of the experiment that differ: also what a run was given that is now left open, or the other way round.

    had: "flags" of its summary.
    """
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
    return (
        of_splits(made_from, options, name, raw, folder)
        or of_labels(config, options, name, folder)
        or of_vectors(made_from, options.recommender)
        or of_runs(made_from.get("blended", []), getattr(options.recommender, "blend", []))
    )


def changed(path):
    return f"holds a finished run that was made from another {path} than the one there now"


# ------------------------------------------------------------------------------------- raw files and splits


def of_splits(made_from, options, name, raw, folder):
    """Prepared splits are known by their raw files, those that were put there by hand by what they hold."""
    from preparation import splits

    protocol = options.run.protocol
    if protocol and options.run.split == "time":  # made of the raw files
        return of_split_in_time(made_from, options, name, folder, raw)
    paths = {part: folder / f"{name}_{part}.csv" for part in splits.PARTS}
    own = {} if protocol else own_parts(made_from, options, splits.PARTS)

    # What the splits there are made from, what main.py would make them from now, and what the run's were made from.
    by_hand = splits.by_hand(name, folder)
    stamp = read_stamp(folder / "prepared.json")
    now, had = origin_now(name, raw, folder, options.run.reading), made_from.get("raw")
    up_to_date = by_hand or now is None or stamp.get("made_from") == now
    if had is None and stamp and are_the_same(own, stamp["made"], paths):
        had = stamp["made_from"]  # a run of an older version, which does not say it
    if by_hand and had:
        had = {file: had.get(file) for file in now}  # the titles: the ratings are not read
    elif had is None or "rules" not in had:
        if not up_to_date:
            return f"holds a finished run on splits of which it is not known whether they were made of {raw}"
        had = now
    if now is not None and had is not None and had != now:
        return changed(which_differs(had, now, raw))

    # Where the splits there are of other files they are made anew, and those of the same files are the same.
    if not up_to_date:
        return None
    return of_held_out(made_from, options, name, folder) if protocol else of_parts(own, paths)


def own_parts(made_from, options, parts):
    """{part: SHA-256} of the CSVs that a run was made from, None where it does not say."""
    own = {part: made_from.get(part) for part in parts}
    if options.run.dataset_augment == "original" and options.run.model != "Blend":
        own["train_original"] = made_from["sha256"]
    return own


def of_parts(own, paths):
    for part, path in paths.items():
        if own[part] and path.exists() and remembered_sha256(path) != own[part]:
            return changed(path)
    return None


def of_held_out(made_from, options, name, folder):
    """The CSVs of --hold_out, which are made of the published ones: where these are others now, or the rules are,
    main.py would make them anew."""
    from preparation import dislikes, splits

    own = folder_of_splits(folder, options.run.protocol)
    had = read_stamp(own / "prepared.json").get("made_from", {})
    if had.get("rules", dislikes.RULES_VERSION) != dislikes.RULES_VERSION:
        return "holds a finished run on dislikes that were held out by other rules"
    for part in splits.PARTS:
        path = folder / f"{name}_{part}.csv"
        if path.name in had and path.exists() and remembered_sha256(path) != had[path.name]:
            return changed(path)
    return of_parts_held_out(made_from, options, name, own)


def of_split_in_time(made_from, options, name, folder, raw):
    """The CSVs of --split time, which are made of the raw files."""
    from preparation import dislikes, fetch

    if name not in DATASETS or not fetch.missing_files(DATASETS[name], raw):
        now, had = dislikes.origin_in_time(name, raw, options.run.reading, remembered_sha256), made_from["raw"]
        if had != now:
            return changed(which_differs(had, now, raw))
    return of_parts_held_out(made_from, options, name, folder_of_splits(folder, options.run.protocol))


def of_parts_held_out(made_from, options, name, own):
    from preparation.dislikes import ALL_PARTS

    paths = {part: own / f"{name}_{part}.csv" for part in ALL_PARTS}
    return of_parts(own_parts(made_from, options, ALL_PARTS), paths)


def are_the_same(own, made, paths):
    """Whether the hashes that a run knows are those of prepared.json."""
    return all(made.get(paths[part].name) == digest for part, digest in own.items() if digest)


def origin_now(name, raw, folder, reading):
    """As splits.origin: what main.py would make the splits from.  None for a known data set that is not here."""
    from preparation import fetch, splits

    by_hand = splits.by_hand(name, folder)
    if not by_hand and name in DATASETS and fetch.missing_files(DATASETS[name], raw):
        return None
    return splits.origin(name, raw, folder, reading, remembered_sha256)


def which_differs(had, now, raw):
    """The path of the first raw file that is another, or what else is."""
    for file in sorted(had.keys() | now.keys(), key=lambda file: (file in HOW, file)):
        if had.get(file) != now.get(file):
            return HOW.get(file, raw / file if raw.is_dir() else raw.parent / file)


def of_events(made_from, options, name, raw):
    """CoNRec reads the raw files themselves, vectors or an encoder, and a language model."""
    from preparation import fetch, splits

    if name not in DATASETS or not fetch.missing_files(DATASETS[name], raw):
        now = splits.fingerprint(name, raw, options.run.reading, remembered_sha256)
        had = {made_from["train_csv"]: made_from["sha256"]}
        if made_from["item_file"]:
            had[made_from["item_file"]] = made_from["items"]
        if had != now:
            return changed(which_differs(had, now, raw))
    settings, of_items = options.recommender, made_from.get("vectors", {})
    if "embeddings" in of_items and settings.conrec_embeddings:
        path = Path(settings.conrec_embeddings)
        if path.exists() and remembered_sha256(path) != of_items["embeddings"]:
            return changed(path)
    for model, had in ((settings.conrec_encoder, of_items.get("encoder")), (settings.llm, made_from.get("backbone"))):
        for file, digest in had.items() if isinstance(had, dict) else ():  # else the version of a public model
            path = Path(model) / file
            if path.exists() and remembered_sha256(path) != digest:
                return changed(path)
    return None


# ------------------------------------------------------------------------------------- labels, vectors and runs


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
    if own:
        path = folder / "feedback" / own / f"{name}_train_augment.csv"
        return changed(path) if path.exists() and remembered_sha256(path) != wanted else None
    # A run of an older version does not say in which folder they lie, and not which ratings they were made of.
    made = list(folder.glob(f"feedback/*/{name}_train_augment.csv"))
    original = folder / f"{name}_train_original.csv"
    for path in made:
        if remembered_sha256(path) == wanted and was_made_of(path, original):
            return None
    return f"holds a finished run on refined ratings that are no longer in {folder}/feedback" if made else None


def was_made_of(labels, original):
    """Whether refined ratings were made of the ratings that are there now, as far as the answers beside them tell."""
    answers = labels.with_name("answers.jsonl")
    if not (answers.exists() and original.exists()):
        return True
    with open(answers, encoding="utf-8") as f:
        return json.loads(f.readline() or "{}").get("ratings") == remembered_sha256(original)


def of_vectors(made_from, settings):
    """Hard negatives, which HNLMRec was trained with."""
    had = made_from.get("negatives")
    if not had:
        return None
    folder = Path(settings.hn_folder or had["folder"])
    for file, digest in had["sha256"].items():
        if (folder / file).exists() and remembered_sha256(folder / file) != digest:
            return changed(folder / file)
    return None


def of_runs(hashes, folders):
    """Other runs that this one is made of.  Blends of older versions do not know their hashes."""
    for digest, folder in zip(hashes, folders, strict=False):
        path = Path(folder) / "summary.json"
        if digest and path.exists() and remembered_sha256(path) != digest:
            return changed(path)
    return None
