"""Figures: metrics, scores of single pictures, corruptions, and the report of an evaluation.

May import the package's root, ``models``, ``inference``, ``io`` and ``data``.
"""
