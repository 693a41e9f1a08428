#include "grid/scale_rule.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace coldpress {
namespace {

constexpr float kLargestF16 = 65504;
constexpr float kSmallestF16 = 0x1p-24F;
constexpr float kLargestBf16 = 0x1.FEp127F;
constexpr float kLargestE4m3 = 448;
constexpr float kSmallestE4m3 = 0x1p-9F;
// Powers of two whose products with a few levels are normal numbers of fp32.
constexpr float kLargestPower = 0x1p120F;
constexpr float kSmallestPower = 0x1p-120F;

// Above 0; 3 bits of mantissa, steps of the smallest below 2^-6.
float round_to_e4m3(float x) {
  constexpr int kMantissaBits = 3;
  constexpr int kLeastExponent = -6;
  const float v = std::min(std::max(kSmallestE4m3, x), kLargestE4m3);  // NaN: the smallest
  const float step = std::ldexp(1.0F, std::max(std::ilogb(v), kLeastExponent) - kMantissaBits);
  return std::rint(v / step) * step;
}

// The nearest power of two.
float round_to_power(float x) {
  const float v = std::min(std::max(kSmallestPower, x), kLargestPower);
  const float below = std::ldexp(1.0F, std::ilogb(v));
  return v > 1.5F * below ? 2.0F * below : below;
}

float round_to(DType type, float x) {
  switch (type) {
    case DType::kF16:
      return f16_to_f32(f32_to_f16(std::clamp(x, -kLargestF16, kLargestF16)));
    case DType::kBF16:
      return bf16_to_f32(f32_to_bf16(std::clamp(x, -kLargestBf16, kLargestBf16)));
    case DType::kF8E4M3:
      return round_to_e4m3(x);
    case DType::kU8:
      return round_to_power(x);
    default:
      COLDPRESS_CHECK(type == DType::kF32);
      return x;
  }
}

float smallest(DType type) {
  return type == DType::kF16 ? kSmallestF16 : std::numeric_limits<float>::min();
}

// `x` as a multiple of `unit`; NaN counts as 0.
int multiple(const ScaleRule& rule, float unit, float x) {
  const auto lo = static_cast<float>(rule.lo);
  const auto step = static_cast<float>(rule.step);
  const float k = lo + step * std::nearbyint((x / unit - lo) / step);
  return static_cast<int>(std::min(std::max(lo, k), static_cast<float>(rule.hi)));
}

}  // namespace

float storable_scale(const ScaleRule& rule, float unit, float x) {
  if (!rule.has_units()) {
    if (rule.type == DType::kF32) return x;
    const float rounded = round_to(rule.type, x);
    return std::abs(rounded) >= smallest(rule.type) ? rounded
                                                    : std::copysign(smallest(rule.type), x);
  }
  const int k = multiple(rule, unit, x);
  if (k != 0) return unit * static_cast<float>(k);
  return rule.lo < 0 && x / unit < 0 ? -unit : unit;
}

float storable_offset(const ScaleRule& rule, float unit, float x) {
  if (!rule.has_units()) return round_to(rule.type, x);
  return unit * static_cast<float>(multiple(rule, unit, x));
}

float choose_unit(const ScaleRule& rule, std::span<const float> values,
                  std::span<const float> weights) {
  float largest = 0;  // with its sign
  for (const float v : values) {
    if (std::abs(v) > std::abs(largest)) largest = v;
  }
  float best = 1;
  float least = HUGE_VALF;
  const auto consider = [&](int k) {
    const float unit = round_to(rule.type, largest / static_cast<float>(k));
    if (unit == 0 || !std::isfinite(unit)) return;
    float sum = 0;
    for (std::size_t g = 0; g < values.size(); ++g) {
      if (values[g] == 0) continue;
      const float e = storable_scale(rule, unit, values[g]) - values[g];
      sum += weights[g] * e * e;
    }
    if (!(sum < least)) return;
    least = sum;
    best = unit;
  };
  if (largest == 0) return best;
  for (int k = rule.hi; k > 0 && 3 * k >= 2 * rule.hi; k -= rule.step) consider(k);
  for (int k = rule.lo; k < 0 && 3 * k <= 2 * rule.lo; k += rule.step) consider(k);
  if (least < HUGE_VALF) return best;
  return std::copysign(smallest(rule.type), largest);  // smaller than any unit
}

double scale_bits(const ScaleRule& rule) {
  const double whole = 8.0 * static_cast<double>(dtype_size(rule.type));
  if (!rule.has_units()) return whole;
  return std::ceil(std::log2((rule.hi - rule.lo) / rule.step + 1)) +
         whole / static_cast<double>(rule.groups_per_unit);
}

}  // namespace coldpress
