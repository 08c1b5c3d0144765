"""What a person sees of a run: the live display and the learning curve."""
