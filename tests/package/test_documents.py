"""The Python blocks of the documents run in their order, in a folder that holds the files they name; and what
the package says of itself is whole."""

import importlib.metadata
import inspect
import os
import pathlib
import re
import tempfile
import typing
import unittest

import coldpress
import numpy as np
import tiny_model

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Documents(unittest.TestCase):
    def test_the_blocks_of_the_documents_run(self):
        x = np.random.default_rng(0).normal(size=(1024, 256))
        x += x[:, :1]
        w = np.random.default_rng(1).normal(size=(64, 256))
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        for document in ("docs/python.md", "README.md", "python/README.md"):
            text = (ROOT / document).read_text()
            blocks = re.findall(r"^```python\n(.*?)^```", text, re.S | re.M)
            self.assertTrue(blocks, document)
            names = {"coldpress": coldpress, "W": w, "X": x, "H": x.T @ x}
            with self.subTest(document), tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                tiny_model.write_model("Llama-3.2-1B")
                tiny_model.write_text("my-text.txt")
                for block in blocks:
                    exec(compile(block, document, "exec"), names)
                os.chdir(before)

    def test_the_version_is_the_projects(self):
        text = (ROOT / "CMakeLists.txt").read_text()
        self.assertIn(f"project(coldpress VERSION {coldpress.__version__} ", text)

    def test_it_needs_numpy_alone(self):
        self.assertEqual(importlib.metadata.requires("coldpress"), ["numpy>=1.22"])

    def test_everything_public_is_documented_and_typed(self):
        for name in coldpress.__all__:
            value = getattr(coldpress, name)
            if name != "__version__":
                self.assertTrue(value.__doc__, name)
            if inspect.isfunction(value):
                hints = typing.get_type_hints(value)
                self.assertEqual(set(hints), set(inspect.signature(value).parameters) | {"return"})
        self.assertTrue((pathlib.Path(coldpress.__file__).parent / "py.typed").exists())


if __name__ == "__main__":
    unittest.main()
