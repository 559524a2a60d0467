"""Every touch of an OctoPrint API that isn't documented for plugins.

A new OctoPrint version is supported when the modules of this package and their tests are.
"""
