// Learned rotations: flatter than any drawn one, still orthogonal, the same on any pool.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "linalg/blas.h"
#include "linalg/rotation.h"
#include "transform/learn_rotation.h"

namespace coldpress {
namespace {

constexpr int64_t kN = 48;

// Vectors along few directions, as residual streams are.
MatrixF low_rank_vectors(uint64_t seed) {
  Rng rng(seed);
  MatrixF directions(6, kN);
  for (int64_t i = 0; i < directions.size(); ++i) {
    directions.data()[i] = static_cast<float>(rng.normal());
  }
  MatrixF vectors(300, kN);
  for (int64_t t = 0; t < vectors.rows(); ++t) {
    for (int64_t j = 0; j < kN; ++j) vectors(t, j) = static_cast<float>(0.1 * rng.normal());
    for (int64_t d = 0; d < directions.rows(); ++d) {
      const auto size = static_cast<float>(rng.normal());
      for (int64_t j = 0; j < kN; ++j) vectors(t, j) += size * directions(d, j);
    }
  }
  return vectors;
}

TEST(LearnRotation, IsFlatterThanTheBestOfEight) {
  const MatrixF vectors = low_rank_vectors(1);
  ThreadPool pool(2);
  double best = 1e9;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const MatrixF r = Rotation::hadamard(kN, seed).matrix();
    best = std::min(best, flatness(r.view(), vectors.view(), pool));
  }
  const MatrixF start = Rotation::hadamard(kN, 0).matrix();
  const MatrixF learned = learn_rotation(start.clone(), vectors.view(), {}, pool);
  EXPECT_LT(flatness(learned.view(), vectors.view(), pool), 0.9 * best);
  // Orthogonal.
  MatrixF product(kN, kN);
  gemm(Trans::kNo, Trans::kYes, 1.0F, learned.view(), learned.view(), 0.0F, product.view());
  for (int64_t i = 0; i < kN; ++i) {
    for (int64_t j = 0; j < kN; ++j) EXPECT_NEAR(product(i, j), i == j ? 1 : 0, 2e-6);
  }
}

TEST(LearnRotation, DoesNotDependOnThreads) {
  const MatrixF vectors = low_rank_vectors(2);
  const MatrixF start = Rotation::hadamard(kN, 3).matrix();
  ThreadPool one(1);
  ThreadPool three(3);
  const MatrixF a = learn_rotation(start.clone(), vectors.view(), {10}, one);
  const MatrixF b = learn_rotation(start.clone(), vectors.view(), {10}, three);
  EXPECT_EQ(0, std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(float)));
}

TEST(LearnRotation, TheValueIsItsDefinition) {
  const MatrixF vectors = low_rank_vectors(3);
  const MatrixF r = Rotation::hadamard(kN, 5).matrix();
  double sum = 0;
  for (int64_t t = 0; t < vectors.rows(); ++t) {
    double eighth = 0;
    double square = 0;
    for (int64_t i = 0; i < kN; ++i) {
      double y = 0;
      for (int64_t j = 0; j < kN; ++j) y += static_cast<double>(r(i, j)) * vectors(t, j);
      eighth += std::pow(y, 8);
      square += y * y;
    }
    sum += std::pow(eighth, 0.25) / square * std::pow(kN, 0.75);
  }
  ThreadPool pool(1);
  EXPECT_NEAR(flatness(r.view(), vectors.view(), pool), sum / static_cast<double>(vectors.rows()),
              1e-4);
}

TEST(LearnRotation, KeepsItsStartWithoutVectors) {
  ThreadPool pool(1);
  const MatrixF start = Rotation::hadamard(kN, 5).matrix();
  const MatrixF same = learn_rotation(start.clone(), MatrixF(0, kN).view(), {}, pool);
  EXPECT_EQ(0, std::memcmp(start.data(), same.data(),
                           static_cast<std::size_t>(start.size()) * sizeof(float)));
}

}  // namespace
}  // namespace coldpress
