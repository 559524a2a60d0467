"""Long-running processes beside the web."""
