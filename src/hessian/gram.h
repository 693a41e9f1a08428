// Raw Gram sums of one tap: sum over tokens of x x^T, kept with their count, divided only by the
// reader (ALGORITHMS.md §1). Sums are additive, so shards, ranks and checkpoints merge by addition.
//
// Accumulation: fp32 inside a shard (one product per window), fp64 across shards, in shard order;
// the result does not depend on which thread did which shard.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory.h"
#include "base/status.h"
#include "base/view.h"

namespace coldpress {

class Gram {
 public:
  Gram() = default;
  explicit Gram(int64_t n) : sum_(n, n) {}
  static Result<Gram> create(int64_t n, const Memory& memory);

  // Of `tokens` tokens of which only each input's own sum of squares is known.
  static Gram diagonal(std::span<const double> sums, int64_t tokens);

  int64_t n() const { return sum_.rows(); }
  int64_t tokens() const { return tokens_; }
  // Lower triangle of the raw sum.
  View2<const double> sum() const { return sum_.view(); }
  View2<double> sum() { return sum_.view(); }
  // Of tokens whose products were added to sum().
  void count(int64_t tokens) { tokens_ += tokens; }

  // Adds a shard's raw sum (n, n; lower triangle read) over `tokens` tokens.
  void add(View2<const float> lower, int64_t tokens);
  void add(const Gram& other);

  // H = sum / tokens, both triangles, fp32. Zero if there is no token.
  MatrixF normalised() const;
  // The same of the tokens that `part`, a sum over some of these, does not have.
  MatrixF normalised_without(const Gram& part) const;

 private:
  MatrixD sum_;
  int64_t tokens_ = 0;
};

}  // namespace coldpress
