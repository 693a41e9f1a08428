#include "model/online.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include "io/json.h"

namespace coldpress {
namespace {

// The integers that a run may become, times `scale`.
struct Range {
  float scale;
  float lowest;
  float highest;

  float rounded(float x) const {
    return scale * std::clamp(std::nearbyint(x / scale), lowest, highest);
  }
};

Range range_of(const LowBits& how, float clip, float low, float high) {
  const auto steps = static_cast<float>((1 << how.bits) - 1);
  if (how.symmetric) {
    const auto most = static_cast<float>((1 << (how.bits - 1)) - 1);
    return {clip * std::max(high, -low) / most, -most - 1.0F, most};
  }
  const float scale = clip * (high - low) / steps;
  const float lowest = std::nearbyint(clip * low / scale);
  return {scale, lowest, lowest + steps};
}

double squared_error(const Range& range, const float* x, int64_t n) {
  constexpr int64_t kLanes = 16;  // sums side by side, which the compiler makes a vector
  float lanes[kLanes] = {};
  const auto add = [&](int64_t i, int64_t lane) {
    const float e = range.rounded(x[i]) - x[i];
    lanes[lane] += e * e;
  };
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) add(i + lane, lane);
  }
  for (int64_t i = whole; i < n; ++i) add(i, i - whole);
  double sum = 0;
  for (const float lane : lanes) sum += lane;
  return sum;
}

void round_run(const LowBits& how, float* x, int64_t n) {
  constexpr float kLeastClip = 0.42F;
  constexpr float kClipStep = 0.05F;
  float low = 0.0F;
  float high = 0.0F;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
    finite = finite && std::isfinite(x[i]);
  }
  const bool search = how.clip == kSearchClip;
  Range range = range_of(how, search ? 1.0F : how.clip, low, high);
  // Zeros stay, as do rows too small for a scale.
  if (!finite || !(range.scale > 1e-36F)) return;
  double least = search ? squared_error(range, x, n) : 0;
  for (float clip = 1.0F - kClipStep; search && clip > kLeastClip; clip -= kClipStep) {
    const Range other = range_of(how, clip, low, high);
    const double error = squared_error(other, x, n);
    if (error >= least) continue;
    least = error;
    range = other;
  }
  for (int64_t i = 0; i < n; ++i) x[i] = range.rounded(x[i]);
}

Json low_bits_to_json(const LowBits& q) {
  return {{"bits", q.bits},
          {"symmetric", q.symmetric},
          {"clip", q.clip == kSearchClip ? Json("search") : Json(q.clip)},
          {"group", q.group}};
}

Status unexpected(const std::string& where, const std::string& key) {
  return corrupt(fmt::format("{}: \"{}\" of {} is not what coldpress writes", where, key,
                             std::string(kOnlineKey)));
}

bool has_only(const Json& json, std::initializer_list<std::string_view> keys) {
  if (!json.is_object()) return false;
  for (const auto& [key, value] : json.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) return false;
  }
  return true;
}

Result<LowBits> low_bits_from_json(const Json& json, const std::string& where,
                                   const std::string& key) {
  if (!has_only(json, {"bits", "symmetric", "clip", "group"}) || json.size() != 4 ||
      !json["bits"].is_number_integer() || !json["symmetric"].is_boolean() ||
      !(json["clip"].is_number() || json["clip"] == "search") ||
      !json["group"].is_number_integer()) {
    return unexpected(where, key);
  }
  const auto bits = json["bits"].get<int64_t>();
  const bool search = json["clip"].is_string();
  const auto clip = search ? 1.0 : json["clip"].get<double>();
  const auto group = json["group"].get<int64_t>();
  if (bits < 2 || bits > 8 || !(clip > 0 && clip <= 1) || group < 0) return unexpected(where, key);
  return LowBits{static_cast<int>(bits), json["symmetric"].get<bool>(),
                 search ? kSearchClip : static_cast<float>(clip), group};
}

}  // namespace

void round_to_low_bits(const LowBits& how, float* x, int64_t n) {
  if (how.bits == 0) return;
  const int64_t group = how.group == 0 ? n : how.group;
  for (int64_t at = 0; at < n; at += group) round_run(how, x + at, std::min(group, n - at));
}

std::string without_online_mark(const std::string& family) {
  constexpr std::string_view kMark = kOnlineMark;
  return family.starts_with(kMark) ? family.substr(kMark.size()) : family;
}

Json online_to_json(const OnlineParts& parts) {
  Json json = Json::object();
  if (parts.activations.bits > 0) json["activations"] = low_bits_to_json(parts.activations);
  if (parts.kv.bits > 0) json["kv"] = low_bits_to_json(parts.kv);
  if (parts.r3) json["r3"] = *parts.r3;
  if (parts.r4) json["r4"] = *parts.r4;
  return json;
}

Result<OnlineParts> online_from_json(const Json& json, const std::string& where) {
  if (!has_only(json, {"activations", "kv", "r3", "r4"})) return unexpected(where, "a key");
  OnlineParts parts;
  if (json.contains("activations")) {
    COLDPRESS_ASSIGN_OR_RETURN(parts.activations,
                               low_bits_from_json(json["activations"], where, "activations"));
  }
  if (json.contains("kv")) {
    COLDPRESS_ASSIGN_OR_RETURN(parts.kv, low_bits_from_json(json["kv"], where, "kv"));
  }
  for (const char* key : {"r3", "r4"}) {
    if (!json.contains(key)) continue;
    if (!json[key].is_number_integer() || json[key] < 0) return unexpected(where, key);
    (key[1] == '3' ? parts.r3 : parts.r4) = json[key].get<uint64_t>();
  }
  return parts;
}

}  // namespace coldpress
