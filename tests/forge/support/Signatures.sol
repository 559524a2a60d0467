// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {IPrintLicense} from "../../../contracts/interfaces/IPrintLicense.sol";
import {vm} from "./Vm.sol";

/// @notice What owners and devices sign, written down a second time: the contracts' own constants aren't read.
library Signatures {
    string internal constant ORDER = "Order(address owner,uint96 number,address printer,uint256 fileHash,"
        "uint16 copies,uint32 validUntil,uint8 flags,uint8 failuresAllowed,bytes32 manifestHash,uint256 deadline)";
    string internal constant USE = "Use(uint256 id,uint256 fileHash,uint256 copy,bytes32 keyRecipient,"
        "bytes32 encryptedSerial,bytes32 commitment,uint256 deadline)";
    string internal constant FAILURE = "Failure(uint256 id,uint256 copy,bytes32 evidence,uint256 deadline)";
    string internal constant BIND = "Bind(address wallet,address device,uint256 nonce,uint256 deadline)";

    /// @dev Order of the curve; `ORDER_OF_CURVE - s` is the other, malleable half of a signature.
    uint256 internal constant ORDER_OF_CURVE = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function domain(string memory name, uint256 chainId, address verifier) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                chainId,
                verifier
            )
        );
    }

    function ofLicenses(address verifier) internal view returns (bytes32) {
        return domain("Imprimatur PrintLicense", block.chainid, verifier);
    }

    function ofDevices(address verifier) internal view returns (bytes32) {
        return domain("Imprimatur DeviceRegistry", block.chainid, verifier);
    }

    function digest(bytes32 domain_, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain_, structHash));
    }

    function hashOf(IPrintLicense.Order memory order) internal pure returns (bytes32) {
        return keccak256(
            bytes.concat(
                keccak256(bytes(ORDER)),
                abi.encode(order.owner, order.number, order.printer, order.fileHash, order.copies),
                abi.encode(order.validUntil, order.flags, order.failuresAllowed, order.manifestHash, order.deadline)
            )
        );
    }

    function hashOf(IPrintLicense.SignedUse memory use) internal pure returns (bytes32) {
        return keccak256(
            bytes.concat(
                keccak256(bytes(USE)),
                abi.encode(use.id, use.fileHash, use.copy, use.keyRecipient),
                abi.encode(use.encryptedSerial, use.commitment, use.deadline)
            )
        );
    }

    function hashOf(IPrintLicense.SignedFailure memory failure) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(keccak256(bytes(FAILURE)), failure.id, failure.copy, failure.evidence, failure.deadline)
        );
    }

    /// @dev `r`, `s`, `v` in 65 bytes.
    function long(uint256 key, bytes32 digest_) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest_);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The same signature with the other `s`: valid for the curve, refused by the contracts.
    function malleated(uint256 key, bytes32 digest_) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest_);
        return abi.encodePacked(r, bytes32(ORDER_OF_CURVE - uint256(s)), v == 27 ? uint8(28) : uint8(27));
    }

    /// @dev `r` and `vs` (EIP-2098).
    function compact(uint256 key, bytes32 digest_) internal pure returns (bytes32 r, bytes32 vs) {
        uint8 v;
        bytes32 s;
        (v, r, s) = vm.sign(key, digest_);
        vs = bytes32(uint256(s) | (uint256(v - 27) << 255));
    }

    function bindDigest(address registry, address wallet, address device, uint256 nonce, uint256 deadline)
        internal
        view
        returns (bytes32)
    {
        return digest(
            ofDevices(registry), keccak256(abi.encode(keccak256(bytes(BIND)), wallet, device, nonce, deadline))
        );
    }
}
