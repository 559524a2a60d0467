"""Public pages about what stands on the chain: no login, no cookies."""
