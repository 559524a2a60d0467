"""Orders as people write them: what is understood, and a sentence with its line for what isn't."""

import hashlib
from datetime import UTC, datetime

import pytest

from imprimatur.chain.orders import FOR_EVER, Terms
from imprimatur.license_id import number_from_text
from scripts import orders

OWNER = "0x" + "11" * 20
PRINTER = "0x52908400098527886E0F7030069857D2E4169EE7"
FIELDS = {"number": "4711-A4", "printer": PRINTER, "file_hash": "5a" * 32, "copies": "3"}
HEADER = "number,printer,file_hash,copies"


def parse(tmp_path, **changes):
    return orders.parse(FIELDS | changes, OWNER, 99, tmp_path)


def test_shortest_order(tmp_path):
    order = parse(tmp_path)
    assert (order.owner, order.number, order.printer) == (OWNER, number_from_text("4711-A4"), PRINTER)
    assert (order.file_hash, order.copies, order.deadline) == ("5a" * 32, 3, 99)
    assert (order.valid_until, order.flags, order.failures_allowed) == (FOR_EVER, 0, 0)
    assert order.manifest_hash == bytes(32)


def test_every_field(tmp_path):
    (tmp_path / "part.gcode").write_bytes(b"G28\n")
    order = parse(
        tmp_path,
        file="part.gcode",
        file_hash="",
        valid_until="2030-12-31",
        terms="transferable, Trusted_Device",
        failures_allowed="2",
        manifest_hash="0x" + "ab" * 32,
    )
    assert order.file_hash == hashlib.sha256(b"G28\n").hexdigest()
    assert datetime.fromtimestamp(order.valid_until, UTC).isoformat() == "2030-12-31T23:59:59+00:00"
    assert order.flags == Terms.TRANSFERABLE | Terms.TRUSTED_DEVICE
    assert (order.failures_allowed, order.manifest_hash) == (2, b"\xab" * 32)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"number": " "}, "number: A license number can't be empty"),
        ({"printer": "0x12"}, "printer: '0x12' isn't the address"),
        ({"printer": "0x" + "0" * 40}, "printer: "),
        ({"copies": "0"}, "copies: '0' isn't a whole number from 1 to 65535"),
        ({"copies": "65536"}, "copies: "),
        ({"copies": "-1"}, "copies: "),
        ({"copies": "²"}, "copies: "),
        ({"copies": "65535", "failures_allowed": "1"}, "more than 65535"),
        ({"failures_allowed": "64"}, "failures_allowed: '64' isn't a whole number from 0 to 63"),
        ({"file_hash": "5a"}, "file_hash: '5a' isn't 64 hexadecimal digits"),
        ({"file_hash": "0" * 64}, "zero is the hash of no file"),
        ({"file_hash": ""}, "give either the hash or the file"),
        ({"file": "part.gcode"}, "give either the hash or the file"),
        ({"file_hash": "", "file": "missing.gcode"}, "file: "),
        ({"valid_until": "31.12.2030"}, "valid_until: '31.12.2030' isn't a date such as 2030-12-31"),
        ({"terms": "revoked"}, "terms: 'revoked' isn't one of"),
        ({"manifest_hash": "xyz"}, "manifest_hash: "),
    ],
)
def test_wrong_fields(tmp_path, changes, sentence):
    with pytest.raises(orders.InvalidOrder) as caught:
        parse(tmp_path, **changes)
    assert sentence in str(caught.value)


def _csv(tmp_path, *lines):
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return path


def test_csv(tmp_path):
    path = _csv(tmp_path, HEADER, f"a,{PRINTER},{'5a' * 32},1", f"b,{PRINTER},{'5a' * 32},2")
    assert [(line, order.copies) for line, order in orders.read_csv(path, OWNER, 99)] == [(2, 1), (3, 2)]


def test_all_wrong_lines_are_listed(tmp_path):
    good = f"{PRINTER},{'5a' * 32}"
    path = _csv(
        tmp_path, HEADER, f"a,{good},1", f"b,{good},none", f"c,{good}", f"a,{good},1", f"d,{good},1,9"
    )
    with pytest.raises(orders.InvalidFile) as caught:
        orders.read_csv(path, OWNER, 99)
    assert str(caught.value).splitlines()[1:] == [
        "line 3: copies: 'none' isn't a whole number from 1 to 65535",
        "line 4: not as many fields as line 1 has",
        "line 5: number: 'a' is in line 2 already",
        "line 6: not as many fields as line 1 has",
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["number,printer"], "line 1: there is no column copies"),
        ([HEADER + ",colour"], "line 1: unknown column 'colour'"),
        ([HEADER], "line 1: no order follows"),
        ([""], "line 1: there is no column number"),
    ],
)
def test_wrong_files(tmp_path, lines, sentence):
    with pytest.raises(orders.InvalidFile, match=sentence):
        orders.read_csv(_csv(tmp_path, *lines), OWNER, 99)


def test_no_file(tmp_path):
    with pytest.raises(orders.InvalidFile, match="can't be read"):
        orders.read_csv(tmp_path / "missing.csv", OWNER, 99)
