"""`debian:`: an image of Debian's packages, put together without running anything of theirs."""
