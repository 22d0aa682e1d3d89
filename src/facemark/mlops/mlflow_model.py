"""The project's one inference path as an MLflow model; MLflow runs this file whenever it loads the model."""

import json
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from facemark import errors, images
from facemark.inference.parser import FaceParser
from facemark.io import response


class Parser(PythonModel):
    """Takes the bytes of pictures, in the column ``image``, and answers for each what the endpoint answers."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle and the identity that were logged."""
        self.parser = FaceParser(context.artifacts["bundle"])
        self.identity = json.loads(Path(context.artifacts["identity"]).read_text())

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None) -> list[dict]:
        """Parse pictures one by one: a broken one answers its own error and leaves the others untouched."""
        return [self._answer(data, params or {}) for data in model_input["image"]]

    def _answer(self, data: bytes, params: dict) -> dict:
        try:
            options = response.parse_options(params)
            return response.encode_response(self.parser([images.decode(data)])[0], options, self.identity)
        except errors.RequestError as error:
            return response.encode_error(error.code, error.kind, str(error))


mlflow.models.set_model(Parser())
