"""golib in other people's programs."""
