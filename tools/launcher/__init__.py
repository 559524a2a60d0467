"""What stands behind `run.py`: installing, starting and testing. Standard library only."""
