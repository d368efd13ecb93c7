"""Any lists and sets that metrics must cope with: short, empty, repetitive, of unknown items."""

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

N_ITEMS = 8
N_LISTS = st.integers(1, 6)


@st.composite
def some_lists(draw: st.DrawFn, n_lists: int) -> npt.NDArray[np.int64]:
    """Lists of up to 6 slots; items 8 and 9 are outside the catalogue, −1 is an empty slot, anywhere."""
    width = draw(st.integers(1, 6))
    slots = st.lists(st.integers(-1, N_ITEMS + 1), min_size=width, max_size=width)
    return np.array(draw(st.lists(slots, min_size=n_lists, max_size=n_lists)))


def some_sets(n_lists: int) -> st.SearchStrategy[list[set[int]]]:
    """A set of known items per list."""
    return st.lists(st.sets(st.integers(0, N_ITEMS - 1)), min_size=n_lists, max_size=n_lists)


def some_gains(n_lists: int) -> st.SearchStrategy[list[dict[int, float]]]:
    """Graded items per list."""
    gains = st.dictionaries(st.integers(0, N_ITEMS - 1), st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0]))
    return st.lists(gains, min_size=n_lists, max_size=n_lists)
