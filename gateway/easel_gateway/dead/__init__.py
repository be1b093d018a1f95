"""Dead letters: `/easel/v1/dead`."""
