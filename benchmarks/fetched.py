"""Models and texts that `coldpress fetch` keeps, for the scripts beside this file."""
import os
import subprocess
import sys
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coldpress"
MODEL = CACHE / "models/smollm2-135m-instruct.gguf"


def text_path(coldpress, name):
    """The file `name`, or else the text of that name, fetched where it is not here yet."""
    if Path(name).exists():
        return Path(name)
    subprocess.run([coldpress, "fetch", name], check=True, stdout=sys.stderr)
    return CACHE / "texts" / f"{name}.txt"
