"""Shim for colcon and for editable installs; all metadata but the licence is in pyproject.toml."""

import setuptools
from setuptools import Distribution, setup

OLDEST = 64

if int(setuptools.__version__.split(".")[0]) < OLDEST:
    raise SystemExit(
        f"robot_dreamer needs setuptools >= {OLDEST}, found {setuptools.__version__}; "
        f'run: python3 -m pip install "setuptools>={OLDEST},<80"'
    )


class RosDistribution(Distribution):
    """A distribution that colcon can read and whose editable install brings the ROS 2 share and lib files."""

    def parse_config_files(self, *args, **kwargs):
        # colcon reads the distribution through repr() and literal_eval(), which know no SpecifierSet.
        super().parse_config_files(*args, **kwargs)
        if getattr(self, "python_requires", None) is not None:
            self.python_requires = str(self.python_requires)
        if getattr(self.metadata, "python_requires", None) is not None:
            self.metadata.python_requires = str(self.metadata.python_requires)

    def has_data(self):
        # The editable build installs data files only when this exists and is true; the stock class lacks it.
        return bool(self.data_files)


setup(distclass=RosDistribution, license="Apache-2.0")
