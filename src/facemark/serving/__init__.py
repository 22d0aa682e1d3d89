"""TorchServe: the archive it serves, the process on this machine, what a request says, and a client.

May import everything up to ``training``. ``request``, ``telemetry`` and ``sandbox`` travel in the archive.
"""
