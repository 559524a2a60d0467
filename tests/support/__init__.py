"""What several suites need: a real chain node, accounts with coins, a deployed contract."""
