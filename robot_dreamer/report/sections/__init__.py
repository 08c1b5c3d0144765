"""The chapters of the page, each a function from a run's files to a section."""
