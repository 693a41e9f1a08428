// Counter-based random numbers: value i of stream s is a pure function of (seed, s, i), so results
// do not depend on how work is split. (SplitMix64 finaliser over a mixed counter.)
#pragma once

#include <cmath>
#include <cstdint>

namespace coldpress {

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0)
      : key_(mix(seed + 0x9e3779b97f4a7c15ULL) ^ mix(stream * 0xd1342543de82ef95ULL + 1)) {}

  uint64_t next_u64() { return mix(key_ + 0x9e3779b97f4a7c15ULL * ++counter_); }
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }
  // Uniform in [0, n); n > 0. The bias (< n / 2^64) is irrelevant here.
  uint64_t below(uint64_t n) { return next_u64() % n; }
  // Standard normal (Box-Muller).
  double normal() {
    const double u = 1.0 - uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform());
  }

 private:
  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  uint64_t key_;
  uint64_t counter_ = 0;
};

}  // namespace coldpress
