"""The tables of docs/contracts.md that are made from measured gas: what things cost, in gas and in money."""

from pathlib import Path

from tools.gas_jobs import Cost

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "contracts.md"
BEGIN, END = "<!-- made by run.py gas --write -->", "<!-- end -->"

ETHER_IN_DOLLARS = 3000
GWEI = 1e-9
L1_GAS_PRICE = 1.0
"""Gwei; the L1 base fee too."""
L2_GAS_PRICE = 0.001
BLOB_PRICE = 0.01
BASE_FEE_SCALAR, BLOB_SCALAR = 5227, 1_014_213
ENVELOPE = 110
"""Bytes of a transaction around its input: signature, nonce, fees, addresses."""
BLOCK = 30_000_000
LARGEST_TRANSACTION = 16_777_216
"""Gas (EIP-7825)."""

SHOWN = {
    "use, part 1": "print: `useLicense`",
    "use and log, part 1": "print with its log: `useLicenseAndLog`",
    "use by a bound device": "print by a bound device",
    "use by a trusted device": "the same, TRUSTED_DEVICE",
    "relayed, part 1": "relayed print with its log, alone",
    "relayed, batch of 10": "…, in a batch of 10",
    "relayed, batch of 100": "…, in a batch of 100",
    "report failure, part 1": "failed print: `reportFailure`",
    "issue": "`issue`",
    "issue for": "`issueFor`",
    "issue a batch of 100": "`issueBatch` of 100, each",
    "redeem": "`redeem`",
    "grant copies": "`grantCopies`",
    "approve a file": "`approveFile`",
    "transfer": "`transferLicense`",
    "revoke": "`revoke`",
    "set operator": "`setOperator`",
    "bind a device": "`bind`",
    "attest a device": "`attest`",
    "present an attestor": "`presentAttestor`",
    "accept an attestor": "`acceptAttestor`",
}


def dollars_on_l1(cost: Cost) -> float:
    """Of one unit, at the stated prices."""
    return cost.per_unit * L1_GAS_PRICE * GWEI * ETHER_IN_DOLLARS


def dollars_on_l2(cost: Cost) -> float:
    """Of one unit on an OP-stack chain (Fjord's formula), as if nothing of it could be compressed."""
    per_byte = (16 * BASE_FEE_SCALAR * L1_GAS_PRICE + BLOB_SCALAR * BLOB_PRICE) / 1e6
    data = (cost.size + ENVELOPE) * per_byte
    return (cost.gas * L2_GAS_PRICE + data) / cost.units * GWEI * ETHER_IN_DOLLARS


def tables(measured: dict[str, Cost]) -> str:
    """Gas and money for each kind of transaction, and how many fit."""
    lines = ["| | gas | L1 | L2 |", "|---|---:|---:|---:|"]
    for name, label in SHOWN.items():
        cost = measured[name]
        money = f"{dollars_on_l1(cost):.2f} $ | {dollars_on_l2(cost):.5f} $"
        lines.append(f"| {label} | {cost.per_unit:,.0f} | {money} |")
    logged, relayed = measured["use and log, part 1"], measured["relayed, batch of 100"]
    issued = measured["issue a batch of 100"]
    lines += [
        "",
        f"A block of {BLOCK:,} gas holds {BLOCK / logged.per_unit:,.0f} logged prints, or "
        f"{BLOCK / relayed.per_unit:,.0f} of them relayed in batches. A transaction may use "
        f"{LARGEST_TRANSACTION:,} gas (EIP-7825): {LARGEST_TRANSACTION / issued.per_unit:,.0f} licenses or "
        f"{LARGEST_TRANSACTION / relayed.per_unit:,.0f} relayed prints.",
    ]
    return "\n".join(lines)


def with_tables(text: str, measured: dict[str, Cost]) -> str:
    """The guide with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(measured)}\n\n{END}{after}"
