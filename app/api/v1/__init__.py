"""Version 1 of the interface for programs, one module per resource."""
