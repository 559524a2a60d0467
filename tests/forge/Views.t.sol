// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../contracts/interfaces/IPrintLicense.sol";
import {Scene} from "./support/Scene.sol";
import {vm} from "./support/Vm.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

/// @notice What can be read; cases in Views.tree.
contract ViewsTest is Scene {
    /// @dev The other tests write licenses straight into storage: this is where calls put them.
    function test_layout() public {
        IPrintLicense.Order memory order = _order();
        order.validUntil = type(uint32).max;
        order.flags = 7;
        vm.prank(owner);
        licenses.issue(order);
        for (uint256 i = 0; i < 2; ++i) {
            _trust(wallet);
            _call(wallet, abi.encodeCall(licenses.useLicense, (_id(1), FILE)));
            if (i == 0) vm.prank(wallet);
            if (i == 0) devices.presentAttestor(wallet, attestor, false);
        }
        _call(wallet, abi.encodeCall(licenses.reportFailure, (_id(1), 1, 0)));
        (uint256 word, uint256 fileHash) = _stored(_id(1));
        uint256 expected = uint256(uint160(wallet));
        expected |= uint256(type(uint32).max) << 160; // validUntil
        expected |= uint256(7) << 192; // flags
        expected |= uint256(2) << 196; // remaining
        expected |= uint256(2) << 212; // used
        expected |= uint256(2) << 228; // failedWindow: copy 1 of 2
        expected |= uint256(2) << 244; // failuresAllowed
        expected |= uint256(1) << 250; // failed
        _equal(word, expected, "first word");
        _equal(fileHash, FILE, "second word");
    }

    function testFuzz_licenseOf(uint256 seed, uint8 flags) public {
        IPrintLicense.License memory it = _any(seed, flags % 16);
        _is(_put(it), it);
    }

    function testFuzz_licenseOfRefusesAnUnknownLicense(uint256 id) public {
        bytes memory error_ = abi.encodeWithSelector(IPrintLicense.LicenseNotFound.selector, id);
        _refused(stranger, abi.encodeCall(licenses.licenseOf, (id)), error_);
        _refused(stranger, abi.encodeCall(licenses.uri, (id)), error_);
    }

    function testFuzz_checkHash(uint256 seed, uint256 fileHash) public {
        uint256 id = _put(_any(seed, 0));
        _true(licenses.checkHash(id, FILE), "the file");
        _true(licenses.checkHash(id, fileHash) == (fileHash == FILE), "another file");
        _true(!licenses.checkHash(id, 0), "the hash zero");
    }

    function testFuzz_checkHashOfAnUnknownLicense(uint256 id, uint256 fileHash) public view {
        _true(!licenses.checkHash(id, fileHash), "any file");
        _true(!licenses.checkHash(id, 0), "the hash zero");
    }

    function testFuzz_ownerOf(address owner_, uint96 number) public view {
        _equal(licenses.ownerOf(_idOf(owner_, number)), owner_, "owner");
    }

    function testFuzz_balanceOf(uint256 seed, address account) public {
        IPrintLicense.License memory it = _any(seed, 0);
        uint256 id = _put(it);
        _equal(licenses.balanceOf(account, id), account == wallet ? it.remaining : 0, "balance");
        _equal(licenses.balanceOf(account, id + 1), 0, "balance of an unknown license");
    }

    function testFuzz_balanceOfBatch(uint256 seed) public {
        IPrintLicense.License memory it = _any(seed, 0);
        uint256 id = _put(it);
        address[] memory accounts = new address[](2);
        uint256[] memory ids = new uint256[](2);
        (accounts[0], accounts[1], ids[0], ids[1]) = (wallet, owner, id, id);
        uint256[] memory balances = licenses.balanceOfBatch(accounts, ids);
        _equal(balances.length, 2, "balances");
        _equal(balances[0], it.remaining, "wallet");
        _equal(balances[1], 0, "owner");
        _refused(
            stranger,
            abi.encodeCall(licenses.balanceOfBatch, (accounts, new uint256[](3))),
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidArrayLength.selector, 3, 2)
        );
    }

    function test_uriNamesOwnerAndFile() public {
        uint256 id = 0x1111111111111111111111111111111111111111_000000000000000000000002;
        IPrintLicense.Order memory order = _order();
        order.owner = address(uint160(id >> 96));
        order.number = 2;
        vm.prank(order.owner);
        licenses.issue(order);
        _equal(
            bytes(licenses.uri(id)),
            'data:application/json;utf8,{"name":"Print license '
            "0x1111111111111111111111111111111111111111000000000000000000000002"
            '","description":"Right to print the file with this SHA-256; the balance is the number of copies left.",'
            '"decimals":0,"properties":{"owner":"0x1111111111111111111111111111111111111111","fileHash":"'
            '0x000000000000000000000000000000000000000000000000000000000000f11e"}}',
            "uri"
        );
    }

    function test_constants() public view {
        _equal(bytes(licenses.version()), "1.0.0", "version");
        _equal(address(licenses.DEVICES()), address(devices), "devices");
        _equal(licenses.TRANSFERABLE(), 1, "TRANSFERABLE");
        _equal(licenses.REVOCABLE(), 2, "REVOCABLE");
        _equal(licenses.TRUSTED_DEVICE(), 4, "TRUSTED_DEVICE");
        _equal(licenses.RIGHT_ISSUE(), 1, "RIGHT_ISSUE");
        _equal(licenses.RIGHT_GRANT(), 2, "RIGHT_GRANT");
        _equal(licenses.RIGHT_APPROVE_FILE(), 4, "RIGHT_APPROVE_FILE");
        _equal(licenses.RIGHT_REVOKE(), 8, "RIGHT_REVOKE");
    }

    function testFuzz_supportsInterface(bytes4 other) public view {
        bytes4[3] memory known = [bytes4(0x01ffc9a7), 0xd9b67a26, 0x0e89341c];
        bool isKnown;
        for (uint256 i = 0; i < 3; ++i) {
            _true(licenses.supportsInterface(known[i]), "ERC-165, ERC-1155 and its metadata");
            if (other == known[i]) isKnown = true;
        }
        _true(licenses.supportsInterface(other) == isKnown, "any other");
        _true(!licenses.supportsInterface(0xffffffff), "the interface that is none");
    }

    /// @dev Names, version, chain and contract of the EIP-712 domains, as wallets read them.
    function test_domains() public view {
        (, string memory name, string memory version, uint256 chainId, address verifier,,) = licenses.eip712Domain();
        _equal(bytes(name), "Imprimatur PrintLicense", "name");
        _equal(bytes(version), "1", "version");
        _equal(chainId, block.chainid, "chain");
        _equal(verifier, address(licenses), "contract");
        (, name, version, chainId, verifier,,) = devices.eip712Domain();
        _equal(bytes(name), "Imprimatur DeviceRegistry", "name");
        _equal(bytes(version), "1", "version");
        _equal(chainId, block.chainid, "chain");
        _equal(verifier, address(devices), "contract");
    }
}
