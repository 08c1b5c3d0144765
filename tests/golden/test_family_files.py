"""A golden file of the family that no test reads fails instead of passing in silence."""

import importlib
import json
from pathlib import Path

import family_golden
import numpy as np


def unread(folder):
    for module in Path(__file__).parent.glob("test_family_*.py"):
        importlib.import_module(module.stem)
    return {
        path.name: name for path, name in family_golden.components(folder).items() if name not in family_golden.READ
    }


def test_every_file_is_read_by_a_test():
    assert family_golden.components(family_golden.FOLDER), f"{family_golden.FOLDER}: expected golden files, found none"
    assert unread(family_golden.FOLDER) == {}


def test_a_file_that_no_test_reads_is_found(tmp_path):
    np.savez(tmp_path / "new.npz", config=np.array(json.dumps({"component": "diffusion"})))
    assert unread(tmp_path) == {"new.npz": "diffusion"}
