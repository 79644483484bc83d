"""`dcss image build|ls|cat|check|map`: work with ext2 images, without a running system."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcss.cli.groups import CommandGroup
from dcss.cli.options import (
    EXIT_REFUTED,
    csv_option,
    json_begins,
    json_option,
    only_one,
    print_json,
    print_page,
    print_rows,
)
from dcss.cli.sizes import SizeType
from dcss.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from dcss.ext2.inode import Inode
    from dcss.ext2.volume import Volume

_SHOWN_FILES = 20


_path = click.Path(path_type=Path)
_image_argument = click.argument("image", metavar="IMG", type=_path)
_at_option = click.option("--at", "address", type=SizeType(), default=None, metavar="ADDRESS", help="Absolute address.")
_offset_option = click.option(
    "--offset",
    type=SizeType(),
    default=0,
    metavar="BYTES",
    help="Where the file system begins in IMG, such as that of a partition.",
)
_system_option = click.option(
    "--system",
    metavar="SYSTEM",
    help="Read a segment of SYSTEM as it is now: IMG is its name, or A:B for several that adjoin.",
)


@click.group("image", cls=CommandGroup)
def command() -> None:
    """Build, list, read and check ext2 images.

    \b
    dcss image build ./tree -o lib.img --at 0x20000000
    dcss image ls lib.img /usr/lib -l
    dcss image map lib.img
    """


@command.command("build")
@click.argument("source", metavar="TREE|CONFIG|-", type=_path)
@click.option("-o", "--output", type=_path, required=True, metavar="IMG", help="The image, or a directory for several.")
@_at_option
@click.option("--size", "size_bytes", type=SizeType(), default=None, metavar="SIZE", help="Exact size of the image.")
@click.option("--platform", metavar="OS/ARCH", help="Of several container images, the one for this platform.")
@click.option("--tag", metavar="TAG", help="Of several container images, the one with this tag.")
@json_option
def build(
    source: Path,
    output: Path,
    *,
    address: int | None,
    size_bytes: int | None,
    platform: str | None,
    tag: str | None,
    as_json: bool,
) -> None:
    """Build an image laid out for execute-in-place.

    TREE is a directory or a tar, also compressed, from `docker save` or in OCI layout. Its content becomes the image's
    root. CONFIG (.yaml, .yml) describes a system: the image of each of its segments is built, for its address.
    Large files are aligned for --at. The same input gives the same bytes.
    """
    from dcss.config.sources import Choice
    from dcss.image.make import WantedImage, make_image, standard_input, wanted_images
    from dcss.progress import SilentProgress
    from dcss.report.progress import progress_for
    from dcss.report.units import fmt_bytes, fmt_count

    # The tree of an image has no cycles, and this process ends with it: searching it for garbage would be a tenth of
    # the time, and once more at the end.
    gc.disable()
    progress = progress_for(sys.stderr) if sys.stderr.isatty() else SilentProgress(sys.stderr)
    made = []
    try:
        if str(output) == "-":
            raise ConfigError("-o: found -, wanted the name of a file: an image is not written from front to back")
        choice = Choice(platform, tag)
        if str(source) == "-":
            with standard_input(choice) as piped:
                made.append(make_image(WantedImage(piped, output, (), address or 0, size_bytes), progress))
        else:
            for wanted in wanted_images(source, output, address, size_bytes, choice):
                made.append(make_image(wanted, progress))
    finally:
        progress.close()
        gc.freeze()
    if as_json:
        print_json({"images": [image.form() for image in made]})
        return
    for image in made:
        words = [fmt_bytes(image.size_bytes)]
        if image.files is not None:
            words.append(fmt_count(image.files, "file"))
        if image.left_out:
            words.append(f"{image.left_out:,} left out")
        click.echo(f"{image.path}: {', '.join(words)}")


@command.command("ls")
@_image_argument
@_offset_option
@_system_option
@click.argument("path", default="/")
@click.option("-l", "as_long", is_flag=True, help="Show type, mode, links, owner, size and time too.")
@click.option("-R", "recursive", is_flag=True, help="List everything below too, by path.")
@json_option
@csv_option("entries")
def ls(
    image: Path,
    path: str,
    *,
    offset: int,
    system: str | None,
    as_long: bool,
    recursive: bool,
    as_json: bool,
    csv_table: str | None,
) -> None:
    """List a directory of an image, or name a file in it.

    On a terminal, names are quoted as GNU ls quotes them; in a file or pipe they are the bytes of the image.
    """
    from dcss.cli.image_input import opened_input
    from dcss.image.listing import entry_document, listed
    from dcss.report.listing_view import long_lines, plain_name
    from dcss.report.quoting import quoted_name

    only_one(json=as_json, csv=csv_table)
    with opened_input(image, offset, system) as opened:
        inode = _find(opened.volume, image, path, follow=not as_long)
        entries = listed(opened.volume, os.fsencode(path), inode, recursive=recursive)
        if as_json:
            print_json({"image": str(image), "path": path, "entries": [entry_document(entry) for entry in entries]})
            return
        if csv_table is not None:
            from dcss.documents import columns_of
            from dcss.schemas.shapes import ImageEntry

            print_rows([entry_document(entry) for entry in entries], columns_of(ImageEntry))
            return
        form = quoted_name if sys.stdout.isatty() else plain_name
        lines = long_lines(list(entries), form) if as_long else (form(os.fsdecode(entry.name)) for entry in entries)
        for line in lines:
            click.echo(line)


@command.command("cat")
@_image_argument
@_offset_option
@_system_option
@click.argument("path")
@json_option
def cat(image: Path, path: str, *, offset: int, system: str | None, as_json: bool) -> None:
    """Write a file of an image to standard output. With --json, its content is in base64."""
    from dcss.cli.image_input import opened_input
    from dcss.image.listing import type_name, write_content, write_content_json

    with opened_input(image, offset, system) as opened:
        inode = _find(opened.volume, image, path, follow=True)
        if not inode.is_regular:
            raise ImageError(f"{image}: {path}: found a {type_name(inode)}, wanted a regular file")
        if as_json:
            json_begins()
            write_content_json(opened, inode, {"image": str(image), "path": path}, sys.stdout.buffer)
        else:
            write_content(opened, inode, sys.stdout.buffer)


@command.command("check")
@_image_argument
@_offset_option
@_system_option
@json_option
@csv_option("findings")
def check(image: Path, *, offset: int, system: str | None, as_json: bool, csv_table: str | None) -> int:
    """Check a whole image: blocks, directories, links, bitmaps, counts.

    Exit status: 0 clean; 1 damaged; 2 not readable as ext2. Nothing is repaired: use e2fsck for that.
    """
    from dataclasses import asdict

    from dcss.cli.image_input import image_input
    from dcss.ext2.fsck.check import check_image
    from dcss.image.opened import image_error
    from dcss.report.quoting import escaped
    from dcss.report.units import fmt_count

    only_one(json=as_json, csv=csv_table)
    with image_input(image, offset, system) as found:
        try:
            result = check_image(found.source)
        except ImageError as error:
            raise image_error(found.source, found.path, str(error)) from error
    findings = [asdict(problem) for problem in result.problems]
    if as_json:
        print_json({"image": str(image), "clean": result.clean, "findings": findings, "suppressed": result.suppressed})
        return 0 if result.clean else EXIT_REFUTED
    if csv_table is not None:
        from dcss.documents import columns_of
        from dcss.schemas.shapes import ImageFinding

        print_rows(findings, columns_of(ImageFinding))
        return 0 if result.clean else EXIT_REFUTED
    form = escaped if sys.stdout.isatty() else str
    for problem in result.problems:
        click.echo(form(f"{problem.where}: {problem.detail}"))
    if result.clean:
        click.echo(form(f"{image}: clean, {fmt_count(result.inodes, 'inode')}, {fmt_count(result.blocks, 'block')}"))
        return 0
    count = len(result.problems) + result.suppressed
    more = f", the first {len(result.problems):,} shown" if result.suppressed else ""
    click.echo(form(f"{image}: damaged, {fmt_count(count, 'finding')}{more}"))
    return EXIT_REFUTED


@command.command("map")
@_image_argument
@_offset_option
@_system_option
@_at_option
@click.option("-a", "--all", "show_all", is_flag=True, help="List every file, not only the largest.")
@json_option
@csv_option("files")
def map_command(
    image: Path,
    *,
    offset: int,
    system: str | None,
    address: int | None,
    show_all: bool,
    as_json: bool,
    csv_table: str | None,
) -> None:
    """Draw where files lie in an image, and count the mappings that each needs.

    Alignment is computed for the address of --at (default 0, or where the segment lies). A huge page can map 2 MiB of a
    file if address and offset in the file are equal modulo 2 MiB.
    """
    from dcss.cli.image_input import image_input
    from dcss.image.map import map_document, map_image
    from dcss.report.image_view import map_page
    from dcss.report.quoting import quoted_name

    only_one(json=as_json, csv=csv_table)
    with image_input(image, offset, system) as found:
        mapped = map_image(found.source, found.path, found.address if address is None else address, found.borders)
    if as_json:
        print_json({"image": str(image), **map_document(mapped)})
        return
    if csv_table is not None:
        from dcss.documents import columns_of
        from dcss.schemas.shapes import MappedFile

        print_rows(map_document(mapped)[csv_table], columns_of(MappedFile))
        return
    form = quoted_name if sys.stdout.isatty() else str
    print_page(map_page(mapped, None if show_all else _SHOWN_FILES, form))


def _find(volume: "Volume", image: Path, path: str, *, follow: bool) -> "Inode":
    """Return the inode at `path` of the image. Raises ImageError where there is none."""
    from dcss.errors import KernelError

    try:
        return volume.resolve(os.fsencode(path), follow=follow)
    except KernelError as error:
        raise ImageError(f"{image}: {path}: {os.strerror(error.errno or 0)}") from error
