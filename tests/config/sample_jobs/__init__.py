"""Small jobs over ``auth.Group`` rows, for the real workers that tests start."""
