"""Mount options that the guest's kernel takes: those of every file system, of ext2 and of tmpfs.

Sources: mount(8) of util-linux; Documentation/filesystems/ext2.txt and tmpfs.txt of Linux 3.13, and dax of Linux 4.0.
"""

import re
from typing import Final

FLAGS: Final = {  # of a mount; the second word takes the first back
    "nosuid": "suid",
    "nodev": "dev",
    "noexec": "exec",
    "noatime": "atime",
    "nodiratime": "diratime",
}
VERBS: Final = frozenset({"bind", "remount"})
WITHOUT_EFFECT: Final = frozenset({"defaults", "loud", "relatime", "norelatime", "strictatime", "async"})
EVERY: Final = frozenset({"ro", "rw", "silent", *FLAGS, *FLAGS.values(), *VERBS, *WITHOUT_EFFECT})
IN_PLACE: Final = frozenset({"xip", "dax"})  # have files read and mapped where they lie
EXT2: Final = re.compile(
    r"bsddf|minixdf|(no)?grpid|bsdgroups|sysvgroups|nocheck|check=none|debug|oldalloc|orlov|nobh|(no)?user_xattr|(no)?acl"
    r"|(no|usr|grp)?quota|(no)?reservation|errors=(continue|panic|remount-ro)|res[ug]id=\d+"
)
TMPFS: Final = re.compile(r"size=\d+[kKmMgG%]?|(nr_blocks|nr_inodes)=\d+[kKmMgG]?|mode=[0-7]{1,5}|[ug]id=\d+")
