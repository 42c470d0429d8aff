"""The comparison systems, one file each, under the protocol of ReFINe++.

What a model must have: recommender.Recommender.
"""

from baselines import ease, hnlmrec, refine, samplers, siren
from baselines.ease import EASE
from baselines.hnlmrec import HNLMRec
from baselines.lightgcn import MF, LightGCN
from baselines.popularity import Popularity
from baselines.refine import ReFINe
from baselines.siren import SiReN
from model import ReFINePlusPlus

MODELS = {
    "Popularity": Popularity,
    "EASE": EASE,
    "MF": MF,
    "LightGCN": LightGCN,
    "ReFINe": ReFINe,
    "SiReN": SiReN,
    "HNLMRec": HNLMRec,
    "ReFINe++": ReFINePlusPlus,
}


def add_flags(group):
    """group: add_argument_group of the parser."""
    refine.add_flags(group("ReFINe").add_argument)
    siren.add_flags(group("SiReN").add_argument)
    ease.add_flags(group("EASE").add_argument)
    samplers.add_flags(group("MF, LightGCN and HNLMRec").add_argument)
    hnlmrec.add_flags(group("HNLMRec").add_argument)
