"""One run over several processes: seconds and bytes a step.

    python benchmarks/devices.py                              ML-1M's and Amazon_Books' shapes, 1 and 2 processes
    python benchmarks/devices.py ML-1M --processes 1 2 4      with one core each, or one card each with --device cuda

ReFINe++ on the synthetic ratings of benchmarks/epoch.py, with its default settings.

    ms a step      median of the wall clock, of process 0
    CPU ms         what each process computed meanwhile (median), waiting left out: holds on a busy machine, too
    MB a step      what each process hands to all-reduce, which sends 2 (W - 1) / W times as much
    exchanges      calls of all-reduce a step
    peak MB        of the largest process
"""

import argparse
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import epoch
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from machine import hardware, processes
from runs import run_folder

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
def measure(number, size, shape, steps, device, folder):
    """One of `size` processes.  The first writes its figures to folder/figures.pt."""
    if device == "cuda":
        torch.cuda.set_device(number)
    else:
        torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    hardware.keep_freed_memory()
    device = torch.device(device)
    if size > 1:
        processes.join(device, f"file://{folder}/meet?rank={number}&world_size={size}")

    *sizes, layers = epoch.SHAPES[shape]
    data = epoch.synthetic(*sizes, device)
    hardware.reset_peak_memory(device)
    model = processes.cut(epoch.build(data, layers))
    step = epoch.fast_step(model, torch.optim.Adam(model.parameter_groups(), lr=1e-3, fused=True))
    exchanged = Exchanged()
    seconds, computed = [], []
    for batch in islice(data.batches(1024, torch.Generator().manual_seed(0)), steps + WARM_UP):
        processes.largest(0)  # as training agrees on whether to save
        began = time.process_time()
        seconds += epoch.seconds_of(lambda batch=batch: step(batch), 1, device)
        computed.append(time.process_time() - began)
    milliseconds = [round(1e3 * statistics.median(taken[WARM_UP:])) for taken in (seconds, computed)]
    figures = processes.largest(*milliseconds, hardware.peak_memory_mb(device))
    if number == 0:
        per_step = exchanged.bytes / (steps + WARM_UP), exchanged.calls / (steps + WARM_UP)
        torch.save((*figures, *per_step), Path(folder) / "figures.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", default=["ML-1M", "Amazon_Books"], help=f"of {', '.join(epoch.SHAPES)}")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    if set(options.shapes) - set(epoch.SHAPES):
        parser.error(f"shapes are {', '.join(epoch.SHAPES)}")
    name = hardware.device_name(torch.device(options.device)) if options.device == "cuda" else "cpu (1 thread each)"
    print(f"{name}, torch {torch.__version__}, commit {run_folder.commit()}")
    for shape in options.shapes:
        users, items, edges, _, layers = epoch.SHAPES[shape]
        print(f"\n{shape}: {users} users, {items} items, {edges} edges, {layers} layers")
        print("  processes  ms a step     CPU ms    peak MB  MB a step  exchanges")
        for size in options.processes:
            with tempfile.TemporaryDirectory() as folder:
                mp.spawn(measure, (size, shape, options.steps, options.device, folder), size)
                wall, computed, memory, handed, calls = torch.load(Path(folder) / "figures.pt")
            print(f"  {size:9} {wall:10} {computed:10} {memory:10} {handed / 1e6:10.2f} {calls:10.1f}", flush=True)


if __name__ == "__main__":
    main()
