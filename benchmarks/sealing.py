"""Opening and hashing a sealed file, beside `hashlib` on the plain file.

    .venv/bin/python benchmarks/sealing.py [--mebibytes 1024] [--runs 5]

Every measurement has a process of its own, files are read from the page cache, hashing and what is compared
with it take turns. Prints medians, their ratio and the peak memory over that of the imports. Promised for
1 GiB: opening and hashing takes at most 3.4 times as long as hashing the plain file, in at most 64 MiB. It
uses two cores when they are free; beside other work the ratio is higher. Sealing writes the file, too.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET_RATIO = 3.4
TARGET_MEMORY = 64
"""MiB."""

PRELUDE = """
import hashlib, resource, sys, time
import pyrage
from imprimatur.sealing import new_key, open_sealed, public_key, seal
public_key(new_key())
plain, sealed, key, used = sys.argv[1:]
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
buffer = bytearray(1 << 20)
with open(used, "rb") as file:  # into the page cache, which the system may have emptied
    while file.readinto(buffer):
        pass
started = time.perf_counter()
"""
EPILOGUE = """
seconds = time.perf_counter() - started
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024, result)
"""
HASH = """
with open(plain, "rb") as file:
    result = hashlib.file_digest(file, "sha256").hexdigest()
"""
OPEN = """
with open(sealed, "rb") as file, open_sealed(file, bytes.fromhex(key), hashing=True) as stream:
    while stream.read(1 << 20):
        pass
    result = stream.digest
"""
SEAL = """
with open(plain, "rb") as source, open(sealed, "wb") as target:
    result = seal(source, target).file_key.hex()
"""


def measure(program: str, *arguments: str) -> tuple[float, float, str]:
    """Seconds, MiB of peak memory over the imports, and the result of a program in a new interpreter."""
    used = arguments[1] if program is OPEN else arguments[0]
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program + EPILOGUE, *arguments, used],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, memory, result = done.stdout.split()
    return float(seconds), float(memory), result


def compare(runs: int, name: str, program: str, *arguments: str) -> tuple[float, float, str]:
    """Ratio of a program to hashing the plain file, its peak memory in MiB, its last result."""
    hashing, working, peak, result = [], [], 0.0, ""
    for _ in range(runs):
        hashing.append(measure(HASH, *arguments)[0])
        elapsed, memory, result = measure(program, *arguments)
        working.append(elapsed)
        peak = max(peak, memory)
    base, median = statistics.median(hashing), statistics.median(working)
    size = Path(arguments[0]).stat().st_size / (1 << 20)
    print(
        f"{name:<14} {median:6.2f} s ({size / median:5.0f} MiB/s), hashing {base:6.2f} s"
        f" ({size / base:5.0f} MiB/s): {median / base:5.2f} x, +{peak:.1f} MiB"
    )
    return median / base, peak, result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, sealed = str(Path(folder) / "plain"), str(Path(folder) / "sealed")
        with open(plain, "wb") as file:
            for _ in range(options.mebibytes):
                file.write(os.urandom(1 << 20))
        os.sync()
        print(f"{options.mebibytes} MiB, medians of {options.runs}")
        _, _, key = compare(options.runs, "seal", SEAL, plain, sealed, "")
        os.sync()  # What is still being written to the disk would slow the reading down.
        ratio, peak, digest = compare(options.runs, "open and hash", OPEN, plain, sealed, key)
        if digest != measure(HASH, plain, sealed, key)[2]:
            raise SystemExit("The opened file isn't the one that was sealed.")
    kept = ratio <= TARGET_RATIO and peak <= TARGET_MEMORY
    print(f"promised: {TARGET_RATIO} x, {TARGET_MEMORY} MiB: {'kept' if kept else 'NOT kept'}")


if __name__ == "__main__":
    main()
