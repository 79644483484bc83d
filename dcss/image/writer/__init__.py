"""The ext2 writer: numbers inodes, lays blocks out for execute-in-place, and packs what ext2 keeps about them."""
