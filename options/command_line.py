"""The command line of main.py: argv -> the settings of a run, by class.

    parse              argv -> Options, or LookingSettings where a finished run is looked at
    make               {flag: value} -> Options, with the defaults of the model and of the data set
    Options.effective  what a run uses, and nothing that it ignores: for config.json and the log
    Options.changed    what is not at its default: for the name of a run and its summary

Flags are declared in the other files of this folder.  Nothing here takes long to import, so that --help, a typo and a
refused flag are answered at once.
"""

import argparse
import difflib
import sys
from dataclasses import dataclass
from pathlib import Path

from machine import shell, version
from options.flag import check_value, declared_by, default_of, names_of, refuse_idle
from options.models import (
    MODELS,
    OFFICIAL,
    ConfirmedNegatives,
    Embeddings,
    Graph,
    Penalty,
    ReFINePlusPlusSettings,
    Sampler,
)
from options.negatives import StageSettings
from options.refinement import RefinementSettings
from options.run import (
    GIVE_ONE,
    MODEL,
    Evaluation,
    Files,
    Looking,
    LookingSettings,
    RunSettings,
    Training,
    WhatToRun,
)
from preparation.sources import DATASETS
from utils import InputError

ABOUT = "ReFINe++: a recommender that models negative feedback refined by a language model."
USAGE = "python main.py --dataset NAME [--model NAME] [flags]"
CLASSES = (  # that declare flags, in the order of help, log and config.json
    WhatToRun, RefinementSettings, Embeddings, Graph, ConfirmedNegatives, Penalty, ReFINePlusPlusSettings,
    Sampler, *(row.settings for row in MODELS.values()), StageSettings, Training, Evaluation, Files, Looking,
)  # fmt: skip
FLAGS = {each.name: each for cls in CLASSES for each in declared_by(cls)}


def names_that_are(mark):
    """The names of the flags that were declared with this mark, such as free."""
    return {name for name, each in FLAGS.items() if each.more.get(mark)}


# ------------------------------------------------------------------------------------------ what a run is given


@dataclass
class Options:
    """The settings of a run, by class.

    run         RunSettings, or TrainingSettings of a model that learns by gradient
    recommender the model's own
    refinement  RefinementSettings, None of a model that takes ratings as they are
    given       the flags that were given
    """

    run: RunSettings
    recommender: object
    refinement: RefinementSettings | None
    given: frozenset = frozenset()

    @property
    def row(self):
        return MODELS[self.run.model]

    @property
    def parts(self):
        return [part for part in (self.run, self.refinement, self.recommender) if part is not None]

    def values(self):
        """{flag: value} of all of them.  What the refinement has picked counts, not what was asked for."""
        found = {}
        for part in reversed(self.parts):
            found |= vars(part)
        return {name: found[name] for name in FLAGS if name in found}

    def idle(self):
        """{flag: why it changes nothing} beside the values of the others.

        A flag that several classes share changes nothing where none of them has a use for it.
        """
        without_use, in_use = {}, set()
        for part in self.parts:
            found = part.without_use()
            if part is self.refinement and self.run.dataset_augment == "original":
                why = "nothing is refined, the ratings are used as they are; add --dataset_augment augment"
                found = dict.fromkeys(vars(part), why)
            if part is self.run:
                found |= dict.fromkeys(self.row.ignores.split(), f"{self.run.model} has no use for it; leave it out")
            in_use |= vars(part).keys() - found.keys()
            for name, why in found.items():
                without_use[name] = without_use.get(name) or why
        return {name: why for name, why in without_use.items() if name not in in_use}

    def effective(self):
        """The effective settings, as plain JSON values: what the run uses, and nothing that it ignores."""
        without = self.idle().keys() | names_that_are("action")
        plain = {name: value for name, value in self.values().items() if name not in without}
        return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}

    def fill_in_of_data_set(self, name):
        """Fill in what the data set decides, where no flag does.  name: of the data set."""
        if name not in DATASETS:
            return
        for flag, value in DATASETS[name].defaults.items():
            for part in self.parts:
                if hasattr(part, flag) and flag not in self.given:
                    setattr(part, flag, value)

    def changed(self, name):
        """{flag: value} of the flags that are not at their defaults.  name: of the data set.

        --hn_official stands for what it fills in.
        """
        default = self.usual()
        default.fill_in_of_data_set(name)
        usual = default.values()
        if "hn_official" in usual:
            usual["hn_official"] = False
        return {flag: value for flag, value in self.values().items() if value != usual[flag]}

    def usual(self):
        """The Options of the same model on the same data set where no other flag is given but --hn_official."""
        given = {"dataset": self.run.dataset, "model": self.run.model}
        if getattr(self.recommender, "hn_official", False):
            given["hn_official"] = True
        return build(given)

    def ablation(self, name):
        """The changed model and training flags: what makes this run another experiment than its model's default."""
        about_training = {*names_of(Training), "dislike_cost"}
        own = vars(self.recommender).keys() - vars(self.run).keys() - set(names_of(RefinementSettings))
        return {flag: value for flag, value in self.changed(name).items() if flag in own or flag in about_training}


