#include "grid/codebook.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "base/rng.h"

namespace coldpress {
namespace {

constexpr auto kUnit = static_cast<std::size_t>(Codebook::kUnit);
using Point = std::array<float, kUnit>;

// Shapes like those of llama.cpp's books, but small enough to try every point.
struct Shape {
  int64_t length;
  int64_t words;
  bool even_signs;
};

class SmallBook : public ::testing::TestWithParam<Shape> {
 protected:
  SmallBook() : words_(GetParam().words, GetParam().length), book_(make()) {}

  Codebook make() {
    Rng rng(5);
    for (int64_t k = 0; k < words_.rows(); ++k) {
      for (int64_t j = 0; j < words_.cols(); ++j) {
        words_(k, j) = static_cast<float>(1 + 2 * rng.below(3));
      }
    }
    return {words_.view(), GetParam().even_signs};
  }
  // Every point of a unit.
  std::vector<Point> points() const {
    const int64_t length = GetParam().length;
    std::vector<Point> all;
    const int64_t second = length == Codebook::kUnit ? 1 : words_.rows();
    for (int64_t a = 0; a < words_.rows(); ++a) {
      for (int64_t b = 0; b < second; ++b) {
        for (unsigned signs = 0; signs < 256; ++signs) {
          if (GetParam().even_signs && __builtin_popcount(signs) % 2 != 0) continue;
          Point p{};
          for (int64_t j = 0; j < Codebook::kUnit; ++j) {
            const float m = j < length ? words_(a, j) : words_(b, j - length);
            p[static_cast<std::size_t>(j)] = (signs >> j & 1) != 0 ? -m : m;
          }
          all.push_back(p);
        }
      }
    }
    return all;
  }
  std::array<uint8_t, kUnit> codes(const Point& p) const {
    std::array<uint8_t, kUnit> c{};
    for (std::size_t j = 0; j < kUnit; ++j) c[j] = book_.code(p[j]);
    return c;
  }

