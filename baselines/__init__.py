"""The comparison systems, one file each, under the protocol of ReFINe++.

Every model has the verbs loss(batch), embeddings() and start_epoch(epoch), parameter_groups() for the optimiser and a
generator for its sampling (see model.py), and says of itself

    trains_on     the train rows its batches are made of: "positive" (>= 4), "signed" (and <= 1), "all"
    solutions     None for a model trained by gradient; how many solutions a closed-form one has, one an epoch
    flags         the model flags it has a use for
    defaults      what these and the training flags are where none is given and the data set does not say
    terms         (of an instance) what it is made of, for the log
"""

from baselines import ease, refine, siren
from baselines.ease import EASE
from baselines.lightgcn import LightGCN
from baselines.popularity import Popularity
from baselines.refine import ReFINe
from baselines.siren import SiReN
from model import ReFINePlusPlus

MODELS = {
    "Popularity": Popularity,
    "EASE": EASE,
    "LightGCN": LightGCN,
    "ReFINe": ReFINe,
    "SiReN": SiReN,
    "ReFINe++": ReFINePlusPlus,
}


def add_flags(group):
    """group: add_argument_group of the parser."""
    for name, file in {"ReFINe": refine, "SiReN": siren, "EASE": ease}.items():
        file.add_flags(group(name).add_argument)
