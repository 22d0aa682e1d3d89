"""TorchServe: the archive that it serves, its process on this machine, requests, and a client.

May import everything up to ``datatools``. ``request``, ``telemetry`` and ``sandbox`` are part of the archive.
"""
