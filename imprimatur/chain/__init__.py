"""JSON-RPC, typed contract calls, transactions and signers, with eth-account and eth-abi only."""
