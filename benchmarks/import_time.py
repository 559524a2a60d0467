"""How long `import imprimatur` takes, beside the same interpreter importing nothing and importing web3.

    .venv/bin/python benchmarks/import_time.py

Prints medians of interleaved runs in fresh interpreters. The library promises less than 0.1 s.
"""

import statistics
import subprocess
import sys
import time

RUNS = 9
STATEMENTS = {
    "nothing": "pass",
    "imprimatur": "import imprimatur",
    "imprimatur.chain": "import imprimatur.chain.print_license, imprimatur.chain.transactions",
    "web3": "import web3",
}


def measure(statement: str) -> float:
    """Seconds from starting an interpreter to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(RUNS):
        for name, statement in STATEMENTS.items():
            times[name].append(measure(statement))
    bare = statistics.median(times["nothing"])
    for name in STATEMENTS:
        median = statistics.median(times[name])
        print(f"{name:<18} {median * 1000:7.1f} ms   {(median - bare) * 1000:+7.1f} ms over nothing")


if __name__ == "__main__":
    main()
