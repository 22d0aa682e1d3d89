"""What the package raises where no built-in exception says enough."""


class RequestError(ValueError):
    """A request that cannot be answered: an HTTP status, a short type, and a sentence for a person."""

    def __init__(self, code: int, kind: str, message: str):
        super().__init__(message)
        self.code, self.kind, self.message = code, kind, message
