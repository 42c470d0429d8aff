"""Training that is counted step by step, and interrupted in one of them."""

import os

from options.models import model_class


def count_steps(patch, model, then=lambda step: None):
    """Calls then(number of the step, from 1) in every loss of the model; returns the list it counts with."""
    steps, kind = [], model_class(model)
    loss = kind.loss

    def counted(self, batch):
        steps.append(batch)
        then(len(steps))
        return loss(self, batch)

    patch.setattr(kind, "loss", counted)
    return steps


def signal_at(at, number):
    return lambda step: os.kill(os.getpid(), number) if step == at else None
