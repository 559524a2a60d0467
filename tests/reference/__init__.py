"""A readable Python twin of the contracts, and a machine that compares both after every step."""
