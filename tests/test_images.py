import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facemark import images
from facemark.errors import RequestError
from facemark.images import decode

FORMATS = {"JPEG": {"quality": 100}, "PNG": {}, "WEBP": {"lossless": True}, "BMP": {}, "TIFF": {}}
ORIENTATION = 0x0112
RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def encode(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def decoding_error(data: bytes, **limits) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode(data, **limits)
    error = caught.value
    assert error.message == str(error)
    assert len(error.message.split()) > 4
    return error


def gradient(width: int = 48, height: int = 32) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, 255 - x], 2).astype(np.uint8)


def orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = value
    return exif


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of one pixel whose header claims another size."""
    data = bytearray(encode(Image.new("L", (1, 1))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_to_its_pixels(kind):
    decoded = decode(encode(Image.fromarray(gradient()), kind, **FORMATS[kind]))
    assert decoded.shape == (32, 48, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.writeable
    tolerance = 12 if kind == "JPEG" else 0
    assert np.abs(decoded.astype(int) - gradient()).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_grey_has_three_equal_channels(kind):
    decoded = decode(encode(Image.new("L", (5, 4), 77), kind))
    assert decoded.shape == (4, 5, 3)
    assert (decoded == 77).all()


def test_palette_images():
    picture = Image.fromarray(gradient()).quantize(16)
    assert (decode(encode(picture)) == np.asarray(picture.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_images(kind):
    picture = Image.new("1", (5, 4), 0)
    picture.putpixel((4, 0), 1)
    decoded = decode(encode(picture, kind))
    assert tuple(decoded[0, 4]) == WHITE
    assert decoded.sum() == 3 * 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_blended_over_white(kind):
    picture = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    picture.putpixel((2, 0), (0, 0, 0, 127))
    decoded = decode(encode(picture, kind, **FORMATS[kind]))
    assert tuple(decoded[0, 0]) == RED
    assert tuple(decoded[0, 1]) == WHITE
    assert decoded[0, 2] == pytest.approx([128] * 3, abs=1)


def test_grey_with_alpha_and_transparent_colours_are_blended_over_white():
    assert tuple(decode(encode(Image.new("LA", (1, 1), (0, 0))))[0, 0]) == WHITE
    for mode, transparency in (("L", 0), ("1", 0), ("RGB", BLACK), ("P", 0)):
        data = encode(Image.new(mode, (2, 2)), transparency=transparency)
        assert (decode(data) == 255).all(), mode


def test_one_value_of_16_bit_grey_may_be_transparent():
    levels = np.array([[0, 0x0100, 0x0101]], np.uint16)  # the last two have the same high byte
    decoded = decode(encode(Image.fromarray(levels), "PNG", transparency=0x0100))
    assert decoded[0, :, 0].tolist() == [0, 255, 1]


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk_images(kind):
    decoded = decode(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind))
    assert decoded[4, 4] == pytest.approx(RED, abs=3)


def tiff(tags: dict[int, int], data: bytes) -> bytes:
    """A minimal TIFF with tags of one value each; its data start at byte 8."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_257(kind):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    decoded = decode(encode(Image.fromarray(levels * 257), kind))
    assert (decoded == levels[..., None]).all()


def test_big_endian_16_bit_grey():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    picture = Image.frombytes("I;16B", (16, 16), (levels * 257).astype(">u2").tobytes())
    assert (decode(encode(picture, "TIFF")) == levels[..., None]).all()


@pytest.mark.parametrize(("bits", "white_is_zero"), [(12, False), (16, True)])
def test_grey_tiffs_of_12_bits_or_with_white_as_zero(bits, white_is_zero):
    tags = {256: 2, 257: 1, 258: bits, 259: 1, 262: int(not white_is_zero), 273: 8, 277: 1, 278: 1, 279: 2 * bits // 8}
    values = 0xF00 << bits - 12, 0x300 << bits - 12
    packed = struct.pack("<HH", *values) if bits == 16 else bytes([0xF0, 0x03, 0x00])
    grey = np.array([[0xF0, 0x30]])
    assert decode(tiff(tags, packed + b"\0"))[..., 0].tolist() == (255 - grey if white_is_zero else grey).tolist()


@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_is_scaled_by_257(ending, channels):
    colours = gradient()
    wide = colours[..., ::-1].astype(np.uint16) * 257  # OpenCV writes BGR
    if channels == 4:
        wide = np.dstack([wide, np.full(wide.shape[:2], 65535, np.uint16)])
    assert (decode(cv2.imencode(ending, wide)[1].tobytes()) == colours).all()


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_without_a_known_range_are_refused(dtype):
    error = decoding_error(encode(Image.fromarray(np.ones((4, 4), dtype)), "TIFF"))
    assert (error.code, error.kind) == (415, "UnsupportedFormat")
    assert "16 bits" in error.message


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_an_animation_is_decoded_to_its_first_frame(kind):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), "blue")
    data = encode(first, kind, save_all=True, append_images=[second], **FORMATS[kind])
    assert (decode(data) == RED).all()


def test_a_multi_picture_jpeg_is_decoded_to_its_first_picture():
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), "blue")
    assert decode(encode(first, "MPO", save_all=True, append_images=[second]))[4, 4] == pytest.approx(RED, abs=3)


