"""What training sees: datasets in their formats, checked, split and augmented, and the drawn starter faces.

``formats`` reads datasets, ``preparation`` makes them ready for training, ``transforms`` augments, ``synthetic`` draws.
May import the package's root, ``models``, ``inference`` and ``io``.
"""
