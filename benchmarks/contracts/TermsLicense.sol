// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";

/// @title PrintLicense's terms on top of OpenZeppelin's ERC-1155
/// @notice For gas comparison only: the copies left are a token's balance, and the terms (printer, validity, flags,
/// failures) are a packed word beside it that a print checks. What PrintLicense does beyond that is left out, in
/// this contract's favour: no numbered copies, no event of ours for a print, no failures given back.
contract TermsLicense is ERC1155("") {
    struct Terms {
        address printer;
        uint32 validUntil;
        uint8 flags;
        uint8 failuresAllowed;
    }

    struct Order {
        uint256 id;
        address printer;
        uint256 fileHash;
        uint16 copies;
        uint32 validUntil;
        uint8 flags;
        uint8 failuresAllowed;
        bytes32 manifestHash;
        uint256 deadline;
    }

    mapping(uint256 id => Terms) private _terms;
    mapping(uint256 id => uint256 fileHash) private _fileHashes;

    event LicenseIssued(
        uint256 indexed id,
        address indexed printer,
        uint256 indexed fileHash,
        uint16 copies,
        uint32 validUntil,
        uint8 flags,
        uint8 failuresAllowed,
        bytes32 manifestHash
    );

    error NotTheOwner();
    error NotThePrinter();
    error Exists();
    error Expired();
    error AnotherFile();

    function issue(Order calldata order) external {
        _issue(order);
    }

    function issueBatch(Order[] calldata orders) external {
        for (uint256 i = 0; i < orders.length; ++i) {
            _issue(orders[i]);
        }
    }

    function use(uint256 id, uint256 fileHash) external {
        Terms memory terms = _terms[id];
        if (msg.sender != terms.printer) revert NotThePrinter();
        if (terms.validUntil != 0 && block.timestamp > terms.validUntil) revert Expired();
        if (fileHash == 0 || _fileHashes[id] != fileHash) revert AnotherFile();
        _burn(msg.sender, id, 1);
    }

    function _issue(Order calldata order) private {
        if (msg.sender != address(uint160(order.id >> 96))) revert NotTheOwner();
        if (block.timestamp > order.deadline) revert Expired();
        if (_terms[order.id].printer != address(0)) revert Exists();
        _terms[order.id] = Terms(order.printer, order.validUntil, order.flags, order.failuresAllowed);
        _fileHashes[order.id] = order.fileHash;
        emit LicenseIssued(
            order.id,
            order.printer,
            order.fileHash,
            order.copies,
            order.validUntil,
            order.flags,
            order.failuresAllowed,
            order.manifestHash
        );
        _mint(order.printer, order.id, order.copies, "");
    }
}
