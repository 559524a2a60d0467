"""What every kind of transaction costs, beside its budget, its floor and the alternatives.

    python3 run.py gas            measure and compare with snapshots/gas.json and with the budgets
    python3 run.py gas --write    renew the snapshot and the tables in docs/contracts.md

Ends with 1 when a budget is exceeded, or when a number isn't the snapshot's. The alternatives are measured
in the same run: benchmarks/contracts/ holds licenses made of OpenZeppelin's ERC-1155. SAMPL's figures are
quoted.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imprimatur.chain.interface import Interface
from tools import compile as compiler
from tools.anvil import running_anvil
from tools.gas_guide import GUIDE, with_tables
from tools.gas_jobs import HARDFORK, NODE, Bench, Cost, measure

SNAPSHOT = Path(__file__).resolve().parent.parent / "snapshots" / "gas.json"


@dataclass(frozen=True)
class Limit:
    """Gas that a job may cost per unit, and the floor: what no contract with these effects goes below."""

    budget: int
    floor: int | None = None


LIMITS = {
    "use, part 1": Limit(35_500, 30_812),
    "use and log, part 1": Limit(41_000, 36_000),
    "relayed, batch of 100": Limit(26_000),
    "issue": Limit(80_000, 69_335),
    "issue a batch of 100": Limit(55_000),
    "report failure, part 1": Limit(36_500),
}
"""The floors of `use` and `issue` are transactions with the same calldata, storage words and events, and no
checks at all; that of `use and log` is estimated from it."""

SAMPL = {
    "issue": "117,387",
    "use, part 1": "40,541",
    "use, part 1000": "947,412 (with 400 parts)",
    "use and log, part 1": "206,155",
    "use and log, part 1001": "1,200,204 (400th part)",
}
"""PrintingLicenseStore of the SAMPL project: grant, use, and use with a serial (206,155 for the 1st part,
440,004 for the 100th, 1,200,204 for the 400th); its published contract, run on the same kind of node."""


def _order_values(order: Any) -> dict[str, Any]:
    values: dict[str, Any] = order.values()
    return values | {"id": order.id}


def measure_openzeppelin() -> dict[str, dict[str, Cost]]:
    """Issue, a batch and a use with OpenZeppelin's ERC-1155: {"leanest" or "same terms": {job: cost}}."""
    output = compiler.compile_sources("benchmarks/contracts")
    costs: dict[str, dict[str, Cost]] = {}
    for name, contract in (("leanest", "LeanLicense"), ("same terms", "TermsLicense")):
        compiled = output[f"benchmarks/contracts/{contract}.sol"][contract]
        abi = Interface(compiled["abi"])
        with running_anvil(*NODE) as rpc:
            bench = Bench(rpc)
            address = bench.deploy("0x" + compiled["evm"]["bytecode"]["object"])
            one, batch = bench.order(), [_order_values(bench.order()) for _ in range(100)]
            first = _order_values(one)
            fields = ("id", "printer", "copies", "fileHash")
            if name == "leanest":
                issue = abi.encode_call("issue", *(first[field] for field in fields))
                columns = ([order[field] for order in batch] for field in fields)
                issue_batch = abi.encode_call("issueBatch", *columns)
            else:
                issue = abi.encode_call("issue", first)
                issue_batch = abi.encode_call("issueBatch", batch)
            costs[name] = {
                "issue": bench.cost("owner", issue, address),
                "issue a batch of 100": bench.cost("owner", issue_batch, address, units=100),
                "use, part 1": bench.cost(
                    "printer", abi.encode_call("use", one.id, first["fileHash"]), address
                ),
            }
    return costs


def as_snapshot(measured: dict[str, Cost]) -> str:
    """The committed form: gas of the whole transaction by job."""
    jobs = {name: cost.gas for name, cost in measured.items()}
    return json.dumps({"hardfork": HARDFORK, "gas": jobs}, indent=2) + "\n"


def over_budget(measured: dict[str, Cost]) -> list[str]:
    """A sentence for each budget that is exceeded."""
    return [
        f"{name}: {measured[name].per_unit:,.0f} gas, budget {limit.budget:,}"
        for name, limit in LIMITS.items()
        if measured[name].per_unit > limit.budget
    ]


def table(measured: dict[str, Cost], openzeppelin: dict[str, dict[str, Cost]]) -> str:
    """One line a job; gas per license or print where a transaction holds several."""
    lines = [
        f"{'job':<28}{'gas':>9}{'budget':>9}{'floor':>9}{'OZ lean':>10}{'OZ terms':>10}  SAMPL",
        "-" * 100,
    ]
    for name, cost in measured.items():
        limit = LIMITS.get(name)
        columns: list[float | None] = [cost.per_unit]
        columns += [limit.budget, limit.floor] if limit else [None, None]
        found = (costs.get(name) for costs in openzeppelin.values())
        columns += [other.per_unit if other else None for other in found]
        texts = ["" if value is None else f"{value:,.0f}" for value in columns]
        widths = (9, 9, 9, 10, 10)
        cells = "".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))
        label = name if cost.units == 1 else f"{name}, each"
        lines.append(f"{label:<28}{cells}  {SAMPL.get(name, '')}".rstrip())
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="run.py gas", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="renew snapshots/gas.json")
    arguments = parser.parse_args()
    measured = measure()
    print(table(measured, measure_openzeppelin()))
    problems = over_budget(measured)
    if arguments.write:
        SNAPSHOT.write_text(as_snapshot(measured))
        GUIDE.write_text(with_tables(GUIDE.read_text(), measured))
    elif SNAPSHOT.read_text() != as_snapshot(measured):
        problems.append("The numbers aren't those of snapshots/gas.json: run.py gas --write, and say why.")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
