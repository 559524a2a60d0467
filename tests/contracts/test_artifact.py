"""Brownie and the committed artifact compile to the same bytes."""

from imprimatur import artifacts


def test_brownie_compiles_the_committed_bytes(PrintLicense, licenses):
    artifact = artifacts.load("PrintLicense")
    assert "0x" + PrintLicense.bytecode == artifact["bytecode"]
    assert PrintLicense.abi == artifact["abi"]
