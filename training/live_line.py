"""What a terminal shows while a model trains: one line that is rewritten, in place of the lines of each epoch."""

import sys
import time

from tqdm import tqdm


def on_terminal(bar):
    """Whether somebody looks at this tqdm bar (stderr) and at what is printed (stdout)."""
    return not bar.disable and sys.stdout.isatty()


class LiveLine:
    """epoch 13/1000 40%, at most 00:56 more, 1.2 s/epoch, Recall@20 0.4021, best 0.4100 in 9, patience 3/50, loss ...

    Off where stderr is no terminal, and cut off at its right edge: what people look for first stands first, so that 80
    columns show it.  The time is that until the latest end if no better epoch comes.
    """

    def __init__(self, state, settings):
        """state: checkpoint.TrainingState, read only.  settings: TrainingSettings."""
        self.state, self.settings = state, settings
        self.began, self.epochs_before = time.perf_counter(), state.epoch
        form = "{desc} {percentage:.0f}%{postfix}"
        self.bar = tqdm(total=state.n_steps, bar_format=form, leave=False, disable=None, dynamic_ncols=True)
        self.shows_epochs = not on_terminal(self.bar)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.bar.close()

    def start_epoch(self):
        self.bar.set_description_str(f"epoch {self.state.epoch + 1}/{self.settings.epochs}", refresh=False)
        self.bar.reset()
        self.bar.update(self.state.step)

    def step(self):
        self.bar.update()

    def end_epoch(self, row):
        """row: of metrics.csv; state.epoch has counted it."""
        epoch, stopping = self.state.epoch, self.state.stopping
        epochs_left = min(stopping.patience - stopping.counter, self.settings.epochs - epoch)
        seconds = (time.perf_counter() - self.began) / (epoch - self.epochs_before)
        words = [
            f"at most {tqdm.format_interval(seconds * epochs_left)} more",
            f"{seconds:.2g} s/epoch",
            f"{self.settings.chosen_by} {self.settings.score_of(row):.4f}",
            f"best {stopping.best_score:.4f} in {stopping.best_epoch}",
            f"patience {stopping.counter}/{stopping.patience}",
            f"loss {row['loss']:.4f}",
        ]
        self.bar.set_postfix_str(", ".join(words), refresh=False)
