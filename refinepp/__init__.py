"""The results from any folder:  import sys; sys.path.append("/path/to/this/checkout"), then

    from refinepp import load_run, refine, InputError

    load_run(folder)          a finished run: .recommend, .recommend_all, .similar, .export   (recommend.py)
    refine(ratings, items)    what a language model makes of a DataFrame of ratings            (feedback/labels.py)

The modules of this project have names that others have, too: utils, model, main.  So they live in a table of modules of
their own, which is in sys.modules while one of them is imported or one of these functions runs, and never else: the
caller's utils.py is what `import utils` finds, before and after, and it is not what this project finds.
"""

import sys
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = {path.stem for path in ROOT.glob("*.py")} | {path.parent.name for path in ROOT.glob("*/__init__.py")}
NAMES -= {__name__}

modules = {}  # of this project, by name, as sys.modules has them


@contextmanager
def at_home():
    """sys.modules and sys.path as in the checkout, and as the caller had them afterwards."""
    callers = taken()
    path = list(sys.path)
    sys.modules.update(modules)
    sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        modules.update(taken())
        sys.modules.update(callers)
        sys.path[:] = path


def taken():
    """Take what has a name of NAMES, or is in a package of that name, out of sys.modules: {name: module}."""
    names = [name for name in sys.modules if name.partition(".")[0] in NAMES]
    return {name: sys.modules.pop(name) for name in names}


def from_home(module, name):
    """A function of this project that always runs at home: some imports happen when they are needed."""
    with at_home():
        function = getattr(import_module(module), name)

    @wraps(function)
    def run(*arguments, **more):
        with at_home():
            return function(*arguments, **more)

    return run


with at_home():
    from utils import InputError

load_run = from_home("recommend", "load_run")
refine = from_home("feedback.labels", "refine")

__all__ = ["InputError", "load_run", "refine"]
