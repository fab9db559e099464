"""Reading the one code of a certification mark from a picture.

Here: limits on what is opened, and which pictures are none. The picture is whatever somebody was sent: its header is
judged before a pixel is decoded, and only PNG and JPEG are opened at all. Decoding pictures and finding codes is
others' work, the extra `scan` of this package. Not here: what the code says (`ledger.mark_codes`).
"""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Final

from primitives.errors import InputError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE_BYTES_MAX: Final = 32 * 1024 * 1024
PIXELS_MAX: Final = 50_000_000
"""A picture of a telephone's camera has 12 to 50 million; one byte each once it is grey."""
SMALL_PIXELS_MAX: Final = 1_000_000
"""Up to this size a picture in which nothing is found is looked at once more at twice its size."""
FORMATS: Final = ("PNG", "JPEG")
CODES_SHOWN_MAX: Final = 3

# What Pillow's decoders raise of damaged files.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)


class NotAPicture(InputError):
    """The file is no picture that can be opened."""

    reason = "not_a_picture"


class PictureTooLarge(InputError):
    """The picture is larger than what is opened."""

    reason = "picture_too_large"


class NoCode(InputError):
    """There is no code in the picture, or none that can be read."""

    reason = "no_code"


class SeveralCodes(InputError):
    """There are several codes in the picture, so that it says nothing about one of them."""

    reason = "several_codes"


class ScannerMissing(UsageError):
    """What reads pictures is not installed."""

    reason = "scanner_missing"


def code_in(data: bytes, where: str) -> str:
    """Return what the one QR code in a picture says. Raises the errors above."""
    image = _opened(data, where)
    found = _codes(image)
    if not found and image.width * image.height <= SMALL_PIXELS_MAX:
        found = _codes(image.resize((2 * image.width, 2 * image.height)))
    if not found:
        hint = "take it nearer, straight and sharp, with the white around the code"
        raise NoCode("no code in the picture", where=where, expected="one QR code", hint=hint)
    if len(found) > 1:
        shown = "; ".join(sorted(found)[:CODES_SHOWN_MAX])
        hint = "cut the picture to the one that is meant"
        raise SeveralCodes("several codes in the picture", where=where, expected="one", got=shown, hint=hint)
    return found.pop()


def _opened(data: bytes, where: str) -> Image:
    """Return a picture in shades of grey, on white where it is transparent."""
    try:
        from PIL.Image import DecompressionBombError, alpha_composite, new
        from PIL.Image import open as opened
    except ImportError:
        raise _missing() from None
    expected = f"{' or '.join(FORMATS)} of at most {PIXELS_MAX:,} pixels"
    if len(data) > PICTURE_BYTES_MAX:
        raise PictureTooLarge("picture too large", where=where, expected=f"at most {PICTURE_BYTES_MAX:,} bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with opened(BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > PIXELS_MAX:
                    raise PictureTooLarge(
                        "picture too large", where=where, expected=expected, got=f"{image.width} by {image.height}"
                    )
                if image.has_transparency_data:
                    layer = image.convert("RGBA")
                    paper = new("RGBA", layer.size, "white")
                    return alpha_composite(paper, layer).convert("L")
                return image.convert("L")
    except DecompressionBombError:
        raise PictureTooLarge("picture too large", where=where, expected=expected) from None
    except _DAMAGED:
        hint = "make a PNG of an SVG first"
        raise NotAPicture("not a picture that can be opened", where=where, expected=expected, hint=hint) from None


def _codes(image: Image) -> set[str]:
    """Return what the QR codes in a picture say, each once."""
    try:
        import zxingcpp
    except ImportError:
        raise _missing() from None
    for binarizer in (zxingcpp.Binarizer.LocalAverage, zxingcpp.Binarizer.GlobalHistogram):
        codes = zxingcpp.read_barcodes(
            image,
            formats=zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode]),
            text_mode=zxingcpp.TextMode.Plain,
            binarizer=binarizer,
        )
        if codes:
            return {code.text for code in codes}
    return set()


def _missing() -> ScannerMissing:
    hint = "install it with `pip install 'chainnode[scan]'`, or give what a telephone read from the code"
    return ScannerMissing("this installation reads no pictures", expected="Pillow and zxing-cpp", hint=hint)
