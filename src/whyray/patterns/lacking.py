"""What a store of activations lacks for a run, in sentences that say what to do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..errors import DataError
from .activations import ActivationStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def left_out(store: ActivationStore) -> list[str]:
    """One sentence a shard that is damaged or absent."""
    remedy = "`whyray activations`, run again as it was for this store, makes it anew"
    return [f"{store.folder}: {trouble}; {remedy}" for trouble in store.troubles]


def of_split(store: ActivationStore, split: str, least: int = 1) -> NDArray[np.int64]:
    """Indices of the pictures of a split. Raises DataError where there are fewer than ``least``: it says which splits
    there are, and how to take one."""
    found = store.where(split)
    if len(found) >= least:
        return found
    counts = Counter(image.split for image in store.images)
    there = ", ".join(f"{n} of {name!r}" if name else f"{n} without a split" for name, n in sorted(counts.items()))
    others = [name or '""' for name, n in counts.most_common() if name not in (split, "test") and n >= least]
    way = f"take others (--set split={others[0]})" if others else "store others (whyray activations)"
    raise DataError(
        f"{store.folder} has {len(found)} pictures of the split {split!r}, and {least} at least are needed; "
        f"it has {there}: {way}"
    )
