"""A page on loopback for people: drop a photograph, and see what is found in it.

May import everything but ``stages`` and ``cli``.
"""
