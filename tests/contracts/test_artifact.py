"""Brownie and the committed artifacts compile to the same bytes."""

from imprimatur import artifacts


def test_brownie_compiles_the_committed_bytes(PrintLicense, DeviceRegistry, licenses):
    for name, container in (("PrintLicense", PrintLicense), ("DeviceRegistry", DeviceRegistry)):
        artifact = artifacts.load(name)
        assert "0x" + container.bytecode == artifact["bytecode"]
        # Brownie gives the constructor a name.
        abi = [entry for entry in container.abi if entry["type"] != "constructor"]
        assert abi == [entry for entry in artifact["abi"] if entry["type"] != "constructor"]
