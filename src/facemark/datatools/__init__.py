"""Tools that look at a dataset before training, and add masks to it: the commands of ``facemark data``.

``summary`` counts and checks, ``contact_sheet`` draws, ``pseudo_labels`` writes masks. May import everything up to
``training``.
"""
