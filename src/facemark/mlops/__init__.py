"""MLflow and releases: runs, the model registry, promotion, sweeps.

May import everything up to ``serving``.
"""
