"""A printer, its portal, its key desk and its chain in one process, on a virtual clock, killable anywhere."""
