// Sixteen numbers side by side, as the compiler's vector type: what a search over codewords works
// on, one problem per lane. Comparisons give masks of 0 and -1.
#pragma once

#include <cstdint>
#include <cstring>

namespace coldpress {

inline constexpr int64_t kLanes = 16;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using LaneInts = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));

inline Lanes load_lanes(const float* from) {
  Lanes v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}
inline void store_lanes(Lanes v, float* to) { std::memcpy(to, &v, sizeof(v)); }
inline Lanes every_lane(float x) { return Lanes{} + x; }
inline LaneInts every_lane(int32_t x) { return LaneInts{} + x; }
inline LaneInts is_negative(Lanes x) { return x < Lanes{}; }
inline Lanes magnitude(Lanes x) { return is_negative(x) ? -x : x; }
// `x` with the sign of `sign`; as above 0 where that is NaN.
inline Lanes with_sign_of(Lanes x, Lanes sign) { return is_negative(sign) ? -x : x; }
inline bool any(LaneInts mask) {
  int32_t all = 0;
#pragma omp simd reduction(| : all)
  for (int64_t i = 0; i < kLanes; ++i) all |= mask[i];
  return all != 0;
}

}  // namespace coldpress
