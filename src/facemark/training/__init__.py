"""Training of the parser with Lightning (data module, task, trainer), and of the landmark model (calibration).

May import everything up to ``evaluation``. DVC and MLflow are not used here.
"""
