"""The project's one inference path as an MLflow model; MLflow runs this file whenever it loads the model."""

from pathlib import Path

import mlflow
import numpy as np
from mlflow.pyfunc import PythonModel, PythonModelContext

from facemark.parser import FaceParser


class Parser(PythonModel):
    """Takes uint8 RGB images N × H × W × 3, answers their masks of class ids, uint8 N × H × W."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights and the landmark model that were logged."""
        self.parser = FaceParser(Path(context.artifacts["weights"]), Path(context.artifacts["landmarks"]))

    def predict(self, context: PythonModelContext, model_input: np.ndarray) -> np.ndarray:
        """Parse a batch of pictures of one size."""
        return np.stack([parse.mask for parse in self.parser(list(model_input))])


mlflow.models.set_model(Parser())
