// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";

/// @title The least that a license could be with OpenZeppelin's ERC-1155
/// @notice For gas comparison only: a balance of copies and the hash of a file. No validity, no copy numbers, no
/// refunds, no revocation, and anybody who holds the token can send single copies on.
contract LeanLicense is ERC1155("") {
    mapping(uint256 id => uint256 fileHash) private _fileHashes;

    error NotTheOwner();
    error Exists();
    error AnotherFile();

    function issue(uint256 id, address printer, uint256 copies, uint256 fileHash) external {
        _issue(id, printer, copies, fileHash);
    }

    function issueBatch(
        uint256[] calldata ids,
        address[] calldata printers,
        uint256[] calldata copies,
        uint256[] calldata fileHashes
    ) external {
        for (uint256 i = 0; i < ids.length; ++i) {
            _issue(ids[i], printers[i], copies[i], fileHashes[i]);
        }
    }

    function use(uint256 id, uint256 fileHash) external {
        if (fileHash == 0 || _fileHashes[id] != fileHash) revert AnotherFile();
        _burn(msg.sender, id, 1);
    }

    function _issue(uint256 id, address printer, uint256 copies, uint256 fileHash) private {
        if (msg.sender != address(uint160(id >> 96))) revert NotTheOwner();
        if (_fileHashes[id] != 0) revert Exists();
        _fileHashes[id] = fileHash;
        _mint(printer, id, copies, "");
    }
}
