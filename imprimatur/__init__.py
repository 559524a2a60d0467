"""What portal, printer and auditor share: hashing, license ids, the chain and its contracts.

Importing this package costs nothing: submodules import eth-account, eth-abi and requests only when a
function needs them, because a printer's small board pays seconds for each.
"""

__version__ = "0.1.0"
