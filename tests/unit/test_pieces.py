"""Long scans in equal pieces."""

import pytest

from robot_dreamer.world_model.fast.pieces import pieces


@pytest.mark.parametrize(
    ("count", "size"), [(1, 1), (4, 4), (5, 5), (15, 5), (16, 4), (64, 4), (7, 1), (50, 5), (33, 3)]
)
def test_all_of_it_in_pieces_of_one_length(count: int, size: int) -> None:
    found = pieces(count)
    assert [t for piece in found for t in range(piece.start, piece.stop)] == list(range(count))
    assert {piece.stop - piece.start for piece in found} == {size}
