// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

// What is cast here was bounded when it was picked, or is a short text.
// forge-lint: disable-start(unsafe-typecast)

import {PrintLicense} from "../../../contracts/PrintLicense.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @notice A wallet that is a contract and takes licenses; notes what it was told.
contract GoodReceiver {
    uint256 public calls;
    bytes public lastData;

    function onERC1155Received(address, address, uint256, uint256, bytes calldata data) external returns (bytes4) {
        ++calls;
        lastData = data;
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata data)
        external
        returns (bytes4)
    {
        ++calls;
        lastData = data;
        return this.onERC1155BatchReceived.selector;
    }
}

/// @notice A contract that knows nothing of ERC-1155.
contract DeafReceiver {
    bool public constant DEAF = true;
}

/// @notice Answers with something else than the standard wants.
contract WrongReceiver {
    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external pure returns (bytes4) {
        return 0xdeadbeef;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata)
        external
        pure
        returns (bytes4)
    {
        return 0xdeadbeef;
    }
}

/// @notice Calls back while it receives a license: prints it, and sends it on.
contract ReentrantReceiver {
    PrintLicense private immutable _LICENSES;
    uint256 private immutable _FILE_HASH;
    address private immutable _NEXT;
    address private _from;

    /// @notice What the calls that it made while receiving led to.
    bool public tookAgain;
    bool public printed;

    constructor(PrintLicense licenses, uint256 fileHash, address next) {
        _LICENSES = licenses;
        _FILE_HASH = fileHash;
        _NEXT = next;
    }

    function onERC1155Received(address, address from, uint256 id, uint256 value, bytes calldata)
        external
        returns (bytes4)
    {
        _attack(from, id, value);
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(
        address,
        address from,
        uint256[] calldata ids,
        uint256[] calldata values,
        bytes calldata
    ) external returns (bytes4) {
        for (uint256 i = 0; i < ids.length; ++i) {
            _attack(from, ids[i], values[i]);
        }
        return this.onERC1155BatchReceived.selector;
    }

    /// @dev Takes the license from the seller a second time, then prints a copy, then sends the rest on.
    function _attack(address from, uint256 id, uint256 value) private {
        try _LICENSES.safeTransferFrom(from, _NEXT, id, value, "") {
            tookAgain = true;
        } catch {}
        try _LICENSES.useLicense(id, _FILE_HASH) {
            printed = true;
        } catch {}
        if (value > 1) _LICENSES.transferLicense(id, _NEXT);
    }
}

/// @notice An owner that is a contract: ERC-1271 over one key, any number of signature encodings accepted.
contract ContractOwner {
    address private immutable _SIGNER;

    constructor(address signer) {
        _SIGNER = signer;
    }

    /// @dev Deliberately loose: whatever the last 65 bytes hold. A voucher must not count twice even so.
    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        bytes memory last = signature[signature.length - 65:];
        (address signer,,) = ECDSA.tryRecover(digest, last);
        return signer == _SIGNER ? this.isValidSignature.selector : bytes4(0);
    }
}
