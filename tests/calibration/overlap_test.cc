#include "calibration/overlap.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "io/json.h"

namespace coldpress {
namespace {

std::vector<int32_t> random_tokens(uint64_t seed, std::size_t count) {
  Rng rng(seed);
  std::vector<int32_t> tokens;
  for (std::size_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(rng.below(1000)));
  return tokens;
}

CalibrationWindows windows_of(std::vector<int32_t> tokens) {
  CalibrationWindows w;
  w.length = 100;
  w.tokens = std::move(tokens);
  return w;
}

TEST(Overlap, IsFoundAndMeasured) {
  const auto sketch = sketch_windows(windows_of(random_tokens(1, 20000)));
  EXPECT_EQ(sketch.hashes.size(), 512u);
  EXPECT_EQ(sketch.passages, 200 * 81);
  EXPECT_EQ(find_overlap(sketch, random_tokens(2, 20000)).found, 0);
  // A tenth of the calibration inside a text that is twice as long as that tenth.
  std::vector<int32_t> text = random_tokens(3, 2000);
  const std::vector<int32_t> all = random_tokens(1, 20000);
  text.insert(text.begin() + 777, all.begin() + 5000, all.begin() + 7000);
  const Overlap overlap = find_overlap(sketch, text);
  EXPECT_NEAR(overlap.share_of_calibration, 0.1, 0.04);  // 3 standard errors of 512 draws
  EXPECT_GT(overlap.share_of_text, 0.2);
}

TEST(Overlap, OfTheSameTextIsAll) {
  const auto tokens = random_tokens(1, 500);
  const auto sketch = sketch_windows(windows_of(tokens));
  EXPECT_EQ(find_overlap(sketch, tokens).share_of_calibration, 1);
  EXPECT_EQ(find_overlap(sketch, {}).found, 0);
}

TEST(Overlap, RulesOfDashesSayNothing) {
  const std::vector<int32_t> dashes(500, 7);
  const auto sketch = sketch_windows(windows_of(dashes));
  EXPECT_EQ(sketch.passages, 0);
  EXPECT_EQ(find_overlap(sketch, dashes).found, 0);
}

TEST(Overlap, SketchesSurviveJsonAndDamageIsAnError) {
  const auto sketch = sketch_windows(windows_of(random_tokens(1, 1000)));
  const Json json = sketch_to_json(sketch);
  EXPECT_EQ(sketch_from_json(json, "m").value().hashes, sketch.hashes);
  const auto damaged = [&](auto&& edit) {
    Json j = json;
    edit(j);
    return !sketch_from_json(j, "m").ok();
  };
  EXPECT_TRUE(damaged([](Json& j) { j = 1; }));
  EXPECT_TRUE(damaged([](Json& j) { j.erase("passages"); }));
  EXPECT_TRUE(damaged([](Json& j) { j["passages"] = 1; }));
  EXPECT_TRUE(damaged([](Json& j) { j["passage_tokens"] = 0; }));
  EXPECT_TRUE(damaged([](Json& j) { j["passage_tokens"] = -3; }));
  EXPECT_TRUE(damaged([](Json& j) { j["hashes"] = 1; }));
  EXPECT_TRUE(damaged([](Json& j) { j["hashes"] = "abc"; }));
  EXPECT_TRUE(damaged([](Json& j) { j["hashes"] = std::string(16, 'z'); }));
  EXPECT_TRUE(damaged([](Json& j) { j["hashes"] = std::string(32, '1'); }));  // not ascending
}

}  // namespace
}  // namespace coldpress
