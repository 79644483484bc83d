"""How time and memory grow with guests, segments, files, directories, paths and versions."""
