"""Looking at a dataset before training, and adding masks to it: ``facemark data``.

May import everything up to ``training``.
"""
