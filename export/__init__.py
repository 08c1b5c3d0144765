"""From a checkpoint, or a policy in training, to a bundle for a robot."""
