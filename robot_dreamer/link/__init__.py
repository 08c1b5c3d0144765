"""The link between robots and learner: experience up, bundles down. See docs/link.md."""
