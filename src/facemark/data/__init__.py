"""What training sees: datasets in their formats, checked, split, augmented, or drawn by ``synthetic``.

May import the package's root, ``models``, ``inference`` and ``io``. A format is one module in ``formats``.
"""
