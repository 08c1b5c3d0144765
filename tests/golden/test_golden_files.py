"""A suite without files, or with files that nothing reads, fails instead of passing in silence."""

import json

import numpy as np
import pytest
from golden import FILES, golden_files


def test_the_files_in_use_are_found():
    folder = next(iter(FILES)).parent
    assert golden_files(folder) == FILES


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"GOLDEN_DIR: expected a folder with golden files"):
        golden_files(tmp_path / "none")
    with pytest.raises(ValueError, match=r"GOLDEN_DIR: expected a folder with golden files"):
        golden_files(tmp_path)


def test_a_file_that_no_test_reads_is_refused(tmp_path):
    np.savez(tmp_path / "new.npz", config=np.array(json.dumps({"component": "diffusion"})))
    with pytest.raises(ValueError, match=r"new.npz: component: expected one of .* found 'diffusion'"):
        golden_files(tmp_path)
