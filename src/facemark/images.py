"""Bytes of a request → an RGB picture, or one sentence that says why not."""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000


class RequestError(ValueError):
    """A request that cannot be answered: an HTTP status, a short type, and a sentence for a person."""

    def __init__(self, code: int, kind: str, message: str):
        super().__init__(message)
        self.code, self.kind = code, kind


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture to H × W × 3 RGB uint8, turned as its EXIF orientation asks.

    Grey, palette, CMYK and 16-bit pictures are converted, the latter scaled; transparency is laid on white; of an
    animation the first frame counts. Sizes are judged by the header, before anything is decoded.

    Raises:
        RequestError: 400 an empty, truncated or broken picture; 413 more bytes or pixels than allowed; 415 another
            format.
    """
    if not data:
        raise RequestError(400, "MissingImage", "the image is empty; send the bytes of a picture")
    if len(data) > max_bytes:
        raise RequestError(413, "ImageTooLarge", f"the image has {len(data):,} bytes; at most {max_bytes:,} are taken")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning of large pictures: the limit here is ours
            return _decode(data, max_pixels)
    except RequestError:
        raise
    except Exception as error:  # decoders raise anything, from struct.error to SyntaxError
        raise RequestError(
            400, "UnreadableImage", "the image is truncated or broken; send a whole JPEG, PNG, WebP, BMP or TIFF file"
        ) from error


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise RequestError(
            415, "UnsupportedFormat", "the body is no image that is known here; send JPEG, PNG, WebP, BMP or TIFF"
        ) from error
    except Image.DecompressionBombError as error:
        raise RequestError(
            413, "ImageTooLarge", f"the image is too large; at most {max_pixels:,} pixels are taken"
        ) from error
    with picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise RequestError(
                413,
                "ImageTooLarge",
                f"the image is {width:,} × {height:,} pixels; at most {max_pixels:,} are taken, send a smaller one",
            )
        picture.load()
        return _rgb(ImageOps.exif_transpose(picture))


def _rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture, np.float64)
        # 16-bit greys use their full range; floats are 0–1 where they fit in it, else like 16 bits or 8
        top = 65535 if picture.mode.startswith("I") else next((t for t in (1, 255) if values.max() <= t), 65535)
        grey = np.clip(np.nan_to_num(values) * (255 / top) + 0.5, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))
