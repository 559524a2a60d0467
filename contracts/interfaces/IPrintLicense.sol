// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The right to print
/// @notice A license allows one printer wallet to make a number of copies of one file. Its id carries the
/// account of its owner in the upper 160 bits and a number that she chose in the lower 96: nobody else can
/// take the number, a repeated order reverts instead of doubling, and the id is known before the transaction.
interface IPrintLicense {
    /// @notice What an owner orders.
    /// @param owner account that the license belongs to for ever; upper 160 bits of the id
    /// @param number chosen by the owner; lower 96 bits of the id
    /// @param printer wallet that may consume the copies
    /// @param fileHash SHA-256 of the print file
    /// @param copies number of prints, 1 to 65,535
    /// @param validUntil last second of validity (Unix time); 0 for ever
    /// @param flags terms; this version knows none and refuses every value but 0
    /// @param failuresAllowed failed prints that the owner gives back, 0 to 63
    /// @param manifestHash fixes the signed manifest that travels with the file; only in the event
    /// @param deadline last second (Unix time) at which this order may be executed
    struct Order {
        address owner;
        uint96 number;
        address printer;
        uint256 fileHash;
        uint16 copies;
        uint32 validUntil;
        uint8 flags;
        uint8 failuresAllowed;
        bytes32 manifestHash;
        uint256 deadline;
    }

    /// @notice A license as it stands in storage. Fields as in `LicenseState`.
    struct License {
        address printer;
        uint32 validUntil;
        uint8 flags;
        uint16 remaining;
        uint16 used;
        uint16 failedWindow;
        uint8 failuresAllowed;
        uint8 failed;
        uint256 fileHash;
    }

    /// @notice A license was issued.
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

    /// @notice The copy numbered `copy` was consumed by `device`. `keyRecipient` is the one-job X25519 key to
    /// which the file key will be encrypted, or zero.
    event LicenseUsed(uint256 indexed id, address indexed device, uint16 copy, uint256 fileHash, bytes32 keyRecipient);

    /// @notice `owner` gave `operator` the `rights` until the second `until` (Unix time). No rights: cut off.
    event OperatorSet(address indexed owner, address indexed operator, uint8 rights, uint64 until);

    error LicenseNotFound(uint256 id);
    error LicenseExists(uint256 id);
    error LicenseExhausted(uint256 id);
    error LicenseExpired(uint256 id, uint32 validUntil);
    error NotThePrinter(uint256 id, address caller);
    /// @notice A file hash of zero names no file. SAMPL's contract skipped its check for it.
    error FileHashIsZero(uint256 id);
    error FileHashMismatch(uint256 id, uint256 fileHash);
    error NotAllowed(address owner, address caller, uint8 right);
    error OrderExpired(uint256 id, uint256 deadline);
    error InvalidPrinter(uint256 id);
    error InvalidValidity(uint256 id, uint32 validUntil);
    error InvalidFlags(uint256 id, uint8 flags);
    error InvalidRights(uint8 rights);
    error NoCopies(uint256 id);
    error TooManyCopies(uint256 id, uint256 copies);
    error TooManyFailures(uint256 id, uint8 failuresAllowed);

    /// @notice Issue a license. Only the owner named in the order.
    /// @return id of the new license
    function issue(Order calldata order) external returns (uint256 id);

    /// @notice Issue a license for its owner. Only an operator to whom she gave the right ISSUE, in time.
    /// @return id of the new license
    function issueFor(Order calldata order) external returns (uint256 id);

    /// @notice Let `operator` act for the caller within `rights` until the second `until` (Unix time).
    /// @param rights sum of RIGHT_ISSUE (1), RIGHT_GRANT (2), RIGHT_APPROVE_FILE (4), RIGHT_REVOKE (8); 0 cuts off
    function setOperator(address operator, uint8 rights, uint64 until) external;

    /// @notice Consume the next copy. Only the printer of the license, only with the hash of its file.
    /// Whatever fails reverts: a transaction that succeeded has consumed exactly one copy.
    function useLicense(uint256 id, uint256 fileHash) external;

    /// @notice True when `fileHash` is the hash of the file of license `id`; false for an unknown id.
    function checkHash(uint256 id, uint256 fileHash) external view returns (bool);

    /// @notice The license as it stands. Reverts with `LicenseNotFound` for an unknown id.
    function licenseOf(uint256 id) external view returns (License memory);

    /// @notice What `operator` may do for `owner`, and until which second (Unix time).
    function operatorOf(address owner, address operator) external view returns (uint8 rights, uint64 until);

    /// @notice The account that the license id belongs to, issued or not.
    function ownerOf(uint256 id) external pure returns (address);

    /// @notice Version of this contract; versions live side by side, none can be upgraded.
    function version() external pure returns (string memory);
}
