"""Two QEMU guests that read the same files, by virtio-pmem with DAX and by virtio-blk."""
