#include "calibration/activation_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "calibration/half_row.h"

namespace coldpress {
namespace {

constexpr int64_t kLength = 5;
constexpr int64_t kWidth = 37;

// Rows as models have them: sizes far apart within a row, and from row to row.
MatrixF tap(uint64_t seed) {
  Rng rng(seed);
  MatrixF m(kLength, kWidth);
  for (int64_t t = 0; t < kLength; ++t) {
    for (int64_t j = 0; j < kWidth; ++j) {
      const double size =
          std::pow(10.0, static_cast<double>(t) * 12 - 24 - static_cast<double>(j) / 8);
      m(t, j) = static_cast<float>(rng.normal() * size);
    }
  }
  return m;
}

ActivationStore store_of(TapType type) {
  return ActivationStore::create(3, kLength, 8, kWidth, type, main_memory()).value();
}

TEST(ActivationStore, LosesLessThanAHalfOfThe11thBitOfATap) {
  ActivationStore store = store_of(TapType::kHalf);
  for (int64_t w = 0; w < 3; ++w) store.put_tap(w, tap(static_cast<uint64_t>(w)).view());
  for (int64_t w = 0; w < 3; ++w) {
    const MatrixF want = tap(static_cast<uint64_t>(w));
    MatrixF got(kLength, kWidth);
    store.get_tap(w, got.view());
    for (int64_t k = 0; k < want.size(); ++k) {
      const float value = want.data()[k];
      EXPECT_LE(std::abs(got.data()[k] - value), std::ldexp(std::abs(value), -11)) << value;
      EXPECT_EQ(std::signbit(got.data()[k]), std::signbit(value));
    }
  }
}

TEST(ActivationStore, KeepsATapInSingleAsItIs) {
  ActivationStore store = store_of(TapType::kSingle);
  const MatrixF want = tap(1);
  store.put_tap(2, want.view());
  MatrixF got(kLength, kWidth);
  store.get_tap(2, got.view());
  for (int64_t k = 0; k < want.size(); ++k) EXPECT_EQ(got.data()[k], want.data()[k]);
}

TEST(ActivationStore, GivesAPartOfARow) {
  for (const TapType type : {TapType::kHalf, TapType::kSingle}) {
    ActivationStore store = store_of(type);
    store.put_tap(1, tap(4).view());
    MatrixF all(kLength, kWidth);
    store.get_tap(1, all.view());
    std::vector<float> part(9);
    store.get_row(1, kWidth, 3, 20, 9, part.data());
    for (int64_t j = 0; j < 9; ++j) EXPECT_EQ(part[static_cast<std::size_t>(j)], all(3, 20 + j));
  }
}

TEST(ActivationStore, TakesNarrowerTapsThanTheWidest) {
  ActivationStore store = store_of(TapType::kHalf);
  MatrixF narrow(kLength, 3);
  for (int64_t k = 0; k < narrow.size(); ++k) narrow.data()[k] = static_cast<float>(k) - 7;
  store.put_tap(0, narrow.view());
  MatrixF got(kLength, 3);
  store.get_tap(0, got.view());
  for (int64_t k = 0; k < narrow.size(); ++k) EXPECT_EQ(got.data()[k], narrow.data()[k]);
}

// The values beside the first, which is the largest, after a round trip.
std::vector<float> through(std::vector<float> row) {
  std::vector<uint16_t> packed(row.size());
  const auto n = static_cast<int64_t>(row.size());
  const int32_t base = pack_half_row(row.data(), n, packed.data());
  unpack_half_row(packed.data(), base, n, row.data());
  return row;
}

TEST(HalfRow, RoundsToTheNearestAndTiesToEven) {
  const float ulp = std::ldexp(1.0F, -10);
  const std::vector<float> got =
      through({1.5F, 1 + 0.49F * ulp, 1 + 0.5F * ulp, 1 + 0.51F * ulp, 1 + 1.5F * ulp});
  EXPECT_EQ(got, (std::vector<float>{1.5F, 1, 1, 1 + ulp, 1 + 2 * ulp}));
}

TEST(HalfRow, CarriesTheLargestIntoTheNextPowerOfTwo) {
  EXPECT_EQ(through({std::nextafter(2.0F, 0.0F), 1}), (std::vector<float>{2, 1}));
}

TEST(HalfRow, DropsWhatIsTooSmallBesideTheLargest) {
  EXPECT_EQ(through({1, std::ldexp(1.0F, -29), -std::ldexp(1.0F, -31)}),
            (std::vector<float>{1, std::ldexp(1.0F, -29), -0.0F}));
}

TEST(HalfRow, KeepsZerosAndTinyRows) {
  EXPECT_EQ(through({0, -0.0F, 0}), (std::vector<float>{0, 0, 0}));
  const float tiny = std::ldexp(1.0F, -120);
  EXPECT_EQ(through({tiny, -tiny / 2}), (std::vector<float>{tiny, -tiny / 2}));
}

TEST(HalfRow, DoesNotHideWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(through({infinity, -infinity})[1], -infinity);
  EXPECT_TRUE(std::isnan(through({std::nanf(""), 1})[0]));
}

}  // namespace
}  // namespace coldpress
