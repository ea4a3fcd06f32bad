"""Writes every made file of deploy/k8s."""

from __future__ import annotations

from pathlib import Path

from tools.kubernetes.made import ROOT, made_files


def main() -> None:
    """Writes those that differ, and names them."""
    for name, text in made_files().items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {Path(name)}")


if __name__ == "__main__":
    main()
