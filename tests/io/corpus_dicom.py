"""The same picture in many DICOM encodings, and odd and broken DICOM files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import imagecodecs
import numpy as np
from corpus import BASE, COLUMNS, ROWS, Case
from corpus_pictures import jpeg
from writers import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    RLE,
    J,
    dicom,
    element,
    encapsulated,
    ending,
    item,
    lut,
    meta,
    rle,
    shorts,
)

SHAPE = (ROWS, COLUMNS)
MONO1 = {0x00280004: ("CS", b"MONOCHROME1")}
TWELVE = np.round(BASE / 255 * 4095).astype(np.uint16)
WIDE = BASE.astype(np.uint16) * 257
RGB = np.repeat(BASE[..., None], 3, axis=2)


def cases() -> Iterator[Case]:
    for name, data, within in [*native(), *grey_scale(), *compressed(), *structure()]:
        yield Case(f"same_{name}.dcm", data, "same", within=within)
    for name, data, says in odd():
        yield Case(f"odd_{name}" if "." in name else f"odd_{name}.dcm", data, "accept", says)
    for name, data, says in [*broken_header(), *broken_structure(), *broken_pixels(), *other_objects()]:
        yield Case(f"bad_{name}.dcm", data, "refuse", says)


def window(centre: str, width: str, function: str = "") -> dict[int, tuple[str, bytes]]:
    out = {0x00281050: ("DS", centre.encode()), 0x00281051: ("DS", width.encode())}
    return {**out, 0x00281056: ("CS", function.encode())} if function else out


def rescale(slope: str, intercept: str) -> dict[int, tuple[str, bytes]]:
    return {0x00281052: ("DS", intercept.encode()), 0x00281053: ("DS", slope.encode())}


def native() -> list[tuple[str, bytes, float]]:
    ten, fourteen = np.round(BASE / 255 * 1023).astype(np.uint16), np.round(BASE / 255 * 16383).astype(np.uint16)
    twenty = np.round(BASE / 255 * (2**20 - 1)).astype(np.uint32)
    signed = (WIDE.astype(np.int32) - 32768).astype(np.int16)
    return [
        ("u8", dicom(BASE), 1e-6),
        ("u10", dicom(ten, bits=10), 1e-3),
        ("u12", dicom(TWELVE, bits=12), 1e-3),
        ("u14", dicom(fourteen, bits=14), 1e-3),
        ("u16", dicom(WIDE), 1e-6),
        ("u20", dicom(twenty, bits=20), 1e-5),
        ("u12_said_16", dicom(TWELVE), 1e-3),
        ("i16", dicom(signed), 1e-6),
        ("i16_rescaled", dicom((TWELVE.astype(np.int16) - 1024), rescale("1", "1024")), 1e-3),
        ("i12_sign_extended", dicom((TWELVE.astype(np.int16) - 2048), bits=12), 1e-3),
        (
            "i12_not_extended",
            dicom(((TWELVE.astype(np.int16) - 2048) & 0xFFF), {0x00280103: ("US", shorts(1))}, bits=12),
            1e-3,
        ),
        ("implicit", dicom(BASE, syntax=IMPLICIT), 1e-6),
        ("implicit16", dicom(WIDE, syntax=IMPLICIT), 1e-6),
        ("big16", dicom(WIDE, syntax=BIG), 1e-6),
        ("big8_ob", dicom(BASE, syntax=BIG, pixel_vr="OB"), 1e-6),
        ("big8_ow", dicom(BASE.view(np.uint16).byteswap().view(np.uint8), syntax=BIG), 1e-6),
        ("deflated", dicom(BASE, syntax=DEFLATED), 1e-6),
        ("rgb", dicom(RGB), 1e-6),
        ("rgb_planes", dicom(RGB.transpose(2, 0, 1).reshape(ROWS, COLUMNS, 3), {0x00280006: ("US", shorts(1))}), 1e-6),
        ("ybr", dicom(np.stack([BASE, *[np.full_like(BASE, 128)] * 2], 2), {0x00280004: ("CS", b"YBR_FULL")}), 1e-6),
        ("high_bit_15", dicom(TWELVE << 4, {0x00280102: ("US", shorts(15))}, bits=12), 1e-3),
        ("overlay_in_high_bits", dicom(TWELVE | 0x8000, bits=12, extra=element(0x60000102, "US", shorts(15))), 1e-3),
    ]


def grey_scale() -> list[tuple[str, bytes, float]]:
    """Eleven ways to store and show the same grey values."""
    curve = np.random.default_rng(3).permutation(256).astype(np.uint16)
    inverse = np.argsort(curve).astype(np.uint8)
    falling = np.arange(255, -1, -1).astype(np.uint16)
    padded = WIDE.astype(np.int32) // 2
    outside = np.where(BASE == 0, 65535, padded).astype(np.uint16)
    return [
        ("mono1", dicom(255 - BASE, MONO1), 1e-6),
        ("mono1_12", dicom(4095 - TWELVE, MONO1, bits=12), 1e-3),
        ("shape_inverse", dicom(255 - BASE, {0x20500020: ("CS", b"INVERSE")}), 1e-6),
        ("mono1_and_shape_inverse", dicom(255 - BASE, {**MONO1, 0x20500020: ("CS", b"INVERSE")}), 1e-6),
        ("mono1_shape_identity", dicom(255 - BASE, {**MONO1, 0x20500020: ("CS", b"IDENTITY")}), 1e-6),
        ("negative_slope", dicom(255 - BASE, rescale("-1", "255")), 1e-6),
        (
            "negative_slope_window",
            dicom(4095 - TWELVE, {**rescale("-1", "4095"), **window("2048", "4096")}, bits=12),
            2e-3,
        ),
        ("negative_slope_mono1", dicom(BASE, {**rescale("-1", "255"), **MONO1}), 1e-6),
        ("modality_lut", dicom(inverse[BASE], extra=lut(0x00283000, 0, 16, curve * 257)), 1e-5),
        ("modality_lut_falling", dicom(255 - BASE, extra=lut(0x00283000, 0, 8, falling)), 1e-5),
        ("voi_lut", dicom(inverse[BASE], extra=lut(0x00283010, 0, 8, curve)), 1e-5),
        (
            "voi_lut_first_mapped",
            dicom(BASE.astype(np.uint16) + 1000, bits=12, extra=lut(0x00283010, 1000, 8, np.arange(256))),
            1e-5,
        ),
        (
            "voi_lut_negative_first",
            dicom(BASE.astype(np.int16) - 100, extra=lut(0x00283010, -100, 8, np.arange(256))),
            1e-5,
        ),
        ("voi_lut_before_window", dicom(BASE, window("1", "2"), extra=lut(0x00283010, 0, 8, np.arange(256))), 1e-5),
        ("voi_lut_falling_mono1", dicom(BASE, MONO1, extra=lut(0x00283010, 0, 8, falling)), 1e-5),
        ("voi_lut_bits_overstated", dicom(BASE, extra=lut(0x00283010, 0, 16, np.arange(256) * 16)), 5e-3),
        ("linear", dicom(TWELVE, window("2048", "4096"), bits=12), 1e-3),
        ("linear_exact", dicom(TWELVE, window("2047.5", "4095", "LINEAR_EXACT"), bits=12), 1e-3),
        ("window_mono1", dicom(4095 - TWELVE, {**window("2048", "4096"), **MONO1}, bits=12), 1e-3),
        ("window_rescaled", dicom(TWELVE, {**rescale("0.5", "-100"), **window("924", "2048")}, bits=12), 2e-3),
        ("padding_65535", dicom(outside, {0x00280120: ("US", shorts(65535))}), 0.01),
        (
            "padding_range",
            dicom(
                np.where(BASE < 2, 60000 + BASE.astype(int), padded).astype(np.uint16),
                {0x00280120: ("US", shorts(60000)), 0x00280121: ("US", shorts(60001))},
            ),
            0.01,
        ),
    ]


def compressed() -> list[tuple[str, bytes, float]]:
    def packed(uid: str, frame: bytes, values: np.ndarray = BASE, bits: int | None = None, **options: object) -> bytes:
        return dicom(
            encapsulated(frame, **options), syntax=uid, shape=SHAPE, allocated=values.dtype.itemsize * 8, bits=bits
        )  # type: ignore[arg-type]

    j2k = imagecodecs.jpeg2k_encode(WIDE, codecformat="J2K", level=0)
    lossless = imagecodecs.jpeg8_encode(WIDE, lossless=True, bitspersample=16)
    twelve = imagecodecs.jpeg8_encode(TWELVE, level=98, bitspersample=12)
    return [
        ("rle8", packed(RLE, rle(BASE)), 1e-6),
        ("rle16", packed(RLE, rle(WIDE), WIDE), 1e-6),
        ("jpeg_baseline", packed(J + "50", jpeg()), 0.06),
        ("jpeg_12", packed(J + "51", twelve, TWELVE, 12), 0.02),
        ("jpeg_lossless", packed(J + "57", imagecodecs.ljpeg_encode(TWELVE, bitspersample=12), TWELVE, 12), 1e-3),
        ("jpeg_sv1", packed(J + "70", lossless, WIDE), 1e-6),
        ("jpeg_sv1_8", packed(J + "70", imagecodecs.jpeg8_encode(BASE, lossless=True)), 1e-6),
        ("jpeg_ls", packed(J + "80", imagecodecs.jpegls_encode(WIDE), WIDE), 1e-6),
        ("jpeg_ls_12", packed(J + "80", imagecodecs.jpegls_encode(TWELVE), TWELVE, 12), 1e-3),
        ("jpeg_ls_near", packed(J + "81", imagecodecs.jpegls_encode(BASE, level=2)), 0.01),
        ("j2k", packed(J + "90", j2k, WIDE), 1e-6),
        ("j2k_8", packed(J + "90", imagecodecs.jpeg2k_encode(BASE, codecformat="J2K", level=0)), 1e-6),
        ("j2k_lossy", packed(J + "91", imagecodecs.jpeg2k_encode(BASE, codecformat="J2K", level=45)), 0.06),
        ("htj2k", packed(J + "201", imagecodecs.htj2k_encode(WIDE), WIDE), 1e-6),
        ("fragments", packed(J + "90", j2k, WIDE, pieces=7), 1e-6),
        ("offset_table", packed(J + "90", j2k, WIDE, table=True), 1e-6),
        (
            "rgb_jpeg",
            dicom(
                encapsulated(jpeg(RGB)),
                {0x00280002: ("US", shorts(3)), 0x00280004: ("CS", b"YBR_FULL_422"), 0x00280006: ("US", shorts(0))},
                syntax=J + "50",
                shape=SHAPE,
            ),
            0.06,
        ),
    ]


def structure() -> list[tuple[str, bytes, float]]:
    inner = element(0x00080100, "SH", b"X")
    nested = inner
    for _ in range(60):
        nested = element(
            0x00081115, "SQ", item(nested + ending(0xE00D), length=0xFFFFFFFF) + ending(0xE0DD), length=0xFFFFFFFF
        )
    unknown = struct.pack("<HH2sHI", 0x0009, 0x1001, b"UN", 0, 0xFFFFFFFF)
    unknown += item(element(0x00080100, "SH", b"X", IMPLICIT) + ending(0xE00D), length=0xFFFFFFFF) + ending(0xE0DD)
    private = element(0x00270010, "LO", b"ACME") + element(0x00271001, "UN", bytes(500))
    wrong_group = meta(EXPLICIT).replace(struct.pack("<I", len(meta(EXPLICIT)) - 12), struct.pack("<I", 9999))
    plain = dicom(BASE)
    return [
        ("nested_60", dicom(BASE, extra=b"".join([nested])), 1e-6),
        ("unknown_sequence", dicom(BASE, extra=unknown), 1e-6),
        ("private", dicom(BASE, extra=private), 1e-6),
        ("trailing_zeros", plain + bytes(2000), 1e-6),
        ("trailing_padding", dicom(BASE, tail=element(0xFFFCFFFC, "OB", bytes(64))), 1e-6),
        ("wrong_group_length", plain.replace(meta(EXPLICIT), wrong_group), 1e-6),
        ("tiff_preamble", dicom(BASE, preamble=b"II*\0".ljust(128, b"\0")), 1e-6),
        ("icon", dicom(BASE, extra=element(0x00880200, "SQ", item(element(0x7FE00010, "OW", bytes(64))))), 1e-6),
    ]


def odd() -> list[tuple[str, bytes, str]]:
    two = window("2048\\10", "4096\\5")
    return [
        ("two_windows", dicom(TWELVE, two, bits=12), "first was used"),
        ("window_width_0", dicom(TWELVE, window("2048", "0"), bits=12), "not allowed"),
        ("window_width_negative", dicom(TWELVE, window("2048", "-400"), bits=12), "not allowed"),
        ("window_no_number", dicom(TWELVE, window("2048", "wide"), bits=12), "unusable"),
        ("window_nan", dicom(TWELVE, window("nan", "4096"), bits=12), "unusable"),
        ("window_infinite", dicom(TWELVE, window("2048", "1e400"), bits=12), "unusable"),
        ("window_half", dicom(TWELVE, {0x00281050: ("DS", b"2048")}, bits=12), "unusable"),
        ("window_elsewhere", dicom(TWELVE, window("60000", "10"), bits=12), "next to no contrast"),
        ("window_function", dicom(TWELVE, window("2048", "4096", "LOGARITHM"), bits=12), "unknown kind"),
        ("sparse", dicom(BASE, {0x00080060: None, 0x00180015: None, 0x00185101: None}), "does not name"),
        ("lateral", dicom(BASE, {0x00185101: ("CS", b"LL")}), "lateral"),
        ("part_unknown", dicom(BASE, {0x00180015: ("CS", b"CYBORG")}), "body part"),
        ("processing", dicom(BASE, {0x00080068: ("CS", b"FOR PROCESSING")}), "raw"),
        ("burned_in", dicom(BASE, {0x00280301: ("CS", b"YES")}), "burned"),
        (
            "capture",
            dicom(BASE, {0x00080060: ("CS", b"OT"), 0x00080016: ("UI", b"1.2.840.10008.5.1.4.1.1.7")}),
            "capture",
        ),
        ("pixels_not_square", dicom(BASE, {0x00280034: ("IS", b"2\\1")}), "not square"),
        ("program", dicom(BASE, preamble=b"MZ".ljust(128, b"\x90")), "program"),
        ("called.png", dicom(BASE), "name says otherwise"),
        ("called.jpg", dicom(BASE), "name says otherwise"),
    ]


def broken_header() -> Iterator[tuple[str, bytes, str]]:
    for tag, name in ((0x00280010, "rows"), (0x00280011, "columns"), (0x00280100, "allocated"), (0x00280101, "stored")):
        yield f"no_{name}", dicom(BASE, {tag: None}), "no value"
        yield f"zero_{name}", dicom(BASE, {tag: ("US", shorts(0))}), "no value"
    us, cs = (lambda v: ("US", shorts(v))), (lambda v: ("CS", v))
    yield "no_photometric", dicom(BASE, {0x00280004: None}), "Photometric"
    yield "palette_colours", dicom(BASE, {0x00280004: cs(b"PALETTE COLOR")}), "palette"
    yield "photometric_unknown", dicom(BASE, {0x00280004: cs(b"MONOCHROME3")}), "Photometric"
    yield "frames_2", dicom(np.concatenate([BASE, BASE]), {0x00280008: ("IS", b"2"), 0x00280010: us(ROWS)}), "2 frames"
    yield "frames_text", dicom(BASE, {0x00280008: ("IS", b"1A")}), "Number of Frames"
    yield "rows_doubled", dicom(BASE, {0x00280010: us(ROWS * 2)}), "fewer pixels"
    yield "rows_halved", dicom(BASE, {0x00280010: us(ROWS // 2)}), "more pixels"
    yield "columns_off_by_one", dicom(BASE, {0x00280011: us(COLUMNS - 1)}), "more pixels"
    yield "huge", dicom(BASE, {0x00280010: us(65000), 0x00280011: us(65000)}), "million"
    yield "small", dicom(BASE[:32, :32]), "too small"
    yield "wide", dicom(np.tile(BASE[:70], (1, 8))), "too wide"
    yield "allocated_12", dicom(BASE, {0x00280100: us(12), 0x00280101: us(12), 0x00280102: us(11)}), "12 bits"
    yield "allocated_1", dicom(BASE, {0x00280100: us(1), 0x00280101: us(1), 0x00280102: us(0)}), "1 bits"
    yield "stored_above_allocated", dicom(BASE, {0x00280101: us(12), 0x00280102: us(11)}), "disagree"
    yield "high_bit_low", dicom(TWELVE, {0x00280102: us(7)}, bits=12), "disagree"
    yield "too_few_bits_stored", dicom(TWELVE, bits=8), "more bits"
    yield "samples_2", dicom(BASE, {0x00280002: us(2)}), "disagree"
    yield "rgb_said_grey", dicom(RGB, {0x00280004: cs(b"MONOCHROME2")}), "disagree"
    yield "slope_0", dicom(BASE, rescale("0", "0")), "slope"
    yield "slope_nan", dicom(BASE, rescale("nan", "0")), "slope"
    yield "slope_text", dicom(BASE, rescale("steep", "0")), "slope"
    yield "all_padding", dicom(np.full_like(WIDE, 9), {0x00280120: us(9)}), "padding"
    yield "blank", dicom(np.full_like(BASE, 77)), "same value"
    yield (
        "lut_short",
        dicom(
            BASE,
            extra=element(
                0x00283010,
                "SQ",
                item(element(0x00283002, "US", shorts(256, 0, 16)) + element(0x00283006, "OW", bytes(100))),
            ),
        ),
        "look-up table",
    )
    yield "lut_bits_40", dicom(BASE, extra=lut(0x00283010, 0, 40, np.arange(256))), "look-up table"
    floats = element(0x7FE00008, "OF", BASE.astype(np.float32).tobytes())
    yield "floats", dicom(b"", extra=floats, shape=SHAPE), "floating-point"


def broken_structure() -> Iterator[tuple[str, bytes, str]]:
    good = dicom(BASE)
    for share in (1, 2, 30, 60, 90, 99):
        yield f"cut_{share}", good[: max(140, len(good) * share // 100)], ""
    deep = element(0x00080100, "SH", b"X")
    for _ in range(70):
        deep = element(
            0x00081115, "SQ", item(deep + ending(0xE00D), length=0xFFFFFFFF) + ending(0xE0DD), length=0xFFFFFFFF
        )
    deeper = b"".join([struct.pack("<HH2sHI", 8, 0x1115, b"SQ", 0, 0xFFFFFFFF), item(b"", length=0xFFFFFFFF)]) * 5000
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = squeeze.compress(element(0x00090010, "OB", b"", length=300 << 20) + bytes(300 << 20)) + squeeze.flush()
    deflated = dicom(BASE, syntax=DEFLATED)
    start = bytes(128) + b"DICM"
    bad = {
        "nested_70": (dicom(BASE, extra=deep), "nested"),
        "nested_5000": (dicom(BASE, extra=deeper), "nested"),
        "element_2gb": (dicom(BASE, extra=element(0x00271001, "OB", b"abcd", length=2**31)), "length"),
        "elements": (
            dicom(BASE, extra=b"".join(element(0x00290000 + i, "US", b"ab") for i in range(60_000))),
            "elements",
        ),
        "deflate_bomb": (start + meta(DEFLATED) + bomb, "too large"),
        "deflate_cut": (deflated[: len(deflated) // 2], "middle"),
        "deflate_garbage": (start + meta(DEFLATED) + b"\xff" * 5000, "damaged"),
        "vr_garbage": (dicom(BASE, extra=b"\x29\x00\x01\x00??\x04\x00abcd"), "structure"),
        "twice": (dicom(BASE, extra=element(0x00280010, "US", shorts(99))), "structure"),
        "no_pixels": (dicom(b"", shape=SHAPE), "no pixel data"),
        "no_syntax": (start + element(0x00020000, "UL", struct.pack("<I", 0)) + good[200:], ""),
        "only_start": (start, "syntax"),
        "syntax_unknown": (good.replace(meta(EXPLICIT), meta("1.2.3.4.5.6")), "not supported"),
        "syntax_mpeg": (dicom(encapsulated(bytes(100)), syntax=J + "100", shape=SHAPE), "not supported"),
        "native_said_jpeg": (good.replace(meta(EXPLICIT), meta(J + "50")), "disagree"),
        "jpeg_said_native": (dicom(encapsulated(jpeg()), shape=SHAPE), "disagree"),
        "no_start": (good[132:], "no PNG"),
        "implicit_said_explicit": (dicom(BASE, syntax=IMPLICIT).replace(meta(IMPLICIT), meta(EXPLICIT)), ""),
        "explicit_said_implicit": (good.replace(meta(EXPLICIT), meta(IMPLICIT)), ""),
        "big_said_little": (dicom(WIDE, syntax=BIG).replace(meta(BIG), meta(EXPLICIT)), ""),
        "item_at_top": (dicom(BASE, extra=item(b"abcd")), "structure"),
    }
    for name, (content, says) in bad.items():
        yield name, content, says


def broken_pixels() -> Iterator[tuple[str, bytes, str]]:
    streams = {
        "rle": (RLE, rle(WIDE)),
        "jpeg": (J + "50", jpeg()),
        "sv1": (J + "70", imagecodecs.jpeg8_encode(WIDE, lossless=True, bitspersample=16)),
        "jls": (J + "80", imagecodecs.jpegls_encode(WIDE)),
        "j2k": (J + "90", imagecodecs.jpeg2k_encode(WIDE, codecformat="J2K", level=0)),
        "htj2k": (J + "201", imagecodecs.htj2k_encode(WIDE)),
    }
    for name, (uid, stream) in streams.items():
        size = 8 if name == "jpeg" else 16
        for share in (10, 50, 90):
            cut = stream[: len(stream) * share // 100]
            yield f"{name}_cut_{share}", dicom(encapsulated(cut), syntax=uid, shape=SHAPE, allocated=size), ""
        yield f"{name}_garbage", dicom(encapsulated(b"\x5a" * 4000), syntax=uid, shape=SHAPE, allocated=size), ""
        yield f"{name}_empty", dicom(encapsulated(), syntax=uid, shape=SHAPE, allocated=size), ""
        other = dicom(encapsulated(stream), syntax=uid, shape=(ROWS * 2, COLUMNS), allocated=size)
        endless = dicom(encapsulated(stream, close=False), syntax=uid, shape=SHAPE, allocated=size)
        yield f"{name}_other_size", other, ""
        yield f"{name}_not_closed", endless, "middle"
    many = encapsulated(bytes(2), close=False) + item(b"ab") * 10_500
    yield "fragments", dicom(many, syntax=J + "90", shape=SHAPE), "fragments"
    yield "jpeg_16_in_8", dicom(encapsulated(streams["sv1"][1]), syntax=J + "70", shape=SHAPE, allocated=8), "bits"
    swelling = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 2_000_000
    yield "rle_bomb", dicom(encapsulated(swelling), syntax=RLE, shape=SHAPE), ""
    j2k = bytearray(streams["j2k"][1])
    at = j2k.index(b"\xff\x51")
    j2k[at + 6 : at + 14] = struct.pack(">II", 60000, 60000)
    yield "j2k_huge", dicom(encapsulated(bytes(j2k)), syntax=J + "90", shape=SHAPE, allocated=16), ""


def other_objects() -> Iterator[tuple[str, bytes, str]]:
    words = {
        "CT": "a CT",
        "MR": "an MR",
        "US": "ultrasound",
        "MG": "mammography",
        "NM": "nuclear",
        "XA": "angiography",
        "PT": "PET",
        "SEG": "segmentation",
        "SR": "report",
        "RTDOSE": "dose",
        "OT": "does not say",
        "ZZ": "does not say",
    }
    for code, says in words.items():
        yield f"modality_{code}", dicom(BASE, {0x00080060: ("CS", code.encode())}), says
    for part in ("HAND", "HIP", "SKULL", "EXTREMITY", "ABDOMEN", "KNEE", "CSPINE", "BREAST"):
        yield f"part_{part}", dicom(BASE, {0x00180015: ("CS", part.encode())}), "another part"
    yield "directory", dicom(b"", extra=element(0x00041220, "SQ", b""), shape=SHAPE), "DICOMDIR"
    yield "colour_without_modality", dicom(RGB, {0x00080060: None}), "does not say"
