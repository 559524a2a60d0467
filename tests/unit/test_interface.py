"""What nodes say about our contracts: reverts in every wrapping, logs that don't fit, reads of the past."""

import secrets

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from imprimatur import artifacts
from imprimatur.chain.contract import block_parameter, decode_log, revert_of
from imprimatur.chain.device_registry import DeviceRegistry
from imprimatur.chain.interface import ContractReverted, MalformedData, interface_of
from imprimatur.chain.print_license import PrintLicense
from imprimatur.chain.rpc import NodeRefused, Rpc
from imprimatur.chain.signers import KeySigner

FILE_HASH = "e1" * 32
ADDRESS = "0x" + "11" * 20
ID = 7 << 200
NOT_FOUND = next(
    selector
    for selector, entry in interface_of("PrintLicense")._errors.items()
    if entry["name"] == "LicenseNotFound"
)
DATA = NOT_FOUND + f"{ID:064x}"
TEXT = "0x08c379a0" + encode(["string"], ["ERC20: too much."]).hex()
PANIC = "0x4e487b71" + f"{0x11:064x}"
FOREIGN = "0xdeadbeef" + "00" * 32
WRAPPINGS = {
    "geth": lambda data: NodeRefused(3, "execution reverted", data),
    "nested": lambda data: NodeRefused(-32603, "Internal JSON-RPC error.", {"code": 3, "data": data}),
    "hardhat": lambda data: NodeRefused(-32603, "reverted", {"originalError": {"code": 3, "data": data}}),
    "ganache": lambda data: NodeRefused(
        -32000,
        "VM Exception while processing transaction: revert",
        {"0x" + "ab" * 32: {"error": "revert", "program_counter": 7, "return": data}, "name": "c"},
    ),
    "list": lambda data: NodeRefused(-32000, "reverted", [{"message": "reverted"}, [data]]),
    "parity": lambda data: NodeRefused(-32015, "VM execution error: reverted.", f"Reverted {data}"),
    "message": lambda data: NodeRefused(-32000, f"execution reverted: {data}"),
    "sentence": lambda data: NodeRefused(-32000, f"call to 0x{'ab' * 20} reverted with {data}, sorry"),
    "upper case": lambda data: NodeRefused(3, "execution reverted", "0x" + data[2:].upper()),
}


@pytest.fixture(params=WRAPPINGS.values(), ids=WRAPPINGS)
def wrap(request):
    return request.param


def test_our_errors_have_names_and_values(wrap):
    error = revert_of(wrap(DATA))
    assert (error.name, list(error.values.values())) == ("LicenseNotFound", [ID])


def test_texts(wrap):
    error = revert_of(wrap(TEXT))
    assert (error.name, error.values) == ("Error", {"message": "ERC20: too much."})
    assert str(error) == "The contract refused: ERC20: too much."


def test_panics(wrap):
    error = revert_of(wrap(PANIC))
    assert (error.name, error.values) == ("Panic", {"code": 0x11})
    assert str(error) == "The contract refused: a number left its range (panic 0x11)."


def test_errors_of_others_keep_their_data(wrap):
    error = revert_of(wrap(FOREIGN))
    assert error.name.lower() == "0xdeadbeef"
    assert error.values["data"].lower() == FOREIGN
    assert "isn't one of ours" in str(error)


def test_an_unknown_panic_has_its_code():
    error = revert_of(NodeRefused(3, "execution reverted", "0x4e487b71" + f"{0x99:064x}"))
    assert str(error) == "The contract refused: a fault (panic 0x99)."


@pytest.mark.parametrize(
    "refused",
    [
        NodeRefused(3, "execution reverted", "0x"),
        NodeRefused(3, "execution reverted"),
        NodeRefused(-32000, "insufficient funds for transfer", FOREIGN),
        NodeRefused(-32000, f"unknown block 0x{'ab' * 32}"),
        NodeRefused(-32000, f"execution of 0x{'ab' * 20} reverted"),
        NodeRefused(3, "execution reverted", 7),
        NodeRefused(3, "execution reverted", ["0x"]),
        NodeRefused(3, "execution reverted", {"data": None}),
    ],
)
def test_what_is_no_error_of_a_contract(refused):
    assert revert_of(refused) is None


