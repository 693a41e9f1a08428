#include "calibration/windows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "base/rng.h"
#include "calibration/overlap.h"
#include "io/json.h"

namespace coldpress {

std::vector<int64_t> choose_windows(int64_t available, int64_t count, std::optional<uint64_t> seed,
                                    uint64_t stream) {
  COLDPRESS_CHECK(count <= available);
  std::vector<int64_t> chosen(static_cast<std::size_t>(count));
  if (!seed) {
    std::iota(chosen.begin(), chosen.end(), 0);
    return chosen;
  }
  Rng rng(*seed, stream);
  std::size_t taken = 0;
  for (int64_t w = 0; taken < chosen.size(); ++w) {
    const auto wanted = static_cast<uint64_t>(chosen.size() - taken);
    if (rng.below(static_cast<uint64_t>(available - w)) < wanted) chosen[taken++] = w;
  }
  return chosen;
}

Result<std::vector<int32_t>> cut_windows(std::span<const int32_t> tokens, int64_t samples,
                                         int64_t length, std::optional<uint64_t> seed,
                                         uint64_t stream) {
  if (samples < 1 || length < 2) {
    return invalid_argument(fmt::format(
        "calibration needs at least 1 window of 2 tokens, not {} of {}", samples, length));
  }
  const int64_t available = static_cast<int64_t>(tokens.size()) / length;
  if (available < samples) {
    return invalid_argument(
        fmt::format("the calibration text has {} tokens: {} windows of {}, not {}; give a longer "
                    "text or lower --samples or --seqlen",
                    tokens.size(), available, length, samples));
  }
  std::vector<int32_t> out;
  out.reserve(static_cast<std::size_t>(samples * length));
  for (const int64_t w : choose_windows(available, samples, seed, stream)) {
    const auto window =
        tokens.subspan(static_cast<std::size_t>(w * length), static_cast<std::size_t>(length));
    out.insert(out.end(), window.begin(), window.end());
  }
  return out;
}

std::vector<int64_t> share_windows(std::span<const double> weights, int64_t samples) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<int64_t> shares;
  std::vector<double> remainders;
  int64_t left = samples;
  for (const double weight : weights) {
    const double exact = static_cast<double>(samples) * (weight / sum);
    // 0.6 of 10 is 6, although 10 * 0.6 may come out below.
    const double whole = std::floor(exact + 1e-9 * static_cast<double>(samples));
    shares.push_back(static_cast<int64_t>(whole));
    remainders.push_back(exact - whole);
    left -= shares.back();
  }
  std::vector<std::size_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return remainders[a] > remainders[b]; });
  for (std::size_t i = 0; left > 0; ++i, --left) ++shares[order[i % order.size()]];
  return shares;
}

Json calibration_to_json(const CalibrationWindows& windows) {
  Json sources = Json::array();
  for (const WindowSource& source : windows.sources) {
    sources.push_back({{"source", source.name},
                       {"kind", source.kind},
                       {"text_hash", source.text_hash},
                       {"weight", source.weight},
                       {"windows", source.windows}});
  }
  Json json = {{"sources", std::move(sources)},
               {"windows", windows.count()},
               {"length", windows.length},
               {"tokens", windows.count() * windows.length}};
  json["seed"] = windows.seed ? Json(*windows.seed) : Json();
  json["sketch"] = sketch_to_json(sketch_windows(windows));
  return json;
}

}  // namespace coldpress
