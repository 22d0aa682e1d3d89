"""The edge: photographs and videos in, JSON, tables, masks and drawings out.

May import the package's root, ``models`` and ``inference``. Nothing in here decides what a face is.
"""
