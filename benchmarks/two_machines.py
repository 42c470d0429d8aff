"""One run over two machines: are its losses and metrics those of one process?  As root, on Linux.

    python benchmarks/two_machines.py                                  examples/tiny: about a minute
    python benchmarks/two_machines.py --dataset ML-100K --epochs 3     fetches ML-100K

The machines are two network namespaces joined by a virtual cable (veth): addresses, ports, host name and loopback of
their own, one file system.  torchrun starts one process in each.  Neither host name resolves to anything and nothing
outside answers, so this also tests what docs/runs.md says to do about that.

The one process comes first.  It fetches and prepares the data, for the namespaces have no way out.  Namespaces and
files are removed at the end, also after an error, Ctrl-C or SIGTERM.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from runs import run_folder

CABLE = "eth0"  # its end in either namespace
ADDRESSES = ("192.0.2.1", "192.0.2.2")  # RFC 5737: of no real network
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "GLOO_SOCKET_IFNAME": CABLE,  # else gloo takes the address of the host name, here none, and then loopback
    "RES_OPTIONS": "timeout:1 attempts:1",  # nobody answers a look-up of a name
}
ROUNDING = 0.01  # docs/runs.md: what another order of sums may change
NEEDED = {"ip": "iproute2", "unshare": "util-linux", "hostname": "hostname"}  # program -> package


# ------------------------------------------------------------------------------------------- the machines


@contextmanager
def two_machines():
    """The names of two namespaces joined by a cable.  At the end what runs in them is killed and they are removed."""
    names = [f"machine{number}-{os.getpid()}" for number in (1, 2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", CABLE, "netns", names[0], "type", "veth", "peer", "name", CABLE, "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/30", "dev", CABLE)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", CABLE, "up")
        yield names
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
        for name in names:
            remove(name)


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def remove(name):
    """Kill what runs in a namespace and delete it.  The cable goes with it."""
    if not Path("/run/netns", name).exists():  # it was never made
        return
    # torchrun gives its workers sessions of their own, so that a signal to torchrun's group would not reach them.
    for _ in range(50):  # 5 s: the files can be removed only when nobody writes any more
        pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
        if not pids:
            break
        for pid in map(int, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    subprocess.run(["ip", "netns", "delete", name])


def received(name):
    """Bytes that came in over the cable."""
    return json.loads(ip("-n", name, "-j", "-s", "link", "show", CABLE))[0]["stats64"]["rx"]["bytes"]


# ------------------------------------------------------------------------------------------- the runs


def train_in_one(command, base, seconds):
    with open(base / "one.out", "w") as output:
        try:
            done = subprocess.run(command, env=ENVIRONMENT, stdout=output, stderr=output, timeout=seconds)
        except subprocess.TimeoutExpired:
            sys.exit(f"error: one process: not at its end after {seconds} s")
    if done.returncode:
        sys.exit(f"error: one process: {reason(base / 'one.out')}")


def train_in_two(command, base, seconds, names):
    """One process on each machine, started with the line of docs/runs.md."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:29400"]
    outputs = [base / f"{name}.out" for name in names]
    machines = []
    for name, address, output in zip(names, ADDRESSES, outputs, strict=True):
        own_words = ["--rdzv-conf", f"is_host={int(name == names[0])}", "--local-addr", address]
        inside = ["ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name]
        with open(output, "w") as file:
            line = [*inside, *launcher, *own_words, *command[1:]]
            machines.append(subprocess.Popen(line, env=ENVIRONMENT, stdout=file, stderr=file, start_new_session=True))

    until = time.monotonic() + seconds
    while any(machine.poll() is None for machine in machines) and time.monotonic() < until:
        if any(machine.poll() for machine in machines):
            until = min(until, time.monotonic() + 10)  # one has failed: what does the other say?
        time.sleep(0.1)
    failed = [output for machine, output in zip(machines, outputs, strict=True) if machine.poll()]
    if failed:
        sys.exit("\n".join(f"error: {output.stem}: {reason(output)}" for output in failed))
    if any(machine.poll() is None for machine in machines):
        sys.exit(f"error: two machines: not at their end after {seconds} s; {reason(outputs[0])}")


def reason(output):
    """The line of an output that names the first error, else the last line."""
    lines = [line for line in output.read_text().splitlines() if line.strip()] or ["no output"]
    return next((line for line in lines if line.split()[0].lower().endswith("error:")), lines[-1])


def compare(one, two):
    """What differs between two run folders, in words, and whether that is more than rounding."""
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (one, two)]
    if not summaries[1]["device"].startswith("2 x "):
        sys.exit(f"error: the two machines did not train together, but on {summaries[1]['device']}")
    epochs = [pd.read_csv(folder / "metrics.csv", index_col="epoch") for folder in (one, two)]
    tests = [pd.Series(summary["test"]) for summary in summaries]
    if epochs[0].equals(epochs[1]) and tests[0].equals(tests[1]):
        return "losses, metrics and test figures are equal to the last digit", False
    if epochs[0].shape != epochs[1].shape:
        return f"{len(epochs[0])} epochs became {len(epochs[1])}", True
    losses = (epochs[1].loss / epochs[0].loss - 1).abs().max()
    metrics = (epochs[1] - epochs[0]).drop(columns="loss").abs().max().max()
    test = (tests[1] - tests[0]).abs().max()
    words = f"losses differ by up to {losses:.1g} of their size, metrics by {metrics:.1g}, test figures by {test:.1g}"
    return words, not max(losses, metrics, test) <= ROUNDING


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default=str(ROOT / "examples" / "tiny"), help="as of main.py")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=600, help="the most that either run may take")
    options = parser.parse_args()
    for program, package in NEEDED.items():
        if not shutil.which(program):
            sys.exit(f"error: needs the program {program} (Linux; apt-get install {package})")
    if os.geteuid():
        sys.exit("error: only root can make network namespaces; run this as root")
    # as by Ctrl-C, everything is removed
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    with tempfile.TemporaryDirectory(prefix="two_machines_") as folder:
        base = Path(folder)
        command = [sys.executable, str(ROOT / "main.py"), "--dataset", options.dataset, "--llm", "rule"]
        command += ["--epochs", str(options.epochs), "--device", "cpu"]
        command += ["--data_dir", str(base / "data"), "--result_dir", str(base / "result"), "--path_name"]
        train_in_one([*command, "one"], base, options.seconds)
        with two_machines() as names:
            train_in_two([*command, "two"], base, options.seconds, names)
            megabytes = sum(map(received, names)) / 1e6
        name = Path(options.dataset).name
        words, wrong = compare(base / "result" / name / "one", base / "result" / name / "two")
    print(
        f"{name}, {options.epochs} epochs on two machines ({megabytes:.1f} MB between them) and in one process: "
        f"{words} (commit {run_folder.commit()})"
    )
    return int(wrong)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
