"""Odd and broken PNG, JPEG and TIFF files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from corpus import BASE, COLUMNS, ROWS, Case
from PIL import Image
from writers import chunk, exif, ihdr, interlaced, png, scan_lines, tiff

WIDE = BASE.astype(np.uint16) * 257
RGB = np.repeat(BASE[..., None], 3, axis=2)
UNDO = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 3),
}


def cases() -> Iterator[Case]:
    yield from good_png()
    yield from odd_png()
    yield from broken_png()
    yield from good_jpeg()
    yield from broken_jpeg()
    yield from good_tiff()
    yield from broken_tiff()


def with_alpha(values: np.ndarray, alpha: int) -> np.ndarray:
    return np.concatenate([values.reshape(ROWS, COLUMNS, -1), np.full((ROWS, COLUMNS, 1), alpha, values.dtype)], axis=2)


def palette(order: np.ndarray) -> bytes:
    """A grey palette in which entry ``order[v]`` is grey v."""
    table = np.zeros((256, 3), np.uint8)
    table[order] = np.arange(256, dtype=np.uint8)[:, None]
    return chunk(b"PLTE", table.tobytes())


def good_png() -> Iterator[Case]:
    shuffled = np.random.default_rng(1).permutation(256).astype(np.uint8)
    rgb16 = np.repeat(WIDE[..., None], 3, axis=2)
    files = {
        "grey8": png(BASE),
        "grey16": png(WIDE),
        "filters8": png(BASE, filters=True),
        "filters16": png(WIDE, filters=True),
        "interlaced": interlaced(BASE),
        "pieces": png(BASE, pieces=40),
        "palette": png(BASE, 3, palette(np.arange(256))),
        "palette_shuffled": png(shuffled[BASE], 3, palette(shuffled)),
        "rgb": png(RGB, 2),
        "rgb16": png(rgb16, 2),
        "rgb_filters": png(RGB, 2, filters=True),
        "rgba": png(with_alpha(RGB, 255), 6),
        "la": png(with_alpha(BASE, 255), 4),
        "la16": png(with_alpha(WIDE, 65535), 4),
        "rgba16": png(with_alpha(rgb16, 65535), 6),
        "sbit": png(BASE, before=chunk(b"sBIT", b"\x08")),
        "gamma": png(BASE, before=chunk(b"gAMA", b"\0\0\xb1\x8f")),
        "text": png(BASE, before=chunk(b"tEXt", b"Comment\0ward 7")),
        "garbage_behind": png(BASE) + b"\0" * 999,
        "text_bomb_unread": png(BASE, before=chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(30 << 20), 9))),
        "unknown_part": png(BASE, before=chunk(b"prVt", b"whatever")),
    }
    for name, data in files.items():
        yield Case(f"good_{name}.png", data, "same")
    for k, undo in UNDO.items():
        order = "<" if k % 2 else ">"
        yield Case(
            f"good_exif{k}.png", png(np.ascontiguousarray(undo(BASE)), before=chunk(b"eXIf", exif(k, order))), "same"
        )
    yield Case("good_12_in_16.png", png(BASE.astype(np.uint16) * 16), "same", within=0.005)
    yield Case("good_14_in_16.png", png(BASE.astype(np.uint16) * 64), "same", within=0.005)


def odd_png() -> Iterator[Case]:
    nibbles = ((BASE[:, ::2] // 16) << 4 | BASE[:, 1::2] // 16).astype(np.uint8)
    four = png(BASE, lines=scan_lines(nibbles), header=ihdr(COLUMNS, ROWS, 4))
    yield Case("odd_4bit.png", four, "refuse", "grey levels")
    marked = RGB.copy()
    marked[4:20, 100:140] = (255, 220, 0)
    yield Case("odd_colour_mark.png", png(marked, 2), "accept", "colour")
    tinted = np.stack([BASE, BASE, np.minimum(BASE, 250)], axis=2)
    yield Case("odd_faint_tint.png", png(tinted, 2), "accept", "differ a little")
    half = with_alpha(BASE, 255)
    half[: ROWS // 2, :, 1] = 0
    yield Case("odd_half_transparent.png", png(half, 4), "accept", "transparent")
    yield Case("odd_animation.png", png(BASE, before=chunk(b"acTL", struct.pack(">II", 2, 0))), "accept", "animation")
    yield Case("odd_png_called.jpg", png(BASE), "accept", "name says otherwise")
    yield Case("odd_png_called.dcm", png(BASE), "accept", "name says otherwise")
    yield Case("odd_exif_broken.png", png(BASE, before=chunk(b"eXIf", b"II*\0\xff\xff\xff\xff")), "same")
    yield Case("odd_exif_value_99.png", png(BASE, before=chunk(b"eXIf", exif(99))), "same")


def broken_png() -> Iterator[Case]:
    good, lines = png(BASE), scan_lines(BASE)
    for share in (5, 20, 40, 60, 80, 95, 99):
        yield Case(f"bad_cut_{share}.png", good[: len(good) * share // 100], "refuse", "")
    at = good.index(b"IDAT")
    flipped = bytearray(good)
    flipped[at + 500] ^= 4
    bare = b"\x89PNG\r\n\x1a\n"
    end, data = chunk(b"IEND", b""), chunk(b"IDAT", zlib.compress(lines))
    bad = {
        "no_end": (good[:-12], "middle"),
        "pixel_flipped": (bytes(flipped), "checksum"),
        "half_the_rows": (png(BASE, lines=lines[: len(lines) // 2]), "fewer pixels"),
        "one_row_less": (png(BASE, lines=lines[: -(COLUMNS + 1)]), "fewer pixels"),
        "height_doubled": (png(BASE, header=ihdr(COLUMNS, ROWS * 2)), "fewer pixels"),
        "height_halved": (png(BASE, header=ihdr(COLUMNS, ROWS // 2)), "more pixels"),
        "width_off_by_one": (png(BASE, header=ihdr(COLUMNS - 1, ROWS)), "more pixels"),
        "bomb": (png(BASE, lines=bytes(300 << 20)), "more pixels"),
        "huge": (png(BASE, header=ihdr(65000, 65000)), "million"),
        "no_size": (png(BASE, header=ihdr(0, 0)), "too small"),
        "colour_5": (png(BASE, header=ihdr(COLUMNS, ROWS, 8, 5)), "header"),
        "depth_3": (png(BASE, header=ihdr(COLUMNS, ROWS, 3)), "header"),
        "interlace_7": (png(BASE, header=ihdr(COLUMNS, ROWS, 8, 0, 7)), "header"),
        "header_checksum": (png(BASE, header=chunk(b"IHDR", ihdr(COLUMNS, ROWS)[8:21], 1)), "checksum"),
        "pixels_checksum": (bare + ihdr(COLUMNS, ROWS) + chunk(b"IDAT", zlib.compress(lines), 7) + end, "checksum"),
        "length_4gb": (bare + ihdr(COLUMNS, ROWS) + b"\xff\xff\xff\xffIDAT" + bytes(99), "length"),
        "no_header": (bare + data + end, "header"),
        "two_headers": (bare + ihdr(COLUMNS, ROWS) * 2 + data + end, "header"),
        "no_pixels": (bare + ihdr(COLUMNS, ROWS) + end, "fewer"),
        "no_palette": (png(BASE, 3), "palette"),
        "short_palette": (png(BASE, 3, chunk(b"PLTE", bytes(30))), "palette"),
        "filter_9": (png(BASE, lines=b"\x09" + lines[1:]), "scan lines"),
        "not_deflate": (bare + ihdr(COLUMNS, ROWS) + chunk(b"IDAT", b"no zlib" * 50) + end, "damaged"),
        "adler_wrong": (
            bare + ihdr(COLUMNS, ROWS) + chunk(b"IDAT", zlib.compress(lines)[:-4] + b"abcd") + end,
            "damaged",
        ),
        "texts": (png(BASE, before=chunk(b"tEXt", b"a\0b") * 2000), "text"),
        "long_text": (png(BASE, before=chunk(b"tEXt", b"a\0" + b"b" * (2 << 20))), "text"),
        "critical_part": (png(BASE, before=chunk(b"NEWP", b"")), "unknown kind"),
        "small": (png(BASE[:32, :32]), "too small"),
        "wide": (png(np.tile(BASE[:70], (1, 8))), "too wide"),
        "blank": (png(np.full_like(BASE, 128)), "same value"),
        "black_white": (png((BASE > 99).astype(np.uint8) * 255), "grey levels"),
        "one_bit": (
            png(BASE, lines=scan_lines(np.packbits(BASE > 99, axis=1)), header=ihdr(COLUMNS, ROWS, 1)),
            "grey levels",
        ),
        "signature_only": (bare, "middle"),
    }
    for name, (content, says) in bad.items():
        yield Case(f"bad_{name}.png", content, "refuse", says)


def jpeg(values: np.ndarray = BASE, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", **{"quality": 97, **options})  # type: ignore[arg-type]
    return file.getvalue()


def good_jpeg() -> Iterator[Case]:
    files = {
        "grey": jpeg(),
        "rgb": jpeg(RGB),
        "progressive": jpeg(progressive=True),
        "restarts": jpeg(restart_marker_rows=1),
        "rgb_progressive": jpeg(RGB, progressive=True),
        "optimised": jpeg(optimize=True),
        "comment": jpeg(comment=b"x" * 999),
        "garbage_behind": jpeg() + bytes(500),
        "fill_bytes": jpeg().replace(b"\xff\xd9", b"\xff\xff\xff\xff\xd9"),
        "lossless": imagecodecs.jpeg8_encode(BASE, lossless=True),
        "rgb_subsampled": jpeg(RGB, subsampling=2),
        "twelve_bits": imagecodecs.jpeg8_encode(BASE.astype(np.uint16) * 16, level=98, bitspersample=12),
    }
    for name, data in files.items():
        yield Case(f"good_{name}.jpg", data, "same", within=0.06)
    for k, undo in UNDO.items():
        tag = Image.Exif()
        tag[274] = k
        yield Case(f"good_exif{k}.jpg", jpeg(np.ascontiguousarray(undo(BASE)), exif=tag.tobytes()), "same", within=0.06)
    marked = RGB.copy()
    marked[4:24, 90:140] = (255, 220, 0)
    yield Case("odd_colour_mark.jpg", jpeg(marked), "accept", "colour")
    yield Case("odd_jpeg_called.png", jpeg(), "accept", "name says otherwise")


def resized(data: bytes, rows: int, columns: int) -> bytes:
    """The same stream with another size in its frame header."""
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC2))
    return data[: at + 5] + struct.pack(">HH", rows, columns) + data[at + 9 :]


def broken_jpeg() -> Iterator[Case]:
    good, progressive = jpeg(), jpeg(progressive=True)
    for share in (5, 20, 40, 60, 80, 95):
        yield Case(f"bad_cut_{share}.jpg", good[: len(good) * share // 100], "refuse")
        yield Case(f"bad_cut_closed_{share}.jpg", good[: len(good) * share // 100] + b"\xff\xd9", "refuse")
        yield Case(
            f"bad_progressive_cut_{share}.jpg", progressive[: len(progressive) * share // 100] + b"\xff\xd9", "refuse"
        )
    scan = progressive.rindex(b"\xff\xda")
    restarts = jpeg(restart_marker_rows=1)
    first, second = restarts.index(b"\xff\xd0"), restarts.index(b"\xff\xd1")
    cmyk = io.BytesIO()
    Image.fromarray(BASE).convert("CMYK").save(cmyk, "JPEG")
    start = good.index(b"\xff\xda") + 10
    bad = {
        "no_end": (good[:-2], "middle"),
        "height_doubled": (resized(good, ROWS * 2, COLUMNS), ""),
        "height_halved": (resized(good, ROWS // 2, COLUMNS), ""),
        "width_doubled": (resized(good, ROWS, COLUMNS * 2), ""),
        "huge": (resized(good, 65000, 65000), ""),
        "no_size": (resized(good, 0, COLUMNS), "too small"),
        "cmyk": (cmyk.getvalue(), "colours"),
        "jpeg_ls": (imagecodecs.jpegls_encode(BASE), "JPEG-LS"),
        "scan_bomb": (progressive[:-2] + progressive[scan:-2] * 300 + b"\xff\xd9", "scans"),
        "restart_run_gone": (restarts[: first + 2] + restarts[second:], ""),
        "only_header": (good[:20] + b"\xff\xd9", ""),
        "two_frames": (good[:2] + good[good.index(b"\xff\xc0") : start] + good[2:], ""),
        "soi_only": (b"\xff\xd8\xff\xd9", ""),
        "middle_lost": (good[: start + 2000] + good[start + 4000 :], ""),
        "zeros_inside": (good[: start + 500] + bytes(3000) + good[start + 3500 :], ""),
        "segment_too_long": (good[:2] + b"\xff\xe5\xff\xff" + good[2:], ""),
        "small": (jpeg(BASE[:32, :32]), "too small"),
        "blank": (jpeg(np.full_like(BASE, 90)), "same value"),
    }
    for name, (content, says) in bad.items():
        yield Case(f"bad_{name}.jpg", content, "refuse", says)


def good_tiff() -> Iterator[Case]:
    colours = np.tile(np.arange(256) * 257, 3)
    yield Case("good_little8.tif", tiff(BASE), "same")
    yield Case("good_big8.tif", tiff(BASE, order=">"), "same")
    yield Case("good_little16.tif", tiff(WIDE), "same")
    yield Case("good_big16.tif", tiff(WIDE, order=">"), "same")
    yield Case("good_white_is_zero8.tif", tiff(255 - BASE, 0), "same")
    yield Case("good_white_is_zero16.tif", tiff(65535 - WIDE, 0), "same")
    yield Case("good_rgb.tif", tiff(RGB, 2), "same")
    yield Case("good_rgb16.tif", tiff(RGB.astype(np.uint16) * 257, 2), "same")
    yield Case("good_rgba.tif", tiff(with_alpha(RGB, 255), 2, extra={338: ("H", (2,))}), "same")
    yield Case("good_palette.tif", tiff(BASE, 3, extra={320: ("H", tuple(int(c) for c in colours))}), "same")
    yield Case("good_12_in_16.tif", tiff(BASE.astype(np.uint16) * 16), "same", within=0.005)
    for k, undo in UNDO.items():
        yield Case(f"good_turned{k}.tif", tiff(np.ascontiguousarray(undo(BASE)), extra={274: ("H", (k,))}), "same")
    for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        for kind, values in (("8", BASE), ("16", WIDE)):
            file = io.BytesIO()
            Image.fromarray(values).save(file, "TIFF", compression=name)
            yield Case(f"good_{name}{kind}.tif", file.getvalue(), "same")


def broken_tiff() -> Iterator[Case]:
    good = tiff(BASE)
    for share in (1, 30, 60, 99):
        yield Case(f"bad_cut_{share}.tif", good[: len(good) * share // 100], "refuse")
    lzw = io.BytesIO()
    Image.fromarray(BASE).save(lzw, "TIFF", compression="tiff_lzw")
    packed = lzw.getvalue()
    spoiled = packed[:2000] + bytes(6000) + packed[8000:]
    deflated = io.BytesIO()
    Image.fromarray(BASE).save(deflated, "TIFF", compression="tiff_adobe_deflate")
    at = len(deflated.getvalue()) // 2
    holed = deflated.getvalue()[:at] + bytes(100) + deflated.getvalue()[at + 100 :]
    inside = io.BytesIO()
    Image.fromarray(BASE).save(inside, "TIFF", compression="jpeg")
    pages = io.BytesIO()
    Image.fromarray(BASE).save(pages, "TIFF", save_all=True, append_images=[Image.fromarray(BASE[::-1])])
    bad = {
        "pages": (pages.getvalue(), "several"),
        "floats": (tiff(BASE.astype(np.float32), extra={339: ("H", (3,))}), "8 or 16 bits"),
        "height_doubled": (tiff(BASE, extra={257: ("I", (ROWS * 2,))}), "fewer pixels"),
        "strip_outside": (tiff(BASE, extra={273: ("I", (10**6,))}), "middle"),
        "strip_of_4gb": (tiff(BASE, extra={279: ("I", (2**32 - 1,))}), "middle"),
        "no_width": (tiff(BASE, drop=(256,)), "header"),
        "no_photometric": (tiff(BASE, drop=(262,)), "header"),
        "no_strips": (tiff(BASE, drop=(273,)), "header"),
        "huge": (tiff(BASE, extra={256: ("I", (65000,)), 257: ("I", (65000,))}), "million"),
        "directory_outside": (b"II*\0\xff\xff\xff\x7f" + good[8:], "directory"),
        "loop": (tiff(BASE, following=8), ""),
        "big_tiff": (b"II+\0\x08\0\0\0" + good[8:], "BigTIFF"),
        "cielab": (tiff(RGB, 8), "colours"),
        "signed": (tiff(BASE, extra={339: ("H", (2,))}), "8 or 16 bits"),
        "jpeg_old": (tiff(BASE, extra={259: ("H", (6,))}), "compression"),
        "holed_deflate": (holed, "damaged"),
        "jpeg_inside": (inside.getvalue(), "compression"),
        "spoiled_lzw": (spoiled, ""),
        "not_lzw": (tiff(BASE, extra={259: ("H", (5,))}), ""),
        "not_deflate": (tiff(BASE, extra={259: ("H", (8,))}), ""),
        "palette_short": (tiff(BASE, 3, extra={320: ("H", (1, 2, 3))}), "palette"),
        "small": (tiff(BASE[:32, :32]), "too small"),
        "blank": (tiff(np.full_like(BASE, 3)), "same value"),
        "samples_lie": (tiff(BASE, 2, extra={277: ("H", (3,))}), ""),
        "bits_lie": (tiff(BASE, extra={258: ("H", (16,))}), "fewer pixels"),
    }
    for name, (content, says) in bad.items():
        yield Case(f"bad_{name}.tif", content, "refuse", says)
