"""`python -m services.treenode`."""

import gc
from pathlib import Path


def main() -> None:
    """The node's command line."""
    # A start makes objects that stay; looking for garbage among them costs a tenth of it. Once every kernel is loaded,
    # `settle_memory` turns it on.
    gc.disable()

    from services.shared.serving.process import service_command

    service_command("treenode", _start, keeps_members=True)()


def _start(config: Path | None, overrides: dict[str, str]) -> None:
    from services.treenode.kernels.needed import check_packages
    from services.treenode.snapshots.early_read import begin_early_read

    check_packages()
    # Before the other imports, which take as long as the reading.
    early = begin_early_read(config, overrides)

    from services.treenode.app import start

    start(config, overrides, early)


if __name__ == "__main__":
    main()
