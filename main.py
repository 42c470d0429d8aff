"""ReFINe++: a recommender that models negative feedback refined by a language model.

Three stages: prepare (preparation/) and refine (feedback/), each skipped when its result is already on disk and
belongs to the same input, and train (training/, model.py), which never overwrites a run folder.
"""

import sys
from importlib import import_module

from machine import shell
from options import command_line
from options.models import MODELS
from options.run import LookingSettings
from options.run_name import run_name
from preparation.locate import locate
from runs import interrupted, run_folder
from utils import InputError, is_first

EXAMPLES = """\
examples:
  python main.py --dataset ML-100K                              fetch, prepare, refine, train, test, compare
  python main.py --dataset ML-100K --dataset_augment original   the same without refinement
  python main.py --dataset ML-100K --model LightGCN             a system it is compared with (baselines/)
  python main.py --dataset path/to/folder                       your own .inter and .item
  python main.py --dataset ML-100K --resume                     go on with a run that was interrupted
  python main.py --recommend 42 --run result/ML-100K/NAME       what a finished run recommends to user 42"""


def main(argv=None):
    """What can be said without torch is said first; then experiment.py, which takes seconds to import, does the job."""
    options = command_line.parse(argv, EXAMPLES)
    if isinstance(options, LookingSettings):
        return look(options)

    # the data set and the run folder
    name, raw, folder = locate(options.run.dataset, options.run.data_dir)
    options.fill_in_of_data_set(name)
    options.run.path_name = options.run.path_name or run_name(options, name, folder)
    place = options.run.result_dir / name / options.run.path_name
    kind = run_folder.Run if is_first() else run_folder.Onlooker
    with kind(place, options.run.json, options.run.tensorboard) as run:
        interrupted.refuse_where_another_is_meant(run, options)
        run.check(options.run.resume, getattr(options.run, "epochs", None))
        run.log(f"{options.run.model} on {name}, run folder {run.folder}")  # what is imported now takes seconds
        fit = import_module(options.row.job).fit
        fit(name, raw, folder, options, run)


def look(looking):
    """Print what a finished run recommends or predicts, or filter what another one recommends."""
    if looking.filter:
        from conrec.results.filter_lists import apply

        return apply(looking)
    run_folder.require_finished(looking.run)
    model = run_folder.read_config(looking.run)["settings"].get("model")
    if model not in MODELS:
        raise InputError(f"{looking.run}: is a run of {model}, a model that this version does not have")
    return import_module(MODELS[model].look).recommend(looking)


if __name__ == "__main__":
    sys.exit(shell.cli(main))
