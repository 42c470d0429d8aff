"""A real server with an OpenAI-compatible interface on this machine: `transformers serve`."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests


@contextmanager
def transformers_serve(model, cache):
    """The URL of a server of this model folder.  cache: an empty folder; `serve` lists what the hub's cache holds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--port", str(port)]
    command += ["--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}/v1"
        threading.Thread(target=process.stdout.read, daemon=True).start()
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            try:
                if requests.get(f"{url}/models", timeout=5).ok:
                    break
            except requests.RequestException:
                time.sleep(0.5)
        else:
            pytest.fail("transformers serve did not start")
        yield url
    finally:
        process.kill()
        process.wait()
