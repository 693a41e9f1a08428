"""coldpress.solve: what it returns belongs together, and what it refuses."""

import threading
import time
import unittest

import numpy as np

import coldpress


def problem(rows=24, cols=128, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4 * cols, cols)) + rng.normal(size=(4 * cols, 1))
    return rng.normal(size=(rows, cols)).astype(np.float32), (x.T @ x).astype(np.float32)


def output_error(w, q, h):
    d = (w - q).astype(np.float64)
    h, w = h.astype(np.float64), w.astype(np.float64)
    return np.einsum("ij,jk,ik", d, h, d) / np.einsum("ij,jk,ik", w, h, w)


class Solve(unittest.TestCase):
    def test_the_weight_is_what_the_codes_stand_for(self):
        w, h = problem()
        for method in ("rtn", "gptq", "quantease", "admm-q"):
            with self.subTest(method):
                s = coldpress.solve(w, h, bits=3, group=32, method=method)
                self.assertEqual((s.codes.dtype, s.codes.shape), (np.uint8, (24, 128)))
                self.assertEqual((s.scales.dtype, s.scales.shape), (np.float32, (24, 4)))
                self.assertEqual((s.weight.dtype, s.zeros.shape, s.group), (np.float32, (24, 4), 32))
                self.assertLess(s.codes.max(), 8)
                self.assertIsNone(s.levels)
                scales, zeros = (np.repeat(a, 32, axis=1) for a in (s.scales, s.zeros))
                np.testing.assert_array_equal(s.weight, scales * (s.codes.astype(np.float32) - zeros))
                np.testing.assert_array_equal(s.scales, s.scales.astype(np.float16).astype(np.float32))
                self.assertAlmostEqual(s.error, output_error(w, s.weight, h), delta=1e-4 * s.error)
                self.assertLessEqual(s.error, s.rtn_error * (1 + 1e-6))
                self.assertTrue(0 < s.bound < s.error)
                self.assertAlmostEqual(s.bits_per_weight, 3 + 19 / 32)

    def test_better_methods_have_smaller_errors(self):
        w, h = problem()
        rtn, gptq, admm = (coldpress.solve(w, h, bits=3, method=m).error for m in ("rtn", "gptq", "admm-q"))
        self.assertLess(gptq, rtn)
        self.assertLess(admm, gptq)

    def test_every_option_changes_the_result(self):
        w, h = problem()
        for method, options in (
            ("rtn", {"bits": 5}), ("rtn", {"group": 64}), ("rtn", {"clip": "none"}),
            ("rtn", {"scale_type": "bf16"}), ("rtn", {"symmetric": True}), ("rtn", {"refit": 4}),
            ("rtn", {"grid": "nf4"}), ("admm-q", {"effort": 1}), ("quantease", {"init": "gptq"}),
        ):
            with self.subTest(options):
                plain = coldpress.solve(w, h, method=method)
                other = coldpress.solve(w, h, method=method, **options)
                self.assertFalse(np.array_equal(plain.weight, other.weight))
        few, many = (coldpress.solve(w, h, method="gptq-outliers", outliers=p) for p in (0.01, 0.05))
        self.assertGreater(few.error, many.error)
        columns = coldpress.solve(w, h, method="gptq-outliers", outliers=0.05, outlier_mode="columns")
        self.assertNotEqual(columns.error, many.error)

    def test_levels(self):
        w, h = problem()
        s = coldpress.solve(w, h, grid="nf4", method="gptq")
        np.testing.assert_array_equal(s.weight, s.scales * (s.levels[s.codes] - s.zeros))

    def test_the_result_depends_on_the_numbers_alone(self):
        w, h = problem()
        first = coldpress.solve(w, h, bits=3, threads=1)
        for other in (
            coldpress.solve(w, h, bits=3, threads=3),
            coldpress.solve(np.asfortranarray(w), h.astype(np.float64), bits=np.int64(3)),
            coldpress.solve(np.repeat(w, 2, axis=0)[::2], h, bits=3, group=0),
        ):
            np.testing.assert_array_equal(first.codes, other.codes)
            np.testing.assert_array_equal(first.weight, other.weight)
            self.assertEqual(first.error, other.error)

    def test_the_arguments_are_not_changed(self):
        w, h = problem()
        before = w.copy(), h.copy()
        w.flags.writeable = h.flags.writeable = False
        coldpress.solve(w, h, bits=2)
        np.testing.assert_array_equal(before[0], w)
        np.testing.assert_array_equal(before[1], h)

    def test_results_outlive_each_other(self):
        w, h = problem()
        codes = coldpress.solve(w, h, bits=2, method="rtn").codes
        copy = codes.copy()
        for _ in range(8):
            coldpress.solve(w, h, bits=4, method="rtn")
        np.testing.assert_array_equal(codes, copy)

    def test_the_gil_is_released(self):
        w, h = problem(rows=256, cols=512)
        ticks, done = [], threading.Event()

        def tick():
            while not done.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.001)

        ticker = threading.Thread(target=tick)
        ticker.start()
        start = time.monotonic()
        coldpress.solve(w, h, bits=3, threads=1)
        end = time.monotonic()
        done.set()
        ticker.join()
        during = [t for t in ticks if start < t < end]
        self.assertGreater(len(during), 5, f"in {end - start:.3f} s")

    def test_threads_of_python_may_solve_at_once(self):
        w, h = problem()
        alone, together = coldpress.solve(w, h, bits=3), [None] * 4

        def run(k):
            together[k] = coldpress.solve(w, h, bits=3, threads=2)

        threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for solution in together:
            np.testing.assert_array_equal(alone.codes, solution.codes)


