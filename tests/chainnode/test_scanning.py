"""Reading a mark's code from pictures: as drawn, as photographed, and everything that is none."""

from __future__ import annotations

import random
import re
import struct
import sys
import zlib
from io import BytesIO
from pathlib import Path

import pytest
import segno
from PIL import Image, ImageDraw, ImageFilter

from chainnode import scanning
from chainnode.scanning import (
    PIXELS_MAX,
    NoCode,
    NotAPicture,
    PictureTooLarge,
    ScannerMissing,
    SeveralCodes,
    code_in,
)
from rpc.mark_pictures import PNG_SCALE_MAX, mark_png, mark_svg

NUMBER = "FTP-2026-06-000123"
CODE = f"https://explorer.example/certificate/{NUMBER}?mark=1.2af29ff77537f46f.00112233445566778899aabbccddeeff"


def drawn(scale: int = 4) -> Image.Image:
    """Return the mark as it is drawn."""
    return Image.open(BytesIO(mark_png(CODE, NUMBER, scale))).convert("L")


def png(image: Image.Image) -> bytes:
    """Return a picture as a file."""
    target = BytesIO()
    image.save(target, "PNG")
    return target.getvalue()


def jpeg(image: Image.Image, quality: int = 60) -> bytes:
    """Return a picture as a file that loses something."""
    target = BytesIO()
    image.save(target, "JPEG", quality=quality)
    return target.getvalue()


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8, PNG_SCALE_MAX])
def test_the_mark_reads_at_every_size_that_it_is_drawn_in(scale: int) -> None:
    assert code_in(mark_png(CODE, NUMBER, scale), "mark.png") == CODE


@pytest.mark.parametrize("width", [160, 240, 333, 500, 1_001, 2_000])
def test_the_mark_reads_at_sizes_that_are_no_multiple_of_its_dots(width: int) -> None:
    image = drawn()
    assert code_in(jpeg(image.resize((width, width * image.height // image.width))), "mark.jpg") == CODE


@pytest.mark.parametrize("degrees", [0, 7, 30, 45, 90, 135, 180, 200, 270, 315])
def test_the_mark_reads_however_it_is_turned(degrees: int) -> None:
    turned = drawn().rotate(degrees, expand=True, fillcolor=255)
    assert code_in(png(turned), "mark.png") == CODE


@pytest.mark.parametrize("seed", range(5))
def test_the_mark_reads_through_noise_blur_and_poor_light(seed: int) -> None:
    print(f"seed {seed}")
    source = random.Random(seed)  # a picture of a test
    image = drawn().rotate(source.uniform(-20, 20), expand=True, fillcolor=255)
    image = image.filter(ImageFilter.GaussianBlur(source.uniform(0.5, 2.0)))
    noise = Image.frombytes("L", image.size, source.randbytes(image.width * image.height))
    image = Image.blend(image, noise, 0.25).point(lambda value: 40 + value * 140 // 255)
    assert code_in(jpeg(image), "photo.jpg") == CODE


def test_the_mark_reads_with_a_corner_of_the_code_rubbed_off() -> None:
    image = drawn()
    ImageDraw.Draw(image).ellipse((330, 330, 400, 400), fill=255)
    assert code_in(png(image), "mark.png") == CODE


def test_the_mark_reads_on_a_package_with_other_print() -> None:
    package = Image.new("L", (1_600, 1_200), 210)
    draw = ImageDraw.Draw(package)
    for line in range(40):
        draw.text((20, 30 * line), "lot 7 keep dry " * 12, fill=30)
    package.paste(drawn(2), (700, 400))
    assert code_in(jpeg(package), "package.jpg") == CODE


def test_a_mark_on_a_transparent_ground_reads_as_on_white() -> None:
    image = drawn()
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    layer.putalpha(image.point(lambda value: 255 - value))
    assert code_in(png(layer), "mark.png") == CODE


def test_a_mark_of_white_on_black_reads_too() -> None:
    assert code_in(png(drawn().point(lambda value: 255 - value)), "mark.png") == CODE


def test_the_longest_site_and_number_still_fit_and_read() -> None:
    number = "ABCDEFGH-2026-06-12345678"
    code = CODE.replace(NUMBER, number).replace("explorer.example", "x" * 112)
    assert code_in(mark_png(code, number), "mark.png") == code


def test_two_pictures_of_one_mark_are_one_code() -> None:
    sheet = Image.new("L", (1_400, 800), 255)
    sheet.paste(drawn(), (10, 10))
    sheet.paste(drawn(), (720, 10))
    assert code_in(png(sheet), "sheet.png") == CODE


def test_two_codes_that_differ_say_nothing() -> None:
    sheet = Image.new("L", (1_400, 800), 255)
    sheet.paste(drawn(), (10, 10))
    other = CODE.replace("000123", "000124")
    sheet.paste(Image.open(BytesIO(mark_png(other, NUMBER.replace("3", "4")))).convert("L"), (720, 10))
    with pytest.raises(SeveralCodes) as refused:
        code_in(png(sheet), "sheet.png")
    assert refused.value.reason == "several_codes"


def test_a_code_of_anybody_is_read_as_it_is() -> None:
    target = BytesIO()
    segno.make_qr("支付 https://pay.example/1").save(target, kind="png", scale=5)
    assert code_in(target.getvalue(), "pay.png") == "支付 https://pay.example/1"


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_a_picture_without_a_code_is_told(colour: int) -> None:
    with pytest.raises(NoCode):
        code_in(png(Image.new("L", (300, 300), colour)), "blank.png")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a" + bytes(50),
        b"%PDF-1.7",
        b"\xff\xd8\xff\xe0" + bytes(40),
        mark_png(CODE, NUMBER)[:200],
        mark_png(CODE, NUMBER)[:-40],
        mark_svg(CODE, NUMBER).encode(),
    ],
    ids=["empty", "png-head", "gif", "pdf", "jpeg-head", "cut-early", "cut-late", "svg"],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(NotAPicture):
        code_in(data, "file")


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of few bytes that says it has so many pixels, and holds many of them."""
    lines = zlib.compressobj(9)
    body = lines.compress(bytes(min((width + 8) // 8 * height, 50_000_000))) + lines.flush()
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""))
    packed = (struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("size", [(8_000, 8_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (PIXELS_MAX + 1, 1)])
def test_a_small_file_of_a_huge_picture_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(PictureTooLarge):
        code_in(bomb(*size), "bomb.png")


def test_a_file_of_too_many_bytes_is_refused_unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "PICTURE_BYTES_MAX", 100)
    with pytest.raises(PictureTooLarge):
        code_in(mark_png(CODE, NUMBER), "mark.png")


@pytest.mark.parametrize("module", ["PIL.Image", "zxingcpp"])
def test_without_the_extra_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ScannerMissing, match="chainnode\\[scan\\]"):
        code_in(mark_png(CODE, NUMBER), "mark.png")


def test_damage_anywhere_in_a_file_is_refused_or_read_right() -> None:
    data = bytearray(mark_png(CODE, NUMBER, 2))
    source = random.Random(7)  # a picture of a test
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(source.randint(1, 4)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            assert code_in(bytes(damaged), "damaged.png") == CODE
        except (NotAPicture, PictureTooLarge, NoCode):
            continue


def test_the_picture_in_the_documents_is_that_of_the_code_beside_it() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs/certification.md").read_text("utf-8")
    code = re.search(r"^code    (https://explorer\.example/certificate/(FTP-[0-9-]+)\?mark=\S+)$", text, re.MULTILINE)
    assert code is not None
    assert (root / "docs/img/mark.svg").read_text("utf-8") == mark_svg(code[1], code[2])