# for each EXIF orientation, where the top-left pixel of the stored image is displayed: (y, x)
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize("value", CORNERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind, value):
    stored = Image.new("RGB", (48, 32))
    stored.paste(RED, (0, 0, 24, 8))  # a bar along the first row, from the first column
    decoded = decode(encode(stored, kind, exif=orientation(value), **FORMATS[kind]))
    assert decoded.shape == ((32, 48, 3) if value < 5 else (48, 32, 3))
    red = decoded[..., 0] > 128
    assert red[CORNERS[value]]
    assert [red[y, x] for y in (0, -1) for x in (0, -1)].count(True) == 1
    rows, columns = red.any(1).sum(), red.any(0).sum()
    assert (rows, columns) == ((8, 24) if value < 5 else (24, 8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_oriented(kind):
    decoded = decode(encode(Image.fromarray(np.array([[257, 514]], np.uint16)), kind, exif=orientation(6)))
    assert decoded[..., 0].tolist() == [[1], [2]]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_invalid_orientation_is_ignored(value):
    assert decode(encode(Image.fromarray(gradient()), exif=orientation(value))).shape == (32, 48, 3)


def test_exif_that_pillow_cannot_rewrite_is_no_error():
    exif = orientation(6)
    exif[0x010F] = "maker"
    data = encode(Image.fromarray(gradient()), exif=exif)
    corrupt = encode(Image.fromarray(gradient()), "JPEG", exif=exif).replace(b"\x01\x0f\0\x02", b"\x01\0\0\x02")
    with pytest.raises(struct.error):  # the tag of the width holds the text "maker"
        ImageOps.exif_transpose(Image.open(io.BytesIO(corrupt)))
    assert decode(corrupt).shape == decode(data).shape == (48, 32, 3)


def test_no_bytes_are_an_error():
    error = decoding_error(b"")
    assert (error.code, error.kind) == (400, "MissingImage")


@pytest.mark.parametrize(
    "data",
    [
        b"a sentence, not a picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"\0" * 100,
        b"\xff",
        encode(Image.new("RGB", (4, 4)), "GIF"),
        encode(Image.new("RGB", (4, 4)), "PPM"),
        encode(Image.new("RGB", (16, 16)), "ICO"),
    ],
)
def test_the_error_of_another_format_lists_the_accepted_ones(data):
    error = decoding_error(data)
    assert (error.code, error.kind) == (415, "UnsupportedFormat")
    assert all(name in error.message for name in ("JPEG", "PNG", "WebP", "BMP", "TIFF"))


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_images_are_refused_wherever_they_end(kind):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind, **FORMATS[kind])
    assert decode(data).shape == (24, 24, 3)
    # the last chunk of a PNG holds no pixels
    for end in range(12, len(data) - 24, 13):
        error = decoding_error(data[:end])
        assert (error.code, error.kind) == (400, "UnreadableImage"), end


@pytest.mark.parametrize("kind", FORMATS)
def test_corrupt_images_are_decoded_or_refused(kind):
    data = encode(Image.fromarray(gradient()), kind, **FORMATS[kind])
    rng = np.random.default_rng(1)
    for _ in range(200):
        corrupt = bytearray(data)
        for place in rng.integers(0, min(len(data), 200), 4):
            corrupt[place] = rng.integers(256)
        try:
            decoded = decode(bytes(corrupt), max_pixels=10_000)
            assert decoded.ndim == 3 and decoded.shape[2] == 3 and decoded.size
        except RequestError as error:
            assert error.code in (400, 413, 415)


@pytest.mark.parametrize(
    ("width", "height"),
    [(60_000, 60_000), (10_000, 10_000), (7_072, 7_072), (images.MAX_SIDE + 1, 1), (1, 2**31 - 1)],
)
def test_a_decompression_bomb_is_refused_by_its_header(width, height):
    # only 1 × 1 pixel follows the header, so decoding it would be error 400
    error = decoding_error(png_claiming(width, height))
    assert (error.code, error.kind) == (413, "ImageTooLarge")
    assert f"{images.MAX_PIXELS:,}" in error.message


def test_a_valid_decompression_bomb_is_refused():
    data = encode(Image.new("1", (8_000, 8_000)))
    assert len(data) < 20_000
    assert decoding_error(data).code == 413


def test_limits_are_inclusive():
    data = encode(Image.fromarray(gradient()))
    assert decode(data, max_bytes=len(data), max_pixels=48 * 32).shape == (32, 48, 3)
    for limits in ({"max_bytes": len(data) - 1}, {"max_pixels": 48 * 32 - 1}):
        error = decoding_error(data, **limits)
        assert (error.code, error.kind) == (413, "ImageTooLarge")
        assert f"{next(iter(limits.values())):,}" in error.message
    assert decode(encode(Image.new("1", (images.MAX_SIDE, 1)))).shape == (1, images.MAX_SIDE, 3)


def test_an_image_without_pixels_is_refused():
    for width, height in ((0, 5), (5, 0)):
        assert decoding_error(png_claiming(width, height)).code == 400


def test_the_pixels_of_a_tile_count():
    side, data = 2000, zlib.compress(bytes(2000 * 2000))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(data)}
    assert decode(tiff(tags, data)).shape == (64, 64, 3)
    assert decoding_error(tiff(tags, data), max_pixels=side * side - 1).code == 413


def test_a_small_file_that_takes_hours_to_decode_is_refused(monkeypatch):
    data = encode(Image.new("RGB", (8, 8)), "JPEG")
    part = struct.pack(">HH", 0xFFE1, 16) + b"Exif\0\0" + bytes(8)  # Pillow copies all of them with each new one
    data = data[:2] + 50_000 * part + data[2:]
    assert decode(data).shape == (8, 8, 3)
    monkeypatch.setattr(images, "MAX_DECODE_SECONDS", 0.02)
    error = decoding_error(data)
    assert error.code == 413 and "takes too long" in error.message