@pytest.mark.parametrize("data", [NOT_FOUND + "00", DATA + "00" * 32, TEXT[:-64], "0x08c379a0" + "ff" * 32])
def test_damaged_errors_are_kept_as_they_are(data):
    error = revert_of(NodeRefused(3, "execution reverted", data))
    if (len(data) // 2 - 1) % 32 == 4:
        assert (error.name, error.values) == (data[:10], {"data": data})
    else:
        assert error is None


def test_a_contracts_words_are_kept_within_bounds():
    long = "long " * 100_000
    error = revert_of(NodeRefused(3, "execution reverted", "0x08c379a0" + encode(["string"], [long]).hex()))
    assert error.values == {"message": long}
    assert str(error).startswith("The contract refused: long long")
    assert len(str(error)) < 350
    assert len(str(ContractReverted("StringTooLong", {"str": long}))) < 350


def test_data_that_goes_too_deep_is_left_alone():
    nested = DATA
    for _ in range(5):
        nested = [nested]
    assert revert_of(NodeRefused(3, "execution reverted", nested)).name == "LicenseNotFound"
    assert revert_of(NodeRefused(3, "execution reverted", [nested])) is None


json_values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(max_size=80).map(lambda b: "0x" + b.hex()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(deadline=None)
@given(st.integers(), st.text(), json_values)
def test_no_refusal_is_a_stack_trace(code, message, data):
    assert isinstance(revert_of(NodeRefused(code, message, data)), ContractReverted | None)


@settings(deadline=None)
@given(st.sampled_from(artifacts.CONTRACTS), st.data())
def test_every_error_of_every_contract_is_decoded(contract, data):
    interface = interface_of(contract)
    selector, entry = data.draw(st.sampled_from(sorted(interface._errors.items(), key=lambda item: item[0])))
    numbers = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "uint96": 96, "uint256": 256}
    values = []
    for parameter in entry["inputs"]:
        kind = parameter["type"]
        if kind == "address":
            values.append("0x" + data.draw(st.binary(min_size=20, max_size=20)).hex())
        elif kind == "bytes32":
            values.append(data.draw(st.binary(min_size=32, max_size=32)))
        elif kind == "string":
            values.append(data.draw(st.text(st.characters(codec="utf-8"))))
        else:
            values.append(data.draw(st.integers(0, 2 ** numbers[kind] - 1)))
    encoded = selector + encode([p["type"] for p in entry["inputs"]], values).hex()
    error = revert_of(NodeRefused(3, "execution reverted", encoded))
    assert error.name == entry["name"]
    got = [
        v.lower() if p["type"] == "address" else v
        for p, v in zip(entry["inputs"], error.values.values(), strict=True)
    ]
    assert got == values


@pytest.fixture(scope="module")
def issued(chain):
    """A license, and the log of its issue."""
    owner = chain.account()
    order = chain.order(owner.address, owner.address, FILE_HASH, 5, "interface")
    receipt = chain.send(owner, chain.licenses.issue_call(order))
    topic = chain.licenses.interface.topic("LicenseIssued")
    return order, next(log for log in receipt["logs"] if log["topics"][0] == topic)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: log["topics"].pop(),
        lambda log: log["topics"].append("0x" + "00" * 32),
        lambda log: log["topics"].__setitem__(1, "0x"),
        lambda log: log["topics"].__setitem__(1, "0x" + "00" * 31),
        lambda log: log["topics"].__setitem__(2, "0x" + "ff" * 32),
        lambda log: log["topics"].__setitem__(1, None),
        lambda log: log.__setitem__("data", log["data"][:-2]),
        lambda log: log.__setitem__("data", log["data"] + "00"),
        lambda log: log.__setitem__("data", log["data"] + "00" * 32),
        lambda log: log.__setitem__("data", "0x"),
        lambda log: log.__setitem__("data", "0x" + "ff" * (len(log["data"]) // 2 - 1)),
        lambda log: log.__setitem__("data", "nonsense"),
        lambda log: log.__setitem__("data", None),
        lambda log: log.pop("data"),
        lambda log: log.pop("topics"),
        lambda log: log.__setitem__("blockNumber", None),
        lambda log: log.__setitem__("logIndex", "x"),
    ],
)
def test_logs_that_do_not_fit(chain, issued, change):
    log = {**issued[1], "topics": list(issued[1]["topics"])}
    assert chain.licenses.interface.decode_event(log).name == "LicenseIssued"
    change(log)
    with pytest.raises(MalformedData):
        chain.licenses.interface.decode_event(log)


def uri_log(data):
    topics = [interface_of("PrintLicense").topic("URI"), "0x" + "00" * 32]
    place = {"blockNumber": "0x1", "blockHash": "0x", "transactionHash": "0x", "logIndex": "0x0"}
    return {"topics": topics, "data": "0x" + data.hex(), **place}


WORD = (0).to_bytes(32)
TAIL_LATER = (64).to_bytes(32) + WORD + encode(["string"], ["text"])[32:]


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")), st.binary(min_size=1, max_size=70))
def test_values_of_any_length_have_one_encoding(text, more):
    whole, decode_event = encode(["string"], [text]), interface_of("PrintLicense").decode_event
    assert decode_event(uri_log(whole)).values["value"] == text
    for damaged in (whole + more, whole + WORD, whole[:-1], b""):
        with pytest.raises(MalformedData):
            decode_event(uri_log(damaged))


def test_an_unusual_arrangement_is_no_encoding():
    assert decode(["string"], TAIL_LATER) == ("text",)
    with pytest.raises(MalformedData, match="more in it"):
        interface_of("PrintLicense").decode_event(uri_log(TAIL_LATER))


@pytest.mark.parametrize("more", ["00", "00" * 32, "ff" * 32])
def test_results_have_no_more_than_their_values(chain, issued, more):
    calls = {"licenseOf": [issued[0].id], "uri": [issued[0].id], "balanceOfBatch": [[], []]}
    for function, arguments in calls.items():
        interface = chain.licenses.interface
        data = interface.encode_call(function, *arguments)
        call = {"to": chain.licenses.address, "data": data}
        answer = chain.rpc.call("eth_call", [call, "latest"])
        interface.decode_result(function, answer)
        with pytest.raises(MalformedData, match=function):
            interface.decode_result(function, answer + more)


def test_logs_of_others_are_not_ours(chain, issued):
    log = issued[1]
    contracts = [chain.devices, chain.licenses]
    contract, event = decode_log(log, contracts)
    assert contract is chain.licenses
    assert (event.name, event.values["id"]) == ("LicenseIssued", issued[0].id)
    assert decode_log({**log, "address": ADDRESS}, contracts) is None
    assert decode_log({**log, "topics": []}, contracts) is None
    assert decode_log({**log, "topics": ["0x" + "12" * 32]}, contracts) is None


def test_reads_of_the_past(chain, issued):
    order, log = issued
    before, at = int(log["blockNumber"], 16) - 1, int(log["blockNumber"], 16)
    owner = order.owner
    assert chain.licenses.license_of(order.id, block=before) is None
    for block in (at, log["blockHash"], "latest"):
        assert chain.licenses.license_of(order.id, block=block).remaining == 5
        assert chain.licenses.check_hash(order.id, FILE_HASH, block=block)
        assert chain.licenses.balance_of(owner, order.id, block=block) == 5
        assert chain.licenses.can_use(order.id, FILE_HASH, owner, block=block)
        assert chain.licenses.controller_of(owner, block=block) == owner
        assert chain.licenses.operator_of(owner, ADDRESS, block=block).until == 0
    device = KeySigner(secrets.token_bytes(32))
    wallet = chain.account()
    start = int(chain.rpc.call("eth_blockNumber", []), 16)
    chain.bind(wallet, device)
    assert chain.devices.wallet_of(device.address, block=start) is None
    assert chain.devices.wallet_of(device.address) == wallet.address
    assert (chain.devices.nonce_of(device.address, block=start), chain.devices.nonce_of(device.address)) == (
        0,
        1,
    )


def test_blocks_before_the_contract(chain):
    with pytest.raises(MalformedData, match="licenseOf"):
        chain.licenses.license_of(1, block=0)
    with pytest.raises(NodeRefused):
        chain.licenses.license_of(1, block="0x" + "12" * 32)


def test_blocks_as_json_rpc_wants_them():
    hash = "0x" + "ab" * 32
    table = {7: "0x7", 0: "0x0", "finalized": "finalized", hash: {"blockHash": hash}}
    assert {block: block_parameter(block) for block in table} == table


class Lying(Rpc):
    """Answers every call with the same."""

    def __init__(self, answer):
        self.answer = answer

    def call(self, method, params):
        return self.answer


@pytest.mark.parametrize("answer", ["0x", "0x00", "0x" + "ff" * 320, "zz", None, 7, "0x" + "00" * 31])
def test_answers_that_do_not_fit(answer):
    licenses, devices = PrintLicense(Lying(answer), ADDRESS), DeviceRegistry(Lying(answer), ADDRESS)
    for read in (
        lambda: licenses.license_of(1),
        lambda: licenses.can_use(1, FILE_HASH, ADDRESS),
        lambda: licenses.uri(1),
        lambda: devices.is_trusted(ADDRESS, ADDRESS),
        lambda: devices.attestors_of(ADDRESS),
    ):
        with pytest.raises(MalformedData):
            read()


def test_a_reason_that_this_library_is_too_old_for():
    answer = "0x" + "00" * 32 + "12345678" + "00" * 28
    usability = PrintLicense(Lying(answer), ADDRESS).can_use(1, FILE_HASH, ADDRESS)
    assert (usability.usable, usability.reason) == (False, "0x12345678")
