"""Building images, and what their layout is worth, beside mke2fs."""
