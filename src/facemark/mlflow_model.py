"""The project's one inference path as an MLflow model; MLflow runs this file whenever it loads the model."""

import json
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from facemark import answer, images
from facemark.parser import FaceParser


class Parser(PythonModel):
    """Takes the bytes of pictures, in the column ``image``, and answers for each what the endpoint answers."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights, the landmark model and the names that were logged."""
        files = {name: Path(path) for name, path in context.artifacts.items()}
        self.parser = FaceParser(files["weights"], files["landmarks"])
        self.names = json.loads(files["names"].read_text())

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None) -> list[dict]:
        """Parse pictures one by one: a broken one answers its own error and leaves the others untouched."""
        return [self._answer(data, params or {}) for data in model_input["image"]]

    def _answer(self, data: bytes, params: dict) -> dict:
        try:
            options = answer.options(params)
            return answer.answer(self.parser([images.decode(data)])[0], options, self.names)
        except images.RequestError as error:
            return answer.error(error.code, error.kind, str(error))


mlflow.models.set_model(Parser())
