#include "hessian/gram.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "linalg/blas.h"

namespace coldpress {
namespace {

MatrixF random_tokens(int64_t tokens, int64_t n, uint64_t seed) {
  Rng rng(seed);
  MatrixF x(tokens, n);
  for (int64_t k = 0; k < x.size(); ++k) x.data()[k] = static_cast<float>(rng.normal());
  return x;
}

Gram gram_of(View2<const float> x) {
  MatrixF sum(x.cols, x.cols);
  syrk_lower(1.0F, x, 0.0F, sum.view());
  Gram g(x.cols);
  g.add(sum.view(), x.rows);
  return g;
}

TEST(Gram, IsTheMeanOfOuterProducts) {
  const MatrixF x = random_tokens(100, 9, 1);
  const MatrixF h = gram_of(x.view()).normalised();
  for (int64_t i = 0; i < 9; ++i) {
    for (int64_t j = 0; j < 9; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < 100; ++t) sum += static_cast<double>(x(t, i)) * x(t, j);
      EXPECT_NEAR(h(i, j), sum / 100, 1e-5);
    }
  }
}

TEST(Gram, HalvesAddUpToTheWhole) {
  const MatrixF x = random_tokens(64, 7, 2);
  Gram sum = gram_of(x.view().row_range(0, 24));
  sum.add(gram_of(x.view().row_range(24, 40)));
  EXPECT_EQ(sum.tokens(), 64);
  const MatrixF whole = gram_of(x.view()).normalised();
  const MatrixF halves = sum.normalised();
  for (int64_t k = 0; k < whole.size(); ++k) EXPECT_NEAR(halves.data()[k], whole.data()[k], 1e-6);
}

TEST(Gram, WithoutAPartItIsTheRest) {
  const MatrixF x = random_tokens(64, 7, 3);
  const MatrixF rest = gram_of(x.view().row_range(24, 40)).normalised();
  const MatrixF left = gram_of(x.view()).normalised_without(gram_of(x.view().row_range(0, 24)));
  for (int64_t k = 0; k < rest.size(); ++k) EXPECT_NEAR(left.data()[k], rest.data()[k], 1e-5);
}

TEST(Gram, WithoutTokensIsZero) {
  const MatrixF h = Gram(3).normalised();
  for (int64_t k = 0; k < h.size(); ++k) EXPECT_EQ(h.data()[k], 0.0F);
}

}  // namespace
}  // namespace coldpress
