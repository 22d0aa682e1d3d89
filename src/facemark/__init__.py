"""Facemark: facial landmarks by parsing the face first."""

import os

# Neither library may call home, nor wait for a network that is not there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
