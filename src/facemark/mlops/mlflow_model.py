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
    """Takes the bytes of encoded images, in the column ``image``, and returns the endpoint's response for each."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the logged bundle and identity.

        Raises:
            FileNotFoundError, ValueError: a file is missing or is not what it should be.
        """
        self.parser = FaceParser(context.artifacts["bundle"])
        self.identity = json.loads(Path(context.artifacts["identity"]).read_text())

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: dict | None = None) -> list[dict]:
        """Parse images one by one; a broken one gets an error as its response and does not affect the others.

        Args:
            context: of :meth:`load_context`.
            model_input: a column ``image`` of bytes.
            params: the endpoint's options.

        Returns:
            A response or an error for each image, as :mod:`facemark.io.response` encodes them.
        """
        return [self._respond(data, params or {}) for data in model_input["image"]]

    def _respond(self, data: bytes, params: dict) -> dict:
        try:
            options = response.parse_options(params)
            return response.encode_response(self.parser([images.decode(data)])[0], options, self.identity)
        except errors.RequestError as error:
            return response.encode_error(error.code, error.kind, str(error))


mlflow.models.set_model(Parser())