def make(given):
    """Options of {flag: value}; what is not given has the default of the model.

    Raises InputError for a flag that the model has no use for, whatever its value, and for one that another flag leaves
    without a use, where it is not at its default.
    """
    for name in sorted(given):
        check_value(FLAGS[name], given[name])
    options = build(given)
    refuse_foreign(given, options)
    for part in options.parts:
        part.check()
    refuse_idle(options.idle(), given, options.usual().values())
    return options


def build(given):
    """Options of {flag: value}, without any check."""
    row = MODELS[given.get("model", MODEL)]
    values = row.defaults | given
    if given.get("hn_official"):
        values = row.defaults | OFFICIAL | given

    def filled(cls):
        return cls(**{name: value for name, value in values.items() if name in names_of(cls)})

    refinement = filled(RefinementSettings) if row.refines else None
    return Options(filled(row.run_settings), filled(row.settings), refinement, frozenset(given))


def refuse_foreign(given, options):
    """Raises InputError for a flag of another model, and for one of every run that this model ignores."""
    used = options.values().keys() - set(options.row.ignores.split())
    for name in sorted(given.keys() - used):
        why = f"{options.run.model} has no use for it; leave it out"
        if name in names_of(Looking):
            why = "has no use without --run"
        elif name in names_of(RefinementSettings):
            why = f"{options.run.model} refines no ratings; leave it out"  # CoNRec
        raise InputError(f"--{name}: {why}")


def parse(argv=None, examples=""):
    """The command line -> Options, or LookingSettings where a finished run is looked at.

    examples: what the short --help ends with.  Raises InputError for a value out of range and for a flag that would
    change nothing.
    """
    given = vars(parser().parse_args(argv))
    if given.pop("help", False):
        print(help_on(given["model"]) if "model" in given else short_help(examples))
        sys.exit(0)
    if given.pop("version", False):
        print(version.in_words())
        sys.exit(0)
    looking = bool({"recommend", "stars", "similar", "filter", "run"} & given.keys())
    if looking == ("dataset" in given):
        raise InputError(GIVE_ONE)
    return make_looking(given) if looking else make(given)


def make_looking(given):
    """LookingSettings of {flag: value}."""
    known = {name: value for name, value in given.items() if name in names_of(LookingSettings)}
    looking = LookingSettings(**known)
    looking.check()
    for name in sorted(given):
        if name not in known:
            raise InputError(f"--{name}: has no use where a finished run is looked at; leave it out")
        check_value(FLAGS[name], given[name])
    refuse_idle(looking.without_use(), given, vars(LookingSettings()))
    return looking


# ------------------------------------------------------------------------------------------------- argparse


class Parser(argparse.ArgumentParser):
    """An error is one line and exit code 2, and says what a typo may have meant."""

    def error(self, message):
        words = message.removeprefix("unrecognized arguments: ").split()
        typo = words[0] if words and words[0].startswith("--") else ""
        hint = did_you_mean(typo, self._option_string_actions) if typo else ""
        sys.exit(shell.fail(f"{message}{hint} (--help lists the flags)"))

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            hint = did_you_mean(str(value), action.choices)
            choices = ", ".join(map(str, action.choices))
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint} (choose from {choices})")


