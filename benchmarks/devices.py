"""One run over several processes: seconds and bytes a step.

    python benchmarks/devices.py                                       ML-1M's shape, 1 and 2 processes
    python benchmarks/devices.py --shapes Amazon_Books --processes 1 2 4
    python benchmarks/devices.py --device cuda                         one card each instead of one core each

ReFINe++ on synthetic ratings, with its default settings.

    ms           of a step: median of the wall clock, of process 0
    CPU ms       what each process computed meanwhile (median), waiting left out: holds on a busy machine, too
    peak MB      of the largest process
    MB sent      what each process hands to all-reduce in a step, which sends 2 (W - 1) / W times as much
    exchanges    calls of all-reduce a step
"""

import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import harness
import pandas as pd
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from machine import hardware, processes

WARM_UP = 2  # steps


class Exchanged:
    """Counts what goes through all-reduce."""

    def __init__(self):
        self.calls = self.bytes = 0
        self.all_reduce = dist.all_reduce
        dist.all_reduce = self

    def __call__(self, tensor, *arguments):
        self.calls += 1
        self.bytes += tensor.nbytes
        return self.all_reduce(tensor, *arguments)


@processes.together()
def measure(number, size, shape, options, folder):
    """One of `size` processes.  The first writes its row of the table to folder/row.pt."""
    device = torch.device(options.device)
    if device.type == "cuda":
        torch.cuda.set_device(number)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    hardware.keep_freed_memory()
    if size > 1:
        processes.join(device, f"file://{folder}/meet?rank={number}&world_size={size}")

    data = harness.ratings_of(shape, device)
    hardware.reset_peak_memory(device)
    model = processes.cut(harness.build("ReFINe++", data, shape))
    step = harness.training_step(model, harness.fused_adam(model))
    exchanged = Exchanged()
    seconds, computed = [], []
    for batch in islice(data.batches(1024, torch.Generator().manual_seed(0)), options.steps + WARM_UP):
        processes.largest(0)  # as training agrees on whether to save
        began, started = time.process_time(), time.perf_counter()
        step(batch)
        harness.wait_for(device)
        seconds.append(time.perf_counter() - started)
        computed.append(time.process_time() - began)
    ms = [round(1000 * statistics.median(taken[WARM_UP:])) for taken in (seconds, computed)]
    wall, cpu, peak = processes.largest(*ms, hardware.peak_memory_mb(device))
    if number == 0:
        n = options.steps + WARM_UP
        row = {"ms": wall, "CPU ms": cpu, "peak MB": peak}
        torch.save(row | {"MB sent": exchanged.bytes / 1e6 / n, "exchanges": exchanged.calls / n}, folder / "row.pt")


def main():
    parser = harness.parser_for(__doc__, ["ML-1M"])
    parser.set_defaults(device="cpu")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    harness.start(options)
    for shape in options.shapes:
        harness.print_shape(shape)
        rows = {}
        for size in options.processes:
            with tempfile.TemporaryDirectory() as folder:
                mp.spawn(measure, (size, shape, options, Path(folder)), size)
                rows[f"{size} processes"] = torch.load(Path(folder) / "row.pt")
        harness.print_table(pd.DataFrame(rows).T)


if __name__ == "__main__":
    main()
