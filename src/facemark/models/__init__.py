"""Networks and their files: what a network is, and the bundle that a trained one is kept in.

May import the package's root alone. Nothing else knows how a network is built or what a weights file holds.
"""
