// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IDeviceRegistry} from "../../contracts/interfaces/IDeviceRegistry.sol";
import {Scene} from "./support/Scene.sol";
import {Signatures} from "./support/Signatures.sol";
import {vm} from "./support/Vm.sol";

/// @notice Every function of DeviceRegistry; cases in Devices.tree.
contract DevicesTest is Scene {
    uint256 private constant NEW_KEY = 0xd1;
    address private immutable newDevice = vm.addr(NEW_KEY);
    bytes32 private constant EVIDENCE = "certificate";

    // --- bind and unbind ---------------------------------------------------------------------------------

    function testFuzz_bind(uint256 key, address by, uint256 deadline) public {
        key = 1000 + key % 1_000_000;
        deadline = _pick(deadline, "deadline", NOW, type(uint256).max);
        if (by == address(0)) return;
        address device_ = vm.addr(key);
        bytes memory signature = Signatures.long(key, _digest(by, device_, 0, deadline));
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceBound(device_, by);
        vm.prank(by);
        devices.bind(device_, deadline, signature);
        _equal(devices.walletOf(device_), by, "wallet");
        _equal(devices.nonceOf(device_), 1, "nonce");
    }

    function testFuzz_bindRefusesABoundDevice(address by) public {
        bytes memory signature = Signatures.long(DEVICE_KEY, _digest(by, device, 1, NOW));
        _refusedHere(
            by,
            abi.encodeCall(devices.bind, (device, NOW, signature)),
            abi.encodeWithSelector(IDeviceRegistry.DeviceIsBound.selector, device, wallet)
        );
    }

    function testFuzz_bindRefusesALateSignature(uint256 deadline) public {
        deadline = _pick(deadline, "deadline", 0, NOW - 1);
        bytes memory signature = Signatures.long(NEW_KEY, _digest(wallet, newDevice, 0, deadline));
        _refusedHere(
            wallet,
            abi.encodeCall(devices.bind, (newDevice, deadline, signature)),
            abi.encodeWithSelector(IDeviceRegistry.BindingExpired.selector, newDevice, deadline)
        );
    }

    /// @dev The signature names the wallet: nobody who sees it can bind the device to himself.
    function testFuzz_bindRefusesAnotherWallet(address by) public {
        if (by == wallet) return;
        _refusedSignature(by, NOW, Signatures.long(NEW_KEY, _digest(wallet, newDevice, 0, NOW)));
    }

    function testFuzz_bindRefusesAnotherSigner(uint256 key) public {
        key = 1000 + key % 1_000_000;
        _refusedSignature(wallet, NOW, Signatures.long(key, _digest(wallet, newDevice, 0, NOW)));
    }

    function testFuzz_bindRefusesGarbage(bytes calldata garbage) public {
        _refusedSignature(wallet, NOW, garbage);
    }

    function test_bindRefusesAMalleableSignature() public {
        _refusedSignature(wallet, NOW, Signatures.malleated(NEW_KEY, _digest(wallet, newDevice, 0, NOW)));
    }

    function test_bindRefusesAnotherDeadlineNonceChainOrContract() public {
        _refusedSignature(wallet, NOW + 1, Signatures.long(NEW_KEY, _digest(wallet, newDevice, 0, NOW)));
        _refusedSignature(wallet, NOW, Signatures.long(NEW_KEY, _digest(wallet, newDevice, 1, NOW)));
        bytes32 elsewhere = Signatures.bindDigest(address(licenses), wallet, newDevice, 0, NOW);
        _refusedSignature(wallet, NOW, Signatures.long(NEW_KEY, elsewhere));
        bytes memory signature = Signatures.long(NEW_KEY, _digest(wallet, newDevice, 0, NOW));
        vm.chainId(block.chainid + 1);
        _refusedSignature(wallet, NOW, signature);
    }

    /// @dev A signature counts once: after `unbind` an old one binds nothing.
    function test_bindRefusesAnOldSignature() public {
        bytes memory signature = Signatures.long(NEW_KEY, _digest(wallet, newDevice, 0, NOW));
        vm.prank(wallet);
        devices.bind(newDevice, NOW, signature);
        vm.prank(newDevice);
        devices.unbind(newDevice);
        _refusedSignature(wallet, NOW, signature);
        _bind(buyer, NEW_KEY);
        _equal(devices.walletOf(newDevice), buyer, "wallet");
        _equal(devices.nonceOf(newDevice), 2, "nonce");
    }

    function testFuzz_unbindByWalletOrDevice(bool byDevice) public {
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceUnbound(device, wallet);
        vm.prank(byDevice ? device : wallet);
        devices.unbind(device);
        _equal(devices.walletOf(device), address(0), "wallet");
    }

    function testFuzz_unbindRefusesOthers(address caller) public {
        if (caller == wallet || caller == device) return;
        bytes memory error_ = _notTheDevice(device, caller);
        _refusedHere(caller, abi.encodeCall(devices.unbind, (device)), error_);
        _refusedHere(caller, abi.encodeCall(devices.presentAttestor, (device, attestor, true)), error_);
    }

    function test_unbindRefusesADeviceThatIsNotBound() public {
        bytes memory error_ = abi.encodeWithSelector(IDeviceRegistry.DeviceIsNotBound.selector, newDevice);
        _refusedHere(newDevice, abi.encodeCall(devices.unbind, (newDevice)), error_);
        _refusedHere(stranger, abi.encodeCall(devices.unbind, (newDevice)), _notTheDevice(newDevice, stranger));
    }

    // --- attest and retract ------------------------------------------------------------------------------

    function testFuzz_attestAndRetract(address by, address device_, bytes32 evidence) public {
        if (evidence == 0) return;
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.DeviceAttested(device_, by, evidence);
        vm.prank(by);
        devices.attest(device_, evidence);
        _equal(devices.attestationOf(by, device_), evidence, "evidence");
        _true(!devices.isTrusted(device_, owner), "nobody accepted it");
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.AttestationRetracted(device_, by);
        vm.prank(by);
        devices.retract(device_);
        _equal(devices.attestationOf(by, device_), 0, "evidence");
    }

    function testFuzz_attestRefusesNoEvidence(address by, address device_) public {
        bytes memory error_ = abi.encodeWithSelector(IDeviceRegistry.NoEvidence.selector, device_);
        _refusedHere(by, abi.encodeCall(devices.attest, (device_, 0)), error_);
    }

    function testFuzz_retractRefusesWithoutAStatement(address by) public {
        if (by == attestor) return;
        vm.prank(attestor);
        devices.attest(device, EVIDENCE);
        bytes memory error_ = abi.encodeWithSelector(IDeviceRegistry.NotAttested.selector, device, by);
        _refusedHere(by, abi.encodeCall(devices.retract, (device)), error_);
    }

    // --- present and accept ------------------------------------------------------------------------------

    function testFuzz_presentUpToEight(uint8 count, uint8 drop) public {
        uint256 most = devices.MAX_ATTESTORS();
        _equal(most, 8, "MAX_ATTESTORS");
        uint256 shown = 1 + count % most;
        for (uint256 i = 0; i < shown; ++i) {
            address it = address(uint160(100 + i));
            vm.expectEmit(address(devices));
            emit IDeviceRegistry.AttestorPresented(device, it, true);
            vm.prank(i % 2 == 0 ? device : wallet);
            devices.presentAttestor(device, it, true);
            _refusedHere(
                device,
                abi.encodeCall(devices.presentAttestor, (device, it, true)),
                abi.encodeWithSelector(IDeviceRegistry.AlreadyPresented.selector, device, it)
            );
        }
        if (shown == most) {
            _refusedHere(
                device,
                abi.encodeCall(devices.presentAttestor, (device, attestor, true)),
                abi.encodeWithSelector(IDeviceRegistry.TooManyAttestors.selector, device, most)
            );
        }
        address dropped = address(uint160(100 + drop % shown));
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.AttestorPresented(device, dropped, false);
        vm.prank(device);
        devices.presentAttestor(device, dropped, false);
        address[] memory left = devices.attestorsOf(device);
        _equal(left.length, shown - 1, "left");
        // All but the dropped one are still there, each once.
        uint256 sum;
        for (uint256 i = 0; i < left.length; ++i) {
            _true(left[i] != dropped, "dropped");
            sum += 1 << uint160(left[i]);
        }
        _equal(sum, (((1 << shown) - 1) << 100) - (1 << uint160(dropped)), "the others");
    }

    function testFuzz_presentRefusesToDropWhatIsNotShown(address it) public {
        bytes memory error_ = abi.encodeWithSelector(IDeviceRegistry.NotPresented.selector, device, it);
        _refusedHere(wallet, abi.encodeCall(devices.presentAttestor, (device, it, false)), error_);
    }

    function testFuzz_acceptAttestor(address by, address it, bool accepted) public {
        vm.expectEmit(address(devices));
        emit IDeviceRegistry.AttestorAccepted(by, it, accepted);
        vm.prank(by);
        devices.acceptAttestor(it, accepted);
        _true(devices.acceptsAttestor(by, it) == accepted, "accepted");
    }

    /// @dev Trust takes all three: a statement, shown, by somebody whom the owner accepts.
    function testFuzz_trustTakesThreeParties(bool attested, bool shown, bool accepted) public {
        if (attested) vm.prank(attestor);
        if (attested) devices.attest(device, EVIDENCE);
        if (shown) vm.prank(device);
        if (shown) devices.presentAttestor(device, attestor, true);
        vm.prank(owner);
        devices.acceptAttestor(attestor, accepted);
        _true(devices.isTrusted(device, owner) == (attested && shown && accepted), "trusted");
        _true(!devices.isTrusted(device, stranger), "by somebody else");
        _true(!devices.isTrusted(wallet, owner), "another device");
    }

    function test_trustEndsWithAnyOfThem() public {
        _trust(device);
        _true(devices.isTrusted(device, owner), "trusted");
        vm.prank(attestor);
        devices.retract(device);
        _true(!devices.isTrusted(device, owner), "retracted");
        vm.prank(attestor);
        devices.attest(device, EVIDENCE);
        vm.prank(owner);
        devices.acceptAttestor(attestor, false);
        _true(!devices.isTrusted(device, owner), "no longer accepted");
        vm.prank(owner);
        devices.acceptAttestor(attestor, true);
        vm.prank(wallet);
        devices.presentAttestor(device, attestor, false);
        _true(!devices.isTrusted(device, owner), "no longer shown");
    }

    /// @dev Statements by others that a device shows too don't hide the one that counts.
    function testFuzz_trustLooksAtEveryStatement(uint8 place) public {
        for (uint256 i = 0; i < 8; ++i) {
            vm.prank(device);
            devices.presentAttestor(device, i == place % 8 ? attestor : address(uint160(100 + i)), true);
        }
        _true(!devices.isTrusted(device, owner), "before");
        vm.prank(attestor);
        devices.attest(device, EVIDENCE);
        vm.prank(owner);
        devices.acceptAttestor(attestor, true);
        _true(devices.isTrusted(device, owner), "after");
    }

    // --- internal ----------------------------------------------------------------------------------------

    function _digest(address by, address device_, uint256 nonce, uint256 deadline) private view returns (bytes32) {
        return Signatures.bindDigest(address(devices), by, device_, nonce, deadline);
    }

    function _refusedHere(address caller, bytes memory data, bytes memory error_) private {
        _refusedBy(address(devices), caller, data, error_);
    }

    function _refusedSignature(address by, uint256 deadline, bytes memory signature) private {
        bytes memory error_ = abi.encodeWithSelector(IDeviceRegistry.InvalidDeviceSignature.selector, newDevice);
        _refusedHere(by, abi.encodeCall(devices.bind, (newDevice, deadline, signature)), error_);
    }

    function _notTheDevice(address device_, address caller) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IDeviceRegistry.NotTheDevice.selector, device_, caller);
    }
}
