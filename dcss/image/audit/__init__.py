"""What `dcss.image.check` looks at, one module each: inodes, directories, groups."""
