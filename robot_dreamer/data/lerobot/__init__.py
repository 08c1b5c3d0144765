"""LeRobotDataset v3: rows of a store as one, and one as rows of a store."""
