"""Build images once, and send each host those that it lacks, in chunks, each host at its own pace."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dcss.config.plan import SegmentPlan
from dcss.documents import to_document
from dcss.fleet import tasks
from dcss.fleet.content import Content, describe_content, read_chunk
from dcss.fleet.hosts import HostAnswer, Hosts
from dcss.image.make import make_image, segment_images
from dcss.progress import Progress


def build_images(
    segments: Sequence[SegmentPlan], scratch: Path, progress: Progress
) -> tuple[dict[str, Content], dict[str, Path]]:
    """Build the images of these segments. Raises ConfigError for one that cannot be built.

    Return its content by the segment's name, and its file in `scratch` by the content's digest.
    """
    images: dict[str, Content] = {}
    paths: dict[str, Path] = {}
    for wanted in segment_images(segments, scratch):
        made = make_image(wanted, progress)
        content = describe_content(made.path)
        images[wanted.segments[0].name] = content
        paths[content.digest] = made.path
    return images, paths


def send_images(
    hosts: Hosts,
    wanted: Mapping[str, Collection[str]],
    images: Mapping[str, Content],
    paths: Mapping[str, Path],
    progress: Progress,
) -> tuple[int, dict[str, str]]:
    """Send each host what it lacks of the segments that it wants.

    Return the bytes sent, and by host why it did not get all of it.
    """
    sent_bytes = 0
    failed: dict[str, str] = {}
    keep = sorted(each.digest for each in images.values())
    for name, content in images.items():
        asked = [host for host, segments in wanted.items() if name in segments and host not in failed]
        document = to_document(content)
        missing = hosts.call(tasks.tell_missing, dict.fromkeys(asked, (document,)))
        failed |= _errors(missing)
        chunks = {host: list(answer.value) for host, answer in missing.items() if answer.error is None}
        total_bytes = sum(content.extent(index)[1] for some in chunks.values() for index in some)
        progress.phase(f"send {name}", total_bytes, "bytes")
        path = paths[content.digest]
        orders = {host: _orders(content, path, some) for host, some in chunks.items()}
        for host, answer in hosts.feed(tasks.store_chunk, orders):
            if answer.error is None:
                sent_bytes += answer.value
                progress.advance(answer.value)
            else:
                failed[host] = answer.error
        arrived = [host for host in chunks if host not in failed]
        failed |= _errors(hosts.call(tasks.finish_content, dict.fromkeys(arrived, (document, keep))))
    return sent_bytes, failed


def _orders(content: Content, path: Path, chunks: Collection[int]) -> Iterator[tuple[Any, ...]]:
    """Yield the arguments of `store_chunk`, each read when it is sent: memory has few chunks at a time."""
    for index in chunks:
        yield to_document(content.chunk(index)), read_chunk(path, content, index)


def _errors(answers: Mapping[str, HostAnswer]) -> dict[str, str]:
    return {host: answer.error for host, answer in answers.items() if answer.error is not None}
