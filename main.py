"""ReFINe++: a recommender that models negative feedback refined by a language model.

    python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
    python main.py --dataset ML-100K --dataset_augment original   the same without refinement
    python main.py --dataset ML-100K --model LightGCN             a system it is compared with (baselines/)
    python main.py --dataset path/to/folder                       your own .inter and .item
    python main.py --dataset ML-100K --resume                     go on with a run that was interrupted
    python main.py --recommend 42 --run result/ML-100K/NAME       what a finished run recommends to user 42

Three stages: prepare (preparation/) and refine (feedback/), each skipped when its result is already on disk and
belongs to the same input, and train (training/, model.py), which never overwrites a run folder.
"""

import sys
from importlib import import_module

from machine import shell
from options import command_line
from options.models import MODELS
from options.run_name import run_name
from preparation.locate import locate
from runs import run_folder
from utils import InputError


def main(argv=None):
    """What can be said without torch is said first; then experiment.py, which takes seconds to import, does the job."""
    options = command_line.parse(argv, examples=__doc__.partition("\n\n")[2])
    if "recommend" in options:
        model = run_folder.model_of(options.run)
        if model not in MODELS:
            raise InputError(f"{options.run}: is a run of {model}, a model that this version does not have")
        return import_module(MODELS[model].look).recommend(options)
    if "filter" in options:
        from conrec.results.filter_lists import apply

        return apply(options)

    if options.model == "Blend" and (not options.blend or options.dataset_augment != "original"):
        raise InputError("--model Blend: needs --blend RUN RUN, and no --dataset_augment: the first one's counts")

    # the data set and the run folder
    name, raw, folder = locate(options.dataset, options.data_dir)
    command_line.of_data_set(options, name)
    options.path_name = options.path_name or run_name(options, name, folder)
    with run_folder.run_at(options.result_dir / name / options.path_name) as run:
        run.check(options.resume, getattr(options, "epochs", None))
        fit = import_module(MODELS[options.model].job).fit
        fit(name, raw, folder, options, run)


if __name__ == "__main__":
    sys.exit(shell.cli(main))
