"""Running processes as consumers: the files that they map, and what of these they have touched.

Touched is what stands in the page table: the kernel maps some pages around the one that was asked for. `Referenced` of
smaps counts what the processor has used since that mark was last cleared.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from dcss.abi.page import PAGE_SIZE
from dcss.account.pagemap import Pagemap
from dcss.account.smaps import MappingFields, read_smaps
from dcss.ext2.mkfs.tree import TreeFile
from dcss.inspect.processes import NamedProcess, NamedProcesses
from dcss.plan.inputs.consumer import Consumer, UsedFile, data_bytes
from dcss.plan.inputs.process_files import ProcessFiles, present_pages


def process_consumers(pids: Iterable[int], notes: list[str]) -> list[Consumer]:
    """Return a consumer for each process; what cannot be taken into an image is added to `notes`.

    Raises ConfigError for an id that is no process, MeasurementDeniedError where the kernel does not show the mappings
    to this user, LaunchError where a process ended while it was looked at.
    """
    with NamedProcesses(pids) as processes:
        files = ProcessFiles()
        consumers = [_consumer(process, files) for process in processes.all]
        processes.check_alive()
    notes += files.notes()
    return consumers


def _consumer(process: NamedProcess, files: ProcessFiles) -> Consumer:
    by_path: dict[bytes, list[MappingFields]] = {}
    for mapping in read_smaps(process.pid):
        path = files.mapped_path(mapping.vma)
        if path is not None:
            by_path.setdefault(path, []).append(mapping)
    used: dict[TreeFile, UsedFile] = {}
    with Pagemap(process.pid) as pagemap:
        for path, mappings in sorted(by_path.items()):
            file = files.file(process.pid, path)
            if file is None:
                continue
            known = used.setdefault(file.node, file)
            if known is not file:
                known.paths += file.paths
            _add_touched(known, mappings, pagemap)
    return Consumer(process.name, "process", process.label, list(used.values()))


def _add_touched(file: UsedFile, mappings: Sequence[MappingFields], pagemap: Pagemap) -> None:
    pages = [present_pages(mapping.vma, pagemap) for mapping in mappings]
    touched_bytes = len(np.unique(np.concatenate(pages))) * PAGE_SIZE
    limit_bytes = data_bytes(file.node)
    file.touched_bytes = min((file.touched_bytes or 0) + touched_bytes, limit_bytes)
    referenced_bytes = sum(mapping.fields_bytes.get("Referenced", 0) for mapping in mappings)
    file.referenced_bytes = min((file.referenced_bytes or 0) + referenced_bytes, file.touched_bytes)
