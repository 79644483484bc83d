"""`dcss export TARGET CONFIG|IMAGE…`: write what a real z/VM, QEMU, libvirt, Firecracker or Cloud Hypervisor takes."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.options import echo_error, json_option, print_json
from dcss.cli.sizes import SizeType
from dcss.errors import ConfigError

if TYPE_CHECKING:
    from dcss.plan.export.files import ExportedFile
    from dcss.plan.export.write import Target

_MIB = 1 << 20
_TARGETS = ("zvm", "qemu", "libvirt", "firecracker", "cloud-hypervisor")


@click.command("export")
@click.argument("target", type=click.Choice(_TARGETS))
@click.argument("sources", metavar="CONFIG|IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, readable=False),
    metavar="DIRECTORY",
    help="Write the images, scripts and descriptions there.",
)
@click.option("--force", is_flag=True, help="Write over files that are in DIRECTORY already.")
@click.option("--name", metavar="SEGMENT", help="Name of the first image's segment; without it, after the file.")
@click.option("--at", "address", type=SizeType(), metavar="ADDRESS", help="Where the first image's segment lies.")
@click.option("--memory", "memory_bytes", type=SizeType(), metavar="SIZE", help="Memory of a machine; 512M by default.")
@click.option("--kernel", metavar="FILE", help="The kernel that a machine boots; vmlinuz by default.")
@json_option
def command(
    target: "Target",
    sources: tuple[Path, ...],
    *,
    output: Path | None,
    force: bool,
    name: str | None,
    address: int | None,
    memory_bytes: int | None,
    kernel: str | None,
    as_json: bool,
) -> None:
    """Write what a real z/VM, QEMU, libvirt or other system takes, of the segments of CONFIG or of images.

    \b
    dcss export zvm shared.yaml -o shared   CP's commands, scripts for Linux
    dcss export qemu lib.img -o machines    a script that starts QEMU
    dcss export libvirt lib.img             the domain, on stdout
    dcss export firecracker a.img b.img -o fc
    dcss export cloud-hypervisor shared.yaml -o ch

    IMAGE is an ext2 image, or a directory or archive that one is made of. Images are padded to whole units of 2 MiB,
    and segments lie at such. A segment of more than 2,046 MiB becomes several, which Linux takes as one disk,
    NAME1:NAME2.
    Without -o, nothing is written, and stdout has the text.
    """
    from dcss.abi.extmem import SegmentName
    from dcss.plan.export.exported import exported_devices
    from dcss.plan.export.files import MachineOptions
    from dcss.plan.export.write import MAKERS, write_export
    from dcss.progress import SilentProgress
    from dcss.report.progress import progress_for

    if name is not None:
        try:
            SegmentName(name)
        except ValueError as error:
            raise ConfigError(f"--name: {error}") from error
    if output is not None and output.exists() and not output.is_dir():
        raise ConfigError(f"-o: found a file at {output}, wanted a directory, or a new one")
    if memory_bytes is not None and (memory_bytes < _MIB or memory_bytes % _MIB):
        raise ConfigError(f"--memory: found {memory_bytes:,} bytes, wanted whole MiB, such as 512M")
    defaults = MachineOptions((output or Path()).absolute())
    options = MachineOptions(defaults.directory, memory_bytes or defaults.memory_bytes, kernel or defaults.kernel)
    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress(sys.stderr)
    notes: list[str] = []
    written = None
    try:
        progress.phase("plan images")
        devices = exported_devices(sources, name=name, address=address, notes=notes)
        files = list(MAKERS[target](devices, options))
        if output is not None:
            written = write_export(devices, files, output, progress, replace=force)
    finally:
        progress.close()
    if as_json:
        from dcss.documents import to_document
        from dcss.plan.export.write import export_result

        print_json(to_document(export_result(target, devices, files, written, notes)))
        return
    for note in notes:
        echo_error(f"note: {note}")
    if written is None:
        click.echo(_joined(files, every=target == "zvm"), nl=False)
        return
    for each in written:
        click.echo(each.path)


def _joined(files: "list[ExportedFile]", *, every: bool) -> str:
    """Return the first file, which is a document of its own, or `every` one, each with its name above it."""
    if not every:
        return files[0].text
    return "\n".join(f"# ---- {file.name}\n{file.text}" for file in files)
