"""Reading and writing ext2 by this project's library and by others."""
