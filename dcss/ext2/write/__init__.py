"""What changes a mounted volume: blocks and inodes are allocated and freed, names made and removed, files written."""
