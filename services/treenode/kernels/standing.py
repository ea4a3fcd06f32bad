"""Whether the compiled kernels of this version are kept for this user, as JSON: for whoever looks after a machine.

python -m services.treenode.kernels.standing
"""

from __future__ import annotations

import json

from services.treenode.tree.kernels.kernel_cache import FOLDER, everything_is_cached


def main() -> None:
    """One line on standard output. `folder`: empty where nothing can be kept."""
    print(json.dumps({"folder": str(FOLDER or ""), "complete": FOLDER is not None and everything_is_cached()}))


if __name__ == "__main__":
    main()
