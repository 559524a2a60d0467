// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";
import {IERC1155MetadataURI} from "@openzeppelin/contracts/token/ERC1155/extensions/IERC1155MetadataURI.sol";
import {IERC1155Receiver} from "@openzeppelin/contracts/token/ERC1155/IERC1155Receiver.sol";
import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

/// @title The ERC-1155 face of licenses
/// @notice Explorers and wallets that know nothing of licenses show who holds one and how many copies are left,
/// an issue as a mint and a print as a burn. There is no storage of its own: a balance is the license's
/// `remaining`. A license has one holder and moves as a whole.
/// Differs from the standard in one point: minting doesn't call the receiver, because one receiver that reverts
/// would block a whole batch. Transfers do.
abstract contract LicenseToken is IERC1155MetadataURI, IERC1155Errors {
    mapping(address account => mapping(address operator => bool)) private _approvals;

    /// @inheritdoc IERC1155
    function balanceOf(address account, uint256 id) public view returns (uint256) {
        (address holder, uint256 copies) = _holding(id);
        return account == holder ? copies : 0;
    }

    /// @inheritdoc IERC1155
    function balanceOfBatch(address[] calldata accounts, uint256[] calldata ids)
        external
        view
        returns (uint256[] memory balances)
    {
        if (accounts.length != ids.length) revert ERC1155InvalidArrayLength(ids.length, accounts.length);
        balances = new uint256[](ids.length);
        for (uint256 i = 0; i < ids.length; ++i) {
            balances[i] = balanceOf(accounts[i], ids[i]);
        }
    }

    /// @inheritdoc IERC1155
    function setApprovalForAll(address operator, bool approved) external {
        if (operator == address(0)) revert ERC1155InvalidOperator(address(0));
        _approvals[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    /// @inheritdoc IERC1155
    function isApprovedForAll(address account, address operator) public view returns (bool) {
        return _approvals[account][operator];
    }

    /// @inheritdoc IERC1155
    function safeTransferFrom(address from, address to, uint256 id, uint256 value, bytes calldata data) external {
        _requireHolderOrApproved(from);
        _moveLicense(id, from, to, value);
        emit TransferSingle(msg.sender, from, to, id, value);
        _acknowledge(from, to, id, value, data);
    }

    /// @inheritdoc IERC1155
    function safeBatchTransferFrom(
        address from,
        address to,
        uint256[] calldata ids,
        uint256[] calldata values,
        bytes calldata data
    ) external {
        if (ids.length != values.length) {
            revert ERC1155InvalidArrayLength(ids.length, values.length);
        }
        // Here too, because a batch may be empty.
        if (to == address(0)) revert ERC1155InvalidReceiver(to);
        _requireHolderOrApproved(from);
        for (uint256 i = 0; i < ids.length; ++i) {
            _moveLicense(ids[i], from, to, values[i]);
        }
        emit TransferBatch(msg.sender, from, to, ids, values);
        if (to.code.length != 0) {
            try IERC1155Receiver(to).onERC1155BatchReceived(msg.sender, from, ids, values, data) returns (
                bytes4 answer
            ) {
                if (answer != IERC1155Receiver.onERC1155BatchReceived.selector) revert ERC1155InvalidReceiver(to);
            } catch {
                revert ERC1155InvalidReceiver(to);
            }
        }
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IERC1155).interfaceId
            || interfaceId == type(IERC1155MetadataURI).interfaceId;
    }

    /// @dev Holder and copies left of a license; zeros when it doesn't exist.
    function _holding(uint256 id) internal view virtual returns (address holder, uint256 copies);

    /// @dev Moves a whole license; reverts unless `value` is all that is left. Emits no ERC-1155 event.
    function _moveLicense(uint256 id, address from, address to, uint256 value) internal virtual;

    function _requireHolderOrApproved(address holder) internal view {
        if (msg.sender != holder && !isApprovedForAll(holder, msg.sender)) {
            revert ERC1155MissingApprovalForAll(msg.sender, holder);
        }
    }

    /// @dev Asks a receiver that is a contract, after everything has changed: re-entering gains nothing.
    function _acknowledge(address from, address to, uint256 id, uint256 value, bytes memory data) internal {
        if (to.code.length == 0) return;
        try IERC1155Receiver(to).onERC1155Received(msg.sender, from, id, value, data) returns (bytes4 answer) {
            if (answer != IERC1155Receiver.onERC1155Received.selector) revert ERC1155InvalidReceiver(to);
        } catch {
            revert ERC1155InvalidReceiver(to);
        }
    }
}
