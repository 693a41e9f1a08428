// Scales that transforms find for one tap, and MagR's weights.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/rng.h"
#include "grid/table.h"
#include "linalg/blas.h"
#include "transform/table.h"

namespace coldpress {
namespace {

constexpr int64_t kIn = 64;

// Inputs with a few channels that stand out, and a matrix that reads them.
struct Tap {
  MatrixF x;
  MatrixF w;
  MatrixF h;
  std::vector<float> max_abs;
  std::vector<float> mean_abs;

  explicit Tap(uint64_t seed) : x(200, kIn), w(24, kIn), h(kIn, kIn) {
    Rng rng(seed);
    for (int64_t i = 0; i < x.size(); ++i) {
      const double size = i % kIn % 20 == 3 ? 30 : 1;
      x.data()[i] = static_cast<float>(size * rng.normal());
    }
    for (int64_t i = 0; i < w.size(); ++i) w.data()[i] = static_cast<float>(rng.normal());
    syrk_lower(1.0F / 200, x.view(), 0.0F, h.view());
    mirror_lower(h.view());
    for (int64_t j = 0; j < kIn; ++j) {
      float largest = 0;
      float sum = 0;
      for (int64_t t = 0; t < 200; ++t) {
        largest = std::max(largest, std::fabs(x(t, j)));
        sum += std::fabs(x(t, j));
      }
      max_abs.push_back(largest);
      mean_abs.push_back(sum / 200);
    }
  }

  ScaleProblem problem(LowBits activations, int bits) const {
    GridOptions options;
    options.bits = bits;
    return {h.view(), max_abs,     mean_abs,
            x.view(), activations, {{w.view(), GridFit{*find_grid("affine"), options}}}};
  }
};

std::vector<float> scales_of(const std::string& step, const ScaleProblem& problem) {
  ThreadPool pool(2);
  const TransformStep parsed = parse_transform_steps(step).value().front();
  return (*find_transform(parsed.name))->scales(problem, parsed, pool);
}

const std::vector<float> kOnes(static_cast<std::size_t>(kIn), 1.0F);

TEST(SmoothQuant, BalancesInputsAndWeights) {
  const Tap tap(1);
  const ScaleProblem problem = tap.problem({8, true}, 8);
  const std::vector<float> s = scales_of("smooth:0.5", problem);
  const std::vector<float> weights = problem.max_weights();
  // Up to a common factor.
  const auto wanted = [&](std::size_t j) { return std::sqrt(tap.max_abs[j] / weights[j]); };
  for (std::size_t j = 1; j < s.size(); ++j) {
    EXPECT_NEAR(s[j] / s[0], wanted(j) / wanted(0), 1e-4 * wanted(j) / wanted(0));
  }
  EXPECT_NE(scales_of("smooth:0.8", problem), s);
  EXPECT_EQ(scales_of("smooth", problem), s);  // the default
}

TEST(SmoothQuant, LowersTheErrorOfInputsThatStandOut) {
  const Tap tap(2);
  const ScaleProblem problem = tap.problem({4, true}, 8);
  const double plain = scaled_error(problem, kOnes);
  const double half = scaled_error(problem, scales_of("smooth:0.5", problem));
  const double searched = scaled_error(problem, scales_of("smooth:search", problem));
  EXPECT_LT(half, 0.5 * plain);
  EXPECT_LE(searched, half);
}

TEST(SmoothQuant, SearchNeverDoesHarm) {
  Tap tap(3);
  tap.w(0, 3) = 1000;  // the channel that stands out has the largest weight too
  const ScaleProblem problem = tap.problem({8, true}, 2);
  EXPECT_LE(scaled_error(problem, scales_of("smooth:search", problem)),
            scaled_error(problem, kOnes));
}

TEST(Awq, LowersTheWeightsError) {
  const Tap tap(4);
  const ScaleProblem problem = tap.problem({}, 3);
  EXPECT_LT(scaled_error(problem, scales_of("awq", problem)), 0.8 * scaled_error(problem, kOnes));
}

TEST(Scales, SettingsAreChecked) {
  for (const char* bad : {"smooth:2", "smooth:x", "awq:1", "magr:-1", "r1:x", "norms:1"}) {
    const TransformStep step = parse_transform_steps(bad).value().front();
    const TransformKind* kind = *find_transform(step.name);
    const auto model = Model::open(std::string(COLDPRESS_SHARED_DATA) + "/tiny/llama");
    if (!model.ok()) GTEST_SKIP() << model.status().message();
    EXPECT_EQ(kind->check(**model, step).code(), StatusCode::kInvalidArgument) << bad;
  }
}

double largest_of(const MatrixF& w, int64_t row) {
  double largest = 0;
  for (int64_t j = 0; j < w.cols(); ++j) largest = std::max<double>(largest, std::fabs(w(row, j)));
  return largest;
}

// tr(E H E^T) / tr(W H W^T) of what MagR did.
struct Reshaped {
  MatrixF w;
  double change;
};
Reshaped magr(const Tap& tap, const std::string& step) {
  ThreadPool pool(2);
  TapHessian h = TapHessian::create("tap", tap.h.view()).value();
  Reshaped out{tap.w.clone(), 0};
  const TransformStep parsed = parse_transform_steps(step).value().front();
  (*find_transform("magr"))->reshape(out.w.view(), h, parsed, pool);
  double changed = 0;
  double energy = 0;
  for (int64_t i = 0; i < out.w.rows(); ++i) {
    for (int64_t a = 0; a < kIn; ++a) {
      for (int64_t b = 0; b < kIn; ++b) {
        changed += static_cast<double>(tap.h(a, b)) * (out.w(i, a) - tap.w(i, a)) *
                   (out.w(i, b) - tap.w(i, b));
        energy += static_cast<double>(tap.h(a, b)) * tap.w(i, a) * tap.w(i, b);
      }
    }
  }
  out.change = changed / energy;
  return out;
}

TEST(Magr, ShrinksRangesAndHardlyOutputs) {
  const Tap tap(5);
  const Reshaped out = magr(tap, "magr:0.001");
  double before = 0;
  double after = 0;
  for (int64_t i = 0; i < tap.w.rows(); ++i) {
    EXPECT_LE(largest_of(out.w, i), largest_of(tap.w, i) * (1 + 1e-6));
    before += largest_of(tap.w, i);
    after += largest_of(out.w, i);
  }
  EXPECT_LT(after, 0.95 * before);
  EXPECT_LT(out.change, 0.01);
  EXPECT_GT(magr(tap, "magr:0.01").change, out.change);
  EXPECT_EQ(magr(tap, "magr:0").change, 0.0);
}

}  // namespace
}  // namespace coldpress