def did_you_mean(word, known):
    """The known word that this one is most like, as the end of a message; "" where there is none."""
    by_lower = {each.lower(): each for each in known}
    close = difflib.get_close_matches(word.split("=")[0].lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]}?" if close else ""


def parser(names=None, title=None, **style):
    """A parser of these flags, or of all, with those given alone in what it returns.

    title: of one section for all of them, in place of the sections of the classes that declare them.
    """
    form = argparse.RawDescriptionHelpFormatter
    made = Parser(usage=USAGE, formatter_class=form, allow_abbrev=False, add_help=False, **style)
    groups = {}
    for name, each in FLAGS.items():
        if names is not None and name not in names:
            continue
        section = title or each.owner.title
        if section not in groups:
            groups[section] = made.add_argument_group(section)
        more = {key: each.more[key] for key in ("choices", "nargs", "metavar", "help") if key in each.more}
        if name == "model":
            more |= {"choices": list(MODELS), "metavar": "NAME"}
        if each.kind is bool:
            more["action"] = "store_true"
        else:
            more["type"] = each.more.get("type", each.kind)
            if "choices" not in more:
                more.setdefault("metavar", {int: "N", float: "X", Path: "PATH"}.get(more["type"], "NAME"))
        groups[section].add_argument(f"--{name}", default=argparse.SUPPRESS, **more)
    made.add_argument("-h", "--help", action="store_true", default=argparse.SUPPRESS, help="this help")
    made.add_argument("--version", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return made


def with_defaults(made, model):
    """The parser's help as text, each flag with the default that a model has."""
    for action in made._actions:
        if action.dest not in FLAGS:  # --help
            continue
        default = default_for(MODELS[model], action.dest)
        if default in (None, []):
            default = FLAGS[action.dest].more.get("default_words")
        if default is None or default is False:  # 0 is a default
            continue
        words = [" ".join(map(str, default)) if isinstance(default, list) else str(default)]

        # where it is another
        others = {data_set: known.defaults for data_set, known in DATASETS.items()}
        if model == "HNLMRec":
            others["--hn_official"] = OFFICIAL
        for other, defaults in others.items():
            if defaults.get(action.dest, default) != default:
                words.append(f"{other}: {defaults[action.dest]}")
        action.help += f" (default: {'; '.join(words)})"
    return made.format_help().rstrip()


def default_for(row, name):
    """The default that a model has of a flag.  row: of MODELS."""
    if name in row.defaults:
        return row.defaults[name]
    for cls in (row.run_settings, row.settings):
        if name in names_of(cls):
            return default_of(cls, name)
    return default_of(FLAGS[name].owner, name)


def short_help(examples):
    """What to begin with: fits on two screens."""
    lines = ["models:"]
    for name in sorted(MODELS, key=lambda name: name != MODEL):  # the default first
        lines.append(f"  {name:12}{MODELS[name].about}")
    all_flags = "All flags of a model, with their defaults: python main.py --model NAME --help"
    lines += ["", f"{all_flags}; which code this is: --version", "", examples]
    made = parser(names_that_are("common"), "most used", description=ABOUT, epilog="\n".join(lines))
    return with_defaults(made, MODEL)


def help_on(model):
    """All flags that a model has a use for; those of the refinement where it is refined unless told otherwise."""
    row = MODELS[model]
    names = {*names_of(row.run_settings), *names_of(row.settings)} - set(row.ignores.split())
    end = ""
    if model == "CoNRec":
        names |= set(names_of(Looking))  # --filter
    if row.defaults.get("dataset_augment") == "augment":
        names |= set(names_of(RefinementSettings))
    elif row.refines:
        end = f"With --dataset_augment augment also the flags of the language model, as in --model {MODEL} --help"
    return with_defaults(parser(names, description=f"{model}: {row.about}.", epilog=end), model)
