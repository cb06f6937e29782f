"""Small DICOM files, as the challenges release their pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def write_dicom(path: Path, seed: int, side: int = 64) -> None:
    """A frontal chest CR of noise that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    made: Dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Modality, made.BodyPartExamined, made.ViewPosition = "CR", "CHEST", "PA"
    made.PhotometricInterpretation, made.SamplesPerPixel = "MONOCHROME2", 1
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation, made.Rows, made.Columns = 7, 0, side, side
    smooth = np.kron(np.random.default_rng(seed).random((8, 8)), np.ones((side // 8, side // 8)))
    made.PixelData = (smooth * 200 + np.arange(side) / side * 50).astype(np.uint8).tobytes()
    made.save_as(path, enforce_file_format=True)
