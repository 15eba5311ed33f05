"""An application with small pumps over ``auth.Group`` rows, for real workers that tests start."""
