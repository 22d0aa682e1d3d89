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


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes, **limits) -> RequestError:
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
    """A PNG of some bytes whose header claims a size that its pixels do not have."""
    data = bytearray(encoded(Image.new("L", (1, 1))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_pixels(kind):
    found = decode(encoded(Image.fromarray(gradient()), kind, **FORMATS[kind]))
    assert found.shape == (32, 48, 3)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    tolerance = 12 if kind == "JPEG" else 0
    assert np.abs(found.astype(int) - gradient()).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_grey_has_three_equal_channels(kind):
    found = decode(encoded(Image.new("L", (5, 4), 77), kind))
    assert found.shape == (4, 5, 3)
    assert (found == 77).all()


def test_palette():
    picture = Image.fromarray(gradient()).quantize(16)
    assert (decode(encoded(picture)) == np.asarray(picture.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit(kind):
    picture = Image.new("1", (5, 4), 0)
    picture.putpixel((4, 0), 1)
    found = decode(encoded(picture, kind))
    assert tuple(found[0, 4]) == WHITE
    assert found.sum() == 3 * 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(kind):
    picture = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    picture.putpixel((1, 0), (0, 0, 0, 0))
    picture.putpixel((2, 0), (0, 0, 0, 127))
    found = decode(encoded(picture, kind, **FORMATS[kind]))
    assert tuple(found[0, 0]) == RED
    assert tuple(found[0, 1]) == WHITE
    assert found[0, 2] == pytest.approx([128] * 3, abs=1)


def test_grey_with_alpha_and_transparent_colours_too():
    assert tuple(decode(encoded(Image.new("LA", (1, 1), (0, 0))))[0, 0]) == WHITE
    for mode, transparency in (("L", 0), ("1", 0), ("RGB", BLACK), ("P", 0)):
        data = encoded(Image.new(mode, (2, 2)), transparency=transparency)
        assert (decode(data) == 255).all(), mode


def test_of_16_bit_grey_one_value_may_be_transparent():
    levels = np.array([[0, 0x0100, 0x0101]], np.uint16)  # the last two look alike
    found = decode(encoded(Image.fromarray(levels), "PNG", transparency=0x0100))
    assert found[0, :, 0].tolist() == [0, 255, 1]


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_cmyk(kind):
    found = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), kind))
    assert found[4, 4] == pytest.approx(RED, abs=3)


def tiff(tags: dict[int, int], data: bytes) -> bytes:
    """A little TIFF of tags that have one value each; its data begin at byte 8."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_by_257(kind):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = decode(encoded(Image.fromarray(levels * 257), kind))
    assert (found == levels[..., None]).all()


def test_16_bit_grey_of_the_other_byte_order():
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    picture = Image.frombytes("I;16B", (16, 16), (levels * 257).astype(">u2").tobytes())
    assert (decode(encoded(picture, "TIFF")) == levels[..., None]).all()


@pytest.mark.parametrize(("bits", "white_is_zero"), [(12, False), (16, True)])
def test_grey_tiffs_of_other_kinds(bits, white_is_zero):
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
def test_values_of_no_known_range_are_refused(dtype):
    error = refused(encoded(Image.fromarray(np.ones((4, 4), dtype)), "TIFF"))
    assert (error.code, error.kind) == (415, "UnsupportedFormat")
    assert "16 bits" in error.message


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    first, second = Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), "blue")
    data = encoded(first, kind, save_all=True, append_images=[second], **FORMATS[kind])
    assert (decode(data) == RED).all()


def test_a_phones_jpeg_of_several_pictures_gives_the_first():
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), "blue")
    assert decode(encoded(first, "MPO", save_all=True, append_images=[second]))[4, 4] == pytest.approx(RED, abs=3)


# where EXIF says that the stored picture's first row and column are, as seen: its top left pixel's place (y, x)
CORNERS = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize("value", CORNERS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind, value):
    stored = Image.new("RGB", (48, 32))
    stored.paste(RED, (0, 0, 24, 8))  # a bar along the first row, from the first column
    found = decode(encoded(stored, kind, exif=orientation(value), **FORMATS[kind]))
    assert found.shape == ((32, 48, 3) if value < 5 else (48, 32, 3))
    red = found[..., 0] > 128
    assert red[CORNERS[value]]
    assert [red[y, x] for y in (0, -1) for x in (0, -1)].count(True) == 1
    rows, columns = red.any(1).sum(), red.any(0).sum()
    assert (rows, columns) == ((8, 24) if value < 5 else (24, 8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_turned_too(kind):
    found = decode(encoded(Image.fromarray(np.array([[257, 514]], np.uint16)), kind, exif=orientation(6)))
    assert found[..., 0].tolist() == [[1], [2]]


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_means_nothing_is_ignored(value):
    assert decode(encoded(Image.fromarray(gradient()), exif=orientation(value))).shape == (32, 48, 3)


def test_exif_that_cannot_be_written_anew_is_no_fault_of_the_picture():
    exif = orientation(6)
    exif[0x010F] = "maker"
    data = encoded(Image.fromarray(gradient()), exif=exif)
    broken = encoded(Image.fromarray(gradient()), "JPEG", exif=exif).replace(b"\x01\x0f\0\x02", b"\x01\0\0\x02")
    with pytest.raises(struct.error):  # the width is the text "maker"
        ImageOps.exif_transpose(Image.open(io.BytesIO(broken)))
    assert decode(broken).shape == decode(data).shape == (48, 32, 3)


def test_nothing_is_an_empty_image():
    error = refused(b"")
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
        encoded(Image.new("RGB", (4, 4)), "GIF"),
        encoded(Image.new("RGB", (4, 4)), "PPM"),
        encoded(Image.new("RGB", (16, 16)), "ICO"),
    ],
)
def test_other_formats_are_told_those_that_are_taken(data):
    error = refused(data)
    assert (error.code, error.kind) == (415, "UnsupportedFormat")
    assert all(name in error.message for name in ("JPEG", "PNG", "WebP", "BMP", "TIFF"))


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_pictures_are_refused_wherever_they_end(kind):
    noise = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind, **FORMATS[kind])
    assert decode(data).shape == (24, 24, 3)
    # a PNG's pixels are whole without the last chunk
    for end in range(12, len(data) - 24, 13):
        error = refused(data[:end])
        assert (error.code, error.kind) == (400, "UnreadableImage"), end


@pytest.mark.parametrize("kind", FORMATS)
def test_broken_pictures_decode_or_are_refused_and_nothing_else(kind):
    data = encoded(Image.fromarray(gradient()), kind, **FORMATS[kind])
    rng = np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 200), 4):
            broken[place] = rng.integers(256)
        try:
            found = decode(bytes(broken), max_pixels=10_000)
            assert found.ndim == 3
            assert found.shape[2] == 3
            assert found.size
        except RequestError as error:
            assert error.code in (400, 413, 415)


@pytest.mark.parametrize(
    ("width", "height"),
    [(60_000, 60_000), (10_000, 10_000), (7_072, 7_072), (images.MAX_SIDE + 1, 1), (1, 2**31 - 1)],
)
def test_a_bomb_is_refused_by_its_header(width, height):
    # a mere 1 × 1 pixel follows the header, so an attempt to decode would answer 400
    error = refused(png_claiming(width, height))
    assert (error.code, error.kind) == (413, "ImageTooLarge")
    assert f"{images.MAX_PIXELS:,}" in error.message


def test_a_real_bomb_is_refused_too():
    data = encoded(Image.new("1", (8_000, 8_000)))
    assert len(data) < 20_000
    assert refused(data).code == 413


def test_limits_include_their_bounds():
    data = encoded(Image.fromarray(gradient()))
    assert decode(data, max_bytes=len(data), max_pixels=48 * 32).shape == (32, 48, 3)
    for limits in ({"max_bytes": len(data) - 1}, {"max_pixels": 48 * 32 - 1}):
        error = refused(data, **limits)
        assert (error.code, error.kind) == (413, "ImageTooLarge")
        assert f"{next(iter(limits.values())):,}" in error.message
    assert decode(encoded(Image.new("1", (images.MAX_SIDE, 1)))).shape == (1, images.MAX_SIDE, 3)


def test_a_picture_without_pixels_is_broken():
    for width, height in ((0, 5), (5, 0)):
        assert refused(png_claiming(width, height)).code == 400


def test_a_tile_counts_as_its_pixels():
    side, data = 2000, zlib.compress(bytes(2000 * 2000))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: len(data)}
    assert decode(tiff(tags, data)).shape == (64, 64, 3)
    assert refused(tiff(tags, data), max_pixels=side * side - 1).code == 413


def test_a_small_file_that_asks_for_hours_is_given_up(monkeypatch):
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    part = struct.pack(">HH", 0xFFE1, 16) + b"Exif\0\0" + bytes(8)  # all of which Pillow copies with each new one
    data = data[:2] + 50_000 * part + data[2:]
    assert decode(data).shape == (8, 8, 3)
    monkeypatch.setattr(images, "SECONDS", 0.02)
    error = refused(data)
    assert error.code == 413 and "takes too long" in error.message
