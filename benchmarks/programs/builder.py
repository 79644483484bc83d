"""The image builder in a running process, as a running CP uses it: one build for each line of its input.

    python benchmarks/programs/builder.py TREE IMAGE ADDRESS

It answers each line with one line of JSON, the seconds of the build.
"""

import json
import sys
import time
from pathlib import Path

from dcss.config.sources import DirectorySource
from dcss.image.build import plan_image


def build(tree: Path, image: Path, address: int) -> float:
    """Build and write an image; return the seconds."""
    began = time.perf_counter()
    plan = plan_image(DirectorySource(tree), address=address)
    with image.open("w+b") as out:
        plan.write(out.fileno())
    return time.perf_counter() - began


def main() -> None:
    """Serve."""
    tree, image, address = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"seconds": build(tree, image, address)}), flush=True)
    print(json.dumps({"stop": True}), flush=True)


if __name__ == "__main__":
    main()
