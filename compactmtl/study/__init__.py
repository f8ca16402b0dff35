"""Studies: what a network would gain, before anything is trained."""
