"""Brownie scripts: `python3 run.py brownie run NAME`."""
