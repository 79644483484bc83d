"""CPU of a proof by its parts, beside merely reading what it reads."""
