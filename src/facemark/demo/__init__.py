"""A web page on loopback: drop a photograph, and see its parse.

May import everything but ``stages`` and ``cli``.
"""