  MatrixF words_;
  Codebook book_;
};

Codebook::Unit random_unit(Rng& rng, double unit) {
  Codebook::Unit u;
  for (Lanes& v : u) {
    for (int64_t i = 0; i < kLanes; ++i) v[i] = static_cast<float>(unit * rng.normal());
  }
  return u;
}

Codebook::Unit random_steps(Rng& rng) {
  Codebook::Unit u = random_unit(rng, 1);
  for (Lanes& v : u) v = magnitude(v) + 0.1F;
  return u;
}

Point lane(const Codebook::Unit& u, int64_t i) {
  Point p{};
  for (std::size_t j = 0; j < kUnit; ++j) p[j] = u[j][i];
  return p;
}

double distance(const Point& t, const Point& step, const Point& level) {
  double sum = 0;
  for (std::size_t j = 0; j < kUnit; ++j) {
    const double e = static_cast<double>(t[j]) - static_cast<double>(step[j]) * level[j];
    sum += e * e;
  }
  return sum;
}

// sum_j e_j^2 of the errors that u spreads.
double spread_error(const Point& t, const Point& q, const std::vector<float>& u) {
  std::array<double, kUnit> r{};
  double sum = 0;
  for (std::size_t j = 0; j < kUnit; ++j) r[j] = t[j];
  for (std::size_t j = 0; j < kUnit; ++j) {
    const double e = (r[j] - q[j]) / u[j * kUnit + j];
    sum += e * e;
    for (std::size_t k = j + 1; k < kUnit; ++k) r[k] -= u[j * kUnit + k] * e;
  }
  return sum;
}

TEST_P(SmallBook, NearestIsTheNearestOfAllPoints) {
  Rng rng(1);
  const std::vector<Point> all = points();
  for (int round = 0; round < 4; ++round) {
    const Codebook::Unit target = random_unit(rng, 4);
    const Codebook::Unit step = random_steps(rng);
    Codebook::Unit level;
    book_.nearest(target, step, &level);
    for (int64_t i = 0; i < kLanes; ++i) {
      const Point t = lane(target, i);
      const Point s = lane(step, i);
      ASSERT_TRUE(book_.has(codes(lane(level, i)).data()));
      double least = HUGE_VAL;
      for (const Point& p : all) least = std::min(least, distance(t, s, p));
      EXPECT_NEAR(distance(t, s, lane(level, i)), least, 1e-5 * (1 + least));
    }
  }
}

TEST_P(SmallBook, ImproveFindsBetterPointsAndKeepsTheOthers) {
  Rng rng(2);
  const std::vector<Point> all = points();
  double found = 0;
  double least_sum = 0;
  double nearest_sum = 0;
  for (int round = 0; round < 4; ++round) {
    std::vector<float> u(kUnit * kUnit, 0.0F);
    for (std::size_t j = 0; j < kUnit; ++j) {
      u[j * kUnit + j] = 1.0F + static_cast<float>(rng.uniform());
      for (std::size_t k = j + 1; k < kUnit; ++k) {
        u[j * kUnit + k] = static_cast<float>(-0.6 * rng.uniform());
      }
    }
    const Codebook::Unit target = random_unit(rng, 4);
    const Codebook::Unit step = random_steps(rng);
    Codebook::Unit q;
    book_.nearest(target, step, &q);
    for (std::size_t j = 0; j < kUnit; ++j) q[j] *= step[j];
    const Codebook::Unit before = q;
    const LaneInts improved = book_.improve(target, step, u.data(), &q);
    for (int64_t i = 0; i < kLanes; ++i) {
      const Point t = lane(target, i);
      const Point s = lane(step, i);
      const double old = spread_error(t, lane(before, i), u);
      const double now = spread_error(t, lane(q, i), u);
      Point level = lane(q, i);
      std::array<uint8_t, kUnit> c{};
      for (std::size_t j = 0; j < kUnit; ++j) c[j] = book_.code(std::round(level[j] / s[j]));
      ASSERT_TRUE(book_.has(c.data()));
      if (improved[i] != 0) {
        EXPECT_LT(now, old);
      } else {
        EXPECT_EQ(lane(before, i), lane(q, i));
      }
      double least = HUGE_VAL;
      for (const Point& p : all) {
        Point scaled{};
        for (std::size_t j = 0; j < kUnit; ++j) scaled[j] = p[j] * s[j];
        least = std::min(least, spread_error(t, scaled, u));
      }
      EXPECT_GE(now, least * (1 - 1e-4));
      nearest_sum += old;
      found += now;
      least_sum += least;
    }
  }
  // Most of the way from the nearest point to the best one.
  EXPECT_LT(found - least_sum, 0.35 * (nearest_sum - least_sum));
}

TEST_P(SmallBook, CodesAreTakenApartAndKnown) {
  Rng rng(3);
  const std::vector<Point> all = points();
  for (int k = 0; k < 200; ++k) {
    const Point& p = all[rng.below(all.size())];
    std::array<uint8_t, kUnit> c = codes(p);
    ASSERT_TRUE(book_.has(c.data()));
    std::array<uint16_t, 2> words{};
    const unsigned signs = book_.parts(c.data(), words.data());
    for (int64_t j = 0; j < Codebook::kUnit; ++j) {
      const auto at = static_cast<std::size_t>(j);
      const auto part = static_cast<std::size_t>(j / GetParam().length);
      EXPECT_EQ(std::abs(p[at]), words_(words[part], j % GetParam().length));
      EXPECT_EQ(p[at] < 0, (signs >> j & 1) != 0);
    }
    Point weight;
    weight.fill(1);
    std::array<uint8_t, kUnit> nearest{};
    book_.nearest_codes(p.data(), weight.data(), nearest.data());
    EXPECT_EQ(nearest, c);
    if (GetParam().even_signs) {
      c[3] = static_cast<uint8_t>(book_.levels().size() - 1 - c[3]);
      EXPECT_FALSE(book_.has(c.data()));
    }
  }
}

TEST_P(SmallBook, WhatIsNoNumberStillGivesAPoint) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity(), 1e30F, 0.0F}) {
    Codebook::Unit target;
    Codebook::Unit step;
    target.fill(every_lane(bad));
    step.fill(every_lane(1.0F));
    target[2] = every_lane(-1.0F);
    step[4] = every_lane(0.0F);
    Codebook::Unit level;
    book_.nearest(target, step, &level);
    for (int64_t i = 0; i < kLanes; ++i) {
      EXPECT_TRUE(book_.has(codes(lane(level, i)).data())) << bad;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, SmallBook,
                         ::testing::Values(Shape{8, 20, false}, Shape{8, 20, true},
                                           Shape{4, 6, false}, Shape{4, 6, true}),
                         [](const auto& param) {
                           return "length" + std::to_string(param.param.length) +
                                  (param.param.even_signs ? "_even" : "");
                         });

}  // namespace
}  // namespace coldpress