class Refusals(unittest.TestCase):
    def refuse(self, kind, words, w, h, **options):
        with self.assertRaisesRegex(kind, words):
            coldpress.solve(w, h, **options)

    def test_arrays(self):
        w, h = problem()
        bad = w.copy()
        bad[2, 3] = np.nan
        self.refuse(ValueError, r"^W holds nan at \(2, 3\)", bad, h)
        self.refuse(ValueError, "W holds -?inf at", w.astype(np.float64) * 1e300, h)
        lopsided = h.copy()
        lopsided[5, 1] += 0.01 * h[5, 5]
        self.refuse(ValueError, "H is not symmetric", w, lopsided)
        nan = h.copy()
        nan[1, 5] = np.nan
        self.refuse(ValueError, "H is not symmetric", w, nan)
        self.refuse(ValueError, "negative diagonal", w, -h)
        self.refuse(ValueError, "H must be 128 x 128, but it is 64 x 64", w, h[:64, :64])
        self.refuse(ValueError, "H must have 2 dimensions, not 1", w, h[0])
        self.refuse(ValueError, "holds no weights", w[:0], h)
        self.refuse(TypeError, "W must be float16, float32 or float64, not int64", w.astype(np.int64), h)
        self.refuse(TypeError, "H must be .*, not complex64", w, h.astype(np.complex64))
        self.refuse(TypeError, "W must be a numpy array, not list", w.tolist(), h)

    def test_options(self):
        w, h = problem()
        self.refuse(coldpress.InvalidArgument, "unknown method 'magic'; known: ", w, h, method="magic")
        self.refuse(ValueError, "^bits 9 is not possible; use 2 to 8$", w, h, bits=9)
        self.refuse(ValueError, "^group 48 does not divide 128 columns; use group 0", w, h, group=48)
        self.refuse(ValueError, "'row' is neither a count nor", w, h, group="row")
        self.refuse(ValueError, "outliers is not possible with method admm-q", w, h, outliers=0.1)
        self.refuse(ValueError, "^outlier_mode 'rows' is not possible", w, h, outlier_mode="rows")
        self.refuse(ValueError, "threads -1", w, h, threads=-1)
        self.refuse(TypeError, "^bits cannot be 'three'$", w, h, bits="three")
        self.refuse(TypeError, "^bits cannot be True$", w, h, bits=True)
        self.refuse(TypeError, "^symmetric cannot be 1$", w, h, symmetric=1)
        with self.assertRaises(coldpress.Error):
            coldpress.solve(w, h, effort=0)


if __name__ == "__main__":
    unittest.main()
