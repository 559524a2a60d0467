"""A small world to audit, and a node that lies about it."""
