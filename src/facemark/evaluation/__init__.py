"""Evaluation: metrics, scores of single images, corruptions, robustness, and the report.

May import the root of the package, ``models``, ``inference``, ``io`` and ``data``.
"""
