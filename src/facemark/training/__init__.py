"""The Lightning side: data module, task and trainer of the parser, and what the landmark model is fitted to.

May import everything up to ``evaluation``. Nothing in here knows of DVC or MLflow.
"""
