"""Bytes of a request → an RGB picture, or one sentence that says why not."""

import io
import re
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from facemark.errors import RequestError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""How the names of such files end."""
MAGIC_BYTES = re.compile(rb"\xff\xd8|\x89PNG|RIFF....WEBP|BM|II[*+]\0|MM\0[*+]", re.DOTALL)
"""The first bytes of these formats: an unreadable file that has them is broken; another is of another format."""
WHITE_IS_ZERO = 0
"""A TIFF's photometric interpretation."""
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
MAX_SIDE = 32_767
"""The longest side in pixels that OpenCV can warp faces out of."""
MAX_DECODE_SECONDS = 20
"""Processor time in seconds that a decoder may take: some small files ask for hours of it."""


class TimeLimitedBytes(io.BytesIO):
    """Bytes that can be read for :data:`MAX_DECODE_SECONDS`; slow decoders read on all the time, and are stopped then.

    Those of WebP and compressed TIFFs read all at once, but make no more of it than the pixels that the header tells.
    """

    def __init__(self, data: bytes):
        super().__init__(data)
        self.deadline = time.thread_time() + MAX_DECODE_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on; RequestError 413 where the time is over."""
        if time.thread_time() > self.deadline:
            raise RequestError(
                413, "ImageTooLarge", "the image takes too long to decode; save it anew, without progressive scans"
            )
        return super().read(size)


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a picture to H × W × 3 RGB uint8, turned as its EXIF orientation asks.

    Grey, palette, CMYK and 16-bit pictures are converted, the latter by their high bytes; transparency is laid on
    white; of an animation the first frame counts. Sizes are judged by the header, before anything is decoded.

    Raises:
        RequestError: 400 an empty, truncated or broken picture; 413 more bytes, pixels or time than allowed; 415
            another format, or values of 32 bits or with a sign, which have no known range.
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
    except UnidentifiedImageError as error:
        if MAGIC_BYTES.match(data):
            raise _broken() from error
        raise RequestError(
            415, "UnsupportedFormat", "the image is of no known format; send JPEG, PNG, WebP, BMP or TIFF"
        ) from error
    except Image.DecompressionBombError as error:
        raise RequestError(
            413, "ImageTooLarge", f"the image is too large; at most {max_pixels:,} pixels are taken, send a smaller one"
        ) from error
    except Exception as error:  # decoders raise anything, from struct.error to SyntaxError
        raise _broken() from error


def _broken() -> RequestError:
    return RequestError(
        400,
        "UnreadableImage",
        "the image is truncated or broken, or of a rare kind; send a whole JPEG, PNG, WebP, BMP or TIFF file of 8 or "
        "16 bits without a sign",
    )


def _decode(data: bytes, max_pixels: int) -> np.ndarray:
    with Image.open(TimeLimitedBytes(data), formats=FORMATS) as picture:
        width, height = picture.size
        tags = getattr(picture, "tag_v2", {})  # of a TIFF, whose tiles may be larger than itself
        tile = tags.get(TiffImagePlugin.TILEWIDTH, 0) * tags.get(TiffImagePlugin.TILELENGTH, 0)
        if max(width * height, tile) > max_pixels or max(picture.size) > MAX_SIDE:
            tiles = f", in tiles of {tile:,} pixels" if tile > width * height else ""
            raise RequestError(
                413,
                "ImageTooLarge",
                f"the image is {width:,} × {height:,} pixels{tiles}; at most {max_pixels:,} are taken, and "
                f"{MAX_SIDE:,} a side, send a smaller one",
            )
        if min(picture.size) < 1:
            raise _broken()
        if picture.mode in ("I", "F"):
            raise RequestError(
                415, "UnsupportedFormat", "the image has values of no known range; send 8 or 16 bits without a sign"
            )
        picture.load()  # which turns a TIFF and takes the tag out
        return _apply_orientation(_rgb(picture), picture.getexif().get(ExifTags.Base.Orientation, 1))


def _rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I;16"):
        tags = getattr(picture, "tag_v2", {})  # of a TIFF, which may have 12 bits
        (bits,) = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))
        grey = (np.asarray(picture) >> bits - 8).astype(np.uint8)  # as Pillow reads colours; conversion would clip
        if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
            grey = 255 - grey
        if (clear := picture.info.get("transparency")) is not None:  # of a PNG, a value that is not there to be seen
            grey[np.asarray(picture) == clear] = 255
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return np.array(picture.convert("RGB"))


def _apply_orientation(rgb: np.ndarray, orientation: int) -> np.ndarray:
    if orientation == 1:
        return rgb
    picture = Image.fromarray(rgb)  # without the file's other EXIF tags, which Pillow would write anew and may fail to
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(picture))


def read_image(path: Path | str) -> np.ndarray:
    """Read an image file as H × W × 3 RGB uint8, as the endpoint does.

    Raises:
        ValueError: the file cannot be read as an image.
    """
    try:
        data = Path(path).read_bytes()
        return decode(data, max_bytes=len(data))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as a picture: {error}") from error
