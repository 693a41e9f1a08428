"""coldpress.quantize and coldpress.evaluate on a tiny model."""

import json
import pathlib
import signal
import tempfile
import unittest

import coldpress
import tiny_model


class Models(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.model, self.text = self.folder / "model", self.folder / "text.txt"
        tiny_model.write_model(self.model)
        tiny_model.write_text(self.text)

    def quantize(self, out, **options):
        settings = {"bits": 3, "calibration": self.text, "samples": 4, "seqlen": 64, **options}
        return coldpress.quantize(self.model, self.folder / out, **settings)

    def perplexity(self, model, **options):
        return coldpress.evaluate(model, self.text, protocol="llama.cpp-512", windows=2, **options)

    def test_a_pressed_model_is_near_the_original(self):
        seen = []
        manifest = self.quantize(
            "out", bits=4, group=32, progress=lambda done, total, tensor, error: seen.append((done, total, tensor, error))
        )
        self.assertEqual(manifest["recipe"]["method"], "admm-q")
        self.assertEqual(manifest["recipe"]["grid"]["group"], 32)
        self.assertLess(manifest["result"]["mean_error"], manifest["result"]["mean_rtn_error"])
        self.assertEqual([s[:2] for s in seen], [(k, 7) for k in range(1, 8)])
        self.assertIn("q_proj", seen[0][2])
        self.assertAlmostEqual(seen[-1][3], manifest["result"]["mean_error"])

        result = self.perplexity(self.folder / "out", reference=self.model)
        self.assertEqual(result["protocol"], "llama.cpp-512")
        self.assertGreater(result["kl"]["reference_to_model"]["mean"], 0)
        original = self.perplexity(self.model, threads=1)["perplexity"]
        self.assertEqual(result["reference"]["perplexity"], original)
        self.assertAlmostEqual(result["perplexity"] / original, 1, delta=0.2)

    def test_the_same_arguments_give_the_same_bytes(self):
        self.quantize("a", threads=1)
        self.quantize("b", threads=2, seed=None)
        self.quantize("c", seed=3)
        a, b, c = ((self.folder / out / "model.safetensors").read_bytes() for out in "abc")
        self.assertEqual(a, b)
        self.assertNotEqual(a, c)

    def test_a_ceiling_of_memory_changes_no_byte(self):
        self.quantize("a")
        manifest = self.quantize("b", max_ram=1 << 30)
        self.assertEqual(manifest["memory"]["max_ram"], 1 << 30)
        a, b = ((self.folder / out / "model.safetensors").read_bytes() for out in "ab")
        self.assertEqual(a, b)
        self.refuse(ValueError, "^max_ram 1M is too little", out="c", max_ram=1_000_000)

    def test_gguf_types(self):
        manifest = self.quantize("out.gguf", bits=None, type="Q4_0", pure=True, method="rtn",
                                 tensor_type=["ffn_down=q8_0"])
        types = {t["name"]: t["stored_type"] for t in manifest["tensors"]}
        self.assertEqual(types["model.layers.0.mlp.up_proj.weight"].lower(), "q4_0")
        self.assertEqual(types["model.layers.0.mlp.down_proj.weight"].lower(), "q8_0")
        self.assertGreater(self.perplexity(self.folder / "out.gguf")["perplexity"], 1)

    def test_folders_of_codes(self):
        options = {"bits": 4, "group": 32, "symmetric": True, "format": "compressed-tensors"}
        self.quantize("out", target="vllm", shard_bytes=40000, **options)
        config = json.loads((self.folder / "out/config.json").read_text())
        self.assertEqual(config["quantization_config"]["quant_method"], "compressed-tensors")
        self.assertGreater(len(list((self.folder / "out").glob("*.safetensors"))), 1)
        self.refuse(ValueError, "unknown|known", out="other", format="mine")
        self.refuse(ValueError, "^target 'mine' is not possible; use one of vllm", out="other", target="mine")
        self.refuse(ValueError, "^tp 0", out="other", tp=0)
        head = self.quantize("head", quantize_head=True, **options)
        self.assertIn("lm_head.weight", [t["name"] for t in head["tensors"] if t["action"] == "quantised"])

    def test_propagation_changes_the_weights(self):
        self.quantize("a")
        self.quantize("b", propagate=False)
        a, b = ((self.folder / out / "model.safetensors").read_bytes() for out in "ab")
        self.assertNotEqual(a, b)

    def test_calibration_by_several_texts(self):
        other = self.folder / "other.txt"
        other.write_text(self.text.read_text().upper())
        manifest = self.quantize("out", calibration={self.text: 0.75, other: 0.25})
        self.assertEqual([s["windows"] for s in manifest["calibration"]["sources"]], [3, 1])

    def test_a_preset_says_what_is_quantised(self):
        manifest = self.quantize("out", bits=None, preset="w4a8-smoothquant", method="gptq")
        recipe = manifest["recipe"]
        self.assertEqual([recipe["method"], recipe["grid"]["bits"]], ["gptq", 4])
        self.assertEqual(recipe["transform"]["activations"]["bits"], 8)
        self.assertEqual(recipe["transform"]["steps"], ["smooth:search"])
        self.assertEqual(recipe["calibration"]["samples"], 4)

    def test_a_recipe_counts_in_place_of_other_arguments(self):
        (self.folder / "recipe.toml").write_text('method = "rtn"\n[grid]\nbits = 5\n')
        manifest = self.quantize("out", bits=None, recipe=self.folder / "recipe.toml", method="gptq", group=32)
        grid = manifest["recipe"]["grid"]
        self.assertEqual([manifest["recipe"]["method"], grid["bits"], grid["group"]], ["rtn", 5, 32])

    def test_a_manifest_repeats_its_run(self):
        self.quantize("a", group=32, method="quantease", shrinkage=0.25, samples=3)
        coldpress.quantize(self.model, self.folder / "b", recipe=self.folder / "a/coldpress.json")
        a, b = ((self.folder / out / "model.safetensors").read_bytes() for out in "ab")
        self.assertEqual(a, b)

    def test_what_progress_raises_stops_the_run(self):
        def stop(*_):
            raise RuntimeError("enough")

        with self.assertRaisesRegex(RuntimeError, "enough"):
            self.quantize("out", progress=stop)
        self.assertFalse((self.folder / "out").exists())

    def test_interrupts_stop_the_run(self):
        # A process in the background of a shell ignores interrupts.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        with self.assertRaises(KeyboardInterrupt):
            self.quantize("out", progress=lambda *_: signal.raise_signal(signal.SIGINT))
        self.assertFalse((self.folder / "out").exists())

    def test_refusals(self):
        self.refuse(ValueError, "give one of bits, type, preset and recipe", bits=None)
        self.refuse(ValueError, "give one of bits, type, preset and recipe", type="Q4_0")
        self.refuse(ValueError, "give one of bits, type, preset and recipe", preset="w8a8")
        self.refuse(ValueError, "w4a8-smoothquant", bits=None, preset="mine")
        self.refuse(FileNotFoundError, "absent.toml", bits=None, recipe="absent.toml")
        self.refuse(ValueError, "give either calibration or imatrix", calibration=None)
        self.refuse(ValueError, "^tensor .*group 48 does not divide", group=48)
        self.refuse(ValueError, "^dense_type 'f8' is not possible", dense_type="f8")
        self.refuse(ValueError, "pure, .* go with type alone", pure=True)
        self.refuse(ValueError, "seqlen 4096 is longer", seqlen=4096)
        self.refuse(FileNotFoundError, "no text file 'absent.txt'", calibration="absent.txt")
        self.refuse(TypeError, "^samples cannot be 'many'$", samples="many")
        with self.assertRaises(coldpress.NotFound):
            self.perplexity(self.folder / "absent")
        with self.assertRaisesRegex(ValueError, "protocol"):
            coldpress.evaluate(self.model, self.text, protocol="mine")
        (self.model / "config.json").write_text("{")
        with self.assertRaises(coldpress.Corrupt):
            self.perplexity(self.model)

    def refuse(self, kind, words, out="out", **options):
        with self.assertRaisesRegex(kind, words):
            self.quantize(out, **options)
        self.assertFalse((self.folder / out).exists())


if __name__ == "__main__":
    unittest.main()
