"""Version 1: additions only."""
