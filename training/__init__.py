"""What every model has and how it is trained: the model's interface, sampling, the loop, checkpoints, evaluation."""
