"""From images to faces: detection, alignment, segmentation, landmarks, compositing; ``parser`` puts them together.

May import the package's root and ``models``. Thresholds are in ``config``, and nowhere else.
"""
