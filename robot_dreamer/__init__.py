"""robot_dreamer: a real robot learns on the job with a world model."""

__version__ = "0.1.0"
