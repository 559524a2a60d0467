// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice A contract account that says yes to the signatures that its keeper made beforehand (ERC-1271).
contract SmartAccount {
    mapping(bytes32 digest => bool) public agreed;

    function agree(bytes32 digest) external {
        agreed[digest] = true;
    }

    function isValidSignature(bytes32 digest, bytes calldata) external view returns (bytes4) {
        return agreed[digest] ? this.isValidSignature.selector : bytes4(0);
    }

    function act(address target, bytes calldata data) external {
        (bool done, bytes memory answer) = target.call(data);
        if (!done) {
            assembly {
                revert(add(answer, 32), mload(answer))
            }
        }
    }
}

/// @notice Takes licenses, as ERC-1155 asks.
contract Taker {
    bytes public lastData;

    function onERC1155Received(address, address, uint256, uint256, bytes calldata data) external returns (bytes4) {
        lastData = data;
        return this.onERC1155Received.selector;
    }

    function onERC1155BatchReceived(address, address, uint256[] calldata, uint256[] calldata, bytes calldata data)
        external
        returns (bytes4)
    {
        lastData = data;
        return this.onERC1155BatchReceived.selector;
    }
}

/// @notice Answers, but not what ERC-1155 asks for.
contract WrongTaker {
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

/// @notice Tries to pass a license on, and to use it, while it is being received.
contract Reentrant {
    bytes public attempt;
    bool public succeeded;

    function plan(bytes calldata attempt_) external {
        attempt = attempt_;
    }

    function onERC1155Received(address, address, uint256, uint256, bytes calldata) external returns (bytes4) {
        (succeeded,) = msg.sender.call(attempt);
        return this.onERC1155Received.selector;
    }
}
