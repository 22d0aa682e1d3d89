"""Datasets as they are published: one module a format, each with ``samples(root)``, which lists its images.

A format lists :class:`facemark.data.samples.Sample` where its files are in the project's own form, and
:class:`facemark.data.samples.Published` where they need conversion.
"""
