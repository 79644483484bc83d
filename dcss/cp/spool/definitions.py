"""Read which segments a spool has saved, without its lock: for plans, which change nothing."""

from dcss.abi.extmem import SegmentDefinition, SegmentName
from dcss.cp.segments.segment import FileClass
from dcss.cp.spool.manifest import MAX_MANIFEST_BYTES, Manifest
from dcss.host.files import read_regular
from dcss.host.paths import check_system_name, state_root


def saved_definitions(system: str) -> dict[SegmentName, SegmentDefinition]:
    """Return the definitions of the saved segments of a system, by name; damaged manifests are left out.

    A CP that runs may change them at any time.
    """
    newest: dict[SegmentName, Manifest] = {}
    for path in (state_root() / check_system_name(system)).glob("*.manifest"):
        try:
            manifest = Manifest.unpack(read_regular(path, MAX_MANIFEST_BYTES, follow=False))
        except (ValueError, KeyError, TypeError, OSError):
            continue  # CP's next start sets it aside and reports it
        older = newest.get(manifest.definition.name)
        if manifest.file_class is not FileClass.SKELETON and (older is None or older.serial < manifest.serial):
            newest[manifest.definition.name] = manifest
    return {name: manifest.definition for name, manifest in newest.items()}
