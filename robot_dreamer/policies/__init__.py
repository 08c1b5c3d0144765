"""Policies that travel: bundles in a folder, on an HTTP server or the Hugging Face hub, signed."""
