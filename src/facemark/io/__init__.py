"""The edge of the package: images and videos in; JSON, tables, masks and drawings out.

May import the package's root, ``models`` and ``inference``. Nothing here decides what is a face.
"""
